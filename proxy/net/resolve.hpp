// Names into addresses as the system would (hosts file, resolv.conf search and ndots: `ares_getaddrinfo`), with a cache bounded by the answers' TTL. One a worker; one lookup in flight per name, whatever the
// number of waiting coroutines.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/base/result.hpp"
#include "proxy/net/loop.hpp"
#include "proxy/policy/address_guard.hpp"

namespace sluice {

class Resolver {
  public:
    /// For tests: a server and port to ask instead of resolv.conf's, and no hosts file.
    struct Options {
        std::string servers;               // "127.0.0.1:5353", "" for the system's
        std::string hosts_file;            // "" for the system's
        std::size_t cache_entries = 4096;  // least recently used out first
        Duration min_ttl = 1s, max_ttl = 5min, negative_ttl = 5s;
    };
    Resolver(Loop& loop, Options options);
    ~Resolver();

    /// IPv6 and IPv4 addresses, in the order in which they should be tried before interleaving (RFC 6724 as c-ares sorts them). An IP literal answers at once. Failures: dns_failed (origin vendor, replay
    /// safe) whose detail says the name and why ("no such host", "no answer from the name servers"), timeout_connect at the deadline.
    Task<Result<std::vector<IpAddress>>> resolve(std::string host, TimePoint deadline);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
