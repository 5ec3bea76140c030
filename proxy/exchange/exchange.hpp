// One request's belongings, from its head to its record. Recycled from exchange to exchange of one worker, so that a warm one allocates nothing.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "proxy/exchange/core.hpp"
#include "proxy/exchange/decoded_body.hpp"
#include "proxy/exchange/replay_body.hpp"
#include "proxy/exchange/resigned_body.hpp"
#include "proxy/exchange/response_body.hpp"
#include "proxy/exchange/scrubbed_body.hpp"
#include "proxy/policy/acquisition.hpp"
#include "proxy/policy/vendor_state.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// Endpoints at which a consecutive failure of one exchange has been counted: once each, however many of its attempts fail
/// there. Copies are one and the same: attempts beside each other share them, also with one that outlives the exchange.
class CountedFailures {
  public:
    /// True: the first one there.
    bool add(std::size_t endpoint) {
        const std::uint32_t bit = std::uint32_t{1} << endpoint;
        return (std::exchange(*endpoints_, *endpoints_ | bit) & bit) == 0;
    }
    /// For another exchange, or at another vendor; who still shares what there was keeps it.
    void clear() {
        if (endpoints_.use_count() > 1)
            endpoints_ = std::make_shared<std::uint32_t>(0);
        else
            *endpoints_ = 0;
    }

  private:
    std::shared_ptr<std::uint32_t> endpoints_ = std::make_shared<std::uint32_t>(0);   // a bit each
};

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
    const ClientSpec* client = nullptr;      // whose request it is, in `config`; null: nobody's that is known, or the policy has no clients
    bool tunnel = false;                     // CONNECT that nobody intercepts: raw bytes
    bool upgrade = false;                    // asks for a websocket
    std::optional<Refusal> refused_already;  // by the session: a bad head, authorities that do not agree ...

    // What the walk and its parts add:
    const Route* route = nullptr;
    const Vendor* serving = nullptr;         // whose rules, endpoints and credential the attempts use: `vendor`, or its fallback
    const Route* serving_route = nullptr;    // likewise
    std::vector<const FallbackSpec*> fallbacks;   // that led there
    std::string asked_path;                  // before they rewrote it; "" where there are none
    std::optional<Url> instead;              // where a fallback without endpoints is reached
    std::string request_id;
    ResponseHead response;
    Limits limits;
    Activity activity;
    Phases phases;
    Traffic traffic;
    unsigned attempts = 0;
    unsigned sends = 0;                      // of those at `serving`: ones of which it may have got something
    bool may_have_cost = false;              // tokens at `serving`, nobody knows how many
    Outcome outcome = Outcome::vendor;
    std::optional<Reason> reason;
    std::string detail;
    unsigned status = 0;
    bool application_gone = false;
    TimePoint left_at = never;               // when the application closed its side, as far as anybody has looked: it may still be there to read, where `application_gone` does not say otherwise
    bool retries_spent = false;              // another attempt was due, but ours are used up: at `serving`, or at a vendor that it stands in for
    Fields refusal_fields;                   // of our own answer, beside the usual ones
    RequestHead pristine;                    // the request before any credential; kept only where a fallback may need it
    ReplayBody replay;                       // `body`, so that it can be sent again
    std::shared_ptr<const CredentialState> attached;   // what the latest attempt carries
    bool attached_previous = false;          // of it, the secret before the last rotation
    std::optional<bool> shows_previous;      // likewise, of the next attempt, since the vendor refused the other one; nothing: whichever comes first
    bool renewed = false;                    // a vendor has refused a credential, and another was asked for
    bool key_refused = false;                // the answer at hand says so of a key of AWS, whatever its status is
    RequestHead bare;                        // the request before any credential; kept only where it cannot be told from the request after it
    /// As the application wrote it, where a credential went into it: the one that may be told.
    const RequestHead& without_credential() const { return bare.method.empty() ? request : bare; }
    /// Nobody has to be asked for the body any more.
    void drop_expect() {
        for (RequestHead* head : {&request, &pristine, &bare}) head->fields.remove(Known::expect);
    }
    bool body_signed = false;                // the body of the latest attempt goes through:
    ResignedBody resigned;
    std::vector<HeldLimit> held;             // one for each limit of `serving` and its route
    TokenEstimate tokens;                    // where a limit counts them
    CountedFailures failed_at;               // at `serving`
    TimePoint let_through{};                 // the latest attempt, by its breaker
    Breaker::Pass heard;                     // of the answer at hand, given back at its head: its body may still turn that around
    bool grpc = false;                       // its status may come in its trailers
    bool learning = false, counting = false; // the answer at hand is heard by:
    ThrottleReader throttle;                 // what it says of the vendor's limits
    UsageReader usage;                       // what it says it cost
    const ChaosFault* fault = nullptr;       // injected into the latest attempt
    ReplayBody looked_at;                    // an answer whose beginning was read before it is delivered
    WatchedBody watched;
    FaultyBody faulty;
    DecodedBody decoded;
    ScrubbedBody scrubbed;
    unsigned scrubbed_in_head = 0;           // secrets that were masked there
    WholeBody rewritten;                     // an answer of ours, or made anew
    std::shared_ptr<void> winner;            // of several attempts at once: what `trip` refers to
    std::optional<RoundTrip> trip;           // under way; kept here rather than in a coroutine's frame, which is only recycled under 1 KiB
    Wakeup* pausing = nullptr;               // under way: a wait that is not for a socket

    /// Its policy: at the beginning, once.
    void begin_under(std::shared_ptr<const PolicyInForce> in_force);
    /// For the next exchange; memory is kept, what may be secret is wiped.
    void clear();
    /// In `config->credentials`; nothing: none.
    std::optional<std::size_t> credential() const { return serving_route && serving_route->credential ? serving_route->credential : serving->credential; }
    const Timeouts& timeouts() const { return serving_route ? serving_route->timeout : serving->timeout; }
    const RetrySpec& retry() const { return serving_route ? serving_route->retry : serving->retry; }
    const IdempotencySpec& idempotency() const { return serving_route ? serving_route->idempotency : serving->idempotency; }
    /// May the vendor that serves be asked for it twice, its body permitting: by its method (RFC 9110 9.2.2), or because a key tells that vendor that it is the same request?
    bool repeatable() const { return !tunnel && (is_idempotent(request.method) || idempotency().is_keyed(request.fields)); }
    /// Is there something under way that `interrupt` would wake?
    bool waits() const { return trip || pausing; }
};

}  // namespace sluice
