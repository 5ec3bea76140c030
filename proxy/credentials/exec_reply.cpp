#include "proxy/credentials/exec_reply.hpp"

#include <optional>
#include <utility>

#include "proxy/credentials/secret_json.hpp"
#include "proxy/http/date.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_quoted = 80;

std::string quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text.substr(0, most_quoted)) out += c >= ' ' && c <= '~' ? c : '?';
    return out + (text.size() > most_quoted ? "...'" : "'");
}

ExecFault no_object(std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos ? "it printed nothing" : "what it printed is not a JSON object"; }

// A member that has to be that very text.
ExecFault judge(const SecretJson& reply, std::string_view name, std::initializer_list<std::string_view> allowed) {
    const auto found = reply.text(name);
    for (const std::string_view one : allowed)
        if (found == one) return {};
    return std::string(name) + " is " + (found ? quoted(*found) : "missing") + ", not " + quoted(*allowed.begin());
}

// False: `fault` says why.
bool read_end(const SecretJson& reply, std::string_view name, WallTime asked, std::optional<Duration>& lifetime, ExecFault& fault) {
    const auto* written = reply.find(name);
    if (!written || written->is_null()) return true;
    const auto text = reply.text(name);
    const auto end = text ? parse_rfc3339(*text) : std::nullopt;
    if (!end) {
        fault = std::string(name) + " is no time as RFC 3339 has it";
        return false;
    }
    if (*end <= asked) {
        fault = "what it printed has ended already: " + std::string(name) + " is " + quoted(*text);
        return false;
    }
    lifetime = std::chrono::duration_cast<Duration>(*end - asked);
    return true;
}

Secret secret_of(const SecretJson& reply, std::string_view name) { return Secret(std::string(reply.text(name).value_or(""))); }

}  // namespace

std::variant<Minted, ExecFault> read_exec_credential(std::string_view text, WallTime asked) {
    const auto reply = SecretJson::parse(text);
    if (!reply || !reply->value().is_object()) return no_object(text);
    ExecFault fault = judge(*reply, "kind", {"ExecCredential"});
    if (fault.empty()) fault = judge(*reply, "apiVersion", {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"});
    if (!fault.empty()) return fault;
    Minted minted;
    minted.what = secret_of(*reply, "status.token");
    if (std::get<Secret>(minted.what).empty())
        return ExecFault(reply->text("status.clientCertificateData") ? "there is a client certificate in it and no status.token, which is what can be attached" : "there is no status.token in it");
    if (!read_end(*reply, "status.expirationTimestamp", asked, minted.lifetime, fault)) return fault;
    return minted;
}

std::variant<Minted, ExecFault> read_credential_process(std::string_view text, WallTime asked) {
    const auto reply = SecretJson::parse(text);
    if (!reply || !reply->value().is_object()) return no_object(text);
    if (reply->number("Version") != 1.0) return ExecFault("its Version is not 1");
    AwsSecretKeys keys{std::string(reply->text("AccessKeyId").value_or("")), secret_of(*reply, "SecretAccessKey"), secret_of(*reply, "SessionToken")};
    if (keys.access_key_id.empty()) return ExecFault("there is no AccessKeyId in it");
    if (keys.secret_access_key.empty()) return ExecFault("there is no SecretAccessKey in it");
    Minted minted;
    minted.subject = keys.access_key_id;
    minted.what = std::move(keys);
    ExecFault fault;
    if (!read_end(*reply, "Expiration", asked, minted.lifetime, fault)) return fault;
    return minted;
}

std::variant<Minted, ExecFault> read_docker_helper(std::string_view text) {
    const auto reply = SecretJson::parse(text);
    if (!reply || !reply->value().is_object()) return no_object(text);
    const auto username = reply->text("Username");
    if (!username || username->empty()) return ExecFault("there is no Username in it");
    Secret secret = secret_of(*reply, "Secret");
    if (secret.empty()) return ExecFault("there is no Secret in it");
    Minted minted;
    if (*username == "<token>")
        minted.what = std::move(secret);
    else
        minted.what = UserPassword{Secret(std::string(*username)), std::move(secret)};
    return minted;
}

}  // namespace sluice
