#include "proxy/credentials/aws_replies.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/credentials/secret_json.hpp"
#include "proxy/credentials/secret_xml.hpp"

namespace sluice {

namespace {

bool is_letter_or_digit(char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

struct Parts {
    std::optional<std::string_view> access_key_id, secret_access_key, session_token, expiration;
};

std::optional<Minted> minted(const Parts& parts, bool must_end, WallTime asked, std::string& why) {
    const auto wrong = [&why](std::string_view what) {
        why = "answered 200 but " + std::string(what);
        return std::nullopt;
    };
    if (!parts.access_key_id || !is_access_key_id(*parts.access_key_id))
        return wrong("there is no usable AccessKeyId in it");
    if (!parts.secret_access_key || !is_token_text(*parts.secret_access_key))
        return wrong("there is no usable SecretAccessKey in it");
    if (must_end ? !parts.session_token || !is_token_text(*parts.session_token)
                 : parts.session_token && !is_token_text(*parts.session_token))
        return wrong("there is no usable session token in it");
    Minted out;
    if (must_end || parts.expiration) {
        std::string fault;
        out.lifetime = read_expiry(parts.expiration, asked, fault);
        if (!out.lifetime) return wrong("its keys cannot be used: " + fault);
    }
    out.what = AwsSecretKeys{std::string(*parts.access_key_id), Secret(std::string(*parts.secret_access_key)),
                             Secret(std::string(parts.session_token.value_or("")))};
    out.subject = *parts.access_key_id;
    return out;
}

std::string refused(unsigned status, std::optional<std::string_view> code, std::optional<std::string_view> message) {
    std::string out = "answered " + std::to_string(status);
    if (code && !code->empty()) out += ' ' + quoted_words(*code);
    if (message && !message->empty()) out += ": " + quoted_words(*message);
    return out;
}

}  // namespace

std::optional<Minted> read_sts_reply(std::string_view action, unsigned status, std::string_view body, WallTime asked,
                                     std::string& why) {
    const auto reply = SecretXml::parse(body);
    if (status != 200) {
        why = reply
                  ? refused(status, reply->text("ErrorResponse.Error.Code"), reply->text("ErrorResponse.Error.Message"))
                  : refused(status, {}, {});
        return {};
    }
    if (!reply) {
        why = "answered 200 but its body is not the XML that STS answers";
        return {};
    }
    const std::string at = std::string(action) + "Response." + std::string(action) + "Result.Credentials.";
    const auto part = [&](std::string_view name) { return reply->text(at + std::string(name)); };
    return minted({part("AccessKeyId"), part("SecretAccessKey"), part("SessionToken"), part("Expiration")}, true, asked,
                  why);
}

std::optional<Minted> read_aws_keys_reply(unsigned status, std::string_view body, WallTime asked, std::string& why) {
    const auto reply = SecretJson::parse(body);
    const auto part = [&](std::string_view name) { return reply->text(name); };
    if (status != 200) {
        why = reply ? refused(status, part("code") ? part("code") : part("Code"),
                              part("message") ? part("message") : part("Message"))
                    : refused(status, {}, {});
        return {};
    }
    if (!reply || !reply->value().is_object()) {
        why = "answered 200 but its body is not a JSON object";
        return {};
    }
    if (const auto code = part("Code"); code && *code != "Success") {  // the metadata service says so with 200
        why = "answered 200 but no keys: " + quoted_words(*code) + ' ' + quoted_words(part("Message").value_or(""));
        return {};
    }
    if (const auto* end = reply->find("Expiration"); end && !end->is_null() && !end->is_string()) {
        why = "answered 200 but its Expiration is no text";
        return {};
    }
    if (const auto* token = reply->find("Token"); token && !token->is_null() && !token->is_string()) {
        why = "answered 200 but its Token is no text";
        return {};
    }
    return minted({part("AccessKeyId"), part("SecretAccessKey"), part("Token"), part("Expiration")}, false, asked, why);
}

std::optional<Authority> sts_of(std::string_view region) {
    const auto fits = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-'; };
    if (region.empty() || region.size() > 40 || region.front() == '-' || region.back() == '-' ||
        !std::all_of(region.begin(), region.end(), fits))
        return {};
    return Authority{"sts." + std::string(region) + ".amazonaws.com" + (region.starts_with("cn-") ? ".cn" : ""), 443,
                     false};
}

std::string_view sts_region(const Authority& sts, std::string_view region) {
    if (sts.is_address) return region;
    std::string_view host = sts.host;
    if (host.ends_with(".cn")) host.remove_suffix(3);
    if (host == "sts.amazonaws.com") return "us-east-1";
    for (const std::string_view service : {"sts.", "sts-fips."}) {
        if (!host.starts_with(service) || !host.ends_with(".amazonaws.com")) continue;
        const std::string_view named = host.substr(
            service.size(),
            host.size() - std::min(host.size(), service.size() + std::string_view(".amazonaws.com").size()));
        if (sts_of(named)) return named;
    }
    return region;
}

bool is_role_name(std::string_view text) {
    const auto fits = [](char c) {
        return is_letter_or_digit(c) || std::string_view("_+=,.@-").find(c) != std::string_view::npos;
    };
    return !text.empty() && text.size() <= 64 && text != "." && text != ".." &&
           std::all_of(text.begin(), text.end(), fits);
}

bool is_access_key_id(std::string_view text) {
    return is_token_text(text) && text.size() <= 128 && text.find_first_of("/,=\"") == text.npos;
}

}  // namespace sluice
