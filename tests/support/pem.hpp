// Keys and certificates as the files and documents hold them that tests write.
#pragma once

#include <openssl/pem.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace sluice::testing {

/// PEM of whatever `write` writes.
template <class Write>
std::string pem(Write write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
    if (write(memory.get()) != 1) throw std::runtime_error("no PEM");
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}

inline std::string pem_of_key(EVP_PKEY* key) {
    return pem([key](BIO* out) { return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

/// As a JSON document holds it.
inline std::string on_one_line(std::string pem) {
    for (std::size_t at = 0; (at = pem.find('\n', at)) != pem.npos;) pem.replace(at, 1, "\\n");
    return pem;
}

}  // namespace sluice::testing
