// The pace that a vendor asks for, learnt from its answers (`learn: true`) and kept until the vendor's own time is up,
// an hour at most. It stands beside the limit that the operator wrote and can only tighten it: an intermediary may
// tighten, not loosen. A few words shared by all workers; pure: time is an argument.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "proxy/base/time.hpp"
#include "proxy/http/ratelimit_headers.hpp"

namespace sluice {

/// What one answer said about how fast the vendor may be called (policy/throttle reads it).
struct VendorSignal {
    bool limited = false;                 // refused for its rate: a 429, or one of the forms that are not
    std::optional<Duration> retry_after;  // Retry-After and its like; goes before what the quotas say of their reset
    QuotaHints quotas;
    std::uint32_t resource = 0;  // whose quotas they are (GitHub's `x-ratelimit-resource`, hashed); 0: not told
    bool overloaded = false;     // refused because the calls of all its callers are too many: a 529

    /// What of it is about the vendor as a whole. A Retry-After of an answer that refused nobody for its rate (a 503, a
    /// 529) is about the endpoint that gave it: where another endpoint or another vendor can serve meanwhile, whether
    /// that one is left alone is its breaker's to say.
    VendorSignal of_vendor() const {
        VendorSignal signal = *this;
        signal.overloaded = false;
        if (!limited) signal.retry_after.reset();
        return signal;
    }
};

class LearntPace {
  public:
    LearntPace() = default;
    LearntPace(const LearntPace&) = delete;
    LearntPace& operator=(const LearntPace&) = delete;

    /// Every answer of the vendor:
    /// - `retry_after`: closed so long; never shorter than what holds already;
    /// - a quota is spent: closed until its reset; of one that refills: until the next call's part is there;
    /// - a quota is nearly spent (a fifth of its limit, or 10 where no limit is said): what is left is spread over the
    /// time
    ///   to the reset, so that calls are `reset / remaining` apart (of tokens: for each token of their cost);
    /// - else what was learnt of the spacing of that kind is forgotten;
    /// - `limited`, and not a word of how long: closed for 1 s, doubling with each such answer up to 32 s, begun anew
    /// once
    ///   an answer is not limited;
    /// - `overloaded`, likewise, from the third such answer in a row on: single ones come from a vendor that serves
    ///   all the others, who need not wait for them.
    /// Of a vendor that counts resources apart, the quotas of the one that most of the last answers were about are
    /// learnt from, so that a spent search holds nothing else back; who wants another one paced gives its route a
    /// limit. A Retry-After is about all of them.
    void learn(const VendorSignal& signal, TimePoint now);

    /// When a call may go; `now` or earlier: at once. Takes nothing.
    TimePoint ready_at(TimePoint now) const;
    /// Takes a place at the learnt spacing, if `ready_at` is not later than now.
    bool take(std::uint64_t cost_tokens, TimePoint now);
    /// Until when something learnt holds; `now` or earlier: nothing does.
    TimePoint holds_until(TimePoint now) const;

    struct View {
        Duration closed{};         // how long no call goes
        Duration spacing{};        // between calls
        Duration token_spacing{};  // for each token of a call's cost
        Duration holds{};          // until all of this is forgotten; 0: nothing was learnt
    };
    View view(TimePoint now) const;

    /// Everything forgotten.
    void reset();

    static constexpr Duration most_time = 1h;

  private:
    /// What is left of a quota, spread over the time to its reset.
    struct Spacing {
        std::atomic<std::int64_t> apart{0};  // ns between units; 0: none
        std::atomic<std::int64_t> until{0};  // ns of the steady clock
        std::atomic<std::int64_t> next{0};   // when the next call may go

        bool holds(std::int64_t at) const { return apart.load() > 0 && until.load() > at; }
        std::int64_t ready_at(std::int64_t at) const { return holds(at) ? std::min(next.load(), until.load()) : 0; }
        bool take(std::uint64_t units, std::int64_t at);
        void set(std::int64_t apart, std::int64_t until, std::int64_t at);
    };
    bool is_mine(std::uint32_t resource);
    void forget();

    struct Lesson;
    static Lesson lesson_of(const QuotaHint& hint);

    void learn_spacings(const QuotaHints& quotas, std::int64_t at);
    static bool close_for(std::atomic<std::int64_t>& until, Duration wait, std::int64_t at);
    std::int64_t closed_until() const { return std::max(quota_until_.load(), asked_until_.load()); }

    std::atomic<std::uint64_t> mine_{0};  // the resource, and below it how far its answers are ahead of the others'
    std::atomic<std::int64_t> quota_until_{0};  // closed by what that resource's answers say
    std::atomic<std::int64_t> asked_until_{0};  // closed by a Retry-After
    std::atomic<unsigned> strikes_{0};          // limited without a word of how long
    std::atomic<unsigned> overloads_{0};        // overloaded, in a row
    Spacing requests_, tokens_;
};

}  // namespace sluice
