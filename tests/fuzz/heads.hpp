// What is true of requests' and responses' heads alike.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/text.hpp"
#include "proxy/wire/h1.hpp"
#include "proxy/wire/h1_head.hpp"
#include "tests/fuzz/require.hpp"

namespace sluice {

/// The end of a head does not depend on how its bytes come in. Nothing: `in` holds no whole head.
inline std::optional<std::string_view> find_head(std::string_view in) {
    HeadScan at_once, bit_by_bit;
    const bool whole = at_once.look(in);
    for (std::size_t size = 1; size <= in.size() && !bit_by_bit.fault && !bit_by_bit.end; ++size) {
        bit_by_bit.look(in.substr(0, size));
    }
    REQUIRE(whole == (at_once.end > 0) && !(whole && at_once.fault));
    REQUIRE(at_once.end == bit_by_bit.end && at_once.fault == bit_by_bit.fault);
    if (!whole) return {};
    REQUIRE(in.substr(0, at_once.end).ends_with("\r\n\r\n") || at_once.end == 2);
    REQUIRE(in.substr(0, at_once.end).find("\r\n\r\n") + 4 >= at_once.end);
    return in.substr(0, at_once.end);
}

/// The fields were read that stand there, line for line, and nothing that could begin another.
inline void judge_fields(std::string_view raw, const Fields& fields) {
    REQUIRE(fields.size() <= H1Channel::max_fields);
    take_line(raw);
    for (const Field field : fields) {
        std::string_view line = take_line(raw);
        REQUIRE(line.ends_with('\r'));
        line.remove_suffix(1);
        const std::size_t colon = line.find(':');
        REQUIRE(colon != line.npos);
        REQUIRE(field.name == line.substr(0, colon) && is_token(field.name));
        REQUIRE(field.value == trimmed(line.substr(colon + 1)) && is_field_value(field.value));
        REQUIRE(field.known == classify(field.name));
    }
    REQUIRE(raw == "\r\n");
}

/// Those that are copied from one side to the other: all but what the writer writes itself.
inline std::string copied(const Fields& fields) {
    std::string out;
    for (const Field field : fields) {
        if (field.known == Known::host || field.known == Known::content_length) continue;
        if (is_hop_by_hop(field.known)) continue;
        out.append(field.name).append(": ").append(field.value).append("\r\n");
    }
    return out;
}

}  // namespace sluice
