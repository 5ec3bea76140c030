// Faults injected on purpose, as if the vendor had made them. Pure: time is an argument, and the draws are made of a seed and
// of how many came before; the state is words shared by all workers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.hpp"
#include "proxy/http/fields.hpp"

namespace sluice {

/// One entry of `chaos.inject`: `{fault: status 429, rate: 2%, first: 3, route: charges, header: "X-Test: 1"}`.
struct ChaosFault {
    enum class Kind : unsigned char {
        status,        // "status 429": answered in the vendor's place
        delay,         // "delay 500ms": before the request is sent, of the time that there is for its answer
        reset,         // the connection is reset
        hang,          // no answer, until a deadline ends it
        slow_body,     // "slow_body 1KiB/s": the body comes at that rate
        truncate,      // "truncate 100B": the body ends after so many bytes
        tls_failure,
        dns_failure,
    };
    Kind kind = Kind::status;
    unsigned status = 503;
    Duration delay{};
    std::uint64_t bytes = 0;        // of truncate; a second of slow_body
    double rate = 1;                // share of the requests that match, above 0 to 1
    std::uint64_t first = 0;        // only the first so many that match; 0: no end
    std::string route;              // a route's name; "" for any
    std::string header, value;      // "X-Test: 1", or a name alone: any value; "" for any
    std::string text;               // the fault as written

    bool operator==(const ChaosFault&) const = default;
};

/// "status 429", "delay 500ms", "reset", "hang", "slow_body 1KiB/s", "truncate 100B", "tls_failure", "dns_failure" into `kind`,
/// its argument and `text`; the rest is as made by default. Nothing: `fault` says what is wrong and how it is written.
std::optional<ChaosFault> parse_fault(std::string_view text, std::string& fault);

/// "X-Test: 1", or "X-Test" for any value, into `header` and `value` of `into`. False: `fault` says what is wrong.
bool parse_fault_header(std::string_view text, ChaosFault& into, std::string& fault);

struct ChaosSpec {
    bool enabled = false;
    std::vector<ChaosFault> inject;   // the first that matches and is drawn
    std::uint64_t seed = 0;           // of the draws; the same seed, the same run of draws
    double abort_above = 0.5;         // share of the vendor's own failures in the last 30 s above which injection stops by itself (not written: 50 %)

    bool operator==(const ChaosSpec&) const = default;
};

/// What of a ChaosSpec is alive. Any worker, without a lock. A reload makes it anew: counts begin at 0, and what had stopped
/// by itself starts again.
class ChaosState {
  public:
    explicit ChaosState(const ChaosSpec& spec);

    /// How it went with the vendor itself, not with one of our faults (what counts as a failure is as for its breaker). `turned`:
    /// what has been told as good failed after its head. Stops the injection when more than `abort_above` of at least
    /// `least_seen` outcomes of the last 30 s were failures. True: this one did.
    enum class Seen : unsigned char { good, failed, turned };
    bool seen(const ChaosSpec& spec, Seen outcome, TimePoint now);

    /// Has it stopped by itself? Stays so.
    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
    /// Share of the vendor's own failures in the last 30 s; 0 where nothing was seen.
    double failure_share(TimePoint now) const;
    /// How often the i-th fault was injected.
    std::uint64_t injected(std::size_t i) const { return faults_[i].injected.load(std::memory_order_relaxed); }

    static constexpr unsigned least_seen = 5;

  private:
    friend const ChaosFault* draw_fault(const ChaosSpec&, ChaosState&, std::string_view, const Fields&);
    struct Counts {
        std::uint64_t failed = 0, all = 0;
    };
    Counts recent(TimePoint now) const;

    struct PerFault {
        std::atomic<std::uint64_t> matched{0}, injected{0};
    };
    static constexpr std::uint64_t seconds = 30;
    std::unique_ptr<PerFault[]> faults_;                        // as many as ChaosSpec::inject
    std::array<std::atomic<std::uint64_t>, 32> buckets_{};      // a second each: which one it is, failures, all
    std::atomic<bool> stopped_{false};
};

/// The fault for this request, or nullptr: the first that matches `route` (its name, "" for none) and `fields`, is within its
/// `first`, and is drawn. `spec` is the one that `state` was made of. The n-th request that matches a fault is drawn by seed,
/// fault and n alone: the same seed, the same run of draws. When disabled or stopped: nullptr, and nothing is counted.
const ChaosFault* draw_fault(const ChaosSpec& spec, ChaosState& state, std::string_view route, const Fields& fields);

}  // namespace sluice
