#include "proxy/issuers/refresh_flight.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice {

namespace {

// Who is told may go on, wait elsewhere, or end and take others with it; each leaves this list by itself.
void tell_waiting(RefreshFlight& flight) {
    decltype(flight.waits) told;
    told.splice(told.end(), flight.waits);
    while (!told.empty()) {
        CredentialWait& wait = told.front();
        told.pop_front();
        wait.wakeup.notify(Wait::ready);
    }
}

}  // namespace

std::shared_ptr<RefreshFlight> RefreshFlights::find(const std::string& chain) const {
    const auto found = flights_.find(chain);
    return found == flights_.end() ? nullptr : found->second;
}

void RefreshFlights::begin(const std::string& chain, std::shared_ptr<RefreshFlight> flight) {
    flights_.emplace(chain, std::move(flight));
}

void RefreshFlights::end(const std::string& chain, Result<TokenGranted> answer) {
    const auto found = flights_.find(chain);
    const std::shared_ptr<RefreshFlight> flight = std::move(found->second);
    flights_.erase(found);
    flight->answer = std::move(answer);
    tell_waiting(*flight);
    if (flights_.empty() && idle_) std::exchange(idle_, {})();
}

Duration RefreshFlights::stop() {
    stopping_ = true;
    Duration patience{};
    std::vector<std::shared_ptr<RefreshFlight>> all;   // some end inside of this
    for (const auto& [_, flight] : flights_) all.push_back(flight);
    for (const auto& flight : all) {
        tell_waiting(*flight);
        if (flight->errand.sent_since())
            patience = std::max(patience, flight->errand.own_rules()->timeout.total);
        else
            flight->errand.abort();
    }
    return patience;
}

}  // namespace sluice
