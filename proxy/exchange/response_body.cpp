#include "proxy/exchange/response_body.hpp"

#include <algorithm>
#include <utility>

#include "proxy/policy/breaker.hpp"

namespace sluice {

void WatchedBody::begin(BodySource& inner, ThrottleReader* throttle, UsageReader* usage) {
    inner_ = &inner;
    throttle_ = throttle;
    usage_ = usage;
    grpc_status_.reset();
}

void WatchedBody::look(const Result<Chunk>& got) {
    if (!got) return;
    if (throttle_ && throttle_->wants_body()) throttle_->read(got->data);
    if (usage_ && usage_->wants_body()) usage_->read(got->data);
    if (!got->trailers) return;
    if (throttle_) throttle_->read_trailers(*got->trailers);
    grpc_status_ = read_grpc_status(*got->trailers);
}

std::optional<Result<Chunk>> WatchedBody::next_ready() {
    auto got = inner_->next_ready();
    if (got) look(*got);
    return got;
}

Task<Result<Chunk>> WatchedBody::next(TimePoint deadline) {
    Result<Chunk> got = co_await inner_->next(deadline);
    look(got);
    co_return got;
}

// ---- chaos

namespace {

constexpr std::int64_t pieces_a_second = 10;

}  // namespace

void FaultyBody::begin(BodySource& inner, const ChaosFault& fault, Timer& timer, TimePoint now) {
    inner_ = &inner;
    fault_ = &fault;
    timer_ = &timer;
    left_ = fault.bytes;
    holds_ = false;
    next_at_ = now;
}

// A piece of what is held, no larger than the rate allows at once.
Result<Chunk> FaultyBody::part_of(TimePoint now) {
    const std::size_t most = std::max<std::size_t>(fault_->bytes / pieces_a_second, 1);
    Chunk piece = held_;
    if (held_.data.size() > most) {
        piece = {held_.data.substr(0, most), false, nullptr};
        held_.data.remove_prefix(most);
    } else {
        holds_ = false;
    }
    const auto share = static_cast<std::int64_t>(piece.data.size()) * std::int64_t{1'000'000'000} / static_cast<std::int64_t>(std::max<std::uint64_t>(fault_->bytes, 1));
    next_at_ = later(std::max(now, next_at_), Duration{share});
    return piece;
}

// What of a piece comes before the cut.
Result<Chunk> FaultyBody::cut(const Chunk& piece) {
    if (left_ == 0) return Failure{Origin::vendor, Reason::upstream_reset, Replay::unsafe, "chaos: the body was cut off on purpose (" + fault_->text + ")"};
    if (piece.data.size() < left_) {
        left_ -= piece.data.size();
        return piece;
    }
    return Chunk{piece.data.substr(0, std::exchange(left_, 0)), false, nullptr};
}

std::optional<Result<Chunk>> FaultyBody::next_ready() {
    if (fault_->kind == ChaosFault::Kind::slow_body || left_ == 0) return {};   // `next` has the clock; and what comes before the cut is sent first
    auto got = inner_->next_ready();
    if (!got || !got->has_value()) return got;
    return cut(**got);
}

Task<Result<Chunk>> FaultyBody::next(TimePoint deadline) {
    if (fault_->kind != ChaosFault::Kind::slow_body) {
        if (left_ == 0) co_return cut({});
        Result<Chunk> got = co_await inner_->next(deadline);
        if (!got) co_return got;
        co_return cut(*got);
    }
    if (!holds_) {
        Result<Chunk> got = co_await inner_->next(deadline);
        if (!got) co_return got;
        held_ = *got;
        holds_ = true;
    }
    const TimePoint until = std::min(next_at_, deadline);
    const Wait waited = co_await timer_->wait(wakeup_, until);
    if (waited == Wait::interrupted) co_return Failure{Origin::vendor, Reason::upstream_reset, Replay::unsafe, "interrupted"};
    if (until < next_at_) co_return Failure{Origin::vendor, Reason::timeout_idle, Replay::unsafe, "no byte moved for too long"};
    co_return part_of(until);
}

void FaultyBody::interrupt() {
    if (wakeup_.waiting())
        wakeup_.notify(Wait::interrupted);
    else
        inner_->interrupt();
}

}  // namespace sluice
