// What Vault answers, and what of it is believed.
#include "proxy/credentials/vault_reply.hpp"

#include <catch2/catch.hpp>

#include "proxy/credentials/renewal_plan.hpp"

using namespace sluice;

namespace {

std::string fault_of(const std::variant<VaultLogin, VaultDenied>& read) {
    const auto* denied = std::get_if<VaultDenied>(&read);
    return denied ? denied->what : "(given)";
}
std::string fault_of(const std::variant<VaultSecret, VaultDenied>& read) {
    const auto* denied = std::get_if<VaultDenied>(&read);
    return denied ? denied->what : "(given)";
}
VaultSecret secret(std::string_view body) {
    auto read = VaultSecret::read(200, body);
    INFO(fault_of(read));
    REQUIRE(std::holds_alternative<VaultSecret>(read));
    return std::get<VaultSecret>(std::move(read));
}
std::string value_of(const VaultSecret& secret, std::string_view field) {
    std::string why;
    const auto value = secret.value(field, why);
    return value ? std::string(value->reveal()) : "(" + why + ")";
}
std::string path(std::string_view text) {
    std::string why;
    return vault_api_path(text, why).value_or("(" + why + ")");
}

}  // namespace

TEST_CASE("a login gives a token with its time, or is refused in one line") {
    const auto read = read_vault_login(200, R"({"auth":{"client_token":"hvs.x","lease_duration":3600,"renewable":true}})");
    const auto& login = std::get<VaultLogin>(read);
    CHECK(login.token.reveal() == "hvs.x");
    CHECK(login.lifetime == Duration(1h));
    CHECK(login.renewable);
    const auto root = read_vault_login(200, R"({"auth":{"client_token":"hvs.x","lease_duration":0,"renewable":false}})");
    CHECK_FALSE(std::get<VaultLogin>(root).lifetime.has_value());
    CHECK(fault_of(read_vault_login(200, R"({"auth":null})")) == "answered 200 but there is no auth.client_token in it");
    CHECK(fault_of(read_vault_login(200, R"({"auth":{"client_token":"a\r\nX-Evil: 1","lease_duration":1}})")) == "answered 200 but there is no auth.client_token in it");
    CHECK(fault_of(read_vault_login(200, R"({"auth":{"client_token":"t","lease_duration":-1}})")) == "answered 200 but auth.lease_duration is no number of seconds");
    CHECK(fault_of(read_vault_login(200, R"({"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x"}}})")).find("second factor") != std::string::npos);
    CHECK(fault_of(read_vault_login(403, R"({"errors":["1 error occurred:\n\t* permission denied\n\n"]})")) == "answered 403: 1 error occurred: * permission denied");
    CHECK(fault_of(read_vault_login(502, "<html>")) == "answered 502");
    CHECK(fault_of(read_vault_login(307, "")) == "answered 307: it is a standby that points to another server; write that one's address");
}

TEST_CASE("the versions of a KV store are told apart by what they answer") {
    CHECK(value_of(secret(R"({"lease_id":"","lease_duration":0,"data":{"data":{"key":"two"},"metadata":{"version":3}}})"), "key") == "two");
    CHECK(value_of(secret(R"({"lease_id":"","lease_duration":2764800,"data":{"key":"one","data":{"key":"no"}}})"), "key") == "one");
    CHECK(value_of(secret(R"({"data":{"data":{"key":"no"},"metadata":"a value","key":"one"}})"), "key") == "one");
    CHECK(value_of(secret(R"({"data":{"n":-5,"f":1.5,"b":true,"e":""}})"), "n") == "-5");
    CHECK(value_of(secret(R"({"data":{"n":-5,"f":1.5,"b":true,"e":""}})"), "f") == "('f' is no text there)");
    CHECK(value_of(secret(R"({"data":{}})"), "x") == "(there is no 'x' there, but nothing)");
    CHECK(fault_of(VaultSecret::read(200, R"({"data":null})")) == "answered 200 but there is no data in it");
    CHECK(fault_of(VaultSecret::read(404, R"({"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine."]})")) == "answered 404: Invalid path for a versioned K/V secrets engine.");
}

TEST_CASE("only what has a lease, or says so, ends; a KV store is looked at again") {
    const auto lease = secret(R"({"lease_id":"db/1","lease_duration":600,"renewable":true,"data":{"username":"u"}})");
    CHECK(lease.lease().lifetime == Duration(10min));
    CHECK(lease.lease().renewable);
    CHECK_FALSE(lease.lease().read_again.has_value());
    const auto kv = secret(R"({"lease_id":"","lease_duration":2764800,"renewable":false,"data":{"key":"k"}})");
    CHECK_FALSE(kv.lease().lifetime.has_value());
    CHECK(kv.lease().read_again == Duration(5min));
    CHECK(secret(R"({"lease_id":"","lease_duration":30,"data":{"key":"k","ttl":"30s"}})").lease().read_again == Duration(30s));
    CHECK(secret(R"({"lease_id":"","lease_duration":1,"data":{"key":"k"}})").lease().read_again == Duration(5s));
    const auto token = secret(R"({"lease_id":"","lease_duration":0,"data":{"token":"eyJ","ttl":900}})");   // identity/oidc/token
    CHECK(token.lease().lifetime == Duration(15min));
    CHECK_FALSE(secret(R"({"data":{"data":{"ttl":900},"metadata":{}}})").lease().lifetime.has_value());
    CHECK(std::holds_alternative<VaultDenied>(read_vault_lease(200, R"({"lease_id":"","lease_duration":600})")));
}

TEST_CASE("a path of Vault leads nowhere else") {
    CHECK(path("kv/data/llm") == "/v1/kv/data/llm");
    CHECK(path("kv/data/a b%2F\xc3\xa4") == "/v1/kv/data/a%20b%252F%C3%A4");
    for (const char* bad : {"", "/kv", "kv/", "kv//x", "kv/../sys", "kv/./x", "kv?list=true", "kv#x", "kv\\x", "kv/\n"}) {
        INFO(bad);
        CHECK(path(bad).starts_with("("));
    }
}

TEST_CASE("what does not end is read again when its issuer says so, and used on while that fails") {
    const TimePoint begin = TimePoint{} + 1h;
    RenewalPlan plan({}, true);
    plan.began(begin);
    REQUIRE(plan.fetched(begin, {}, 0, Duration(5min)));
    CHECK(plan.due() == begin + 5min);
    CHECK(plan.usable_until() == never);
    plan.began(begin);
    REQUIRE(plan.fetched(begin, {}, 0.999999, Duration(5min)));
    CHECK(plan.due() > begin + 239s);
    CHECK(plan.due() < begin + 241s);
    plan.failed(begin + 5min, 0.5);
    CHECK(plan.has_one(begin + 24h));
    plan.began(begin);
    REQUIRE(plan.fetched(begin, Duration(1min), 0, Duration(5min)));   // its end comes first
    CHECK(plan.due() == begin + 36s);
}
