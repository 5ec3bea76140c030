// What one worker knows of credentials. `DeskTable` is the worker's, one entry a slot; a `Desk` is one policy's view of it. So an exchange that began under the policy before hears of a
// credential that both have. One worker thread.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/issuers/board.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

class CredentialKeeper;

struct DeskEntry {
    std::shared_ptr<CredentialSlot> slot;
    std::shared_ptr<const CredentialState> state;   // counted on this thread alone: see desk.cpp
    boost::intrusive::list<CredentialWait, boost::intrusive::constant_time_size<false>> waits;
};

class DeskTable {
  public:
    std::shared_ptr<DeskEntry> entry_of(const std::shared_ptr<CredentialSlot>& slot);
    /// Looks at these again, and wakes who waits for them.
    void refresh(const CredentialSlots& changed);

  private:
    std::unordered_map<const CredentialSlot*, std::weak_ptr<DeskEntry>> entries_;
};

class Desk final : public CredentialDesk {
  public:
    /// `keeper` is told what is wanted and refused; null: everything is read, nothing fetched.
    Desk(DeskTable& table, const CredentialSlots& slots, CredentialKeeper* keeper);

    const std::shared_ptr<const CredentialState>& current(std::size_t credential) override { return entries_[credential]->state; }
    void wait_for(std::size_t credential, CredentialWait& wait) override;
    bool refused(std::size_t credential, std::uint64_t serial) override;
    bool shows_previous(std::size_t credential, bool repeatable) override;
    void secret_refused(std::size_t credential, std::uint64_t serial, bool previous, bool repeatable) override;
    void secret_taken(std::size_t credential, std::uint64_t serial, bool previous) override;

  private:
    CredentialKeeper* keeper_;
    std::vector<std::shared_ptr<DeskEntry>> entries_;   // by CredentialSpec::index
};

}  // namespace sluice
