#include "certs/bundle.hpp"

#include <openssl/pkcs12.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "tests/unit/certs_fixture.hpp"

using namespace sluice;
using namespace sluice::certs_test;

namespace {

Published published(const CertAuthority& authority, const std::string& directory) {
    const auto result = publish(authority, directory);
    REQUIRE(fault_of(result) == "");
    return *result;
}

/// Some roots to stand for the system's.
std::string some_roots(int count) {
    std::string pem;
    for (int i = 0; i < count; ++i) pem += a_root("Root " + std::to_string(i)).certificate_pem();
    return pem;
}

std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

ino_t file_number(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_ino;
}

std::string output_of(const std::string& command) {
    std::string output;
    auto* pipe = ::popen((command + " 2>&1 </dev/null").c_str(), "r");
    REQUIRE(pipe);
    char part[4096];
    while (const auto got = std::fread(part, 1, sizeof part, pipe)) output.append(part, got);
    ::pclose(pipe);
    return output;
}

}  // namespace

TEST_CASE("the bundle is the system's roots and our CA, the CA file ours alone") {
    TempDir directory;
    const auto roots = directory.write("roots.pem", some_roots(3));
    Environment system("SSL_CERT_FILE", roots.c_str());
    const auto authority = an_authority();
    const auto files = published(*authority, directory / "public/ca");
    CHECK(files.ca_crt == directory / "public/ca/ca.crt");
    CHECK(files.bundle_pem == directory / "public/ca/bundle.pem");
    CHECK(files.truststore_p12 == directory / "public/ca/truststore.p12");
    CHECK(ERR_peek_error() == 0);
    CHECK(read(files.ca_crt) == authority->pem());
    CHECK(read(files.bundle_pem) == read(roots) + authority->pem());
}

TEST_CASE("everyone may read what is published, whatever the umask") {
    for (const mode_t mask : {0, 022, 077}) {
        TempDir directory;
        const mode_t old = ::umask(mask);
        const auto files = published(*an_authority(), directory / "public");
        ::umask(old);
        CHECK(mode_of(directory / "public") == 0755);
        for (const auto& file : {files.ca_crt, files.bundle_pem, files.truststore_p12}) CHECK(mode_of(file) == 0644);
        const std::filesystem::directory_iterator entries(directory / "public");
        CHECK(std::distance(begin(entries), end(entries)) == 3);
    }
}

TEST_CASE("nothing private is published, not even what stood among the system's roots") {
    TempDir directory;
    const auto careless = a_root("Careless");
    const auto roots = directory.write("roots.pem", careless.key_pem() + careless.certificate_pem());
    Environment system("SSL_CERT_FILE", roots.c_str());
    const auto files = published(*an_authority(), directory / "public");
    for (const auto& file : {files.ca_crt, files.bundle_pem}) {
        CHECK(read(file).find("PRIVATE KEY") == std::string::npos);
        CHECK(count_of(read(file), "-----BEGIN ") == count_of(read(file), "-----BEGIN CERTIFICATE-----"));
    }
    const auto der = read(files.truststore_p12);
    const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
    Owned<PKCS12, PKCS12_free> store(d2i_PKCS12(nullptr, &bytes, static_cast<long>(der.size())));
    REQUIRE(store);
    EVP_PKEY* key = nullptr;
    X509* certificate = nullptr;
    STACK_OF(X509)* others = nullptr;
    REQUIRE(PKCS12_parse(store.get(), "changeit", &key, &certificate, &others) == 1);
    CHECK(key == nullptr);
    CHECK(certificate == nullptr);
    CHECK(sk_X509_num(others) == 2);
    sk_X509_pop_free(others, X509_free);
}

TEST_CASE("files that would not change are left alone") {
    TempDir directory;
    const auto roots = directory.write("roots.pem", some_roots(2));
    Environment system("SSL_CERT_FILE", roots.c_str());
    const auto authority = an_authority();
    const auto files = published(*authority, directory.path());
    const auto numbers = [&] {
        return std::vector{file_number(files.ca_crt), file_number(files.bundle_pem), file_number(files.truststore_p12)};
    };
    const auto before = numbers();
    // Held open, so that a new file cannot be given an old one's number.
    std::ifstream hold_crt(files.ca_crt), hold_pem(files.bundle_pem), hold_p12(files.truststore_p12);
    published(*authority, directory.path());
    CHECK(numbers() == before);

    directory.write("roots.pem", some_roots(2));
    published(*authority, directory.path());
    const auto after = numbers();
    CHECK(after[0] == before[0]);
    CHECK(after[1] != before[1]);
    CHECK(after[2] != before[2]);
}

TEST_CASE("what was damaged is written anew") {
    TempDir directory;
    const auto authority = an_authority();
    const auto files = published(*authority, directory.path());
    const auto store = read(files.truststore_p12);
    directory.write("ca.crt", "");
    directory.write("truststore.p12", store.substr(0, 100));
    published(*authority, directory.path());
    CHECK(read(files.ca_crt) == authority->pem());
    CHECK(read(files.truststore_p12) == store);
}

TEST_CASE("each certificate is published once") {
    TempDir directory;
    const auto authority = an_authority();
    const auto root = a_root().certificate_pem();
    const auto roots = directory.write("roots.pem", root + authority->pem() + root);
    Environment system("SSL_CERT_FILE", roots.c_str());
    CHECK(read(published(*authority, directory / "public").bundle_pem) == root + authority->pem());
}

TEST_CASE("our own bundle, named by the environment, is not taken for the system's") {
    TempDir directory;
    published(*an_authority(), directory.path());  // of an earlier life
    const auto earlier = read(directory / "ca.crt");
    Environment system("SSL_CERT_FILE", (directory / "bundle.pem").c_str());
    published(*an_authority(), directory.path());
    CHECK(read(directory / "bundle.pem").find(earlier) == std::string::npos);
}

TEST_CASE("roots that cannot be read are named, and nothing is published") {
    TempDir directory;
    const auto missing = directory / "none.pem";
    Environment system("SSL_CERT_FILE", missing.c_str());
    CHECK(system_roots_file() == missing);
    CHECK(fault_of(publish(*an_authority(), directory / "public")) ==
          "cannot read " + missing + ": No such file or directory");
    CHECK(is_absent(directory / "public/ca.crt"));
}

TEST_CASE("a place that cannot hold the files is named") {
    TempDir directory;
    directory.write("public", "a file");
    CHECK(fault_of(publish(*an_authority(), directory / "public")) == (directory / "public") + " is no directory");
    std::filesystem::create_directories(directory / "other/ca.crt/full");
    CHECK(
        fault_of(publish(*an_authority(), directory / "other")).find("cannot write " + (directory / "other/ca.crt")) ==
        0);
}

TEST_CASE("a file that could not take its place does not stay beside it") {
    TempDir directory;
    std::filesystem::create_directories(directory / "ca.crt/full");
    REQUIRE_FALSE(publish(*an_authority(), directory.path()).has_value());
    const std::filesystem::directory_iterator entries(directory.path());
    CHECK(std::distance(begin(entries), end(entries)) == 1);
}

TEST_CASE("without SSL_CERT_FILE the system's own file is found") {
    Environment system("SSL_CERT_FILE", nullptr);
    const auto found = system_roots_file();
    CHECK((found.empty() || !is_absent(found)));
    if (!is_absent("/etc/ssl/certs/ca-certificates.crt")) CHECK(found == "/etc/ssl/certs/ca-certificates.crt");
}

TEST_CASE("names in the trust store are told apart and cannot carry control characters") {
    TempDir directory;
    const std::string name = "evil\n\x01\xc3\xa4name";
    const auto roots = directory.write("roots.pem", a_root(name).certificate_pem() + a_root(name).certificate_pem());
    Environment system("SSL_CERT_FILE", roots.c_str());
    const auto der = read(published(*an_authority(), directory / "public").truststore_p12);
    const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
    Owned<PKCS12, PKCS12_free> store(d2i_PKCS12(nullptr, &bytes, static_cast<long>(der.size())));
    auto* safes = PKCS12_unpack_authsafes(store.get());
    REQUIRE(sk_PKCS7_num(safes) == 1);
    auto* bags = PKCS12_unpack_p7data(sk_PKCS7_value(safes, 0));
    std::vector<std::string> names;
    for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags); ++i) {
        char* text = PKCS12_get_friendlyname(sk_PKCS12_SAFEBAG_value(bags, i));
        names.emplace_back(text);
        OPENSSL_free(text);
    }
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    REQUIRE(names.size() == 3);
    CHECK(names[0].find("evil????name [") == 0);
    CHECK(names[0] != names[1]);
    CHECK(names[2].find("Sluice CA ") == 0);
}

TEST_CASE("Java sees every certificate of the trust store, with the password and without") {
    if (output_of("command -v keytool").empty()) {
        WARN("NOT TESTED: there is no keytool on this machine (apt-get install openjdk-17-jre-headless)");
        return;
    }
    TempDir directory;
    const auto roots = directory.write("roots.pem", some_roots(5));
    Environment system("SSL_CERT_FILE", roots.c_str());
    const auto authority = an_authority();
    const auto files = published(*authority, directory / "public");
    const auto name = name_text(X509_get_subject_name(authority->certificate())).substr(3);
    std::string lower_name = name;
    std::transform(name.begin(), name.end(), lower_name.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto list = "keytool -list -keystore " + files.truststore_p12;
    for (const auto& command : {list + " -storepass changeit", list}) {
        const auto output = output_of(command);
        CAPTURE(command, output);
        CHECK(count_of(output, "trustedCertEntry") == 6);
        CHECK(count_of(output, lower_name) == 1);
    }
    CHECK(output_of(list + " -storepass changeit").find("NOT been verified") == std::string::npos);
    CHECK(output_of(list + " -storepass wrong").find("Integrity check failed") != std::string::npos);
}
