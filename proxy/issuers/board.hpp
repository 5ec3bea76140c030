// Where those who read and fetch credentials put them up, and workers hear of it. A credential has one slot, from policy to policy as long as
// nothing of what is written of it changes; what is in the slot is an immutable state. Any thread; one board a process.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "proxy/base/brief_lock.hpp"
#include "proxy/credentials/overlap.hpp"
#include "proxy/credentials/state.hpp"

namespace sluice {

class CredentialSlot {
  public:
    explicit CredentialSlot(const CredentialSpec& spec);

    /// As it was written. `index` and `issuer` mean something under the policy it was first read in only.
    const CredentialSpec& spec() const { return spec_; }
    /// As it stands: one that nobody has read or fetched yet is `coming`.
    std::shared_ptr<const CredentialState> state() const;
    /// Which of its two secrets comes first, where it has two: `what` asks or tells it, and does nothing else. Any thread.
    template <class What>
    auto overlap(What what) {
        const BriefLock::Guard guard(overlap_lock_);
        return what(overlap_);
    }

  private:
    friend class CredentialBoard;
    const CredentialSpec spec_;
    mutable std::mutex mutex_;
    std::shared_ptr<const CredentialState> state_;
    BriefLock overlap_lock_;
    OverlapPlan overlap_;
};

/// Of one policy, by CredentialSpec::index: its credentials, then Config::secrets.
using CredentialSlots = std::vector<std::shared_ptr<CredentialSlot>>;

/// Those of another policy: a credential that is the same as before (by name and all that is written of it) keeps its slot.
CredentialSlots carry_over(const Config& config, const CredentialSlots& before);

class CredentialBoard {
  public:
    using Subscriber = std::function<void(const CredentialSlots& changed)>;
    using Change = std::pair<std::shared_ptr<CredentialSlot>, std::shared_ptr<const CredentialState>>;

    void post(std::vector<Change> changes);

    /// Calls `told` after each change, on the thread that posts it; none is missed. It should post to the subscriber's own thread, look there at what the slots hold, and may not
    /// subscribe or unsubscribe. The number unsubscribes.
    std::size_t subscribe(Subscriber told);
    /// No call is under way when it returns, and none follows.
    void unsubscribe(std::size_t id);

    /// For an attachment that is not the one before.
    std::uint64_t next_serial() { return ++serials_; }

  private:
    std::mutex mutex_;   // held while telling, so that every subscriber sees the same order and no gap
    std::map<std::size_t, Subscriber> subscribers_;
    std::size_t next_subscriber_ = 1;
    std::atomic<std::uint64_t> serials_{0};
};

}  // namespace sluice
