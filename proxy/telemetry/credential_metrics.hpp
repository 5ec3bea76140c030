// What is told of credentials that are fetched: how fetches ended and how long they took, and since when and until when the one at hand is good. Never what it is. Any thread; nothing of it is on a request's
// path.
//
// Labels: `credential` is a name of the policy; `result` is `ok` or `failed`.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

/// One credential of the policy in force, as it stands.
struct CredentialStanding {
    std::string name;
    bool available = false;
    std::optional<WallTime> minted, expires;
};

class CredentialMetrics {
  public:
    using Look = std::function<std::vector<CredentialStanding>()>;

    /// Where to look at a scrape. Before the first one.
    void watch(Look look) { look_ = std::move(look); }
    void fetched(std::string_view credential, bool ok, Duration took);
    /// In the Prometheus text format.
    std::string text() const;

  private:
    static constexpr std::array<double, 9> bounds{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};   // seconds
    struct Fetches {
        std::uint64_t ok = 0, failed = 0;
        std::array<std::uint64_t, bounds.size() + 1> took{};
        double seconds = 0;
    };

    Look look_;
    mutable std::mutex mutex_;
    std::map<std::string, Fetches, std::less<>> fetches_;
};

}  // namespace sluice
