#include "proxy/base/reason.hpp"

namespace sluice {

std::string_view name_of(Reason reason) {
    switch (reason) {
    case Reason::bad_request: return "bad_request";
    case Reason::head_too_large: return "head_too_large";
    case Reason::unknown_vendor: return "unknown_vendor";
    case Reason::not_allowed: return "not_allowed";
    case Reason::address_refused: return "address_refused";
    case Reason::client_unknown: return "client_unknown";
    case Reason::timeout_request: return "timeout_request";
    case Reason::authority_mismatch: return "authority_mismatch";
    case Reason::rate_limited: return "rate_limited";
    case Reason::concurrency_limited: return "concurrency_limited";
    case Reason::token_limited: return "token_limited";
    case Reason::dns_failed: return "dns_failed";
    case Reason::connect_failed: return "connect_failed";
    case Reason::tls_failed: return "tls_failed";
    case Reason::upstream_reset: return "upstream_reset";
    case Reason::upstream_protocol: return "upstream_protocol";
    case Reason::answer_lost: return "answer_lost";
    case Reason::breaker_open: return "breaker_open";
    case Reason::credential_unavailable: return "credential_unavailable";
    case Reason::overloaded: return "overloaded";
    case Reason::draining: return "draining";
    case Reason::timeout_connect: return "timeout_connect";
    case Reason::timeout_tls: return "timeout_tls";
    case Reason::timeout_first_byte: return "timeout_first_byte";
    case Reason::timeout_idle: return "timeout_idle";
    case Reason::timeout_total: return "timeout_total";
    }
    return "";
}

unsigned status_of(Reason reason) {
    switch (reason) {
    case Reason::bad_request: return 400;
    case Reason::head_too_large: return 431;
    case Reason::unknown_vendor:
    case Reason::not_allowed:
    case Reason::address_refused: return 403;
    case Reason::client_unknown: return 407;
    case Reason::timeout_request: return 408;
    case Reason::authority_mismatch: return 421;
    case Reason::rate_limited:
    case Reason::concurrency_limited:
    case Reason::token_limited: return 429;
    case Reason::dns_failed:
    case Reason::connect_failed:
    case Reason::tls_failed:
    case Reason::upstream_reset:
    case Reason::upstream_protocol:
    case Reason::answer_lost: return 502;
    case Reason::breaker_open:
    case Reason::credential_unavailable:
    case Reason::overloaded:
    case Reason::draining: return 503;
    case Reason::timeout_connect:
    case Reason::timeout_tls:
    case Reason::timeout_first_byte:
    case Reason::timeout_idle:
    case Reason::timeout_total: return 504;
    }
    return 500;
}

std::string_view title_of(Reason reason) {
    switch (reason) {
    case Reason::bad_request: return "the request is not valid HTTP";
    case Reason::head_too_large: return "the head of the request is too large";
    case Reason::unknown_vendor: return "no vendor of the policy has this host";
    case Reason::not_allowed: return "the policy does not allow this request";
    case Reason::address_refused: return "the host resolves to an address that the policy does not allow";
    case Reason::client_unknown: return "the application is no client of the policy";
    case Reason::timeout_request: return "the request did not arrive in time";
    case Reason::authority_mismatch: return "CONNECT target, SNI and Host do not name the same authority";
    case Reason::rate_limited: return "the rate that the policy allows is spent";
    case Reason::concurrency_limited: return "as many requests as the policy allows are under way";
    case Reason::token_limited: return "the tokens that the policy allows are spent";
    case Reason::dns_failed: return "the name of the vendor could not be resolved";
    case Reason::connect_failed: return "no connection to the vendor could be made";
    case Reason::tls_failed: return "the TLS connection to the vendor could not be verified";
    case Reason::upstream_reset: return "the vendor closed the connection before it had answered";
    case Reason::upstream_protocol: return "the answer of the vendor is not valid HTTP, or cannot be read";
    case Reason::answer_lost: return "the vendor has answered, and its answer was not kept";
    case Reason::breaker_open: return "the vendor has failed too often and is left alone for a while";
    case Reason::credential_unavailable: return "the credential of the vendor is not available";
    case Reason::overloaded: return "Sluice is at its limit of connections";
    case Reason::draining: return "Sluice is shutting down";
    case Reason::timeout_connect: return "the vendor could not be connected in time";
    case Reason::timeout_tls: return "the TLS handshake with the vendor did not finish in time";
    case Reason::timeout_first_byte: return "the vendor did not answer in time";
    case Reason::timeout_idle: return "no byte moved for too long";
    case Reason::timeout_total: return "the exchange did not finish in time";
    }
    return "";
}

}  // namespace sluice
