#include "proxy/telemetry/credential_metrics.hpp"

#include <algorithm>
#include <limits>

#include "proxy/telemetry/families.hpp"

namespace sluice {

namespace {

double seconds(WallTime at) { return std::chrono::duration<double>(at.time_since_epoch()).count(); }

}  // namespace

void CredentialMetrics::fetched(std::string_view credential, bool ok, Duration took) {
    const double time = std::chrono::duration<double>(took).count();
    const std::lock_guard lock(mutex_);
    Fetches& fetches = fetches_.try_emplace(std::string(credential)).first->second;
    ++(ok ? fetches.ok : fetches.failed);
    ++fetches.took[static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), time) - bounds.begin())];
    fetches.seconds += time;
}

std::string CredentialMetrics::text() const {
    Exposition out;
    MetricFamily expiry{"sluice_credential_expiry_timestamp_seconds", "When the credential at hand ends.", MetricType::Gauge, {}};
    MetricFamily minted{"sluice_credential_minted_timestamp_seconds", "When the credential at hand was asked for, or read; its age is the time since.", MetricType::Gauge, {}};
    MetricFamily available{"sluice_credential_available", "1 where requests get the credential, 0 where they are refused.", MetricType::Gauge, {}};
    for (const CredentialStanding& standing : look_ ? look_() : std::vector<CredentialStanding>{}) {
        if (standing.expires) add_gauge(expiry, {{"credential", standing.name}}, seconds(*standing.expires));
        if (standing.minted) add_gauge(minted, {{"credential", standing.name}}, seconds(*standing.minted));
        add_gauge(available, {{"credential", standing.name}}, standing.available);
    }
    out.add(std::move(expiry));
    out.add(std::move(minted));
    out.add(std::move(available));

    MetricFamily refreshes{"sluice_credential_refresh_total", "Fetches of a credential, by how they ended.", MetricType::Counter, {}};
    MetricFamily took{"sluice_credential_refresh_seconds", "How long a fetch of a credential took, well or not.", MetricType::Histogram, {}};
    const std::lock_guard lock(mutex_);
    for (const auto& [name, fetches] : fetches_) {
        add_counter(refreshes, {{"credential", name}, {"result", "ok"}}, static_cast<double>(fetches.ok));
        add_counter(refreshes, {{"credential", name}, {"result", "failed"}}, static_cast<double>(fetches.failed));
        auto& histogram = add_series(took, {{"credential", name}}).histogram;
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < fetches.took.size(); ++i) {
            sum += fetches.took[i];
            histogram.bucket.push_back({sum, i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity()});
        }
        histogram.sample_count = sum;
        histogram.sample_sum = fetches.seconds;
    }
    out.add(std::move(refreshes));
    out.add(std::move(took));
    return std::move(out).text();
}

}  // namespace sluice
