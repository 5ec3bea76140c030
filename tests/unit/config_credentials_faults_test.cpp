#include <catch2/catch.hpp>

#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::PolicyWorld;
using test::printed;
using test::told;

namespace {

/// Faults of one credential `k`, which begins in line 3, column 7.
struct Row {
    const char* credential;
    std::vector<std::string> faults;
};

void check(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        const Decoded decoded =
            PolicyWorld{}.decode(std::string("version: 1\ncredentials:\n  k: {") + row.credential + "}\n");
        INFO(row.credential);
        std::vector<std::string> messages;
        for (const Fault& fault : decoded.faults) messages.push_back(fault.message);
        CHECK(messages == row.faults);
        CHECK_FALSE(decoded.config);
        for (const Fault& fault : decoded.faults) CHECK(fault.line == 3);
    }
}

const std::string client = "type: oauth2_client_credentials, token_url: \"https://a.example\", client_id: c";

}  // namespace

TEST_CASE("a client shows a token endpoint one thing, and has it") {
    const auto row = [](const std::string& keys, std::vector<std::string> faults) {
        static std::vector<std::string> kept;
        kept.reserve(64);
        kept.push_back(client + keys);
        return Row{kept.back().c_str(), std::move(faults)};
    };
    check({
        row("", {"'client_secret' is missing in credentials.k: a token endpoint wants to know who asks: write it, "
                 "`key`, `tls.client`, or client_auth: none"}),
        row(", client_auth: private_key_jwt",
            {"'key' is missing in credentials.k: private_key_jwt signs an assertion with a private key"}),
        row(", client_auth: client_secret_post",
            {"'client_secret' is missing in credentials.k: client_secret_post shows the token endpoint a secret"}),
        row(", client_auth: tls_client_auth, tls: {min: \"1.3\"}",
            {"'tls.client' is missing in credentials.k: tls_client_auth shows the token endpoint a certificate"}),
        row(", client_auth: none, client_secret: {env: S}",
            {"a secret that is not used in credentials.k.client_secret: client_auth is none"}),
        row(", client_auth: client_secret_basic, client_secret: {env: S}, key: {env: K}",
            {"a key that is not used in credentials.k.key: client_auth is client_secret_basic"}),
        row(", client_secret: {env: S}, key: {env: K}",
            {"beside `client_secret` it is not clear which is meant in credentials.k.key: write client_auth: "
             "client_secret_basic or private_key_jwt, and leave the other out"}),
        row(", client_secret: {env: S}, kid: a", {"no `key` that it could be about in credentials.k.kid: write `key`"}),
        row(", client_secret: {env: S}, client_auth: secret",
            {"'secret' is not client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth or none in "
             "credentials.k.client_auth"}),
        row(", client_secret: {env: S}, scope: [\"a b\"]",
            {"'a b' is not a scope in credentials.k.scope[0]: one scope an entry"}),
        row(", key: {env: K}, overlap: {secret: {env: O}}",
            {"a secret before it in credentials.k.overlap: only a client_secret has one"}),
        row(", client_secret: {env: S}, timeout: {total: 1m}",
            {"'1m' is not a duration in credentials.k.timeout.total: it must be from 1ms to 20s"}),
        row(", client_secret: {env: S}, refresh_on: [200]",
            {"'200' is not a whole number from 400 to 599 in credentials.k.refresh_on[0]"}),
        row(", client_secret: {env: S}, refresh_before: 1d",
            {"'1d' is not a duration in credentials.k.refresh_before: it must be from 1s to 12h"}),
        row(", client_secret: {env: S}, params: {scope: x}",
            {"'scope' is not a parameter's name in credentials.k.params: Sluice writes it itself, from the keys of the "
             "credential"}),
    });
    CHECK(printed(PolicyWorld{}.decode("version: 1\ncredentials:\n  k: {" + client +
                                       ", params: {client_secret: hunter2, my_password: hunter2}}\n"))
              .find("hunter2") == std::string::npos);
}

TEST_CASE("an issuer is reached over TLS, or on this machine") {
    const std::string rest = ", client_id: c, client_secret: {env: S}";
    const auto with = [&](const std::string& url, const std::string& more = "") {
        std::vector<std::string> messages;
        for (const Fault& fault :
             PolicyWorld{}
                 .decode("version: 1\ncredentials:\n  k: {type: oauth2_client_credentials, token_url: \"" + url + "\"" +
                         rest + more + "}\n")
                 .faults)
            if (!fault.warning) messages.push_back(fault.message);
        return messages;
    };
    const std::string why =
        ": what an issuer is shown and gives is secret: write https:// (http:// is for localhost, loopback and a "
        "cloud's metadata address)";
    CHECK(with("http://auth.example/t") ==
          std::vector<std::string>{"'http://auth.example/t' is not an issuer's URL in credentials.k.token_url" + why});
    CHECK(with("http://localhost:1/t") ==
          std::vector<std::string>{"localhost in credentials.k.token_url is a loopback address: write addresses: "
                                   "[\"127.0.0.1\"] too if that is meant"});
    CHECK(with("http://localhost:1/t", ", addresses: [127.0.0.0/8]").empty());
    CHECK(with("https://10.1.2.3/t") ==
          std::vector<std::string>{"10.1.2.3 in credentials.k.token_url is a private address: write addresses: "
                                   "[\"10.1.2.3\"] too if that is meant"});
    CHECK(
        with("https://joe:hunter2@a.example/t") ==
        std::vector<std::string>{
            "a URL without user and password is expected in credentials.k.token_url: a secret goes into a credential"});
}

TEST_CASE("keys that make no sense together are refused, with what to write") {
    check({
        {"type: bearer, value: {env: K}, placeholder: KEY",
         {"'KEY' is not a placeholder in credentials.k.placeholder: it is shorter than 8 characters, and would be "
          "found where nobody meant it"}},
        {"type: bearer, value: {env: K}, require: true",
         {"nothing to require in credentials.k.require: write `placeholder`, what requests have to hold, or leave this "
          "out"}},
        {"type: bearer, value: {env: K}, tls: {}",
         {"unknown key 'tls' in credentials.k: its value is read, not fetched (of a {vault: ...} the credential of "
          "type vault says it)"}},
        {"type: basic, username: u, password: {env: K}, header: X",
         {"unknown key 'header' in credentials.k: it goes into Authorization (RFC 7617)"}},
        {"type: bearer, value: {env: K}, overlap: {file: /old}",
         {"'secret' is missing in credentials.k.overlap", "unknown key 'file' in credentials.k.overlap"}},
        {"type: oauth2_token_exchange, token_url: \"https://a.example\", subject_token: {env: S}, subject_token_type: "
         "jvt, actor_token_type: jwt",
         {"'jvt' is not a type of token in credentials.k.subject_token_type: write access_token, refresh_token, "
          "id_token, jwt, saml1 or saml2 (RFC 8693 3), or a URI (did you mean 'jwt'?)",
          "a type without its token in credentials.k.actor_token_type: write `actor_token` too"}},
        {"type: oauth2_jwt_bearer, token_url: \"https://a.example\", key: {env: K}, issuer: i, lifetime: 1d",
         {"'1d' is not a duration in credentials.k.lifetime: it must be from 10s to 12h"}},
        {"type: oauth2_jwt_bearer, token_url: \"https://a.example\", key: {env: K}, issuer: i, claims: {exp: 1}",
         {"claim 'exp' in credentials.k.claims is Sluice's own: it comes from `issuer`, `subject`, `audience`, "
          "`lifetime` and the time"}},
        {"type: aws_sigv4, region: r, service: s, placeholder: SLUICE_KEY",
         {"unknown key 'placeholder' in credentials.k: each request is signed: no value is put anywhere, and what the "
          "application signed with keys of its own making is replaced"}},
        {"type: aws_sigv4, service: s, source: imds, profile: p",
         {"'region' is missing in credentials.k",
          "a profile that is not used in credentials.k.profile: only source: file (or auto) reads profiles"}},
        {"type: aws_sigv4, region: r, service: s, assume_role: {arn: x, duration: 14m}",
         {"'x' is not the ARN of a role in credentials.k.assume_role.arn: write the ARN of a role, as "
          "arn:aws:iam::123456789012:role/name",
          "'14m' is not a duration in credentials.k.assume_role.duration: it must be from 15m to 12h"}},
        {"type: gcp, key: {env: K}, scope: [s], audience: a",
         {"beside `scope` it is not clear which token is meant in credentials.k.audience: `scope` is for an access "
          "token, `audience` for an ID token"}},
        {"type: gcp, key: {env: K}, scope: [s], lifetime: 2h",
         {"a lifetime that Google does not ask for in credentials.k.lifetime: only with `impersonate` it does",
          "'2h' is not a duration in credentials.k.lifetime: it must be from 1m to 1h"}},
        {"type: gcp",
         {"'scope' or 'audience' is missing in credentials.k: an access token has scopes, an ID token an audience",
          "'key' is missing in credentials.k: the JSON file that Google gave out, or source: metadata"}},
        {"type: gcp, source: metadata, key: {env: K}",
         {"a key that is not used in credentials.k.key: the metadata server needs none"}},
        {"type: github_app, app_id: 1, installation_id: x, key: {env: K}, repositories: [o/r], permissions: {contents: "
         "all}",
         {"'x' is not an installation's number in credentials.k.installation_id: it is a number, as GitHub shows it in "
          "the URL of the installation's settings",
          "'o/r' is not a repository in credentials.k.repositories[0]: GitHub wants the repository's name without its "
          "owner",
          "'all' is not read, write or admin in credentials.k.permissions.contents"}},
        {"type: exec, command: []", {"a list of the program and its arguments without any in credentials.k.command"}},
        {"type: exec, command: [\"\"], format: docker",
         {"'server' is missing in credentials.k: a helper of Docker is asked for the password of one registry",
          "no program in credentials.k.command: its first entry is the program to run"}},
        {"type: exec, command: [a], format: credential_process, prefix: x",
         {"'region' is missing in credentials.k: keys of AWS sign for a region and a service",
          "'service' is missing in credentials.k: keys of AWS sign for a region and a service",
          "nothing to place in credentials.k.prefix: with keys of AWS each request is signed"}},
        {"type: exec, command: [a], env: {T: \"${TOKEN}\"}",
         {"a variable in credentials.k.env.T: what is written here is shown; write {env: NAME}, which is read for each "
          "run and never shown"}},
        {"type: exec, command: [a], tls: {}",
         {"unknown key 'tls' in credentials.k: nothing is called: a program is run"}},
        {"type: exec, command: [a], overlap: {secret: {env: O}}",
         {"unknown key 'overlap' in credentials.k: what is fetched has no secret before it; only a client_secret has "
          "one"}},
        {"type: hmac, key: {env: K}, string_to_sign: \"\"",
         {"'header' is missing in credentials.k: something has to carry the signature (or write {signature} in one of "
          "`headers`)",
          "'' is not a template in credentials.k.string_to_sign: it is empty"}},
        {"type: hmac, key: {env: K}, string_to_sign: x, header: A, headers: {a: \"{signature}\"}",
         {"a second place for the signature in credentials.k.header: one of `headers` has {signature} already",
          "header 'a' in credentials.k.headers is there already"}},
        {"type: hmac, key: {env: K}, string_to_sign: x, header: A, placeholder: SLUICE_KEY",
         {"unknown key 'placeholder' in credentials.k: each request is signed: there is no value that could stand in "
          "its place"}},
        {"type: mtls, cert: {file: /c}, key: {file: /k}, placeholder: SLUICE_KEY",
         {"unknown key 'placeholder' in credentials.k: nothing is put into a request: the certificate is shown when "
          "the connection is made"}},
    });
}

TEST_CASE("Vault: what is read, and how to log in") {
    check({
        {"type: vault, address: \"https://v.example\", auth: {token: {env: T}}, path: kv/data/a",
         {"'field' is missing in credentials.k: which value of 'kv/data/a' is meant? Or write `username_field` and "
          "`password_field`"}},
        {"type: vault, address: \"https://v.example\", auth: {token: {env: T}}, path: /v1/kv, field: a",
         {"'/v1/kv' is not a path in Vault in credentials.k.path: it is what follows /v1/ in Vault's API, such as "
          "kv/data/llm"}},
        {"type: vault, address: \"https://v.example\", auth: {token: {env: T}}, field: a",
         {"nothing that it could be about in credentials.k.field: without `path` this is a login for {vault: ...} "
          "elsewhere; write `path`, or leave this out"}},
        {"type: vault, address: \"https://v.example\", auth: {token: {env: T}}, path: a/b, username_field: a",
         {"'password_field' is missing in credentials.k: Basic takes both (RFC 7617)"}},
        {"type: vault, address: \"https://v.example\", auth: {token: {env: T}}, path: a/b, field: c, tls: {client: {cert: {file: /c}, key: "
         "{vault: \"kv/data/a#k\"}}}",
         {"a client certificate for Vault that is in no file in credentials.k.tls: it is needed before Vault can be asked for anything; "
          "write {file: /run/secrets/x}"}},
        {"type: vault, address: \"https://v.example\", auth: {}",
         {"no way to log in in credentials.k.auth: write one of token, kubernetes, jwt and approle"}},
        {"type: vault, address: \"https://v.example\", auth: {token: {env: T}, jwt: {role: r, token: {env: J}}}",
         {"more than one way to log in in credentials.k.auth: write one of token, kubernetes, jwt and approle"}},
        {"type: bearer, value: {vault: kv/data/a}",
         {"'kv/data/a' is not a value in Vault in credentials.k.value.vault: write the path, '#' and which of its "
          "values, as in kv/data/llm#key"}},
        {"type: bearer, value: {env: K, login: v}",
         {"a login without `vault` in credentials.k.value.login: only what is in Vault needs one"}},
        {"type: bearer, value: {vault: \"kv/data/a#b\", login: v}",
         {"no credential of type vault is called 'v' in credentials.k"}},
        {"type: bearer, value: {vault: \"kv/data/a#b\", login: k}",
         {"credential 'k' in credentials.k is no login: one of type vault says where Vault is and how to log in"}},
        {"type: vault, address: \"https://v.example\", auth: {approle: {role_id: r, secret_id: {vault: "
         "\"kv/data/a#b\"}}}",
         {"logins go in a circle in credentials.k.auth: k -> k; one of them needs its secret from a file or a "
          "variable"}},
    });
}

TEST_CASE("two credentials begin with one refresh token: both places are told") {
    const auto crm = [](const std::string& name, const std::string& token) {
        return "  " + name + ": {type: oauth2_refresh_token, refresh_token: " + token + ", token_url: \"https://a.example\", client_id: c, client_secret: {env: S}}\n";
    };
    const auto faults = [&](const std::string& policy) {
        std::vector<std::string> found = told(PolicyWorld{}.decode("version: 1\ncredentials:\n" + policy));
        std::erase_if(found, [](const std::string& line) { return line.find("warning") != line.npos; });
        return found;
    };
    CHECK(faults(crm("crm", "{file: /r}") + crm("wide", "{file: /r}")) ==
          std::vector<std::string>{
              "4:53: credentials.wide begins with the refresh token of credentials.crm (policy.yaml:3:52): an issuer that rotates them takes each once, and "
              "may take the second use for theft; get it one of its own, or let all vendors name one credential"});
    CHECK(faults(crm("crm", "{file: /r}") + crm("wide", "{file: /other}") + crm("third", "{env: R}")).empty());
}

TEST_CASE("logins are told apart, and none is a vendor's credential") {
    const std::string login = "{type: vault, address: \"https://v.example\", auth: {token: {env: T}}}";
    const auto faults = [&](const std::string& policy) { return told(PolicyWorld{}.decode("version: 1\n" + policy)); };
    CHECK(faults("credentials:\n  vaulta: " + login + "\n  vaultb: " + login +
                 "\n  k: {type: bearer, value: {vault: \"a/b#c\"}}\n  l: {type: bearer, value: {vault: \"a/b#c\", "
                 "login: valta}}\n") ==
          std::vector<std::string>{
              "5:28: several logins for a secret of Vault in credentials.k: say which with `login`: vaulta, vaultb",
              "6:52: no credential of type vault is called 'valta' in credentials.l (did you mean 'vaulta'?)"});
    CHECK(faults("credentials:\n  v: " + login +
                 "\nvendors:\n  a: {hosts: [a.example], credential: v, routes: [{match: GET /, credential: v}]}\n") ==
          std::vector<std::string>{"5:39: credential 'v' in vendors.a.credential is a login for {vault: ...} "
                                   "elsewhere: without `path` there is nothing in it that a request could be given",
                                   "5:78: credential 'v' in vendors.a.routes[0].credential is a login for {vault: ...} "
                                   "elsewhere: without `path` there is nothing in it that a request could be given"});
}

TEST_CASE("a credential and its vendor fit together") {
    const std::string credentials =
        "credentials:\n  m: {type: mtls, cert: {file: /c}, key: {file: /k}}\n  aws: {type: aws_sigv4, region: r, "
        "service: s}\n"
        "  h: {type: hmac, key: {env: K}, string_to_sign: x, header: X-Sig, headers: {X-Time: "
        "\"{timestamp}\"}}\nvendors:\n  a: ";
    const auto faults = [&](const std::string& vendor) {
        std::vector<std::string> messages;
        for (const Fault& fault : PolicyWorld{}.decode("version: 1\n" + credentials + vendor + "\n").faults)
            if (!fault.warning)
                messages.push_back(std::to_string(fault.line) + ":" + std::to_string(fault.column) + ": " +
                                   fault.message);
        return messages;
    };
    using Faults = std::vector<std::string>;
    CHECK(faults("{hosts: [a.example], credential: m, tls: {client: {cert: {file: /c}, key: {file: /k}}}}") ==
          Faults{"7:39: credential 'm' in vendors.a.credential is a client certificate, and `tls.client` is another "
                 "one: write one of them"});
    CHECK(faults("{endpoints: [{url: \"http://a.example\"}], credential: m}") ==
          Faults{"7:59: credential 'm' in vendors.a.credential is a client certificate, and an endpoint is http://: "
                 "none is shown there"});
    CHECK(faults("{hosts: [a.example], routes: [{match: GET /, credential: m}]}")
              .at(0)
              .starts_with("7:63: credential 'm' in vendors.a.routes[0].credential is a client certificate: it is "
                           "shown when a connection is made"));
    CHECK(faults("{hosts: [a.example], routes: [{match: GET /, credential: asw}]}") ==
          Faults{"7:63: no credential is called 'asw' in vendors.a.routes[0].credential (did you mean 'aws'?)"});
    CHECK(
        faults("{hosts: [a.example], credential: aws, idempotency: {header: X-Amz-Date}}") ==
        Faults{"7:66: header 'X-Amz-Date' in vendors.a.idempotency.header belongs to credential 'aws' of vendor 'a'"});
    CHECK(faults("{hosts: [a.example], idempotency: {header: x-time}, routes: [{match: GET /, credential: h}]}") ==
          Faults{"7:49: header 'x-time' in vendors.a.idempotency.header belongs to credential 'h' of vendor 'a'"});
    CHECK(faults("{hosts: [a.example], mode: tunnel, scrub: head}")
              .at(0)
              .starts_with("7:41: scrubbing for a vendor in mode tunnel in vendors.a.scrub: "));
    CHECK(faults("{hosts: [a.example], scrub: full}") ==
          Faults{"7:34: 'full' is not off, head, identity or deep in vendors.a.scrub"});
    CHECK(
        faults("{hosts: [a.example], routes: [{match: GET /, scrub: off}]}") ==
        Faults{
            "7:51: unknown key 'scrub' in vendors.a.routes[0]: it belongs to the vendor as a whole, beside `routes`"});
}
