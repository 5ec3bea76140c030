// A refresh token on its way to its issuer. An issuer that rotates takes each once, and its answer holds the only other
// one that is good. So of each one request is under way, whatever reloads and however many wait for it, and once it is
// sent nobody breaks it off: who waits gives up in time, but the answer is read on, and kept. On the issuers' thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "proxy/base/secret.hpp"
#include "proxy/credentials/token_reply.hpp"
#include "proxy/issuers/errand.hpp"

namespace sluice {

/// Belongs to itself, and to who waits for it.
struct RefreshFlight {
    explicit RefreshFlight(const Errand& waiting) : began(Errand::now()), errand(waiting) {}

    const TimePoint began;
    Errand errand;   // of its own: the one that waits for it may end first
    std::optional<Result<TokenGranted>> answer;   // it is over
    /// Told when it is over, or when everything is to end.
    boost::intrusive::list<CredentialWait, boost::intrusive::constant_time_size<false>> waits;
};

/// Of a chain, what came last in this process: it may not be on disk, where that is full or somebody removes it.
struct RefreshSuccessor {
    Secret token;      // empty: none came
    Secret replaced;   // the one that was given for it
};

class RefreshFlights {
  public:
    /// Of a chain, as `RefreshStore::chain_of` has it; null: none is under way.
    std::shared_ptr<RefreshFlight> find(const std::string& chain) const;
    void begin(const std::string& chain, std::shared_ptr<RefreshFlight> flight);
    /// Tells who waits. Nothing of its request is held any more: another may follow inside of this.
    void end(const std::string& chain, Result<TokenGranted> answer);

    /// Goes on for as long as this does, whatever the policy says: what is spent stays spent.
    RefreshSuccessor& successor(const std::string& chain) { return successors_[chain]; }

    bool none() const { return flights_.empty(); }
    /// `idle` is called when the last one ends, inside of `end`.
    void when_none(std::function<void()> idle) { idle_ = std::move(idle); }
    /// No other begins, nobody waits any more, and those end that have not sent their token. How long the others may be
    /// given: the longest `timeout` of theirs.
    Duration stop();
    bool stopping() const { return stopping_; }

  private:
    std::map<std::string, std::shared_ptr<RefreshFlight>> flights_;
    std::map<std::string, RefreshSuccessor> successors_;
    std::function<void()> idle_;
    bool stopping_ = false;
};

}  // namespace sluice
