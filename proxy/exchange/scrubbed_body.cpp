#include "proxy/exchange/scrubbed_body.hpp"

#include <utility>

namespace sluice {

void ScrubbedBody::begin(BodySource& inner, std::shared_ptr<const Needles> needles) {
    end();
    inner_ = &inner;
    needles_ = std::move(needles);
    scrubber_.begin(needles_);
}

void ScrubbedBody::end() {
    scrubber_.end();
    needles_.reset();
    second_.reset();
    trailers_.wipe_and_clear();
    in_trailers_ = 0;
}

// Nothing: all of it is held back.
std::optional<Chunk> ScrubbedBody::pass(const Chunk& piece) {
    const auto [first, second] = scrubber_.feed(piece.data, piece.last);
    const Fields* trailers = piece.trailers;
    if (trailers && needles_) {
        trailers_ = *trailers;
        in_trailers_ += scrub_fields(*needles_, trailers_);
        trailers = &trailers_;
    }
    if (first.empty() && second.empty() && !piece.last) return {};
    if (second.empty()) return Chunk{first, piece.last, trailers};
    const Chunk rest{second, piece.last, trailers};
    if (first.empty()) return rest;
    second_ = rest;
    return Chunk{first, false, nullptr};
}

std::optional<Chunk> ScrubbedBody::take_second() { return std::exchange(second_, std::nullopt); }

std::optional<Result<Chunk>> ScrubbedBody::next_ready() {
    if (const auto second = take_second()) return Result<Chunk>(*second);
    for (;;) {
        auto got = inner_->next_ready();
        if (!got || !got->has_value()) return got;
        if (const auto chunk = pass(**got)) return Result<Chunk>(*chunk);
    }
}

Task<Result<Chunk>> ScrubbedBody::next(TimePoint deadline) {
    if (const auto second = take_second()) co_return *second;
    for (;;) {
        Result<Chunk> got = co_await inner_->next(deadline);
        if (!got) co_return got;
        if (const auto chunk = pass(*got)) co_return *chunk;
    }
}

}  // namespace sluice
