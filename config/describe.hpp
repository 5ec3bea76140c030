// The effective numbers as JSON, in the words of the language: what is printed here, the decoder reads back. Pure; used
// by describe.cpp for a whole policy, and by `sluice explain` for one request.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace sluice {

boost::json::object describe(const RetrySpec& retry);  // without `hedge`
boost::json::object describe(const HedgeSpec& hedge);
boost::json::object describe(const IdempotencySpec& idempotency);
boost::json::object describe(const BreakerSpec& breaker);
boost::json::object describe(const LimitSpec& limit);
boost::json::object describe(const FallbackSpec& fallback, const Config& config);
boost::json::object describe(const ChaosSpec& chaos);

boost::json::object describe(const CredentialSpec& spec, const Config& config);
boost::json::object describe(const TlsRules& tls);
boost::json::object describe_pair(const MtlsSpec& pair);
/// {"file": "/run/secrets/x"}; null where nothing is written.
boost::json::value describe(const SecretSource& source);
boost::json::object describe_file(const std::string& path);
/// "https://host[:port][/path]"
std::string text_of_url(const Url& url);
/// A `total` that is only inherited bounds neither tunnels nor streams: it is told once, with the defaults.
boost::json::object describe(const Timeouts& timeouts, bool with_total);

std::string_view word_of(Unmatched unmatched);

/// "p95", "500ms".
std::string text_of(const HedgeSpec& hedge);
/// "100/s", "200k/m".
std::string text_of(const Rate& rate);

}  // namespace sluice
