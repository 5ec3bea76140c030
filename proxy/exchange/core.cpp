#include "proxy/exchange/core.hpp"

#include <bit>

namespace sluice {

namespace {

std::uint64_t draw(std::uint64_t (&state)[2]) {
    const std::uint64_t a = state[0];
    std::uint64_t b = state[1];
    const std::uint64_t drawn = a + b;
    b ^= a;
    state[0] = std::rotl(a, 24) ^ b ^ (b << 16);
    state[1] = std::rotl(b, 37);
    return drawn;
}

}  // namespace

void Core::draw_request_id(std::string& into) {
    static constexpr char digits[] = "0123456789abcdef";
    into.resize(32);
    for (std::size_t half = 0; half < 2; ++half) {
        std::uint64_t bits = draw(random_state);
        for (std::size_t i = 0; i < 16; ++i, bits >>= 4) into[half * 16 + i] = digits[bits & 15];
    }
}

}  // namespace sluice
