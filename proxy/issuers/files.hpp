// Static secrets, from files and the environment. Files are looked at again when something happens on the way to them
// (so that Kubernetes' `..data` swap counts) and every few seconds whatever happens, read whole (at most 1 MiB), a
// trailing newline trimmed; what changed is published to every worker without a restart. A secret that cannot be read
// makes its credential unavailable, never the process; how a rewrite is told from a loss is in rotation.hpp.
#pragma once

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
using CredentialStates = std::vector<std::shared_ptr<const CredentialState>>;  // by CredentialSpec::index

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

    /// Reads everything once, the environment for good; then watches the files on a thread of its own until destroyed.
    /// `notice` is told whenever a credential changes, becomes unavailable or comes back: from the constructor (only
    /// what is unavailable), then from the watching thread.
    SecretFiles(std::shared_ptr<const Config> config, Notify notice, SecretTimes times = {});
    ~SecretFiles();

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

/// One worker's desk over the latest snapshot. `update` on the worker's thread.
class StaticDesk final : public CredentialDesk {
  public:
    explicit StaticDesk(std::shared_ptr<const CredentialStates> states) : states_(std::move(states)) {}
    void update(std::shared_ptr<const CredentialStates> states) { states_ = std::move(states); }
    Result<const Attachment*> current(std::size_t credential) override;

  private:
    std::shared_ptr<const CredentialStates> states_;
};

}  // namespace sluice
