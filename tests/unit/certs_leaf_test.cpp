#include "certs/leaf.hpp"

#include "tests/unit/certs_fixture.hpp"

using namespace sluice;
using namespace sluice::certs_test;

namespace {

SSL_CTX* context_of(LeafCache& leaves, const std::string& host, WallTime at = now()) {
    const auto context = leaves.context(host, at);
    REQUIRE(fault_of(context) == "");
    return *context;
}

/// An application: trusts anything (verification is tested elsewhere), and would resume any session anywhere.
SslCtxPtr application(int version = 0) {
    SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_security_level(context.get(), 0);
    REQUIRE(SSL_CTX_set_cipher_list(context.get(), "ALL:@SECLEVEL=0") == 1);
    REQUIRE(SSL_CTX_set_min_proto_version(context.get(), version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(context.get(), version) == 1);
    return context;
}

SessionPtr session_with(SSL_CTX* client, SSL_CTX* server, const std::string& host) {
    Joined joined(client, server);
    SSL_set_tlsext_host_name(joined.client.get(), host.c_str());
    REQUIRE(joined.shake(host));
    SessionPtr session(SSL_get1_session(joined.client.get()));
    REQUIRE(SSL_SESSION_is_resumable(session.get()));
    return session;
}

bool resumes(SSL_CTX* client, SSL_CTX* server, const std::string& host, SSL_SESSION* session) {
    Joined joined(client, server);
    SSL_set_tlsext_host_name(joined.client.get(), host.c_str());
    REQUIRE(SSL_set_session(joined.client.get(), session) == 1);
    REQUIRE(joined.shake(host));
    return SSL_session_reused(joined.client.get()) == 1;
}

std::string chosen_protocol(SSL_CTX* server, const std::string& offered) {
    const auto client = application();
    Joined joined(client.get(), server);
    if (!offered.empty())
        SSL_set_alpn_protos(joined.client.get(), reinterpret_cast<const unsigned char*>(offered.data()),
                            static_cast<unsigned>(offered.size()));
    if (!joined.shake("a.example")) return "alert: " + joined.fault;
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(joined.client.get(), &chosen, &size);
    return {reinterpret_cast<const char*>(chosen), size};
}

}  // namespace

TEST_CASE("an application that trusts our CA reaches the host it asked for, and no other") {
    TempDir directory;
    const auto identity = an_identity();
    LeafCache leaves(identity);
    const auto client = trusting(directory, identity->authority->pem());
    auto* server = context_of(leaves, "api.pay.example");
    CHECK(connect(client.get(), server, "api.pay.example") == "");
    CHECK(connect(client.get(), server, "API.pay.example") == "");
    CHECK(connect(client.get(), server, "bank.example") ==
          "the certificate is not valid for bank.example, only for api.pay.example");
    CHECK(connect(client.get(), server, "x.api.pay.example").find("the certificate is not valid for ") == 0);
}

TEST_CASE("a host that is an address is served as that address") {
    TempDir directory;
    const auto identity = an_identity();
    LeafCache leaves(identity);
    const auto client = trusting(directory, identity->authority->pem());
    for (const std::string host : {"192.0.2.7", "2001:db8::7"}) {
        auto* server = context_of(leaves, host);
        CHECK(connect(client.get(), server, host, true) == "");
        CHECK(connect(client.get(), server, "192.0.2.8", true).find("the certificate is not valid for 192.0.2.8") == 0);
    }
}

TEST_CASE("an application that does not trust our CA hears so") {
    TempDir directory;
    LeafCache leaves(an_identity());
    const auto client = trusting(directory, an_authority()->pem());
    const auto fault = connect(client.get(), context_of(leaves, "a.example"), "a.example");
    CHECK(fault.find("the issuer is not trusted: CN=Sluice CA ") == 0);
}

TEST_CASE("only TLS 1.2 and 1.3 are spoken, with forward secrecy and AEAD") {
    LeafCache leaves(an_identity());
    auto* server = context_of(leaves, "a.example");
    for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
        const auto client = application(version);
        Joined joined(client.get(), server);
        CHECK_FALSE(joined.shake("a.example"));
    }
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        const auto client = application(version);
        Joined joined(client.get(), server);
        CHECK(joined.shake("a.example"));
        CHECK(SSL_version(joined.client.get()) == version);
        CHECK(SSL_CIPHER_is_aead(SSL_get_current_cipher(joined.client.get())) == 1);
    }
    for (const char* ciphers : {"ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"}) {
        const auto client = application(TLS1_2_VERSION);
        REQUIRE(SSL_CTX_set_cipher_list(client.get(), ciphers) == 1);
        Joined joined(client.get(), server);
        CHECK_FALSE(joined.shake("a.example"));
    }
}

TEST_CASE("AES-128 is chosen of what an application offers, ChaCha20 where it has no AES in its processor") {
    LeafCache leaves(an_identity());
    auto* server = context_of(leaves, "a.example");
    const auto chosen = [server](const char* offered) -> std::string {
        const auto client = application(TLS1_3_VERSION);
        REQUIRE(SSL_CTX_set_ciphersuites(client.get(), offered) == 1);
        Joined joined(client.get(), server);
        REQUIRE(joined.shake("a.example"));
        return SSL_get_cipher_name(joined.client.get());
    };
    CHECK(chosen("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") ==
          "TLS_AES_128_GCM_SHA256");
    CHECK(chosen("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == "TLS_AES_256_GCM_SHA384");
    CHECK(chosen("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") == "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_CASE("http/1.1 is chosen where it is offered, and nothing is never an alert") {
    LeafCache leaves(an_identity());
    auto* server = context_of(leaves, "a.example");
    CHECK(chosen_protocol(server, "") == "");
    CHECK(chosen_protocol(server, "\x08http/1.1") == "http/1.1");
    CHECK(chosen_protocol(server, "\x02h2\x08http/1.1") == "http/1.1");
    CHECK(chosen_protocol(server, "\x02h2") == "");
    CHECK(chosen_protocol(server, "\x08http/1.0") == "");
}

TEST_CASE("a session resumes at its host, on any worker, and never at another host") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        const auto identity = an_identity();
        LeafCache one_worker(identity), another_worker(identity), another_process(an_identity());
        const auto client = application(version);
        const auto at = [&](LeafCache& leaves, const std::string& host, SSL_SESSION* session) {
            return resumes(client.get(), context_of(leaves, host), host, session);
        };
        // A fresh session each time: TLS 1.3 tickets are for one use.
        const auto fresh = [&] { return session_with(client.get(), context_of(one_worker, "a.example"), "a.example"); };
        CHECK(at(one_worker, "a.example", fresh().get()));
        CHECK(at(another_worker, "a.example", fresh().get()));
        CHECK_FALSE(at(one_worker, "b.example", fresh().get()));
        CHECK_FALSE(at(another_worker, "b.example", fresh().get()));
        CHECK_FALSE(at(another_process, "a.example", fresh().get()));
        // Even where the name in the ClientHello is the one of the session: what counts is the context.
        CHECK_FALSE(resumes(client.get(), context_of(one_worker, "b.example"), "a.example", fresh().get()));
    }
}

TEST_CASE("a session outlives the leaf it was made with, as long as the process") {
    LeafCache leaves(an_identity());
    const auto client = application(TLS1_3_VERSION);
    const auto session = session_with(client.get(), context_of(leaves, "a.example"), "a.example");
    CHECK(resumes(client.get(), context_of(leaves, "a.example", now() + 25 * 24h), "a.example", session.get()));
}

TEST_CASE("one ticket is given, and no session is kept on our side") {
    LeafCache leaves(an_identity());
    auto* server = context_of(leaves, "a.example");
    CHECK(SSL_CTX_get_num_tickets(server) == 1);
    CHECK(SSL_CTX_get_session_cache_mode(server) == SSL_SESS_CACHE_OFF);
    const auto client = application();
    session_with(client.get(), server, "a.example");
    CHECK(SSL_CTX_sess_number(server) == 0);
}

TEST_CASE("a host's leaf is minted once, and again at two thirds of its life") {
    LeafCache leaves(an_identity());
    const auto at = now();
    auto* first = context_of(leaves, "a.example", at);
    const X509Ptr leaf(X509_dup(SSL_CTX_get0_certificate(first)));
    const auto renewal = renewal_of(leaf.get());
    CHECK(renewal == at - 1h + 20 * 24h);
    const auto serves = [&](WallTime time, const X509* certificate) {
        return X509_cmp(SSL_CTX_get0_certificate(context_of(leaves, "a.example", time)), certificate) == 0;
    };
    CHECK(serves(at, leaf.get()));
    CHECK(serves(renewal - 1s, leaf.get()));
    CHECK_FALSE(serves(renewal, leaf.get()));
    const X509Ptr second(X509_dup(SSL_CTX_get0_certificate(context_of(leaves, "a.example", renewal))));
    CHECK(serves(renewal + 24h, second.get()));
    CHECK_FALSE(serves(renewal_of(second.get()), second.get()));
    CHECK(leaves.size() == 1);
}

TEST_CASE("a connection keeps its context when the leaf is renewed or pushed out") {
    LeafCache leaves(an_identity(), 1);
    SslPtr open(SSL_new(context_of(leaves, "a.example")));
    context_of(leaves, "a.example", now() + 25 * 24h);
    context_of(leaves, "b.example");
    CHECK(name_text(X509_get_subject_name(SSL_get_certificate(open.get()))) == "CN=a.example");
}

TEST_CASE("the cache is bounded, and what was used least recently goes first") {
    LeafCache leaves(an_identity(), 3);
    // Held, so that the address of one that was dropped is not given to another.
    const auto held = [&](const std::string& host) {
        auto* context = context_of(leaves, host);
        SSL_CTX_up_ref(context);
        return SslCtxPtr(context);
    };
    const auto kept = [&](const std::string& host, const SslCtxPtr& context) {
        return context_of(leaves, host) == context.get();
    };
    const auto a = held("a.example"), b = held("b.example"), c = held("c.example");
    CHECK(kept("a.example", a));
    context_of(leaves, "d.example");
    CHECK(leaves.size() == 3);
    CHECK(kept("a.example", a));
    CHECK(kept("c.example", c));
    CHECK_FALSE(kept("b.example", b));
    for (int i = 0; i < 50; ++i) context_of(leaves, "h" + std::to_string(i) + ".example");
    CHECK(leaves.size() == 3);
}

TEST_CASE("all leaves of a process share one key; another process has another") {
    const auto identity = an_identity();
    LeafCache one_worker(identity), another_worker(identity), another_process(an_identity());
    auto* key = SSL_CTX_get0_privatekey(context_of(one_worker, "a.example"));
    CHECK(EVP_PKEY_eq(key, SSL_CTX_get0_privatekey(context_of(another_worker, "b.example"))) == 1);
    CHECK(EVP_PKEY_eq(key, SSL_CTX_get0_privatekey(context_of(another_process, "a.example"))) == 0);
    CHECK(EVP_PKEY_eq(key, X509_get0_pubkey(identity->authority->certificate())) == 0);
}

TEST_CASE("a host that cannot be served is a fault, and takes no place") {
    LeafCache leaves(an_identity());
    CHECK(fault_of(leaves.context("*.example", now())) == "no certificate can be made for a host like this");
    CHECK(leaves.size() == 0);
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("an application that closes without close_notify is seen to have cut its stream") {
    LeafCache leaves(an_identity());
    const auto client = application();
    Joined joined(client.get(), context_of(leaves, "a.example"));
    REQUIRE(joined.shake("a.example"));
    BIO_shutdown_wr(SSL_get_wbio(joined.client.get()));
    char byte = 0;
    ERR_clear_error();
    const int got = SSL_read(joined.server.get(), &byte, 1);
    CHECK(SSL_get_error(joined.server.get(), got) == SSL_ERROR_SSL);
    CHECK(ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
    ERR_clear_error();
}
