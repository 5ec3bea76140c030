// From received bytes to a head: where it ends, and what it says. `H1Channel` reads through these, the fuzzers call
// them as it does. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/http/head.hpp"

namespace sluice {

/// Looks for the end of a head in what has come in so far, each byte once.
struct HeadScan {
    std::size_t line = 0;  // where the current line begins
    std::size_t end = 0;   // of the head, once found
    const char* fault = nullptr;

    /// Is the head whole? `in` is what was there before, and more.
    bool look(std::string_view in);
};

/// What cannot become a head is told apart by its first byte: nobody should wait for the rest of a TLS record. Null: it
/// can become one.
const char* judge_first_byte(char first, bool request);

struct HeadFault {
    std::string detail;
    bool too_large = false;  // more fields than may be; otherwise it is not valid HTTP/1.1
};
/// Reads a head that is whole, strictly (`split_head`, then the start line). A phrase that is not plain ASCII becomes ours. With a fault `head` holds anything.
std::optional<HeadFault> parse_head(std::string_view raw, RequestHead& head);
std::optional<HeadFault> parse_head(std::string_view raw, ResponseHead& head);

}  // namespace sluice
