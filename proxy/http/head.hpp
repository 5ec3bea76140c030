// The head of a request and of a response, as neutral values: HTTP/1.1 and HTTP/2 read into them and write from them.
// Pure; recycled from message to message.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/base/result.hpp"
#include "proxy/http/fields.hpp"

namespace sluice {

/// How the end of a body is known (RFC 9112 6).
struct Framing {
    enum class Kind : unsigned char { none, length, chunked, until_close };
    Kind kind = Kind::none;
    std::uint64_t length = 0;  // bytes, for Kind::length

    bool operator==(const Framing&) const = default;
};

struct RequestHead {
    std::string method;
    std::string target;   // as it came: origin-, absolute-, authority- or asterisk-form; after `take_target` origin-form
    unsigned minor = 1;   // HTTP/1.<minor>
    Fields fields;

    void clear();         // wipes: the fields may hold a credential
    std::string_view path() const;   // target up to '?'
};

struct ResponseHead {
    unsigned status = 0;
    std::string phrase;
    unsigned minor = 1;
    Fields fields;

    void clear();
};

/// Safe to send again without the application knowing (RFC 9110 9.2.2): GET HEAD OPTIONS TRACE PUT DELETE.
bool is_idempotent(std::string_view method);
/// A token (RFC 9110 5.6.2).
bool is_token(std::string_view text);
/// May stand as a field value (RFC 9110 5.5): no control but HTAB. Bytes from 0x80 on may.
bool is_field_value(std::string_view text);

/// The body of a request (RFC 9112 6.3), strictly: Content-Length beside Transfer-Encoding, lengths that differ, are signed
/// or listed, two Content-Length lines even if they agree, any coding but a single `chunked`, Transfer-Encoding in HTTP/1.0,
/// more or less than one Host in HTTP/1.1 (more than one in HTTP/1.0), a CONNECT with content, and a Connection that is no
/// list of tokens are Failures with Reason::bad_request whose detail says what and where.
Result<Framing> judge_request_framing(const RequestHead& head);

/// The body of a response to `method` (RFC 9112 6.3); the same strictness, Reason::upstream_protocol. A response that has no
/// body by its nature (HEAD, 1xx, 204, 304, 2xx to CONNECT) has none whatever its fields say, but they are judged all the same.
Result<Framing> judge_response_framing(const ResponseHead& head, std::string_view method);

/// Does the connection live on after this message (RFC 9112 9.3)?
bool keeps_alive(unsigned minor, const Fields& fields);

/// A whole head, its closing empty line included, into its start line (a view into `raw`) and its fields, which are appended.
/// In one pass and strictly (RFC 9112 2.2, 5, 5.2). Refused: bare CR or LF, NUL and other controls, obs-fold, white space before
/// a colon or before the first field, a line without a name or a colon, a name that is no token, bytes from 0x80 on in one, more
/// fields than `max_fields` (`too_many_fields`). Empty: fine; otherwise what is wrong.
std::string_view split_head(std::string_view raw, std::size_t max_fields, std::string_view& start_line, Fields& fields);
inline constexpr std::string_view too_many_fields = "too many header fields";

/// "GET /path HTTP/1.1": one space between the three, HTTP/1.0 and 1.1 only, nothing but ASCII (RFC 9112 3). Empty: fine; otherwise
/// what is wrong.
/// `line` is as `split_head` gave it.
std::string_view parse_request_line(std::string_view line, RequestHead& head);
/// "HTTP/1.1 200 OK", likewise; the phrase may be empty, and hold HTAB and bytes from 0x80 on (RFC 9112 4). That the space before an
/// empty one is missing is forgiven: many servers write it so.
std::string_view parse_status_line(std::string_view line, ResponseHead& head);

}  // namespace sluice
