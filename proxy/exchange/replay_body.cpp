#include "proxy/exchange/replay_body.hpp"

#include "proxy/base/secret.hpp"
#include "proxy/exchange/pull.hpp"

namespace sluice {

namespace {

constexpr std::size_t worth_keeping = 16 * 1024;   // room that a recycled exchange holds on to

}  // namespace

void ReplayBody::begin(BodySource& inner, std::size_t most) {
    inner_ = &inner;
    most_ = most;
}

void ReplayBody::clear() {
    inner_ = nullptr;
    if (!kept_.empty()) wipe(kept_);
    if (kept_.capacity() > worth_keeping) kept_ = {};
    at_ = 0;
    ended_ = false;
    keeping_ = true;
    trailers_ = nullptr;
}

void ReplayBody::replace(std::string body) {
    wipe(kept_);
    kept_ = std::move(body);
    at_ = 0;
    ended_ = keeping_ = true;
    trailers_ = nullptr;
}

// What has been read already, for this attempt.
std::optional<Chunk> ReplayBody::again() {
    if (at_ < kept_.size()) {
        const std::string_view rest = std::string_view(kept_).substr(at_);
        at_ = kept_.size();
        return Chunk{rest, ended_, ended_ ? trailers_ : nullptr};
    }
    if (ended_) return Chunk{{}, true, trailers_};
    return {};
}

Result<Chunk> ReplayBody::keep(Result<Chunk> got) {
    if (!got) return got;
    if (got->last) {
        ended_ = true;
        trailers_ = got->trailers;
    }
    if (keeping_ && got->data.size() <= most_ - kept_.size()) {
        kept_.append(got->data);
        at_ = kept_.size();
        return got;
    }
    keeping_ = false;
    if (!kept_.empty()) wipe(kept_);
    at_ = 0;
    return got;
}

std::optional<Result<Chunk>> ReplayBody::next_ready() {
    if (auto chunk = again()) return *chunk;
    auto got = inner_->next_ready();
    if (!got) return {};
    return keep(std::move(*got));
}

Task<Result<Chunk>> ReplayBody::next(TimePoint deadline) {
    if (auto chunk = again()) co_return *chunk;
    Result<Chunk> got = co_await inner_->next(deadline);
    co_return keep(std::move(got));
}

Task<Result<bool>> ReplayBody::read_whole(const Limits& limits, Activity& activity) {
    while (!ended_ && keeping_) {
        std::optional<Result<Chunk>> got = inner_->next_ready();
        if (!got) {
            Result<Chunk> pulled = co_await pull(*inner_, limits, activity);
            got.emplace(std::move(pulled));
        }
        if (!got->has_value()) co_return std::move(got->error());
        keeping_ = (*got)->data.size() <= most_ - kept_.size();
        kept_.append((*got)->data);
        if ((*got)->last) {
            ended_ = true;
            trailers_ = (*got)->trailers;
        }
    }
    at_ = 0;
    co_return keeping_;
}

}  // namespace sluice
