// Circuit breaking: when an endpoint fails too often it is left alone for a while. Pure: time is an argument; the state
// is words shared by all workers, changed by compare-exchange only, so nobody ever waits for another thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proxy/base/result.hpp"
#include "proxy/base/time.hpp"
#include "proxy/http/fields.hpp"
#include "proxy/policy/readmission.hpp"

namespace sluice {

/// When a breaker opens and how it closes again; after defaults and vendor.
struct BreakerSpec {
    bool enabled = true;
    double failure_rate = 0.5;   // of those seen in `window`, above 0 to 1
    unsigned consecutive = 5;    // failures in a row
    double slow_rate = 1.0;      // of those seen in `window`, above 0 to 1
    Duration slow_after = 10s;   // time to the response head above which an answer is slow
    Duration window = 30s;       // sliding
    unsigned min_requests = 20;  // seen in `window` before a rate says anything
    Duration open_min = 15s;     // the first time; doubled by each failed probe up to
    Duration open_max = 5min;
    unsigned probes = 2;  // requests that go through half-open; all succeed: closed

    bool operator==(const BreakerSpec&) const = default;
};

/// One endpoint's breaker. Every function may be called from any thread at any time.
///
/// Whoever sends a request to the endpoint calls `enter` first, and gives the pass back with `leave` exactly once, on
/// every path: also when it was never sent, and when the application went away. A pass that is never given back costs a
/// probe's seat for `open_min`, not for ever. An answer is judged when its head has come, so that no long body holds up
/// what is known by then; whoever sees that body fail says so with `fail_late`.
///
/// The window slides by eighths of itself: it holds what was seen in the last 7/8 to 8/8 of `window`. An era is the
/// time between two changes of state; a pass from an earlier era changes nothing when it is given back, however late it
/// comes.
class Breaker {
  public:
    enum class State : unsigned char { closed, open, half_open };
    enum class Forced : unsigned char { automatic, open, closed };

    /// What was learnt of the endpoint.
    enum class Seen : unsigned char {
        success,
        failure,
        failure_of_rate,  // a plain 500: fails a probe and counts for the rate, never as one in a row
        neither,          // a 429 to a probe, our own refusal, an application that went away
    };

    struct Pass {
        bool admitted = false;
        bool probe = false;
        bool moved = false;      // this entry is the first of a half-open era: State::half_open was moved to
        bool good = false;       // it was given back, and counted as a success: it may still `fail_late`
        std::uint32_t era = 0;   // and the round of probes: of no meaning outside, as the next two
        std::uint32_t row = 0;   // of failures, which that success has ended
        std::uint64_t slice = 0; // of the window, in which it was counted
        Duration retry_after{};  // of a refusal, above 0: when it may be worth another try
    };

    struct View {
        State state = State::closed;
        Forced forced = Forced::automatic;
        Duration retry_after{};                        // 0: a request would go through
        unsigned consecutive = 0;                      // failures in a row
        std::uint64_t seen = 0, failed = 0, slow = 0;  // in the window; half-open: of the probes
        std::array<std::uint64_t, 3> transitions{};    // into closed, open, half_open, since it was made
        double readmits = 0;                           // calls a second that are let back in; 0: all
        Duration readmits_for{};                       // how long that goes on
    };

    Breaker() = default;
    Breaker(const Breaker&) = delete;
    Breaker& operator=(const Breaker&) = delete;

    /// May a request go to the endpoint? Half-open it takes one of the `probes` seats (at most 255). After its
    /// probes have closed it, for a while no more than a fifth above what was normal before it opened (see Readmission). A
    /// breaker that is not enabled admits all, unless it is forced open.
    Pass enter(const BreakerSpec& spec, TimePoint now);

    /// Gives a pass back and counts what was seen. Returns the state that this moved the breaker to, if it moved.
    ///
    /// `slow`: the response head took longer than `slow_after`, or, of an application that went away (`neither`), it
    /// had waited for longer. `consecutive`: a failure may count as one in a row, which an exchange says once an
    /// endpoint.
    ///
    /// Of probes: a failure opens again for twice as long; a `neither` gives its seat to another request. Once `probes`
    /// were heard of, too many slow ones (`slow_rate` of them) are a failure too, else that many successes close it.
    std::optional<State> leave(const BreakerSpec& spec, Pass& pass, Seen seen, bool slow, bool consecutive,
                               TimePoint now);

    /// What was given back as a success is none: its body broke off, or its trailers say so. Turns the outcome around:
    /// the window has a failure in the success's place, and the row of failures that it had ended goes on (where the
    /// success is older than the window, this is a failure of its own). A probe opens again, also where it has closed
    /// the breaker meanwhile, if that was within `open_min` of the last one. Nothing where the pass is not `good`.
    std::optional<State> fail_late(const BreakerSpec& spec, Pass& pass, bool consecutive, TimePoint now);

    /// Would `enter` refuse? Takes nothing: for choosing between endpoints.
    bool refuses(const BreakerSpec& spec, TimePoint now) const { return retry_after(spec, now) > Duration{}; }

    /// When it may be worth another try; 0: now.
    Duration retry_after(const BreakerSpec& spec, TimePoint now) const;
    /// What to say to one who is refused: from `retry_after` on within `open_min`, or, after a recovery, as long as that
    /// still goes on, so that those who obey do not all come at once. `draw` is uniform in 0 .. 1.
    Duration come_back(const BreakerSpec& spec, double draw, TimePoint now) const;
    /// Calls a second that are let back in after a recovery; 0: all are.
    double readmits(const BreakerSpec& spec, TimePoint now) const;

    /// An operator's word: `open` refuses all (a kill switch), `closed` admits all and counts without judging,
    /// `automatic` takes either back and begins anew, closed; where nothing was forced it changes nothing. Returns the
    /// state that this moved the breaker to, if it moved. Exchanges under way go on, and count no more.
    std::optional<State> force(Forced forced);
    Forced forced() const;

    View view(const BreakerSpec& spec, TimePoint now) const;

  private:
    static constexpr std::uint64_t slices = 8;  // of the window
    struct Word;                                // the state, packed
    struct Probes;                              // what of it is about probes
    struct Slice;                               // what was seen in an eighth of the window, packed
    using Ring = std::array<std::atomic<std::uint64_t>, slices>;
    struct Counts {
        std::uint64_t seen, failed, slow;
    };

    Word load() const;
    bool change(Word& expected, const Word& to);
    Duration wait_of(const BreakerSpec& spec, const Word& word, TimePoint now) const;
    bool is_readmitting(const BreakerSpec& spec, const Word& word, TimePoint now) const;
    std::optional<Pass> take_seat(const BreakerSpec& spec, Word& word, TimePoint now);
    std::optional<State> leave_closed(const BreakerSpec& spec, Pass& pass, Seen seen, bool slow, bool consecutive,
                                      TimePoint now);
    std::optional<State> leave_probe(const BreakerSpec& spec, Pass& pass, Seen seen, bool slow, TimePoint now);
    std::optional<State> fail_probe_late(const BreakerSpec& spec, const Pass& pass, TimePoint now);
    template <class Row>
    std::optional<State> judge(const BreakerSpec& spec, Word& word, std::uint64_t slice, Row row, TimePoint now);
    bool count(Ring& ring, std::uint64_t slice, std::uint64_t era, bool failed);
    void turn_around(std::uint64_t slice, std::uint64_t era);
    Counts counts(std::uint64_t current, std::uint64_t era) const;

    // Read by every request, written only when something is wrong: apart from what is written by every answer.
    std::atomic<std::uint64_t> word_{0};
    std::atomic<std::int64_t> offered_at_{0};  // when a probe's seat was taken last
    std::array<std::atomic<std::uint64_t>, 3> transitions_{};
    Readmission readmission_;
    Ring answers_{};
    Ring slow_{};
};

/// "closed", "open", "half_open": the metric label.
std::string_view name_of(Breaker::State state);
/// "auto", "open", "closed": an operator's word.
std::string_view name_of(Breaker::Forced forced);
std::optional<Breaker::Forced> forced_named(std::string_view word);

/// `grpc-status` of a head or of trailers; nothing: there is none. What is no number is UNKNOWN.
std::optional<unsigned> read_grpc_status(const Fields& fields);

/// What a failed attempt says of the endpoint. A vendor that is not reached, breaks off or is not understood has
/// failed; what was refused by us, or ended by the application, says nothing. `waiting_for_vendor`: of `timeout_total`,
/// whether the time ran out while the vendor had the request.
Breaker::Seen seen_of(const Failure& failure, bool waiting_for_vendor);

/// Of a `timeout_total`, for `seen_of`: was it the vendor who used the time up? It had the request (its connection
/// included) for as long as the policy lets it think, `first_byte`, or for half of the policy's `total`. Else most of the
/// time went elsewhere: a queue of ours, a pause between attempts, an earlier attempt, or a deadline of the
/// application's own, who is then taken for one that went away.
bool had_its_time(Duration with_vendor, Duration first_byte, Duration total);

/// What an answer says of the endpoint: 500, 502, 503 and 504 are failures, and of a 200 the gRPC statuses UNKNOWN,
/// DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS. A 429 (or RESOURCE_EXHAUSTED) to a probe says nothing.
Breaker::Seen seen_of(unsigned status, std::optional<unsigned> grpc_status, bool probe);

}  // namespace sluice
