#include "proxy/credentials/state.hpp"

namespace sluice {

std::shared_ptr<const Needles> needles_of(const Attachment* attachment, const Attachment* previous) {
    std::vector<Secret> secrets;
    for (const Attachment* one : {attachment, previous})
        if (one) secrets.insert(secrets.end(), one->secrets.begin(), one->secrets.end());
    if (secrets.empty()) return nullptr;
    auto needles = std::make_shared<const Needles>(secrets);
    if (needles->empty() && needles->too_short() + needles->too_much() == 0) return nullptr;
    return needles;
}

}  // namespace sluice
