// How the calls of a vendor that has just recovered are let back in: what has piled up while it was left alone would
// otherwise come all at once, and may well be what fails it again. Part of a breaker; pure, time is an argument, and
// the state is words shared by all workers.
//
// What is normal is counted by the second while nothing is wrong, and remembered when the breaker opens. Once it has
// closed no more than a fifth above that is let through, by GCRA in one word: for a minute, and then for as long as
// more than that wants to come. Since that more may be the new normal, it gives way after two minutes, by a fifth each
// half minute, and ends after ten. Both figures are on the generous side: a few calls more do no harm, while who makes
// no more calls than ever should not hear that they are too many.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "proxy/base/apart.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

class Readmission {
  public:
    static constexpr Duration shortest = 1min, longest = 10min;
    static constexpr Duration quiet = 30s;  // so long not everything that is let through was asked for: it is over
    static constexpr Duration firm = 2min;  // then it gives way

    /// A call goes through.
    void note(TimePoint now);
    /// The breaker opens: until now all was normal. Not where the last recovery was just over, or is still going on:
    /// then it stays with what it knew before.
    void learn(TimePoint now);
    /// The breaker closes after so many probes, which count: from now on it limits, if it knows what is normal. At
    /// first without the burst, which is there for calls that come in bursts on any day, and not for those that have
    /// waited for this moment: where a thousand sidecars see a vendor recover they see it in the same second.
    void begin(unsigned probes, TimePoint now);
    /// Limits no more.
    void stop() { began_.store(long_ago, std::memory_order_relaxed); }

    /// May a call go through? In any interval t at most `per_second() * t + burst()` may, as long as neither moves.
    /// True where it does not limit.
    bool take(TimePoint now);
    /// When `take` would say so; 0: now. Takes nothing.
    Duration wait(TimePoint now) const;

    /// How long it will limit if nobody wants more than it lets through; 0: it does not limit.
    Duration left(TimePoint now) const;
    /// Calls that it lets through at this point of a recovery; before one, at its beginning. 0: it knows of no normal
    /// rate.
    double per_second(TimePoint now) const;
    /// At the beginning of a recovery; it gives way like the rate.
    std::uint32_t burst() const;

  private:
    static constexpr std::uint64_t seconds = 32;  // that are remembered, with the one that goes on
    static constexpr std::int64_t long_ago = -(std::int64_t{1} << 62);
    struct Second;
    struct Pace;

    Pace pace() const;
    std::int64_t unit(const Pace& pace, TimePoint now) const;
    std::int64_t end() const;

    // Read by every call, seldom written.
    std::atomic<std::int64_t> began_{long_ago};
    std::atomic<std::int64_t> pressed_{long_ago};  // when all that could be let through had been
    std::atomic<std::uint64_t> pace_{0};
    Apart apart_;
    std::atomic<std::int64_t> tat_{long_ago};  // theoretical arrival time, as in Gcra
    std::array<std::atomic<std::uint64_t>, seconds> calls_{};
};

}  // namespace sluice
