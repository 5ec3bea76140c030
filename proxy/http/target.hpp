// The request target in its four forms (RFC 9112 3.2), and what a path may not hold. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/http/authority.hpp"

namespace sluice {

struct Target {
    enum class Form : unsigned char { origin, absolute, authority, asterisk };
    Form form = Form::origin;
    Scheme scheme = Scheme::http;      // absolute-form
    Authority authority;               // absolute- and authority-form
    std::string_view rest;             // origin- and absolute-form: path and query as they came, "/" put before an empty path's query by the
                                       // caller (`rest` is then "" or "?..."); a view into the argument
};

/// CONNECT takes authority-form only (with a port), OPTIONS also asterisk, everything else origin- or absolute-form (`http`, `https`).
/// A fragment, userinfo, controls, spaces, non-ASCII bytes: bad_request.
Result<Target> parse_target(std::string_view method, std::string_view target);

/// What is wrong with a path (without its query) in words, or empty. Refused: NUL, bad escapes, backslash, a segment that is a dot segment once
/// %2E, %2F and %5C are decoded.
std::string_view judge_path(std::string_view path);

/// "https://host[:port][/prefix]" of an endpoint or an issuer.
struct Url {
    Scheme scheme = Scheme::https;
    Authority authority;
    std::string prefix;   // path without its trailing '/', "" for none

    bool operator==(const Url&) const = default;
};
/// No query, no fragment, no userinfo. Nothing: not such a URL; `fault` then says why.
std::optional<Url> parse_base_url(std::string_view text, std::string& fault);
/// The same of one whole resource, such as a token endpoint: `prefix` is then path and query, as written.
std::optional<Url> parse_resource_url(std::string_view text, std::string& fault);

}  // namespace sluice
