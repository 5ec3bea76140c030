// Which of a rotation's two secrets (`overlap`) a request shows first. Pure; one a credential, for all workers: its slot has it, under a lock.
//
// A request that can be sent again finds out by itself: refused with one secret, it is sent with the other. One that cannot (its body is not kept) leaves what it learnt to those behind it: once it was
// refused, the next one of its kind shows the other secret. Not again and again: an application may be able to have a vendor refuse whatever it is shown. And as that may have been the request's own
// fault, the secret before the rotation does not come first for being taken then: the next one of that kind shows the new one once more.
#pragma once

#include <cstdint>

#include "proxy/base/time.hpp"

namespace sluice {

struct OverlapTimes {
    Duration trust = 30s;                          // in the previous secret, before a request shows the new one
    Duration first_rest = 1s, longest_rest = 60s;  // between requests that cannot be sent again and show the secret that does not come first
};

/// `serial` everywhere: of the CredentialState whose two secrets are meant; news of one before are no news.
class OverlapPlan {
  public:
    explicit OverlapPlan(OverlapTimes times = {}) : times_(times) {}

    /// Does the request that is about to go show the previous one? `repeatable`: it can be sent again with the other. It counts as shown.
    bool shows_previous(std::uint64_t serial, bool repeatable, TimePoint now);
    /// The vendor refused that one of them.
    void refused(std::uint64_t serial, bool previous, bool repeatable, TimePoint now);
    /// The vendor took that one of them. True: it is news that the previous one comes first from here on.
    bool taken(std::uint64_t serial, bool previous, TimePoint now);

  private:
    bool follow(std::uint64_t serial);

    OverlapTimes times_;
    std::uint64_t serial_ = 0;
    bool previous_first_ = false;
    bool doubted_ = false;       // the new one was refused to a request that can be sent again, and not taken since
    bool trial_ = false;         // the next request that cannot be sent again shows the one that does not come first
    bool on_trial_ = false;      // one of those shows the previous one
    bool once_more_ = false;     // that was taken: the next of its kind shows the new one ...
    bool again_ = false;         // ... and does so now
    bool untold_ = false;        // the previous one comes first, and has not been taken since
    TimePoint new_again_{};      // of previous_first_: when the new one is shown again
    TimePoint tried_{};          // when the last trial was asked for
    Duration rest_{};
};

}  // namespace sluice
