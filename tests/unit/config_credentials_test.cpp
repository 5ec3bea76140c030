#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::PolicyWorld;
using test::printed;
using test::told;

namespace {

using Kind = SecretSource::Kind;

std::shared_ptr<const Config> load(const std::string& policy) {
    const Decoded decoded = PolicyWorld{}.decode("version: 1\n" + policy);
    INFO(policy << "\n" << printed(decoded));
    REQUIRE(decoded.config);
    return decoded.config;
}

/// One credential, named `k` and used.
std::shared_ptr<const Config> load_one(const std::string& credential) {
    return load("credentials: {k: {" + credential + "}}\nvendors: {a: {hosts: [a.example], credential: k}}\n");
}

template <class Spec>
const Spec& spec_in(const std::shared_ptr<const Config>& config) {
    return std::get<Spec>(config->credentials.at(0).kind);
}

SecretSource file(const std::string& path) {
    return {Kind::file, path, {}, {}};
}
SecretSource variable(const std::string& name) {
    return {Kind::environment, name, {}, {}};
}

std::string text_of(const Url& url) {
    return std::string(name_of(url.scheme)) + "://" + url.authority.text(url.scheme) + url.prefix;
}

std::vector<std::string> texts(const std::vector<AddressRange>& ranges) {
    std::vector<std::string> all;
    for (const auto& range : ranges) all.push_back(range.text());
    return all;
}

}  // namespace

TEST_CASE("a client's credentials: what it shows the token endpoint follows from what it has") {
    using Auth = ClientAuthSpec::Kind;
    const std::string common =
        "type: oauth2_client_credentials, token_url: \"https://auth.example:8443/t?v=2\", client_id: c, ";
    const auto secret = load_one(common + "client_secret: {env: S}");
    const auto& oauth = spec_in<OAuthSpec>(secret);
    CHECK(oauth.grant == OAuthSpec::Grant::client_credentials);
    CHECK(text_of(oauth.token_url) == "https://auth.example:8443/t?v=2");
    CHECK(oauth.client == ClientAuthSpec{Auth::secret_basic, "c", variable("S"), {}});
    CHECK(oauth.scope.empty());
    CHECK(secret->credentials[0].place == Placement{"Authorization", "Bearer "});
    CHECK(secret->credentials[0].rules == CredentialRules{});
    CHECK(secret->credentials[0].file == "policy.yaml");

    const auto key = load_one(common + "key: {file: /k.pem}, kid: a, alg: ES256");
    CHECK(spec_in<OAuthSpec>(key).client ==
          ClientAuthSpec{Auth::private_key_jwt, "c", {}, {file("/k.pem"), "a", "ES256"}});
    const auto tls = load_one(common + "tls: {client: {cert: {file: /c}, key: {file: /k}}}");
    CHECK(spec_in<OAuthSpec>(tls).client.kind == Auth::tls);
    CHECK(tls->issuers.at(0).tls.client_cert_file == "/c");
    CHECK(spec_in<OAuthSpec>(load_one(common + "client_auth: none")).client.kind == Auth::none);
    CHECK(
        spec_in<OAuthSpec>(load_one(common + "client_auth: client_secret_post, client_secret: {env: S}")).client.kind ==
        Auth::secret_post);
}

TEST_CASE("keys that all tokens have: scope, audience, place, placeholder, renewal") {
    const auto config = load_one(
        "type: oauth2_client_credentials, token_url: \"https://auth.example/t\", client_id: c, client_secret: {env: "
        "S}, "
        "scope: [a.read, b], audience: x, resource: [\"https://r.example\"], params: {tenant: \"7\"}, header: X-Token, "
        "prefix: '', placeholder: SLUICE_TOKEN, require: true, refresh_before: 2m, refresh_on: [401, 403], eager: "
        "false");
    const auto& oauth = spec_in<OAuthSpec>(config);
    CHECK(oauth.scope == std::vector<std::string>{"a.read", "b"});
    CHECK(oauth.audience == "x");
    CHECK(oauth.resource == std::vector<std::string>{"https://r.example"});
    CHECK(oauth.params == std::vector<std::pair<std::string, std::string>>{{"tenant", "7"}});
    CHECK(config->credentials[0].place == Placement{"X-Token", ""});
    const CredentialRules& rules = config->credentials[0].rules;
    CHECK(rules.refresh_before == Duration(2min));
    CHECK(rules.refresh_on == std::vector<std::uint16_t>{401, 403});
    CHECK(rules.placeholder == "SLUICE_TOKEN");
    CHECK(rules.require);
    CHECK_FALSE(rules.eager);
}

TEST_CASE("the other grants of OAuth have their own keys") {
    const auto refresh = load_one(
        "type: oauth2_refresh_token, token_url: \"https://auth.example\", client_id: c, refresh_token: {file: r}");
    CHECK(spec_in<OAuthSpec>(refresh).grant == OAuthSpec::Grant::refresh_token);
    CHECK(spec_in<OAuthSpec>(refresh).refresh_token == file("r"));
    CHECK(spec_in<OAuthSpec>(refresh).client.kind == ClientAuthSpec::Kind::none);

    const auto exchange = load_one(
        "type: oauth2_token_exchange, token_url: \"https://auth.example\", subject_token: {env: S}, actor_token: {env: "
        "A}, "
        "actor_token_type: \"urn:x:y\", requested_token_type: jwt");
    const auto& exchanged = spec_in<OAuthSpec>(exchange);
    CHECK(exchanged.subject_token_type == "urn:ietf:params:oauth:token-type:access_token");
    CHECK(exchanged.actor_token_type == "urn:x:y");
    CHECK(exchanged.requested_token_type == "urn:ietf:params:oauth:token-type:jwt");

    const auto jwt = load_one(
        "type: oauth2_jwt_bearer, token_url: \"https://auth.example\", key: {env: K}, issuer: me, claims: {n: 1, l: "
        "[a, true]}");
    const auto& bearer = spec_in<OAuthSpec>(jwt);
    CHECK(bearer.key == SigningKeySpec{variable("K"), "", ""});
    CHECK(bearer.subject == "me");
    CHECK(bearer.lifetime == Duration(5min));
    CHECK(boost::json::parse(bearer.claims) == boost::json::value({{"n", 1}, {"l", {"a", true}}}));
}

TEST_CASE("AWS: a source, roles one after the other, and signatures in the place of a value") {
    const auto plain = load_one("type: aws_sigv4, region: eu-central-1, service: s3");
    const auto& aws = spec_in<AwsSpec>(plain);
    CHECK(aws.region == "eu-central-1");
    CHECK(aws.service == "s3");
    CHECK(aws.source == AwsSpec::Source::automatic);
    CHECK(aws.sts.authority.host.empty());
    CHECK(aws.max_body == 16u << 20);
    CHECK(plain->credentials[0].place == Placement{"Authorization", ""});

    const auto roles = load_one(
        "type: aws_sigv4, region: r, service: s, source: file, profile: p, sts_url: \"https://sts.example\", max_body: "
        "1MiB, "
        "assume_role: [{arn: \"arn:aws:iam::1:role/a\"}, {arn: \"arn:aws:iam::2:role/b\", session_name: me, "
        "external_id: e, "
        "duration: 15m}]");
    const auto& chain = spec_in<AwsSpec>(roles);
    REQUIRE(chain.assume_role.size() == 2);
    CHECK(chain.assume_role[0] == AssumeRoleSpec{"arn:aws:iam::1:role/a", "sluice", "", 1h});
    CHECK(chain.assume_role[1] == AssumeRoleSpec{"arn:aws:iam::2:role/b", "me", "e", 15min});
    CHECK(chain.profile == "p");
    CHECK(chain.sts.authority.host == "sts.example");
    const auto one = load_one("type: aws_sigv4, region: r, service: s, assume_role: {arn: \"arn:aws:iam::1:role/a\"}");
    CHECK(spec_in<AwsSpec>(one).assume_role.size() == 1);
}

TEST_CASE("Google, Azure and GitHub") {
    const auto google =
        load_one("type: gcp, key: {file: k.json}, scope: [s], impersonate: a@p.iam.gserviceaccount.com, lifetime: 30m");
    const auto& gcp = spec_in<GcpSpec>(google);
    CHECK(gcp.source == GcpSpec::Source::service_account);
    CHECK(gcp.key == file("k.json"));
    CHECK(gcp.impersonate == "a@p.iam.gserviceaccount.com");
    CHECK(gcp.lifetime == Duration(30min));
    CHECK(spec_in<GcpSpec>(load_one("type: gcp, source: metadata")).source == GcpSpec::Source::metadata);

    const auto entra = load_one(
        "type: azure_workload_identity, scope: \"https://x/.default\", tenant: t, token_file: /t, authority_host: "
        "\"https://login.example/\"");
    CHECK(spec_in<AzureSpec>(entra) == AzureSpec{"t", "", "/t", "https://login.example", "https://x/.default"});

    const auto installation = load_one(
        "type: github_app, app_id: 12, installation_id: 34, key: {file: k}, permissions: {contents: read}, "
        "repositories: [a, 7]");
    const auto& github = spec_in<GithubAppSpec>(installation);
    CHECK(github.app_id == "12");
    CHECK(github.installation_id == "34");
    CHECK(text_of(github.api_url) == "https://api.github.com");
    CHECK(github.repositories == std::vector<std::string>{"a", "7"});
    CHECK(github.permissions == std::vector<std::pair<std::string, std::string>>{{"contents", "read"}});
}

TEST_CASE("Vault: ways to log in, a value or two") {
    const std::string common = "type: vault, address: \"https://vault.example:8200/\", path: kv/data/a, ";
    const auto token = load_one(common + "auth: {token: {env: T}}, namespace: team/a, field: key, prefix: 'Token '");
    const auto& vault = spec_in<VaultSpec>(token);
    CHECK(text_of(vault.address) == "https://vault.example:8200");
    CHECK(vault.auth == VaultSpec::Auth::token);
    CHECK(vault.secret == variable("T"));
    CHECK(vault.name_space == "team/a");
    CHECK(vault.field == "key");
    CHECK(token->credentials[0].place == Placement{"Authorization", "Token "});

    const auto kubernetes = load_one(common + "auth: {kubernetes: {role: r}}, username_field: u, password_field: p");
    const auto& pair = spec_in<VaultSpec>(kubernetes);
    CHECK(pair.secret == file("/var/run/secrets/kubernetes.io/serviceaccount/token"));
    CHECK(pair.role == "r");
    CHECK(pair.mount.empty());
    CHECK(pair.username_field == "u");
    CHECK(kubernetes->credentials[0].place == Placement{"Authorization", ""});
    const auto approle = load_one(common + "auth: {approle: {role_id: i, secret_id: {file: s}, mount: m/n}}, field: f");
    CHECK(spec_in<VaultSpec>(approle).role == "i");
    CHECK(spec_in<VaultSpec>(approle).secret == file("s"));
    CHECK(spec_in<VaultSpec>(approle).mount == "m/n");
    const auto jwt = load_one(common + "auth: {jwt: {role: r, token: {file: j}}}, field: f");
    CHECK(spec_in<VaultSpec>(jwt).auth == VaultSpec::Auth::jwt);
}

TEST_CASE("programs, signatures and certificates") {
    const auto program = load_one("type: exec, command: [get, \"2\", -v], env: {A: x, B: {file: /b}}, timeout: 3s");
    const auto& exec = spec_in<ExecSpec>(program);
    CHECK(exec.command == std::vector<std::string>{"get", "2", "-v"});
    CHECK(exec.environment == std::vector<std::pair<std::string, std::string>>{{"A", "x"}});
    CHECK(exec.secret_environment == std::vector<std::pair<std::string, SecretSource>>{{"B", file("/b")}});
    CHECK(exec.timeout == Duration(3s));
    CHECK(program->credentials[0].secrets().size() == 1);
    CHECK_FALSE(program->credentials[0].issuer);
    const auto process = load_one("type: exec, command: [p], format: credential_process, region: r, service: s");
    CHECK(spec_in<ExecSpec>(process).region == "r");
    CHECK(process->credentials[0].place == Placement{"Authorization", ""});

    const auto signer = load_one(
        "type: hmac, key: {env: K}, string_to_sign: \"{method}\\n{path}\", header: X-Sig, overlap: {secret: {env: "
        "OLD}}, headers: {X-Time: \"{timestamp}\"}");
    const auto& hmac = spec_in<HmacSpec>(signer);
    CHECK(hmac.algorithm == HmacSpec::Algorithm::sha256);
    CHECK(hmac.encoding == HmacSpec::Encoding::hex);
    CHECK(hmac.string_to_sign == "{method}\n{path}");
    CHECK(hmac.headers == std::vector<std::pair<std::string, std::string>>{{"X-Time", "{timestamp}"}});
    CHECK(hmac.max_body == 1u << 20);
    CHECK(signer->credentials[0].place == Placement{"X-Sig", ""});
    CHECK(signer->credentials[0].rules.overlap == variable("OLD"));
    CHECK(load_one("type: hmac, key: {env: K}, string_to_sign: x, headers: {A: \"k={signature}\"}")
              ->credentials[0]
              .place == Placement{"", ""});

    const auto certificate = load_one("type: mtls, cert: {file: /c}, key: {file: /k}");
    CHECK(spec_in<MtlsSpec>(certificate) == MtlsSpec{file("/c"), file("/k")});
    CHECK(certificate->vendors[0].tls.client_cert_file == "/c");
    CHECK(certificate->vendors[0].tls.client_key_file == "/k");
    CHECK(certificate->vendors[0].scrub == Scrub::off);
    CHECK_FALSE(certificate->vendors[0].certificate);
    CHECK(certificate->credentials[0].is_static());
}

TEST_CASE("a client certificate may be in Vault or the environment, and is fetched then") {
    const auto credential = load_one("type: mtls, cert: {file: /c}, key: {vault: \"kv/data/a#key\"}");
    CHECK_FALSE(credential->credentials[0].is_static());
    CHECK(credential->credentials[0].issuer == credential->vault_of_environment);
    CHECK(credential->vendors[0].certificate == 0u);
    CHECK(credential->vendors[0].tls.client_cert_file.empty());
    CHECK(credential->secrets.empty());

    const std::string pair = "{cert: {vault: \"kv/data/a#cert\", login: v}, key: {env: KEY}}";
    const auto vendor = load("credentials:\n  v: {type: vault, address: \"https://v.example\", auth: {token: {env: T}}}\n"
                             "vendors:\n  a: {hosts: [a.example], tls: {client: " + pair + "}}\n");
    REQUIRE(vendor->secrets.size() == 1);
    const CredentialSpec& secret = vendor->secrets[0];
    CHECK(secret.name == "vendors.a.tls.client");
    CHECK(secret.index == 1);
    CHECK(std::get<MtlsSpec>(secret.kind) == MtlsSpec{{Kind::vault, "kv/data/a", "cert", "v"}, variable("KEY")});
    CHECK_FALSE(secret.is_static());
    CHECK(secret.issuer == 0u);
    CHECK(vendor->vendors[0].certificate == 1u);
    CHECK(&vendor->spec_at(1) == &secret);

    const auto issuer = load_one("type: oauth2_client_credentials, token_url: \"https://auth.example\", client_id: c, tls: {client: {cert: {env: C}, "
                                 "key: {vault: \"kv/data/a#key\"}}}");
    CHECK(spec_in<OAuthSpec>(issuer).client.kind == ClientAuthSpec::Kind::tls);
    CHECK(issuer->credentials[0].shown == MtlsSpec{variable("C"), {Kind::vault, "kv/data/a", "key", ""}});
    CHECK(issuer->issuers.at(0).tls.client_cert_file.empty());
    CHECK(issuer->vault_of_environment == 1u);

    for (const auto& config : {credential, vendor, issuer}) {
        const std::string described = describe_config(*config);
        const Decoded again = decode_policy(described, "described.json", PolicyWorld{}.inputs());
        INFO(described << printed(again));
        REQUIRE(again.config);
        CHECK(describe_config(*again.config) == described);
        CHECK(again.config->vendors[0].certificate == config->vendors[0].certificate);
        CHECK(again.config->credentials[0].same_as(config->credentials[0]));
    }
}

TEST_CASE("what calls an issuer has rules for it, numbered after all vendors") {
    const auto config = load(R"(
credentials:
  k: {type: bearer, value: {env: K}}
  t: {type: oauth2_client_credentials, token_url: "https://10.0.0.1/t", client_id: c, client_secret: {env: S},
      tls: {ca: {file: /ca}, min: "1.3"}, addresses: [10.0.0.0/8], timeout: {total: 2s}}
  e: {type: exec, command: [x]}
  aws: {type: aws_sigv4, region: r, service: s}
vendors:
  a: {hosts: [a.example], credential: k}
  b: {hosts: [b.example], credential: t}
  c: {hosts: [c.example], credential: e}
  d: {hosts: [d.example], credential: aws}
)");
    REQUIRE(config->issuers.size() == 2);
    CHECK_FALSE(config->credentials[0].issuer);
    CHECK(config->credentials[1].issuer == 0u);
    CHECK_FALSE(config->credentials[2].issuer);
    CHECK(config->credentials[3].issuer == 1u);
    const Vendor& issuer = config->issuers[0];
    CHECK(issuer.name == "credential t");
    CHECK(config->unmatched_vendor.index == 4);
    CHECK(issuer.index == 5);
    CHECK(config->issuers[1].index == 6);
    CHECK(issuer.line == 5);
    CHECK(issuer.tls.ca_file == "/ca");
    CHECK(issuer.tls.min == TlsRules::Version::tls13);
    CHECK(texts(issuer.addresses) == std::vector<std::string>{"10.0.0.0/8"});
    CHECK(issuer.timeout.connect == Duration(2s));
    CHECK(issuer.timeout.tls == Duration(2s));
    CHECK(issuer.timeout.total == Duration(2s));
    CHECK(issuer.retry.max == 0);
    CHECK_FALSE(issuer.breaker.enabled);
    CHECK(issuer.limits.empty());
    CHECK(config->issuers[1].timeout.first_byte == Duration(5s));
}

TEST_CASE("sources that are the machine's own may be reached at exactly their documented addresses") {
    const auto aws = [](const std::string& source) {
        return texts(load_one("type: aws_sigv4, region: r, service: s, source: " + source)->issuers.at(0).addresses);
    };
    const std::vector<std::string> container = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "127.0.0.0/8",
                                                "::1"};
    const std::vector<std::string> imds = {"169.254.169.254", "fd00:ec2::254"};
    auto all = container;
    all.insert(all.end(), imds.begin(), imds.end());
    CHECK(aws("container") == container);
    CHECK(aws("imds") == imds);
    CHECK(aws("auto") == all);
    CHECK(aws("environment").empty());
    CHECK(aws("web_identity").empty());
    CHECK(texts(load_one("type: gcp, source: metadata")->issuers.at(0).addresses) ==
          std::vector<std::string>{"169.254.169.254"});
    CHECK(load_one("type: gcp, key: {env: K}, scope: [s]")->issuers.at(0).addresses.empty());
}

TEST_CASE("{vault: ...} without a login means the only one there is, else Sluice's environment") {
    const std::string user = "  k: {type: basic, username: {vault: \"kv/data/a#user\"}, password: {env: P}}\n";
    const std::string vendor = "vendors: {a: {hosts: [a.example], credential: k}}\n";
    const auto environment = load("credentials:\n" + user + vendor);
    const auto& alone = std::get<BasicSpec>(environment->credentials[0].kind);
    CHECK(alone.username_source == SecretSource{Kind::vault, "kv/data/a", "user", ""});
    CHECK_FALSE(environment->credentials[0].is_static());
    REQUIRE(environment->issuers.size() == 1);
    CHECK(environment->vault_of_environment == 0u);
    CHECK(environment->credentials[0].issuer == 0u);
    CHECK(environment->issuers[0].name == "vault of the environment");
    CHECK(texts(environment->issuers[0].addresses) ==
          std::vector<std::string>{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1"});

    const auto login = load("credentials:\n" + user +
                            "  v: {type: vault, address: \"https://v.example\", auth: {token: {env: T}}}\n" + vendor);
    CHECK(std::get<BasicSpec>(login->credentials[0].kind).username_source.login == "v");
    CHECK_FALSE(login->vault_of_environment);
    CHECK(login->credentials[0].issuer == login->credentials[1].issuer);
}

TEST_CASE("a login may be named, and have its own secret in another Vault") {
    const auto config = load(R"(
credentials:
  v: {type: vault, address: "https://v.example", auth: {approle: {role_id: r, secret_id: {vault: "kv/data/v#id", login: w}}}}
  w: {type: vault, address: "https://w.example", auth: {token: {env: T}}}
  k: {type: oauth2_client_credentials, token_url: "https://auth.example", client_id: c, client_secret: {vault: "kv/data/a#b", login: v}}
vendors: {a: {hosts: [a.example], credential: k}}
)");
    CHECK(spec_in<VaultSpec>(config).secret == SecretSource{Kind::vault, "kv/data/v", "id", "w"});
    CHECK(std::get<OAuthSpec>(config->credentials[2].kind).client.secret.login == "v");
    CHECK(config->credentials[2].issuer == 2u);  // its own: the token endpoint's
    CHECK(config->issuers.size() == 3);
}

TEST_CASE("a route may name a narrower credential than its vendor") {
    const auto config = load(R"(
credentials:
  wide: {type: bearer, value: {env: W}}
  narrow: {type: api_key, header: X-Key, value: {env: NARROW}}
vendors:
  a: {hosts: [a.example], credential: wide, routes: [{match: GET /x, credential: narrow}, {match: GET /y}]}
  b: {hosts: [b.example], scrub: deep, routes: [{match: GET /x, credential: narrow}]}
  c: {hosts: [c.example]}
  d: {hosts: [d.example], credential: wide, scrub: off}
)");
    CHECK(config->vendors[0].routes[0].credential == 1u);
    CHECK_FALSE(config->vendors[0].routes[1].credential);
    CHECK(config->vendors[0].scrub == Scrub::identity);
    CHECK(config->vendors[1].scrub == Scrub::deep);
    CHECK(config->vendors[1].lines.scrub == 8);
    CHECK(config->vendors[2].scrub == Scrub::off);
    CHECK(config->vendors[3].scrub == Scrub::off);
}

TEST_CASE("every type is described in words that load to the same credential") {
    const char* credentials[] = {
        "type: oauth2_client_credentials, token_url: \"https://a.example/t?x=1\", client_id: c, key: {env: K}, kid: k, "
        "alg: PS256, scope: [a], audience: x, resource: [r], params: {p: q}, placeholder: SLUICE_KEY, require: true, "
        "refresh_before: 1m, refresh_on: [403], tls: {client: {cert: {file: /c}, key: {file: /k}}}",
        "type: oauth2_refresh_token, token_url: \"https://a.example\", client_id: c, client_auth: client_secret_post, "
        "client_secret: {env: S}, refresh_token: {vault: \"kv/data/r#t\"}",
        "type: oauth2_token_exchange, token_url: \"https://a.example\", subject_token: {env: S}, actor_token: {env: A}",
        "type: oauth2_jwt_bearer, token_url: \"https://a.example\", key: {env: K}, issuer: i, claims: {a: [1, {b: "
        "null}]}, eager: false",
        "type: aws_sigv4, region: r, service: s, profile: p, assume_role: {arn: \"arn:aws:iam::1:role/a\", "
        "external_id: e}, sts_url: \"https://s.example\", timeout: {connect: 1s}, addresses: [127.0.0.0/8]",
        "type: gcp, source: external_account, key: {file: /k}, audience: a, impersonate: a@b.example, lifetime: 10m",
        "type: gcp, source: metadata",
        "type: azure_workload_identity, scope: s, tenant: t, client_id: c, token_file: /f, authority_host: "
        "\"https://l.example\"",
        "type: github_app, app_id: 1, installation_id: 2, key: {env: K}, repositories: [a], permissions: {contents: "
        "read}",
        "type: vault, address: \"https://v.example\", auth: {jwt: {role: r, token: {env: T}, mount: m}}, namespace: "
        "ns, path: p, field: f, overlap: {secret: {env: O}}",
        "type: vault, address: \"https://v.example\", auth: {approle: {role_id: r, secret_id: {env: T}}}, path: p, "
        "username_field: u, password_field: f",
        "type: exec, command: [a, \"\"], env: {A: b, C: {env: D}}, format: docker, server: s",
        "type: exec, command: [a], format: credential_process, region: r, service: s",
        "type: hmac, key: {env: K}, string_to_sign: x, headers: {A: \"{signature}\"}, encoding: base64url, algorithm: "
        "sha512",
        "type: hmac, key: {env: K}, string_to_sign: x, header: A, prefix: \"v=\", max_body: 2KiB",
        "type: mtls, cert: {file: /c}, key: {file: /k}",
        "type: api_key, query: q, value: {env: K}, placeholder: SLUICE_KEY, refresh_on: []",
        "type: basic, username: {env: U}, password: {env: P}, overlap: {secret: {file: /old}}",
    };
    for (const char* credential : credentials) {
        const auto first = load_one(credential);
        const std::string described = describe_config(*first);
        const Decoded again = decode_policy(described, "described.json", PolicyWorld{}.inputs());
        INFO(described << printed(again));
        REQUIRE(again.config);
        CHECK(again.config->credentials[0].same_as(first->credentials[0]));
        CHECK(again.config->issuers.size() == first->issuers.size());
        CHECK(describe_config(*again.config) == described);
    }
}

TEST_CASE("a login that nobody uses is a warning of its own") {
    CHECK(told(PolicyWorld{}.decode("version: 1\ncredentials:\n  v: {type: vault, address: \"https://v.example\", "
                                    "auth: {token: {env: T}}}\n")) ==
          std::vector<std::string>{"3:3: warning: no {vault: ...} uses credentials.v"});
}
