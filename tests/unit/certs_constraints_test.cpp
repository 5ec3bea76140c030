// A CA that can sign for its policy's hosts only: what OpenSSL's own verification makes of it, inside and outside.
#include "certs/constraints.hpp"

#include "tests/unit/certs_fixture.hpp"

using namespace sluice;
using namespace sluice::certs_test;

namespace {

SigningScope scope_of(const std::vector<std::string>& hosts) {
    SigningScope scope;
    for (const std::string& host : hosts) scope.hosts.push_back(parse_host_pattern(host).value());
    scope.constrained = true;
    return scope;
}

bool covers(const CertAuthority& ca, const std::vector<std::string>& hosts) {
    return constraints_cover(ca.certificate(), scope_of(hosts).hosts).has_value();
}

/// What a client that trusts `ca` says to a leaf for `host`, signed by whoever stole the CA's key: nothing of ours
/// judges here.
std::string verdict_on(const X509* ca, EVP_PKEY* ca_key, const std::string& host, bool is_address = false) {
    const auto key = a_key();
    const std::string san = (is_address ? "IP:" : "DNS:") + host;
    const auto leaf = certify({"sluice", {{NID_subject_alt_name, san}}}, key.get(), ca, ca_key);
    const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
    X509_STORE_add_cert(store.get(), const_cast<X509*>(ca));
    const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                  X509_STORE_CTX_free);
    X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
    if (X509_verify_cert(context.get()) == 1) return "";
    return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

struct Signer {
    TempDir directory;
    std::string note;
    CertAuthority authority;
    KeyPtr key;

    explicit Signer(const std::vector<std::string>& hosts)
        : authority(std::move(CertAuthority::persistent(directory.path(), now(), note, scope_of(hosts)).value())),
          key(std::move(read_key(directory / "ca.key", Privacy::owner_only).value())) {}
    std::string verdict(const std::string& host, bool is_address = false) const {
        return verdict_on(authority.certificate(), key.get(), host, is_address);
    }
};

const std::string outside = "permitted subtree violation", excluded = "excluded subtree violation";

}  // namespace

TEST_CASE("a constrained CA is believed for the hosts of its policy and what is below them, and for nothing else") {
    const Signer signer({"api.pay.example", "*.llm.example:8443", "10.1.2.3", "[2001:db8::1]"});
    CHECK(signer.verdict("api.pay.example") == "");
    CHECK(signer.verdict("API.Pay.Example") == "");
    CHECK(signer.verdict("eu.api.llm.example") == "");
    CHECK(signer.verdict("10.1.2.3", true) == "");
    CHECK(signer.verdict("2001:db8::1", true) == "");
    for (const std::string host :
         {"pay.example", "xapi.pay.example", "www.example", "llm.example.evil.example", "localhost"}) {
        INFO(host);
        CHECK(signer.verdict(host) == outside);
    }
    CHECK(signer.verdict("10.1.2.4", true) == outside);
    CHECK(signer.verdict("2001:db8::2", true) == outside);
}

TEST_CASE("a family of addresses that the policy does not name is excluded as a whole") {
    const Signer names({"api.pay.example"});
    CHECK(names.verdict("10.1.2.3", true) == excluded);
    CHECK(names.verdict("2001:db8::1", true) == excluded);
    const Signer four({"10.1.2.3"});
    CHECK(four.verdict("10.1.2.3", true) == "");
    CHECK(four.verdict("2001:db8::1", true) != "");
    CHECK(four.verdict("api.pay.example") == outside);
}

TEST_CASE("a constrained CA of a policy without hosts is believed for nothing") {
    const Signer signer({});
    for (const std::string host : {"api.pay.example", "localhost", "a"}) CHECK(signer.verdict(host) == outside);
    CHECK(signer.verdict("127.0.0.1", true) == excluded);
    CHECK(signer.verdict("::1", true) == excluded);
}

TEST_CASE("the constraints are critical, and an unconstrained CA has none") {
    const auto constrained = CertAuthority::make(now(), scope_of({"a.example"})).value();
    const int at = X509_get_ext_by_NID(constrained.certificate(), NID_name_constraints, -1);
    REQUIRE(at >= 0);
    CHECK(X509_EXTENSION_get_critical(X509_get_ext(constrained.certificate(), at)) == 1);
    CHECK_FALSE(has_name_constraints(CertAuthority::make(now()).value().certificate()));
}

TEST_CASE("a host on two ports is named once") {
    const auto ca = CertAuthority::make(now(), scope_of({"a.example:1", "a.example:2", "10.1.2.3:1", "10.1.2.3:2"})).value();
    auto* found = static_cast<NAME_CONSTRAINTS*>(
        X509_get_ext_d2i(ca.certificate(), NID_name_constraints, nullptr, nullptr));
    REQUIRE(found);
    CHECK(sk_GENERAL_SUBTREE_num(found->permittedSubtrees) == 2);
    NAME_CONSTRAINTS_free(found);
}

TEST_CASE("leaves of a constrained CA work for its hosts, an address too, and are not minted for others") {
    const TempDir directory;
    const auto authority = std::make_shared<const CertAuthority>(
        std::move(CertAuthority::make(now(), scope_of({"api.pay.example", "*.llm.example", "10.1.2.3"})).value()));
    LeafCache leaves(LeafIdentity::make(authority).value());
    const auto client = trusting(directory, authority->pem());
    const auto meets = [&](const std::string& host, bool is_address = false) {
        return connect(client.get(), leaves.context(host, now()).value(), host, is_address);
    };
    CHECK(meets("api.pay.example") == "");
    CHECK(meets("eu.llm.example") == "");
    CHECK(meets("10.1.2.3", true) == "");
    CHECK(fault_of(leaves.context("other.example", now())) ==
          "our CA may not sign for other.example: its name constraints do not permit other.example");
    CHECK(fault_of(leaves.context("10.1.2.4", now())).find("do not permit 10.1.2.4") != std::string::npos);
}

TEST_CASE("constraints cover the hosts of another policy, or say which one they do not") {
    const auto ca = CertAuthority::make(now(), scope_of({"api.pay.example", "*.llm.example", "10.1.2.3"})).value();
    for (const std::vector<std::string>& hosts :
         std::vector<std::vector<std::string>>{{},
                                               {"api.pay.example"},
                                               {"API.pay.example:8443"},
                                               {"eu.api.pay.example"},
                                               {"*.api.pay.example"},
                                               {"*.llm.example", "*.eu.llm.example", "a.llm.example"},
                                               {"10.1.2.3"}})
        CHECK(covers(ca, hosts));
    for (const std::string host : {"pay.example", "*.pay.example", "*.example", "other.example", "10.1.2.4", "[::1]"}) {
        INFO(host);
        CHECK_FALSE(covers(ca, {"api.pay.example", host}));
        CHECK(fault_of(constraints_cover(ca.certificate(), scope_of({host}).hosts)) ==
              "its name constraints do not permit " + host);
    }
    CHECK(covers(CertAuthority::make(now()).value(), {"*.example", "10.1.2.4"}));  // an unconstrained one covers all
}

TEST_CASE("constraints that others wrote are understood, exclusions too") {
    const auto issuer = [](const std::string& constraints) {
        return self_signed({"ca", {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_name_constraints, constraints}}});
    };
    const auto cover = [](const Identity& ca, const std::string& host) {
        return constraints_cover(ca.certificate.get(), scope_of({host}).hosts).has_value();
    };
    const auto excluding = issuer("critical,excluded;DNS:internal.example,excluded;IP:10.0.0.0/255.0.0.0");
    CHECK(cover(excluding, "api.example"));
    CHECK_FALSE(cover(excluding, "a.internal.example"));
    CHECK_FALSE(cover(excluding, "*.example"));  // reaches into what is excluded
    CHECK_FALSE(cover(excluding, "10.1.2.3"));
    CHECK(cover(excluding, "192.0.2.1"));
    const auto leading_dot = issuer("critical,permitted;DNS:.corp.example,permitted;IP:192.0.2.0/255.255.255.0");
    CHECK(cover(leading_dot, "a.corp.example"));
    CHECK(cover(leading_dot, "192.0.2.77"));
    CHECK_FALSE(cover(leading_dot, "192.0.3.77"));
    CHECK_FALSE(cover(leading_dot, "[2001:db8::1]"));
    const auto mail_only = issuer("critical,permitted;email:example.com");
    CHECK(cover(mail_only, "api.example"));  // hosts are not constrained by it
    CHECK(cover(mail_only, "10.1.2.3"));
}

TEST_CASE("a kept CA that does not fit the policy's hosts is a fault that says what to do, and stays") {
    const TempDir directory;
    std::string note;
    const auto start = [&](const SigningScope& scope) {
        return CertAuthority::persistent(directory.path(), now(), note, scope);
    };
    const auto first = std::move(start(scope_of({"api.pay.example"})).value());
    CHECK(start(scope_of({"api.pay.example"})).value().pem() == first.pem());
    CHECK(start(scope_of({})).value().pem() == first.pem());  // fewer hosts: it may sign for no more than before

    const std::string more = fault_of(start(scope_of({"api.pay.example", "api.llm.example"})));
    CHECK(more.starts_with(directory / "ca.crt"));
    CHECK(more.find("do not permit api.llm.example; remove " + (directory / "ca.crt") + " and " +
                    (directory / "ca.key")) != std::string::npos);
    SigningScope unconstrained = scope_of({"api.llm.example"});
    unconstrained.constrained = false;  // the policy asks for no constraints, the CA has them all the same
    CHECK(fault_of(start(unconstrained)).find("do not permit api.llm.example") != std::string::npos);
    CHECK(read(directory / "ca.crt") == first.pem());

    const TempDir other;
    static_cast<void>(CertAuthority::persistent(other.path(), now(), note, {}).value());
    const std::string wide = fault_of(CertAuthority::persistent(other.path(), now(), note, scope_of({"a.example"})));
    CHECK(wide.find("may sign for any host, but the policy says `authority.name_constraints: true`") !=
          std::string::npos);
    CHECK(note.empty());
}

TEST_CASE("a constrained CA that is renewed is constrained to the policy as it is then") {
    const TempDir directory;
    std::string note;
    const auto old = std::move(
        CertAuthority::persistent(directory.path(), now(), note, scope_of({"api.pay.example", "api.llm.example"}))
            .value());
    const WallTime end = wall_time(X509_get0_notAfter(old.certificate()));
    const auto renewed =
        std::move(CertAuthority::persistent(directory.path(), end - 24h, note, scope_of({"api.pay.example"})).value());
    CHECK(note.find("was renewed over the same key") != std::string::npos);
    CHECK(covers(renewed, {"api.pay.example"}));
    CHECK_FALSE(covers(renewed, {"api.llm.example"}));
}
