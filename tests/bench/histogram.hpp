// Durations counted in buckets no wider than 1/256 of their value: bounded memory whatever is measured. Used by
// load.cpp.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::bench {

class Histogram {
  public:
    void add(std::chrono::nanoseconds duration) {
        ++buckets_[bucket_of(duration.count() < 0 ? 0 : static_cast<std::uint64_t>(duration.count()))];
        ++count_;
    }
    void clear() { *this = {}; }

    /// The duration that `share` (0..1) of the samples do not exceed, in microseconds; 0 without samples.
    double microseconds_at(double share) const {
        auto left = static_cast<std::uint64_t>(share * static_cast<double>(count_));
        for (std::size_t at = 0; at < buckets_.size(); ++at) {
            if (buckets_[at] > left) return static_cast<double>(lower_end_of(at)) / 1000.0;
            left -= buckets_[at];
        }
        return 0;
    }

  private:
    static constexpr unsigned fine_bits = 8;
    static constexpr unsigned octaves = 32;  // up to 2^(8+32-1) ns: nine minutes

    // Values under 256 ns have a bucket each; above, the top bit names the octave and the next eight the bucket in it.
    static std::size_t bucket_of(std::uint64_t value) {
        unsigned width = static_cast<unsigned>(std::bit_width(value));
        if (width <= fine_bits) return value;
        unsigned octave = width - fine_bits;
        if (octave >= octaves) return (octaves << fine_bits) - 1;
        return (octave << fine_bits) + ((value >> (octave - 1)) & ((1U << fine_bits) - 1));
    }
    static std::uint64_t lower_end_of(std::size_t bucket) {
        std::uint64_t octave = bucket >> fine_bits;
        std::uint64_t fine = bucket & ((1U << fine_bits) - 1);
        return octave == 0 ? fine : ((1ULL << fine_bits) + fine) << (octave - 1);
    }

    std::array<std::uint64_t, octaves << fine_bits> buckets_{};
    std::uint64_t count_ = 0;
};

}  // namespace sluice::bench
