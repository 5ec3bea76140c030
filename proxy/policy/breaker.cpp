#include "proxy/policy/breaker.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "proxy/base/text.hpp"
#include "proxy/policy/retry.hpp"

namespace sluice {

namespace {

constexpr unsigned most_probes = 255;
constexpr unsigned payload_bits = 40;

unsigned seats_of(const BreakerSpec& spec) {
    return std::clamp(spec.probes, 1u, most_probes);
}

/// The open time after so many failed probes.
Duration open_time(const BreakerSpec& spec, std::uint64_t doublings) {
    Duration time = std::min(spec.open_min, spec.open_max);
    for (; doublings > 0 && time < spec.open_max; --doublings) {
        time = time > spec.open_max / 2 ? spec.open_max : 2 * time;
    }
    return std::max(time, Duration{1ms});
}

/// Is `part` at least `share` of `whole`? A share such as 7 % has no exact double: 7 of 100 is enough all the same.
bool reaches(std::uint64_t part, std::uint64_t whole, double share) {
    return part > 0 && static_cast<double>(part) >= (share - 1e-9) * static_cast<double>(whole);
}

/// Since the clock's own beginning, in whole milliseconds.
std::int64_t milliseconds(TimePoint at) {
    return std::chrono::floor<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

std::uint64_t slice_of(const BreakerSpec& spec, std::uint64_t slices, TimePoint now) {
    const auto width = std::max<std::int64_t>(1, spec.window.count() / static_cast<std::int64_t>(slices));
    return static_cast<std::uint64_t>(now.time_since_epoch().count() / width);
}

}  // namespace

/// All of the state machine in one word, so that each of its steps is one compare-exchange.
struct Breaker::Word {
    std::uint64_t forced : 2;
    std::uint64_t state : 2;
    std::uint64_t doublings : 5;  // of the open time
    std::uint64_t era : 15;
    std::uint64_t payload : payload_bits;  // closed: failures in a row; open: until when, in ms; half-open: Probes

    bool is(State wanted) const { return state == static_cast<std::uint64_t>(wanted); }
    bool is(Forced wanted) const { return forced == static_cast<std::uint64_t>(wanted); }

    Word moved_to(State to, std::uint64_t new_payload) const {
        Word word = *this;
        word.state = static_cast<std::uint64_t>(to);
        ++word.era;
        word.payload = new_payload;
        return word;
    }
    Word opened(const BreakerSpec& spec, std::uint64_t after_doublings, TimePoint now) const {
        // Rounded up: 40 bits of milliseconds are 34 years, and wrap around.
        const std::int64_t until = milliseconds(now + open_time(spec, after_doublings) + 1ms - 1ns);
        Word word = moved_to(State::open, static_cast<std::uint64_t>(until));
        word.doublings = std::min<std::uint64_t>(after_doublings, 31);
        return word;
    }
    /// Until an open breaker may be probed; not above 0: now.
    Duration remaining(TimePoint now) const {
        const std::int64_t floor = milliseconds(now);
        const std::uint64_t difference = payload - static_cast<std::uint64_t>(floor);
        const auto left = static_cast<std::int64_t>(difference << (64 - payload_bits)) >> (64 - payload_bits);
        return std::chrono::milliseconds{left} - (now.time_since_epoch() - Duration{std::chrono::milliseconds{floor}});
    }
};

/// A round of probes ends when the next one is offered in place of seats that were never given back.
struct Breaker::Probes {
    unsigned out = 0;   // seats of this round that were not given back
    unsigned ok = 0;    // successes, of any round
    unsigned gone = 0;  // applications that went away after having waited for long
    unsigned slow = 0;  // of both
    unsigned round = 0;

    explicit Probes(std::uint64_t payload = 0)
        : out(payload & 255),
          ok(payload >> 8 & 255),
          gone(payload >> 16 & 255),
          slow(payload >> 24 & 255),
          round(payload >> 32 & 255) {}

    std::uint64_t packed() const {
        const auto byte = [](unsigned value, unsigned at) { return std::uint64_t{std::min(value, 255u)} << at; };
        return byte(out, 0) | byte(ok, 8) | byte(gone, 16) | byte(slow, 24) | std::uint64_t{round & 255} << 32;
    }
    bool full(const BreakerSpec& spec) const { return out + ok >= seats_of(spec); }
};

/// A slot of the ring is reused every eight slices: `lap` says for which one, `era` of what state it counts. What bears
/// another one's name counts as nothing, so nobody has to clear it.
struct Breaker::Slice {
    std::uint64_t era : 8;
    std::uint64_t lap : 16;
    std::uint64_t all : 20;
    std::uint64_t failed : 20;

    static Slice begun(std::uint64_t era, std::uint64_t lap) {
        Slice slice{};
        slice.era = era & 255;
        slice.lap = lap & 65535;
        return slice;
    }
    bool names(const Slice& other) const { return era == other.era && lap == other.lap; }
    bool full() const { return all == (1u << 20) - 1; }  // a million say what the rest would
    void add(bool failure) {
        ++all;
        if (failure) ++failed;
    }
};

Breaker::Word Breaker::load() const {
    return std::bit_cast<Word>(word_.load(std::memory_order_acquire));
}

/// On failure `expected` is what is there instead.
bool Breaker::change(Word& expected, const Word& to) {
    auto bits = std::bit_cast<std::uint64_t>(expected);
    if (!word_.compare_exchange_strong(bits, std::bit_cast<std::uint64_t>(to), std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
        expected = std::bit_cast<Word>(bits);
        return false;
    }
    if (to.state != expected.state) transitions_[to.state].fetch_add(1, std::memory_order_relaxed);
    return true;
}

Breaker::Pass Breaker::enter(const BreakerSpec& spec, TimePoint now) {
    Word word = load();
    while (true) {
        if (spec.enabled && word.is(State::closed)) {
            if (word.is(Forced::automatic) && !readmission_.take(now))
                return {.retry_after = std::max(readmission_.wait(now), Duration{1ns})};
            readmission_.note(now);
            return {.admitted = true, .era = static_cast<std::uint32_t>(word.era << 8)};
        }
        const Duration wait = wait_of(spec, word, now);
        if (wait > Duration{}) return {.retry_after = wait};
        if (!spec.enabled) return {.admitted = true, .era = static_cast<std::uint32_t>(word.era << 8)};
        if (const auto pass = take_seat(spec, word, now)) return *pass;
    }
}

Duration Breaker::retry_after(const BreakerSpec& spec, TimePoint now) const {
    return wait_of(spec, load(), now);
}

Duration Breaker::come_back(const BreakerSpec& spec, double draw, TimePoint now) const {
    const Word word = load();
    const bool limits = is_readmitting(spec, word, now);
    return spread(wait_of(spec, word, now), limits ? readmission_.left(now) : std::min(spec.open_min, spec.open_max), draw);
}

bool Breaker::is_readmitting(const BreakerSpec& spec, const Word& word, TimePoint now) const {
    return spec.enabled && word.is(State::closed) && word.is(Forced::automatic) && readmission_.left(now) > Duration{};
}

double Breaker::readmits(const BreakerSpec& spec, TimePoint now) const {
    return is_readmitting(spec, load(), now) ? readmission_.per_second(now) : 0;
}

/// How long a request has to wait for being let through; 0: not at all.
Duration Breaker::wait_of(const BreakerSpec& spec, const Word& word, TimePoint now) const {
    if (word.is(Forced::open)) return std::max(spec.open_min, Duration{1ms});  // for how long only the operator knows
    if (!spec.enabled) return {};
    if (word.is(State::closed)) return word.is(Forced::automatic) ? readmission_.wait(now) : Duration{};
    if (word.is(State::open)) return std::max(word.remaining(now), Duration{});
    if (!Probes{word.payload}.full(spec)) return {};
    // Seats that nobody took for so long are lost, or held by requests that hang: others go in their place.
    const TimePoint offered{Duration{offered_at_.load(std::memory_order_relaxed)}};
    const Duration until_offered_anew = offered + open_time(spec, 0) - now;
    return std::clamp(until_offered_anew, Duration{}, Duration{1s});  // a probe's answer may come at any time
}

/// A probe's seat in a breaker that has one to give; nothing: `word` has changed meanwhile.
std::optional<Breaker::Pass> Breaker::take_seat(const BreakerSpec& spec, Word& word, TimePoint now) {
    const bool first = word.is(State::open);
    Probes probes{first ? 0 : word.payload};
    if (probes.full(spec)) {
        probes.out = 0;
        ++probes.round;
    }
    ++probes.out;
    Word to = first ? word.moved_to(State::half_open, 0) : word;
    to.payload = probes.packed();

    // Before the seat is seen to be taken, so that whoever sees it sees also since when.
    const std::int64_t at = now.time_since_epoch().count();
    std::int64_t offered = offered_at_.load(std::memory_order_relaxed);
    while (offered < at && !offered_at_.compare_exchange_weak(offered, at, std::memory_order_relaxed)) {
    }
    if (!change(word, to)) return {};
    return Pass{.admitted = true,
                .probe = true,
                .moved = first,
                .era = static_cast<std::uint32_t>(to.era << 8 | (probes.round & 255))};
}

std::optional<Breaker::State> Breaker::leave(const BreakerSpec& spec, Pass& pass, Seen seen, bool slow,
                                             bool consecutive, TimePoint now) {
    if (!pass.admitted || !spec.enabled) return {};
    if (pass.probe) return leave_probe(spec, pass, seen, slow, now);
    if (seen == Seen::neither && !slow) return {};
    return leave_closed(spec, pass, seen, slow, consecutive, now);
}

std::optional<Breaker::State> Breaker::leave_closed(const BreakerSpec& spec, Pass& pass, Seen seen, bool slow,
                                                    bool consecutive, TimePoint now) {
    const std::uint64_t era = pass.era >> 8;
    Word word = load();
    if (word.era != era) return {};
    const bool failed = seen == Seen::failure || seen == Seen::failure_of_rate;
    const std::uint64_t slice = slice_of(spec, slices, now);
    if (count(answers_, slice, era, failed) && slow) count(slow_, slice, era, false);
    pass.good = seen == Seen::success;
    pass.slice = slice;
    const bool one_more = seen == Seen::failure && consecutive;
    return judge(
        spec, word, slice,
        [&](std::uint64_t row) {
            if (!pass.good) return row + one_more;
            pass.row = static_cast<std::uint32_t>(row);
            return std::uint64_t{0};
        },
        now);
}

/// Something was counted while closed. `row`: what becomes of the failures in a row; may be asked more than once.
template <class Row>
std::optional<Breaker::State> Breaker::judge(const BreakerSpec& spec, Word& word, std::uint64_t slice, Row row,
                                             TimePoint now) {
    if (word.is(Forced::closed)) return {};
    const std::uint64_t era = word.era;
    const Counts window = counts(slice, era);
    const bool bad = window.seen >= spec.min_requests && (reaches(window.failed, window.seen, spec.failure_rate) ||
                                                          reaches(window.slow, window.seen, spec.slow_rate));
    do {
        if (word.era != era) return {};
        Word to = word;
        to.payload = row(word.payload);
        const bool opens = bad || (to.payload > word.payload && to.payload >= std::max(spec.consecutive, 1u));
        if (!opens && to.payload == word.payload) return {};
        if (opens) to = word.opened(spec, 0, now);
        if (change(word, to)) {
            if (!opens) return {};
            readmission_.learn(now);
            return State::open;
        }
    } while (true);
}

std::optional<Breaker::State> Breaker::fail_late(const BreakerSpec& spec, Pass& pass, bool consecutive,
                                                 TimePoint now) {
    if (!std::exchange(pass.good, false) || !spec.enabled) return {};
    if (pass.probe) return fail_probe_late(spec, pass, now);
    const std::uint64_t era = pass.era >> 8;
    Word word = load();
    if (word.era != era) return {};
    const std::uint64_t slice = slice_of(spec, slices, now);
    const bool recent = slice - pass.slice < slices;
    if (recent) {
        turn_around(pass.slice, era);
    } else {
        count(answers_, slice, era, true);
    }
    const auto row = [&](std::uint64_t now_in_a_row) {
        return std::max<std::uint64_t>(now_in_a_row, recent ? pass.row : 0) + consecutive;
    };
    return judge(spec, word, slice, row, now);
}

std::optional<Breaker::State> Breaker::fail_probe_late(const BreakerSpec& spec, const Pass& pass, TimePoint now) {
    constexpr std::uint64_t eras = 1u << 15;
    const std::uint64_t era = pass.era >> 8;
    Word word = load();
    while (true) {
        const TimePoint offered{Duration{offered_at_.load(std::memory_order_relaxed)}};
        const bool probing = word.era == era && word.is(State::half_open);
        const bool closed_by_probes = word.era == (era + 1) % eras && word.is(State::closed) &&
                                      word.is(Forced::automatic) && now - offered < open_time(spec, 0);
        if (!probing && !closed_by_probes) return {};
        if (change(word, word.opened(spec, word.doublings + 1, now))) return State::open;
    }
}

std::optional<Breaker::State> Breaker::leave_probe(const BreakerSpec& spec, Pass& pass, Seen seen, bool slow,
                                                   TimePoint now) {
    Word word = load();
    while (word.era == pass.era >> 8 && word.is(State::half_open)) {
        Probes probes{word.payload};
        if (probes.round == (pass.era & 255) && probes.out > 0) --probes.out;
        if (seen == Seen::success) ++probes.ok;
        if (seen == Seen::neither && slow) ++probes.gone;
        if (slow) ++probes.slow;

        const unsigned heard = probes.ok + probes.gone;
        const bool failed = seen == Seen::failure || seen == Seen::failure_of_rate ||
                            (heard >= seats_of(spec) && reaches(probes.slow, heard, spec.slow_rate));
        const bool closes = !failed && probes.ok >= seats_of(spec);
        Word to = word;
        to.payload = probes.packed();
        if (failed) to = word.opened(spec, word.doublings + 1, now);
        if (closes) {
            to = word.moved_to(State::closed, 0);
            readmission_.begin(probes.ok, now);  // before anybody sees that it is closed; until then nobody asks
        }
        if (change(word, to)) {
            pass.good = seen == Seen::success && !failed;
            return failed || closes ? std::optional{failed ? State::open : State::closed} : std::nullopt;
        }
    }
    return {};
}

/// Adds one to a slice of the window; false: not counted, because the breaker or the window has moved on.
bool Breaker::count(Ring& ring, std::uint64_t slice, std::uint64_t era, bool failed) {
    const Slice fresh = Slice::begun(era, slice / slices);
    std::atomic<std::uint64_t>& slot = ring[slice % slices];
    std::uint64_t bits = slot.load(std::memory_order_relaxed);
    while (true) {
        Slice to = std::bit_cast<Slice>(bits);
        if (!to.names(fresh)) {
            if (load().era != era || to.names(Slice::begun(era, slice / slices + 1))) return false;
            to = fresh;
        }
        if (to.full()) return false;
        to.add(failed);
        if (slot.compare_exchange_weak(bits, std::bit_cast<std::uint64_t>(to), std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
            return true;
        }
    }
}

/// A success of that slice, if it is still remembered, was a failure.
void Breaker::turn_around(std::uint64_t slice, std::uint64_t era) {
    std::atomic<std::uint64_t>& slot = answers_[slice % slices];
    std::uint64_t bits = slot.load(std::memory_order_relaxed);
    while (true) {
        Slice to = std::bit_cast<Slice>(bits);
        if (!to.names(Slice::begun(era, slice / slices)) || to.failed == to.all) return;
        ++to.failed;
        if (slot.compare_exchange_weak(bits, std::bit_cast<std::uint64_t>(to), std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
            return;
        }
    }
}

/// Of the window that ends with slice `current`.
Breaker::Counts Breaker::counts(std::uint64_t current, std::uint64_t era) const {
    Counts sum{};
    for (std::uint64_t slice = current + 1 - slices; slice != current + 1; ++slice) {
        const Slice name = Slice::begun(era, slice / slices);
        const auto answers = std::bit_cast<Slice>(answers_[slice % slices].load(std::memory_order_relaxed));
        if (!answers.names(name)) continue;  // then nothing was slow either
        sum.seen += answers.all;
        sum.failed += answers.failed;
        const auto slow = std::bit_cast<Slice>(slow_[slice % slices].load(std::memory_order_relaxed));
        if (slow.names(name)) sum.slow += slow.all;
    }
    return sum;
}

std::optional<Breaker::State> Breaker::force(Forced forced) {
    Word word = load();
    while (!word.is(forced)) {
        Word to = word.moved_to(forced == Forced::open ? State::open : State::closed, 0);
        to.forced = static_cast<std::uint64_t>(forced);
        readmission_.stop();
        if (change(word, to)) {
            return to.state == word.state ? std::nullopt : std::optional{static_cast<State>(to.state)};
        }
    }
    return {};
}

Breaker::Forced Breaker::forced() const {
    return static_cast<Forced>(load().forced);
}

Breaker::View Breaker::view(const BreakerSpec& spec, TimePoint now) const {
    const Word word = load();
    View view;
    view.forced = static_cast<Forced>(word.forced);
    for (std::size_t i = 0; i < transitions_.size(); ++i) {
        view.transitions[i] = transitions_[i].load(std::memory_order_relaxed);
    }
    if (!spec.enabled && !word.is(Forced::open)) return view;
    view.state = static_cast<State>(word.state);
    view.retry_after = wait_of(spec, word, now);
    if (word.is(State::closed)) {
        const Counts window = counts(slice_of(spec, slices, now), word.era);
        view.consecutive = static_cast<unsigned>(word.payload);
        view.readmits = readmits(spec, now);
        if (view.readmits > 0) view.readmits_for = readmission_.left(now);
        view.seen = window.seen, view.failed = window.failed, view.slow = window.slow;
    }
    if (word.is(State::half_open)) {
        const Probes probes{word.payload};
        view.seen = probes.ok + probes.gone, view.slow = probes.slow;
    }
    return view;
}

std::string_view name_of(Breaker::State state) {
    switch (state) {
    case Breaker::State::closed: return "closed";
    case Breaker::State::open: return "open";
    case Breaker::State::half_open: return "half_open";
    }
    return "";
}

std::string_view name_of(Breaker::Forced forced) {
    switch (forced) {
    case Breaker::Forced::automatic: return "auto";
    case Breaker::Forced::open: return "open";
    case Breaker::Forced::closed: return "closed";
    }
    return "";
}

std::optional<Breaker::Forced> forced_named(std::string_view word) {
    for (const Breaker::Forced forced : {Breaker::Forced::automatic, Breaker::Forced::open, Breaker::Forced::closed}) {
        if (name_of(forced) == word) return forced;
    }
    return {};
}

std::optional<unsigned> read_grpc_status(const Fields& fields) {
    const auto text = fields.find("grpc-status");
    if (!text) return {};
    return static_cast<unsigned>(std::min<std::uint64_t>(parse_decimal(*text).value_or(2), 999));
}

Breaker::Seen seen_of(const Failure& failure, bool waiting_for_vendor) {
    if (failure.gone || failure.origin != Origin::vendor) return Breaker::Seen::neither;
    switch (failure.reason) {
    case Reason::dns_failed:
    case Reason::connect_failed:
    case Reason::tls_failed:
    case Reason::upstream_reset:
    case Reason::upstream_protocol:
    case Reason::timeout_connect:
    case Reason::timeout_tls:
    case Reason::timeout_first_byte:
    case Reason::timeout_idle: return Breaker::Seen::failure;
    case Reason::timeout_total: return waiting_for_vendor ? Breaker::Seen::failure : Breaker::Seen::neither;
    case Reason::bad_request:
    case Reason::head_too_large:
    case Reason::unknown_vendor:
    case Reason::not_allowed:
    case Reason::address_refused:
    case Reason::client_unknown:
    case Reason::timeout_request:
    case Reason::authority_mismatch:
    case Reason::rate_limited:
    case Reason::concurrency_limited:
    case Reason::token_limited:
    case Reason::answer_lost:
    case Reason::breaker_open:
    case Reason::credential_unavailable:
    case Reason::overloaded:
    case Reason::draining: return Breaker::Seen::neither;
    }
    return Breaker::Seen::neither;
}

bool had_its_time(Duration with_vendor, Duration first_byte, Duration total) {
    return with_vendor >= std::min(first_byte, total / 2);
}

Breaker::Seen seen_of(unsigned status, std::optional<unsigned> grpc_status, bool probe) {
    enum : unsigned {
        unknown = 2,
        deadline_exceeded = 4,
        resource_exhausted = 8,
        internal = 13,
        unavailable = 14,
        data_loss = 15
    };
    if (status == 200 && grpc_status) {
        switch (*grpc_status) {
        case unknown:
        case deadline_exceeded:
        case internal:
        case unavailable:
        case data_loss: return Breaker::Seen::failure;
        case resource_exhausted: return probe ? Breaker::Seen::neither : Breaker::Seen::success;
        default: return Breaker::Seen::success;
        }
    }
    switch (status) {
    case 500: return Breaker::Seen::failure_of_rate;
    case 502:
    case 503:
    case 504: return Breaker::Seen::failure;
    case 429: return probe ? Breaker::Seen::neither : Breaker::Seen::success;
    default: return Breaker::Seen::success;
    }
}

}  // namespace sluice
