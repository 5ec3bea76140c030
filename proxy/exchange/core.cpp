#include "proxy/exchange/core.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <string_view>

namespace sluice {

namespace {

// "000102...ff"
constexpr std::array<char, 512> digit_pairs = [] {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<char, 512> pairs{};
    for (std::size_t i = 0; i < 256; ++i) {
        pairs[2 * i] = digits[i >> 4];
        pairs[2 * i + 1] = digits[i & 15];
    }
    return pairs;
}();

}  // namespace

std::uint64_t Core::draw() {
    const std::uint64_t a = random_state[0];
    std::uint64_t b = random_state[1];
    const std::uint64_t drawn = a + b;
    b ^= a;
    random_state[0] = std::rotl(a, 24) ^ b ^ (b << 16);
    random_state[1] = std::rotl(b, 37);
    return drawn;
}

void Core::spawn_detached(Task<void> task) {
    ++detached;
    coroutine::drive(std::move(task), [this](const std::exception_ptr&) { --detached; });
}

void Core::draw_request_id(std::string& into) {
    const std::uint64_t first = draw();
    write_request_id(first, draw(), into);
}

void write_request_id(std::uint64_t first, std::uint64_t second, std::string& into) {
    into.resize(32);
    char* at = into.data();
    for (std::uint64_t bits : {first, second})
        for (int byte = 0; byte < 8; ++byte, bits >>= 8, at += 2) std::memcpy(at, &digit_pairs[2 * (bits & 255)], 2);
}

}  // namespace sluice
