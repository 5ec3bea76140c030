// What every reader of an issuer's answer asks of it: words that can stand in a log line, tokens that can stand in a
// header, ends that lie ahead. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/time.hpp"
#include "proxy/http/authority.hpp"

namespace sluice {

/// An issuer's own words, as far as they can stand in a log line: 200 characters of ASCII, '?' for every other byte.
std::string quoted_words(std::string_view text);

/// Visible ASCII, at least one character, at most 64 KiB: what a token of any kind is made of.
bool is_token_text(std::string_view text);

/// From `asked` to `end`, at most a year: more is not believed. Nothing: it is over already.
std::optional<Duration> time_until(WallTime end, WallTime asked);

/// The same of a time written as RFC 3339 has it. Nothing: `why` says what is wrong with it.
std::optional<Duration> read_expiry(std::optional<std::string_view> text, WallTime asked, std::string& why);

/// 127.0.0.0/8, ::1 or "localhost" (RFC 6761 6.3): what is sent there stays on this machine.
bool is_loopback(const Authority& authority);
/// 169.254.0.0/16 or fe80::/10 as an address: what is sent there stays on this link.
bool is_link_local(const Authority& authority);

}  // namespace sluice
