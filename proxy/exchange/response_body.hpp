// Bodies of answers that are more than passed on: looked at as they go by, or made faulty on purpose. One worker thread; each
// lives in its Exchange.
#pragma once

#include "proxy/policy/chaos.hpp"
#include "proxy/policy/throttle.hpp"
#include "proxy/policy/token_cost.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// Shows each piece to who wants to see it. `next_ready` stays what it was: nothing waits for being looked at.
class WatchedBody final : public BodySource {
  public:
    /// Null: nobody asks.
    void begin(BodySource& inner, ThrottleReader* throttle, UsageReader* usage);

    /// What the trailers said; nothing: they have not come, or do not say.
    std::optional<unsigned> grpc_status() const { return grpc_status_; }

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;
    void interrupt() override { inner_->interrupt(); }

  private:
    void look(const Result<Chunk>& got);

    BodySource* inner_ = nullptr;
    ThrottleReader* throttle_ = nullptr;
    UsageReader* usage_ = nullptr;
    std::optional<unsigned> grpc_status_;
};

/// A body that is there as a whole: our own answers, and answers made anew.
class WholeBody final : public BodySource {
  public:
    void hold(std::string text) { text_ = std::move(text); }
    std::size_t size() const { return text_.size(); }

    std::optional<Result<Chunk>> next_ready() override { return Chunk{text_, true, nullptr}; }
    Task<Result<Chunk>> next(TimePoint) override { co_return Chunk{text_, true, nullptr}; }
    void interrupt() override {}

  private:
    std::string text_;
};

/// `truncate` and `slow_body` of the policy's chaos: as if the vendor broke off after so many bytes, or sent so many a second.
class FaultyBody final : public BodySource {
  public:
    void begin(BodySource& inner, const ChaosFault& fault, Timer& timer, TimePoint now);

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;
    void interrupt() override;

  private:
    Result<Chunk> cut(const Chunk& piece);
    Result<Chunk> part_of(TimePoint now);

    BodySource* inner_ = nullptr;
    const ChaosFault* fault_ = nullptr;
    Timer* timer_ = nullptr;
    Wakeup wakeup_;
    std::uint64_t left_ = 0;        // of `truncate`
    Chunk held_;                    // of `slow_body`: what has come, and was not passed on yet
    bool holds_ = false;
    TimePoint next_at_{};           // when the next piece may go
};

}  // namespace sluice
