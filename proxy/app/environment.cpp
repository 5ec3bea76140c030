#include "proxy/app/environment.hpp"

#include <algorithm>
#include <array>

#include "proxy/app/console.hpp"

namespace sluice {

namespace {

/// What reads a whole bundle: the system's roots and our authority.
constexpr std::array bundle_readers = {
    "SSL_CERT_FILE",     "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",    "PIP_CERT",
    "CARGO_HTTP_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "DENO_CERT",         "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "npm_config_cafile", "PERL_LWP_SSL_CA_FILE",
};

bool unspecified(const IpAddress& address) {
    return std::all_of(address.bytes.begin(), address.bytes.end(), [](unsigned char byte) { return byte == 0; });
}

bool is_name(std::string_view entry) {
    return !entry.empty() && entry.find_first_of("*/:[]") == std::string_view::npos && entry.front() != '.' &&
           !parse_address(entry);
}

/// JAVA_TOOL_OPTIONS is split at white space; the JVM takes a quoted piece as one option.
std::string java_option(std::string option) {
    if (option.find_first_of(" \t\n") == std::string::npos) return option;
    return '"' + option + '"';
}

std::string java_tool_options(const ListenAddress& proxy, const std::vector<std::string>& no_proxy,
                              const std::string& published) {
    const std::string host = proxy.address.text();
    const std::string port = std::to_string(proxy.port);
    return joined({"-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port, "-Dhttps.proxyHost=" + host,
                   "-Dhttps.proxyPort=" + port, java_option("-Dhttp.nonProxyHosts=" + java_non_proxy_hosts(no_proxy)),
                   java_option("-Djavax.net.ssl.trustStore=" + published + "/truststore.p12"),
                   "-Djavax.net.ssl.trustStoreType=PKCS12", "-Djavax.net.ssl.trustStorePassword=changeit"},
                  " ");
}

/// In single quotes; what ends them is written outside.
std::string shell_quoted(std::string_view value, std::string_view quote, std::string_view backslash) {
    std::string out = "'";
    for (char c : value) {
        if (c == '\'') {
            out += quote;
        } else if (c == '\\') {
            out += backslash;
        } else {
            out += c;
        }
    }
    return out + '\'';
}

/// Bare where every reader of such files takes it bare: `docker run --env-file` knows no quotes.
std::string dotenv_value(std::string_view value) {
    if (value.find_first_of("#'\"\\$`\n") == std::string_view::npos) return std::string(value);
    std::string out = "\"";
    for (char c : value) {
        if (c == '"' || c == '\\' || c == '$' || c == '`') out += '\\';
        out += c;
    }
    return out + '"';
}

/// The kubelet expands "$(NAME)" in a value; "$$(" is its escape.
std::string k8s_value(std::string_view value) {
    std::string out;
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (value.substr(i, 2) == "$(") out += '$';
        out += value[i];
    }
    return quoted(out);
}

}  // namespace

ListenAddress as_dialled(ListenAddress listener) {
    if (!unspecified(listener.address)) return listener;
    if (listener.address.v6) {
        listener.address.bytes.back() = 1;
    } else {
        listener.address.bytes[0] = 127;
        listener.address.bytes[3] = 1;
    }
    return listener;
}

std::vector<std::string> no_proxy_list(const std::vector<std::string>& added) {
    std::vector<std::string> all = {"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local"};
    const auto add = [&all](std::string entry) {
        if (std::find(all.begin(), all.end(), entry) == all.end()) all.push_back(std::move(entry));
    };
    for (const std::string& entry : added) {
        if (entry.starts_with("*.")) {
            add(entry.substr(1));  // the star means something to wget, axios and Go only
            continue;
        }
        add(entry);
        if (is_name(entry)) add('.' + entry);
    }
    return all;
}

std::string java_non_proxy_hosts(const std::vector<std::string>& no_proxy) {
    std::vector<std::string> hosts;
    for (const std::string& entry : no_proxy) {
        const std::optional<IpAddress> address = parse_address(entry);
        if (address && address->v6) {
            hosts.push_back('[' + entry + ']');
        } else {
            hosts.push_back(entry.starts_with('.') ? '*' + entry : entry);
        }
    }
    return joined(hosts, "|");
}

Variables environment_for(const Surroundings& surroundings) {
    const ListenAddress proxy = as_dialled(surroundings.proxy);
    const std::string url = "http://" + surroundings.client + (surroundings.client.empty() ? "" : "@") + proxy.text();
    const std::vector<std::string> no_proxy = no_proxy_list(surroundings.no_proxy);
    const std::string no_proxy_text = joined(no_proxy, ",");
    const std::string bundle = surroundings.published + "/bundle.pem";

    Variables variables;
    for (const char* name : {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "grpc_proxy"}) {
        variables.emplace_back(name, url);
    }
    for (const char* name : {"NO_PROXY", "no_proxy"}) variables.emplace_back(name, no_proxy_text);
    variables.emplace_back("NODE_USE_ENV_PROXY", "1");
    variables.emplace_back("NODE_EXTRA_CA_CERTS", surroundings.published + "/ca.crt");
    for (const char* name : bundle_readers) variables.emplace_back(name, bundle);
    variables.emplace_back("JAVA_TOOL_OPTIONS", java_tool_options(proxy, no_proxy, surroundings.published));
    return variables;
}

std::optional<EnvFormat> env_format_named(std::string_view name) {
    if (name == "sh") return EnvFormat::sh;
    if (name == "fish") return EnvFormat::fish;
    if (name == "dotenv") return EnvFormat::dotenv;
    if (name == "json") return EnvFormat::json;
    if (name == "k8s") return EnvFormat::k8s;
    return std::nullopt;
}

std::string render(const Variables& variables, EnvFormat format) {
    std::string out = format == EnvFormat::json ? "{" : "";
    for (std::size_t i = 0; i < variables.size(); ++i) {
        const auto& [name, value] = variables[i];
        switch (format) {
        case EnvFormat::sh: out += "export " + name + '=' + shell_quoted(value, "'\\''", "\\") + '\n'; continue;
        case EnvFormat::fish: out += "set -gx " + name + ' ' + shell_quoted(value, "\\'", "\\\\") + '\n'; continue;
        case EnvFormat::dotenv: out += name + '=' + dotenv_value(value) + '\n'; continue;
        case EnvFormat::json: out += (i ? ",\n  " : "\n  ") + quoted(name) + ": " + quoted(value); continue;
        case EnvFormat::k8s: out += "- name: " + name + "\n  value: " + k8s_value(value) + '\n'; continue;
        }
    }
    if (format == EnvFormat::json) out += "\n}\n";
    return out;
}

}  // namespace sluice
