#include "proxy/base/codec.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view base64url_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void append_groups(std::string& out, std::string_view bytes, std::string_view digits, bool padded) {
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        unsigned group = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
        }
        const std::size_t given = std::min<std::size_t>(bytes.size() - i, 3);
        for (std::size_t j = 0; j < 4; ++j) {
            if (j <= given) {
                out += digits[group >> (18 - 6 * j) & 0x3F];
            } else if (padded) {
                out += '=';
            }
        }
    }
}

std::optional<std::string> decode_groups(std::string_view text, std::string_view digits) {
    if (text.ends_with('=')) {
        if (text.size() % 4 != 0) return {};
        text.remove_suffix(text.ends_with("==") ? 2 : 1);
        if (text.size() % 4 < 2) return {};  // padding that pads nothing
    }
    if (text.size() % 4 == 1) return {};
    std::string out;
    out.reserve(text.size() / 4 * 3 + 2);
    unsigned bits = 0, count = 0;
    for (const char c : text) {
        const std::size_t digit = digits.find(c);
        if (digit == digits.npos) return {};
        bits = (bits << 6 | static_cast<unsigned>(digit)) & 0xFFFF;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out += static_cast<char>(bits >> count & 0xFF);
    }
    if ((bits & ((1u << count) - 1)) != 0) return {};
    return out;
}

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
    append_groups(out, bytes, base64_digits, true);
}

void append_base64url(std::string& out, std::string_view bytes) {
    append_groups(out, bytes, base64url_digits, false);
}

void append_hex(std::string& out, std::string_view bytes) {
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 0xF];
    }
}

std::string to_hex(std::string_view bytes) {
    std::string out;
    out.reserve(2 * bytes.size());
    append_hex(out, bytes);
    return out;
}

bool is_unreserved(char c) {
    const char l = lower(c);
    return is_digit(c) || (l >= 'a' && l <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
}

void append_percent_encoded(std::string& out, std::string_view text) {
    for (const char c : text) {
        if (is_unreserved(c)) {
            out += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += "0123456789ABCDEF"[byte >> 4];
        out += "0123456789ABCDEF"[byte & 0xF];
    }
}

std::optional<std::string> decode_base64(std::string_view text) {
    return decode_groups(text, base64_digits);
}

std::optional<std::string> decode_base64url(std::string_view text) {
    return decode_groups(text, base64url_digits);
}

std::optional<std::string> decode_hex(std::string_view text) {
    if (text.size() % 2 != 0) return {};
    std::string out;
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_value(text[i]), low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) return {};
        out += static_cast<char>(high * 16 + low);
    }
    return out;
}

void append_percent_decoded(std::string& out, std::string_view text) {
    while (!text.empty()) {
        const int high = text[0] == '%' && text.size() >= 3 ? hex_value(text[1]) : -1;
        const int low = high >= 0 ? hex_value(text[2]) : -1;
        out += low >= 0 ? static_cast<char>(high * 16 + low) : text[0];
        text.remove_prefix(low >= 0 ? 3 : 1);
    }
}

}  // namespace sluice
