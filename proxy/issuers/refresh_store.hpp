// The latest of a chain of refresh tokens, on disk: an issuer that rotates them takes each once, so the one that was given last must outlive this process. One file a chain in `<state>/refresh`,
// 0600, replaced whole (written, synced, renamed). It has the credential's name, but is found under any: credentials are renamed. Blocking, but only for small files, and only once in a token's lifetime. On the
// issuers' thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/result.hpp"
#include "proxy/base/secret.hpp"

namespace sluice {

class RefreshStore {
  public:
    /// `first`: as the operator gave it. Another one than the kept chain began with begins a new chain.
    RefreshStore(std::string state_directory, const std::string& credential, Secret first);
    RefreshStore(const RefreshStore&) = delete;
    ~RefreshStore();

    /// Which chain it is that begins with `first`, without the token: its SHA-256, hex.
    static std::string chain_of(const Secret& first);

    /// Keeps every other process that has this `state` from the chain, for as long as this lives, or its process does. False: another one has it; asks again. On a file system without locks nobody is kept from it.
    Result<bool> try_lock();

    /// The one to use now: the kept one, else the first. A file that cannot be read or is no such file is a Failure: to go back to the first would look like theft to the issuer.
    Result<Secret> latest();
    /// Can what replaces it be kept? To be asked before the issuer is: the token is spent then, whatever becomes of the next one.
    Result<void> try_to_keep();
    /// Before anything that came beside `next` is used. A Failure: it may be lost with this process.
    Result<void> keep(const Secret& next);
    /// The issuer will not take it again. Does nothing where another one has taken its place since.
    Result<void> bury(const Secret& token);
    bool is_dead(const Secret& token) const { return dead_ && token.same_as(latest_.reveal()); }

  private:
    struct Kept {
        std::string chain;
        Secret token;
        bool dead = false;
    };
    Failure cannot(const char* what, int error) const;
    Result<std::optional<Kept>> read(const std::string& path) const;
    Result<std::optional<Kept>> find();
    std::optional<Kept> find_elsewhere();
    Result<void> write(const Secret& token, bool dead);
    int write_fresh(std::string_view text) const;

    const std::string directory_;
    const Secret first_;
    const std::string chain_, by_name_, by_chain_;   // places for its file; the second where the first is another's
    std::string path_;   // where it is, or will be
    Secret latest_;
    bool dead_ = false;
    int lock_ = -1;
};

}  // namespace sluice
