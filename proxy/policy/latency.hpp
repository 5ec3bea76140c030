// How long a vendor takes to answer, as quantiles: what a hedge waits for. Pure: time is an argument; the state is
// words shared by all workers, changed by compare-exchange only.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "proxy/base/time.hpp"

namespace sluice {

/// A histogram of the last 30 to 60 s, its buckets an eighth of an octave wide: a quantile is within 7 % of what was
/// seen between 8 us and an hour (what is less counts as such, what is more as an hour). Every function may be called
/// from any thread at any time.
class Latency {
  public:
    static constexpr Duration span = 30s;       // of each of the two halves: the one that is filled, and the last one
    static constexpr std::uint64_t least = 20;  // samples before anything is said

    Latency() = default;
    Latency(const Latency&) = delete;
    Latency& operator=(const Latency&) = delete;

    void observe(Duration taken, TimePoint now);

    /// What a share `q` (0 to 1) of the samples did not exceed; nothing where there are too few. The same question is
    /// answered anew each 100 ms, which reads all buckets, and from memory meanwhile.
    std::optional<Duration> quantile(double q, TimePoint now) const;

    std::uint64_t samples(TimePoint now) const;

  private:
    static constexpr std::size_t per_octave = 8;
    static constexpr std::size_t buckets = 30 * per_octave;

    std::array<std::uint32_t, buckets> counts(TimePoint now) const;
    std::optional<std::size_t> look_up(double q, TimePoint now) const;

    std::array<std::atomic<std::uint64_t>, buckets> buckets_{};
    mutable std::atomic<std::uint64_t> said_{0};
};

}  // namespace sluice
