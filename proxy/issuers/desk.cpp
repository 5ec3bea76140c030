#include "proxy/issuers/desk.hpp"

#include "proxy/issuers/keeper.hpp"
#include "proxy/ports/clock.hpp"

namespace sluice {

namespace {

// An exchange holds what it was given to its end. All workers counting in one place would be traffic between them, so each counts in a block of its own.
std::shared_ptr<const CredentialState> own(std::shared_ptr<const CredentialState> shared) {
    const CredentialState* state = shared.get();
    return {std::make_shared<std::shared_ptr<const CredentialState>>(std::move(shared)), state};
}

}  // namespace

std::shared_ptr<DeskEntry> DeskTable::entry_of(const std::shared_ptr<CredentialSlot>& slot) {
    std::erase_if(entries_, [](const auto& known) { return known.second.expired(); });
    std::weak_ptr<DeskEntry>& known = entries_[slot.get()];
    if (auto entry = known.lock()) return entry;
    auto entry = std::make_shared<DeskEntry>();
    entry->slot = slot;
    entry->state = own(slot->state());
    known = entry;
    return entry;
}

void DeskTable::refresh(const CredentialSlots& changed) {
    decltype(DeskEntry::waits) told;
    for (const auto& slot : changed) {
        const auto found = entries_.find(slot.get());
        const auto entry = found == entries_.end() ? nullptr : found->second.lock();
        if (!entry) continue;
        entry->state = own(slot->state());
        told.splice(told.end(), entry->waits);
    }
    // Whoever is told may wait again, or end and take others with it; each leaves this list by itself.
    while (!told.empty()) {
        CredentialWait& wait = told.front();
        told.pop_front();
        wait.wakeup.notify(Wait::ready);
    }
}

Desk::Desk(DeskTable& table, const CredentialSlots& slots, CredentialKeeper* keeper) : keeper_(keeper) {
    for (const auto& slot : slots) entries_.push_back(table.entry_of(slot));
}

void Desk::wait_for(std::size_t credential, CredentialWait& wait) {
    DeskEntry& entry = *entries_[credential];
    entry.waits.push_back(wait);
    const bool over = entry.state->attachment && Clock::now() >= entry.state->usable_until;   // of one that a reload left nobody else would say so
    if (keeper_ && (entry.state->idle || over)) keeper_->want(entry.slot);
}

bool Desk::refused(std::size_t credential, std::uint64_t serial) {
    const DeskEntry& entry = *entries_[credential];
    if (!keeper_ || entry.slot->spec().is_static()) return false;
    keeper_->refused(entry.slot, serial);
    return true;
}

bool Desk::shows_previous(std::size_t credential, bool repeatable) {
    const DeskEntry& entry = *entries_[credential];
    if (!entry.state->previous) return false;
    return entry.slot->overlap([&](OverlapPlan& plan) { return plan.shows_previous(entry.state->serial, repeatable, Clock::now()); });
}

void Desk::secret_refused(std::size_t credential, std::uint64_t serial, bool previous, bool repeatable) {
    entries_[credential]->slot->overlap([&](OverlapPlan& plan) { plan.refused(serial, previous, repeatable, Clock::now()); });
}

void Desk::secret_taken(std::size_t credential, std::uint64_t serial, bool previous) {
    const DeskEntry& entry = *entries_[credential];
    const bool news = entry.slot->overlap([&](OverlapPlan& plan) { return plan.taken(serial, previous, Clock::now()); });
    if (news && keeper_) keeper_->previous_taken(entry.slot);
}

}  // namespace sluice
