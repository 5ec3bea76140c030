#include "proxy/policy/readmission.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace sluice {

namespace {

constexpr double more_than_normal = 1.2;
constexpr Duration gives_way_each = 30s;                   // by as much again
constexpr std::uint64_t unsettled = 5;                     // seconds in which what was about to fail was called again
constexpr std::uint64_t least_calls = 20, least_busy = 5;  // below, nothing is known
constexpr std::uint64_t at_once = 25;                      // calls of a busy second that may come at the same time

std::int64_t count_of(TimePoint at) {
    return at.time_since_epoch().count();
}
std::uint64_t second_of(TimePoint at) {
    return static_cast<std::uint64_t>(std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count());
}

}  // namespace

/// A slot of the ring says of which second it counts: what bears another one's name counts as nothing.
struct Readmission::Second {
    std::uint64_t name : 40;
    std::uint64_t calls : 24;
};

/// Of GCRA, in one word; all zero: nothing is known.
struct Readmission::Pace {
    std::uint32_t unit = 0;  // how long one call lasts, ns
    std::uint32_t burst = 0;

    std::int64_t tolerance() const { return std::int64_t{unit} * burst; }
};

void Readmission::note(TimePoint now) {
    Second fresh{};
    fresh.name = second_of(now);
    std::atomic<std::uint64_t>& slot = calls_[fresh.name % seconds];
    std::uint64_t bits = slot.load(std::memory_order_relaxed);
    Second to{};
    do {
        to = std::bit_cast<Second>(bits);
        if (to.name > fresh.name) return;  // who was held up between the clock and here
        if (to.name != fresh.name) to = fresh;
        if (to.calls < (1u << 24) - 1) ++to.calls;
    } while (!slot.compare_exchange_weak(bits, std::bit_cast<std::uint64_t>(to), std::memory_order_relaxed));
}

// From the first whole second to the last in which there was a call: where calls hang, the last ones before the breaker
// opens have none. Seconds without a call in between are part of what is normal, and raise the burst.
void Readmission::learn(TimePoint now) {
    if (count_of(now) - end() < Duration{std::chrono::seconds{seconds}}.count()) return;
    std::uint64_t calls = 0, busy = 0, whole = 0, until_last = 0, most = 0;
    bool any = false;
    const std::uint64_t current = second_of(now);
    for (std::uint64_t second = current + 1 - seconds; second != current - unsettled; ++second) {
        const auto slot = std::bit_cast<Second>(calls_[second % seconds].load(std::memory_order_relaxed));
        const std::uint64_t here = slot.name == second ? slot.calls : 0;
        if (any) calls += here, busy += here > 0, ++whole, most = std::max(most, here);
        if (any && here > 0) until_last = whole;
        any |= here > 0;
    }
    Pace pace{};
    if (calls >= least_calls && busy >= least_busy) {
        const double mean = static_cast<double>(calls) / static_cast<double>(until_last);
        const double deviation = std::sqrt(mean / static_cast<double>(until_last));  // of a mean of so few
        const double unit = std::ceil(1e9 / (more_than_normal * mean + deviation));
        pace.unit = static_cast<std::uint32_t>(std::min<double>(unit, std::numeric_limits<std::uint32_t>::max()));
        pace.burst = static_cast<std::uint32_t>(most - std::min(most, calls / until_last) + std::min(most, at_once));
    }
    stop();
    pace_.store(std::bit_cast<std::uint64_t>(pace), std::memory_order_relaxed);
}

Readmission::Pace Readmission::pace() const {
    return std::bit_cast<Pace>(pace_.load(std::memory_order_relaxed));
}

/// How long one call lasts now, in ns.
std::int64_t Readmission::unit(const Pace& pace, TimePoint now) const {
    const std::int64_t gone = count_of(now) - began_.load(std::memory_order_relaxed);
    std::int64_t unit = pace.unit;
    for (std::int64_t since = gone - firm.count(); since >= 0 && gone < longest.count();
         since -= gives_way_each.count())
        unit = unit * 5 / 6;
    return unit;
}

void Readmission::begin(unsigned probes, TimePoint now) {
    const Pace pace = this->pace();
    tat_.store(count_of(now) + pace.tolerance() + std::int64_t{pace.unit} * probes, std::memory_order_relaxed);
    pressed_.store(long_ago, std::memory_order_relaxed);
    began_.store(count_of(now), std::memory_order_relaxed);
}

bool Readmission::take(TimePoint now) {
    if (left(now) == Duration{}) return true;
    const Pace pace = this->pace();
    const std::int64_t at = count_of(now), unit = this->unit(pace, now);
    std::int64_t tat = tat_.load(std::memory_order_relaxed);
    while (true) {
        const std::int64_t next = std::max(tat, at) + unit;
        if (next - at > pace.tolerance()) return false;
        if (!tat_.compare_exchange_weak(tat, next, std::memory_order_relaxed)) continue;
        // Who is refused need not come here: `wait` has told him.
        if (next + unit - at > pace.tolerance()) pressed_.store(at, std::memory_order_relaxed);
        return true;
    }
}

Duration Readmission::wait(TimePoint now) const {
    if (left(now) == Duration{}) return {};
    const Pace pace = this->pace();
    const std::int64_t at = count_of(now);
    const std::int64_t next = std::max(tat_.load(std::memory_order_relaxed), at) + unit(pace, now);
    return Duration{std::max<std::int64_t>(next - at - pace.tolerance(), 0)};
}

/// When it will limit no more, as it looks now.
std::int64_t Readmission::end() const {
    const std::int64_t began = began_.load(std::memory_order_relaxed);
    const std::int64_t asked_for = pressed_.load(std::memory_order_relaxed) + quiet.count();
    return began + std::clamp(asked_for - began, shortest.count(), longest.count());
}

Duration Readmission::left(TimePoint now) const {
    if (pace().unit == 0) return {};
    return Duration{std::max<std::int64_t>(end() - count_of(now), 0)};
}

double Readmission::per_second(TimePoint now) const {
    const Pace pace = this->pace();
    return pace.unit == 0 ? 0 : 1e9 / static_cast<double>(unit(pace, now));
}

std::uint32_t Readmission::burst() const {
    return pace().burst;
}

}  // namespace sluice
