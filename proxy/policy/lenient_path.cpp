#include "proxy/policy/lenient_path.hpp"

#include "proxy/base/text.hpp"

namespace sluice {

std::optional<std::string> lenient_reading(std::string_view path) {
    if (path.find('%') == path.npos && path.find("//") == path.npos) return {};
    const auto is_unreserved = [](int c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.' || c == '~';
    };
    std::string out;
    out.reserve(path.size());
    for (std::size_t i = 0; i < path.size(); ++i) {
        if (path[i] == '%' && i + 2 < path.size()) {
            const int decoded = hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]);
            if (hex_value(path[i + 1]) >= 0 && hex_value(path[i + 2]) >= 0 && is_unreserved(decoded)) {
                out += static_cast<char>(decoded);
                i += 2;
                continue;
            }
        }
        if (path[i] != '/' || !out.ends_with('/')) out += path[i];
    }
    return out;
}

}  // namespace sluice
