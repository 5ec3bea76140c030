#include "proxy/app/checks.hpp"

#include <ares.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/version.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/reload.hpp"
#include "proxy/app/admin_client.hpp"
#include "proxy/app/explain.hpp"
#include "proxy/app/file_access.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

void print_json(Console& console, const json::value& value) {
    console << json::serialize(value) << "\n";
}

std::string counted(std::size_t count, const std::string& what) {
    return std::to_string(count) + ' ' + what + (count == 1 ? "" : "s");
}

json::object check_as_json(const std::string& path, const Decoded& decoded) {
    json::object out{{"ok", decoded.config != nullptr}, {"file", path}, {"faults", faults_as_json(decoded.faults)}};
    if (decoded.config) out["policy"] = json::parse(describe_config(*decoded.config));
    return out;
}

void sum_up(const std::string& path, const Decoded& decoded, Streams& streams) {
    const std::size_t warnings =
        std::count_if(decoded.faults.begin(), decoded.faults.end(), [](const Fault& fault) { return fault.warning; });
    const std::size_t errors = decoded.faults.size() - warnings;
    std::string also = warnings ? ", " + counted(warnings, "warning") : "";
    if (!decoded.config) {
        streams.err << streams.err.paint(Colour::red, path + ": " + counted(errors, "error") + also) << "\n";
        return;
    }
    const Config& config = *decoded.config;
    streams.out << streams.out.paint(Colour::green, path + ": the policy is fine") << ": "
                << counted(config.vendors.size(), "vendor") << ", " << counted(config.credentials.size(), "credential")
                << also << "\n";
}

// ---- against a running Sluice

constexpr std::size_t most_shown = 100;  // characters of a value
constexpr std::size_t lead_shown = 30;   // of them, before where it differs from the other one

/// The policy that runs there, or why it cannot be had.
struct Running {
    json::object policy;
    std::string fault;
};

Running running_at(const ListenAddress& admin) {
    const HttpReply said = http_get(admin, "/config", 10s);
    if (!said.fault.empty()) return {{}, said.fault};
    if (said.status != 200) return {{}, "it answers " + std::to_string(said.status) + " to GET /config"};
    boost::system::error_code error;
    json::value policy = json::parse(said.body, error);
    if (error || !policy.is_object()) return {{}, "its /config is not a policy in JSON"};
    return {std::move(policy.get_object()), {}};
}

json::value value_of(const std::string& text) {
    return text.empty() ? json::value() : json::parse(text);
}

json::array keys_as_json(const std::vector<KeyChange>& keys) {
    json::array all;
    for (const KeyChange& change : keys)
        all.push_back(json::object{{"key", change.key}, {"from", value_of(change.from)}, {"to", value_of(change.to)}});
    return all;
}

json::object entries_as_json(const EntryChanges& entries) {
    json::array changed;
    for (const auto& entry : entries.changed)
        changed.push_back(json::object{{"name", entry.name}, {"keys", keys_as_json(entry.keys)}});
    return {{"added", json::array(entries.added.begin(), entries.added.end())},
            {"removed", json::array(entries.removed.begin(), entries.removed.end())},
            {"changed", std::move(changed)}};
}

json::object changes_as_json(const std::string& against, const PolicyChanges& changes) {
    return {{"against", against},
            {"vendors", entries_as_json(changes.vendors)},
            {"credentials", entries_as_json(changes.credentials)},
            {"settings", keys_as_json(changes.settings)},
            {"refused", keys_as_json(changes.refused)}};
}

/// What came over the network moves no terminal's cursor.
std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    return text;
}

/// What of a long value stands around `at`, where it differs.
std::string cut(const std::string& value, std::size_t at) {
    if (value.empty()) return "not set";
    if (value.size() <= most_shown) return printable(value);
    const std::size_t begin = at + most_shown / 2 <= most_shown ? 0 : std::min(at, value.size()) - lead_shown;
    const std::string_view shown = std::string_view(value).substr(begin, most_shown);
    return (begin > 0 ? "..." : "") + printable(std::string(shown)) + (begin + shown.size() < value.size() ? "..." : "");
}

void print_keys(const std::vector<KeyChange>& keys, const std::string& lead, Console& out) {
    for (const KeyChange& change : keys) {
        const auto [from, to] =
            std::mismatch(change.from.begin(), change.from.end(), change.to.begin(), change.to.end());
        const auto at = static_cast<std::size_t>(from - change.from.begin());
        out << lead << printable(change.key) << ": " << cut(change.from, at) << " -> " << cut(change.to, at) << "\n";
    }
}

void print_entries(const EntryChanges& entries, const std::string& map, Console& out) {
    for (const std::string& name : entries.added)
        out << out.paint(Colour::green, "  + " + map + '.' + printable(name)) << "\n";
    for (const std::string& name : entries.removed)
        out << out.paint(Colour::red, "  - " + map + '.' + printable(name)) << "\n";
    for (const auto& entry : entries.changed) {
        out << out.paint(Colour::yellow, "  ~ " + map + '.' + printable(entry.name)) << "\n";
        print_keys(entry.keys, "      ", out);
    }
}

void print_changes(const std::string& against, const PolicyChanges& changes, Console& out) {
    if (changes.empty()) {
        out << "nothing would change in the Sluice at " << against << "\n";
        return;
    }
    out << "in the Sluice at " << against << " a reload would change\n";
    print_entries(changes.vendors, "vendors", out);
    print_entries(changes.credentials, "credentials", out);
    print_keys(changes.settings, "  ~ ", out);
    if (changes.refused.empty()) return;
    out << out.paint(Colour::red, "but it would be refused: only a restart can change") << "\n";
    print_keys(changes.refused, "  ! ", out);
}

std::string in_capitals(std::string text) {
    for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return text;
}

std::string absolute(const std::string& path) {
    return std::filesystem::absolute(path).lexically_normal().string();
}

std::optional<std::string> contents_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return std::nullopt;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// Prints, or adds to `all`, what the policy would change there.
Exit compare_with(const ListenAddress& admin, const Config& config, json::object& all, Output output,
                  Streams& streams) {
    const std::string against = "http://" + admin.text();
    const Running running = running_at(admin);
    if (!running.fault.empty()) {
        streams.err << streams.err.paint(Colour::red, "cannot compare") << " with http://" << unanswered(admin, running.fault)
                    << "\n";
        return Exit::failure;
    }
    const PolicyChanges changes = compare_policies(running.policy, json::parse(describe_config(config)).as_object());
    if (output == Output::json)
        all["changes"] = changes_as_json(against, changes);
    else
        print_changes(against, changes, streams.out);
    return changes.refused.empty() ? Exit::fine : Exit::failure;
}

/// Where the authority is published; complains where the policy cannot say.
std::optional<std::string> published_or_complain(const Config& config, Console& err) {
    const std::string directory = published_directory(config);
    if (!directory.empty()) return absolute(directory);
    err << err.paint(Colour::red, "cannot tell where the CA is published")
        << ": write `authority.publish` or `state` in the policy, or set HOME\n";
    return std::nullopt;
}

}  // namespace

int check_policy(const std::string& given, const std::string& against, Output output, Streams& streams) {
    const auto admin = admin_address(against);
    if (!against.empty() && !admin) {
        streams.err << "--against takes a running Sluice's admin, such as http://127.0.0.1:15000\n";
        return code_of(Exit::usage);
    }
    const std::optional<std::string> path = find_policy(given);
    if (!path) {
        tell_none_found(streams.err);
        return code_of(Exit::bad_policy);
    }
    Decoded decoded = load_policy(*path, PolicyInputs::system());
    say_why_unread(decoded);
    json::object all = output == Output::json ? check_as_json(*path, decoded) : json::object();
    if (output == Output::text) {
        for (const Fault& fault : decoded.faults) print_fault(streams.err, fault);
        sum_up(*path, decoded, streams);
    }
    Exit exit = decoded.config ? Exit::fine : Exit::bad_policy;
    if (decoded.config && admin) exit = compare_with(*admin, *decoded.config, all, output, streams);
    if (output == Output::json) print_json(streams.out, all);
    return code_of(exit);
}

int print_schema(Streams& streams) {
    streams.out << policy_schema();
    return code_of(Exit::fine);
}

int explain_request(const std::string& given, const std::string& method, const std::string& url, Output output,
                    Streams& streams) {
    if (!is_token(method)) {
        streams.err << "not a method: " << quoted(method) << " (for example GET)\n";
        return code_of(Exit::usage);
    }
    if (const std::string upper = in_capitals(method); upper != method)
        streams.err << "methods are case-sensitive: " << upper << " may be what is meant\n";
    PolicyPlaces places;
    const auto config = load_or_explain(given, streams.err, places);
    if (!config) return code_of(Exit::bad_policy);
    const Explanation explanation = explain(*config, places, method, url);
    switch (output) {
    case Output::json: print_json(streams.out, explanation_as_json(explanation)); break;
    case Output::text: print_explanation(streams.out, explanation); break;
    }
    return code_of(Exit::fine);
}

int print_environment(const std::string& given, EnvFormat format, Streams& streams) {
    const auto config = load_or_explain(given, streams.err);
    if (!config) return code_of(Exit::bad_policy);
    const auto published = published_or_complain(*config, streams.err);
    if (!published) return code_of(Exit::failure);
    if (config->listen.proxy.port == 0) {
        streams.err
            << "listen.proxy has port 0, so each run picks another: give it a port, or use `sluice exec -- CMD`\n";
        return code_of(Exit::failure);
    }
    const std::string ca = *published + "/ca.crt";
    if (error_of_reading(ca) == EACCES) {
        streams.err << streams.err.paint(Colour::yellow, "this user cannot read " + ca)
                    << ": write `authority.publish: /run/sluice/ca` (or another directory that applications may enter)\n";
    }
    if (!config->clients.empty())
        streams.err << "the policy has clients: each writes its own http://NAME:PASSWORD@ in place of http:// in the proxy's URL\n";
    streams.out << render(environment_for({config->listen.proxy, *published, config->no_proxy}), format);
    return code_of(Exit::fine);
}

int print_authority(const std::string& given, bool path_only, Output output, Streams& streams) {
    const auto config = load_or_explain(given, streams.err);
    if (!config) return code_of(Exit::bad_policy);
    const auto published = published_or_complain(*config, streams.err);
    if (!published) return code_of(Exit::failure);
    const std::string path = *published + "/ca.crt";
    const auto pem = contents_of(path);
    if (!pem) {
        streams.err << "no CA at " << path << " yet: `sluice run` publishes it when it starts\n";
        return code_of(Exit::failure);
    }
    switch (output) {
    case Output::json:
        print_json(streams.out, json::object{{"ca_crt", path},
                                             {"bundle_pem", *published + "/bundle.pem"},
                                             {"truststore_p12", *published + "/truststore.p12"},
                                             {"pem", *pem}});
        break;
    case Output::text: streams.out << (path_only ? path + "\n" : *pem); break;
    }
    return code_of(Exit::fine);
}

int print_version(Output output, Streams& streams) {
    const std::string boost = std::to_string(BOOST_VERSION / 100000) + '.' +
                              std::to_string(BOOST_VERSION / 100 % 1000) + '.' + std::to_string(BOOST_VERSION % 100);
    const std::string openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
    const std::string cares = ares_version(nullptr);
    switch (output) {
    case Output::json:
        print_json(
            streams.out,
            json::object{{"version", SLUICE_VERSION}, {"openssl", openssl}, {"boost", boost}, {"c_ares", cares}});
        break;
    case Output::text:
        streams.out << "sluice " << SLUICE_VERSION << " (OpenSSL " << openssl << ", Boost " << boost << ", c-ares "
                    << cares << ")\n";
        break;
    }
    return code_of(Exit::fine);
}

}  // namespace sluice
