// What a policy says of a vendor's TLS, from its text to the handshake.
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <catch2/catch.hpp>

#include "proxy/base/codec.hpp"
#include "tests/support/certificate.hpp"
#include "tests/support/fake_vault.hpp"
#include "tests/support/gzip.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

std::string digest(std::string_view bytes) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_Digest(bytes.data(), bytes.size(), hash, &size, EVP_sha256(), nullptr);
    return {reinterpret_cast<const char*>(hash), size};
}

/// As `tls.pin` has it: the key of the vendor's certificate.
std::string pin_of(const FakeVendor& vendor) {
    std::string pin = "sha256/";
    append_base64(pin, digest(der(X509_get_X509_PUBKEY(SSL_CTX_get0_certificate(vendor.context())), i2d_X509_PUBKEY)));
    return pin;
}

const std::string pair_in_vault = "cert: {vault: \"secret/client#cert\"}, key: {vault: \"secret/client#key\"}";

/// Asks for a certificate, any one, and remembers what it was shown.
struct AskingVendor {
    Seen seen;
    std::string shown;   // DER; written before the vendor answers
    FakeVendor vendor;

    explicit AskingVendor(int max_version, bool insists)
        : vendor(
              [this](Wire& wire) {
                  while (auto request = wire.read_request()) {
                      shown = shown_on(wire);
                      seen.add(std::move(*request));
                      wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                  }
              },
              vendor_ca(), "localhost", max_version) {
        if (insists) insist_on_certificates(vendor);
    }
};

}  // namespace

TEST_CASE("a coded answer is learnt from where the credential is a certificate, which nobody searches it for") {
    const std::string throttled = R"({"errors":[{"extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":500,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":0,"restoreRate":10.0}}}})";
    const std::string coded = gzipped(throttled);
    FakeVendor vendor(always("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: " + std::to_string(coded.size()) + "\r\n\r\n" + coded), vendor_ca());
    const OurCertificate ours;
    TestProxy proxy("credentials:\n  ours: {type: mtls, cert: {file: " + ours.cert_file + "}, key: {file: " + ours.key_file + "}}\nvendors:\n" +
                    vendor_yaml("v", "v.example", vendor, true, "credential: ours\nscrub: deep\nlimit: {learn: true}\n"));
    CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").body == throttled);
    CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").reason() == "rate_limited");
}

TEST_CASE("a vendor's pin, its least version of TLS and our certificate hold as the policy says them") {
    const std::string wrong_pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    enum class Says { right_pin, one_right_pin, wrong_pin, min_12, min_13, certificate, nothing };
    struct Row {
        const char* what;
        Says says;
        int version;
        bool insists;
        const char* fault;   // "": served
    };
    const Row row = GENERATE(
        Row{"the right pin", Says::right_pin, TLS1_3_VERSION, false, ""},
        Row{"the right pin, TLS 1.2", Says::right_pin, TLS1_2_VERSION, false, ""},
        Row{"two pins, one of them right", Says::one_right_pin, TLS1_3_VERSION, false, ""},
        Row{"a wrong pin", Says::wrong_pin, TLS1_3_VERSION, false, "no certificate of the vendor's chain matches tls.pin"},
        Row{"a wrong pin, TLS 1.2", Says::wrong_pin, TLS1_2_VERSION, false, "no certificate of the vendor's chain matches tls.pin"},
        Row{"min 1.2, a vendor of 1.2", Says::min_12, TLS1_2_VERSION, false, ""},
        Row{"min 1.3, a vendor of 1.3", Says::min_13, TLS1_3_VERSION, false, ""},
        Row{"min 1.3, a vendor of 1.2", Says::min_13, TLS1_2_VERSION, false, "the policy asks for 1.3 at least"},
        Row{"a certificate that is asked for", Says::certificate, TLS1_3_VERSION, true, ""},
        Row{"a certificate that is asked for, TLS 1.2", Says::certificate, TLS1_2_VERSION, true, ""},
        Row{"a certificate that nobody asks for", Says::certificate, TLS1_3_VERSION, false, ""},
        Row{"no certificate where one is asked for, TLS 1.2", Says::nothing, TLS1_2_VERSION, true, "client certificate"},
        Row{"no certificate where one is asked for", Says::nothing, TLS1_3_VERSION, true, "the vendor wants a client certificate, and the policy has none for it: write tls: {client:"});
    INFO(row.what);
    AskingVendor asking(row.version, row.insists);
    const OurCertificate ours;
    const auto rules = [&]() -> std::string {
        const std::string right = pin_of(asking.vendor);
        switch (row.says) {
        case Says::right_pin: return ", pin: [\"" + right + "\"]";
        case Says::one_right_pin: return ", pin: [\"" + wrong_pin + "\", \"" + right + "\"]";
        case Says::wrong_pin: return ", pin: [\"" + wrong_pin + "\"]";
        case Says::min_12: return ", min: \"1.2\"";
        case Says::min_13: return ", min: \"1.3\"";
        case Says::certificate: return ours.yaml();
        case Says::nothing: return "";
        }
        return "";
    }();
    TestProxy proxy("vendors:\n  v: {hosts: [v.example], addresses: [127.0.0.0/8, \"::1\"], retry: {max: 0}, endpoints: [{url: \"https://" +
                    asking.vendor.authority() + "\"}], tls: {ca: {file: @dir/vendor-ca.crt}" + rules + "}}\n");
    const Message answer = proxy.get("v.example");
    INFO(answer.body);
    if (*row.fault == '\0') {
        CHECK(answer.status() == 200);
        CHECK(asking.seen.size() == 1);
        CHECK(asking.shown == (row.insists ? ours.shown() : std::string()));
    } else {
        CHECK(answer.status() == 502);
        CHECK(answer.reason() == "tls_failed");
        CHECK(answer.body.find(row.fault) != std::string::npos);
        CHECK(asking.seen.size() == 0);
    }
}

TEST_CASE("a vendor that wants a certificate that we do not have is not asked a second time, and another endpoint is") {
    const std::string method = GENERATE(as<std::string>{}, "GET", "POST");
    const bool elsewhere = GENERATE(false, true);
    CAPTURE(method, elsewhere);
    AskingVendor asking(TLS1_3_VERSION, true), content(TLS1_3_VERSION, false);
    TestProxy proxy("vendors:\n  v: {hosts: [v.example], addresses: [127.0.0.0/8, \"::1\"], retry: {backoff: 1ms..1ms}, endpoints: [{url: \"https://" + asking.vendor.authority() + "\"}" +
                    (elsewhere ? ", {url: \"https://" + content.vendor.authority() + "\"}" : "") + "], tls: {ca: {file: @dir/vendor-ca.crt}}}\n");
    Wire app = proxy.connected("v.example");
    app.write(method + " / HTTP/1.1\r\nHost: v.example\r\nContent-Length: 2\r\n\r\n{}");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == (elsewhere ? 200 : 502));
    CHECK(answer->reason() == (elsewhere ? "" : "tls_failed"));
    CHECK(answer->field("sluice-attempts") == (elsewhere ? "2" : "1"));
    CHECK(asking.vendor.connections() == 1);
    CHECK(asking.seen.size() == 0);
    CHECK(content.seen.size() == (elsewhere ? 1 : 0));
    CHECK(proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + asking.vendor.authority() + "\",result=\"tls_failed\"}") == 1);
}

TEST_CASE("a client certificate in Vault is waited for, shown, and changed with its key without a restart") {
    const bool of_the_vendor = GENERATE(true, false);
    INFO((of_the_vendor ? "tls.client" : "type mtls"));
    FakeVault vault;
    vault.seal(true);
    AskingVendor asking(TLS1_3_VERSION, true);
    const OurCertificate first, second;
    const TemporaryDirectory files;
    const std::string name = of_the_vendor ? "vendors.v.tls.client" : "cert";
    TestProxy proxy("credentials:\n" + vault.login_yaml("hvs.tls", files) + (of_the_vendor ? "" : "  cert: {type: mtls, " + pair_in_vault + "}\n") +
                    "vendors:\n  v: {hosts: [v.example], addresses: [127.0.0.0/8, \"::1\"], retry: {max: 0}, endpoints: [{url: \"https://" +
                    asking.vendor.authority() + "\"}], " + (of_the_vendor ? "" : "credential: cert, ") + "tls: {ca: {file: @dir/vendor-ca.crt}" +
                    (of_the_vendor ? ", client: {" + pair_in_vault + "}" : "") + "}}\n");
    REQUIRE(proxy.logs("Vault is sealed"));
    const Message early = proxy.get("v.example");
    CHECK(early.status() == 503);
    CHECK(early.reason() == "credential_unavailable");
    CHECK(early.body.find(name) != std::string::npos);
    CHECK(early.field("retry-after") == "5");
    CHECK(asking.vendor.connections() == 0);

    vault.put_first("client", first.in_vault(), 1);
    vault.seal(false);
    REQUIRE(eventually([&] { return proxy.get("v.example").status() == 200; }));
    CHECK(asking.shown == first.shown());

    // One that does not fit is not taken, and what was at hand goes on being shown.
    vault.put_first("client", {{"cert", second.cert_pem}, {"key", first.key_pem}}, 1);
    CHECK(proxy.logs("is not the key of the first certificate in {vault: "));
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(asking.shown == first.shown());

    vault.put_first("client", second.in_vault(), 1);
    CHECK(eventually([&] { return proxy.get("v.example").status() == 200 && asking.shown == second.shown(); }));
    CHECK(vault.complaints().empty());
    CHECK(proxy.log().find("PRIVATE KEY") == std::string::npos);
}

TEST_CASE("a token endpoint is shown the client certificate that is in Vault") {
    FakeVault vault;
    const OurCertificate ours;
    vault.put_first("client", ours.in_vault(), 3600);
    std::string shown;
    FakeVendor issuer(
        [&](Wire& wire) {
            while (wire.read_request()) {
                shown = shown_on(wire);
                const std::string body = R"({"access_token":"by-certificate","token_type":"Bearer","expires_in":3600})";
                wire.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
            }
        },
        vendor_ca());
    insist_on_certificates(issuer);
    Seen seen;
    const FakeVendor vendor(echo_into(seen), vendor_ca());
    const TemporaryDirectory files;
    const TestProxy proxy("credentials:\n" + vault.login_yaml("hvs.tls", files) + "  t: {type: oauth2_client_credentials, token_url: \"https://" + issuer.authority() +
                          "/token\", client_id: c, addresses: [127.0.0.0/8], tls: {ca: {file: @dir/vendor-ca.crt}, client: {" + pair_in_vault + "}}}\n" +
                          "vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "credential: t"));
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(seen.all().at(0).field("authorization") == "Bearer by-certificate");
    CHECK(shown == ours.shown());
}
