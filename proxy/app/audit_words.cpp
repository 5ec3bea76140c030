#include "proxy/app/audit_words.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <variant>

#include "certs/pem.hpp"
#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// As `openssl x509 -fingerprint -sha256` has it, but for the colons.
std::string fingerprint_of(const X509* certificate) {
    unsigned char digest[SHA256_DIGEST_LENGTH] = {};
    X509_digest(certificate, EVP_sha256(), digest, nullptr);
    return to_hex({reinterpret_cast<const char*>(digest), sizeof digest});
}

std::string_view name_of(AuthoritySpec::Kind kind) {
    switch (kind) {
    case AuthoritySpec::Kind::persistent: return "persistent";
    case AuthoritySpec::Kind::ephemeral: return "ephemeral";
    case AuthoritySpec::Kind::given: return "given";
    }
    return "";
}

/// For whom it is, as the policy says.
std::string audience_of(const CredentialSpec& spec) {
    if (const auto* oauth = std::get_if<OAuthSpec>(&spec.kind)) {
        return oauth->audience.empty() ? joined(oauth->resource, " ") : oauth->audience;
    }
    const auto* gcp = std::get_if<GcpSpec>(&spec.kind);
    return gcp ? gcp->audience : std::string();
}

std::uint64_t errors_in(const std::vector<Fault>& faults) {
    return static_cast<std::uint64_t>(
        std::count_if(faults.begin(), faults.end(), [](const Fault& fault) { return !fault.warning; }));
}

/// The first that is an error, without the line that it quotes.
std::string first_error(const std::vector<Fault>& faults) {
    const auto found = std::find_if(faults.begin(), faults.end(), [](const Fault& fault) { return !fault.warning; });
    if (found == faults.end()) return {};
    const std::string text = found->text();
    return text.substr(0, text.find('\n'));
}

}  // namespace

AuditRecord audit_of_start(const Config& config, std::string_view policy, const CertAuthority& authority,
                           WallTime now) {
    return AuditRecord("started", now)
        .add("version", SLUICE_VERSION)
        .add("pid", static_cast<std::uint64_t>(::getpid()))
        .add("policy", policy)
        .add("digest", config.digest)
        .add("ca_sha256", fingerprint_of(authority.certificate()));
}

AuditRecord audit_of_stop(WallTime now) {
    return AuditRecord("stopped", now).add("pid", static_cast<std::uint64_t>(::getpid()));
}

AuditRecord audit_of_authority(const CertAuthority& authority, AuthoritySpec::Kind kind, WallTime now) {
    return AuditRecord("ca_made", now)
        .add("authority", name_of(kind))
        .add("subject", name_text(X509_get_subject_name(authority.certificate())))
        .add("sha256", fingerprint_of(authority.certificate()))
        .add("expires", wall_time(X509_get0_notAfter(authority.certificate())));
}

AuditRecord audit_of_mint(const KeeperNotice& minted, std::string_view why, WallTime now) {
    AuditRecord record("credential_minted", now);
    record.add("credential", minted.spec->name)
        .add("type", minted.spec->type())
        .add("why", why)
        .add("issuer", minted.issuer)
        .add("subject", minted.subject)
        .add("scope", minted.scope)
        .add("audience", audience_of(*minted.spec));
    if (minted.lifetime) record.add("lifetime_seconds", *minted.lifetime);
    if (minted.expires) record.add("expires", *minted.expires);
    return record;
}

AuditRecord audit_of_secret(const SecretNotice& read, WallTime now) {
    return AuditRecord("credential", now).add("credential", read.credential).add("state", name_of(read.state));
}

AuditRecord audit_of_forced(const Vendor& vendor, const ForcedBreaker& forced, WallTime now) {
    return AuditRecord("breaker_forced", now)
        .add("vendor", vendor.name)
        .add("endpoint", forced.endpoint)
        .add("forced", name_of(forced.now))
        .add("before", name_of(forced.before));
}

AuditRecord audit_of_reload(const Reloaded& reloaded, std::string_view why, std::string_view digest_before,
                            std::string_view vendors, std::string_view credentials, WallTime now) {
    return AuditRecord("reloaded", now)
        .add("why", why)
        .add("policy", reloaded.file)
        .add("digest", reloaded.digest)
        .add("digest_before", digest_before)
        .add("vendors", vendors)
        .add("credentials", credentials);
}

AuditRecord audit_of_refusal(const Reloaded& reloaded, std::string_view why, WallTime now) {
    return AuditRecord("reload_refused", now)
        .add("why", why)
        .add("policy", reloaded.file)
        .add("faults", errors_in(reloaded.faults))
        .add("detail", first_error(reloaded.faults));
}

}  // namespace sluice
