#include "proxy/app/healthcheck.hpp"

#include "proxy/app/admin_client.hpp"

namespace sluice {

int check_health(const std::string& config, const std::string& admin_text, Streams& streams) {
    Exit exit = Exit::fine;
    const auto admin = find_admin(config, admin_text, streams, exit);
    if (!admin) return code_of(exit);
    const std::string fault = ask_ready(*admin, 2s);
    if (fault.empty()) return code_of(Exit::fine);
    streams.err << "not ready: " << unanswered(*admin, fault) << "\n";
    return code_of(Exit::failure);
}

}  // namespace sluice
