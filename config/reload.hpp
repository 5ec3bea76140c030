// From one policy to the next: what lives on, what may not change, what does. Pure; called by a reload on its own
// thread, and by `sluice check --against`.
#pragma once

#include <array>
#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/decode.hpp"

namespace sluice {

/// Before `into` is shared with anybody: each vendor gets the breakers, limits and budgets of the vendor of its name in
/// `from` (null: there is none before), as far as its rules did not change. `seed` (random, secret): where limits have keys.
void carry_over(const Config* from, Config& into, std::array<std::uint64_t, 2> seed);

/// What operators forced of the vendors of `from` is forced in `into` too. While nobody forces anything.
void keep_forced(const Config& from, const Config& into);

/// One key that differs, as `describe_config` writes it. JSON texts; "" where the key is not there.
struct KeyChange {
    std::string key;  // below its vendor or credential: "timeout.total", "routes[2].name"
    std::string from, to;
};

/// What becomes of the entries of one map.
struct EntryChanges {
    struct Changed {
        std::string name;
        std::vector<KeyChange> keys;
    };
    std::vector<std::string> added, removed;
    std::vector<Changed> changed;

    bool empty() const { return added.empty() && removed.empty() && changed.empty(); }
};

struct PolicyChanges {
    EntryChanges vendors, credentials;
    std::vector<KeyChange> settings;  // outside of these two maps
    std::vector<KeyChange> refused;   // what only a restart can change: `listen`, `workers`, `state`, `authority`

    bool empty() const { return vendors.empty() && credentials.empty() && settings.empty() && refused.empty(); }
};

/// Of two policies as `describe_config` writes them; `running` may have come from another version of Sluice.
PolicyChanges compare_policies(const boost::json::object& running, const boost::json::object& next);

/// A fault for each change that a reload refuses, of the file as a whole.
std::vector<Fault> faults_of_reload(const PolicyChanges& changes, const std::string& file);

}  // namespace sluice
