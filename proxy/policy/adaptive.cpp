#include "proxy/policy/adaptive.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

namespace {

constexpr Duration shortest_window = 100ms;
constexpr Duration longest_latency = 10min;  // 2^30 us: a thousand of them fit into 40 bits
constexpr std::uint64_t most_samples = 1000;
constexpr unsigned count_bits = 24;

constexpr double begin_at = 20;
constexpr double tolerance = 1.1;  // of latency / at ease, before it says that there is a queue
constexpr double smoothing = 0.5;  // of each step, because a window's mean is no exact one
constexpr double steepest = 0.5;   // a step down
constexpr double used_from = 0.7;  // of the limit in flight: it may grow
constexpr double dropped_by_chance = 0.02;

// Looks at the vendor without a queue: the limit is lowered for two windows.
constexpr double lowered_to = 0.6;
constexpr unsigned windows_between_looks = 40;
constexpr unsigned windows_after_surprise = 6;  // until the next look, where
constexpr double surprise = 0.15;               // what was seen differed by so much,
constexpr double severe = 1.5;                  // or latency is so many times what it is at ease
constexpr double unmoved = 0.85;                // of the latency before: less in flight did not make it quicker

std::uint64_t count_of(std::uint64_t answers) {
    return answers & ((1u << count_bits) - 1);
}

}  // namespace

AdaptiveLimit::AdaptiveLimit(unsigned least, unsigned most)
    : least_(std::max(least, 1u)), most_(std::max({most, least, 1u})), exact_(std::clamp(begin_at, least_, most_)) {
    set(exact_);
}

void AdaptiveLimit::set(double limit) {
    limit_.store(static_cast<unsigned>(std::lround(std::clamp(limit, least_, most_))), std::memory_order_relaxed);
}

void AdaptiveLimit::sample(Duration latency, unsigned in_flight, bool dropped, TimePoint now) {
    std::uint64_t answers = answers_.load(std::memory_order_relaxed), drops = dropped_.load(std::memory_order_relaxed);
    if (count_of(answers) + drops < most_samples) {
        if (dropped) {
            drops = dropped_.fetch_add(1, std::memory_order_relaxed) + 1;
        } else {
            const auto us = std::clamp<std::int64_t>(latency / 1us, 1, longest_latency / 1us);
            const std::uint64_t one = static_cast<std::uint64_t>(us) << count_bits | 1;
            answers = answers_.fetch_add(one, std::memory_order_relaxed) + one;
        }
    }
    unsigned peak = peak_.load(std::memory_order_relaxed);
    while (peak < in_flight && !peak_.compare_exchange_weak(peak, in_flight, std::memory_order_relaxed)) {
    }
    if (complete(count_of(answers), drops, now)) close(now);
}

/// A window is long enough to have seen what the last one's change made of the latency.
bool AdaptiveLimit::complete(std::uint64_t answers, std::uint64_t dropped, TimePoint now) const {
    const std::uint64_t limit_now = limit();
    const std::uint64_t wanted = std::clamp<std::uint64_t>(
        std::max(2 * limit_now, std::min<std::uint64_t>(5 * limit_now, 50)), 20, most_samples);
    if (answers + dropped < wanted) return false;
    const Duration last{latency_.load(std::memory_order_relaxed)};
    return now - TimePoint{Duration{began_.load(std::memory_order_relaxed)}} >= std::max(shortest_window, 3 * last / 2);
}

void AdaptiveLimit::close(TimePoint now) {
    if (closing_.test_and_set(std::memory_order_acquire)) return;
    if (complete(count_of(answers_.load()), dropped_.load(), now)) {
        const std::uint64_t answers = answers_.exchange(0);
        const std::uint64_t count = count_of(answers), dropped = dropped_.exchange(0);
        Window window{};
        window.answers = static_cast<unsigned>(count);
        window.latency = count ? 1e3 * static_cast<double>(answers >> count_bits) / static_cast<double>(count) : 0;
        window.dropped =
            static_cast<double>(dropped) / static_cast<double>(std::max<std::uint64_t>(1, count + dropped));
        window.peak = peak_.exchange(0);
        began_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
        if (count) latency_.store(static_cast<std::int64_t>(window.latency), std::memory_order_relaxed);
        learn(window);
    }
    closing_.clear(std::memory_order_release);
}

void AdaptiveLimit::learn(const Window& window) {
    if (window.dropped > dropped_by_chance) {  // whatever else we were about to find out
        exact_ = std::max(least_, exact_ * std::max(steepest, 1 - window.dropped / 2));
        set(std::min<double>(exact_, limit()));
    }
    switch (phase_) {
    case Phase::begin: phase_ = Phase::settle; return;
    case Phase::settle: phase_ = Phase::measure; return;
    case Phase::measure:
        if (window.answers == 0) return;
        measured(window.latency);
        phase_ = Phase::follow;
        set(exact_);
        return;
    case Phase::follow: break;
    }
    if (window.answers == 0) return;
    compare(window);
    if (window.dropped <= dropped_by_chance) exact_ = follow(window);
    set(exact_);
    const unsigned patience = strain_ > severe ? windows_after_surprise : windows_between_looks;
    if (++since_look_ >= patience && strain_ > tolerance) {
        phase_ = Phase::settle;
        before_look_ = window.latency;
        set(lowered_to * exact_);
    }
}

/// The vendor was seen without a queue, or with less of one. Where less in flight did not make it quicker it was no
/// queue.
void AdaptiveLimit::measured(double latency) {
    const double was = at_ease();
    const bool nature = was == 0 || latency > std::max(was, unmoved * before_look_);
    const double now = nature ? latency : (was + latency) / 2;
    at_ease_.store(static_cast<std::int64_t>(now), std::memory_order_relaxed);
    const bool surprised = std::abs(latency - was) > surprise * was;
    since_look_ = surprised ? windows_between_looks - windows_after_surprise : 0;
    strain_ = 1;
}

/// Follows what "at ease" takes where no queue can be, and where the vendor has become faster.
void AdaptiveLimit::compare(const Window& window) {
    double now = at_ease();
    strain_ += 0.1 * (window.latency / now - strain_);
    const bool idle = window.peak < limit() / 2, lowest = exact_ <= least_ + 0.5;
    if (idle || lowest) {
        now += (window.latency - now) / 10;
    } else if (strain_ < 1 - surprise) {
        now *= strain_;
        strain_ = 1;
    }
    at_ease_.store(static_cast<std::int64_t>(now), std::memory_order_relaxed);
}

/// The limit after a window in which the vendor took what came.
double AdaptiveLimit::follow(const Window& window) const {
    const bool used = window.peak >= used_from * exact_;
    const double gradient = std::clamp(tolerance * at_ease() / window.latency, steepest, 1.0);
    const double target = used ? gradient * exact_ + std::sqrt(exact_) / 2
                               : std::max(gradient * exact_, std::min(exact_, 2.0 * window.peak));
    return std::clamp(exact_ + smoothing * (target - exact_), least_, most_);
}

double AdaptiveLimit::at_ease() const {
    return static_cast<double>(at_ease_.load(std::memory_order_relaxed));
}

AdaptiveLimit::View AdaptiveLimit::view() const {
    return {.limit = limit(),
            .at_ease = Duration{at_ease_.load(std::memory_order_relaxed)},
            .latency = Duration{latency_.load(std::memory_order_relaxed)}};
}

}  // namespace sluice
