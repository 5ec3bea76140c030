#include "certs/leaf.hpp"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <utility>

#include "certs/pem.hpp"

namespace sluice {
namespace {

constexpr std::size_t ticket_key_bytes = 80;  // SSL_CTX_set_tlsext_ticket_keys takes exactly these

/// A client that offers only what we do not speak gets no ALPN answer rather than an alert (RFC 7301 3.2 would have
/// one): nearly all of them then speak HTTP/1.1.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                    unsigned offered_length, void*) {
    static constexpr unsigned char ours[] = "\x08http/1.1";
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_length, ours, sizeof ours - 1, offered, offered_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/// Tickets open under the process's one key, so it is this that keeps a session of one host from resuming at another.
bool bind_sessions_to(SSL_CTX* context, const std::string& host) {
    const std::string text = "sluice leaf " + host;
    std::array<unsigned char, SHA256_DIGEST_LENGTH> id;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), id.data());
    return SSL_CTX_set_session_id_context(context, id.data(), id.size()) == 1;
}

bool present(SSL_CTX* context, X509* leaf, const LeafIdentity& identity) {
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);  // OpenSSL would look for issuers anew in every handshake
    if (SSL_CTX_use_certificate(context, leaf) != 1 || SSL_CTX_use_PrivateKey(context, identity.key.get()) != 1)
        return false;
    for (const auto& certificate : identity.authority->chain())
        if (SSL_CTX_add1_chain_cert(context, certificate.get()) != 1) return false;
    return true;
}

bool allow_resumption(SSL_CTX* context, const LeafIdentity& identity, const std::string& host) {
    const auto keys = identity.ticket_keys.reveal();
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // the ticket carries the session
    return SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_keys(context, const_cast<char*>(keys.data()), static_cast<long>(keys.size())) ==
               1 &&
           bind_sessions_to(context, host);
}

CertResult<SslCtxPtr> make_server_context(const LeafIdentity& identity, const std::string& host, X509* leaf) {
    SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
    if (!context || !harden(context.get()) || !present(context.get(), leaf, identity) ||
        !allow_resumption(context.get(), identity, host))
        return CertFault{"cannot serve TLS as " + host + ": " + take_openssl_reason()};
    SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
    return context;
}

}  // namespace

CertResult<std::shared_ptr<const LeafIdentity>> LeafIdentity::make(std::shared_ptr<const CertAuthority> authority) {
    auto key = make_key();
    if (!key) return key.error();
    std::string ticket_keys(ticket_key_bytes, '\0');
    if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(ticket_keys.data()), static_cast<int>(ticket_keys.size())) !=
        1)
        return CertFault{"cannot draw session ticket keys: " + take_openssl_reason()};
    auto identity = std::make_shared<LeafIdentity>();
    identity->authority = std::move(authority);
    identity->key = std::move(*key);
    identity->ticket_keys = Secret(std::move(ticket_keys));
    return std::shared_ptr<const LeafIdentity>(std::move(identity));
}

LeafCache::LeafCache(std::shared_ptr<const LeafIdentity> identity, std::size_t capacity)
    : identity_(std::move(identity)), capacity_(capacity > 0 ? capacity : 1) {}

CertResult<SSL_CTX*> LeafCache::context(const std::string& host, WallTime now) {
    const auto known = by_host_.find(host);
    if (known != by_host_.end()) {
        entries_.splice(entries_.begin(), entries_, known->second);
        if (now < entries_.front().renew_at) return entries_.front().context.get();
    }
    auto leaf = identity_->authority->mint(host, identity_->key.get(), now);
    if (!leaf) return leaf.error();
    auto context = make_server_context(*identity_, host, leaf->get());
    if (!context) return context.error();
    const auto renew_at = renewal_of(leaf->get());
    if (known != by_host_.end()) {
        entries_.front().context = std::move(*context);
        entries_.front().renew_at = renew_at;
        return entries_.front().context.get();
    }
    if (entries_.size() == capacity_) {
        by_host_.erase(entries_.back().host);
        entries_.pop_back();
    }
    entries_.push_front({host, std::move(*context), renew_at});
    by_host_.emplace(host, entries_.begin());
    return entries_.front().context.get();
}

}  // namespace sluice
