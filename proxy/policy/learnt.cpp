#include "proxy/policy/learnt.hpp"

namespace sluice {

namespace {

std::int64_t count_of(TimePoint at) {
    return std::chrono::duration_cast<Duration>(at.time_since_epoch()).count();
}

TimePoint point_of(std::int64_t count) {
    return TimePoint(std::chrono::duration_cast<TimePoint::duration>(Duration(count)));
}

/// Units beyond this are as good as without end; products of it with an hour's nanoseconds stay in 64 bits.
constexpr std::uint64_t most_units = 1'000'000;

constexpr unsigned forgiven_overloads = 2;

bool is_nearly_spent(const QuotaHint& hint) {
    return hint.limit ? *hint.remaining <= *hint.limit / 5 : *hint.remaining <= 10;
}

}  // namespace

/// What one quota means for us.
struct LearntPace::Lesson {
    Duration closed{};   // before the next call
    Duration apart{};    // between units from then on; 0: no spacing
    Duration lasting{};  // of the spacing
};

LearntPace::Lesson LearntPace::lesson_of(const QuotaHint& hint) {
    if (!is_nearly_spent(hint)) return {};
    const Duration reset = *hint.reset_after;
    const auto share = [&](std::uint64_t units) {  // longer than reset by no rounding: a spacing of 0 would be none
        return std::max(reset / static_cast<std::int64_t>(std::clamp<std::uint64_t>(units, 1, most_units)),
                        Duration(1));
    };
    const Duration lasting = std::min(reset, Duration(most_time));
    const bool spent = *hint.remaining == 0;
    if (!hint.refills || !hint.limit)
        return spent ? Lesson{lasting, {}, {}} : Lesson{{}, share(*hint.remaining), lasting};

    // It fills steadily: what is missing comes back by `reset`.
    const std::uint64_t missing = *hint.limit - std::min(*hint.remaining, *hint.limit);
    const Duration unit = share(missing);
    const Duration first = hint.kind == QuotaHint::Kind::requests ? unit : share(20);  // enough tokens for some call
    return {spent ? std::min(first, lasting) : Duration{}, unit, lasting};
}

void LearntPace::Spacing::set(std::int64_t new_apart, std::int64_t new_until, std::int64_t at) {
    if (new_apart == 0) {
        if (apart.load() != 0) apart.store(0);
        return;
    }
    if (!holds(at)) next.store(at);
    until.store(new_until);
    apart.store(new_apart);
}

bool LearntPace::Spacing::take(std::uint64_t units, std::int64_t at) {
    const std::int64_t apart_now = apart.load(), end = until.load();
    if (units == 0 || apart_now == 0 || end <= at) return true;
    const std::int64_t left = end - at;
    const auto fit = static_cast<std::uint64_t>(left / apart_now);  // more units than that last until the end
    const std::int64_t step = units > fit ? left : static_cast<std::int64_t>(units) * apart_now;
    std::int64_t seen = next.load();
    do {
        if (std::min(seen, end) > at) return false;
    } while (!next.compare_exchange_weak(seen, at + step));
    return true;
}

bool LearntPace::close_for(std::atomic<std::int64_t>& closed_until, Duration wait, std::int64_t at) {
    if (wait <= Duration{}) return false;
    const std::int64_t until = at + std::min(wait, Duration(most_time)).count();
    std::int64_t seen = closed_until.load();
    while (seen < until && !closed_until.compare_exchange_weak(seen, until)) {
    }
    return true;
}

void LearntPace::learn_spacings(const QuotaHints& quotas, std::int64_t at) {
    for (const QuotaHint::Kind kind : {QuotaHint::Kind::requests, QuotaHint::Kind::tokens}) {
        bool told = false;
        Lesson worst;  // of several quotas the slowest
        for (const QuotaHint& hint : quotas) {
            if (hint.kind != kind || !hint.remaining || !hint.reset_after) continue;
            told = true;
            const Lesson lesson = lesson_of(hint);
            if (lesson.apart > worst.apart) worst = lesson;
        }
        Spacing& spacing = kind == QuotaHint::Kind::requests ? requests_ : tokens_;
        if (told) spacing.set(worst.apart.count(), at + worst.lasting.count(), at);
    }
}

/// A vote of the majority (Boyer and Moore), whose lead is bounded so that it follows what changes.
bool LearntPace::is_mine(std::uint32_t resource) {
    constexpr std::uint64_t most_lead = 16;
    std::uint64_t seen = mine_.load(), next = 0;
    bool mine = false, other = false;
    do {
        const std::uint64_t lead = seen & 0xFF;
        const bool same = seen >> 8 == resource;
        mine = same || lead == 0;
        other = mine && !same && seen != 0;
        next = same ? seen - lead + std::min(lead + 1, most_lead) : mine ? std::uint64_t{resource} << 8 | 1 : seen - 1;
    } while (!mine_.compare_exchange_weak(seen, next));
    if (other) forget();
    return mine;
}

void LearntPace::learn(const VendorSignal& signal, TimePoint now) {
    const std::int64_t at = count_of(now);
    if (signal.resource != 0 && !is_mine(signal.resource)) {
        if (signal.retry_after) close_for(asked_until_, *signal.retry_after, at);
        return;
    }
    if (!signal.limited && strikes_.load(std::memory_order_relaxed) > 0) strikes_.store(0);
    if (!signal.overloaded && overloads_.load(std::memory_order_relaxed) > 0) overloads_.store(0);
    if (!signal.quotas.empty()) learn_spacings(signal.quotas, at);
    if (signal.retry_after) {
        close_for(asked_until_, *signal.retry_after, at);
        return;
    }
    bool closed = false;
    for (const QuotaHint& hint : signal.quotas) {
        if (hint.remaining && hint.reset_after && close_for(quota_until_, lesson_of(hint).closed, at)) closed = true;
    }
    if (closed || closed_until() > at) return;
    const auto close_longer = [&](unsigned before) { close_for(quota_until_, std::chrono::seconds(1 << std::min(before, 5u)), at); };
    if (signal.limited) {
        close_longer(strikes_.fetch_add(1));
    } else if (signal.overloaded) {
        const unsigned before = overloads_.fetch_add(1);
        if (before >= forgiven_overloads) close_longer(before - forgiven_overloads);
    }
}

TimePoint LearntPace::ready_at(TimePoint now) const {
    const std::int64_t at = count_of(now);
    return point_of(std::max({closed_until(), requests_.ready_at(at), tokens_.ready_at(at)}));
}

bool LearntPace::take(std::uint64_t cost_tokens, TimePoint now) {
    const std::int64_t at = count_of(now);
    if (ready_at(now) > now) return false;
    // A race lost at the second leaves the first taken: one call less than the vendor lets through, never one more.
    return requests_.take(1, at) && tokens_.take(cost_tokens, at);
}

TimePoint LearntPace::holds_until(TimePoint now) const {
    const std::int64_t at = count_of(now);
    std::int64_t until = closed_until();
    for (const Spacing* spacing : {&requests_, &tokens_}) {
        if (spacing->holds(at)) until = std::max(until, spacing->until.load());
    }
    return point_of(until);
}

LearntPace::View LearntPace::view(TimePoint now) const {
    const std::int64_t at = count_of(now);
    const auto left = [&](std::int64_t until) { return Duration(std::max<std::int64_t>(until - at, 0)); };
    const auto apart = [&](const Spacing& s) { return Duration(s.holds(at) ? s.apart.load() : 0); };
    return {left(closed_until()), apart(requests_), apart(tokens_), left(count_of(holds_until(now)))};
}

void LearntPace::reset() {
    mine_.store(0);
    asked_until_.store(0);
    forget();
}

void LearntPace::forget() {
    quota_until_.store(0);
    strikes_.store(0);
    overloads_.store(0);
    for (Spacing* spacing : {&requests_, &tokens_}) {
        spacing->apart.store(0);
        spacing->until.store(0);
        spacing->next.store(0);
    }
}

}  // namespace sluice
