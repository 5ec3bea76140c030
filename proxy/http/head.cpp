#include "proxy/http/head.hpp"

#include <array>
#include <cstring>

#include "proxy/base/secret.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

void RequestHead::clear() {
    method.clear();
    wipe(target);  // a query parameter may be a credential
    minor = 1;
    fields.wipe_and_clear();
}

std::string_view RequestHead::path() const {
    return std::string_view(target).substr(0, target.find('?'));
}

void ResponseHead::clear() {
    status = 0;
    phrase.clear();
    minor = 1;
    fields.wipe_and_clear();
}

bool is_idempotent(std::string_view method) {
    for (std::string_view safe : {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}) {
        if (method == safe) return true;
    }
    return false;
}

namespace {

constexpr std::array<bool, 256> make_token_table() {
    std::array<bool, 256> table{};
    for (unsigned char c = '0'; c <= '9'; ++c) table[c] = true;
    for (unsigned char c = 'a'; c <= 'z'; ++c) table[c] = table[c - 32] = true;
    for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
    return table;
}
constexpr std::array<bool, 256> token_table = make_token_table();
bool is_token_char(char c) {
    return token_table[static_cast<unsigned char>(c)];
}
bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

constexpr std::uint64_t every_byte(unsigned char c) {
    return 0x0101010101010101ull * c;
}

/// Does any of eight bytes look like a control (HTAB included)? Exact: no byte from 0x80 on is taken for one.
bool holds_control(std::uint64_t word) {
    const std::uint64_t deleted = word ^ every_byte(0x7F);
    const std::uint64_t below = (word - every_byte(0x20)) & ~word;
    const std::uint64_t equal = (deleted - every_byte(1)) & ~deleted;
    return ((below | equal) & every_byte(0x80)) != 0;
}

/// The first control that is not HTAB, or the end.
std::size_t find_control(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (std::uint64_t word; i + 8 <= text.size(); i += 8) {
            std::memcpy(&word, text.data() + i, 8);
            if (holds_control(word)) break;
        }
        if (i < text.size() && is_control(text[i]) && text[i] != '\t') return i;
    }
    return text.size();
}

}  // namespace

bool is_token(std::string_view text) {
    for (char c : text) {
        if (!is_token_char(c)) return false;
    }
    return !text.empty();
}

bool is_field_value(std::string_view text) {
    return find_control(text) == text.size();
}

// ---- framing

namespace {

/// Which of the two kinds of message is judged: whom to blame, and how to name it.
struct Side {
    Origin origin;
    Reason reason;
    std::string_view in_one;  // "... in one request"
    std::string_view in_old;  // "... in an HTTP/1.0 request"

    Failure failure(std::string detail) const {
        return {origin, reason, origin == Origin::application ? Replay::safe : Replay::unsafe, std::move(detail)};
    }
};
constexpr Side request_side{Origin::application, Reason::bad_request, "in one request", "in an HTTP/1.0 request"};
constexpr Side response_side{Origin::vendor, Reason::upstream_protocol, "in one response", "in an HTTP/1.0 response"};

std::string joined(std::string_view what, std::string_view where) {
    return std::string(what).append(" ").append(where);
}

/// What Content-Length and Transfer-Encoding say. Two lines that agree are refused as well: somebody on the way may
/// read only one of them. `if_none` is what a message with neither has.
Result<Framing> judge_lengths(const Side& side, const Fields& fields, unsigned minor, Framing::Kind if_none) {
    const std::size_t lengths = fields.count(Known::content_length);
    const std::size_t codings = fields.count(Known::transfer_encoding);
    if (lengths == 0 && codings == 0) return Framing{if_none, 0};
    if (lengths > 0 && codings > 0) {
        return side.failure(joined("Content-Length and Transfer-Encoding", side.in_one));
    }
    if (lengths > 1) return side.failure(joined("more than one Content-Length", side.in_one));
    if (codings > 1) return side.failure(joined("more than one Transfer-Encoding", side.in_one));
    if (codings == 1) {
        if (minor == 0) return side.failure(joined("Transfer-Encoding", side.in_old));
        if (!same_text(*fields.find(Known::transfer_encoding), "chunked")) {
            return side.failure("a Transfer-Encoding other than a single 'chunked'");
        }
        return Framing{Framing::Kind::chunked, 0};
    }
    const auto length = parse_decimal(*fields.find(Known::content_length));
    if (!length) return side.failure("a Content-Length that is not one plain decimal number of 64 bits");
    return Framing{Framing::Kind::length, *length};
}

}  // namespace

Result<Framing> judge_request_framing(const RequestHead& head) {
    const std::size_t hosts = head.fields.count(Known::host);
    if (hosts > 1) return request_side.failure("more than one Host in one request");
    if (hosts == 0 && head.minor > 0) return request_side.failure("no Host in an HTTP/1.1 request");
    auto framing = judge_lengths(request_side, head.fields, head.minor, Framing::Kind::none);
    if (head.method == "CONNECT" && framing && *framing != Framing{} && *framing != Framing{Framing::Kind::length, 0}) {
        return request_side.failure("content in a CONNECT request");
    }
    return framing;
}

Result<Framing> judge_response_framing(const ResponseHead& head, std::string_view method) {
    const bool informational = head.status < 200;
    const bool tunnel = method == "CONNECT" && head.status / 100 == 2;
    if (informational || tunnel || method == "HEAD" || head.status == 204 || head.status == 304) return Framing{};
    return judge_lengths(response_side, head.fields, head.minor, Framing::Kind::until_close);
}

bool keeps_alive(unsigned minor, const Fields& fields) {
    if (fields.list_holds(Known::connection, "close")) return false;
    return minor > 0 || fields.list_holds(Known::connection, "keep-alive");
}

// ---- the raw head

namespace {

std::string_view name_control(char c) {
    if (c == '\0') return "a NUL in the head";
    if (c == '\r') return "a bare CR in the head";
    return "a control character in the head";
}

std::string_view judge_start_line(std::string_view line) {
    if (line.empty()) return "an empty start line";
    for (char c : line) {
        if (is_control(c)) return name_control(c);
        if (static_cast<unsigned char>(c) >= 0x80) return "a byte outside ASCII in the start line";
    }
    return {};
}

std::string_view judge_field_line(std::string_view line, bool is_first) {
    if (line[0] == ' ' || line[0] == '\t') {
        return is_first ? "white space before the first field" : "a folded field line (obs-fold)";
    }
    std::size_t at = 0;
    while (at < line.size() && is_token_char(line[at])) ++at;
    if (at == line.size()) return "a field line without a colon";
    if (line[at] == ' ' || line[at] == '\t') return "white space before the colon of a field";
    if (is_control(line[at])) return name_control(line[at]);
    if (line[at] != ':') return "a field name that is not a token";
    if (at == 0) return "an empty field name";
    const std::size_t control = at + find_control(line.substr(at));
    return control < line.size() ? name_control(line[control]) : std::string_view{};
}

}  // namespace

std::string_view judge_raw_head(std::string_view raw) {
    for (std::size_t number = 0; !raw.empty(); ++number) {
        const std::size_t end = raw.find('\n');
        if (end == raw.npos) return "a line without its end in the head";
        if (end == 0 || raw[end - 1] != '\r') return "a bare LF in the head";
        const std::string_view line = raw.substr(0, end - 1);
        raw.remove_prefix(end + 1);
        if (number > 0 && line.empty()) return raw.empty() ? std::string_view{} : "bytes after the end of the head";
        const std::string_view fault = number == 0 ? judge_start_line(line) : judge_field_line(line, number == 1);
        if (!fault.empty()) return fault;
    }
    return "a head without its closing empty line";
}

}  // namespace sluice
