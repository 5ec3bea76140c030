// Fetches the credentials that have to be fetched, and keeps them fresh: one coroutine for each, so that whatever the number of workers and of requests that wait, one fetch of a credential is under way.
// What comes of it goes up on the board. Lives on the issuers' thread, away from the workers: an issuer that hangs holds nobody up but who waits for it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/credentials/renewal_plan.hpp"
#include "proxy/issuers/board.hpp"
#include "proxy/issuers/errand.hpp"

namespace sluice {

/// What has become of a credential; views hold during the call. Never a secret.
struct KeeperNotice {
    enum class Kind : unsigned char { minted, failed, unavailable, note };
    enum class Why : unsigned char { eager, wanted, renewal, refused, changed };   // it was fetched: before anybody needed it; since a request waited; ahead of its end; since a vendor refused the one before; since a file that it came from was changed
    Kind kind = Kind::failed;
    const CredentialSpec* spec = nullptr;
    std::string_view detail;              // of all but `minted`: why, and what to do
    Why why = Why::eager;                 // of `minted`, as all to `expires`
    std::string subject, scope;
    std::string issuer;                   // whom the last call asked, without a query; "": nobody was called
    std::optional<Duration> lifetime;
    std::optional<WallTime> expires;
    Duration took{};                      // of `minted`, `failed`
    Duration again_in{};                  // of `failed`
};
std::string_view name_of(KeeperNotice::Kind kind);
std::string_view name_of(KeeperNotice::Why why);

class CredentialKeeper {
  public:
    using Notify = std::function<void(const KeeperNotice&)>;
    /// Begins a coroutine on the keeper's thread; called there.
    using Spawn = std::function<void(Task<void>)>;

    /// `tools` and the board outlive it.
    CredentialKeeper(IssuerTools& tools, CredentialBoard& board, Spawn spawn, Notify notify);
    /// Nothing of it is under way any more: after `stop` has said so, or when its loop is gone.
    ~CredentialKeeper();

    /// Another policy's from now on: slots that it had before go on as they were; what was fetched for another slot goes on in a new one that would fetch the same; whatever else it had is left. On its thread.
    void follow(std::shared_ptr<const Config> config, std::shared_ptr<const ClientContexts> contexts, const CredentialSlots& slots);
    /// Breaks off whatever is under way; `idle` is called when the last of it has ended, which takes as long as a connection that is being made, and as long as what is returned: a refresh token that
    /// has been sent is worth nothing without its answer. On its thread.
    Duration stop(std::function<void()> idle);
    /// The machine was suspended for so long, which no clock of ours shows. On its thread.
    void slept(Duration time);

    // Any thread:
    /// Somebody waits for one that is fetched on demand.
    void want(std::shared_ptr<CredentialSlot> slot);
    /// A vendor refuses what has this serial number. A new state of the slot follows, whether there is another one then or not.
    void refused(std::shared_ptr<CredentialSlot> slot, std::uint64_t serial);
    /// A vendor takes the previous secret, where it refused the new one: told, no more.
    void previous_taken(std::shared_ptr<CredentialSlot> slot);

  private:
    struct Kept;
    using KeptPtr = std::shared_ptr<Kept>;

    Task<void> keep(KeptPtr kept);
    Task<void> fetch(KeptPtr kept);
    static void look(Kept& kept, TimePoint now);
    void move(Kept& kept, std::shared_ptr<CredentialSlot> slot, const CredentialSpec& spec);
    void tell_former(Kept& kept);
    void end_if_idle();
    void failed(Kept& kept, const std::string& detail, Duration took, Duration asked_pause = {});
    void unavailable(Kept& kept, const std::string& detail);
    void post(Kept& kept, std::string fault, bool coming);
    void left(const std::shared_ptr<CredentialSlot>& slot);
    KeptPtr find(const CredentialSlot& slot) const;

    IssuerTools& tools_;
    Timer& timer_;
    CredentialBoard& board_;
    const Spawn spawn_;
    const Notify notify_;
    std::map<const CredentialSlot*, KeptPtr> kept_;
    std::size_t running_ = 0;   // coroutines
    bool stopping_ = false;
    std::function<void()> idle_;
};

}  // namespace sluice
