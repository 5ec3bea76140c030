#include "proxy/exchange/attempt.hpp"

#include "proxy/credentials/apply.hpp"

namespace sluice {

namespace {

Failure unavailable(std::string detail) { return {Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(detail)}; }

// The transport verifies the destination before it sends a byte of the head, so what is attached here reaches nobody else.
Result<void> attach_credential(Exchange& ex, const Destination& destination) {
    if (!ex.vendor->credential) return {};
    if (destination.scheme == Scheme::http && ex.vendor->endpoints.empty())
        return unavailable("a credential never travels in clear text: call https://" + destination.authority.host + " instead, or give vendor '" + ex.vendor->name +
                           "' an endpoint written as http:// if plain text is meant");
    if (ex.request.method == "TRACE")   // its answer is the request: the application would read the credential (RFC 9110 9.3.8)
        return Failure{Origin::sluice, Reason::not_allowed, Replay::safe, "TRACE would send the credential of vendor '" + ex.vendor->name + "' back"};
    Result<const Attachment*> attachment = ex.policy->credentials.current(*ex.vendor->credential);
    if (!attachment) return std::move(attachment.error());
    apply(**attachment, ex.request);
    return {};
}

}  // namespace

Task<Result<void>> attempt(Core& core, Exchange& ex, RoundTrip& trip) {
    trip.vendor = ex.vendor;
    trip.contexts = &ex.policy->contexts;
    trip.destination = destination_of(*ex.vendor, ex.scheme, ex.authority);
    trip.request = &ex.request;
    trip.request_framing = ex.framing;
    trip.request_body = ex.body;
    trip.upgrade = ex.upgrade;
    trip.limits = ex.limits;
    trip.activity = &ex.activity;
    trip.application = ex.application;
    trip.phases = &ex.phases;
    trip.traffic = &ex.traffic;
    trip.response = &ex.response;

    if (!ex.tunnel) {
        Result<void> attached = attach_credential(ex, trip.destination);
        if (!attached) co_return attached;
    }
    ++ex.attempts;
    Task<Result<void>> going = ex.tunnel ? core.transport.open_stream(trip) : core.transport.round_trip(trip);
    Result<void> done = co_await std::move(going);
    const bool vendors_doing = done || done.error().origin == Origin::vendor;
    if (vendors_doing) core.journal.attempted(*ex.vendor, trip.destination.authority.host, done ? "ok" : name_of(done.error().reason));
    co_return done;
}

}  // namespace sluice
