// A rate, kept by GCRA (ITU-T I.371, the leaky bucket as a meter) in one 64-bit word: the theoretical arrival time
// (TAT), until which all that was admitted lasts at the rate. Shared by all workers, changed by compare-exchange only;
// pure: time is an argument.
//
// Promise: what is admitted in any interval of length t, less what of that was given back as unused, costs at most
// rate * t + burst, in whatever order it is given back. One unit lasts `per / count`, rounded up to a whole nanosecond:
// the rate is never exceeded, and missed by less than 1 % up to 10 million a second.
//
// How much may be given back depends on what else was since the charge, of which the TAT alone tells nothing: it stands
// the same where nobody came and where everybody before left and others came instead. So two more words count what was
// given back; who takes only reads one of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "proxy/base/time.hpp"
#include "proxy/policy/limit.hpp"

namespace sluice {

/// What was taken of a rate, kept by who took it until it is settled.
struct Charge {
    std::uint64_t cost = 0;   // units that were taken; 0: none
    std::int64_t until = 0;   // the TAT that it led to: from then on time itself has given all of it back
    std::int64_t alone = 0;   // the TAT that it would have led to if there had been nothing before it
    std::uint64_t given = 0;  // refunds that `until` knows of, ns
};

class Gcra {
  public:
    /// Full at first: `burst` units may come at once.
    explicit Gcra(const RateSpec& spec);

    struct Taken {
        bool admitted = false;
        Charge charge;         // admitted: for `settle` and `refund`
        TimePoint retry_at{};  // not admitted: when as much would be, if nobody else came
    };

    /// Takes `cost` units, or none. A cost above the burst could never be met: it counts as the burst (`charge.cost`
    /// says what was taken; `settle` makes up for the rest).
    Taken take(std::uint64_t cost, TimePoint now);
    /// When `take` would be admitted; `now` or earlier: at once. Takes nothing.
    TimePoint ready_at(std::uint64_t cost, TimePoint now) const;

    /// Gives `units` of a charge back, at most all of it and once. What time has given back in the meantime is not
    /// given twice, so that the promise above holds; where other charges came back in the meantime that cannot be told
    /// apart exactly, and it is less rather than more. True where there is room now that there was not.
    bool refund(const Charge& charge, std::uint64_t units, TimePoint now);
    /// Takes `units` whether they are there or not: the rate is closed until the debt is paid, an hour at most.
    void charge(std::uint64_t units, TimePoint now);
    /// The charge turned out to cost `actual`: a refund or a debt. True where there is room now that there was not.
    bool settle(const Charge& charge, std::uint64_t actual, TimePoint now);

    /// Whole units that would be admitted at once.
    std::uint64_t remaining(TimePoint now) const;
    /// How long until the whole burst is there again; 0: it is, and a new Gcra could stand in its place.
    Duration full_in(TimePoint now) const;
    /// As new.
    void reset() { tat_.store(long_ago, std::memory_order_relaxed); }

    static constexpr Duration most_debt = 1h;

  private:
    static constexpr std::int64_t long_ago = std::numeric_limits<std::int64_t>::min() / 4;

    std::int64_t lasting(std::uint64_t units) const;

    std::int64_t unit_;                        // how long one lasts, ns
    std::uint64_t burst_;                      // units
    std::uint64_t most_;                       // units that last as long as time is counted
    std::int64_t tolerance_;                   // how far the TAT may lie ahead, ns: burst_ * unit_
    std::atomic<std::int64_t> tat_{long_ago};  // ns of the steady clock
    std::atomic<std::uint64_t> promised_{0};   // ns that were given back, ever ...
    std::atomic<std::uint64_t> given_{0};      // ... and of those the ones that have left the TAT
};

}  // namespace sluice
