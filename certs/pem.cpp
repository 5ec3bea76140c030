#include "certs/pem.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <ctime>
#include <utility>

#include "proxy/base/wiped_frees.hpp"

namespace sluice {
namespace {

using BioPtr = Owned<BIO, BIO_free_all>;

/// OpenSSL's own callback would ask on the terminal.
int refuse_passphrase(char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
}

BioPtr reader_of(std::string_view bytes) {
    return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::string_view written_to(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

bool at_end_of_pem() {
    const auto error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

}  // namespace

CertResult<std::vector<X509Ptr>> parse_certificates(std::string_view pem, const std::string& place) {
    const auto bio = reader_of(pem);
    std::vector<X509Ptr> certificates;
    bool asked = false;
    ERR_clear_error();
    while (auto* certificate = PEM_read_bio_X509_AUX(bio.get(), nullptr, refuse_passphrase, &asked))
        certificates.emplace_back(certificate);
    if (!at_end_of_pem()) {
        const auto which = std::to_string(certificates.size() + 1);
        return CertFault{place + ": certificate " + which + " cannot be read: " + take_openssl_reason()};
    }
    ERR_clear_error();
    if (certificates.empty()) return CertFault{place + " holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"};
    return certificates;
}

CertResult<std::vector<X509Ptr>> read_certificates(const std::string& path) {
    const auto bytes = read_public_file(path);
    if (!bytes) return bytes.error();
    return parse_certificates(*bytes, path);
}

CertResult<KeyPtr> read_key(const std::string& path, Privacy privacy) {
    const auto bytes = read_secret_file(path, privacy);
    if (!bytes) return bytes.error();
    return parse_key(bytes->reveal(), path);
}

CertResult<KeyPtr> parse_key(std::string_view pem, const std::string& place) {
    const auto bio = reader_of(pem);
    bool asked = false;
    ERR_clear_error();
    KeyPtr key;
    {
        const WipedFrees wiped;
        key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse_passphrase, &asked));
    }
    const auto reason = take_openssl_reason();
    if (key) return key;
    if (asked)
        return CertFault{place + " is encrypted, and nobody is there to type a passphrase: openssl pkey -in " + place};
    return CertFault{place + " holds no private key in PEM: " + reason};
}

CertResult<KeyPtr> own_key(const X509* certificate, CertResult<KeyPtr> key, const std::string& cert_place, const std::string& key_place) {
    if (!key || X509_check_private_key(certificate, key->get()) == 1) return key;
    ERR_clear_error();
    return CertFault{key_place + " is not the key of the first certificate in " + cert_place};
}

CertResult<KeyPtr> read_key_of(const X509* certificate, const std::string& cert_file, const std::string& key_file) {
    return own_key(certificate, read_key(key_file, Privacy::as_mounted), cert_file, key_file);
}

std::string pem_of(const X509* certificate) {
    BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    return std::string(written_to(bio.get()));
}

Secret pem_of(EVP_PKEY* key) {
    const WipedFrees wiped;
    BioPtr bio(BIO_new(BIO_s_secmem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return Secret(std::string(written_to(bio.get())));
}

std::string take_openssl_reason() {
    const auto error = ERR_peek_error();
    const char* reason = error ? ERR_reason_error_string(error) : nullptr;
    std::string text = reason ? reason : error ? "error " + std::to_string(error) : "OpenSSL gives no reason";
    ERR_clear_error();
    return text;
}

std::string name_text(const X509_NAME* name) {
    BioPtr bio(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
    constexpr std::size_t most = 200;
    const auto text = written_to(bio.get());
    return text.empty() ? "(no name)" : std::string(text.substr(0, most));
}

WallTime wall_time(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return WallTime{};
    return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

std::string date_text(const ASN1_TIME* time) {
    std::tm parts{};
    char text[16] = "an unknown date";
    if (ASN1_TIME_to_tm(time, &parts) == 1) std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
    return text;
}

}  // namespace sluice
