#include "config/reach.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "config/forms.hpp"
#include "config/secret_rule.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

std::optional<AddressRange> parse_address_range(const std::string& text, std::string& why) {
    auto range = parse_range(text, why);
    if (!range) why = about_it(text, why);
    return range;
}

std::optional<std::string> parse_pin(const std::string& text, std::string& why) {
    // SHA-256 is 32 bytes: 43 characters of base64 and one '='.
    constexpr std::string_view lead = "sha256/";
    std::array<unsigned char, 33> bytes{};
    why = "write sha256/ and the base64 of the 32 bytes of the SHA-256 of a certificate's SubjectPublicKeyInfo";
    if (!text.starts_with(lead) || text.size() != lead.size() + 44) return {};
    const std::string_view body = std::string_view{text}.substr(lead.size());
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (body.find_first_not_of(alphabet) != 43 || body.back() != '=') return {};
    if (EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(body.data()), 44) != 33) return {};
    return std::string(reinterpret_cast<const char*>(bytes.data()), 32);
}

constexpr ScalarRule<Duration> timeout_rule{"a duration", "2s", duration_pattern, parse_between<1, 30 * in_ms::day>,
                                            true};
constexpr ScalarRule<AddressRange> range_rule{"an address range", "10.0.0.0/8", "[0-9A-Fa-f:.]+(/[0-9]{1,3})?",
                                              parse_address_range};
constexpr ScalarRule<std::string> pin_rule{
    "a pin", "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256/[A-Za-z0-9+/]{43}=", parse_pin};
constexpr ListRule<range_rule> ranges_list{"a list of address ranges"};

// ---- files and TLS

constexpr Key<WrittenFile> file_keys[] = {
    key<&WrittenFile::file, file_name>("file", "A path; a relative one starts from the directory of the policy file.",
                                       Presence::required),
};
constexpr MapRule<WrittenFile> file_map{"file", "A file: {file: /etc/sluice/ca.pem}.", file_keys};

constexpr Key<WrittenPair> pair_keys[] = {
    key<&WrittenPair::cert, file_rule>("cert", "The certificate and its chain, PEM.", Presence::required),
    key<&WrittenPair::key, file_rule>("key", "Its private key, PEM.", Presence::required),
};
constexpr MapRule<WrittenPair> pair_map{"key_pair", "A certificate and its key.", pair_keys};

constexpr Key<WrittenClientPair> client_pair_keys[] = {
    key<&WrittenClientPair::cert, secret_rule>("cert", "The certificate and its chain, PEM.", Presence::required),
    key<&WrittenClientPair::key, secret_rule>("key", "Its private key, PEM.", Presence::required),
};
constexpr MapRule<WrittenClientPair> client_pair_map{
    .name = "client_certificate",
    .doc = "A client certificate and its key, each in a file, Sluice's environment or Vault.",
    .keys = client_pair_keys,
    .private_values = true,
    .check = nullptr,
    .amend = nullptr};

constexpr WordsRule<TlsRules::Version, 2> version_words{
    {{"1.2", TlsRules::Version::tls12}, {"1.3", TlsRules::Version::tls13}}};
constexpr ListRule<pin_rule> pins_rule{"a list of pins", 1};
constexpr Key<WrittenTls> tls_keys[] = {
    key<&WrittenTls::min, version_words>("min", "The oldest version of TLS to accept: \"1.2\" (default) or \"1.3\"."),
    key<&WrittenTls::ca, file_rule>("ca", "Trust the certificates in this file, and no others."),
    key<&WrittenTls::pin, pins_rule>("pin", "One certificate of the verified chain must have one of these keys."),
    key<&WrittenTls::client, client_pair_map>("client", "The certificate that Sluice shows."),
};
constexpr MapRule<WrittenTls> tls_map{"tls", "How the other side's TLS is verified.", tls_keys};

// ---- timeouts

constexpr Key<WrittenTimeouts> timeout_keys[] = {
    key<&WrittenTimeouts::connect, timeout_rule>("connect", "DNS and TCP, all addresses; built-in 2s."),
    key<&WrittenTimeouts::tls, timeout_rule>("tls", "The TLS handshake; built-in 3s."),
    key<&WrittenTimeouts::first_byte, timeout_rule>("first_byte",
                                                    "From the request sent to the response's head; built-in 60s."),
    key<&WrittenTimeouts::idle, timeout_rule>("idle",
                                              "No byte in either direction, streams included, but not while the "
                                              "response's head is awaited: that is first_byte's; built-in 5m."),
    key<&WrittenTimeouts::total, timeout_rule>(
        "total",
        "Everything, waits and retries included; built-in 10m. Written on a vendor or a route it also bounds tunnels, "
        "upgraded connections and event streams."),
};

void check_timeouts(Reader& reader, const Place& at, WrittenTimeouts& timeouts) {
    if (!timeouts.total) return;
    const std::pair<std::string_view, const Maybe<Duration>*> phases[] = {{"connect", &timeouts.connect},
                                                                          {"tls", &timeouts.tls},
                                                                          {"first_byte", &timeouts.first_byte},
                                                                          {"idle", &timeouts.idle}};
    const Duration total = timeouts.total->value;
    for (const auto& [name, phase] : phases)
        if (*phase && (*phase)->value > total)
            reader.fault({*(*phase)->node, &at, name, 0, (*phase)->node},
                         format_duration((*phase)->value) + " is longer than the `total` of " + format_duration(total),
                         "`total`, in the same map, bounds everything");
}

constexpr MapRule<WrittenTimeouts> timeouts_map{
    "timeout", "When to give up: 504 timeout_<which>.", timeout_keys, {}, false, check_timeouts, nullptr, {}, {}, "total"};

constexpr ScalarRule<Duration> issuer_timeout{"a duration", "2s", duration_pattern,
                                              parse_between<1, 20 * in_ms::second>, true};
constexpr Key<WrittenTimeouts> issuer_timeout_keys[] = {
    key<&WrittenTimeouts::connect, issuer_timeout>("connect", "DNS and TCP, all addresses; built-in 2s."),
    key<&WrittenTimeouts::tls, issuer_timeout>("tls", "The TLS handshake; built-in 3s."),
    key<&WrittenTimeouts::first_byte, issuer_timeout>("first_byte",
                                                      "From the request sent to the answer's head; built-in 5s."),
    key<&WrittenTimeouts::idle, issuer_timeout>("idle", "No byte in either direction; built-in 5s."),
    key<&WrittenTimeouts::total, issuer_timeout>("total", "One call as a whole; built-in 5s. A fetch has 20s."),
};
constexpr MapRule<WrittenTimeouts> issuer_timeouts_map{
    "issuer_timeout", "When to give a call of an issuer up.", issuer_timeout_keys, {}, false, check_timeouts, nullptr, {}, {}, "total"};

// ---- URLs

std::optional<Url> read_url(Reader& reader, const Place& at, const ScalarRule<Url>& rule) {
    if (at.node.text.find('@') == std::string::npos) return rule.read(reader, at);
    reader.mask(at.node);
    reader.fault(at, "a URL without user and password is expected", "a secret goes into a credential");
    return {};
}

std::optional<Url> parse_endpoint(const std::string& text, std::string& why) {
    return parse_base_url(text, why);
}

/// Where nobody listens in between: this machine, and what a cloud answers at from the machine below.
bool may_be_plain(const Authority& authority) {
    static constexpr std::string_view known[] = {
        "localhost",     "169.254.169.254", "169.254.170.2",           "169.254.170.23",
        "fd00:ec2::254", "fd00:ec2::23",    "metadata.google.internal"};
    if (std::find(std::begin(known), std::end(known), authority.host) != std::end(known)) return true;
    const auto address = authority.is_address ? parse_address(authority.host) : std::nullopt;
    return address && is_loopback(*address);
}

std::optional<Url> judge_plain(std::optional<Url> url, std::string& why) {
    if (!url || url->scheme == Scheme::https || may_be_plain(url->authority)) return url;
    why =
        "what an issuer is shown and gives is secret: write https:// (http:// is for localhost, loopback and a cloud's "
        "metadata address)";
    return {};
}
std::optional<Url> parse_issuer_base(const std::string& text, std::string& why) {
    return judge_plain(parse_base_url(text, why), why);
}
std::optional<Url> parse_issuer_resource(const std::string& text, std::string& why) {
    return judge_plain(parse_resource_url(text, why), why);
}

constexpr ScalarRule<Url> endpoint_rule{"a URL", "https://api.pay.example", "https?://[^?# @]+", parse_endpoint};
constexpr ScalarRule<Url> issuer_base{"an issuer's URL", "https://auth.pay.example", "https?://[^?# @]+",
                                      parse_issuer_base};
constexpr ScalarRule<Url> issuer_resource{"an issuer's URL", "https://auth.pay.example/oauth/token", "https?://[^# @]+",
                                          parse_issuer_resource};

}  // namespace

std::optional<std::string> FileRule::read(Reader& reader, const Place& at) const {
    if (at.node.kind == Node::Kind::scalar) {
        reader.fault(at, shown(at.node.text) + " is not a file", "write {file: /path/to/it}");
        return {};
    }
    auto written = file_map.read(reader, at);
    if (!written || !written->file) return {};
    return beside(at.node.file->path, written->file->value);
}
boost::json::object FileRule::describe(Schema& schema) const {
    return file_map.describe(schema);
}

std::optional<WrittenPair> read_pair(Reader& reader, const Place& at) {
    return pair_map.read(reader, at);
}
boost::json::object describe_pair(Schema& schema) {
    return pair_map.describe(schema);
}
std::optional<WrittenTls> read_tls(Reader& reader, const Place& at) {
    return tls_map.read(reader, at);
}
boost::json::object describe_tls(Schema& schema) {
    return tls_map.describe(schema);
}
std::optional<WrittenTimeouts> read_timeouts(Reader& reader, const Place& at) {
    return timeouts_map.read(reader, at);
}
boost::json::object describe_timeouts(Schema& schema) {
    return timeouts_map.describe(schema);
}
std::optional<WrittenTimeouts> read_issuer_timeouts(Reader& reader, const Place& at) {
    return issuer_timeouts_map.read(reader, at);
}
boost::json::object describe_issuer_timeouts(Schema& schema) {
    return issuer_timeouts_map.describe(schema);
}
std::optional<WrittenRanges> read_ranges(Reader& reader, const Place& at) {
    return ranges_list.read(reader, at);
}
boost::json::object describe_ranges(Schema& schema) {
    return ranges_list.describe(schema);
}
std::optional<Url> read_endpoint_url(Reader& reader, const Place& at) {
    return read_url(reader, at, endpoint_rule);
}
boost::json::object describe_endpoint_url(Schema& schema) {
    return endpoint_rule.describe(schema);
}
std::optional<Url> read_issuer_base(Reader& reader, const Place& at) {
    return read_url(reader, at, issuer_base);
}
std::optional<Url> read_issuer_resource(Reader& reader, const Place& at) {
    return read_url(reader, at, issuer_resource);
}
boost::json::object describe_issuer_url(Schema& schema) {
    return issuer_resource.describe(schema);
}

}  // namespace sluice
