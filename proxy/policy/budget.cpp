#include "proxy/policy/budget.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sluice {

namespace {

/// Which slice a slot counts, and how many. What bears the name of an older slice counts as nothing: nobody has to
/// clear it.
struct Slot {
    std::uint32_t slice;
    std::uint32_t count;
};

using Word = std::atomic<std::uint64_t>;

/// Adds one to what `slot` counts of `slice`; false: it has begun a later one, or is full.
bool add(Word& word, std::uint32_t slice) {
    std::uint64_t bits = word.load();
    while (true) {
        Slot slot = std::bit_cast<Slot>(bits);
        if (slot.slice != slice) {
            const bool later = static_cast<std::int32_t>(slot.slice - slice) > 0;
            if (later && slot.count > 0) return false;
            slot = {slice, 0};
        }
        if (slot.count == UINT32_MAX) return false;
        ++slot.count;
        if (word.compare_exchange_weak(bits, std::bit_cast<std::uint64_t>(slot))) return true;
    }
}

void take_back(Word& word, std::uint32_t slice) {
    std::uint64_t bits = word.load();
    while (true) {
        Slot slot = std::bit_cast<Slot>(bits);
        if (slot.slice != slice || slot.count == 0) return;
        --slot.count;
        if (word.compare_exchange_weak(bits, std::bit_cast<std::uint64_t>(slot))) return;
    }
}

std::uint64_t allowed(double share, std::uint64_t requests) {
    // A share such as 29 % has no exact double: 29 of 100 are within it all the same.
    const double most = std::floor(std::max(share, 0.0) * static_cast<double>(requests) + 1e-6);
    return std::max(RetryBudget::least, static_cast<std::uint64_t>(most));
}

}  // namespace

std::uint32_t RetryBudget::slice_of(TimePoint now) {
    return static_cast<std::uint32_t>(now.time_since_epoch() / (span / slices));
}

/// What `ring` counts of the slices from `first` to `last`.
std::uint64_t RetryBudget::sum(const Ring& ring, std::uint32_t first, std::uint32_t last) {
    std::uint64_t total = 0;
    for (std::uint32_t slice = first; slice != last + 1; ++slice) {
        const Slot slot = std::bit_cast<Slot>(ring[slice % slots].load());
        if (slot.slice == slice) total += slot.count;
    }
    return total;
}

void RetryBudget::note_request(TimePoint now) {
    const std::uint32_t slice = slice_of(now);
    add(requests_[slice % slots], slice);
}

std::uint64_t RetryBudget::retries(std::uint32_t slice) const {
    return sum(retries_, slice - slices, slice + ahead);
}

std::uint64_t RetryBudget::requests(std::uint32_t slice) const {
    return sum(requests_, slice + 1 - slices, slice);
}

bool RetryBudget::take(double share, TimePoint now) {
    const std::uint32_t slice = slice_of(now);
    const std::uint64_t most = allowed(share, requests(slice));
    // Taken first and counted then: of those who meet here, the last one sees all the others.
    if (!add(retries_[slice % slots], slice)) return false;
    if (retries(slice) <= most) return true;
    take_back(retries_[slice % slots], slice);
    return false;
}

RetryBudget::View RetryBudget::view(double share, TimePoint now) const {
    const std::uint32_t slice = slice_of(now);
    View view{.requests = requests(slice), .retries = retries(slice)};
    const std::uint64_t most = allowed(share, view.requests);
    view.left = most > view.retries ? most - view.retries : 0;
    return view;
}

}  // namespace sluice
