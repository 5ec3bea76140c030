// Keeps words that different threads write in different cache lines. Not `alignas`: an over-aligned object on a stack is misplaced
// by g++ 12's AddressSanitizer.
#pragma once

namespace sluice {

/// Stands between two members.
struct Apart {
    char line[64]{};
};

}  // namespace sluice
