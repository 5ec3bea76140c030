// One worker thread's world, as the walk sees it: the ports, the policy as it stands, and the worker's own randomness.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "proxy/ports/clock.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

struct Core {
    std::shared_ptr<const Config> config;
    Transport& transport;
    CredentialDesk& credentials;
    Journal& journal;
    std::uint64_t random_state[2];   // of request ids: unguessable is not needed, distinct is
    bool draining = false;

    static TimePoint now() { return Clock::now(); }

    /// 128 bits in 32 hex digits (xoroshiro128+, seeded from the system's randomness).
    void draw_request_id(std::string& into);
};

}  // namespace sluice
