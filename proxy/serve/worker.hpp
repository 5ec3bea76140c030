// One worker thread's world: its loop, resolver, pool, leaves, journal and sessions. The supervisor (proxy/app) makes the World, then the workers, then gives each a thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "certs/leaf.hpp"
#include "config/config.hpp"
#include "proxy/issuers/desk.hpp"
#include "proxy/serve/application_times.hpp"
#include "proxy/serve/listener.hpp"
#include "proxy/telemetry/telemetry.hpp"
#include "proxy/wire/contexts.hpp"

namespace sluice {

/// By which door an application came in.
enum class Entrance : unsigned char { proxy, unix_socket };

/// A policy with all that was built from it: what a reload makes anew. Shared by all workers, never changed. Each exchange holds the one that it began under.
struct PolicySnapshot {
    std::shared_ptr<const Config> config;
    std::shared_ptr<const ClientContexts> contexts;         // the vendors' client SSL_CTXs
    CredentialSlots credentials;                            // by CredentialSpec::index, those of Config::secrets too
};

/// What all workers share, and what no reload changes. Made before the first worker, outlives them all. Only the atomics change.
struct World {
    std::shared_ptr<const PolicySnapshot> policy;           // to begin with
    std::shared_ptr<const LeafIdentity> identity;
    Telemetry* telemetry = nullptr;
    CredentialBoard* board = nullptr;
    CredentialKeeper* keeper = nullptr;               // set before any worker runs
    std::vector<ListenAddress> own;                   // every listener of ours as it was bound, the proxy's first: never dialled; a Host that names that one is base-URL mode
    std::size_t max_connections = 10000;              // from applications, all workers together
    ApplicationTimes times;
    std::atomic<std::size_t> connections{0};
};

/// Does a port of ours at any local address lie behind this address? It is never dialled.
bool is_own_listener(const World& world, const IpAddress& address, std::uint16_t port);

class Worker {
  public:
    Worker(World& world, unsigned index);
    ~Worker();

    /// Before `run`: accepts at `listener` from then on, and deals the sockets out in turn to `workers`, of which it is the first. Its own share wakes no other thread: where there is one worker, a new
    /// connection costs 3 % less than by a thread that only accepts.
    void listen(Listener listener, Entrance entrance, const std::vector<std::unique_ptr<Worker>>& workers);

    /// The thread's body: returns after `stop`, or once a drain is over.
    void run();

    // From any thread:
    /// Closes its listeners; then nobody is dealt out any more, and `then` runs on the worker's thread. Never, where `run` has returned.
    void stop_listening(std::function<void()> then);
    /// Takes over an accepted socket. Over the cap it is answered 503 `overloaded` and closed.
    void adopt(int fd, Entrance entrance);
    /// The policy for exchanges that begin from now on; those under way end under theirs. Connections to vendors that are reached as before live on. `until_taken` is let go of when that holds.
    void put_in_force(std::shared_ptr<const PolicySnapshot> policy, std::shared_ptr<void> until_taken);
    /// No keep-alive any more: idle connections close now, others after what is in flight. `run` returns when the last is gone.
    void drain();
    /// Ends listening and `run` at once, but for a second in which those that only wait for their turn are answered 503 `draining`.
    void stop();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
