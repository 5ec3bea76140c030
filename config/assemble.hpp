// What was written, of all files together, into a Config: defaults, inheritance, and the faults that only show between
// maps. Pure; called once by decode.cpp at the end of a load.
#pragma once

#include <vector>

#include "config/config.hpp"
#include "config/written.hpp"

namespace sluice {

/// All files of a policy; `top` has been relieved of its credentials and vendors.
struct WrittenWhole {
    WrittenPolicy top;
    std::vector<Named<WrittenCredential>> credentials;
    std::vector<Named<WrittenVendor>> vendors;
    std::vector<const Node*> credential_maps, vendor_maps;  // as they stand in the files, with what could not be read
    bool complete = true;  // false: a file could not be read, so that what is not found may be in it
};

/// Takes the values out of `whole`. Where a fault was found, now or before, the result is not to be used.
Config assemble(WrittenWhole& whole, const std::string& default_state, FaultList& faults);

}  // namespace sluice
