// Bytes as text and back: base64 and base64url (RFC 4648 4 and 5), hexadecimal, percent encoding (RFC 3986 2.1). Pure.
// Nothing here wipes: a caller whose bytes are secret gives `out` its room beforehand and wipes it afterwards.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice {

/// Padded.
void append_base64(std::string& out, std::string_view bytes);
/// Without padding, as JOSE (RFC 7515 2) and PKCE have it.
void append_base64url(std::string& out, std::string_view bytes);
/// Lower case.
void append_hex(std::string& out, std::string_view bytes);
std::string to_hex(std::string_view bytes);

/// RFC 3986 2.3: letters, digits, - . _ ~
bool is_unreserved(char c);
/// Everything but unreserved characters as %XX, in upper case.
void append_percent_encoded(std::string& out, std::string_view text);

/// Either padded to a multiple of four or not padded at all; no white space, no bits that stand for nothing. Nothing:
/// not such a text.
std::optional<std::string> decode_base64(std::string_view text);
std::optional<std::string> decode_base64url(std::string_view text);
/// In either case, an even number of digits.
std::optional<std::string> decode_hex(std::string_view text);
/// Appends what the %XX in `text` stand for; a '%' without two digits stands for itself.
void append_percent_decoded(std::string& out, std::string_view text);

}  // namespace sluice
