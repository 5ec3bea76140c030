#include "proxy/credentials/state.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {

std::shared_ptr<const Needles> needles_of(const std::optional<Attachment>& attachment, const std::optional<Attachment>& previous, const std::optional<Attachment>& replaced) {
    std::vector<Secret> secrets;
    for (const auto* one : {&attachment, &previous, &replaced}) {
        if (!*one) continue;
        for (const Secret& secret : (*one)->secrets)
            if (std::none_of(secrets.begin(), secrets.end(), [&](const Secret& known) { return known.same_as(secret.reveal()); })) secrets.push_back(secret);
    }
    if (secrets.empty()) return nullptr;
    auto needles = std::make_shared<const Needles>(secrets);
    if (needles->empty() && needles->too_short() + needles->too_much() == 0) return nullptr;
    return needles;
}

std::string unsearched(const CredentialState& state) {
    if (!state.needles || state.needles->too_short() + state.needles->too_much() == 0) return {};
    if (state.needles->too_short() > 0) return "a secret of it is shorter than " + std::to_string(Needles::shortest) + " bytes: answers are not searched for it, because it would be found by chance";
    return "a secret of it is longer than " + format_size(Needles::longest) + ", or there are more than " + std::to_string(Needles::most_secrets) + ": answers are not searched for what is more";
}

}  // namespace sluice
