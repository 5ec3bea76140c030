// A client certificate with its key that is in memory, because it is in no file: from Vault, or the environment. Made on the
// thread that fetches it, shared by all that show it, never changed.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "certs/authority.hpp"

namespace sluice {

struct ClientCertificate {
    std::vector<X509Ptr> chain;  // its own first
    KeyPtr key;
    WallTime ends{};
    std::array<std::uint64_t, 2> identity{};  // half a SHA-256 of the chain: another one, another number
};

/// Of PEM texts that belong together. A fault names `cert_place` or `key_place`, never the content.
CertResult<std::shared_ptr<const ClientCertificate>> parse_client_certificate(std::string_view cert, std::string_view key,
                                                                              const std::string& cert_place,
                                                                              const std::string& key_place);

/// On one connection, before its handshake, whatever its context has.
bool show_certificate(SSL* ssl, const ClientCertificate& certificate);

/// Whose it is: one line, as name_text (pem.hpp).
std::string subject_of(const ClientCertificate& certificate);

}  // namespace sluice
