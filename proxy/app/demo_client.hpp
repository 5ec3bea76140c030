// The application of `sluice demo`: one request through the proxy as a client does it (CONNECT, TLS that trusts only
// the given CA), blocking, each step bounded by 10 s.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.hpp"

namespace sluice {

struct DemoRequest {
    ListenAddress proxy;
    std::string ca_file;  // all that is trusted
    std::string host;     // CONNECT target, SNI and verified name
    std::string named;    // the Host inside; "" for `host`
    std::string path = "/";
};

struct DemoAnswer {
    unsigned status = 0;          // 0: none, see `fault`
    bool of_connect = false;      // the CONNECT itself was refused
    std::string outcome, reason;  // Sluice-Outcome, Sluice-Reason
    std::string attempts, retry_after;
    std::string body;
    std::string fault;            // in words
    Duration took{};
};

DemoAnswer ask(const DemoRequest& request);
/// GET of an http:// page at `address`, its body; "" when that fails.
std::string fetch_plain(const ListenAddress& address, const std::string& path);

}  // namespace sluice
