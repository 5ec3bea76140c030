#include "proxy/policy/clients.hpp"

#include <algorithm>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_sent = 8192;  // bytes of a field that are looked at

/// "name:password" of `Basic <base64>`; empty: it is not that.
Secret user_and_password(std::string_view authorization) {
    constexpr std::string_view scheme = "Basic ";
    if (authorization.size() > most_sent || !same_text(authorization.substr(0, scheme.size()), scheme)) return {};
    authorization.remove_prefix(scheme.size());
    while (authorization.starts_with(' ')) authorization.remove_prefix(1);  // RFC 9110 11.4: 1*SP
    auto decoded = decode_base64(authorization);
    return decoded ? Secret(std::move(*decoded)) : Secret();
}

/// Takes as long as `given` is, whatever is expected: how long a password is stays a secret too.
bool matches(std::string_view expected, std::string_view given) {
    auto difference = static_cast<unsigned>(expected.size() ^ given.size());
    for (std::size_t i = 0, j = 0; i < given.size(); ++i) {
        difference |= static_cast<unsigned char>(expected[j] ^ given[i]);
        if (++j == expected.size()) j = 0;
    }
    return difference == 0;
}

/// No password is right or wrong while the right one is not known: that is no fault of who shows it.
Caller unread(const ClientSpec& client) {
    return {nullptr, false,
            "the password of client '" + client.name + "' is not at hand now, so nobody is served by it; the log says why", &client,
            true};
}

Caller caller_of_password(std::span<const ClientSpec> clients, std::string_view sent, const PasswordOf& password_of) {
    Caller nobody{nullptr, false, "no client of the policy has the name and the password in Proxy-Authorization"};
    const auto colon = sent.find(':');
    if (colon == sent.npos) return nobody;
    const std::string_view name = sent.substr(0, colon), given = sent.substr(colon + 1);
    const ClientSpec* named = nullptr;
    for (const ClientSpec& client : clients)
        if (client.name == name) named = &client;
    // A name that nobody has is compared too.
    constexpr std::string_view decoy = "not a password";
    const Secret* password = named ? password_of(*named) : nullptr;
    const bool known = password && !password->empty();
    const bool right = matches(known ? password->reveal() : decoy, given);
    if (right && known) return {named, true, {}};
    if (!named || !named->password) return nobody;
    if (!known) return unread(*named);
    nobody.named = named;
    return nobody;
}

const ClientSpec* client_of_uid(std::span<const ClientSpec> clients, std::optional<std::uint32_t> uid) {
    if (!uid) return nullptr;
    const auto found = std::find_if(clients.begin(), clients.end(), [&](const auto& client) { return client.uid == uid; });
    return found == clients.end() ? nullptr : &*found;
}

}  // namespace

bool ClientSpec::may_use(const Vendor& vendor) const {
    return all_vendors || std::binary_search(vendors.begin(), vendors.end(), vendor.index);
}

Caller identify(std::span<const ClientSpec> clients, const CallerSigns& signs, const PasswordOf& password_of) {
    if (const ClientSpec* client = client_of_uid(clients, signs.uid)) return {client, false, {}};
    if (signs.ambiguous) return {nullptr, false, "there is more than one Proxy-Authorization; send one"};
    if (!signs.authorization)
        return {nullptr, false,
                "only the policy's `clients` are served here, and nothing says which one this is" +
                    (signs.uid ? " (none has uid " + std::to_string(*signs.uid) + ")" : std::string()) +
                    "; write http://NAME:PASSWORD@ in the proxy's URL, or send Proxy-Authorization: Basic"};
    const Secret sent = user_and_password(*signs.authorization);
    return caller_of_password(clients, sent.reveal(), password_of);
}

Caller identify_inside(std::span<const ClientSpec> clients, std::optional<std::uint32_t> uid, std::string_view name,
                       const PasswordOf& password_of) {
    if (const ClientSpec* client = client_of_uid(clients, uid)) return {client, false, {}};
    for (const ClientSpec& client : clients) {
        if (client.name != name || !client.password) continue;
        return password_of(client) ? Caller{&client, true, {}} : unread(client);
    }
    return {nullptr, false,
            name.empty() ? "the tunnel was opened by nobody that the policy knows now; open another"
                         : "the policy does not know client '" + std::string(name) + "' any more, or not by a password"};
}

Verdict judge_client(std::span<const ClientSpec> clients, const ClientSpec* client, const Vendor& vendor, bool matched) {
    if (clients.empty()) return Verdict::allow();
    if (!client) return Verdict::refuse({Reason::client_unknown, {}, {}});
    if (matched ? client->may_use(vendor) : client->all_vendors) return Verdict::allow();
    if (!matched)
        return Verdict::refuse({Reason::not_allowed,
                                "client '" + client->name +
                                    "' may not ask for hosts that no vendor has: only `vendors: all` in clients." +
                                    client->name + " would let it",
                                {}});
    return Verdict::refuse({Reason::not_allowed,
                            "client '" + client->name + "' may not ask for vendor '" + vendor.name +
                                "': it is not in clients." + client->name + ".vendors",
                            {}});
}

}  // namespace sluice
