#include "proxy/app/checks.hpp"

#include <ares.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cerrno>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/version.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

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

/// Where the authority is published; complains where the policy cannot say.
std::optional<std::string> published_or_complain(const Config& config, Console& err) {
    const std::string directory = published_directory(config);
    if (!directory.empty()) return absolute(directory);
    err << err.paint(Colour::red, "cannot tell where the CA is published")
        << ": write `authority.publish` or `state` in the policy, or set HOME\n";
    return std::nullopt;
}

}  // namespace

int check_policy(const std::string& given, Output output, Streams& streams) {
    const std::optional<std::string> path = find_policy(given);
    if (!path) {
        streams.err << streams.err.paint(Colour::red, "no policy found") << ": looked for "
                    << where_policies_are_looked_for() << "\n";
        return code_of(Exit::bad_policy);
    }
    const Decoded decoded = load_policy(*path, PolicyInputs::system());
    switch (output) {
    case Output::json: print_json(streams.out, check_as_json(*path, decoded)); break;
    case Output::text:
        for (const Fault& fault : decoded.faults) print_fault(streams.err, fault);
        sum_up(*path, decoded, streams);
        break;
    }
    return code_of(decoded.config ? Exit::fine : Exit::bad_policy);
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
    const auto config = load_or_explain(given, streams.err);
    if (!config) return code_of(Exit::bad_policy);
    const Explanation explanation = explain(*config, method, url);
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
