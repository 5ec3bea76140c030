#include "proxy/issuers/rotation.hpp"

#include <utility>

namespace sluice {

namespace {

bool same(const Result<Attachment>& a, const Result<Attachment>& b) {
    if (a.has_value() != b.has_value()) return false;
    if (a.has_error()) return a.error().detail == b.error().detail;
    return a->same_as(*b);
}

}  // namespace

bool Rotation::observe(Result<Attachment> reading, TimePoint now) {
    if (same(reading, state_)) {
        pending_.reset();
        return false;
    }
    if (!pending_) differs_since_ = now;
    if (!pending_ || !same(*pending_, reading)) {
        pending_ = std::move(reading);
        same_since_ = now;
    }
    const bool loses_a_value = state_.has_value() && pending_->has_error();
    const bool settled = !loses_a_value && now - same_since_ >= times_.settle;
    if (!settled && now - differs_since_ < times_.grace) return false;
    state_ = std::move(*pending_);
    pending_.reset();
    return true;
}

}  // namespace sluice
