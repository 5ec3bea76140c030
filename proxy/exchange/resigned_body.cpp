#include "proxy/exchange/resigned_body.hpp"

#include <utility>

namespace sluice {

void ResignedBody::begin(BodySource& inner, AwsSigned seed, bool signed_trailer) {
    inner_ = &inner;
    signer_.emplace(std::move(seed), signed_trailer);
    given_ = 0;
    ended_ = false;
    trailers_ = nullptr;
}

std::optional<Result<Chunk>> ResignedBody::signed_so_far() {
    signer_->consume(std::exchange(given_, 0));
    const std::string_view ready = signer_->ready();
    if (ready.empty() && !ended_) return {};
    given_ = ready.size();
    return Result<Chunk>(Chunk{ready, ended_, ended_ ? trailers_ : nullptr});
}

std::optional<Failure> ResignedBody::take(const Result<Chunk>& got) {
    if (!got) return got.error();
    if (Result<void> pushed = signer_->push(got->data); !pushed) return std::move(pushed.error());
    if (!got->last) return {};
    ended_ = true;
    trailers_ = got->trailers;
    if (Result<void> finished = signer_->finish(); !finished) return std::move(finished.error());
    return {};
}

std::optional<Result<Chunk>> ResignedBody::next_ready() {
    for (;;) {
        if (auto ready = signed_so_far()) return ready;
        const auto got = inner_->next_ready();
        if (!got) return {};
        if (auto failure = take(*got)) return Result<Chunk>(std::move(*failure));
    }
}

Task<Result<Chunk>> ResignedBody::next(TimePoint deadline) {
    for (;;) {
        if (auto ready = signed_so_far()) co_return std::move(*ready);
        const Result<Chunk> got = co_await inner_->next(deadline);
        if (auto failure = take(got)) co_return std::move(*failure);
    }
}

}  // namespace sluice
