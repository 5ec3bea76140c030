#include "proxy/credentials/vault_reply.hpp"

#include <algorithm>
#include <utility>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/token_reply.hpp"

namespace sluice {

namespace json = boost::json;

namespace {

constexpr std::size_t most_quoted = 300, most_names = 12;
constexpr Duration kv_rest = 5min;    // a KV store tells nobody of a change
constexpr Duration least_rest = 5s;   // whatever `ttl` somebody has written

// Vault's own words in one line, as far as they can stand in a log.
std::string quoted(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, most_quoted)) {
        const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        if (blank && (out.empty() || out.back() == ' ')) continue;
        out += blank ? ' ' : c > ' ' && c <= '~' ? c : '?';
    }
    while (out.ends_with(' ')) out.pop_back();
    if (text.size() > most_quoted) out += "...";
    return out;
}

void add_list(std::string& words, const SecretJson& reply, std::string_view name) {
    const json::value* found = reply.find(name);
    const json::array* list = found ? found->if_array() : nullptr;
    if (!list) return;
    for (const json::value& item : *list) {
        if (!item.is_string() || words.size() > 2 * most_quoted) continue;
        words += words.empty() ? "" : "; ";
        words += quoted(std::string_view(item.get_string()));
    }
}

std::string said_by(const SecretJson& reply) {
    std::string words;
    add_list(words, reply, "errors");
    add_list(words, reply, "warnings");
    const auto deleted = reply.text("data.metadata.deletion_time");
    if (deleted && !deleted->empty()) words += (words.empty() ? "" : "; ") + ("this version was deleted at " + quoted(*deleted));
    return words;
}

std::string_view meaning_of(unsigned status) {
    if (status == 404) return "there is nothing at this path";
    if (status == 503) return "it is sealed, or under maintenance";
    if (status == 307) return "it is a standby that points to another server; write that one's address";
    return {};
}

VaultDenied denied(unsigned status, std::string_view body) {
    VaultDenied out{status, "answered " + std::to_string(status)};
    const auto reply = SecretJson::parse(body);
    std::string words = reply ? said_by(*reply) : "";
    if (words.empty()) words = meaning_of(status);
    if (!words.empty()) out.what += ": " + words;
    return out;
}

VaultDenied useless(unsigned status, const std::string& why) { return {status, "answered " + std::to_string(status) + " but " + why}; }

// Seconds; 0 is "has no end" to Vault. False: no such number.
bool read_seconds(const SecretJson& reply, std::string_view name, std::optional<Duration>& out) {
    const json::value* written = reply.find(name);
    if (!written || written->is_null()) return true;
    const auto seconds = reply.number(name);
    if (!seconds || *seconds < 0) return false;
    std::string wrong;
    if (*seconds > 0) out = read_lifetime(seconds, true, wrong);
    return wrong.empty();
}

bool is_true(const SecretJson& reply, std::string_view name) {
    const json::value* found = reply.find(name);
    return found && found->is_bool() && found->get_bool();
}

bool read_lease_of(const SecretJson& reply, bool versioned, VaultLease& lease) {
    lease.id = Secret(std::string(reply.text("lease_id").value_or("")));
    lease.renewable = is_true(reply, "renewable") && !lease.id.empty();
    std::optional<Duration> duration;
    if (!read_seconds(reply, "lease_duration", duration)) return false;
    if (!lease.id.empty()) {
        lease.lifetime = duration;
        return true;
    }
    // Made to order without a lease (identity/oidc/token, gcp's tokens): it says itself when it ends. A KV store of version 1 repeats a `ttl` as lease_duration, and means how often to look.
    if (!versioned && !duration) {
        if (!read_seconds(reply, "data.token_ttl", lease.lifetime)) lease.lifetime.reset();
        if (!lease.lifetime && !read_seconds(reply, "data.ttl", lease.lifetime)) lease.lifetime.reset();
    }
    if (!lease.lifetime) lease.read_again = std::clamp<Duration>(duration.value_or(kv_rest), least_rest, kv_rest);
    return true;
}

}  // namespace

bool is_vault_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::variant<VaultLogin, VaultDenied> read_vault_login(unsigned status, std::string_view body) {
    if (status != 200) return denied(status, body);
    const auto reply = SecretJson::parse(body);
    if (!reply) return useless(status, "its body is not JSON");
    const auto token = reply->text("auth.client_token");
    if (reply->find("auth.mfa_requirement") && !reply->find("auth.mfa_requirement")->is_null() && (!token || token->empty()))
        return useless(status, "the login wants a second factor, which a program has not");
    if (!token || !is_vault_token(*token)) return useless(status, "there is no auth.client_token in it");
    VaultLogin login{Secret(std::string(*token)), {}, is_true(*reply, "auth.renewable")};
    if (!read_seconds(*reply, "auth.lease_duration", login.lifetime)) return useless(status, "auth.lease_duration is no number of seconds");
    return login;
}

std::variant<VaultLogin, VaultDenied> read_vault_lookup(unsigned status, std::string_view body) {
    if (status != 200) return denied(status, body);
    const auto reply = SecretJson::parse(body);
    if (!reply) return useless(status, "its body is not JSON");
    VaultLogin login{{}, {}, is_true(*reply, "data.renewable")};
    if (!reply->find("data.ttl") || !read_seconds(*reply, "data.ttl", login.lifetime)) return useless(status, "data.ttl is no number of seconds");
    return login;
}

std::variant<VaultLease, VaultDenied> read_vault_lease(unsigned status, std::string_view body) {
    if (status != 200) return denied(status, body);
    const auto reply = SecretJson::parse(body);
    if (!reply) return useless(status, "its body is not JSON");
    VaultLease lease;
    if (!read_lease_of(*reply, false, lease) || lease.id.empty() || !lease.lifetime) return useless(status, "there is no lease_id with a lease_duration in it");
    return lease;
}

std::variant<VaultSecret, VaultDenied> VaultSecret::read(unsigned status, std::string_view body) {
    if (status != 200) return denied(status, body);
    auto reply = SecretJson::parse(body);
    if (!reply) return useless(status, "its body is not JSON");
    const json::value* data = reply->find("data");
    if (!data || !data->is_object()) return useless(status, "there is no data in it");
    const json::value* inner = reply->find("data.data");
    const json::value* metadata = reply->find("data.metadata");
    const bool versioned = inner && inner->is_object() && metadata && metadata->is_object();
    VaultLease lease;
    if (!read_lease_of(*reply, versioned, lease)) return useless(status, "its lease_duration is no number of seconds");
    return VaultSecret(std::move(*reply), versioned, std::move(lease));
}

const json::object& VaultSecret::values() const { return json_.find(versioned_ ? "data.data" : "data")->get_object(); }

std::optional<Secret> VaultSecret::value(std::string_view field, std::string& why) const {
    const json::value* found = values().if_contains(json::string_view(field.data(), field.size()));
    if (found && found->is_string() && !found->get_string().empty()) return Secret(std::string(std::string_view(found->get_string())));
    if (found && found->is_int64()) return Secret(std::to_string(found->get_int64()));
    if (found && found->is_uint64()) return Secret(std::to_string(found->get_uint64()));
    if (found) {
        why = "'" + quoted(field) + "' is " + (found->is_string() ? "empty" : "no text") + " there";
        return {};
    }
    std::string names;
    std::size_t count = 0;
    for (const auto& [name, _] : values()) {
        if (++count > most_names) continue;
        names += (names.empty() ? "" : ", ") + quoted(std::string_view(name));
    }
    if (count > most_names) names += " ...";
    why = "there is no '" + quoted(field) + "' there, but " + (names.empty() ? "nothing" : names);
    return {};
}

std::optional<std::string> vault_api_path(std::string_view path, std::string& why) {
    std::string out = "/v1";
    if (path.empty()) why = "it is empty";
    if (path.find_first_of("?#\\") != path.npos) why = "a path of Vault holds no '?', '#' or '\\'";
    if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; })) why = "it holds a control character";
    for (std::string_view rest = path; why.empty();) {
        const std::size_t slash = rest.find('/');
        const std::string_view segment = rest.substr(0, slash);
        if (segment.empty() || segment == "." || segment == "..") why = "a part of it between '/' is empty, '.' or '..'";
        out += '/';
        append_percent_encoded(out, segment);
        if (slash == rest.npos) return why.empty() ? std::optional(std::move(out)) : std::nullopt;
        rest.remove_prefix(slash + 1);
    }
    return {};
}

}  // namespace sluice
