#include "proxy/credentials/token_reply.hpp"

#include <cmath>

#include "proxy/base/text.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/credentials/secret_json.hpp"

namespace sluice {

namespace {

std::vector<std::string> split_scope(std::string_view text) {
    std::vector<std::string> all;
    while (!text.empty()) {
        const std::size_t space = text.find(' ');
        if (space != 0) all.push_back(quoted_words(text.substr(0, space)));
        text.remove_prefix(space == text.npos ? text.size() : space + 1);
    }
    return all;
}

bool is_final(std::string_view error) { return error == "invalid_grant" || error == "unauthorized_client" || error == "invalid_scope" || error == "unsupported_grant_type"; }

TokenDenied denied(unsigned status, const std::optional<SecretJson>& reply) {
    TokenDenied out;
    out.what = "answered " + std::to_string(status);
    if (!reply) return out;
    out.error = quoted_words(reply->text("error").value_or(""));
    const std::string description = quoted_words(reply->text("error_description").value_or(""));
    if (!out.error.empty()) out.what += ' ' + out.error;
    if (!description.empty()) out.what += ": " + description;
    out.final = is_final(out.error);
    return out;
}

std::string what_is_wrong_with(std::string_view body) {
    if (body.starts_with("\x1f\x8b")) return "its body is compressed (gzip), which it was not asked for";
    if (SecretJson::has_twins(body)) return "its body has two members of one name";
    return "its body is not a JSON object";
}

TokenDenied useless(std::string why) { return {"answered 200 but " + std::move(why), {}, false, {}}; }

}  // namespace

std::optional<Duration> read_lifetime(std::optional<double> seconds, bool written, std::string& wrong) {
    if (!written) return {};
    if (!seconds || !std::isfinite(*seconds) || *seconds <= 0) {
        wrong = "its token is over already, or its lifetime is no number of seconds";
        return {};
    }
    constexpr double a_year = 365.0 * 24 * 3600;   // more is not believed, and would not fit
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(*seconds, a_year)));
}

namespace {

std::variant<TokenGranted, TokenDenied> read_success(unsigned status, std::string_view body,
                                                     const std::optional<SecretJson>& reply) {
    if (!reply || !reply->value().is_object()) return useless(what_is_wrong_with(body));
    const auto token = reply->text("access_token");
    if (!token || token->empty()) {
        const bool refused = !reply->text("error").value_or("").empty();   // some refuse with a 200, GitHub among them
        return refused ? denied(status, reply) : useless("there is no access_token in it");
    }
    const std::string_view type = reply->text("token_type").value_or("Bearer");
    if (!same_text(type, "Bearer") && !same_text(type, "N_A")) return useless("the token_type is '" + quoted_words(type) + "', not Bearer");
    std::string wrong;
    const bool written = reply->find("expires_in") && !reply->find("expires_in")->is_null();
    const auto lifetime = read_lifetime(reply->number("expires_in"), written, wrong);
    if (!wrong.empty()) return useless(wrong);
    TokenGranted granted{Minted{Secret(std::string(*token)), lifetime, {}, split_scope(reply->text("scope").value_or(""))}, {}};
    if (const auto next = reply->text("refresh_token")) granted.refresh_token = Secret(std::string(*next));
    return granted;
}

}  // namespace

std::variant<TokenGranted, TokenDenied> read_token_reply(unsigned status, std::string_view body) {
    const auto reply = SecretJson::parse(body);
    if (status != 200 && status != 201) return denied(status, reply);
    auto read = read_success(status, body, reply);
    constexpr std::size_t longest = 64 * 1024;
    auto* refused = std::get_if<TokenDenied>(&read);
    const auto next = refused && reply ? reply->text("refresh_token") : std::nullopt;
    if (next && next->size() <= longest) refused->refresh_token = Secret(std::string(*next));
    return read;
}

}  // namespace sluice
