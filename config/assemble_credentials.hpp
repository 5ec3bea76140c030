// The credentials of all files together: their specs, the logins that `{vault: ...}` means, the issuers that are
// called for them. Pure; one for each load, used by assemble.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/assemble.hpp"

namespace sluice {

/// From 1.
int line_of(const Node& node);
/// Is it there, though it could not be read? Then that fault is enough.
bool is_broken(const std::vector<const Node*>& maps, const std::string& name);

/// A name once more; reported.
template <class V>
bool is_second(std::unordered_map<std::string, const Node*>& seen, const Named<V>& named, std::string_view kind,
               std::string_view map, FaultList& faults) {
    const auto [first, fresh] = seen.try_emplace(named.name, named.key);
    if (fresh) return false;
    const Node& other = *first->second;
    faults.add(*named.key->file, named.key->at,
               "a second " + std::string(kind) + " " + shown(named.name) + " in " + std::string(map) +
                   ": the first is at " + other.file->place(other.at));
    return true;
}

class CredentialAssembler {
  public:
    CredentialAssembler(WrittenWhole& whole, Config& config, FaultList& faults)
        : whole_(whole), config_(config), faults_(faults) {}

    /// Fills Config::credentials and Config::issuers.
    void run();
    /// Once all vendors are there: the issuers' indexes come after theirs.
    void number_issuers();

    /// The credential of that name, for a vendor or a route. Nothing: reported where it is not there, or is none that
    /// a request can be given.
    std::optional<std::size_t> find(const Written<std::string>& name, const std::string& path);
    /// For a secret of `spec`, which is no credential: settles by which login it is read, and how that is called.
    void settle_secret(CredentialSpec& spec, SecretSource& source, const Node& node, const std::string& path);
    void warn_of_unused();

  private:
    void fault(const Node& node, std::string message) { faults_.add(*node.file, node.at, std::move(message)); }
    void find_logins();
    void settle_logins(Named<WrittenCredential>& named);
    void settle_login(SecretSource& source, const Node& node, const std::string& path);
    void judge_addresses(WrittenCredential& written, const std::string& name);
    void refuse_shared_chain(const WrittenCredential& written, const CredentialSpec& spec);
    void add(Named<WrittenCredential>& named);
    void refuse_circles();
    void borrow_issuers();
    std::optional<std::size_t> issuer_of_login(const std::string& login);

    WrittenWhole& whole_;
    Config& config_;
    FaultList& faults_;
    std::vector<Named<WrittenCredential>*> written_;  // by CredentialSpec::index
    std::unordered_map<std::string, const Node*> keys_;
    std::unordered_map<std::string, std::size_t> index_;
    std::vector<std::string_view> names_;
    std::vector<std::string> logins_;        // of type vault ...
    std::vector<std::string> plain_logins_;  // ... without `path`
    struct Chain {
        SecretSource first;
        const Node* node;
        std::string name;
    };
    std::vector<Chain> chains_;              // of refresh tokens
    std::vector<bool> used_;                 // by CredentialSpec::index
};

}  // namespace sluice
