// Our own answers: a Refusal or a Failure as problem+json (RFC 9457), and the three headers that every answer carries.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// The body of an answer of ours. `detail` "": the reason's title; `vendor` "": none could be told.
std::string problem(Reason reason, std::string_view detail, std::string_view vendor, std::string_view request_id);

/// Adds Sluice-Request-Id, Sluice-Outcome and Sluice-Attempts, and takes away what a vendor said in our name.
void sign_response(Exchange& ex);

/// Answers with the policy's refusal.
Task<Result<void>> refuse(Exchange& ex, const Refusal& refusal);

/// Answers with what went wrong, unless the answer has begun or nobody is left to be answered.
Task<Result<void>> report(Exchange& ex, const Failure& failure);

}  // namespace sluice
