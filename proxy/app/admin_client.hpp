// Asks the admin of a running Sluice, for commands: one GET or POST, bounded in time and size. Blocking; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/app/console.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

struct HttpReply {
    std::string fault;  // why there is none, in words; "" for an answer
    unsigned status = 0;
    std::string head;  // with its status line, names in lower case
    std::string body;
};

/// "127.0.0.1:15000", "http://localhost:15000/", "[::1]:15000"; the port may be left out (15000). Admin answers only
/// those who call it by an address or as localhost, so no other name is one.
std::optional<ListenAddress> admin_address(std::string_view text);

/// HttpReply::fault of what speaks no HTTP/1.1.
inline constexpr std::string_view answers_otherwise = "what answers is not Sluice";

/// `GET path` with the listener's own address as Host.
HttpReply http_get(const ListenAddress& listener, std::string_view path, Duration patience);

/// `POST path` likewise, with a body that is JSON.
HttpReply http_post(const ListenAddress& listener, std::string_view path, std::string_view json, Duration patience);

/// Where a question came to nothing: "127.0.0.1:15000: Connection refused", and what to look at.
std::string unanswered(const ListenAddress& admin, const std::string& fault);

/// "" when /ready answers 200; otherwise why not, in words.
std::string ask_ready(const ListenAddress& admin, Duration patience);

/// `text` ("127.0.0.1:15000") where it is given, else the policy's `listen.admin`. Nothing: told on `streams.err`, and
/// `exit` is what the command ends with.
std::optional<ListenAddress> find_admin(const std::string& config, const std::string& text, Streams& streams,
                                        Exit& exit);

}  // namespace sluice
