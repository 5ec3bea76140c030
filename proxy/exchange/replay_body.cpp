#include "proxy/exchange/replay_body.hpp"

#include <utility>

#include "proxy/base/secret.hpp"
#include "proxy/exchange/pull.hpp"

namespace sluice {

namespace {

constexpr std::size_t worth_keeping = 16 * 1024;   // room that a recycled exchange holds on to
thread_local std::size_t kept_of_all = 0;

}  // namespace

void ReplayBody::begin(BodySource& inner, std::size_t most) {
    inner_ = &inner;
    most_ = most;
}

void ReplayBody::clear() {
    inner_ = nullptr;
    forget();
    if (kept_.capacity() > worth_keeping) kept_ = {};
    at_ = 0;
    ended_ = false;
    keeping_ = true;
    trailers_ = nullptr;
    broken_.reset();
}

bool ReplayBody::has_room_for(std::size_t size) const { return size <= most_ - kept_.size() && size <= most_of_all - kept_of_all; }

void ReplayBody::forget() {
    if (!kept_.empty()) wipe(kept_);
    kept_of_all -= std::exchange(counted_, 0);
}

void ReplayBody::replace(std::string body) {
    forget();
    kept_ = std::move(body);   // no larger than what was kept, but for what the policy puts in
    at_ = 0;
    ended_ = keeping_ = true;
    trailers_ = nullptr;
    broken_.reset();
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
    if (keeping_ && has_room_for(got->data.size())) {
        kept_.append(got->data);
        counted_ += got->data.size();
        kept_of_all += got->data.size();
        at_ = kept_.size();
        return got;
    }
    keeping_ = false;
    forget();
    at_ = 0;
    return got;
}

std::optional<Result<Chunk>> ReplayBody::next_ready() {
    if (auto chunk = again()) return *chunk;
    if (broken_) return {};   // what came goes out before it is told
    auto got = inner_->next_ready();
    if (!got) return {};
    return keep(std::move(*got));
}

Task<Result<Chunk>> ReplayBody::next(TimePoint deadline) {
    if (auto chunk = again()) co_return *chunk;
    if (broken_) co_return *broken_;
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
        if (!got->has_value()) {
            const Reason reason = got->error().reason;
            if (reason != Reason::timeout_idle && reason != Reason::timeout_total) broken_ = got->error();   // after those it goes on
            co_return std::move(got->error());
        }
        keeping_ = has_room_for((*got)->data.size());
        append_wiping(kept_, (*got)->data);   // an answer that is read ahead may repeat a secret, as S3 does an expired token
        if (keeping_) {
            counted_ += (*got)->data.size();
            kept_of_all += (*got)->data.size();
        }
        if ((*got)->last) {
            ended_ = true;
            trailers_ = (*got)->trailers;
        }
    }
    at_ = 0;
    co_return keeping_;
}

}  // namespace sluice
