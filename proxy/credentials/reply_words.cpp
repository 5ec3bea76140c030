#include "proxy/credentials/reply_words.hpp"

#include <algorithm>

#include "proxy/http/date.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_quoted = 200;
constexpr std::size_t most_of_a_token = 64 * 1024;
constexpr Duration a_year = 365 * 24h;

}  // namespace

std::string quoted_words(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, most_quoted)) out += c >= ' ' && c <= '~' ? c : '?';
    if (text.size() > most_quoted) out += "...";
    return out;
}

bool is_token_text(std::string_view text) {
    if (text.empty() || text.size() > most_of_a_token) return false;
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::optional<Duration> time_until(WallTime end, WallTime asked) {
    if (end <= asked) return {};
    return std::min<Duration>(end - asked, a_year);
}

std::optional<Duration> read_expiry(std::optional<std::string_view> text, WallTime asked, std::string& why) {
    const auto end = text ? parse_rfc3339(*text) : std::nullopt;
    if (!end) {
        why =
            text ? "its end, '" + quoted_words(text->substr(0, 40)) + "', is no time" : "it does not say when it ends";
        return {};
    }
    const auto left = time_until(*end, asked);
    if (!left) why = "it has ended already, at " + quoted_words(*text) + "; is this machine's clock right?";
    return left;
}

// The host of an Authority is canonical: one spelling for each address.

bool is_loopback(const Authority& authority) {
    if (!authority.is_address) return authority.host == "localhost";
    return authority.host.starts_with("127.") || authority.host == "::1";
}

bool is_link_local(const Authority& authority) {
    if (!authority.is_address) return false;
    const std::string& host = authority.host;
    if (host.starts_with("169.254.")) return true;
    return host.size() > 4 && host.starts_with("fe") &&
           std::string_view("89ab").find(host[2]) != std::string_view::npos && host[4] == ':';
}

}  // namespace sluice
