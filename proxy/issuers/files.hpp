// Static secrets, from files and the environment. Files are looked at again when something happens on the way to them
// (so that Kubernetes' `..data` swap counts) and every few seconds whatever happens, read whole (at most 1 MiB), a
// trailing newline trimmed; what changed is published to every worker without a restart. A secret that cannot be read
// makes its credential unavailable, never the process; how a rewrite is told from a loss is in rotation.hpp. A reload
// makes it follow another policy: credentials that did not change keep their state without a gap.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "config/config.hpp"
#include "proxy/issuers/board.hpp"
#include "proxy/issuers/rotation.hpp"

namespace sluice {

struct SecretTimes {
    RotationTimes rotation;
    Duration poll = 3s;  // between looks when nothing is noticed
};

/// What has become of a credential; the views hold during the call.
struct SecretNotice {
    enum class State : unsigned char { changed, available, unavailable, unsearched };
    State state = State::unavailable;
    std::string_view credential;
    std::string_view detail;  // of `unavailable` and `unsearched`, for people: why, and what to do
};
/// "changed", "available", "unavailable", "unsearched".
std::string_view name_of(SecretNotice::State state);

class SecretFiles {
  public:
    using Notify = std::function<void(const SecretNotice&)>;

    /// Reads everything once, a variable for good; then watches the files on a thread of its own until destroyed. What
    /// is fetched instead of read is left alone. `notice` is told whenever a credential changes, becomes unavailable or
    /// comes back: from the constructor and `follow` (only what is unavailable), then from the watching thread. The
    /// board outlives it.
    SecretFiles(CredentialBoard& board, CredentialSlots slots, Notify notice, SecretTimes times = {});
    ~SecretFiles();

    /// From now on another policy's credentials: slots that it had before go on as they were, the rest is read now.
    /// Reads files: not on a worker. Any other thread, one at a time.
    void follow(CredentialSlots slots);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
