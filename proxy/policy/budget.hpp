// How many retries a vendor gets: a share of its requests, so that an outage is not met by a storm. Pure: time is an
// argument; the state is words shared by all workers, changed by compare-exchange only.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "proxy/base/apart.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

/// Never lets more retries through, in any 10 s, than `share` of the requests of the same 10 s, or 3 where that is
/// less. Every function may be called from any thread at any time; takes that meet at the very edge may all be refused.
///
/// Both are counted by half seconds, on the safe side: requests of the last 9.5 to 10 s, retries of the last 10 to 10.5
/// s.
class RetryBudget {
  public:
    static constexpr Duration span = 10s;
    static constexpr std::uint64_t least = 3;

    struct View {
        std::uint64_t requests = 0, retries = 0;  // as they are counted now
        std::uint64_t left = 0;                   // retries that may be taken now
    };

    RetryBudget() = default;
    RetryBudget(const RetryBudget&) = delete;
    RetryBudget& operator=(const RetryBudget&) = delete;

    /// A request of an application begins; its further attempts are no requests.
    void note_request(TimePoint now);

    /// May one more attempt (a retry or a hedge) be made? What was taken is spent, whether it is then made or not.
    bool take(double share, TimePoint now);

    View view(double share, TimePoint now) const;

  private:
    static constexpr std::uint32_t slices = 20;  // of `span`
    static constexpr std::uint32_t ahead = 10;   // slices by which another worker's time may be ahead of ours
    static constexpr std::uint32_t slots = 32;   // a power of two above both: names of slices wrap around
    using Ring = std::array<std::atomic<std::uint64_t>, slots>;

    static std::uint32_t slice_of(TimePoint now);
    static std::uint64_t sum(const Ring& ring, std::uint32_t first, std::uint32_t last);
    std::uint64_t requests(std::uint32_t slice) const;
    std::uint64_t retries(std::uint32_t slice) const;

    Ring requests_{};
    Apart apart_;
    Ring retries_{};
};

}  // namespace sluice
