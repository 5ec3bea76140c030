// How far a seeded random walk goes.
#pragma once

namespace sluice {

/// `wanted` in a plain build; under a sanitizer, which is many times slower and looks for other faults, a share of it.
constexpr int steps(int wanted) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return wanted / 20;
#else
    return wanted;
#endif
}

}  // namespace sluice
