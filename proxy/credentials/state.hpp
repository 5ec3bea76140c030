// What has become of a credential at one time. Immutable, made on the thread that reads or fetches, read by every worker. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proxy/base/time.hpp"
#include "proxy/credentials/credential.hpp"
#include "proxy/credentials/scrub.hpp"

namespace sluice {

/// What is at hand of one credential.
struct CredentialState {
    std::optional<Attachment> attachment;
    std::string fault;               // why there is none: names what, where and what to do, never the content
    WallTime since{};                // of this state
    bool coming = false;             // one is being fetched, or will be when somebody asks: worth waiting for
    bool idle = false;               // nobody has asked yet; `coming` too
    std::uint64_t flights = 0;       // fetches that ended, well or not: whoever waits for a renewal looks at it
    std::uint64_t serial = 0;        // of the attachment: another value, another number
    TimePoint usable_until = never;
    std::optional<WallTime> minted, expires;   // nothing: read, not fetched; or it does not end
    std::optional<Attachment> previous;        // `overlap`
    std::shared_ptr<const Needles> needles;    // both of them, to be looked for in answers; null: nothing to look for
};

/// For CredentialState::needles; either may be null.
std::shared_ptr<const Needles> needles_of(const Attachment* attachment, const Attachment* previous);

}  // namespace sluice
