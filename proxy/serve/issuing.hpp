// The thread that gets credentials: its loop, resolver, client and keeper. Begun with the first policy that has something to fetch. Made and followed on one thread (the supervisor's, then the reloader's).
#pragma once

#include <memory>
#include <string>

#include "proxy/issuers/keeper.hpp"
#include "proxy/serve/worker.hpp"

namespace sluice {

class Issuing {
  public:
    /// `world` and what it points at outlive it. `notify` is called on its thread. `state`: where rotated refresh tokens are kept.
    Issuing(World& world, std::string state, CredentialKeeper::Notify notify);
    /// Ends the thread: what is under way is broken off, but for the answer to a refresh token that has been sent, for which it waits as long as the issuer's `timeout` says.
    ~Issuing();

    CredentialKeeper& keeper();
    /// Another policy's credentials.
    void follow(std::shared_ptr<const PolicySnapshot> policy);

    /// For a command: fetches one credential once, on the calling thread, without a keeper. Before any `follow`. `memory`: of fetches before it; null: there were none. `how`, where it is given: what it took.
    struct Told {
        std::vector<std::string> notes;
        std::vector<IssuerCall> calls;
    };
    Result<Minted> fetch_once(const PolicySnapshot& policy, const CredentialSpec& spec, Duration time, IssuerMemory* memory = nullptr, Told* how = nullptr);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
