#include "proxy/http/head.hpp"

#include <array>
#include <bit>
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

/// The highest bit of the first of eight bytes that is a control (HTAB included), and of others; 0: none is. Exact as
/// to the first: no byte from 0x80 on is taken for one.
std::uint64_t mark_controls(std::uint64_t word) {
    const std::uint64_t deleted = word ^ every_byte(0x7F);
    const std::uint64_t below = (word - every_byte(0x20)) & ~word;
    const std::uint64_t equal = (deleted - every_byte(1)) & ~deleted;
    return (below | equal) & every_byte(0x80);
}

/// The first control that is not HTAB, or the end.
std::size_t find_control(std::string_view text) {
    static_assert(std::endian::native == std::endian::little);  // the first byte is the lowest
    std::size_t i = 0;
    for (std::uint64_t word; i + 8 <= text.size();) {
        std::memcpy(&word, text.data() + i, 8);
        const std::uint64_t marks = mark_controls(word);
        if (marks == 0) {
            i += 8;
            continue;
        }
        i += static_cast<std::size_t>(std::countr_zero(marks)) / 8;
        if (text[i] != '\t') return i;
        ++i;
    }
    while (i < text.size() && (!is_control(text[i]) || text[i] == '\t')) ++i;
    return i;
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

/// RFC 9110 7.6.1: tokens and commas. Who reads anything else in it may miss a `close`, or a field that goes no further.
std::optional<Failure> judge_connection(const Side& side, const Fields& fields) {
    for (const Field field : fields) {
        if (field.known != Known::connection && field.known != Known::proxy_connection) continue;
        std::string_view list = field.value;
        while (!list.empty()) {
            const std::size_t end = std::min(list.find(','), list.size());
            const std::string_view element = trimmed(list.substr(0, end));
            if (!element.empty() && !is_token(element)) {
                return side.failure(joined("something other than a token in Connection", side.in_one));
            }
            list.remove_prefix(std::min(end + 1, list.size()));
        }
    }
    return {};
}

}  // namespace

Result<Framing> judge_request_framing(const RequestHead& head) {
    const std::size_t hosts = head.fields.count(Known::host);
    if (hosts > 1) return request_side.failure("more than one Host in one request");
    if (hosts == 0 && head.minor > 0) return request_side.failure("no Host in an HTTP/1.1 request");
    if (auto bad = judge_connection(request_side, head.fields)) return std::move(*bad);
    auto framing = judge_lengths(request_side, head.fields, head.minor, Framing::Kind::none);
    if (head.method == "CONNECT" && framing && *framing != Framing{} && *framing != Framing{Framing::Kind::length, 0}) {
        return request_side.failure("content in a CONNECT request");
    }
    return framing;
}

Result<Framing> judge_response_framing(const ResponseHead& head, std::string_view method) {
    const bool informational = head.status < 200;
    const bool tunnel = method == "CONNECT" && head.status / 100 == 2;
    const bool bodiless = informational || tunnel || method == "HEAD" || head.status == 204 || head.status == 304;
    if (auto bad = judge_connection(response_side, head.fields)) return std::move(*bad);
    // Also where there is no body: a length is passed on, and somebody else may believe that there is one.
    auto framing = judge_lengths(response_side, head.fields, head.minor, Framing::Kind::until_close);
    return bodiless && framing ? Framing{} : framing;
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
    const std::size_t control = find_control(line);
    return control < line.size() ? name_control(line[control]) : std::string_view{};
}

std::string_view name_bad_field_name(std::string_view raw, std::size_t at) {
    const char c = raw[at];
    if (c == ' ' || c == '\t') return "white space before the colon of a field";
    if (raw.substr(at).starts_with("\r\n")) return "a field line without a colon";
    if (c == '\n') return "a bare LF in the head";
    return is_control(c) ? name_control(c) : "a field name that is not a token";
}

/// The field line that `raw` begins with goes to `fields`, and out of `raw`. What is wrong with it, or empty.
std::string_view take_field_line(std::string_view& raw, Fields& fields, bool is_first) {
    if (raw[0] == ' ' || raw[0] == '\t') {
        return is_first ? "white space before the first field" : "a folded field line (obs-fold)";
    }
    std::size_t colon = 0;
    while (colon < raw.size() && is_token_char(raw[colon])) ++colon;
    if (colon == raw.size()) return "a line without its end in the head";
    if (raw[colon] != ':') return name_bad_field_name(raw, colon);
    if (colon == 0) return "an empty field name";
    const std::string_view rest = raw.substr(colon + 1);
    const std::size_t end = find_control(rest);
    if (end == rest.size()) return "a line without its end in the head";
    if (rest[end] == '\n') return "a bare LF in the head";
    if (!rest.substr(end).starts_with("\r\n")) return name_control(rest[end]);
    fields.mark(raw.substr(0, colon), trimmed(rest.substr(0, end)));
    raw = rest.substr(end + 2);
    return {};
}

}  // namespace

std::string_view split_head(std::string_view raw, std::size_t max_fields, std::string_view& start_line,
                            Fields& fields) {
    if (raw.empty()) return "a head without its closing empty line";
    const std::size_t lf = raw.find('\n');
    if (lf == raw.npos) return "a line without its end in the head";
    if (lf == 0 || raw[lf - 1] != '\r') return "a bare LF in the head";
    start_line = raw.substr(0, lf - 1);
    if (const std::string_view fault = judge_start_line(start_line); !fault.empty()) return fault;
    raw = fields.hold(raw.substr(lf + 1));
    for (bool is_first = true; !raw.empty(); is_first = false) {
        if (raw.starts_with("\r\n")) return raw.size() == 2 ? std::string_view{} : "bytes after the end of the head";
        if (fields.size() == max_fields) return too_many_fields;
        if (const std::string_view fault = take_field_line(raw, fields, is_first); !fault.empty()) return fault;
    }
    return "a head without its closing empty line";
}

namespace {

/// "HTTP/1.0" or "HTTP/1.1"; both sides speak no other.
bool take_version(std::string_view text, unsigned& minor) {
    if (text != "HTTP/1.1" && text != "HTTP/1.0") return false;
    minor = static_cast<unsigned>(text.back() - '0');
    return true;
}

}  // namespace

std::string_view parse_request_line(std::string_view line, RequestHead& head) {
    bool tab = false, beyond_ascii = false;  // in a phrase they may stand
    for (char c : line) {
        tab |= c == '\t';
        beyond_ascii |= static_cast<unsigned char>(c) >= 0x80;
    }
    if (tab) return name_control('\t');
    if (beyond_ascii) return "a byte outside ASCII in the start line";
    const std::size_t method_end = std::min(line.find(' '), line.size());
    const std::string_view method = line.substr(0, method_end);
    if (!is_token(method)) return "the request does not begin with a method";
    line.remove_prefix(std::min(method_end + 1, line.size()));
    const std::size_t target_end = std::min(line.find(' '), line.size());
    if (target_end == 0) return "a request line without a target";
    head.method.assign(method);
    head.target.assign(line.substr(0, target_end));
    line.remove_prefix(std::min(target_end + 1, line.size()));
    return take_version(line, head.minor) ? std::string_view{} : "a request line that does not end with HTTP/1.1";
}

std::string_view parse_status_line(std::string_view line, ResponseHead& head) {
    constexpr std::size_t version = 8, status = 12;  // where each ends: "HTTP/1.1 200 OK"
    if (line.size() < status || !take_version(line.substr(0, version), head.minor) || line[version] != ' ') {
        return "the response does not begin with HTTP/1.1 and a status";
    }
    head.status = 0;
    for (char c : line.substr(version + 1, 3)) {
        if (!is_digit(c)) return "a status that is not three digits";
        head.status = head.status * 10 + static_cast<unsigned>(c - '0');
    }
    line.remove_prefix(status);
    if (!line.empty() && line[0] != ' ') return "a status that is not three digits";
    head.phrase.assign(line.substr(std::min<std::size_t>(line.size(), 1)));
    return {};
}

}  // namespace sluice
