// `sluice env`: the variables by which applications find Sluice and trust its authority (which client reads which was
// measured: see the table of clients in README.md). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace sluice {

using Variables = std::vector<std::pair<std::string, std::string>>;

/// Where applications find the proxy, and what they trust.
struct Surroundings {
    ListenAddress proxy;                // as bound; an unspecified address (0.0.0.0, ::) is told as loopback
    std::string published;              // the directory of ca.crt, bundle.pem, truststore.p12; absolute
    std::vector<std::string> no_proxy;  // the policy's own
    std::string client = {};            // "NAME:PASSWORD", percent-encoded, where the proxy asks for it; JAVA_TOOL_OPTIONS has no place for it
};

/// Never SSL_CERT_DIR: with it, curl ignores SSL_CERT_FILE and Go drops the system's roots.
Variables environment_for(const Surroundings& surroundings);

/// NO_PROXY: the hosts that never go through a proxy, then the policy's. A name counts with its subdomains everywhere
/// only where both "name" and
/// ".name" are listed.
std::vector<std::string> no_proxy_list(const std::vector<std::string>& added);
/// The same as Java's nonProxyHosts has it: "localhost|*.svc".
std::string java_non_proxy_hosts(const std::vector<std::string>& no_proxy);

/// What somebody on the same machine dials: loopback for a listener on every address.
ListenAddress as_dialled(ListenAddress listener);

enum class EnvFormat : unsigned char { sh, fish, dotenv, json, k8s };
std::optional<EnvFormat> env_format_named(std::string_view name);

/// `sh` and `fish` may be evaluated whatever the values hold; `k8s` is the list under a container's `env:`.
std::string render(const Variables& variables, EnvFormat format);

}  // namespace sluice
