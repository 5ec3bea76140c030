// Static secrets, from files and the environment. Files are looked at again when something happens on the way to them
// (so that Kubernetes' `..data` swap counts) and every few seconds whatever happens, read whole (at most 1 MiB), a
// trailing newline trimmed; what changed is published to every worker without a restart. A secret that cannot be read
// makes its credential unavailable, never the process; how a rewrite is told from a loss is in rotation.hpp. A reload
// makes it follow another policy: credentials that did not change keep their state without a gap.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "proxy/issuers/rotation.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// What is at hand of one credential at one time; immutable.
struct CredentialState {
    std::optional<Attachment> attachment;
    std::string fault;  // why there is none: names the file or variable and what to do, never the content
    WallTime since{};   // of this state
};

/// What is at hand of one policy's credentials at one time; immutable. An index means something only under its own
/// policy.
struct CredentialStates {
    std::uint64_t policy = 1;                                      // which of those that were followed
    std::vector<std::shared_ptr<const CredentialState>> by_index;  // CredentialSpec::index
};

struct SecretTimes {
    RotationTimes rotation;
    Duration poll = 3s;  // between looks when nothing is noticed
};

/// What has become of a credential; the views hold during the call.
struct SecretNotice {
    enum class State : unsigned char { changed, available, unavailable };
    State state = State::unavailable;
    std::string_view credential;
    std::string_view detail;  // of `unavailable`, for people: why, and what to do
};
/// "changed", "available", "unavailable".
std::string_view name_of(SecretNotice::State state);

class SecretFiles {
  public:
    using Notify = std::function<void(const SecretNotice&)>;

    /// Reads everything once, a variable for good; then watches the files on a thread of its own until destroyed.
    /// `notice` is told whenever a credential changes, becomes unavailable or comes back: from the constructor (only
    /// what is unavailable), then from the watching thread.
    SecretFiles(std::shared_ptr<const Config> config, Notify notice, SecretTimes times = {});
    ~SecretFiles();

    /// From now on another policy's credentials: what is the same as before (by name and all that is written of it)
    /// goes on as it was, the rest is read now. Subscribers are only told of what changes from here on; the states to
    /// begin with are returned. Reads files: not on a worker. Any other thread, one at a time.
    std::shared_ptr<const CredentialStates> follow(std::shared_ptr<const Config> config);

    /// The states as they stand. Any thread.
    std::shared_ptr<const CredentialStates> snapshot() const;
    /// Calls `publish` with the states now, on the calling thread, and after each change from the watching one; none is
    /// missed, none comes twice. It should post to the subscriber's own thread, and may not subscribe or unsubscribe.
    /// Any thread. The number unsubscribes.
    std::size_t subscribe(std::function<void(std::shared_ptr<const CredentialStates>)> publish);
    /// No call is under way when it returns, and none follows. Any thread.
    void unsubscribe(std::size_t id);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// One worker's desk over the latest snapshot of one policy. `update` on the worker's thread.
class StaticDesk final : public CredentialDesk {
  public:
    explicit StaticDesk(std::shared_ptr<const CredentialStates> states) : states_(std::move(states)) {}
    /// States of another policy than the desk's are left alone: they are somebody else's credentials.
    void update(std::shared_ptr<const CredentialStates> states) {
        if (states->policy == states_->policy) states_ = std::move(states);
    }
    Result<const Attachment*> current(std::size_t credential) override;

  private:
    std::shared_ptr<const CredentialStates> states_;
};

}  // namespace sluice
