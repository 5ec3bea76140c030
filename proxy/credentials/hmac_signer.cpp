#include "proxy/credentials/hmac_signer.hpp"

#include <algorithm>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/stamp.hpp"

namespace sluice {

const std::pair<std::string_view, HmacTemplate::Part::Kind> HmacTemplate::names[] = {
    {"method", Part::Kind::method},
    {"path", Part::Kind::path},
    {"query", Part::Kind::query},
    {"target", Part::Kind::target},
    {"host", Part::Kind::host},
    {"timestamp", Part::Kind::timestamp},
    {"timestamp_ms", Part::Kind::timestamp_ms},
    {"date", Part::Kind::date},
    {"iso8601", Part::Kind::iso8601},
    {"nonce", Part::Kind::nonce},
    {"body", Part::Kind::body},
    {"body_sha256", Part::Kind::body_sha256},
    {"body_sha256_base64", Part::Kind::body_sha256_base64},
    {"signature", Part::Kind::signature},
};

std::optional<HmacTemplate::Part> HmacTemplate::part_named(std::string_view name, Use use, std::string& why) {
    constexpr std::string_view header = "header:";
    const std::string written = "'{" + std::string(name) + "}'";
    if (name.starts_with(header)) {
        const std::string_view field = name.substr(header.size());
        if (is_token(field)) return Part{Part::Kind::header, std::string(field)};
        why = written + " names no header: write {header:X-Request-Id}";
        return {};
    }
    std::vector<std::string_view> known = {"header:Name"};
    for (const auto& [word, kind] : names) {
        if (word != name) {
            known.push_back(word);
            continue;
        }
        if (kind == Part::Kind::signature && use == Use::string_to_sign) {
            why = "'{signature}' cannot stand in what is signed, only in the value of a header";
            return {};
        }
        if (kind == Part::Kind::body && use == Use::header_value) {
            why = "'{body}' cannot stand in the value of a header: use {body_sha256}";
            return {};
        }
        return Part{kind, {}};
    }
    why = "unknown placeholder " + written;
    if (const auto near = nearest(name, known)) {
        why += " (did you mean '{" + std::string(*near) + "}'?)";
    } else {
        why += "; a brace that means itself is written twice: {{ or }}";
    }
    return {};
}

std::optional<HmacTemplate> HmacTemplate::compile(std::string_view text, Use use, std::string& why) {
    HmacTemplate out;
    std::string literal;
    const auto end_literal = [&] {
        if (!literal.empty()) out.parts_.push_back({Part::Kind::literal, std::move(literal)});
        literal.clear();
    };
    while (!text.empty()) {
        const char c = text[0];
        if ((c != '{' && c != '}') || (text.size() > 1 && text[1] == c)) {
            literal += c;
            text.remove_prefix(c == '{' || c == '}' ? 2 : 1);
            continue;
        }
        const std::size_t end = c == '{' ? text.find('}') : text.npos;
        if (end == text.npos) {
            why = c == '{' ? "a '{' without its '}'; a brace that means itself is written twice: {{"
                           : "a '}' without its '{'; a brace that means itself is written twice: }}";
            return {};
        }
        end_literal();
        auto part = part_named(text.substr(1, end - 1), use, why);
        if (!part) return {};
        out.parts_.push_back(std::move(*part));
        text.remove_prefix(end + 1);
    }
    end_literal();
    if (use == Use::header_value) {
        for (const Part& part : out.parts_) {
            if (part.kind != Part::Kind::literal || is_field_value(part.text)) continue;
            why = "a line end or another control character cannot stand in the value of a header";
            return {};
        }
    }
    return out;
}

bool HmacTemplate::has(Part::Kind kind) const {
    return std::any_of(parts_.begin(), parts_.end(), [kind](const Part& part) { return part.kind == kind; });
}

namespace {

/// The lines of a field as one list (RFC 9110 5.2).
void append_field(std::string& out, const Fields& fields, std::string_view name) {
    const char* separator = "";
    for (const Field field : fields) {
        if (!same_text(field.name, name)) continue;
        out.append(separator).append(field.value);
        separator = ", ";
    }
}

HashValue body_hash(const HmacRequest& request) {
    return request.body_sha256 ? *request.body_sha256 : hash_of(HashAlgorithm::sha256, request.body);
}

std::string_view query_of(std::string_view target) {
    const std::size_t at = target.find('?');
    return at == target.npos ? std::string_view() : target.substr(at + 1);
}

std::string encoded(HmacEncoding encoding, std::string_view bytes) {
    std::string out;
    switch (encoding) {
    case HmacEncoding::hex: append_hex(out, bytes); break;
    case HmacEncoding::base64: append_base64(out, bytes); break;
    case HmacEncoding::base64url: append_base64url(out, bytes); break;
    }
    return out;
}

}  // namespace

void HmacTemplate::render(std::string& out, const HmacRequest& request, const RequestHead& head,
                          std::string_view signature) const {
    for (const Part& part : parts_) {
        switch (part.kind) {
        case Part::Kind::literal: out += part.text; break;
        case Part::Kind::method: out += head.method; break;
        case Part::Kind::path: out.append(request.prefix).append(head.path()); break;
        case Part::Kind::query: out += query_of(head.target); break;
        case Part::Kind::target: out.append(request.prefix).append(head.target); break;
        case Part::Kind::host: out += request.host; break;
        case Part::Kind::timestamp: out += std::to_string(unix_seconds(request.now)); break;
        case Part::Kind::timestamp_ms: out += std::to_string(unix_milliseconds(request.now)); break;
        case Part::Kind::date: out += imf_stamp(request.now); break;
        case Part::Kind::iso8601: out += iso_stamp(request.now); break;
        case Part::Kind::nonce:
            append_hex(out, {reinterpret_cast<const char*>(request.nonce.data()), request.nonce.size()});
            break;
        case Part::Kind::body: out += request.body; break;
        case Part::Kind::body_sha256: append_hex(out, body_hash(request).bytes()); break;
        case Part::Kind::body_sha256_base64: append_base64(out, body_hash(request).bytes()); break;
        case Part::Kind::header: append_field(out, head.fields, part.text); break;
        case Part::Kind::signature: out += signature; break;
        }
    }
}

bool HmacScheme::needs_body() const {
    return string_to_sign.needs_body() ||
           std::any_of(headers.begin(), headers.end(), [](const HmacHeader& h) { return h.value.needs_body(); });
}

std::string judge_hmac(const HmacScheme& spec) {
    bool carried = false;
    for (std::size_t i = 0; i < spec.headers.size(); ++i) {
        const std::string& name = spec.headers[i].name;
        if (!is_token(name)) return "'" + name + "' is not the name of a header";
        const Known known = classify(name);
        if (is_hop_by_hop(known) || known == Known::host || known == Known::content_length || known == Known::expect) {
            return "the header " + name + " cannot be set by a signature: it says where a request goes or ends";
        }
        for (std::size_t j = 0; j < i; ++j) {
            if (same_variable(name, spec.headers[j].name)) return "the header " + name + " is set twice";
        }
        const bool signature = spec.headers[i].value.has_signature();
        if (carried && !signature) {
            return "the header " + name + " stands after one with {signature}: what is signed comes first";
        }
        carried = signature;
    }
    return carried ? "" : "no header carries the signature: one must hold {signature}";
}

void sign_hmac(const HmacScheme& spec, std::string_view key, const HmacRequest& request, RequestHead& head) {
    const auto set = [&](const HmacHeader& header, std::string_view signature) {
        std::string value;
        header.value.render(value, request, head, signature);
        head.fields.set(header.name, trimmed(value));
        head.fields.remove_lookalikes(header.name);
    };
    for (const HmacHeader& header : spec.headers) {
        if (header.value.has_signature()) head.fields.remove(header.name);  // nothing may sign the application's own
    }
    for (const HmacHeader& header : spec.headers) {
        if (!header.value.has_signature()) set(header, "");
    }
    std::string to_sign;
    if (spec.string_to_sign.needs_body_bytes()) to_sign.reserve(request.body.size() + 1024);
    spec.string_to_sign.render(to_sign, request, head, "");
    const std::string signature = encoded(spec.encoding, hmac(spec.algorithm, key, to_sign).bytes());
    for (const HmacHeader& header : spec.headers) {
        if (header.value.has_signature()) set(header, signature);
    }
}

}  // namespace sluice
