#include "proxy/exchange/exchange.hpp"

namespace sluice {

void Exchange::begin_under(std::shared_ptr<const PolicyInForce> in_force) {
    policy = std::move(in_force);
    config = &policy->config;
}

void Exchange::clear() {
    held.clear();   // before the policy that owns the limits
    policy.reset();
    config = nullptr;
    request.clear();
    framing = {};
    body = nullptr;
    application = nullptr;
    vendor = nullptr;
    client = nullptr;
    listener = {};
    tunnel = upgrade = false;
    refused_already.reset();
    route = nullptr;
    serving = nullptr;
    serving_route = nullptr;
    fallbacks.clear();
    asked_path.clear();
    instead.reset();
    response.clear();
    limits = {};
    activity = {};
    phases = {};
    traffic = {};
    attempts = sends = 0;
    may_have_cost = false;
    outcome = Outcome::vendor;
    reason.reset();
    detail.clear();
    status = 0;
    application_gone = false;
    left_at = never;
    retries_spent = false;
    refusal_fields.clear();
    if (!pristine.method.empty()) pristine.clear();
    if (!bare.method.empty()) bare.clear();
    attached.reset();
    attached_previous = renewed = key_refused = body_signed = false;
    shows_previous.reset();
    resigned.clear();
    decoded.end();
    scrubbed.end();
    scrubbed_in_head = 0;
    replay.clear();
    tokens = {};
    failed_at.clear();
    fault = nullptr;
    heard = {};
    grpc = learning = counting = false;
    rewritten.hold({});
    looked_at.clear();
    trip.reset();
    winner.reset();
    pausing = nullptr;
}

}  // namespace sluice
