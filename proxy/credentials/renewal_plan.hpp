// When a credential that ends is fetched again. Pure; one a credential. It knows no issuer: whoever fetches tells it when that began and how it came out.
//
// A token is renewed well before its end, at a time that is spread, so that a fleet that was started together does not come together. While its issuer is out, the one at hand is used until 250 ms before
// its end, counted from when it was asked for; never longer. Between two attempts there is a pause that doubles, and that is as long as the issuer asks for: that is its breaker, one for each credential.
#pragma once

#include <optional>

#include "proxy/base/time.hpp"

namespace sluice {

struct RenewalTimes {
    std::optional<Duration> before;          // the end; nothing: 20 % of the lifetime, at least 30 s. With its spread never more than half the lifetime
    Duration spare = 250ms;                  // before its end a token is not used any more
    Duration first_pause = 250ms, longest_pause = 5s;
    Duration longest_asked = 1min;           // of the pauses that an issuer asks for; beside its spread
    Duration unknown = 1h;                   // after which one is renewed that may never end
    Duration longest = std::chrono::hours(24 * 30);   // that an issuer is believed
    Duration first_rest = 1s, longest_rest = 60s;     // between fetches because a vendor refuses what was fetched
};

/// What to say in a Retry-After while something does not come: an issuer that is out has been asked again by then, unless it asked for a longer pause.
constexpr Duration asked_again_within = RenewalTimes{}.longest_pause;

class RenewalPlan {
  public:
    RenewalPlan(RenewalTimes times, bool eager) : times_(times), due_(eager ? TimePoint{} : never) {}

    /// When to fetch; `never`: when somebody asks.
    TimePoint due() const { return due_; }
    /// Somebody waits for a first one. Not while there is a pause.
    void wanted() {
        if (due_ == never && usable_until_ == TimePoint{}) due_ = {};
    }

    void began(TimePoint now) { began_ = now; }
    /// `lifetime` from when it was asked for; nothing: it has no end that is known. `draw` in 0 .. 1 (below 1), the spread. False: it has ended already, which is a failure like another; call `failed`.
    /// `renew_after`: due by then whatever its lifetime is.
    bool fetched(TimePoint now, std::optional<Duration> lifetime, double draw, std::optional<Duration> renew_after = {});
    /// `asked`: the pause that the issuer asks for (Retry-After); none is shorter.
    void failed(TimePoint now, double draw, Duration asked = {});

    /// The vendor refuses what was fetched last. True: it is due now. Not again and again: who is refused whatever was fetched would make its issuer pay.
    bool refused(TimePoint now);

    /// What it is made of was changed by whoever gives it out: it is due now, and what was refused before says nothing of the next one.
    void changed(TimePoint now) {
        due_ = now;
        rest_ = {};
    }
    /// Another policy's `before`, for the one at hand as well. One that is due stays due.
    void renew_before(TimePoint now, std::optional<Duration> before);
    /// The machine was suspended for so long, and its clock with it: everything is that much nearer.
    void slept(Duration time);

    /// No one is used from here on. TimePoint{}: there is none; never: it does not end.
    TimePoint usable_until() const { return usable_until_; }
    bool has_one(TimePoint now) const { return now < usable_until_; }
    /// Failures since the last success.
    unsigned failures() const { return failures_; }

  private:
    TimePoint renewal() const;

    RenewalTimes times_;
    TimePoint due_;
    TimePoint began_{};
    TimePoint fetched_at_{};
    TimePoint usable_until_{};
    // Of the one at hand:
    TimePoint asked_at_{};
    Duration life_{};
    double draw_ = 0;
    std::optional<Duration> renew_after_;
    Duration pause_{};
    Duration rest_{};
    unsigned failures_ = 0;
};

}  // namespace sluice
