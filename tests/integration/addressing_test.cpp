// Whom a request in absolute-form is for, what it may reach, and where a credential goes and where it never does.
#include <catch2/catch.hpp>

#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string pay = "api.pay.example", plain_vendor = "plain.example";

std::string get(const std::string& target, const std::string& host, const std::string& fields = "") {
    return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n";
}

/// A policy with one credential, `key`; `vendors` are indented YAML.
struct Keyed {
    explicit Keyed(const std::string& vendors)
        : proxy("credentials: {key: {type: bearer, value: {file: " + secrets.file("token", "s3cr3t-t0ken") +
                "}}}\nvendors:\n" + vendors) {}
    TemporaryDirectory secrets;
    TestProxy proxy;
};

}  // namespace

TEST_CASE("absolute-form reaches its vendor as each client writes it") {
    Seen seen, plain_seen;
    FakeVendor vendor(echo_into(seen), vendor_ca()), plain(echo_into(plain_seen));
    Keyed bench(vendor_yaml("pay", pay, vendor, true, "credential: key") +
                vendor_yaml("plain", plain_vendor, plain, false));
    struct Case {
        std::string what, target, host, expected;
    };
    for (const Case& each : {Case{"axios: https:// in clear text", "https://" + pay + "/v1/x?a=b", pay, "/v1/x?a=b"},
                             Case{"with its port", "https://" + pay + ":443/v1", pay, "/v1"},
                             Case{"with its port in the Host", "https://" + pay + "/v1", pay + ":443", "/v1"},
                             Case{"http:// to an https:// endpoint", "http://" + pay + "/v1", pay, "/v1"},
                             Case{"capitals", "HTTPS://API.PAY.EXAMPLE/V1", "api.PAY.example", "/V1"},
                             Case{"the root's dot", "https://" + pay + "./v1", pay, "/v1"},
                             Case{"urllib and aiohttp: an empty path", "https://" + pay, pay, "/"},
                             Case{"an empty path and a query", "https://" + pay + "?a=b", pay, "/?a=b"},
                             Case{"a query with a URL in it", "https://" + pay + "/?to=http://evil.example/", pay,
                                  "/?to=http://evil.example/"}}) {
        INFO(each.what);
        const std::size_t before = seen.size();
        const Message answer = bench.proxy.raw(get(each.target, each.host, "Authorization: Bearer mine\r\n"));
        CHECK(answer.status() == 200);
        CHECK(answer.field("sluice-outcome") == "vendor");
        REQUIRE(seen.size() == before + 1);
        const Message request = seen.all().back();
        CHECK(request.start_line == "GET " + each.expected + " HTTP/1.1");
        CHECK(request.field("host") == vendor.authority());
        CHECK(request.count("host") == 1);
        CHECK(request.field("authorization") == "Bearer s3cr3t-t0ken");
        CHECK(request.count("authorization") == 1);
    }
    CHECK(bench.proxy.raw(get("http://" + plain_vendor, plain_vendor)).body.starts_with("GET / HTTP/1.1\n"));
    CHECK(bench.proxy.raw(get("https://" + plain_vendor + "/v1", plain_vendor)).status() ==
          200);  // the endpoint is http://, by the operator's word
    for (const Message& request : plain_seen.all()) CHECK(request.count("authorization") == 0);

    // One connection may speak to many vendors.
    Wire wire = Wire::to(bench.proxy.port());
    for (int i = 0; i < 4; ++i) {
        const std::string& host = i % 2 == 0 ? pay : plain_vendor;
        wire.write(get("http://" + host + "/" + std::to_string(i), host));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->body.starts_with("GET /" + std::to_string(i) + " "));
    }
    CHECK((plain_seen.all().back().start_line == "GET /3 HTTP/1.1"));
    CHECK(plain_seen.all().back().count("authorization") == 0);
}

TEST_CASE("an endpoint's path goes before the request's, and OPTIONS * keeps its form") {
    Seen seen;
    FakeVendor vendor(echo_into(seen));
    TestProxy proxy("vendors:\n  base: {hosts: [base.example], addresses: [127.0.0.0/8], endpoints: [{url: \"http://" +
                    vendor.authority() + "/prefix\"}]}\n" + vendor_yaml("plain", plain_vendor, vendor, false));
    CHECK(proxy.raw(get("http://base.example/v1?a", "base.example")).body.starts_with("GET /prefix/v1?a HTTP/1.1\n"));
    CHECK(proxy.raw(get("http://base.example", "base.example")).body.starts_with("GET /prefix/ HTTP/1.1\n"));
    Wire wire = proxy.connected(plain_vendor);
    wire.write("OPTIONS * HTTP/1.1\r\nHost: " + plain_vendor + "\r\n\r\n");
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->body.starts_with("OPTIONS * HTTP/1.1\n"));
}

TEST_CASE("a Host that differs from the target is 421, and nothing reaches a vendor") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca()), plain(echo_into(seen));
    Keyed bench(vendor_yaml("pay", pay, vendor, true, "credential: key") +
                vendor_yaml("plain", plain_vendor, plain, false));
    struct Case {
        std::string target, host;
    };
    Wire wire = Wire::to(bench.proxy.port());
    for (const Case& each :
         {Case{"https://" + pay + "/", "evil.example"}, Case{"https://evil.example/", pay},
          Case{"https://" + pay + "/", plain_vendor}, Case{"http://" + plain_vendor + "/", pay},
          Case{"https://" + pay + "/", pay + ":80"}, Case{"https://" + pay + "/", pay + ":8443"},
          Case{"http://" + pay + "/", pay + ":443"}, Case{"https://" + pay + ":8443/", pay},
          Case{"https://" + pay + "/", ""}, Case{"http://" + pay + ":443/", pay + ":"},
          Case{"https://" + pay + "/", "x." + pay}, Case{"https://" + pay + "/", pay + ".evil.example"}}) {
        INFO(each.target << ", Host: " << each.host);
        wire.write(get(each.target, each.host));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 421);
        CHECK(answer->reason() == "authority_mismatch");
        CHECK(answer->field("sluice-outcome") == "refused");
    }
    CHECK(seen.size() == 0);
    CHECK(vendor.connections() + plain.connections() == 0);
}

TEST_CASE("an empty port is the scheme's own, in the target as in the Host") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    Keyed bench(vendor_yaml("pay", pay, vendor, true, "credential: key"));
    const std::string own = "127.0.0.1:" + std::to_string(bench.proxy.port());
    Wire wire = Wire::to(bench.proxy.port());
    std::size_t served = 0;
    for (const auto& [target, host] : {std::pair{"https://" + pay + ":/v1", pay}, std::pair{"https://" + pay + "/v1", pay + ":"}, std::pair{"https://" + pay + ":/v1", pay + ":443"}}) {
        INFO(target << ", Host: " << host);
        wire.write(get(target, host));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(seen.size() == ++served);
    }
    Wire inside = bench.proxy.connected(pay);
    inside.write("GET /v1 HTTP/1.1\r\nHost: " + pay + ":\r\n\r\n");
    const auto answer = inside.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    CHECK(bench.proxy.raw("CONNECT " + pay + ": HTTP/1.1\r\nHost: " + pay + "\r\n\r\n").status() == 400);   // RFC 9110 9.3.6: it has a port
}

TEST_CASE("a Host that names no host and port is 400 in every mode, and nothing reaches a vendor") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    Keyed bench(vendor_yaml("pay", pay, vendor, true, "credential: key"));
    const std::string own = "127.0.0.1:" + std::to_string(bench.proxy.port());
    for (const std::string& host : {pay + ", " + pay, pay + " " + pay, "user@" + pay, "https://" + pay + "/", pay + ":99999",
                                    pay + ":0x1bb", pay + ":443:443", std::string("[::1"), "*." + pay}) {
        INFO("Host: " << host);
        for (const std::string version : {"1.1", "1.0"}) {
            const std::string head = " HTTP/" + version + "\r\nHost: " + host + "\r\n\r\n";
            for (const std::string& target :
                 {"GET https://" + pay + "/v1", std::string("GET /pay/v1"), "GET http://" + own + "/pay/v1", "CONNECT " + pay + ":443"}) {
                INFO(target << " HTTP/" << version);
                const Message answer = bench.proxy.raw(target + head);
                CHECK(answer.status() == 400);
                CHECK(answer.reason() == "bad_request");
                CHECK(answer.body.find("Host") != std::string::npos);
            }
        }
        Wire inside = bench.proxy.connected(pay);
        inside.write("GET /v1 HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
        const auto answer = inside.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 400);
        CHECK(answer->reason() == "bad_request");
    }
    // RFC 9112 3.3: where the Host is all that names whom it is for, it cannot be empty; beside a target that names it, it differs.
    CHECK(bench.proxy.raw("GET /pay/v1 HTTP/1.1\r\nHost:\r\n\r\n").status() == 400);
    CHECK(bench.proxy.raw("GET https://" + pay + "/v1 HTTP/1.1\r\nHost:\r\n\r\n").status() == 421);
    CHECK(bench.proxy.raw("CONNECT " + pay + ":443 HTTP/1.1\r\nHost:\r\n\r\n").status() == 421);
    Wire inside = bench.proxy.connected(pay);
    inside.write("GET /v1 HTTP/1.1\r\nHost: \r\n\r\n");
    const auto answer = inside.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 400);
    CHECK(seen.size() == 0);
}

TEST_CASE("targets that are no http or https URL are refused") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("plain", plain_vendor, vendor, false));
    for (const char* target :
         {"ftp://plain.example/", "plain.example/", "plain.example", "http:/plain.example/", "http:plain.example",
          "http:///v1", "http://user:secret@plain.example/", "http://plain.example:0/", "http://plain.example:65536/",
          "http://plain.example:80:80/", "http://[plain.example]/", "http://plain..example/",
          "http://plain.example\\@evil.example/", "http://0x7f.1/", "http://2130706433/", "http://127.1/",
          "http://plain.example/#fragment", "*"}) {
        INFO(target);
        const Message answer = proxy.raw(get(target, plain_vendor));
        CHECK(answer.status() == 400);
        CHECK(answer.reason() == "bad_request");
    }
    CHECK(vendor.connections() == 0);
}

// ---- credentials
// -------------------------------------------------------------------------------------------------------

TEST_CASE("a credential never travels in clear text, unless the endpoint says http://") {
    Seen seen, plain_seen, meant_seen;
    FakeVendor vendor(echo_into(seen), vendor_ca()), plain(echo_into(plain_seen)), meant(echo_into(meant_seen));
    const auto named = [](const std::string& name, const FakeVendor& at, const std::string& more) {
        return "  " + name + ": {hosts: [\"" + at.authority() + "\"], addresses: [127.0.0.0/8, \"::1\"]" + more + "}\n";
    };
    Keyed bench(named("keyed", vendor, ", credential: key, tls: {ca: {file: @dir/vendor-ca.crt}}") +
                named("bare", plain, "") + vendor_yaml("meant", "meant.example", meant, false, "credential: key"));

    const Message refused = bench.proxy.raw(get("http://" + vendor.authority() + "/v1", vendor.authority()));
    CHECK(refused.status() == 503);
    CHECK(refused.reason() == "credential_unavailable");
    CHECK(refused.field("sluice-outcome") == "refused");
    CHECK(refused.body.find("https://") != std::string::npos);  // it names the fix
    CHECK(vendor.connections() == 0);
    {
        INFO("plain HTTP inside a CONNECT is no better");
        Wire wire = Wire::to(bench.proxy.port());
        wire.write("CONNECT " + vendor.authority() + " HTTP/1.1\r\nHost: " + vendor.authority() + "\r\n\r\n");
        REQUIRE(wire.read_head());
        wire.write(get("/v1", vendor.authority()));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->reason() == "credential_unavailable");
        CHECK(vendor.connections() == 0);
    }
    CHECK(bench.proxy.raw(get("https://" + vendor.authority() + "/v1", vendor.authority())).status() == 200);
    REQUIRE(seen.size() == 1);
    CHECK(seen.all().back().field("authorization") == "Bearer s3cr3t-t0ken");
    CHECK(seen.all().back().field("host") == vendor.authority());

    CHECK(bench.proxy.raw(get("http://" + plain.authority() + "/v1", plain.authority())).status() == 200);
    CHECK(plain_seen.all().back().count("authorization") == 0);
    CHECK(bench.proxy.raw(get("http://meant.example/v1", "meant.example")).status() == 200);
    CHECK(meant_seen.all().back().field("authorization") == "Bearer s3cr3t-t0ken");
}

TEST_CASE("a vendor that cannot prove its name sees neither request nor credential") {
    Seen seen;
    FakeVendor impostor(echo_into(seen), vendor_ca(), "other.example"), unknown_ca(echo_into(seen), vendor_ca());
    FakeVendor in_clear_text([](Wire& wire) {
        wire.read_some();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    Keyed bench(vendor_yaml("impostor", "impostor.example", impostor, true, "credential: key") +
                vendor_yaml("clear", "clear.example", in_clear_text, true, "credential: key") +
                "  unknown: {hosts: [unknown-ca.example], credential: key, addresses: [127.0.0.0/8], endpoints: [{url: "
                "\"https://" +
                unknown_ca.authority() + "\"}]}\n");
    for (const std::string host : {"impostor.example", "unknown-ca.example", "clear.example"}) {
        INFO(host);
        for (const Message& answer : {bench.proxy.raw(get("https://" + host + "/", host)), bench.proxy.get(host)}) {
            CHECK(answer.status() == 502);
            CHECK(answer.reason() == "tls_failed");
            CHECK(answer.field("sluice-outcome") == "failed");
        }
    }
    CHECK(seen.size() == 0);
}

TEST_CASE("a secret that cannot be read fails closed") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy("credentials: {key: {type: bearer, value: {file: @dir/nowhere}}}\nvendors:\n" +
                    vendor_yaml("pay", pay, vendor, true, "credential: key"));
    const Message answer = proxy.raw(get("https://" + pay + "/", pay, "Authorization: Bearer mine\r\n"));
    CHECK(answer.status() == 503);
    CHECK(answer.reason() == "credential_unavailable");
    CHECK(seen.size() == 0);
    CHECK(vendor.connections() == 0);
}

// ---- what may be reached
// -------------------------------------------------------------------------------------------------

TEST_CASE("a host that no vendor has is refused, and so is what a vendor's access rules do not let through") {
    Seen seen;
    FakeVendor vendor(echo_into(seen));
    TestProxy proxy("vendors:\n" +
                    vendor_yaml("pay", pay, vendor, false,
                                "allow: [\"GET|HEAD /v1/**\", \"POST /v1/charges\"]\ndeny: [\"* /v1/admin/**\"]") +
                    vendor_yaml("wild", "\"*.wild.example\"", vendor, false, "deny: [\"DELETE /**\"]"));
    struct Case {
        std::string method, url;
        unsigned status;
        std::string reason;
    };
    for (const Case& each : {Case{"GET", pay + "/v1/x", 200, ""},
                             Case{"HEAD", pay + "/v1/x", 200, ""},
                             Case{"POST", pay + "/v1/charges", 200, ""},
                             Case{"GET", pay + "/v1/x?y=/v1/admin/", 200, ""},
                             Case{"POST", pay + "/v1/x", 403, "not_allowed"},
                             Case{"POST", pay + "/v1/charges/1", 403, "not_allowed"},
                             Case{"GET", pay + "/v2", 403, "not_allowed"},
                             Case{"GET", pay + "/V1/x", 403, "not_allowed"},
                             Case{"get", pay + "/v1/x", 403, "not_allowed"},
                             Case{"DELETE", pay + "/v1/x", 403, "not_allowed"},
                             Case{"GET", pay + "/", 403, "not_allowed"},
                             Case{"GET", pay + "", 403, "not_allowed"},
                             Case{"GET", pay + "/v1/admin/x", 403, "not_allowed"},
                             Case{"GET", pay + "/v1/%61dmin/x", 403, "not_allowed"},
                             Case{"GET", pay + "/v1//admin/x", 403, "not_allowed"},
                             Case{"GET", "a.wild.example/", 200, ""},
                             Case{"GET", "a.b.wild.example/", 200, ""},
                             Case{"DELETE", "a.wild.example/x", 403, "not_allowed"},
                             Case{"GET", "wild.example/", 403, "unknown_vendor"},
                             Case{"GET", "notwild.example/", 403, "unknown_vendor"},
                             Case{"GET", "evil.example/", 403, "unknown_vendor"},
                             Case{"GET", pay + ":8080/v1/x", 403, "unknown_vendor"},
                             Case{"GET", "x." + pay + "/v1/x", 403, "unknown_vendor"},
                             Case{"GET", "127.0.0.1:1/", 403, "unknown_vendor"},
                             Case{"GET", "localhost:1/", 403, "unknown_vendor"}}) {
        INFO(each.method << " " << each.url);
        const std::size_t before = seen.size();
        Wire wire = Wire::to(proxy.port());
        wire.write(each.method + " http://" + each.url +
                   " HTTP/1.1\r\nHost: " + each.url.substr(0, each.url.find('/')) + "\r\n\r\n");
        const auto answer = wire.read_response(each.method == "HEAD");
        REQUIRE(answer);
        CHECK(answer->status() == each.status);
        CHECK(answer->reason() == each.reason);
        CHECK(seen.size() == before + (each.status == 200 ? 1 : 0));
    }
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="pay",reason="not_allowed"})") > 0);
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="_other",reason="unknown_vendor"})") > 0);
    CHECK(proxy.metrics().find("evil.example") == std::string::npos);
}

TEST_CASE("loopback is refused to a vendor that does not say addresses, by name, by address and by endpoint") {
    Seen seen;
    FakeVendor vendor(echo_into(seen));
    const std::string port = std::to_string(vendor.port());
    TestProxy proxy(
        "vendors:\n"
        "  named: {hosts: [\"localhost:" +
        port +
        "\"]}\n"
        "  address: {hosts: [\"127.0.0.1:" +
        port + "\", \"127.9.9.9:" + port + "\", \"[::1]:" + port + "\", \"[::ffff:127.0.0.1]:" + port +
        "\", \"0.0.0.0:" + port +
        "\", 169.254.169.254]}\n"
        "  endpoint: {hosts: [endpoint.example], endpoints: [{url: \"http://localhost:" +
        port +
        "\"}]}\n"
        "  other: {hosts: [other.example], addresses: [10.0.0.0/8], endpoints: [{url: \"http://127.0.0.1:" +
        port +
        "\"}]}\n"
        "  pinned: {hosts: [pinned.example], mode: tunnel, endpoints: [{url: \"http://localhost:" +
        port + "\"}]}\n");
    for (const std::string& authority :
         {"localhost:" + port, "127.0.0.1:" + port, "127.9.9.9:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port,
          "0.0.0.0:" + port, std::string("169.254.169.254"), std::string("endpoint.example"),
          std::string("other.example")}) {
        INFO(authority);
        const Message answer = proxy.raw(get("http://" + authority + "/", authority));
        CHECK(answer.status() == 403);
        CHECK(answer.reason() == "address_refused");
        CHECK(answer.field("sluice-outcome") == "refused");
    }
    CHECK(proxy.raw("CONNECT pinned.example:443 HTTP/1.1\r\nHost: pinned.example:443\r\n\r\n").reason() ==
          "address_refused");
    CHECK(vendor.connections() == 0);
}
