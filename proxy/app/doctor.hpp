// `sluice doctor`: is everything in place for the applications of this machine, as the user who asks and in the
// environment that asks? What is wrong is told with what to do, and so is what each client that is found will ignore.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "proxy/app/clients.hpp"
#include "proxy/app/console.hpp"
#include "proxy/app/environment.hpp"

namespace sluice {

enum class Health : unsigned char { fine, note, wrong };

struct Finding {
    std::string subject;  // "proxy", "CA", "variables" ...
    Health health = Health::fine;
    std::string what;
    std::string fix;  // "" where there is nothing to do
};

/// What is wrong with this environment, held against what `sluice env` prints. `variable` gives a variable's value.
/// Values are never told: a proxy's URL may hold a password. Pure.
std::vector<Finding> examine_variables(const Variables& expected, const Config& config,
                                       const std::function<std::optional<std::string>(const std::string&)>& variable);

/// What of the vendors of a running Sluice's /vendors has no credential, or will have none soon. Pure.
std::vector<Finding> examine_catalogue(const boost::json::array& vendors, WallTime now);

/// How its audit trail fares, as the same answer says; nothing where that says nothing. Pure.
std::vector<Finding> examine_audit(const boost::json::value& vendors);

/// Asks proxy and admin, which costs one refused request; reads nothing but the policy and what is published. Exit 0
/// when nothing is wrong, else 1.
int run_doctor(const std::string& config, Output output, Streams& streams);

}  // namespace sluice
