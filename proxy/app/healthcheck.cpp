#include "proxy/app/healthcheck.hpp"

#include <algorithm>

#include "proxy/app/admin_client.hpp"
#include "proxy/app/environment.hpp"
#include "proxy/app/policy_file.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_answer = 16 * 1024;

}  // namespace

std::string ask_ready(const ListenAddress& admin, Duration patience) {
    const AdminSaid said = ask_admin(admin, "/ready", patience, most_answer);
    if (!said.fault.empty() || said.status == 200) return said.fault;
    std::string words = said.body;
    std::replace_if(
        words.begin(), words.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, ' ');
    return "it says " + std::to_string(said.status) + (words.empty() ? "" : ": " + words);
}

int check_health(const std::string& given, const std::string& admin_text, Streams& streams) {
    ListenAddress admin;
    if (admin_text.empty()) {
        const auto config = load_or_explain(given, streams.err);
        if (!config) return code_of(Exit::bad_policy);
        admin = as_dialled(config->listen.admin);
    } else {
        const auto address = admin_address(admin_text);
        if (!address) {
            streams.err << "--admin takes an address such as 127.0.0.1:15000\n";
            return code_of(Exit::usage);
        }
        admin = *address;
    }
    if (admin.port == 0) {
        streams.err << "listen.admin has port 0, so nobody knows which was picked: give it a port, or use --admin\n";
        return code_of(Exit::failure);
    }
    const std::string fault = ask_ready(admin, 2s);
    if (fault.empty()) return code_of(Exit::fine);
    streams.err << "not ready: " << admin.text() << ": " << fault << "\n";
    return code_of(Exit::failure);
}

}  // namespace sluice
