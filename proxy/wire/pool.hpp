// Connections to vendors, kept alive between requests and from policy to policy; one pool a worker, bounded per destination, in all and in time. Keyed by everything that was verified: the vendor's identity (its name, address rules and TLS rules, with what their files held), the authority and scheme, and a client certificate that is in no file.
#pragma once

#include <openssl/ssl.h>

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/telemetry/telemetry.hpp"
#include "proxy/wire/contexts.hpp"
#include "proxy/wire/h1.hpp"

namespace sluice {

struct PoolKey {
    ConnectionIdentity identity{};
    Scheme scheme = Scheme::https;
    Authority authority;
    std::array<std::uint64_t, 2> shown{};   // the certificate of ours, where the vendor's TLS rules do not have it

    bool operator==(const PoolKey&) const = default;
};
struct PoolKeyHash {
    std::size_t operator()(const PoolKey& key) const {
        return std::hash<std::string>{}(key.authority.host) ^ (key.identity[0] + key.authority.port * 2 + (key.scheme == Scheme::https));
    }
};

class SslSessionStore;

/// The request body on its way while the response is awaited.
struct Upload {
    bool running = false;
    bool receiving = false;             // somebody waits for the response's head and wants to know when this ends
    std::optional<Failure> failure;
    TimePoint ended{};
    Wakeup finished;

    /// For the connection's next request.
    void reset() {
        running = receiving = false;
        failure.reset();
        ended = {};
    }
};

/// One connection to a vendor.
struct UpstreamConnection {
    explicit UpstreamConnection(PoolKey k) : key(std::move(k)) {}

    H1Channel channel{Origin::vendor};
    PoolKey key;
    std::shared_ptr<VendorSeries> series;   // not the vendor: a connection outlives its policy
    Upload upload;
    bool reused = false;
    bool answered = false;              // the first byte of the response has come
    bool reusable = false;              // as the last response said
    Duration keep_alive_for{};          // `Keep-Alive: timeout`, 0: not said
    TimePoint idle_since{};
    SslSessionStore* sessions = nullptr;
};

struct SslSessionDeleter { void operator()(SSL_SESSION* p) const { SSL_SESSION_free(p); } };
using SslSessionPtr = std::unique_ptr<SSL_SESSION, SslSessionDeleter>;

/// The latest TLS session of each destination; bounded, arbitrary ones out first. None of them is any connection's own: OpenSSL takes that one out of use where its connection ends without a close_notify, which
/// says nothing against the session (RFC 5246 7.2.1).
class SslSessionStore {
  public:
    void keep(const PoolKey& key, SslSessionPtr session);
    /// For one connection; null: there is none.
    SslSessionPtr copy_of(const PoolKey& key) const;
    void forget(const PoolKey& key) { sessions_.erase(key); }

  private:
    static constexpr std::size_t capacity = 4096;
    std::unordered_map<PoolKey, SslSessionPtr, PoolKeyHash> sessions_;
};

class Pool {
  public:
    static constexpr std::size_t max_idle_per_key = 256, max_idle = 2048;
    static constexpr Duration max_idle_time = 60s, trusted_idle_time = 2s, rest_after = 1s;

    explicit Pool(WorkerJournal& journal) : journal_(journal) {}
    ~Pool() { clear(); }

    /// The connection used last, if it still shows no end. A request that may not be replayed only gets one that was idle under 2 s, or within the vendor's `Keep-Alive: timeout`.
    std::unique_ptr<UpstreamConnection> take(const PoolKey& key, bool replayable, TimePoint now);
    void give(std::unique_ptr<UpstreamConnection> connection, TimePoint now);

    /// Closes what has ended or was idle for too long. Called about once a second.
    void sweep(TimePoint now);
    /// Closes what no vendor of these is reached over.
    void keep_only(const ClientContexts& contexts);
    void clear();
    std::size_t idle() const { return idle_; }

  private:
    void drop(std::unique_ptr<UpstreamConnection> connection);

    WorkerJournal& journal_;
    std::unordered_map<PoolKey, std::vector<std::unique_ptr<UpstreamConnection>>, PoolKeyHash> by_key_;
    std::size_t idle_ = 0;
};

}  // namespace sluice
