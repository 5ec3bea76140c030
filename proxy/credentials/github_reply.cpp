#include "proxy/credentials/github_reply.hpp"

#include <boost/json/value.hpp>

#include "proxy/credentials/assertion.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/credentials/secret_json.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_permissions = 100;  // GitHub has some fifty

std::string refusal(unsigned status, std::string_view body) {
    std::string out = "answered " + std::to_string(status);
    const auto reply = SecretJson::parse(body);
    const auto message = reply ? reply->text("message") : std::nullopt;
    if (message && !message->empty()) out += ": " + quoted_words(*message);
    if (status < 300) out += ", and not 201 as GitHub does";
    if (status == 401) out += " (is the key this app's, and this machine's clock right?)";
    if (status == 404) out += " (is the app installed there, with this installation_id?)";
    return out;
}

}  // namespace

std::string installation_request(const GithubAppSpec& spec) {
    if (spec.repositories.empty() && spec.permissions.empty()) return {};
    JwtMembers body, permissions;
    if (!spec.repositories.empty()) body.list("repositories", spec.repositories);
    for (const auto& [name, level] : spec.permissions) permissions.text(name, level);
    if (!spec.permissions.empty()) body.json("permissions", permissions.object());
    return body.object();
}

std::optional<Minted> read_installation_token(unsigned status, std::string_view body, WallTime asked,
                                              std::string& why) {
    if (status != 201) {
        why = refusal(status, body);
        return {};
    }
    const auto reply = SecretJson::parse(body);
    const auto token = reply ? reply->text("token") : std::nullopt;
    if (!token || !is_token_text(*token)) {
        why = "answered 201 but there is no usable token in it";
        return {};
    }
    std::string fault;
    Minted minted;
    minted.lifetime = read_expiry(reply->text("expires_at"), asked, fault);
    if (!minted.lifetime) {
        why = "answered 201 but its token cannot be used: " + fault;
        return {};
    }
    minted.what = Secret(std::string(*token));
    const auto* permissions = reply->find("permissions");
    const auto* object = permissions ? permissions->if_object() : nullptr;
    if (!object || object->size() > most_permissions) return minted;
    for (const auto& [name, level] : *object)
        if (level.is_string())
            minted.scope.push_back(quoted_words(std::string_view(name)) + ':' +
                                   quoted_words(std::string_view(level.get_string())));
    return minted;
}

}  // namespace sluice
