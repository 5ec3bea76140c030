// What we trust upstream, and how: one client SSL_CTX for each distinct set of TlsRules. Built when the Config is,
// shared by all threads, never changed after.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "certs/authority.hpp"
#include "proxy/policy/vendor.hpp"

namespace sluice {

struct SslCtxDeleter {
    void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
};
using SslCtxPtr = std::unique_ptr<SSL_CTX, SslCtxDeleter>;

/// What both our sides have in common, towards vendors and towards applications: TLS 1.2 at least, forward secrecy and
/// AEAD only, security level 2 (112 bits), no compression, no renegotiation, a truncated stream is an error;
/// SSL_MODE_RELEASE_BUFFERS | ENABLE_PARTIAL_WRITE | ACCEPT_MOVING_WRITE_BUFFER, read-ahead on. The system's
/// openssl.cnf has no say in these.
bool harden(SSL_CTX* context);

/// A client context: TLS 1.2 or 1.3 at least as the rules say, chain verified against the system's roots
/// (SSL_CERT_FILE, SSL_CERT_DIR, else Debian's bundle) or `ca_file` only, client certificate where there is one,
/// SSL_MODE_RELEASE_BUFFERS | ENABLE_PARTIAL_WRITE | ACCEPT_MOVING_WRITE_BUFFER, read-ahead on, no compression, no
/// renegotiation, client session cache mode set so that new sessions reach a callback (`SSL_SESS_CACHE_CLIENT |
/// NO_INTERNAL`). Faults name the file and what to do. Pins are judged inside the handshake too, so that no session is
/// ever made with a vendor whose pins do not hold; and a session made under other rules or for another host is refused
/// by OpenSSL itself when it is offered (its session id context). A machine without any system roots is no fault here:
/// every handshake then fails, and the words say so.
CertResult<SslCtxPtr> make_client_context(const TlsRules& rules);

/// By what a context is known: its rules and what their files held when it was made. Two contexts with one identity
/// verify and present the same.
const std::string& trust_identity(const SSL_CTX* context);
/// The identity that a context made of these rules now would have; "" where a file cannot be read.
std::string trust_identity(const TlsRules& rules);

/// Sets what is to be verified on one connection: hostname (or IP) as `host`, no partial wildcards; SNI unless it is an
/// address; SSL_VERIFY_PEER.
bool expect_host(SSL* ssl, const std::string& host, bool is_address);

/// Offers `session` for resumption, after `expect_host` and before the handshake, if it was made with this host under
/// the same rules and the same content of the files they name; otherwise the handshake will be a full one. (OpenSSL
/// itself would break off a handshake that resumed any other.)
void offer_session(SSL* ssl, SSL_SESSION* session, const std::string& host);

/// After a failed handshake, what was wrong in words a person understands: "the certificate is not valid for
/// api.pay.example", "the certificate ended on 2026-01-02", "the issuer is not trusted: CN=...", "the vendor offers
/// only TLS 1.1, the policy asks for 1.2 at least". Reads this thread's OpenSSL error queue and leaves it as it is:
/// call it before anything else of OpenSSL's. Names out of certificates are escaped and bounded.
std::string verification_fault(SSL* ssl, const std::string& host);

/// What the peer meant by a fatal alert, and what to do about it; of one that came after the handshake, too.
std::string alert_fault(const SSL* ssl, int alert);
/// Does it refuse our client certificate, or that we have none?
bool refuses_certificate(int alert);

}  // namespace sluice
