// What applications, vendors and issuers said, put into a line that people and programs read: it can neither end the
// line nor reach a terminal as a control. Pure.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

/// Appended as the inside of a JSON string. Escaped beside what JSON wants escaped: DEL, the C1 controls, the line
/// separators and the marks that turn the direction of text. Bytes that are not UTF-8 become U+FFFD.
void append_tamed(std::string& out, std::string_view text);

/// The first bytes of a text, without half a character at the end.
std::string_view cut(std::string_view text, std::size_t most);

}  // namespace sluice
