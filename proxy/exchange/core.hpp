// One worker thread's world, as the walk sees it: the ports, the policy in force, and the worker's own randomness.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "proxy/credentials/sigv4.hpp"
#include "proxy/ports/clock.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// One policy as one worker runs it. An exchange holds the one that was in force when it began, until its end, and whatever it
/// uses of a policy it takes from there: indexes and names mean something else after a reload, so what belongs to two policies
/// must never meet (one's vendor, the other's credential). Worker-local, so that holding it costs no traffic between threads.
struct PolicyInForce {
    const Config& config;
    const ClientContexts& contexts;
    CredentialDesk& credentials;   // follows what changes of this policy's secrets
};

struct Core {
    std::shared_ptr<const PolicyInForce> policy;   // replaced by a reload, between two turns of the loop
    Transport& transport;
    Journal& journal;
    Timer& timer;
    std::uint64_t random_state[2];   // of request ids: unguessable is not needed, distinct is
    bool draining = false;           // no further requests on connections that have had one
    bool stopping = false;           // the drain's time is over: whoever waits is answered now
    std::size_t detached = 0;        // attempts under way that no exchange waits for: the worker ends after them
    std::array<AwsKeyCache, 8> aws_keys{};   // by an attachment's serial number: those of the credentials used most lately

    /// Runs `task` beside whoever calls; this world outlives it.
    void spawn_detached(Task<void> task);

    static TimePoint now() { return Clock::now(); }

    static WallTime wall_now() { return std::chrono::system_clock::now(); }

    /// 64 random bits.
    std::uint64_t draw();
    /// Uniform in 0 .. 1, below 1.
    double draw_share() { return static_cast<double>(draw() >> 11) * 0x1p-53; }
    /// xoroshiro128+, seeded from the system's randomness.
    void draw_request_id(std::string& into);
};

/// An exchange's id: 128 bits in 32 hex digits.
void write_request_id(std::uint64_t first, std::uint64_t second, std::string& into);

}  // namespace sluice
