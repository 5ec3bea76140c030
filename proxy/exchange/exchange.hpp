// One request's belongings, from its head to its record. Recycled from exchange to exchange of one worker, so that a warm one allocates nothing.
#pragma once

#include <optional>
#include <string>

#include "config/config.hpp"
#include "proxy/exchange/core.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

struct Exchange {
    // What the session fills in:
    std::shared_ptr<const PolicyInForce> policy;   // that it began under
    const Config* config = nullptr;          // the policy's
    RequestHead request;
    Framing framing;
    BodySource* body = nullptr;              // null: none
    ReplySink* application = nullptr;
    Scheme scheme = Scheme::https;           // as the application named it
    Authority authority;                     // likewise; in base-URL mode the vendor's
    const Vendor* vendor = nullptr;          // set in base-URL mode; else found by the walk
    std::string_view listener;               // "proxy", "base_url", "unix"
    bool tunnel = false;                     // CONNECT that nobody intercepts: raw bytes
    bool upgrade = false;                    // asks for a websocket
    std::optional<Refusal> refused_already;  // by the session: a bad head, authorities that do not agree ...

    // What the walk and its parts add:
    const Route* route = nullptr;
    std::string request_id;
    ResponseHead response;
    Limits limits;
    Activity activity;
    Phases phases;
    Traffic traffic;
    unsigned attempts = 0;
    Outcome outcome = Outcome::vendor;
    std::optional<Reason> reason;
    std::string detail;
    unsigned status = 0;
    bool application_gone = false;
    std::optional<RoundTrip> trip;           // under way; kept here rather than in a coroutine's frame, which is only recycled under 1 KiB

    /// Its policy: at the beginning, once.
    void begin_under(std::shared_ptr<const PolicyInForce> in_force);
    /// For the next exchange; memory is kept, what may be secret is wiped.
    void clear();
    const Timeouts& timeouts() const { return route ? route->timeout : vendor->timeout; }
};

}  // namespace sluice
