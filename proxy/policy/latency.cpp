#include "proxy/policy/latency.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace sluice {

namespace {

constexpr Duration said_for = 100ms;
constexpr unsigned unit_bits = 10;  // durations are told apart by 1.024 us
constexpr unsigned sub_bits = 3;    // buckets of an octave

/// A bucket counts for two halves: the one that `half` names and the one before. A bucket that was not written for
/// longer counts nothing, so nobody has to clear it.
struct Bucket {
    std::uint64_t half : 24;  // 15 years
    std::uint64_t current : 20;
    std::uint64_t last : 20;

    Bucket at(std::uint64_t now_half) const {
        const std::uint64_t behind = (now_half - half) & 0xFFFFFF;
        if (behind == 0 || behind == 0xFFFFFF) return *this;  // this half, or a worker's whose time is ahead of ours
        Bucket bucket{};
        bucket.half = now_half & 0xFFFFFF;
        if (behind == 1) bucket.last = current;
        return bucket;
    }
    std::uint32_t count_at(std::uint64_t now_half) const {
        const std::uint64_t behind = (now_half - half) & 0xFFFFFF;
        if (behind == 0 || behind == 0xFFFFFF) return static_cast<std::uint32_t>(current + last);
        return behind == 1 ? static_cast<std::uint32_t>(current) : 0;
    }
};

/// The last answer, one word.
struct Said {
    std::uint32_t tick;
    std::uint16_t q;
    std::uint16_t bucket;  // and 1, so that a word of zeros says nothing
};
constexpr std::uint16_t nothing = 0;

std::uint64_t half_of(TimePoint now) {
    return static_cast<std::uint64_t>(now.time_since_epoch() / Latency::span);
}

/// Below 8 units a bucket a unit, then eight an octave.
std::size_t bucket_of(Duration taken) {
    const std::uint64_t units = static_cast<std::uint64_t>(std::max(taken, Duration{}).count()) >> unit_bits;
    if (units < (1u << sub_bits)) return units;
    const auto octave = static_cast<unsigned>(std::bit_width(units)) - 1 - sub_bits;
    return (std::size_t{octave} << sub_bits) + (units >> octave);
}

Duration middle_of(std::size_t bucket) {
    const std::size_t octave = bucket < (1u << sub_bits) ? 0 : (bucket >> sub_bits) - 1;
    const std::uint64_t from = static_cast<std::uint64_t>(bucket - (octave << sub_bits)) << (octave + unit_bits);
    return Duration{static_cast<std::int64_t>(from + (std::uint64_t{1} << (octave + unit_bits)) / 2)};
}

}  // namespace

void Latency::observe(Duration taken, TimePoint now) {
    std::atomic<std::uint64_t>& word = buckets_[std::min(bucket_of(taken), buckets - 1)];
    const std::uint64_t half = half_of(now);
    std::uint64_t bits = word.load(std::memory_order_relaxed);
    while (true) {
        Bucket bucket = std::bit_cast<Bucket>(bits).at(half);
        if (bucket.current == (1u << 20) - 1) return;  // a million say what the rest would
        ++bucket.current;
        if (word.compare_exchange_weak(bits, std::bit_cast<std::uint64_t>(bucket), std::memory_order_relaxed)) return;
    }
}

std::array<std::uint32_t, Latency::buckets> Latency::counts(TimePoint now) const {
    std::array<std::uint32_t, buckets> out;
    const std::uint64_t half = half_of(now);
    for (std::size_t i = 0; i < buckets; ++i) {
        out[i] = std::bit_cast<Bucket>(buckets_[i].load(std::memory_order_relaxed)).count_at(half);
    }
    return out;
}

std::uint64_t Latency::samples(TimePoint now) const {
    const auto all = counts(now);
    return std::accumulate(all.begin(), all.end(), std::uint64_t{0});
}

std::optional<Duration> Latency::quantile(double q, TimePoint now) const {
    q = std::clamp(q, 0.0, 1.0);
    const Said key{.tick = static_cast<std::uint32_t>(now.time_since_epoch() / said_for),
                   .q = static_cast<std::uint16_t>(std::lround(q * 65535)),
                   .bucket = 0};
    const auto said = std::bit_cast<Said>(said_.load(std::memory_order_relaxed));
    if (said.tick == key.tick && said.q == key.q && said.bucket != nothing) return middle_of(said.bucket - 1u);

    const auto bucket = look_up(q, now);
    if (!bucket) return {};
    const Said found{.tick = key.tick, .q = key.q, .bucket = static_cast<std::uint16_t>(*bucket + 1)};
    said_.store(std::bit_cast<std::uint64_t>(found), std::memory_order_relaxed);
    return middle_of(*bucket);
}

/// The bucket in which the quantile lies.
std::optional<std::size_t> Latency::look_up(double q, TimePoint now) const {
    const auto all = counts(now);
    const auto total = std::accumulate(all.begin(), all.end(), std::uint64_t{0});
    if (total < least) return {};
    // The smallest rank that covers the share; a share such as 0.95 has no exact double.
    const double rank = std::ceil(q * static_cast<double>(total) - 1e-6);
    std::uint64_t left = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(rank));
    std::size_t bucket = 0;
    while (all[bucket] < left) left -= all[bucket++];
    return bucket;
}

}  // namespace sluice
