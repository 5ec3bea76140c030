// What programs print that give credentials.
#include "proxy/credentials/exec_reply.hpp"

#include <catch2/catch.hpp>

#include "proxy/http/date.hpp"

using namespace sluice;

namespace {

const WallTime asked = *parse_rfc3339("2026-11-26T10:00:00Z");

std::string fault_of(const std::variant<Minted, ExecFault>& read) {
    const auto* fault = std::get_if<ExecFault>(&read);
    return fault ? *fault : "(given)";
}

}  // namespace

TEST_CASE("an ExecCredential is a token until its expirationTimestamp") {
    const auto read = read_exec_credential(R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"2026-11-26T12:30:00+02:00"}})", asked);
    REQUIRE(std::holds_alternative<Minted>(read));
    const auto& minted = std::get<Minted>(read);
    CHECK(std::get<Secret>(minted.what).reveal() == "t");
    CHECK(minted.lifetime == Duration(30min));
    const auto with = [](const std::string& status) { return fault_of(read_exec_credential(R"({"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":)" + status + "}", asked)); };
    CHECK(with(R"({"token":"t"})") == "(given)");
    CHECK(with(R"({"token":"t","expirationTimestamp":null})") == "(given)");
    CHECK(with(R"({"token":"t","expirationTimestamp":"tomorrow"})") == "status.expirationTimestamp is no time as RFC 3339 has it");
    CHECK(with(R"({"token":"t","expirationTimestamp":"2026-11-26T10:00:00Z"})") == "what it printed has ended already: status.expirationTimestamp is '2026-11-26T10:00:00Z'");
    CHECK(with(R"({"clientCertificateData":"x"})").find("client certificate") != std::string::npos);
    CHECK(with("{}") == "there is no status.token in it");
    CHECK(fault_of(read_exec_credential(R"({"apiVersion":"client.authentication.k8s.io/v1alpha1","kind":"ExecCredential","status":{"token":"t"}})", asked)).find("apiVersion is 'client.authentication.k8s.io/v1alpha1'") == 0);
    CHECK(fault_of(read_exec_credential(" \n", asked)) == "it printed nothing");
    CHECK(fault_of(read_exec_credential("[]", asked)) == "what it printed is not a JSON object");
}

TEST_CASE("a credential_process gives keys, with or without an end") {
    const auto read = read_credential_process(R"({"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"s","SessionToken":"t","Expiration":"2026-11-26T11:00:00Z"})", asked);
    REQUIRE(std::holds_alternative<Minted>(read));
    const auto& keys = std::get<AwsSecretKeys>(std::get<Minted>(read).what);
    CHECK(keys.access_key_id == "AKID");
    CHECK(keys.secret_access_key.reveal() == "s");
    CHECK(keys.session_token.reveal() == "t");
    CHECK(std::get<Minted>(read).lifetime == Duration(1h));
    CHECK(fault_of(read_credential_process(R"({"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"s"})", asked)) == "(given)");
    CHECK(fault_of(read_credential_process(R"({"Version":2,"AccessKeyId":"AKID","SecretAccessKey":"s"})", asked)) == "its Version is not 1");
    CHECK(fault_of(read_credential_process(R"({"Version":1,"SecretAccessKey":"s"})", asked)) == "there is no AccessKeyId in it");
    CHECK(fault_of(read_credential_process(R"({"Version":1,"AccessKeyId":"AKID"})", asked)) == "there is no SecretAccessKey in it");
}

TEST_CASE("a docker helper gives a name and a password, or a token") {
    const auto pair = read_docker_helper(R"({"ServerURL":"x","Username":"u","Secret":"p"})");
    CHECK(std::get<UserPassword>(std::get<Minted>(pair).what).password.reveal() == "p");
    const auto token = read_docker_helper(R"({"Username":"<token>","Secret":"t"})");
    CHECK(std::get<Secret>(std::get<Minted>(token).what).reveal() == "t");
    CHECK(fault_of(read_docker_helper(R"({"Username":"u"})")) == "there is no Secret in it");
    CHECK(fault_of(read_docker_helper(R"({"Secret":"p"})")) == "there is no Username in it");
}
