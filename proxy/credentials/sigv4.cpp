#include "proxy/credentials/sigv4.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/stamp.hpp"

namespace sluice {

namespace {

constexpr std::string_view content_sha256 = "X-Amz-Content-Sha256";

bool is_sha256_hex(std::string_view text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) { return hex_value(c) >= 0; });
}

Failure unsignable(std::string why) {
    return {Origin::application, Reason::bad_request, Replay::safe, std::move(why)};
}

// ---- what the application left

/// Of a presigned URL, and what a presigner may add to them.
constexpr std::string_view presigned_names[] = {"X-Amz-Algorithm",     "X-Amz-Credential",    "X-Amz-Date",
                                                "X-Amz-Expires",       "X-Amz-SignedHeaders", "X-Amz-Signature",
                                                "X-Amz-Security-Token"};
/// Of one that is signed as S3 had it before (signature version 2, "Query String Request Authentication Alternative"),
/// boto3's default still: taken for that where all three are there, as other services may mean something by one.
constexpr std::string_view version_2_names[] = {"AWSAccessKeyId", "Signature", "Expires"};

/// Which of `names` the parameter's name is, however it is encoded; their number: none.
std::size_t index_in(std::span<const std::string_view> names, std::string_view name) {
    std::string decoded;
    if (name.find('%') != name.npos) {
        append_percent_decoded(decoded, name);
        name = decoded;
    }
    const auto same = [&](std::string_view one) { return same_text(one, name); };
    return static_cast<std::size_t>(std::find_if(names.begin(), names.end(), same) - names.begin());
}
bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
    return index_in(names, name) < names.size();
}

/// Calls `visit` with each parameter, "name=value" as it stands, and how much of it is the name.
template <class Visit>
void each_parameter(std::string_view query, Visit visit) {
    while (!query.empty()) {
        const std::string_view parameter = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(parameter.size() + 1, query.size()));
        visit(parameter, std::min(parameter.find('='), parameter.size()));
    }
}

void clean_query(std::string& target) {
    const std::size_t at = target.find('?');
    if (at == target.npos) return;
    bool changes = target.find('+', at) != target.npos;
    const std::string_view query = std::string_view(target).substr(at + 1);
    unsigned of_version_2 = 0;
    each_parameter(query, [&](std::string_view parameter, std::size_t name) {
        changes = changes || is_one_of(presigned_names, parameter.substr(0, name));
        of_version_2 |= 1u << index_in(version_2_names, parameter.substr(0, name));
    });
    const bool version_2 = (of_version_2 & 7) == 7;
    if (!changes && !version_2) return;
    std::string kept = target.substr(0, at);
    char separator = '?';
    each_parameter(query, [&](std::string_view parameter, std::size_t name) {
        if (is_one_of(presigned_names, parameter.substr(0, name))) return;
        if (version_2 && is_one_of(version_2_names, parameter.substr(0, name))) return;
        kept += separator;
        separator = '&';
        for (const char c : parameter) {
            if (c == '+') {
                kept += "%20";
            } else {
                kept += c;
            }
        }
    });
    target = std::move(kept);
}

void remove_signature(RequestHead& head) {
    head.fields.remove(Known::authorization);
    constexpr std::string_view names[] = {"X-Amz-Date", "Date", "X-Amz-Security-Token", "X-Amz-S3session-Token"};
    for (const std::string_view name : names) {
        head.fields.remove(name);
        if (name.find('-') != name.npos) head.fields.remove_lookalikes(name);
    }
    clean_query(head.target);
}

// ---- the canonical request

void append_encoded_path(std::string& out, std::string_view path) {
    while (true) {
        const std::string_view segment = path.substr(0, path.find('/'));
        append_percent_encoded(out, segment);
        if (segment.size() == path.size()) return;
        out += '/';
        path.remove_prefix(segment.size() + 1);
    }
}

/// "//a/./b/../c/" as "/a/c/".
std::string normalized(std::string_view path) {
    std::vector<std::string_view> kept;
    const bool slash = path.ends_with('/');
    while (!path.empty()) {
        const std::string_view segment = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(segment.size() + 1, path.size()));
        if (segment == "..") {
            if (!kept.empty()) kept.pop_back();
        } else if (!segment.empty() && segment != ".") {
            kept.push_back(segment);
        }
    }
    std::string out;
    for (const std::string_view segment : kept) out.append("/").append(segment);
    if (slash || out.empty()) out += '/';
    return out;
}

void append_canonical_path(const AwsSigning& in, std::string_view path, std::string& out) {
    std::string whole(in.prefix);
    whole += path.starts_with('/') ? path : "/";  // nothing, or `*`
    if (in.path == AwsSigning::Path::as_s3 || is_s3(in.service)) {
        std::string decoded;
        append_percent_decoded(decoded, whole);
        append_encoded_path(out, decoded);
    } else {
        append_encoded_path(out, normalized(whole));  // encoded once more: %20 is signed as %2520
    }
}

void append_canonical_query(std::string_view query, std::string& out) {
    struct Parameter {
        std::size_t at, name_size, size;  // in `text`: "name=value"
    };
    std::string text, decoded;
    text.reserve(3 * query.size() + 16);
    std::vector<Parameter> parameters;
    const auto append = [&](std::string_view part) {
        decoded.clear();
        append_percent_decoded(decoded, part);
        append_percent_encoded(text, decoded);
    };
    each_parameter(query, [&](std::string_view parameter, std::size_t name) {
        if (parameter.empty()) return;
        const std::size_t at = text.size();
        append(parameter.substr(0, name));
        const std::size_t name_size = text.size() - at;
        text += '=';
        if (name < parameter.size()) append(parameter.substr(name + 1));
        parameters.push_back({at, name_size, text.size() - at});
    });
    const std::string_view all = text;
    std::sort(parameters.begin(), parameters.end(), [all](const Parameter& a, const Parameter& b) {
        const int names = all.substr(a.at, a.name_size).compare(all.substr(b.at, b.name_size));
        return names != 0 ? names < 0 : all.substr(a.at, a.size) < all.substr(b.at, b.size);
    });
    const char* separator = "";
    for (const Parameter& parameter : parameters) {
        out.append(separator).append(all.substr(parameter.at, parameter.size));
        separator = "&";
    }
}

/// Without blanks at its ends, each run of them inside as one space.
void append_canonical_value(std::string& out, std::string_view value) {
    value = trimmed(value);
    bool blank = false;
    for (const char c : value) {
        if (c == ' ' || c == '\t') {
            blank = true;
            continue;
        }
        if (blank) out += ' ';
        blank = false;
        out += c;
    }
}

struct SignedField {
    std::string name;  // in lower case; nearly all are short enough to need no memory of their own
    std::string_view value;
};

std::vector<SignedField> signed_fields(const AwsSigning& in, const Fields& fields) {
    const auto is_signed = [&in](const Field& field) {
        if (field.known == Known::content_type || same_text(field.name, "content-md5")) return true;
        if (same_text(field.name.substr(0, 6), "x-amz-")) return true;
        return std::any_of(in.also_sign.begin(), in.also_sign.end(),
                           [&](std::string_view name) { return same_text(name, field.name); });
    };
    std::vector<SignedField> out;
    out.reserve(fields.size() + 1);
    out.push_back({"host", in.host});
    for (const Field field : fields) {
        if (field.known != Known::host && is_signed(field)) out.push_back({to_lower(field.name), field.value});
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const SignedField& a, const SignedField& b) { return a.name < b.name; });
    return out;
}

void append_canonical_fields(const std::vector<SignedField>& fields, std::string& out, std::string& names) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const bool again = i > 0 && fields[i].name == fields[i - 1].name;
        if (again) {
            out.back() = ',';  // the line goes on
        } else {
            out.append(fields[i].name).append(":");
            if (i > 0) names += ';';
            names += fields[i].name;
        }
        append_canonical_value(out, fields[i].value);
        out += '\n';
    }
}

std::string scope_of(const AwsSigning& in, std::string_view date) {
    std::string scope(date);
    scope.append("/").append(in.region).append("/").append(in.service).append("/aws4_request");
    return scope;
}

std::string hash_of_canonical_request(const AwsSigning& in, const RequestHead& head, std::string& names) {
    std::string canonical;
    // All its room at once: it holds the session token, and growing would leave copies behind.
    canonical.reserve(head.fields.wire_size() + 9 * (in.prefix.size() + head.target.size()) + in.host.size() + 1024);
    append_canonical_request(in, head, canonical, names);
    std::string out = to_hex(hash_of(HashAlgorithm::sha256, canonical).bytes());
    wipe(canonical);
    return out;
}

}  // namespace

bool is_s3(std::string_view service) {
    return service == "s3" || service == "s3express" || service == "s3-outposts" || service == "s3-object-lambda";
}

Result<AwsPayload> judge_aws_payload(std::string_view service, const RequestHead& head, bool has_body) {
    using Kind = AwsPayload::Kind;
    const auto given = head.fields.find(content_sha256);
    if (!given) {
        if (!has_body) return AwsPayload{Kind::given, std::string(empty_sha256)};
        if (!is_s3(service)) return AwsPayload{Kind::must_hash, {}};
        return AwsPayload{Kind::unsigned_payload, "UNSIGNED-PAYLOAD"};
    }
    const auto says_otherwise = [&](const Field& field) {
        return same_text(field.name, content_sha256) && field.value != *given;
    };
    for (const Field field : head.fields) {
        if (says_otherwise(field)) return unsignable("X-Amz-Content-Sha256 stands in the head twice");
    }
    const std::string text(trimmed(*given));
    if (is_sha256_hex(text)) return AwsPayload{Kind::given, text};
    if (text == "UNSIGNED-PAYLOAD") return AwsPayload{Kind::unsigned_payload, text};
    if (text == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") return AwsPayload{Kind::streaming_signed, text};
    if (text == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") return AwsPayload{Kind::streaming_signed_trailer, text};
    if (text == "STREAMING-UNSIGNED-PAYLOAD-TRAILER") return AwsPayload{Kind::streaming_unsigned_trailer, text};
    if (text.starts_with("STREAMING-AWS4-ECDSA-")) {
        return unsignable("the body is signed with an asymmetric key (SigV4a, " + text +
                          "), which cannot be signed anew: let the application sign with SigV4");
    }
    if (text == "STREAMING-AWS4-HMAC-SHA256-EVENTS") {
        return unsignable("the body is a signed event stream, whose messages cannot be signed anew");
    }
    return unsignable("X-Amz-Content-Sha256 is neither a SHA-256 in hexadecimal nor a word that stands for one");
}

const HashValue& AwsKeyCache::key(const AwsKeys& keys, std::string_view date, std::string_view region,
                                  std::string_view service) {
    used_ = true;
    const bool same = date == date_ && region == region_ && service == service_ &&
                      keys.access_key_id == access_key_id_ && secret_.same_as(keys.secret_access_key);
    if (same) return key_;
    constexpr auto sha256 = HashAlgorithm::sha256;
    std::string first;
    first.reserve(4 + keys.secret_access_key.size());
    first.append("AWS4").append(keys.secret_access_key);
    const HashValue of_date = hmac(sha256, first, date);
    wipe(first);
    const HashValue of_region = hmac(sha256, of_date.bytes(), region);
    const HashValue of_service = hmac(sha256, of_region.bytes(), service);
    key_ = hmac(sha256, of_service.bytes(), "aws4_request");
    date_ = date;
    region_ = region;
    service_ = service;
    access_key_id_ = keys.access_key_id;
    secret_ = Secret(std::string(keys.secret_access_key));
    return key_;
}

void AwsKeyCache::tidy() {
    if (!std::exchange(used_, false) && !empty()) *this = {};
}

void append_canonical_request(const AwsSigning& in, const RequestHead& head, std::string& out, std::string& names) {
    const std::string_view target = head.target;
    const std::string_view path = target.substr(0, target.find('?'));
    out.append(head.method).append("\n");
    append_canonical_path(in, path, out);
    out += '\n';
    append_canonical_query(target.substr(std::min(path.size() + 1, target.size())), out);
    out += '\n';
    const std::size_t from = names.size();
    append_canonical_fields(signed_fields(in, head.fields), out, names);
    out.append("\n").append(names, from).append("\n").append(in.payload);
}

void sign_aws(const AwsSigning& in, AwsKeyCache& cache, RequestHead& head, AwsSigned& out) {
    out.time = basic_stamp(in.now);
    const std::string_view date = std::string_view(out.time).substr(0, 8);
    remove_signature(head);
    head.fields.set("X-Amz-Date", out.time);
    if (!in.keys.session_token.empty()) head.fields.set("X-Amz-Security-Token", in.keys.session_token);
    if (is_s3(in.service) || head.fields.find(content_sha256)) head.fields.set(content_sha256, in.payload);

    std::string names;
    const std::string hash = hash_of_canonical_request(in, head, names);
    out.scope = scope_of(in, date);
    std::string to_sign = "AWS4-HMAC-SHA256\n";
    to_sign.append(out.time).append("\n").append(out.scope).append("\n").append(hash);
    out.key = cache.key(in.keys, date, in.region, in.service);
    out.signature = to_hex(hmac(HashAlgorithm::sha256, out.key.bytes(), to_sign).bytes());

    std::string authorization = "AWS4-HMAC-SHA256 Credential=";
    authorization.append(in.keys.access_key_id).append("/").append(out.scope).append(", SignedHeaders=");
    authorization.append(names).append(", Signature=").append(out.signature);
    head.fields.set("Authorization", authorization);
}

}  // namespace sluice
