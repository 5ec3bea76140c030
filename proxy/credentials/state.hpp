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
    std::optional<WallTime> minted, expires;   // when it was asked for, or read; nothing: it does not end
    std::optional<Attachment> previous;        // `overlap`
    std::shared_ptr<const Needles> needles;    // both, and what the attachment replaced, to be looked for in answers; null: nothing to look for
};

/// For CredentialState::needles. What was replaced is looked for until it is replaced itself: vendors take most tokens to their end, and an answer may still tell of the one that was refused.
std::shared_ptr<const Needles> needles_of(const std::optional<Attachment>& attachment, const std::optional<Attachment>& previous, const std::optional<Attachment>& replaced);

/// What of a credential answers are not searched for, and why; empty: nothing.
std::string unsearched(const CredentialState& state);

}  // namespace sluice
