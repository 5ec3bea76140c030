// One limit alive: its rate, tokens, seats, what the vendor taught, and those who wait. Shared by all workers; kept
// from policy to policy while it counts the same (vendor_state.hpp). Pure: time is an argument, and so is the seed. Any
// thread, unless said otherwise.
//
// How an exchange uses it: Place place = limit.place(key, now), for each limit of its vendor and route, with the value
// of per_header, "" without; kept to the end. policy/acquisition.hpp takes what an attempt needs of all of them, or
// waits for it. Refused: `refusal_of`, and the RateLimit fields from `quota_views`. At the answer's end: `settle` with
// what its usage says; without one the estimate stands. With each answer: `learn`.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "proxy/base/brief_lock.hpp"
#include "proxy/base/time.hpp"
#include "proxy/http/ratelimit_headers.hpp"
#include "proxy/policy/bulkhead.hpp"
#include "proxy/policy/learnt.hpp"
#include "proxy/policy/limit.hpp"
#include "proxy/policy/rate.hpp"
#include "proxy/policy/token_cost.hpp"
#include "proxy/policy/verdict.hpp"
#include "proxy/policy/wait_queue.hpp"

namespace sluice {

/// What a call took.
struct Spent {
    bool admitted = false;
    Charge rate;  // kept for `refund_rate` and `settle`
    Charge tokens;
};

/// What a limit stands at, for metrics, `/vendors` and the fields of a 429.
struct LimitView {
    struct Meter {
        std::uint64_t limit = 0;      // count of the rate
        Duration window{};            // the time that it is for
        std::uint64_t remaining = 0;  // would be admitted at once; at most the burst
        Duration full_in{};           // until the burst is there again
    };
    std::optional<Meter> rate, tokens;
    unsigned seats_in_use = 0;
    unsigned fullest = 0;  // seats in use by the key that has most; without keys as above
    unsigned waiting = 0;
    LearntPace::View learnt;
    unsigned keys = 0;  // of a per-key limit: known ones; the meters are then those of the key with least left
};

class LimitState;

/// A key's share of a limit, or the limit itself where it has no keys. Holds on to its entry in the table of keys: a
/// key that is held is not forgotten. Must not outlive its LimitState. Given up on any thread; used by one at a time.
class Place {
  public:
    Place() = default;
    Place(Place&& other) noexcept
        : entry_(std::exchange(other.entry_, nullptr)), held_(std::exchange(other.held_, false)) {}
    Place& operator=(Place&& other) noexcept;
    ~Place();
    explicit operator bool() const { return entry_ != nullptr; }

    /// One call of the rate, `cost_tokens` of the tokens, and a place in the learnt pace: what of this `spent` does not
    /// have yet, all of it or none. Nothing: it has it all. Else why not; what there was of the rate may have come back.
    /// Whoever waits asks whether it is its turn first. Of one that has waited `since` then it is taken as of when there
    /// was room, so that time lost in waking is no loss of the rate.
    std::optional<Full> spend(Spent& spent, std::uint64_t cost_tokens, TimePoint since, TimePoint now);
    /// When `spend` would not fail any more, and for which part it would until then. Where it would not: `since`, and
    /// `part` is what the limit has.
    Full full(const Spent& spent, std::uint64_t cost_tokens, TimePoint since) const;
    /// Of what was admitted: it will be sent later, and takes its place of the rate then. Everything else stays taken.
    void refund_rate(Spent& spent, TimePoint now);
    /// The call cost `actual_tokens`: what was too much comes back, what was too little is owed. `spent.tokens` is
    /// empty after that: it is settled once.
    void settle(Spent& spent, std::uint64_t actual_tokens, TimePoint now);
    /// What an answer said. Does nothing unless the limit learns.
    void learn(const VendorSignal& signal, TimePoint now);

    /// A seat, unless `seats` are taken: `spec.seats->most`, or what an adaptive limit says now.
    std::optional<Lease> enter(unsigned seats);
    unsigned seats_in_use() const;

    /// Would `enter` fail now?
    bool seats_full(unsigned seats) const;

    WaitQueue& spenders() const;  // who waits for `spend` alone
    WaitQueue& sitters() const;   // who waits for `enter`, with whatever else it needs

    LimitView view(TimePoint now) const;

  private:
    friend class LimitState;
    struct Entry;
    Place(Entry* entry, bool held) : entry_(entry), held_(held) {}

    Entry* entry_ = nullptr;
    bool held_ = false;
};

class LimitState {
  public:
    /// `seed` (random, secret) keeps whoever chooses the keys from choosing where in the table they go.
    LimitState(const LimitSpec& spec, std::array<std::uint64_t, 2> seed);
    ~LimitState();
    LimitState(const LimitState&) = delete;
    LimitState& operator=(const LimitState&) = delete;

    const LimitSpec& spec() const { return spec_; }
    /// How many seats there are for each key by the policy in force, where they are not found from latency. More of them
    /// wake who waits, under whichever policy it began to.
    unsigned seats() const { return seats_.load(); }
    void set_seats(unsigned seats);
    /// Of what goes under it, all keys together: what is reserved for who does not say.
    UsualAnswer& usual_answer() { return usual_answer_; }

    /// Where `key` has its share. At most `most_keys` are known at a time; a key is forgotten only when a new one in
    /// its place would stand no better: nobody holds it, all of its burst is there, nothing is learnt. Where no room
    /// can be made, all keys that find none share one entry: hostile keys grow no memory and get no more than one key
    /// would.
    Place place(std::string_view key, TimePoint now);

    /// All keys together; walks the table of a per-key limit.
    LimitView view(TimePoint now) const;

    static constexpr std::size_t ways = 16;  // entries of a bucket; a key may stand in either of two
    static constexpr std::size_t most_keys = 256 * ways;

  private:
    struct Bucket;

    Bucket& bucket_of(std::uint64_t hash);
    Place found_in(Bucket& bucket, std::uint64_t hash);
    Place made_in(std::array<Bucket*, 2> buckets, std::uint64_t hash, TimePoint now);

    const LimitSpec spec_;
    const std::array<std::uint64_t, 2> seed_;
    std::unique_ptr<Place::Entry> all_;                // the only entry, or that of keys that find no room
    std::unique_ptr<std::atomic<Bucket*>[]> buckets_;  // of a per-key limit; each made with its first key
    UsualAnswer usual_answer_;
    std::atomic<unsigned> seats_;
    BriefLock lock_;  // who makes a bucket, or room in one
};

/// What our own `RateLimit` and `RateLimit-Policy` say of a limit: rate, tokens, seats, as far as it has them.
struct QuotaViews {
    std::array<QuotaView, 3> views{};
    std::size_t size = 0;
};
/// The names are views into `spec`. `seats`: what holds now.
QuotaViews quota_views(const LimitSpec& spec, const LimitView& view, unsigned seats);

/// How long a refused caller should wait: until `full.retry_at`; where that is not known, a second.
Duration retry_after_of(const Full& full, TimePoint now);

/// `rate_limited`, `token_limited` or `concurrency_limited`, which limit it was, and when to try again.
Refusal refusal_of(const LimitSpec& spec, const Full& full, TimePoint now);

}  // namespace sluice
