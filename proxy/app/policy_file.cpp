#include "proxy/app/policy_file.hpp"

#include <unistd.h>

#include <boost/json/object.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "proxy/app/file_access.hpp"

namespace sluice {

namespace {

constexpr const char* here = "sluice.yaml";
constexpr const char* of_the_system = "/etc/sluice/sluice.yaml";

}  // namespace

std::optional<std::string> find_policy(const std::string& given) {
    if (!given.empty()) return given;
    if (const char* named = std::getenv("SLUICE_CONFIG"); named && *named) return std::string(named);
    for (const char* path : {here, of_the_system}) {
        if (::access(path, F_OK) == 0) return std::string(path);
    }
    return std::nullopt;
}

void tell_none_found(Console& err) {
    err << err.paint(Colour::red, "no policy found") << ": looked for --config FILE, $SLUICE_CONFIG, ./" << here << ", "
        << of_the_system << "; the smallest one is a file with `version: 1`\n";
}

void print_fault(Console& console, const Fault& fault) {
    const std::string text = fault.text();
    const std::size_t first = text.find('\n');
    const std::string head = text.substr(0, first);
    const std::size_t message =
        head.size() - fault.message.size() - (fault.warning ? std::string("warning: ").size() : 0);
    const Colour colour = fault.warning ? Colour::yellow : Colour::red;
    console << console.paint(Colour::bold, head.substr(0, message)) << console.paint(colour, head.substr(message))
            << "\n";
    if (first == std::string::npos) return;
    const std::string below = text.substr(first + 1);
    const std::size_t caret = below.rfind('\n');
    if (caret == std::string::npos) {
        console << below << "\n";
        return;
    }
    console << below.substr(0, caret + 1) << console.paint(colour, below.substr(caret + 1)) << "\n";
}

boost::json::array faults_as_json(const std::vector<Fault>& faults) {
    boost::json::array all;
    for (const Fault& fault : faults) {
        all.push_back(boost::json::object{{"file", fault.file},
                                          {"line", fault.line},
                                          {"column", fault.column},
                                          {"severity", fault.warning ? "warning" : "error"},
                                          {"message", fault.message},
                                          {"source", fault.source}});
    }
    return all;
}

void say_why_unread(Decoded& decoded) {
    if (decoded.config || decoded.faults.size() != 1) return;
    Fault& fault = decoded.faults.front();
    if (fault.line != 0 || fault.message != "cannot be read") return;
    const int error = error_of_reading(fault.file);
    const bool folder = error == 0 && std::filesystem::is_directory(fault.file);
    if (error != 0 || folder)
        fault.message += ": " + std::generic_category().message(folder ? EISDIR : error);
    if (error == EACCES) fault.message += "; let this user read it";
}

std::shared_ptr<const Config> load_or_explain(const std::string& given, Console& err) {
    return load_to_run(given, err).config;
}

std::shared_ptr<const Config> load_or_explain(const std::string& given, Console& err, PolicyPlaces& places) {
    const std::optional<std::string> path = find_policy(given);
    if (!path) {
        tell_none_found(err);
        return {};
    }
    Decoded decoded = load_policy(*path, PolicyInputs::system(), places);
    say_why_unread(decoded);
    for (const Fault& fault : decoded.faults) print_fault(err, fault);
    return decoded.config;
}

Loaded load_to_run(const std::string& given, Console& err, PolicySource::Adjust adjust) {
    const std::optional<std::string> path = find_policy(given);
    if (!path) {
        tell_none_found(err);
        return {};
    }
    auto source = std::make_shared<PolicySource>(*path, std::move(adjust));
    Decoded decoded = source->load();
    say_why_unread(decoded);
    for (const Fault& fault : decoded.faults) print_fault(err, fault);
    return {std::move(source), decoded.config};
}

std::string published_directory(const Config& config) {
    if (!config.authority.publish.empty()) return config.authority.publish;
    return config.state.empty() ? std::string() : config.state + "/public";
}

}  // namespace sluice
