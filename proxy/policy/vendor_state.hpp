// What of a vendor is alive: its breakers, limits, budgets. Shared by all workers, changed by compare-exchange on words whose
// addresses are fixed when the Config is built; handed on by the vendor's name when the policy is loaded anew.
#pragma once

#include <memory>

namespace sluice {

struct Vendor;

struct VendorState {
    explicit VendorState(const Vendor& vendor);
};

/// Gives `vendor` a state: what of `before` (null: nothing) is about rules that did not change lives on, the rest begins anew.
void make_live(Vendor& vendor, const Vendor* before);

}  // namespace sluice
