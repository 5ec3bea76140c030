#include "proxy/credentials/google_json.hpp"

#include <algorithm>
#include <boost/json/value.hpp>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/credentials/secret_json.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

namespace {

constexpr std::string_view generate = ":generateAccessToken";
constexpr std::size_t most_headers = 16;

enum class Plain : unsigned char { this_machine, this_link };

std::optional<Url> url_of(const SecretJson& json, std::string_view name, Plain plain, std::string& why) {
    const auto text = json.text(name);
    if (!text) {
        why = "has no " + std::string(name);
        return {};
    }
    std::string fault;
    auto url = parse_resource_url(*text, fault);
    if (!url) {
        why = "has a " + std::string(name) + " that cannot be used: " + fault;
        return {};
    }
    const bool near = is_loopback(url->authority) || (plain == Plain::this_link && is_link_local(url->authority));
    if (url->scheme == Scheme::https || near) return url;
    why = "has a " + std::string(name) + " that is not https";
    return {};
}

std::string text_at(const SecretJson& json, std::string_view path) {
    return std::string(json.text(path).value_or(""));
}

bool is_of_type(const std::optional<SecretJson>& json, std::string_view type, std::string& why) {
    if (!json || !json->value().is_object()) {
        why = "is not a JSON object";
        return false;
    }
    const std::string has = text_at(*json, "type");
    if (has != type) why = "is of type '" + quoted_words(has) + "', not " + std::string(type);
    return has == type;
}

bool read_headers(const SecretJson& json, GoogleExternalAccount& account) {
    const auto* headers = json.find("credential_source.headers");
    if (!headers) return true;
    const auto* object = headers->if_object();
    if (!object || object->size() > most_headers) return false;
    for (const auto& [name, value] : *object) {
        if (!value.is_string() || !is_token(std::string_view(name)) ||
            !is_field_value(std::string_view(value.get_string())))
            return false;
        account.headers.emplace_back(std::string(name), std::string(value.get_string()));
    }
    return true;
}

// False: `why` says what is wrong.
bool read_source(const SecretJson& json, GoogleExternalAccount& account, std::string& why) {
    account.file = text_at(json, "credential_source.file");
    const bool has_url = json.find("credential_source.url") != nullptr;
    if (account.file.empty() == !has_url || json.find("credential_source.environment_id")) {
        why =
            "has a credential_source that is neither a file nor a URL; others (AWS, executables, certificates) are not "
            "supported";
        return false;
    }
    if (has_url) {
        auto url = url_of(json, "credential_source.url", Plain::this_link, why);
        if (!url) return false;
        account.url = std::move(*url);
    }
    const std::string format = text_at(json, "credential_source.format.type");
    if (format == "json") account.field = text_at(json, "credential_source.format.subject_token_field_name");
    if (!(format.empty() || format == "text" || !account.field.empty())) {
        why = "has a credential_source.format that is neither text nor json with a subject_token_field_name";
        return false;
    }
    if (read_headers(json, account)) return true;
    why = "has credential_source.headers that are no header fields";
    return false;
}

// False: `why` says what is wrong.
bool read_impersonation(const SecretJson& json, GoogleExternalAccount& account, std::string& why) {
    constexpr std::string_view name = "service_account_impersonation_url",
                               lifetime = "service_account_impersonation.token_lifetime_seconds";
    const auto* written = json.find(name);
    if (!written || written->is_null()) return true;
    account.impersonation_url = url_of(json, name, Plain::this_machine, why);
    if (!account.impersonation_url) return false;
    if (!account.impersonation_url->prefix.ends_with(generate)) {
        why = "has a service_account_impersonation_url that does not end with " + std::string(generate);
        return false;
    }
    if (!json.find(lifetime)) return true;
    const auto seconds = json.number(lifetime);
    if (!seconds || !(*seconds >= 600 && *seconds <= 43200)) {  // of the API
        why = "has a token_lifetime_seconds that is not between 600 and 43200";
        return false;
    }
    account.impersonation_lifetime = std::chrono::seconds(static_cast<int>(*seconds));
    return true;
}

std::optional<Minted> minted(std::string_view token, std::optional<Duration> lifetime) {
    Minted out;
    out.what = Secret(std::string(token));
    out.lifetime = lifetime;
    return out;
}

}  // namespace

std::optional<GoogleServiceAccount> read_service_account(std::string_view text, std::string& why) {
    const auto json = SecretJson::parse(text);
    if (!is_of_type(json, "service_account", why)) return {};
    GoogleServiceAccount account;
    account.email = text_at(*json, "client_email");
    account.key_id = text_at(*json, "private_key_id");
    account.private_key = Secret(text_at(*json, "private_key"));
    if (account.email.empty() || account.private_key.empty()) {
        why = account.email.empty() ? "has no client_email" : "has no private_key";
        return {};
    }
    auto url = url_of(*json, "token_uri", Plain::this_machine, why);
    if (!url) return {};
    account.token_uri = std::move(*url);
    return account;
}

std::optional<GoogleExternalAccount> read_external_account(std::string_view text, std::string& why) {
    const auto json = SecretJson::parse(text);
    if (!is_of_type(json, "external_account", why)) return {};
    GoogleExternalAccount account;
    account.audience = text_at(*json, "audience");
    account.subject_token_type = text_at(*json, "subject_token_type");
    account.workforce_project = text_at(*json, "workforce_pool_user_project");
    if (account.audience.empty() || account.subject_token_type.empty()) {
        why = account.audience.empty() ? "has no audience" : "has no subject_token_type";
        return {};
    }
    auto url = url_of(*json, "token_url", Plain::this_machine, why);
    if (!url || !read_impersonation(*json, account, why) || !read_source(*json, account, why)) return {};
    account.token_url = std::move(*url);
    return account;
}

std::optional<WallTime> end_of_jwt(std::string_view token) {
    const std::size_t first = token.find('.');
    const std::size_t second = first == token.npos ? token.npos : token.find('.', first + 1);
    if (second == token.npos || !is_token_text(token)) return {};
    auto payload = decode_base64url(token.substr(first + 1, second - first - 1));
    if (!payload) return {};
    const auto claims = SecretJson::parse(*payload);
    wipe(*payload);
    const auto* exp = claims ? claims->find("exp") : nullptr;
    if (!exp || !exp->is_number()) return {};
    const double seconds = exp->to_number<double>();
    if (!(seconds > 0 && seconds < 7e9)) return {};  // to the year 2191: what a WallTime holds
    return WallTime(std::chrono::seconds(static_cast<std::int64_t>(seconds)));
}

std::optional<Minted> read_impersonated(unsigned status, std::string_view body, WallTime asked, std::string& why) {
    if (status != 200) {
        why = google_refusal(status, body);
        return {};
    }
    const auto reply = SecretJson::parse(body);
    const auto token = reply ? reply->text("accessToken") : std::nullopt;
    if (!token || !is_token_text(*token)) {
        why = "answered 200 but there is no usable accessToken in it";
        return {};
    }
    std::string fault;
    const auto lifetime = read_expiry(reply->text("expireTime"), asked, fault);
    if (lifetime) return minted(*token, lifetime);
    why = "answered 200 but its token cannot be used: " + fault;
    return {};
}

std::optional<Minted> read_id_token(std::string_view name, unsigned status, std::string_view body, WallTime asked,
                                    std::string& why) {
    if (status != 200) {
        why = google_refusal(status, body);
        return {};
    }
    const auto reply = SecretJson::parse(name.empty() ? "{}" : body);
    while (name.empty() && (body.ends_with('\n') || body.ends_with('\r'))) body.remove_suffix(1);
    const auto token = name.empty() ? std::optional(body) : reply ? reply->text(name) : std::nullopt;
    const auto end = token ? end_of_jwt(*token) : std::nullopt;
    if (!end) {
        why = "answered 200 but " + (name.empty() ? "its body" : "its " + std::string(name)) +
              " is no JSON Web Token with an end (exp)";
        return {};
    }
    const auto lifetime = time_until(*end, asked);
    if (lifetime) return minted(*token, lifetime);
    why = "answered 200 but its ID token has ended already; is this machine's clock right?";
    return {};
}

std::optional<Secret> read_subject_token(std::string_view field, std::string_view text, std::string& why) {
    const auto json = SecretJson::parse(field.empty() ? "{}" : text);
    const auto* object = json ? json->value().if_object() : nullptr;
    const auto* member =
        object && !field.empty() ? object->if_contains(boost::json::string_view(field.data(), field.size())) : nullptr;
    if (!field.empty() && !(member && member->is_string())) {
        why = "is not JSON with a text '" + quoted_words(field) + "'";
        return {};
    }
    std::string_view token = member ? std::string_view(member->get_string()) : text;
    while (token.ends_with('\n') || token.ends_with('\r')) token.remove_suffix(1);
    if (is_token_text(token)) return Secret(std::string(token));
    why = "holds no token";
    return {};
}

std::string google_refusal(unsigned status, std::string_view body) {
    std::string out = "answered " + std::to_string(status);
    const auto reply = SecretJson::parse(body);
    if (!reply) return out;
    const bool rpc = reply->find("error") && reply->find("error")->is_object();
    const std::string code = quoted_words(reply->text(rpc ? "error.status" : "error").value_or(""));
    const std::string words = quoted_words(reply->text(rpc ? "error.message" : "error_description").value_or(""));
    if (!code.empty()) out += ' ' + code;
    if (!words.empty()) out += ": " + words;
    return out;
}

bool is_google_account(std::string_view text) {
    const auto fits = [](char c) {
        return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
               std::string_view("-_.@:").find(c) != std::string_view::npos;
    };
    return !text.empty() && text.size() <= 254 && text.front() != '.' && text.find("..") == text.npos &&
           std::all_of(text.begin(), text.end(), fits);
}

}  // namespace sluice
