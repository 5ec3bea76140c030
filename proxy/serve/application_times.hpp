// How long an application may take where nothing of the policy speaks of it. Set once by the supervisor, shorter only in tests.
#pragma once

#include "proxy/base/time.hpp"

namespace sluice {

struct ApplicationTimes {
    Duration handshake = 10s;    // TLS inside a CONNECT
    Duration head = 30s;         // of a request; of a new connection, its first byte too
    Duration keep_alive = 1h;    // between two requests
};

}  // namespace sluice
