#include "proxy/base/secret.hpp"

#include <algorithm>
#include <utility>

namespace sluice {

void wipe(std::string& bytes) {
    bytes.clear();
    bytes.resize(bytes.capacity());  // zeros, in the spare room too: it may hold what an earlier, longer value left there
    asm volatile("" : : "r"(bytes.data()) : "memory");  // somebody may look: the zeros are not written in vain
    bytes.clear();
}

void append_wiping(std::string& to, std::string_view more) {
    if (to.capacity() - to.size() < more.size()) {
        std::string grown;
        grown.reserve(std::max(to.size() + more.size(), 2 * to.capacity()));
        grown.append(to);
        to.swap(grown);
        wipe(grown);
    }
    to.append(more);
}

// The source is copied and wiped rather than moved: a short string lives inside the object, and a move would leave its
// bytes behind there.
Secret::Secret(std::string&& bytes) : bytes_(bytes) { wipe(bytes); }
Secret::Secret(const Secret& other) : bytes_(other.bytes_) {}
Secret::Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { wipe(other.bytes_); }

Secret& Secret::operator=(const Secret& other) {
    if (this == &other) return *this;
    wipe(bytes_);
    bytes_ = other.bytes_;
    return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this == &other) return *this;
    wipe(bytes_);
    bytes_ = std::move(other.bytes_);
    wipe(other.bytes_);
    return *this;
}

Secret::~Secret() { wipe(bytes_); }

bool Secret::same_as(std::string_view other) const {
    if (other.size() != bytes_.size()) return false;
    unsigned char difference = 0;
    for (std::size_t i = 0; i < bytes_.size(); ++i) difference |= static_cast<unsigned char>(bytes_[i] ^ other[i]);
    return difference == 0;
}

}  // namespace sluice
