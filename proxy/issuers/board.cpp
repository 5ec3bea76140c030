#include "proxy/issuers/board.hpp"

#include <string_view>

namespace sluice {

CredentialSlot::CredentialSlot(const CredentialSpec& spec) : spec_(spec) {
    auto state = std::make_shared<CredentialState>();
    state->since = std::chrono::system_clock::now();
    state->fault = "credential '" + spec.name + "' has not been fetched yet";
    state->coming = true;
    state->idle = !spec.rules.eager;
    state_ = std::move(state);
}

std::shared_ptr<const CredentialState> CredentialSlot::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

CredentialSlots carry_over(const Config& config, const CredentialSlots& before) {
    std::map<std::string_view, const std::shared_ptr<CredentialSlot>*> known;
    for (const auto& slot : before) known.emplace(slot->spec().name, &slot);
    CredentialSlots slots;
    for (const auto* specs : {&config.credentials, &config.secrets})
        for (const CredentialSpec& spec : *specs) {
            const auto found = known.find(spec.name);
            const bool same = found != known.end() && (*found->second)->spec().same_as(spec);
            slots.push_back(same ? *found->second : std::make_shared<CredentialSlot>(spec));
        }
    return slots;
}

void CredentialBoard::post(std::vector<Change> changes) {
    if (changes.empty()) return;
    CredentialSlots changed;
    const std::lock_guard order(mutex_);
    for (auto& [slot, state] : changes) {
        const std::lock_guard lock(slot->mutex_);
        slot->state_ = std::move(state);
        changed.push_back(slot);
    }
    for (const auto& [_, told] : subscribers_) told(changed);
}

std::size_t CredentialBoard::subscribe(Subscriber told) {
    const std::lock_guard order(mutex_);
    subscribers_.emplace(next_subscriber_, std::move(told));
    return next_subscriber_++;
}

void CredentialBoard::unsubscribe(std::size_t id) {
    const std::lock_guard order(mutex_);
    subscribers_.erase(id);
}

}  // namespace sluice
