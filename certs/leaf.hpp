// The TLS server contexts that applications meet: one for each host, minted once, cached (bounded, least recently used
// out first), minted again at two thirds of the leaf's life. One leaf key a process. One LeafCache a worker thread; the
// LeafIdentity (key, ticket keys) is shared by all and never changes.
#pragma once

#include <openssl/ssl.h>

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "certs/authority.hpp"
#include "certs/trust.hpp"
#include "proxy/base/secret.hpp"

namespace sluice {

/// What all workers' leaves have in common, so that a session resumes on any worker.
struct LeafIdentity {
    std::shared_ptr<const CertAuthority> authority;
    KeyPtr key;
    Secret ticket_keys;  // 80 bytes for SSL_CTX_set_tlsext_ticket_keys

    static CertResult<std::shared_ptr<const LeafIdentity>> make(std::shared_ptr<const CertAuthority> authority);
};

class LeafCache {
  public:
    LeafCache(std::shared_ptr<const LeafIdentity> identity, std::size_t capacity = 1024);

    /// The context for `host`: TLS 1.2 and 1.3 only, ALPN http/1.1 (chosen when offered, never an alert when it is
    /// not), one session ticket, session id context made from the host (a session of one host never resumes at
    /// another), SSL_MODE_RELEASE_BUFFERS | ENABLE_PARTIAL_WRITE | ACCEPT_MOVING_WRITE_BUFFER, read-ahead on, no
    /// server-side session cache. The caller's SSL_new keeps the context alive by its own reference.
    CertResult<SSL_CTX*> context(const std::string& host, WallTime now);
    std::size_t size() const { return by_host_.size(); }

  private:
    struct Entry {
        std::string host;
        SslCtxPtr context;
        WallTime renew_at;
    };
    std::shared_ptr<const LeafIdentity> identity_;
    std::size_t capacity_;
    std::list<Entry> entries_;  // most recently used first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_host_;
};

}  // namespace sluice
