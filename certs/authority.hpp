// Our own certificate authority: made once, kept private, only ever signing leaves for hosts that applications asked
// for. Not pure: it draws keys (OpenSSL's randomness). Any thread may mint; an Authority never changes.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/base/result.hpp"
#include "proxy/base/time.hpp"
#include "proxy/http/authority.hpp"

namespace sluice {

struct OpenSslDeleter {
    void operator()(X509* p) const { X509_free(p); }
    void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};
using X509Ptr = std::unique_ptr<X509, OpenSslDeleter>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslDeleter>;

/// Why certificate work failed, in words: names the file and what to do.
struct CertFault {
    std::string what;
};
template <class T>
using CertResult = boost::system::result<T, CertFault>;
[[noreturn]] inline void throw_exception_from_error(const CertFault& fault, const boost::source_location&) {
    throw std::runtime_error(fault.what);
}

/// A P-256 key.
CertResult<KeyPtr> make_key();

/// What a CA of our own make is to sign for.
struct SigningScope {
    std::vector<HostPattern> hosts;  // of the policy, those that are intercepted
    bool constrained = false;        // `authority.name_constraints`: for these and nothing else
};

class CertAuthority {
  public:
    /// A fresh self-signed P-256 CA: critical basicConstraints (CA, pathlen 0) and keyUsage (keyCertSign, cRLSign),
    /// SKI; ten years, from an hour before `now`. The common name carries eight hex digits of the key, so that two
    /// sidecars' CAs can be told apart: "Sluice CA 1a2b3c4d". With name constraints where the scope is constrained.
    static CertResult<CertAuthority> make(WallTime now, const SigningScope& scope = {});
    /// `<directory>/ca.crt` and `<directory>/ca.key` (PKCS#8 PEM, 0600), made where they do not exist. A certificate
    /// that ends within 30 days is renewed over the same key, so that both vouch for the same leaves; `note` then says
    /// so (or why it could not be done). Creates the directory (0700); one that is there may have any mode. Processes
    /// that start at once end up with the same pair, and a crash never leaves a mixed one. A key file that others may
    /// touch is refused, a pair that does not belong together too: the fault names file and fix. Writes are by rename,
    /// fsynced. A CA that is there and may not sign for the scope's hosts, or is not constrained where it should be, is a
    /// fault and stays: making another one silently would leave applications behind that trust this one.
    static CertResult<CertAuthority> persistent(const std::string& directory, WallTime now, std::string& note,
                                                const SigningScope& scope = {});
    /// Any CA in PEM (a chain: the first is the issuer, each signed by the next). Refused when it may not sign
    /// (CA:FALSE, no keyCertSign), has ended or not begun, or the key is encrypted or not its own. The key file's mode
    /// is the operator's matter: a mounted Kubernetes secret is readable by a group.
    static CertResult<CertAuthority> given(const std::string& cert_file, const std::string& key_file, WallTime now);

    const X509* certificate() const { return certificate_.get(); }
    /// PEM of the certificate (and of what it was chained with), public.
    const std::string& pem() const { return pem_; }

    /// A leaf for `host` (a DNS name, or an IP literal: then the SAN is an IP) over `leaf_key`'s public part: AKI, SKI,
    /// SAN, serverAuth, digitalSignature, no long CN (the host where it is a name of at most 64 bytes, else "sluice"),
    /// random serial, from an hour before `now` for at most 30 days (and never past the CA's own end). Refused where the
    /// CA's name constraints do not permit the host: every application would refuse the leaf.
    CertResult<X509Ptr> mint(const std::string& host, EVP_PKEY* leaf_key, WallTime now) const;

    /// Was its certificate signed just now: made, or renewed over the same key?
    bool fresh() const { return fresh_; }

    /// What a server presents after the leaf: the CA and its chain without self-signed ones. Nothing for a CA of our
    /// own make.
    const std::vector<X509Ptr>& chain() const { return chain_; }

  private:
    CertAuthority(std::vector<X509Ptr> certificates, KeyPtr key, bool fresh);

    X509Ptr certificate_;
    KeyPtr key_;
    std::string pem_;
    std::string key_id_;  // what a leaf names its issuer's key by
    std::vector<X509Ptr> chain_;
    bool fresh_;
};

/// When a leaf is minted again: two thirds of its life.
WallTime renewal_of(const X509* leaf);

}  // namespace sluice
