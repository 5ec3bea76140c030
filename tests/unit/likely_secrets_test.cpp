#include "proxy/credentials/likely_secrets.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

TEST_CASE("a word that looks like a key or a token is masked wherever it stands") {
    const std::string secret = GENERATE(as<std::string>{}, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIA2J7Q9X4Z8L3M5N6P", "9f86d081884c7d659a2feaa0c55ad015",
                                        "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "sk-proj-4Tz8Qw1Lx9Rk2Vn7", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl",
                                        "dXNlcjpTM2NyM3RQYXNzdzByZA==");
    const std::string shown = mask_likely_secrets("refused '" + secret + "', sorry; see https://help.example/" + secret);
    INFO(shown);
    CHECK(shown.find(secret.substr(0, 12)) == std::string::npos);
    CHECK(shown.find(secret.substr(secret.size() - 12)) == std::string::npos);
    CHECK(shown.starts_with("refused '***"));
}

TEST_CASE("what stands behind the name of a secret is masked, however it looks") {
    const std::string before_and_after[][2] = {
        {"debug token=exec-secret-stderr-1", "debug token=***"},
        {"PGPASSWORD=hunter psql: refused", "PGPASSWORD=*** psql: refused"},
        {"client_secret = tiger, retrying", "client_secret = ***, retrying"},
        {"POST https://auth.example/token?client_id=us&client_secret=tiger&x=1 failed", "POST https://auth.example/token?client_id=us&client_secret=***&x=1 failed"},
        {"{\"access_token\":\"tiger\",\"n\":1}", "{\"access_token\":***,\"n\":1}"},
        {"'password': 'two words' is wrong", "'password': *** is wrong"},
        {"password: hunter2", "password: ***"},
        {"+ login --password tiger --user us", "+ login --password *** --user us"},
        {"Authorization: Bearer t1ger", "Authorization: Bearer ***"},
        {"sent Basic dTpwMQ== to it", "sent Basic *** to it"},
        {"token=", "token="},
        {"pass=tiger DBPASS: t1ger passphrase='a b'", "pass=*** DBPASS: *** passphrase=***"},
        {"session=tiger, session_id: t1ger", "session=***, session_id: ***"},
        {"> x-api-key: tiger", "> x-api-key: ***"},
        {"X-Auth-Token: tiger", "X-Auth-Token: ***"},
        {"got bearer correcthorsebattery from it", "got bearer *** from it"},
        {"Authorization: Bearer correcthorsebattery", "Authorization: Bearer ***"},
        {"vault gave hvs.correcthorse, and https://v.example/hvs.correcthorse", "vault gave ***, and https:***"},
        {"no such key sk-live-correcthorse", "no such key ***"},
        {"fatal: unable to access 'https://bot:hunter2pass@git.example/x/'", "fatal: unable to access 'https://***@git.example/x/'"},
        {"postgres://svc:p/w@db:5432/x, http://host.example/a@b", "postgres://svc:p/w@db:5432/x, http://host.example/a@b"},
        {"psql postgres://svc:pw@db:5432/x?a=b", "psql postgres://***@db:5432/x?a=b"},
    };
    for (const auto& [before, after] : before_and_after) CHECK(mask_likely_secrets(before) == after);
}

TEST_CASE("what people need to mend it stays as it is") {
    const std::string line = GENERATE(as<std::string>{}, "", "login expired: run corp login", "error: exec plugin: credentials: not-found", "error getting token: connection refused",
                                      "An error occurred (UnauthorizedOperationException) when calling the AssumeRoleWithWebIdentity operation",
                                      "dial tcp auth.corp.example:8443: connect: connection refused", "/opt/kubelogin/v1.2.3-linux-amd64/kubelogin: No such file or directory",
                                      "2026-11-27T20:49:00Z host-10-0-12-34.eu-central-1.internal: basic auth is off", "the bearer token expired",
                                      "3 passed, 1 failed: bearer authentication required", "session: expired", "hvs. is not enough", "pass the --help flag", "session closed");
    CHECK(mask_likely_secrets(line) == line);
}

TEST_CASE("any bytes are a line") {
    std::string line;
    for (int c = 0; c < 256; ++c) line += static_cast<char>(c);
    for (std::size_t at = 0; at < line.size(); ++at) CHECK_NOTHROW(mask_likely_secrets("key" + line.substr(at)));
    for (const char* text : {"token", "token ", "token:", "token: ", "token=\"", "--token ", "bearer ", "key='", "\"", "token=token=token"}) CHECK_NOTHROW(mask_likely_secrets(text));
}
