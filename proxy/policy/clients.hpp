// Which application calls, and which vendors it may ask for: `clients` of the policy. An application is known by the uid
// behind its socket file, or by name and password in Proxy-Authorization (RFC 7617, RFC 9110 11.7.2). Pure; asked by
// serve/session (who is it?) and by the walk (may it?), on a worker's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/secret.hpp"
#include "proxy/policy/vendor.hpp"
#include "proxy/policy/verdict.hpp"

namespace sluice {

/// One application that may use this Sluice. At least one of `uid` and `password` is there.
struct ClientSpec {
    std::string name;
    std::optional<std::uint32_t> uid;     // of the process at the other end of a socket file
    std::optional<std::size_t> password;  // where it is, among the policy's credentials: see Config::secrets
    bool all_vendors = false;             // every vendor, and hosts that no vendor has, where `unmatched` lets them through
    std::vector<std::size_t> vendors;     // in Config::vendors, in order

    bool may_use(const Vendor& vendor) const;
};

/// The value of `Proxy-Authenticate` beside a 407.
inline constexpr std::string_view client_challenge = "Basic realm=\"sluice\"";

/// What a request shows of who sent it.
struct CallerSigns {
    std::optional<std::uint32_t> uid;               // known by a socket file alone
    std::optional<std::string_view> authorization;  // Proxy-Authorization as it was sent
    bool ambiguous = false;                         // there is more than one
};

/// A client's password as it is now; null: it is not at hand (it cannot be read, or has not been fetched), or there is
/// none.
using PasswordOf = std::function<const Secret*(const ClientSpec&)>;

struct Caller {
    const ClientSpec* client = nullptr;  // null: nobody that is known
    bool by_password = false;
    std::string why;  // of null: what to do, in the same words whether the name or the password is wrong
    const ClientSpec* named = nullptr;  // of null: the client that has the name and a password, but not the one shown
    bool unread = false;                // its password is not at hand, so nobody can say; else it is another one
};

/// Who it is: by uid first, else by name and password. How long it takes depends on what was sent and on how many
/// clients there are, not on which part of it is right.
Caller identify(std::span<const ClientSpec> clients, const CallerSigns& signs, const PasswordOf& password_of);
/// The same of a request inside a tunnel, which shows nothing itself. `name`: who opened the tunnel by password, ""
/// where nobody did. That stays good as long as the client is there and has a password, be it another one by now.
Caller identify_inside(std::span<const ClientSpec> clients, std::optional<std::uint32_t> uid, std::string_view name,
                       const PasswordOf& password_of);

/// May this client ask for that vendor? Without `clients` in the policy everybody may; with them, nobody (null) may not.
/// `matched`: false for what stands for hosts that no vendor has.
Verdict judge_client(std::span<const ClientSpec> clients, const ClientSpec* client, const Vendor& vendor, bool matched);

}  // namespace sluice
