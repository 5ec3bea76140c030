#include "config/reload.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "proxy/policy/vendor_state.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

/// Sockets are bound, threads run and applications trust a CA: these cannot be taken back while it runs.
constexpr std::string_view of_the_process[] = {"listen", "workers", "state", "authority"};

const json::object& object_at(const json::object& object, std::string_view key) {
    static const json::object none;
    const json::value* found = object.if_contains(key);
    return found && found->is_object() ? found->get_object() : none;
}

std::string joined(const std::string& above, std::string_view key) {
    return above.empty() ? std::string(key) : above + '.' + std::string(key);
}

void compare(const json::value* from, const json::value* to, const std::string& key, std::vector<KeyChange>& out);

void compare(const json::object& from, const json::object& to, const std::string& key, std::vector<KeyChange>& out) {
    for (const auto& [name, value] : from) compare(&value, to.if_contains(name), joined(key, name), out);
    for (const auto& [name, value] : to)
        if (!from.contains(name)) compare(nullptr, &value, joined(key, name), out);
}

void compare(const json::value* from, const json::value* to, const std::string& key, std::vector<KeyChange>& out) {
    if (from && to && *from == *to) return;
    if (from && to && from->is_object() && to->is_object())
        return compare(from->get_object(), to->get_object(), key, out);
    // Entry by entry only where that says more than the two lists.
    const auto objects = [](const json::value* value) {
        return value && value->is_array() && !value->get_array().empty() &&
               std::all_of(value->get_array().begin(), value->get_array().end(),
                           [](const json::value& item) { return item.is_object(); });
    };
    if (objects(from) && objects(to) && from->get_array().size() == to->get_array().size()) {
        for (std::size_t i = 0; i < from->get_array().size(); ++i)
            compare(&from->get_array()[i], &to->get_array()[i], key + '[' + std::to_string(i) + ']', out);
        return;
    }
    out.push_back({key, from ? json::serialize(*from) : std::string(), to ? json::serialize(*to) : std::string()});
}

EntryChanges compare_entries(const json::object& from, const json::object& to) {
    EntryChanges changes;
    for (const auto& [name, value] : from) {
        const json::value* other = to.if_contains(name);
        if (!other) {
            changes.removed.emplace_back(name);
            continue;
        }
        EntryChanges::Changed entry{std::string(name), {}};
        compare(&value, other, {}, entry.keys);
        if (!entry.keys.empty()) changes.changed.push_back(std::move(entry));
    }
    for (const auto& [name, value] : to)
        if (!from.contains(name)) changes.added.emplace_back(name);
    return changes;
}

std::string shown(const std::string& value) {
    return value.empty() ? "not set" : value;
}

}  // namespace

void carry_over(const Config* from, Config& into, std::array<std::uint64_t, 2> seed) {
    for (Vendor& vendor : into.vendors) make_live(vendor, from ? from->find(vendor.name) : nullptr, seed);
    make_live(into.unmatched_vendor, from ? &from->unmatched_vendor : nullptr, seed);
}

void keep_forced(const Config& from, const Config& into) {
    for (const Vendor& vendor : into.vendors)
        if (const Vendor* before = from.find(vendor.name)) keep_forced(*before->live, *vendor.live);
}

PolicyChanges compare_policies(const json::object& running, const json::object& next) {
    PolicyChanges changes;
    changes.vendors = compare_entries(object_at(running, "vendors"), object_at(next, "vendors"));
    changes.credentials = compare_entries(object_at(running, "credentials"), object_at(next, "credentials"));
    std::vector<KeyChange> all;
    const auto is_setting = [](std::string_view key) { return key != "vendors" && key != "credentials"; };
    for (const auto& [name, value] : running)
        if (is_setting(name)) compare(&value, next.if_contains(name), std::string(name), all);
    for (const auto& [name, value] : next)
        if (is_setting(name) && !running.contains(name)) compare(nullptr, &value, std::string(name), all);
    for (KeyChange& change : all) {
        const std::string_view top = std::string_view(change.key).substr(0, change.key.find('.'));
        const bool refused = std::count(std::begin(of_the_process), std::end(of_the_process), top) > 0;
        (refused ? changes.refused : changes.settings).push_back(std::move(change));
    }
    return changes;
}

std::vector<Fault> faults_of_reload(const PolicyChanges& changes, const std::string& file) {
    std::vector<Fault> faults;
    for (const KeyChange& change : changes.refused) {
        Fault fault;
        fault.file = file;
        fault.message = change.key + " cannot change while Sluice runs: it is " + shown(change.from) + " now and " +
                        shown(change.to) + " here; restart Sluice to change it";
        faults.push_back(std::move(fault));
    }
    return faults;
}

}  // namespace sluice
