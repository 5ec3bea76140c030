#include "proxy/app/doctor.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "proxy/app/admin_client.hpp"
#include "proxy/app/file_access.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/app/table.hpp"
#include "proxy/app/told_audit.hpp"
#include "proxy/app/told_credential.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr Duration patience = 2s;
constexpr std::string_view env_fix = "eval \"$(sluice env)\", or start the application with `sluice exec --`";

std::string_view word_of(Health health) {
    switch (health) {
    case Health::fine: return "ok";
    case Health::note: return "note";
    case Health::wrong: return "wrong";
    }
    return "";
}

std::string_view word_of(Reads reads) {
    switch (reads) {
    case Reads::yes: return "yes";
    case Reads::with_help: return "with help";
    case Reads::no: return "no";
    }
    return "";
}

// ---- variables

/// As most clients read NO_PROXY: a name counts with what is below it, with or without its leading dot.
bool bypassed(std::string_view host, std::string_view entry) {
    if (entry == "*") return true;
    if (entry.starts_with("*.")) entry.remove_prefix(1);
    const std::string_view apex = entry.starts_with('.') ? entry.substr(1) : entry;
    if (apex.empty() || host.size() < apex.size()) return false;
    if (!same_text(host.substr(host.size() - apex.size()), apex)) return false;
    return host.size() == apex.size() || host[host.size() - apex.size() - 1] == '.';
}

void examine_bypass(std::string_view name, std::string_view list, const Config& config,
                    std::vector<Finding>& findings) {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find_first_of(", "), list.size());
        const std::string_view entry = trimmed(list.substr(0, end));
        list.remove_prefix(std::min(end + 1, list.size()));
        for (const Vendor& vendor : config.vendors) {
            const auto past = std::find_if(vendor.hosts.begin(), vendor.hosts.end(),
                                           [&](const HostPattern& host) { return bypassed(host.host, entry); });
            if (past == vendor.hosts.end()) continue;
            findings.push_back({"variables", Health::wrong,
                                std::string(name) + " holds " + std::string(entry) + ": applications reach " +
                                    past->text() + " (vendor " + vendor.name + ") without Sluice",
                                "take it out of " + std::string(name)});
        }
    }
}

bool is_no_proxy(std::string_view name) {
    return same_text(name, "no_proxy");
}

/// The proxy's URL as it is without a client's name and password, which `sluice env` cannot know.
std::string without_user(const std::string& url) {
    constexpr std::string_view scheme = "http://";
    const auto at = url.find('@');
    if (!url.starts_with(scheme) || at == url.npos) return url;
    return std::string(scheme) + url.substr(at + 1);
}

// ---- the machine

std::optional<std::string> variable(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    if (!value) return std::nullopt;
    return std::string(value);
}

Finding examine_proxy(const ListenAddress& listener) {
    const ListenAddress proxy = as_dialled(listener);
    const std::string url = "http://" + proxy.text();
    if (proxy.port == 0)
        return {"proxy", Health::note, "listen.proxy has port 0, so each run picks another",
                "give it a port, or use `sluice exec`"};
    const HttpReply reply = http_get(proxy, "/", patience);
    if (!reply.fault.empty() && reply.fault != answers_otherwise)
        return {"proxy", Health::wrong, "nobody serves " + url + ": " + reply.fault, "sluice run"};
    if (!reply.fault.empty() || reply.head.find("\r\nsluice-outcome:") == std::string::npos)
        return {"proxy", Health::wrong, "what listens at " + url + " is not Sluice", "give listen.proxy another port"};
    return {"proxy", Health::fine, "answers at " + url, ""};
}

Finding examine_admin(const ListenAddress& listener) {
    const ListenAddress admin = as_dialled(listener);
    if (admin.port == 0) return {"admin", Health::note, "listen.admin has port 0, so each run picks another", ""};
    const std::string fault = ask_ready(admin, patience);
    if (fault.empty()) return {"admin", Health::fine, "ready at http://" + admin.text(), ""};
    return {"admin", Health::wrong, admin.text() + ": " + fault, "sluice run; its log says more"};
}

/// Credentials and audit trail as the running Sluice has them; nothing where it cannot be asked, which is told already.
void examine_running(const ListenAddress& listener, std::vector<Finding>& findings) {
    const ListenAddress admin = as_dialled(listener);
    if (admin.port == 0) return;
    const HttpReply reply = http_get(admin, "/vendors", patience);
    if (reply.status != 200) return;
    boost::system::error_code error;
    const json::value told = json::parse(reply.body, error);
    const json::value* vendors = !error && told.is_object() ? told.get_object().if_contains("vendors") : nullptr;
    if (vendors && vendors->is_array())
        for (Finding& finding : examine_catalogue(vendors->get_array(), std::chrono::system_clock::now()))
            findings.push_back(std::move(finding));
    if (error) return;
    for (Finding& finding : examine_audit(told)) findings.push_back(std::move(finding));
}

void examine_published(const Config& config, std::vector<Finding>& findings) {
    const std::string directory = published_directory(config);
    const std::string fix =
        "write `authority.publish: /run/sluice/ca` (or another directory that applications may enter)";
    if (directory.empty()) {
        findings.push_back(
            {"CA", Health::wrong, "nobody can tell where it is published", "write `state` or `authority.publish`"});
        return;
    }
    bool readable = true;
    for (const char* name : {"ca.crt", "bundle.pem", "truststore.p12"}) {
        const std::string file = directory + '/' + name;
        const int error = error_of_reading(file);
        if (error == 0) continue;
        findings.push_back({"CA", Health::wrong, "cannot read " + file + ": " + std::generic_category().message(error),
                            error == EACCES ? fix : "sluice run publishes it when it starts"});
        readable = false;
        break;  // what one suffers from, all do
    }
    if (readable) findings.push_back({"CA", Health::fine, "its files are in " + directory + " and can be read", ""});
    if (const std::string closed = closed_to_others(directory); !closed.empty())
        findings.push_back({"CA", Health::note,
                            "applications of another user cannot read it: " + closed + " is closed to others", fix});
}

void examine_state(const Config& config, std::vector<Finding>& findings) {
    if (!config.state.empty() && writable_by_others(config.state))
        findings.push_back({"state", Health::wrong,
                            config.state + " can be written to by other users, who could put a CA of theirs there",
                            "chmod go-w " + config.state + ", or name a directory below it with `state`"});
}

std::vector<std::string> python_folders() {
    std::vector<std::string> folders = {"/usr/lib/python3/dist-packages"};
    std::vector<std::string> roots = {"/usr/lib", "/usr/local/lib"};
    if (const auto home = variable("HOME")) roots.push_back(*home + "/.local/lib");
    if (const auto environment = variable("VIRTUAL_ENV")) roots.insert(roots.begin(), *environment + "/lib");
    for (const std::string& root : roots) {
        std::error_code ignored;
        for (fs::directory_iterator at(root, ignored), end; !ignored && at != end; at.increment(ignored)) {
            if (!at->path().filename().string().starts_with("python3")) continue;
            for (const char* below : {"/site-packages", "/dist-packages"})
                folders.push_back(at->path().string() + below);
        }
    }
    return folders;
}

std::vector<std::string> node_folders() {
    return {"node_modules", "/usr/lib/node_modules", "/usr/local/lib/node_modules", "/usr/share/nodejs"};
}

// ---- telling it

void print_findings(Console& out, const std::vector<Finding>& findings) {
    for (const Finding& finding : findings) {
        const Colour colour = finding.health == Health::fine   ? Colour::green
                              : finding.health == Health::note ? Colour::yellow
                                                               : Colour::red;
        std::string word(word_of(finding.health));
        const std::string gap(std::max<std::size_t>(7, word.size() + 1) - word.size(), ' ');
        out << out.paint(colour, word) << gap << finding.subject << ": " << finding.what << "\n";
        if (!finding.fix.empty()) out << "       " << out.paint(Colour::dim, finding.fix) << "\n";
    }
}

void print_clients(Console& out, const std::vector<FoundClient>& clients) {
    if (clients.empty()) return;
    out << "\n" << out.paint(Colour::bold, "clients on this machine, given the variables of `sluice env`") << "\n";
    for (const FoundClient& found : clients) {
        const Client& client = *found.client;
        const bool fine = client.proxy == Reads::yes && client.ca == Reads::yes;
        const std::string name(client.name);
        out << "  " << out.paint(fine ? Colour::green : Colour::yellow, name)
            << std::string(name.size() < 16 ? 16 - name.size() : 1, ' ')
            << (client.advice.empty() ? std::string("reads the proxy and the CA") : std::string(client.advice)) << "\n";
    }
}

json::object as_json(const std::vector<Finding>& findings, const std::vector<FoundClient>& clients, bool ok) {
    json::array told, found;
    for (const Finding& finding : findings) {
        json::object one{{"subject", finding.subject}, {"health", word_of(finding.health)}, {"what", finding.what}};
        if (!finding.fix.empty()) one["fix"] = finding.fix;
        told.push_back(std::move(one));
    }
    for (const FoundClient& each : clients) {
        json::object one{{"name", each.client->name},
                         {"path", each.path},
                         {"reads_proxy", word_of(each.client->proxy)},
                         {"reads_ca", word_of(each.client->ca)}};
        if (!each.client->advice.empty()) one["advice"] = each.client->advice;
        found.push_back(std::move(one));
    }
    return {{"ok", ok}, {"findings", std::move(told)}, {"clients", std::move(found)}};
}

}  // namespace

std::vector<Finding> examine_variables(const Variables& expected, const Config& config,
                                       const std::function<std::optional<std::string>(const std::string&)>& value_of) {
    std::vector<Finding> findings;
    std::vector<std::string> missing, other;
    std::size_t right = 0;
    for (const auto& [name, value] : expected) {
        const auto actual = value_of(name);
        if (!actual || actual->empty()) {
            missing.push_back(name);
        } else if (is_no_proxy(name)) {
            examine_bypass(name, *actual, config, findings);
        } else if (without_user(*actual) == value || (name == "JAVA_TOOL_OPTIONS" && actual->find(value) != std::string::npos)) {
            ++right;
        } else {
            other.push_back(name);
        }
    }
    if (right == 0 && other.empty()) {
        findings.push_back({"variables", Health::wrong, "none of Sluice's is set here", std::string(env_fix)});
    } else if (!missing.empty()) {
        findings.push_back({"variables", Health::wrong, "not set: " + joined(missing, ", "), std::string(env_fix)});
    }
    if (!other.empty())
        findings.push_back(
            {"variables", Health::wrong, "set to something else: " + joined(other, ", "), std::string(env_fix)});
    if (const auto directory = value_of("SSL_CERT_DIR"); directory && !directory->empty())
        findings.push_back({"variables", Health::wrong,
                            "SSL_CERT_DIR is set: with it curl ignores SSL_CERT_FILE, and Go the system's roots",
                            "unset SSL_CERT_DIR"});
    if (findings.empty()) findings.push_back({"variables", Health::fine, "are those of `sluice env`", ""});
    return findings;
}

std::vector<Finding> examine_catalogue(const json::array& vendors, WallTime now) {
    std::vector<Finding> findings;
    std::set<std::string> seen;
    for (const json::value& vendor : vendors) {
        if (!vendor.is_object()) continue;
        for (const ToldCredential& told : credentials_told(vendor.get_object(), now)) {
            if (!seen.insert(told.name).second || told.idle || (told.available && told.fault.empty())) continue;
            const std::string name = printable(told.name), fault = printable(told.fault);
            const std::string fix = "sluice credential test " + name + ", as Sluice's user";
            if (told.available) {
                const std::string end = told.ends_in ? ", and ends in " + format_duration(*told.ends_in) : "";
                findings.push_back({"credentials", Health::note, name + " is at hand but was not renewed" + end + ": " + fault, fix});
            } else {
                findings.push_back({"credentials", Health::wrong, name + " is not available, its requests are answered 503: " + fault, fix});
            }
        }
    }
    if (findings.empty() && !seen.empty())
        findings.push_back({"credentials", Health::fine, "are at hand: " + std::to_string(seen.size()), ""});
    return findings;
}

std::vector<Finding> examine_audit(const json::value& vendors) {
    const auto audit = audit_told(vendors);
    if (!audit) return {};
    if (!audit->altered.empty())
        return {{"audit", Health::wrong, summed_up(*audit), "sluice audit verify, as Sluice's user"}};
    if (audit->failing || audit->lost > 0)
        return {{"audit", Health::note, summed_up(*audit), "let Sluice's user write there, and make room"}};
    return {{"audit", Health::fine, summed_up(*audit), ""}};
}

int run_doctor(const std::string& given, Output output, Streams& streams) {
    const auto config = load_or_explain(given, streams.err);
    if (!config) return code_of(Exit::bad_policy);
    std::vector<Finding> findings = {{"policy", Health::fine, find_policy(given).value_or(""), ""},
                                     examine_proxy(config->listen.proxy),
                                     examine_admin(config->listen.admin)};
    examine_running(config->listen.admin, findings);
    examine_published(*config, findings);
    examine_state(*config, findings);
    const std::string published = published_directory(*config);
    if (config->listen.proxy.port != 0 && !published.empty()) {
        const Variables expected = environment_for(
            {config->listen.proxy, fs::absolute(published).lexically_normal().string(), config->no_proxy});
        for (Finding& finding : examine_variables(expected, *config, variable)) findings.push_back(std::move(finding));
    }
    const auto exists = [](const std::string& path) {
        struct stat status {};
        return ::stat(path.c_str(), &status) == 0;
    };
    const auto clients = find_clients(variable("PATH").value_or(""), python_folders(), node_folders(), exists);
    const bool ok = std::none_of(findings.begin(), findings.end(),
                                 [](const Finding& finding) { return finding.health == Health::wrong; });
    switch (output) {
    case Output::json: streams.out << json::serialize(as_json(findings, clients, ok)) << "\n"; break;
    case Output::text:
        print_findings(streams.out, findings);
        print_clients(streams.out, clients);
        break;
    }
    return code_of(ok ? Exit::fine : Exit::failure);
}

}  // namespace sluice
