// The generic request signer: what is signed, and which headers carry it, are templates of the policy. Pure: time and
// random bits are arguments. Templates are compiled when the policy is read; `sign_hmac` is called by whoever sends a
// request, on its thread.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

/// What one request gives to its templates. Views must not be into the head's fields.
struct HmacRequest {
    WallTime now;                               // one time and one nonce in all templates of a request
    std::array<unsigned char, 16> nonce{};      // random bits
    std::string_view host;                      // the Host field as it will be sent
    std::string_view prefix;                    // goes before the path when it is sent: no '/' at its end
    std::string_view body;                      // where a template needs it, whole
    std::optional<HashValue> body_sha256 = {};  // where somebody has it already; else it is found from `body`
};

/// Literal text with {placeholders}; {{ and }} are braces. The placeholders:
///
///     {method} {host}           as they are sent
///     {path} {query} {target}   the path without the query, the query without its '?', both
///     {timestamp} {timestamp_ms} {date} {iso8601}   1440938160, 1440938160000, IMF-fixdate, 2015-08-30T12:36:00Z
///     {nonce}                   32 hexadecimal digits
///     {body} {body_sha256} {body_sha256_base64}
///     {header:Name}             its lines as one list ("a, b"), "" where there is none
///     {signature}               in the value of a header only
class HmacTemplate {
  public:
    enum class Use : unsigned char { string_to_sign, header_value };

    /// Nothing: `why` says what is wrong, in words for whoever wrote it.
    static std::optional<HmacTemplate> compile(std::string_view text, Use use, std::string& why);

    /// Has the body to be there, all of it, before the head can be sent?
    bool needs_body() const { return has(Part::Kind::body) || needs_body_hash(); }
    /// Would its SHA-256 do instead?
    bool needs_body_hash() const { return has(Part::Kind::body_sha256) || has(Part::Kind::body_sha256_base64); }
    bool needs_body_bytes() const { return has(Part::Kind::body); }
    bool has_signature() const { return has(Part::Kind::signature); }
    bool operator==(const HmacTemplate&) const = default;

    /// Appends the text that it stands for.
    void render(std::string& out, const HmacRequest& request, const RequestHead& head,
                std::string_view signature) const;

  private:
    struct Part {
        enum class Kind : unsigned char {
            literal,
            method,
            path,
            query,
            target,
            host,
            timestamp,
            timestamp_ms,
            date,
            iso8601,
            nonce,
            body,
            body_sha256,
            body_sha256_base64,
            header,
            signature
        };
        Kind kind = Kind::literal;
        std::string text;  // of a literal, or a header's name

        bool operator==(const Part&) const = default;
    };
    static const std::pair<std::string_view, Part::Kind> names[];
    static std::optional<Part> part_named(std::string_view name, Use use, std::string& why);
    bool has(Part::Kind kind) const;

    std::vector<Part> parts_;
};

enum class HmacEncoding : unsigned char { hex, base64, base64url };

struct HmacHeader {
    std::string name;
    HmacTemplate value;

    bool operator==(const HmacHeader&) const = default;
};

struct HmacScheme {
    HashAlgorithm algorithm = HashAlgorithm::sha256;
    HmacEncoding encoding = HmacEncoding::hex;
    HmacTemplate string_to_sign;
    std::vector<HmacHeader> headers;

    bool needs_body() const;
    bool operator==(const HmacScheme&) const = default;
};

/// What is wrong with the whole, in words, or "": no header carries the signature, a header without it stands after one
/// with it, the name is no header's or one that says where the request goes or where it ends, the same name twice.
std::string judge_hmac(const HmacScheme& spec);

/// Sets the headers in their order, in place of whatever the application put there (names that differ by '_' and '-'
/// only too): first those without {signature}, which the string to sign may name as {header:Name}, then those with it.
void sign_hmac(const HmacScheme& spec, std::string_view key, const HmacRequest& request, RequestHead& head);

}  // namespace sluice
