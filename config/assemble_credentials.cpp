#include "config/assemble_credentials.hpp"

#include <algorithm>

#include "config/credential_specs.hpp"

namespace sluice {

int line_of(const Node& node) {
    return static_cast<int>(node.at.line) + 1;
}

bool is_broken(const std::vector<const Node*>& maps, const std::string& name) {
    return std::any_of(maps.begin(), maps.end(), [&](const Node* map) { return map->find(name) != Node::npos; });
}

void CredentialAssembler::run() {
    for (auto& named : whole_.credentials)
        if (!is_second(keys_, named, "credential", "credentials", faults_)) written_.push_back(&named);
    find_logins();
    for (auto* named : written_) names_.push_back(named->name);
    for (auto* named : written_) add(*named);
    refuse_circles();
    borrow_issuers();
}

void CredentialAssembler::find_logins() {
    for (const auto* named : written_) {
        const WrittenCredential& written = named->value;
        if (!written.type || written.type->value != CredentialType::vault) continue;
        logins_.push_back(named->name);
        if (!written.path) plain_logins_.push_back(named->name);
    }
}

/// From here on `login` names a credential, or is "" for Sluice's environment.
void CredentialAssembler::settle_login(SecretSource& source, const Node& node, const std::string& path) {
    if (source.login.empty()) {
        if (plain_logins_.size() == 1) source.login = plain_logins_.front();
        if (plain_logins_.size() < 2) return;
        std::string list;
        for (const auto& login : plain_logins_) list += (list.empty() ? "" : ", ") + login;
        return fault(node, "several logins for a secret of Vault in " + path + ": say which with `login`: " + list);
    }
    const std::size_t at = node.kind == Node::Kind::map ? node.find("login") : Node::npos;
    const Node& place = at == Node::npos ? node : *node.items[at + 1];
    const std::vector<std::string_view> known(logins_.begin(), logins_.end());
    if (std::find(known.begin(), known.end(), source.login) != known.end()) return;
    if (std::find(names_.begin(), names_.end(), source.login) != names_.end())
        return fault(place, "credential " + shown(source.login) + " in " + path +
                                " is no login: one of type vault says where Vault is and how to log in");
    if (whole_.complete && !is_broken(whole_.credential_maps, source.login))
        fault(place, "no credential of type vault is called " + shown(source.login) + " in " + path +
                         suggestion(source.login, known));
}

void CredentialAssembler::settle_logins(Named<WrittenCredential>& named) {
    for (const auto& [source, node] : secrets_of(named.value))
        if (source->kind == SecretSource::Kind::vault) settle_login(*source, *node, "credentials." + named.name);
}

/// An address that is written is judged as it will be when it is dialled.
void CredentialAssembler::judge_addresses(WrittenCredential& written, const std::string& name) {
    std::vector<AddressRange> ranges;
    if (written.addresses)
        for (const auto& range : written.addresses->value) ranges.push_back(range.value);
    const std::pair<std::string_view, const Maybe<Url>*> urls[] = {{"token_url", &written.token_url},
                                                                   {"sts_url", &written.sts_url},
                                                                   {"api_url", &written.api_url},
                                                                   {"address", &written.address}};
    for (const auto& [key, url] : urls) {
        if (!*url) continue;
        const std::string& host = (*url)->value.authority.host;
        const std::string address = host == "localhost" ? "127.0.0.1" : host;
        const auto parsed = parse_address(address);
        const std::string_view what = parsed ? judge_address(*parsed, ranges) : std::string_view{};
        if (!what.empty())
            fault(*(*url)->node, host + " in credentials." + name + "." + std::string(key) + " is " +
                                     std::string(what) + ": write addresses: [\"" + address +
                                     "\"] too if that is meant");
    }
}

/// Each credential has a chain of its own from its first refresh token on, and an issuer that rotates takes that once.
void CredentialAssembler::refuse_shared_chain(const WrittenCredential& written, const CredentialSpec& spec) {
    const auto* oauth = std::get_if<OAuthSpec>(&spec.kind);
    if (!oauth || !oauth->refresh_token.written()) return;
    const auto same = [&](const Chain& chain) { return chain.first == oauth->refresh_token; };
    const auto before = std::find_if(chains_.begin(), chains_.end(), same);
    if (before == chains_.end()) return chains_.push_back({oauth->refresh_token, written.refresh_token->node, spec.name});
    const Node& other = *before->node;
    fault(*written.refresh_token->node,
          "credentials." + spec.name + " begins with the refresh token of credentials." + before->name + " (" +
              other.file->place(other.at) +
              "): an issuer that rotates them takes each once, and may take the second use for theft; "
              "get it one of its own, or let all vendors name one credential");
}

void CredentialAssembler::add(Named<WrittenCredential>& named) {
    settle_logins(named);
    judge_addresses(named.value, named.name);
    CredentialSpec spec = spec_of(named.value);
    spec.name = named.name;
    refuse_shared_chain(named.value, spec);
    spec.index = config_.credentials.size();
    spec.file = named.key->file->path;
    spec.line = line_of(*named.key);
    if (calls_an_issuer(spec)) {
        Vendor issuer = issuer_of(spec, named.value);
        issuer.file = spec.file;
        issuer.line = spec.line;
        spec.issuer = config_.issuers.size();
        config_.issuers.push_back(std::move(issuer));
    }
    index_.emplace(spec.name, spec.index);
    config_.credentials.push_back(std::move(spec));
    used_.push_back(false);
}

/// A login whose own secret is in the Vault that it opens can never begin. Each has one secret at most.
void CredentialAssembler::refuse_circles() {
    const auto next = [&](std::size_t at) -> std::optional<std::size_t> {
        const auto* vault = std::get_if<VaultSpec>(&config_.credentials[at].kind);
        if (!vault || vault->secret.kind != SecretSource::Kind::vault) return {};
        const auto found = index_.find(vault->secret.login);
        return found == index_.end() ? std::nullopt : std::optional(found->second);
    };
    std::vector<bool> seen(config_.credentials.size());
    for (std::size_t start = 0; start < seen.size(); ++start) {
        std::vector<std::size_t> chain;
        std::optional<std::size_t> at = start;
        while (at && !seen[*at]) {
            seen[*at] = true;
            chain.push_back(*at);
            at = next(*at);
        }
        const auto circle = at ? std::find(chain.begin(), chain.end(), *at) : chain.end();
        if (circle == chain.end()) continue;
        std::string text;
        for (auto step = circle; step != chain.end(); ++step) text += config_.credentials[*step].name + " -> ";
        const std::string& name = config_.credentials[*circle].name;
        fault(*keys_.at(name), "logins go in a circle in credentials." + name + ".auth: " + text + name +
                                   "; one of them needs its secret from a file or a variable");
    }
}

std::optional<std::size_t> CredentialAssembler::issuer_of_login(const std::string& login) {
    if (const auto found = index_.find(login); found != index_.end()) {
        used_[found->second] = true;
        return config_.credentials[found->second].issuer;
    }
    if (!login.empty()) return {};
    if (!config_.vault_of_environment) {
        config_.vault_of_environment = config_.issuers.size();
        config_.issuers.push_back(issuer_of_environment());
    }
    return config_.vault_of_environment;
}

/// What is in Vault is read by way of its login's issuer.
void CredentialAssembler::borrow_issuers() {
    for (CredentialSpec& spec : config_.credentials)
        for (const SecretSource* source : spec.secrets()) {
            if (source->kind != SecretSource::Kind::vault) continue;
            const auto issuer = issuer_of_login(source->login);
            if (!spec.issuer) spec.issuer = issuer;
        }
}

void CredentialAssembler::settle_secret(CredentialSpec& spec, SecretSource& source, const Node& node, const std::string& path) {
    if (source.kind != SecretSource::Kind::vault) return;
    settle_login(source, node, path);
    spec.issuer = issuer_of_login(source.login);
}

void CredentialAssembler::number_issuers() {
    for (std::size_t i = 0; i < config_.issuers.size(); ++i) config_.issuers[i].index = config_.vendors.size() + 1 + i;
}

std::optional<std::size_t> CredentialAssembler::find(const Written<std::string>& name, const std::string& path) {
    const auto found = index_.find(name.value);
    if (found == index_.end()) {
        if (whole_.complete && !is_broken(whole_.credential_maps, name.value))
            fault(*name.node,
                  "no credential is called " + shown(name.value) + " in " + path + suggestion(name.value, names_));
        return {};
    }
    used_[found->second] = true;
    if (!config_.credentials[found->second].is_login()) return found->second;
    fault(*name.node,
          "credential " + shown(name.value) + " in " + path +
              " is a login for {vault: ...} elsewhere: without `path` there is nothing in it that a request "
              "could be given");
    return {};
}

void CredentialAssembler::warn_of_unused() {
    if (!whole_.complete || faults_.failed()) return;  // the vendor that uses it may be what could not be read
    for (const CredentialSpec& spec : config_.credentials) {
        if (used_[spec.index]) continue;
        const Node& key = *keys_.at(spec.name);
        const std::string what = spec.is_login() ? "no {vault: ...} uses credentials." : "no vendor uses credentials.";
        faults_.add(*key.file, key.at, what + spec.name, true);
    }
}

}  // namespace sluice
