#include "certs/trust.hpp"

#include <openssl/sha.h>

#include "tests/unit/certs_fixture.hpp"

using namespace sluice;
using namespace sluice::certs_test;

namespace {

constexpr auto a_day = 24h;

std::string pin_of(const Identity& identity) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(identity.key.get(), &der);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(der, static_cast<std::size_t>(size), digest);
    OPENSSL_free(der);
    return {reinterpret_cast<const char*>(digest), sizeof digest};
}

/// Root, intermediate, and a vendor's certificate under it.
struct Hierarchy {
    Identity root = a_root("Vendor Root");
    Identity middle = signed_by(root, {"Vendor Issuing", {{NID_basic_constraints, "critical,CA:TRUE"}}});
    Identity leaf = signed_by(middle, for_host("api.pay.example"));
    SslCtxPtr server = serving(leaf, {&middle});
};

/// Our end of a handshake, against bytes that no TLS library would send.
struct Alone {
    SslPtr ssl;
    Owned<BIO, BIO_free_all> peer;

    explicit Alone(SSL_CTX* context) : ssl(SSL_new(context)) {
        BIO *near = nullptr, *far = nullptr;
        REQUIRE(BIO_new_bio_pair(&near, 1 << 16, &far, 1 << 16) == 1);
        peer.reset(far);
        SSL_set_bio(ssl.get(), near, near);
        SSL_set_connect_state(ssl.get());
        REQUIRE(expect_host(ssl.get(), "api.pay.example", false));
        REQUIRE(SSL_do_handshake(ssl.get()) == -1);
    }
    void answer(const std::string& bytes) {
        REQUIRE(BIO_write(peer.get(), bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size()));
    }
    void hang_up() { BIO_shutdown_wr(peer.get()); }
    std::string fault() {
        ERR_clear_error();
        const bool done = SSL_do_handshake(ssl.get()) == 1;
        return done ? "" : verification_fault(ssl.get(), "api.pay.example");
    }
};

std::string the_day(WallTime time) {
    const auto seconds = std::chrono::system_clock::to_time_t(time);
    char text[16];
    std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&seconds));
    return text;
}

}  // namespace

TEST_CASE("a vendor under a trusted root is who it says it is") {
    TempDir directory;
    const Hierarchy vendor;
    const auto client = trusting(directory, vendor.root.certificate_pem());
    CHECK(connect(client.get(), vendor.server.get(), "api.pay.example") == "");
}

TEST_CASE("an intermediate or the very certificate can be the one thing trusted") {
    TempDir directory;
    const Hierarchy vendor;
    const auto by_middle = trusting(directory, vendor.middle.certificate_pem());
    CHECK(connect(by_middle.get(), vendor.server.get(), "api.pay.example") == "");
    const auto by_leaf = trusting(directory, vendor.leaf.certificate_pem());
    CHECK(connect(by_leaf.get(), vendor.server.get(), "api.pay.example") == "");
    CHECK(connect(by_leaf.get(), vendor.server.get(), "other.example").find("the certificate is not valid for ") == 0);
}

TEST_CASE("what a certificate lacks is said in words") {
    TempDir directory;
    const auto root = a_root("Vendor Root"), stranger = a_root("Stranger");
    const auto client = trusting(directory, root.certificate_pem());
    const auto fault = [&](const Recipe& recipe) {
        return connect(client.get(), serving(signed_by(root, recipe)).get(), "api.pay.example");
    };
    auto recipe = for_host("api.pay.example");
    CHECK(fault(recipe) == "");

    recipe.until = now() - a_day;
    recipe.from = now() - 2 * a_day;
    CHECK(fault(recipe) == "the certificate ended on " + the_day(recipe.until));

    recipe.from = now() + a_day;
    recipe.until = now() + 2 * a_day;
    CHECK(fault(recipe) ==
          "the certificate is not valid before " + the_day(recipe.from) + ": is this machine's clock right?");

    CHECK(fault(for_host("other.example")) ==
          "the certificate is not valid for api.pay.example, only for other.example");
    CHECK(fault({"many", {{NID_subject_alt_name, "DNS:a.example,DNS:b.example,DNS:c.example,DNS:d.example"}}}) ==
          "the certificate is not valid for api.pay.example, only for a.example, b.example, c.example, ...");
    CHECK(fault({"mixed", {{NID_subject_alt_name, "IP:192.0.2.1,DNS:192.0.2.2,email:a@b.example,IP:2001:db8::1"}}}) ==
          "the certificate is not valid for api.pay.example, only for 192.0.2.1, 192.0.2.2 (written as a DNS name), "
          "2001:db8::1");
    CHECK(fault({"api.pay.example", {}}) == "the certificate is not valid for api.pay.example");  // RFC 9525: no CN
    CHECK(fault({"w", {{NID_subject_alt_name, "DNS:*.pay.example"}}}) == "");
    CHECK(fault({"w", {{NID_subject_alt_name, "DNS:a*.pay.example"}}}).find("the certificate is not valid for ") == 0);
    CHECK(fault({"w", {{NID_subject_alt_name, "DNS:*.example"}}}).find("the certificate is not valid for ") == 0);

    CHECK(fault({"c", {{NID_subject_alt_name, "DNS:api.pay.example"}, {NID_ext_key_usage, "clientAuth"}}}) ==
          "the certificate is not one for TLS servers");

    CHECK(connect(client.get(), serving(self_signed(for_host("api.pay.example"))).get(), "api.pay.example") ==
          "the certificate is self-signed and not among the trusted ones: CN=api.pay.example");
    const auto foreign = signed_by(stranger, for_host("api.pay.example"));
    CHECK(connect(client.get(), serving(foreign).get(), "api.pay.example") == "the issuer is not trusted: CN=Stranger");
    CHECK(connect(client.get(), serving(foreign, {&stranger}).get(), "api.pay.example") ==
          "the issuer is not trusted: CN=Stranger");
}

TEST_CASE("an issuer's fault is told from the vendor's own") {
    TempDir directory;
    const auto root = a_root("Vendor Root");
    Recipe ended{"Old Issuing", {{NID_basic_constraints, "critical,CA:TRUE"}}, now() - 2 * a_day, now() - a_day};
    const auto middle = signed_by(root, ended);
    const auto leaf = signed_by(middle, for_host("api.pay.example"));
    const auto client = trusting(directory, root.certificate_pem());
    CHECK(connect(client.get(), serving(leaf, {&middle}).get(), "api.pay.example") ==
          "the issuer's certificate (CN=Old Issuing) ended on " + the_day(ended.until));
}

TEST_CASE("names out of certificates cannot forge a line of the log") {
    TempDir directory;
    const auto client = trusting(directory, a_root().certificate_pem());
    auto recipe = for_host("api.pay.example");
    recipe.name = "evil\r\n{\"level\":\"info\"}\x1b[2J";
    const auto fault = connect(client.get(), serving(self_signed(recipe)).get(), "api.pay.example");
    CHECK(fault.find("the certificate is self-signed") == 0);
    for (const unsigned char c : fault) CHECK((c >= 0x20 && c < 0x7f));
}

TEST_CASE("a vendor that is too old is told by its version") {
    TempDir directory;
    const Hierarchy vendor;
    const auto client = trusting(directory, vendor.root.certificate_pem());
    for (const auto& [minor, words] : {std::pair{'\x01', "TLS 1.0"}, std::pair{'\x02', "TLS 1.1"}}) {
        Alone alone(client.get());
        // What a server answers that has never heard of supported_versions: a ServerHello of its own best version.
        const std::string version{'\x03', minor};
        alone.answer(std::string("\x16") + version + std::string("\x00\x2a", 2) + std::string("\x02\x00\x00\x26", 4) +
                     version + std::string(32, 'r') + std::string("\x00\xc0\x09\x00", 4));
        CHECK(alone.fault() == std::string("the vendor offers only ") + words + ", the policy asks for 1.2 at least");
    }
    REQUIRE(SSL_CTX_set_max_proto_version(vendor.server.get(), TLS1_1_VERSION) == 1);
    CHECK(connect(client.get(), vendor.server.get(), "api.pay.example") ==
          "the vendor offers only older versions of TLS, the policy asks for 1.2 at least");
    TlsRules rules;
    rules.min = TlsRules::Version::tls13;
    const auto strict = trusting(directory, vendor.root.certificate_pem(), rules);
    REQUIRE(SSL_CTX_set_max_proto_version(vendor.server.get(), TLS1_2_VERSION) == 1);
    CHECK(connect(strict.get(), vendor.server.get(), "api.pay.example") ==
          "the vendor offers only older versions of TLS, the policy asks for 1.3 at least");
    CHECK(connect(client.get(), vendor.server.get(), "api.pay.example") == "");
    REQUIRE(SSL_CTX_set_max_proto_version(vendor.server.get(), TLS1_3_VERSION) == 1);
    CHECK(connect(strict.get(), vendor.server.get(), "api.pay.example") == "");
}

TEST_CASE("a handshake that fails for another reason is explained as far as OpenSSL knows") {
    TempDir directory;
    const Hierarchy vendor;
    const auto client = trusting(directory, vendor.root.certificate_pem());

    SECTION("no cipher in common") {
        SSL_CTX_set_max_proto_version(vendor.server.get(), TLS1_2_VERSION);
        REQUIRE(SSL_CTX_set_cipher_list(vendor.server.get(), "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0") == 1);
        CHECK(connect(client.get(), vendor.server.get(), "api.pay.example")
                  .find("the vendor refused the handshake: no cipher in common") == 0);
    }
    SECTION("a client certificate is asked for") {
        SSL_CTX_set_verify(vendor.server.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        Joined joined(client.get(), vendor.server.get());
        REQUIRE(expect_host(joined.client.get(), "api.pay.example", false));
        CHECK_FALSE(joined.shake("api.pay.example"));
        char byte = 0;  // in TLS 1.3 the client is done before the server judges: the alert comes with the first read
        ERR_clear_error();
        CHECK(SSL_read(joined.client.get(), &byte, 1) <= 0);
        CHECK(verification_fault(joined.client.get(), "api.pay.example") ==
              "the vendor wants a client certificate, and the policy has none for it: write tls: {client: {cert: {file: "
              "...}, key: {file: ...}}} (alert 116)");
    }
    SECTION("what answers speaks plain HTTP") {
        Alone alone(client.get());
        alone.answer("HTTP/1.1 400 Bad Request\r\n\r\n");
        CHECK(alone.fault() == "what answers there does not speak TLS");
    }
    SECTION("the vendor hangs up") {
        Alone alone(client.get());
        alone.hang_up();
        CHECK(alone.fault() == "the vendor closed the connection during the TLS handshake");
        ERR_clear_error();
        CHECK(verification_fault(alone.ssl.get(), "api.pay.example") ==
              "the connection was closed during the TLS handshake");
    }
    ERR_clear_error();
}

TEST_CASE("pins hold on any certificate of the verified chain, and break the handshake where they do not") {
    const Hierarchy vendor;
    const auto stranger = a_root("Stranger");
    struct Case {
        const char* what;
        std::vector<std::string> pins;
        bool holds;
    };
    const std::vector<Case> cases{
        {"none", {}, true},
        {"the leaf", {pin_of(vendor.leaf)}, true},
        {"the intermediate", {pin_of(vendor.middle)}, true},
        {"the root, which was not sent", {pin_of(vendor.root)}, true},
        {"one of two", {pin_of(stranger), pin_of(vendor.leaf)}, true},
        {"another", {pin_of(stranger)}, false},
        {"a prefix", {pin_of(vendor.leaf).substr(0, 31)}, false},
    };
    for (const auto& c : cases) {
        CAPTURE(c.what);
        TempDir directory;
        TlsRules rules;
        rules.pins = c.pins;
        const auto client = trusting(directory, vendor.root.certificate_pem(), rules);
        Joined joined(client.get(), vendor.server.get());
        REQUIRE(expect_host(joined.client.get(), "api.pay.example", false));
        CHECK(joined.shake("api.pay.example") == c.holds);
        CHECK(joined.fault == (c.holds ? "" : "no certificate of the vendor's chain matches tls.pin"));
    }
}

TEST_CASE("a certificate that was sent but is no part of the verified chain satisfies no pin") {
    TempDir directory;
    const Hierarchy vendor;
    const auto pinned = a_root("Pinned");
    const auto server = serving(vendor.leaf, {&vendor.middle, &pinned});
    TlsRules rules;
    rules.pins = {pin_of(pinned)};
    const auto client = trusting(directory, vendor.root.certificate_pem(), rules);
    CHECK(connect(client.get(), server.get(), "api.pay.example") ==
          "no certificate of the vendor's chain matches tls.pin");
}

TEST_CASE("a session resumes for its host under its rules, its pins among them") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        TempDir directory;
        const Hierarchy vendor;
        SSL_CTX_set_max_proto_version(vendor.server.get(), version);
        TlsRules rules;
        rules.pins = {pin_of(vendor.leaf)};
        const auto client = trusting(directory, vendor.root.certificate_pem(), rules);
        Joined first(client.get(), vendor.server.get());
        REQUIRE(expect_host(first.client.get(), "api.pay.example", false));
        REQUIRE(first.shake("api.pay.example"));
        const SessionPtr session(SSL_get1_session(first.client.get()));

        Joined second(client.get(), vendor.server.get());
        REQUIRE(expect_host(second.client.get(), "api.pay.example", false));
        REQUIRE(SSL_set_session(second.client.get(), session.get()) == 1);
        REQUIRE(second.shake("api.pay.example"));
        CHECK(SSL_session_reused(second.client.get()) == 1);
    }
}

TEST_CASE("a session of another host, other rules or an older CA gives way to a full handshake") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        TempDir directory;
        const auto root = a_root(), another_root = a_root("Another");
        const auto leaf = signed_by(
            root, {"both", {{NID_subject_alt_name, "DNS:a.example,DNS:b.example"}}});  // one server, two names
        const auto server = serving(leaf);
        SSL_CTX_set_max_proto_version(server.get(), version);
        const auto client = trusting(directory, root.certificate_pem());
        TlsRules pinned;
        pinned.pins = {pin_of(leaf)};
        const auto other_rules = trusting(directory, root.certificate_pem(), pinned);
        const auto newer_ca = trusting(directory, root.certificate_pem() + another_root.certificate_pem());

        const auto session_of = [&](const std::string& host) {
            Joined joined(client.get(), server.get());
            REQUIRE(expect_host(joined.client.get(), host, false));
            REQUIRE(joined.shake(host));
            return SessionPtr(SSL_get1_session(joined.client.get()));
        };
        const auto reused = [&](SSL_CTX* context, const std::string& host) {
            const auto session = session_of("a.example");
            Joined joined(context, server.get());
            REQUIRE(expect_host(joined.client.get(), host, false));
            offer_session(joined.client.get(), session.get(), host);
            REQUIRE(joined.shake(host));
            return SSL_session_reused(joined.client.get()) == 1;
        };
        CHECK(reused(client.get(), "a.example"));
        CHECK_FALSE(reused(client.get(), "b.example"));
        CHECK_FALSE(reused(other_rules.get(), "a.example"));
        CHECK_FALSE(reused(newer_ca.get(), "a.example"));

        // Whoever offers it past `offer_session` is stopped by OpenSSL, though the vendor would resume.
        const auto session = session_of("a.example");
        Joined forced(client.get(), server.get());
        REQUIRE(expect_host(forced.client.get(), "b.example", false));
        REQUIRE(SSL_set_session(forced.client.get(), session.get()) == 1);
        CHECK_FALSE(forced.shake("b.example"));
    }
}

TEST_CASE("a host that would have OpenSSL verify less than was asked for is not accepted") {
    TempDir directory;
    const auto client = trusting(directory, a_root().certificate_pem());
    for (const auto& [host, is_address] :
         {std::pair{std::string(""), false}, std::pair{std::string("a.example\0.evil.example", 23), false},
          std::pair{std::string("a.example"), true}, std::pair{std::string(""), true}}) {
        SslPtr ssl(SSL_new(client.get()));
        CHECK_FALSE(expect_host(ssl.get(), host, is_address));
    }
}

TEST_CASE("the host is sent as SNI unless it is an address") {
    TempDir directory;
    const auto client = trusting(directory, a_root().certificate_pem());
    SslPtr named(SSL_new(client.get())), numbered(SSL_new(client.get()));
    REQUIRE(expect_host(named.get(), "api.pay.example", false));
    REQUIRE(expect_host(numbered.get(), "192.0.2.7", true));
    CHECK(std::string(SSL_get_servername(named.get(), TLSEXT_NAMETYPE_host_name)) == "api.pay.example");
    CHECK(SSL_get_servername(numbered.get(), TLSEXT_NAMETYPE_host_name) == nullptr);
}

TEST_CASE("a client certificate is presented with its chain") {
    TempDir directory;
    const Hierarchy vendor;
    const auto clients = a_root("Clients' Root");
    const auto middle = signed_by(clients, {"Clients' Issuing", {{NID_basic_constraints, "critical,CA:TRUE"}}});
    const auto ours = signed_by(middle, {"sluice", {}});
    SSL_CTX_set_verify(vendor.server.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(vendor.server.get()), clients.certificate.get());
    SSL_CTX_set_session_id_context(vendor.server.get(), reinterpret_cast<const unsigned char*>("t"), 1);
    TlsRules rules;
    rules.client_cert_file = directory.write("client.pem", ours.certificate_pem() + middle.certificate_pem());
    rules.client_key_file = directory.write("client.key", ours.key_pem(), 0440);
    const auto client = trusting(directory, vendor.root.certificate_pem(), rules);
    CHECK(connect(client.get(), vendor.server.get(), "api.pay.example") == "");
}

TEST_CASE("files that cannot be used are named with what is wrong") {
    TempDir directory;
    const auto root = a_root(), stranger = a_root("Stranger");
    const auto good = directory.write("good.pem", root.certificate_pem());
    const auto key = directory.write("good.key", root.key_pem());
    const auto other = directory.write("other.key", stranger.key_pem());
    const auto empty = directory.write("empty.pem", "");
    const auto none = directory / "none.pem";
    const auto fault = [&](const std::string& ca, const std::string& cert, const std::string& private_key) {
        TlsRules rules;
        rules.ca_file = ca;
        rules.client_cert_file = cert;
        rules.client_key_file = private_key;
        return fault_of(make_client_context(rules));
    };
    CHECK(fault(good, "", "") == "");
    CHECK(ERR_peek_error() == 0);
    CHECK(fault(good, good, key) == "");
    CHECK(fault(none, "", "") == "cannot read " + none + ": No such file or directory");
    CHECK(fault(empty, "", "") == empty + " holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
    CHECK(fault(key, "", "") == key + " holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
    CHECK(fault(good, none, key) == "cannot read " + none + ": No such file or directory");
    CHECK(fault(good, good, other) == other + " is not the key of the first certificate in " + good);
    CHECK(fault(good, good, good).find(good + " holds no private key in PEM: ") == 0);
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("without tls.ca the system's roots are trusted, and only with it others") {
    TempDir directory;
    const auto root = a_root("System Root"), own = a_root("Own Root");
    const auto leaf = signed_by(root, for_host("api.pay.example"));
    const auto server = serving(leaf);
    const auto roots = directory.write("roots.pem", root.certificate_pem());
    Environment file("SSL_CERT_FILE", roots.c_str()), no_directory("SSL_CERT_DIR", nullptr);
    const auto by_system = make_client_context({});
    REQUIRE(fault_of(by_system) == "");
    CHECK(connect(by_system->get(), server.get(), "api.pay.example") == "");
    const auto by_own = trusting(directory, own.certificate_pem());
    CHECK(connect(by_own.get(), server.get(), "api.pay.example") == "the issuer is not trusted: CN=System Root");
}

TEST_CASE("a system root's subordinate is trusted through the root only") {
    TempDir directory;
    const Hierarchy vendor;
    const auto roots = directory.write("roots.pem", vendor.middle.certificate_pem());
    Environment file("SSL_CERT_FILE", roots.c_str()), no_directory("SSL_CERT_DIR", nullptr);
    const auto client = make_client_context({});
    CHECK(connect(client->get(), vendor.server.get(), "api.pay.example").find("the issuer is not trusted: ") == 0);
}

TEST_CASE("SSL_CERT_DIR is asked, alone or beside SSL_CERT_FILE") {
    TempDir directory;
    const auto root = a_root("Directory Root"), other = a_root("File Root");
    char hashed[16];
    std::snprintf(hashed, sizeof hashed, "%08lx.0",
                  X509_NAME_hash_ex(X509_get_subject_name(root.certificate.get()), nullptr, nullptr, nullptr));
    directory.write(hashed, root.certificate_pem());
    const auto file_roots = directory.write("file.pem", other.certificate_pem());
    Environment roots("SSL_CERT_DIR", directory.path().c_str());
    const auto by_directory = serving(signed_by(root, for_host("a.example")));
    const auto by_file = serving(signed_by(other, for_host("a.example")));
    {
        Environment file("SSL_CERT_FILE", nullptr);
        const auto client = make_client_context({});
        CHECK(sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(client->get()))) == 0);
        CHECK(connect(client->get(), by_directory.get(), "a.example") == "");
        CHECK(connect(client->get(), by_file.get(), "a.example") == "the issuer is not trusted: CN=File Root");
    }
    {
        Environment file("SSL_CERT_FILE", file_roots.c_str());
        const auto client = make_client_context({});
        CHECK(connect(client->get(), by_directory.get(), "a.example") == "");
        CHECK(connect(client->get(), by_file.get(), "a.example") == "");
    }
}

TEST_CASE("a body that ends without close_notify is an error, never an end") {
    TempDir directory;
    const Hierarchy vendor;
    const auto client = trusting(directory, vendor.root.certificate_pem());
    Joined joined(client.get(), vendor.server.get());
    REQUIRE(expect_host(joined.client.get(), "api.pay.example", false));
    REQUIRE(joined.shake("api.pay.example"));
    BIO_shutdown_wr(SSL_get_wbio(joined.server.get()));
    char byte = 0;
    ERR_clear_error();
    const int got = SSL_read(joined.client.get(), &byte, 1);
    CHECK(SSL_get_error(joined.client.get(), got) == SSL_ERROR_SSL);
    CHECK(ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
    ERR_clear_error();
}

TEST_CASE("what openssl.cnf loosened is tightened again") {
    SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                                           SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_NO_TLSv1_3);
    SSL_CTX_clear_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_security_level(context.get(), 0);
    REQUIRE(SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION) == 1);
    REQUIRE(harden(context.get()));
    const auto options = SSL_CTX_get_options(context.get());
    CHECK((options & (SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                      SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_NO_TLSv1_3)) == 0);
    CHECK((options & SSL_OP_NO_COMPRESSION) != 0);
    CHECK((options & SSL_OP_NO_RENEGOTIATION) != 0);
    CHECK(SSL_CTX_get_security_level(context.get()) == 2);
    CHECK(SSL_CTX_get_min_proto_version(context.get()) == TLS1_2_VERSION);
    CHECK(SSL_CTX_get_max_proto_version(context.get()) == 0);
    CHECK(SSL_CTX_get_read_ahead(context.get()) == 1);
    constexpr long modes =
        SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
    CHECK((SSL_CTX_get_mode(context.get()) & modes) == modes);
}

TEST_CASE("weak certificates are refused whatever openssl.cnf says") {
    TempDir directory;
    const auto root = a_root();
    KeyPtr short_key(EVP_RSA_gen(1024));
    const Identity weak{KeyPtr(EVP_PKEY_dup(short_key.get())),
                        certify(for_host("a.example"), short_key.get(), root.certificate.get(), root.key.get())};
    const auto client = trusting(directory, root.certificate_pem());
    CHECK(connect(client.get(), serving(weak).get(), "a.example") == "the certificate has a key that is too short");
}
