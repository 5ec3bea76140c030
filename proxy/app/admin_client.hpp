// What a command asks a running Sluice's admin: one GET over plain HTTP/1.1, bounded in time and size.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

struct AdminSaid {
    std::string fault;  // why there is no answer, in words
    unsigned status = 0;
    std::string body;
};

/// `most`: bytes of an answer.
AdminSaid ask_admin(const ListenAddress& admin, const std::string& path, Duration patience, std::size_t most);

/// "127.0.0.1:15000", "http://localhost:15000/", "[::1]:15000"; the port may be left out (15000). Admin answers only
/// those who call it by an address or as localhost, so no other name is one.
std::optional<ListenAddress> admin_address(std::string_view text);

}  // namespace sluice
