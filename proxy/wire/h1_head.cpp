#include "proxy/wire/h1_head.hpp"

#include <algorithm>
#include <cstring>

#include "proxy/http/status.hpp"
#include "proxy/wire/h1.hpp"

namespace sluice {

namespace {

template <class Head>
std::optional<HeadFault> parse(std::string_view raw, Head& head,
                               std::string_view (*parse_start_line)(std::string_view, Head&)) {
    head.clear();
    std::string_view start_line;
    std::string_view fault = split_head(raw, H1Channel::max_fields, start_line, head.fields);
    if (fault == too_many_fields)
        return HeadFault{"more than " + std::to_string(H1Channel::max_fields) + " header fields", true};
    if (fault.empty()) fault = parse_start_line(start_line, head);
    if (fault.empty()) return {};
    return HeadFault{std::string(fault), false};
}

}  // namespace

bool HeadScan::look(std::string_view in) {
    while (line < in.size()) {
        const auto* lf = static_cast<const char*>(std::memchr(in.data() + line, '\n', in.size() - line));
        if (!lf) return false;
        const auto at = static_cast<std::size_t>(lf - in.data());
        if (at == line || in[at - 1] != '\r') {
            fault = "a bare LF in the head";
            return false;
        }
        if (at == line + 1) {
            end = at + 1;
            return true;
        }
        line = at + 1;
    }
    return false;
}

const char* judge_first_byte(char first, bool request) {
    if (!request) return first == 'H' ? nullptr : "the response does not begin with HTTP/1";
    if (first == 0x16)
        return "TLS where plain HTTP was expected: the proxy's own URL is http://, for https targets too";
    return is_token({&first, 1}) ? nullptr : "the request does not begin with a method";
}

std::optional<HeadFault> parse_head(std::string_view raw, RequestHead& head) {
    return parse(raw, head, parse_request_line);
}

std::optional<HeadFault> parse_head(std::string_view raw, ResponseHead& head) {
    auto fault = parse(raw, head, parse_status_line);
    // A phrase in another language is legal, and more than some applications can read; nobody decides by it.
    const auto is_plain = [](char c) { return c >= ' ' && c <= '~'; };
    if (!std::all_of(head.phrase.begin(), head.phrase.end(), is_plain)) head.phrase = phrase_of(head.status);
    return fault;
}

}  // namespace sluice
