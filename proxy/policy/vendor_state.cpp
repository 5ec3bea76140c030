#include "proxy/policy/vendor_state.hpp"

#include "proxy/policy/vendor.hpp"

namespace sluice {

VendorState::VendorState(const Vendor&) {}

void make_live(Vendor& vendor, const Vendor* before) {
    vendor.live = before && before->live ? before->live : std::make_shared<VendorState>(vendor);
}

}  // namespace sluice
