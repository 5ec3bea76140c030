// The policy that a command works on: found, read, and its faults told to people or to machines.
#pragma once

#include <boost/json/array.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/decode.hpp"
#include "config/places.hpp"
#include "proxy/app/console.hpp"
#include "proxy/app/policy_source.hpp"

namespace sluice {

/// `given`, else $SLUICE_CONFIG, else ./sluice.yaml, else /etc/sluice/sluice.yaml; nothing where none of the latter
/// exists.
std::optional<std::string> find_policy(const std::string& given);

/// What find_policy looked for, and what would do.
void tell_none_found(Console& err);

/// One fault with its source line and caret; red, or yellow where it is a warning.
void print_fault(Console& console, const Fault& fault);
boost::json::array faults_as_json(const std::vector<Fault>& faults);

/// Where the policy's own file could not be read: adds why.
void say_why_unread(Decoded& decoded);

/// For commands that need a sound policy: its faults (warnings too) go to `err`. Null where it is bad or missing: the
/// command ends with Exit::bad_policy.
std::shared_ptr<const Config> load_or_explain(const std::string& given, Console& err);
/// The same, and where each of its keys is written.
std::shared_ptr<const Config> load_or_explain(const std::string& given, Console& err, PolicyPlaces& places);

/// The same for commands that run: the policy, and where it is to be read again.
struct Loaded {
    std::shared_ptr<PolicySource> source;
    std::shared_ptr<const Config> config;
};
Loaded load_to_run(const std::string& given, Console& err, PolicySource::Adjust adjust = {});

/// Where the public parts of the authority are published: what the policy says, else `<state>/public`; "" without a
/// state.
std::string published_directory(const Config& config);

}  // namespace sluice
