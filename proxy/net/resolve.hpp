// Names into addresses as the system would (hosts file, resolv.conf search and ndots: `ares_getaddrinfo`), with a cache
// bounded by the answers' TTL. One a worker, on its thread; one lookup in flight per name, whatever the number of
// waiting coroutines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/result.hpp"
#include "proxy/net/loop.hpp"
#include "proxy/policy/address_guard.hpp"
#include "proxy/ports/task.hpp"

namespace sluice {

class Resolver {
  public:
    struct Options {
        std::size_t cache_entries = 4096;  // least recently used out first
        std::size_t lookups = 256;         // in flight at once; more are refused as `overloaded`
        Duration min_ttl = 1s, max_ttl = 5min;
        Duration negative_ttl = 5s;  // "no such host", "no address"; what the name servers failed at is not kept
        Duration lookup = 10s;       // the longest that a lookup takes, whoever waits for it
        Duration recheck = 3s;       // how often a changed resolv.conf is looked for

        // For tests.
        std::string resolv_conf = "/etc/resolv.conf";
        std::uint16_t port = 53;  // of the name servers in it
        std::string servers;      // "127.0.0.1:5353": asked instead, without search domains and hosts file
        std::string hosts_file;   // "": the system's; else c-ares is told by the environment (CARES_HOSTS)
    };
    Resolver(Loop& loop, Options options);
    /// Coroutines that still wait are not resumed: they are unwound.
    ~Resolver();

    /// IPv6 and IPv4 addresses, at most 32 of each, in the order in which they should be tried before interleaving (RFC
    /// 6724 as c-ares sorts them). An IP literal answers at once, and so do localhost and what ends in .localhost,
    /// which are the loopback addresses and never asked of a name server (RFC 6761 6.3). Failures, all replay safe:
    /// dns_failed (origin vendor) whose detail says the name and why ("no such host", "no answer from the name
    /// servers"); timeout_connect at the deadline, which ends the wait but not the lookup that others may wait for;
    /// overloaded (origin sluice) when too many names are being looked up, or descriptors have run out.
    Task<Result<std::vector<IpAddress>>> resolve(std::string host, TimePoint deadline);

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sluice
