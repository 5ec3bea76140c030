// Which line of the policy each number comes from that `sluice explain` tells: on the route, on the vendor, in the
// defaults, or nowhere, where it is built in. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/places.hpp"
#include "proxy/app/explain.hpp"

namespace sluice {

/// Of one map that is inherited key by key.
struct DecidingLines {
    std::vector<std::pair<std::string, PolicyPlace>> keys;  // those that are written; a key may have several
    bool complete = false;                                  // no key of it is built in, or it is an entry of its own
    std::optional<PolicyPlace> nearest;                     // of the map, where it is written last

    /// "p.yaml:9", or "p.yaml:9 (max), p.yaml:3 (on, budget)" where that is not all; "": all is built in.
    std::string text() const;
    /// Adds `place` (the nearest) and `places` (of each key).
    void add_to(boost::json::object& out) const;
};

class ExplainLines {
  public:
    explicit ExplainLines(const Explanation& explanation);

    DecidingLines timeouts(const std::vector<std::pair<std::string_view, Duration>>& told) const;
    DecidingLines retry() const;
    DecidingLines hedge() const;
    DecidingLines idempotency() const;
    DecidingLines breaker() const;
    /// As many as the vendor and then the route have.
    std::vector<DecidingLines> limits() const;
    /// Of a key of the vendor that is not inherited; "endpoints", "1".
    std::optional<PolicyPlace> of_vendor(const PolicyPlaces::Path& below) const;

  private:
    using Path = PolicyPlaces::Path;
    using Keys = std::vector<Path>;
    /// The nearest first: of the route, the vendor, the defaults; those that this request has.
    std::vector<Path> levels(const std::string& map) const;
    DecidingLines decide(const std::vector<Path>& levels, const Keys& keys) const;
    DecidingLines limit(const std::vector<Path>& levels) const;
    std::vector<Path> entries(const Path& limit) const;
    std::vector<DecidingLines> vendor_limits() const;

    const Explanation& explanation_;
    const PolicyPlaces& places_;
    std::optional<Path> vendor_, route_;
};

}  // namespace sluice
