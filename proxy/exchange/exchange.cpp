#include "proxy/exchange/exchange.hpp"

namespace sluice {

void Exchange::begin_under(std::shared_ptr<const PolicyInForce> in_force) {
    policy = std::move(in_force);
    config = &policy->config;
}

void Exchange::clear() {
    policy.reset();
    config = nullptr;
    request.clear();
    framing = {};
    body = nullptr;
    application = nullptr;
    vendor = nullptr;
    listener = {};
    tunnel = upgrade = false;
    refused_already.reset();
    route = nullptr;
    response.clear();
    limits = {};
    activity = {};
    phases = {};
    traffic = {};
    attempts = 0;
    outcome = Outcome::vendor;
    reason.reset();
    detail.clear();
    status = 0;
    application_gone = false;
    trip.reset();
}

}  // namespace sluice
