#include "certs/authority.hpp"

#include <sys/wait.h>

#include <set>

#include "tests/unit/certs_fixture.hpp"

using namespace sluice;
using namespace sluice::certs_test;

namespace {

constexpr auto a_day = 24h;

std::string extension(const X509* certificate, int nid) {
    const int at = X509_get_ext_by_NID(certificate, nid, -1);
    if (at < 0) return "absent";
    auto* extension = X509_get_ext(certificate, at);
    Owned<BIO, BIO_free_all> bio(BIO_new(BIO_s_mem()));
    X509V3_EXT_print(bio.get(), extension, 0, 0);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return (X509_EXTENSION_get_critical(extension) ? "critical " : "") + std::string(data, size);
}

/// As Python 3.13 verifies a server: X509_V_FLAG_X509_STRICT and PARTIAL_CHAIN.
std::string verify_strictly(X509* leaf, const X509* authority, const std::string& host) {
    Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), const_cast<X509*>(authority));
    Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
    X509_STORE_CTX_init(context.get(), store.get(), leaf, nullptr);
    auto* param = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str()) != 1)
        X509_VERIFY_PARAM_set1_host(param, host.c_str(), host.size());
    X509_verify_cert(context.get());
    ERR_clear_error();
    return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

CertResult<CertAuthority> persistent(const std::string& directory, WallTime at = now()) {
    std::string note;
    return CertAuthority::persistent(directory, at, note);
}

}  // namespace

TEST_CASE("our CA is a P-256 one that may sign leaves and nothing below them") {
    const auto authority = CertAuthority::make(now()).value();
    const auto* ca = authority.certificate();
    CHECK(X509_get_version(ca) == X509_VERSION_3);
    CHECK(extension(ca, NID_basic_constraints) == "critical CA:TRUE, pathlen:0");
    CHECK(extension(ca, NID_key_usage) == "critical Certificate Sign, CRL Sign");
    CHECK(extension(ca, NID_subject_key_identifier).size() == 20 * 3 - 1);
    CHECK(X509_get_signature_nid(ca) == NID_ecdsa_with_SHA256);
    CHECK(EVP_PKEY_get_bits(X509_get0_pubkey(ca)) == 256);
    CHECK(wall_time(X509_get0_notBefore(ca)) == now() - 1h);
    CHECK(wall_time(X509_get0_notAfter(ca)) == now() - 1h + 3650 * a_day);
    CHECK(authority.chain().empty());
}

TEST_CASE("two sidecars' CAs can be told apart by name") {
    const auto name = [] { return name_text(X509_get_subject_name(CertAuthority::make(now()).value().certificate())); };
    const auto first = name(), second = name();
    CHECK(first != second);
    CHECK(first.substr(0, 13) == "CN=Sluice CA ");
    CHECK(first.substr(13).find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(first.size() == 13 + 8);
}

TEST_CASE("a leaf says what it is for and no more") {
    const auto authority = an_authority();
    const auto key = a_key();
    const auto leaf = authority->mint("api.pay.example", key.get(), now()).value();
    CHECK(X509_get_version(leaf.get()) == X509_VERSION_3);
    CHECK(extension(leaf.get(), NID_basic_constraints) == "critical CA:FALSE");
    CHECK(extension(leaf.get(), NID_key_usage) == "critical Digital Signature");
    CHECK(extension(leaf.get(), NID_ext_key_usage) == "TLS Web Server Authentication");
    CHECK(extension(leaf.get(), NID_subject_alt_name) == "DNS:api.pay.example");
    CHECK(extension(leaf.get(), NID_subject_key_identifier).size() == 20 * 3 - 1);
    CHECK(extension(leaf.get(), NID_authority_key_identifier) ==
          extension(authority->certificate(), NID_subject_key_identifier));
    CHECK(name_text(X509_get_subject_name(leaf.get())) == "CN=api.pay.example");
    CHECK(X509_get_signature_nid(leaf.get()) == NID_ecdsa_with_SHA256);
}

TEST_CASE("a leaf for an address names the address") {
    const auto authority = an_authority();
    const auto key = a_key();
    const auto san = [&](const std::string& host) {
        return extension(authority->mint(host, key.get(), now()).value().get(), NID_subject_alt_name);
    };
    CHECK(san("192.0.2.7") == "IP Address:192.0.2.7");
    CHECK(san("2001:db8::7") == "IP Address:2001:DB8:0:0:0:0:0:7");
}

TEST_CASE("a host too long for a common name is named in the SAN alone") {
    const auto authority = an_authority();
    const auto key = a_key();
    const std::string fits = std::string(56, 'a') + ".example", too_long = std::string(57, 'a') + ".example";
    const auto subject = [&](const std::string& host) {
        const auto leaf = authority->mint(host, key.get(), now()).value();
        CHECK(extension(leaf.get(), NID_subject_alt_name) == "DNS:" + host);
        CHECK(verify_strictly(leaf.get(), authority->certificate(), host) == "ok");
        return name_text(X509_get_subject_name(leaf.get()));
    };
    CHECK(subject(fits) == "CN=" + fits);
    CHECK(subject(too_long) == "CN=sluice");
}

TEST_CASE("what is no single host gets no certificate") {
    const auto authority = an_authority();
    const auto key = a_key();
    for (const std::string& host :
         {std::string(""), std::string("*.example"), std::string("a,DNS:bank.example"), std::string("a\0.example", 10),
          std::string("a b"), std::string("\xc3\xa4.example"), std::string("a/b"), std::string(254, 'a')}) {
        CAPTURE(host);
        CHECK_FALSE(authority->mint(host, key.get(), now()).has_value());
    }
}

TEST_CASE("leaves verify strictly, as Python 3.13 does it") {
    const auto authority = an_authority();
    const auto key = a_key();
    for (const std::string host : {"api.pay.example", "192.0.2.7", "2001:db8::7", "localhost", "a_b.example"}) {
        CAPTURE(host);
        const auto leaf = authority->mint(host, key.get(), now()).value();
        CHECK(verify_strictly(leaf.get(), authority->certificate(), host) == "ok");
        CHECK(verify_strictly(leaf.get(), authority->certificate(), "other.example") == "hostname mismatch");
    }
}

TEST_CASE("serials are positive, of 128 bits, and never the same") {
    const auto authority = an_authority();
    const auto key = a_key();
    std::set<std::string> seen;
    int bits = 0;
    for (int i = 0; i < 100; ++i) {
        const auto leaf = authority->mint("a.example", key.get(), now()).value();
        const auto* serial = X509_get0_serialNumber(leaf.get());
        Owned<BIGNUM, BN_free> number(ASN1_INTEGER_to_BN(serial, nullptr));
        CHECK(BN_is_negative(number.get()) == 0);
        CHECK(BN_num_bits(number.get()) <= 128);
        bits = std::max(bits, BN_num_bits(number.get()));
        seen.emplace(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)), ASN1_STRING_length(serial));
    }
    CHECK(seen.size() == 100);
    CHECK(bits > 120);
}

TEST_CASE("a leaf begins an hour ago and lasts thirty days, but never longer than its CA") {
    const auto authority = an_authority();
    const auto key = a_key();
    const auto end = wall_time(X509_get0_notAfter(authority->certificate()));
    const auto at = now();
    const auto usual = authority->mint("a.example", key.get(), at).value();
    CHECK(wall_time(X509_get0_notBefore(usual.get())) == at - 1h);
    CHECK(wall_time(X509_get0_notAfter(usual.get())) == at - 1h + 30 * a_day);
    CHECK(renewal_of(usual.get()) == at - 1h + 20 * a_day);

    const auto late = authority->mint("a.example", key.get(), end - 2 * a_day).value();
    CHECK(wall_time(X509_get0_notAfter(late.get())) == end);

    const auto too_late = authority->mint("a.example", key.get(), end);
    REQUIRE_FALSE(too_late.has_value());
    CHECK(too_late.error().what.find("our CA ended on ") == 0);
}

TEST_CASE("a restarted sidecar has the CA it had") {
    TempDir directory;
    const auto first = persistent(directory / "state").value();
    const auto second = persistent(directory / "state", now() + 365 * a_day).value();
    CHECK(first.pem() == second.pem());
    CHECK(first.fresh());
    CHECK_FALSE(second.fresh());
    CHECK(X509_cmp(first.certificate(), second.certificate()) == 0);
    const auto key = a_key();
    CHECK(verify_strictly(second.mint("a.example", key.get(), now()).value().get(), first.certificate(), "a.example") ==
          "ok");
}

TEST_CASE("what is kept is for its owner alone, whatever the umask") {
    for (const mode_t mask : {0, 022, 077, 0777}) {
        CAPTURE(mask);
        TempDir directory;
        const mode_t old = ::umask(mask);
        const auto made = persistent(directory / "deep/state");
        ::umask(old);
        REQUIRE(fault_of(made) == "");
        CHECK(mode_of(directory / "deep/state") == 0700);
        CHECK(mode_of(directory / "deep/state/ca.key") == 0600);
        CHECK(mode_of(directory / "deep/state/ca.crt") == 0644);
        CHECK(read(directory / "deep/state/ca.key").find("-----BEGIN PRIVATE KEY-----") == 0);
        CHECK(read(directory / "deep/state/ca.crt") == made->pem());
    }
}

TEST_CASE("no temporary stays behind") {
    TempDir directory;
    REQUIRE(persistent(directory.path()).has_value());
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
        names.insert(entry.path().filename());
    CHECK(names == std::set<std::string>{"ca.crt", "ca.key", "ca.lock"});
}

TEST_CASE("a directory shared by a group is used, and the key in it is still private") {
    TempDir directory;
    REQUIRE(::chmod(directory.path().c_str(), 02770) == 0);  // as Kubernetes makes an emptyDir with fsGroup
    REQUIRE(fault_of(persistent(directory.path())) == "");
    CHECK(mode_of(directory.path()) == 02770);
    CHECK(mode_of(directory / "ca.key") == 0600);
    CHECK(fault_of(persistent(directory.path())) == "");
}

TEST_CASE("processes that start at once end up with the same pair") {
    TempDir directory;
    constexpr int processes = 6;
    for (int round = 0; round < 5; ++round) {
        const auto state = directory / ("round" + std::to_string(round) + "/deep/state");
        const auto seen = [&](int i) { return directory / ("seen." + std::to_string(i)); };
        int gate[2];
        REQUIRE(::pipe(gate) == 0);
        std::vector<pid_t> children;
        for (int i = 0; i < processes; ++i) {
            const pid_t child = ::fork();
            if (child == 0) {
                char go = 0;
                ::close(gate[1]);
                [[maybe_unused]] const auto opened = ::read(gate[0], &go, 1);  // all at once: when the parent closes it
                const auto mine = persistent(state);
                std::ofstream(seen(i)) << (mine ? mine->pem() : mine.error().what);
                ::_exit(0);
            }
            children.push_back(child);
        }
        ::close(gate[0]);
        ::close(gate[1]);
        for (const pid_t child : children) ::waitpid(child, nullptr, 0);
        const auto kept = persistent(state).value().pem();
        for (int i = 0; i < processes; ++i) CHECK(read(seen(i)) == kept);
    }
}

TEST_CASE("a start that was cut off after the key is completed over that key") {
    TempDir directory;
    REQUIRE(persistent(directory.path()).has_value());
    const auto key = read(directory / "ca.key");
    std::filesystem::remove(directory / "ca.crt");
    CHECK(fault_of(persistent(directory.path())) == "");
    CHECK((read(directory / "ca.key") == key));  // in parentheses: a key is never printed
}

TEST_CASE("a CA near its end is renewed over the same key, so that both vouch for the same leaves") {
    TempDir directory;
    const auto first = persistent(directory.path()).value();
    const auto end = wall_time(X509_get0_notAfter(first.certificate()));
    std::string note;
    const auto before = CertAuthority::persistent(directory.path(), end - 30 * a_day, note).value();
    CHECK(before.pem() == first.pem());
    CHECK(note.empty());

    const auto renewed = CertAuthority::persistent(directory.path(), end - 29 * a_day, note).value();
    CHECK(renewed.pem() != first.pem());
    CHECK(note.find("ca.crt ends on ") != std::string::npos);
    CHECK(note.find("was renewed") != std::string::npos);
    CHECK(renewed.fresh());
    CHECK(wall_time(X509_get0_notAfter(renewed.certificate())) > end + 365 * a_day);
    const auto key = a_key();
    const auto leaf = renewed.mint("a.example", key.get(), now()).value();
    CHECK(verify_strictly(leaf.get(), first.certificate(), "a.example") == "ok");

    note.clear();
    CHECK(CertAuthority::persistent(directory.path(), end - 29 * a_day, note).value().pem() == renewed.pem());
    CHECK(note.empty());
}

TEST_CASE("a CA that cannot be renewed serves until its end") {
    TempDir directory;
    const auto first = persistent(directory.path()).value();
    const auto end = wall_time(X509_get0_notAfter(first.certificate()));
    std::filesystem::remove(directory / "ca.lock");
    std::filesystem::create_directory(directory /
                                      "ca.lock");  // stands for a disk that cannot be written; root may always
    std::string note;
    CHECK(CertAuthority::persistent(directory.path(), end - 1 * a_day, note).value().pem() == first.pem());
    CHECK(note.find("could not be renewed: cannot lock ") != std::string::npos);
    CHECK(fault_of(CertAuthority::persistent(directory.path(), end, note)).find("ended on ") != std::string::npos);
}

TEST_CASE("a key that others may touch is refused with the command that mends it") {
    for (const mode_t mode : {0640, 0604, 0620, 0644, 0610}) {
        CAPTURE(mode);
        TempDir directory;
        REQUIRE(persistent(directory.path()).has_value());
        REQUIRE(::chmod((directory / "ca.key").c_str(), mode) == 0);
        const auto fault = fault_of(persistent(directory.path()));
        CHECK(fault.find("chmod 600 " + (directory / "ca.key")) != std::string::npos);
        REQUIRE(::chmod((directory / "ca.key").c_str(), 0600) == 0);
        CHECK(fault_of(persistent(directory.path())) == "");
    }
}

TEST_CASE("a key that another user has put there is refused, though nobody else may read it") {
    if (::geteuid() != 0) return;  // only root can give a file away
    TempDir directory;
    REQUIRE(persistent(directory.path()).has_value());
    REQUIRE(::chown((directory / "ca.key").c_str(), 65534, 65534) == 0);
    CHECK(fault_of(persistent(directory.path())).find("ca.key belongs to another user (65534)") != std::string::npos);
}

TEST_CASE("what is wrong with the pair on disk is said, and nothing is overwritten") {
    TempDir directory, other;
    REQUIRE(persistent(directory.path()).has_value());
    REQUIRE(persistent(other.path()).has_value());
    const auto key = read(directory / "ca.key"), cert = read(directory / "ca.crt");
    std::string expected;
    SECTION("the key of another") {
        directory.write("ca.key", read(other / "ca.key"));
        expected = (directory / "ca.key") + " is not the key of the certificate in " + (directory / "ca.crt");
    }
    SECTION("no key") {
        std::filesystem::remove(directory / "ca.key");
        expected = (directory / "ca.key") + " is missing, but its certificate";
    }
    SECTION("a key cut short") {
        directory.write("ca.key", key.substr(0, key.size() / 2));
        expected = (directory / "ca.key") + " holds no private key in PEM: ";
    }
    SECTION("an empty certificate") {
        directory.write("ca.crt", "");
        expected = (directory / "ca.crt") + " holds no certificate in PEM";
    }
    SECTION("a certificate cut short") {
        directory.write("ca.crt", cert.substr(0, cert.size() / 2));
        expected = (directory / "ca.crt") + ": certificate 1 cannot be read: ";
    }
    SECTION("a key that is a directory") {
        std::filesystem::remove(directory / "ca.key");
        std::filesystem::create_directory(directory / "ca.key");
        expected = "cannot read " + (directory / "ca.key") + ": it is no regular file";
    }
    SECTION("a key that is a pipe: not waited for") {
        std::filesystem::remove(directory / "ca.key");
        REQUIRE(::mkfifo((directory / "ca.key").c_str(), 0600) == 0);
        expected = "cannot read " + (directory / "ca.key") + ": it is no regular file";
    }
    const auto before = read(directory / "ca.crt");
    const auto fault = fault_of(persistent(directory.path()));
    CHECK(fault.substr(0, expected.size()) == expected);
    CHECK(fault.find("BEGIN") == fault.rfind("BEGIN CERTIFICATE"));  // no part of a key
    CHECK(read(directory / "ca.crt") == before);
}

TEST_CASE("a state that cannot be a directory is named") {
    TempDir directory;
    directory.write("state", "a file");
    CHECK(fault_of(persistent(directory / "state")) == (directory / "state") + " is no directory");
    CHECK(fault_of(persistent(directory / "state/below")).find("cannot use directory") == 0);
}

TEST_CASE("a CA of the operator's own signs, and its chain is presented without the root") {
    TempDir directory;
    const auto root = a_root("Corporate Root");
    const Recipe issuing{"Corporate Issuing",
                         {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"}, {NID_key_usage, "keyCertSign"}}};
    const auto middle = signed_by(root, issuing);
    const auto certs = directory.write("ca.pem", middle.certificate_pem() + root.certificate_pem(), 0644);
    const auto authority =
        CertAuthority::given(certs, directory.write("ca.key", middle.key_pem(), 0440), now()).value();
    CHECK(authority.pem() == middle.certificate_pem() + root.certificate_pem());
    REQUIRE(authority.chain().size() == 1);
    CHECK(X509_cmp(authority.chain().front().get(), middle.certificate.get()) == 0);

    const auto identity = LeafIdentity::make(std::make_shared<const CertAuthority>(
        std::move(CertAuthority::given(certs, directory / "ca.key", now()).value())));
    LeafCache leaves(identity.value());
    const auto application = trusting(directory, root.certificate_pem());
    CHECK(connect(application.get(), leaves.context("a.example", now()).value(), "a.example") == "");
}

TEST_CASE("RSA and Ed25519 authorities sign too") {
    for (const char* type : {"RSA", "ED25519"}) {
        CAPTURE(type);
        TempDir directory;
        KeyPtr key(std::string(type) == "RSA" ? EVP_RSA_gen(2048) : EVP_PKEY_Q_keygen(nullptr, nullptr, type));
        Recipe recipe{"Theirs", {{NID_basic_constraints, "critical,CA:TRUE"}}};
        auto signer = a_key();
        auto certificate = certify(recipe, key.get(), nullptr, signer.get());
        REQUIRE(X509_sign(certificate.get(), key.get(), std::string(type) == "RSA" ? EVP_sha256() : nullptr) > 0);
        const auto authority = CertAuthority::given(directory.write("c", pem_of(certificate.get())),
                                                    directory.write("k", pem(key.get())), now());
        REQUIRE(fault_of(authority) == "");
        const auto leaf_key = a_key();
        const auto leaf = authority->mint("a.example", leaf_key.get(), now()).value();
        CHECK(X509_verify(leaf.get(), key.get()) == 1);
    }
}

TEST_CASE("a CA that may not sign is refused in words") {
    struct Case {
        const char* what;
        Recipe recipe;
        const char* words;
    };
    const std::vector<Case> cases{
        {"a leaf", {"x", {{NID_basic_constraints, "critical,CA:FALSE"}}}, "is no certificate authority"},
        {"without constraints", {"x", {}}, "is no certificate authority"},
        {"without keyCertSign",
         {"x", {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_key_usage, "digitalSignature"}}},
         "its keyUsage lacks keyCertSign"},
        {"ended", {"x", {{NID_basic_constraints, "CA:TRUE"}}, now() - 2 * a_day, now() - a_day}, "ended on "},
        {"ends now", {"x", {{NID_basic_constraints, "CA:TRUE"}}, now() - 2 * a_day, now()}, "ended on "},
        {"not begun",
         {"x", {{NID_basic_constraints, "CA:TRUE"}}, now() + a_day, now() + 2 * a_day},
         "is not valid before "},
    };
    for (const auto& c : cases) {
        CAPTURE(c.what);
        TempDir directory;
        const auto identity = self_signed(c.recipe);
        const auto fault = fault_of(CertAuthority::given(directory.write("ca.pem", identity.certificate_pem()),
                                                         directory.write("ca.key", identity.key_pem()), now()));
        CHECK(fault.find(directory / "ca.pem") == 0);
        CHECK(fault.find(c.words) != std::string::npos);
    }
}

TEST_CASE("a given pair or chain that does not belong together is refused") {
    TempDir directory;
    const auto root = a_root(), stranger = a_root("Stranger");
    const auto cert = directory.write("ca.pem", root.certificate_pem());
    CHECK(fault_of(CertAuthority::given(cert, directory.write("k", stranger.key_pem()), now())) ==
          (directory / "k") + " is not the key of the certificate in " + cert +
              ": put the pair that belongs together there");
    directory.write("ca.pem", root.certificate_pem() + stranger.certificate_pem());
    CHECK(fault_of(CertAuthority::given(cert, directory.write("k", root.key_pem()), now())) ==
          cert +
              ": certificate 2 did not issue the one before it: the file holds the issuing CA first, then its chain");
    CHECK(fault_of(CertAuthority::given(directory / "none", directory / "k", now())) ==
          "cannot read " + (directory / "none") + ": No such file or directory");
}

TEST_CASE("an encrypted key is refused, not asked about on the terminal") {
    TempDir directory;
    const auto root = a_root();
    Owned<BIO, BIO_free_all> bio(BIO_new(BIO_s_mem()));
    char phrase[] = "open sesame";
    REQUIRE(PEM_write_bio_PKCS8PrivateKey(bio.get(), root.key.get(), EVP_aes_128_cbc(), phrase, 11, nullptr, nullptr));
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    const auto key = directory.write("ca.key", {data, static_cast<std::size_t>(size)});
    const auto fault = fault_of(CertAuthority::given(directory.write("ca.pem", root.certificate_pem()), key, now()));
    CHECK(fault.find(key + " is encrypted") == 0);
}

TEST_CASE("no work with certificates leaves an error for the thread's next TLS operation to trip over") {
    TempDir directory;
    ERR_clear_error();
    REQUIRE(persistent(directory.path()).has_value());
    REQUIRE(persistent(directory.path()).has_value());
    CHECK(ERR_peek_error() == 0);
    directory.write("bad", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    CHECK_FALSE(CertAuthority::given(directory / "bad", directory / "ca.key", now()).has_value());
    CHECK_FALSE(CertAuthority::given(directory / "ca.crt", directory / "bad", now()).has_value());
    directory.write("stranger", a_root().key_pem());
    CHECK_FALSE(CertAuthority::given(directory / "ca.crt", directory / "stranger", now()).has_value());
    CHECK(ERR_peek_error() == 0);
    const auto authority = an_authority();
    const auto key = a_key();
    REQUIRE(authority->mint("a.example", key.get(), now()).has_value());
    CHECK(ERR_peek_error() == 0);
}
