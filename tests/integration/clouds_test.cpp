// AWS, Google Cloud, Azure and GitHub as issuers: the real client against fakes that are written from the vendors' documents and refuse whatever is not as those say.
#include <catch2/catch.hpp>

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <functional>
#include <map>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/credentials/secret_json.hpp"
#include "proxy/credentials/stamp.hpp"
#include "tests/support/issuer.hpp"
#include "tests/support/pem.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

bool holds(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

// ---- what the fakes are made of

std::string answer(unsigned status, const std::string& body, const std::string& fields = "") {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
// What a fake says to a request that is not as its documents have it: the test sees it in the fetch's failure.
std::string malformed(const std::string& what) {
    return answer(400, R"({"error":"malformed","error_description":")" + what + R"(","message":")" + what + "\"}", "Metadata-Flavor: Google\r\n");
}

FakeVendor::Serve each(std::function<std::string(const Message&)> judge) {
    return [judge = std::move(judge)](Wire& wire) {
        while (auto request = wire.read_request()) wire.write(judge(*request));
    };
}

using FormMap = std::map<std::string, std::string>;

// RFC 6749 appendix B, as servers read it: the media type is said, no name stands twice, what is not plain is escaped. Else an empty one.
FormMap form_of(const Message& request) {
    if (request.field("content-type") != "application/x-www-form-urlencoded" || request.count("content-length") != 1) return {};
    const std::string& body = request.body;
    if (body.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._*+%=&") != body.npos) return {};
    FormMap out;
    const auto decoded = [](std::string text) {
        std::replace(text.begin(), text.end(), '+', ' ');
        std::string plain;
        append_percent_decoded(plain, text);
        return plain;
    };
    for (std::size_t at = 0; at < body.size();) {
        const std::size_t end = std::min(body.find('&', at), body.size());
        const std::string pair = body.substr(at, end - at);
        if (pair.find('=') == pair.npos) return {};
        if (!out.emplace(decoded(pair.substr(0, pair.find('='))), decoded(pair.substr(pair.find('=') + 1))).second) return {};
        at = end + 1;
    }
    return out;
}

EVP_PKEY* rsa_key() {
    static const KeyPtr key(EVP_RSA_gen(2048));
    return key.get();
}

// The claims of a JWT whose RS256 signature by `rsa_key` holds; nothing: it does not.
std::optional<SecretJson> verified(const std::string& token) {
    const std::size_t first = token.find('.'), second = token.rfind('.');
    if (first == token.npos || second == first) return {};
    const auto header = decode_base64url(std::string_view(token).substr(0, first)), claims = decode_base64url(std::string_view(token).substr(first + 1, second - first - 1));
    const auto signature = decode_base64url(std::string_view(token).substr(second + 1));
    if (!header || !claims || !signature || !holds(*header, R"("alg":"RS256")")) return {};
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, rsa_key());
    const bool good = EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature->data()), signature->size(), reinterpret_cast<const unsigned char*>(token.data()), second) == 1;
    EVP_MD_CTX_free(context);
    return SecretJson::parse(good ? *claims : "nothing");
}

double seconds_now() { return static_cast<double>(unix_seconds(std::chrono::system_clock::now())); }
std::string in(Duration time) { return iso_stamp(std::chrono::system_clock::now() + std::chrono::duration_cast<WallTime::duration>(time)); }
// Counted from before the request, and what the answer names is a time on the clock: it may be a little longer, too.
bool about(std::optional<Duration> lifetime, Duration wanted) { return lifetime && *lifetime < wanted + 20s && *lifetime > wanted - 20s; }

Url url_of(const FakeVendor& vendor, Scheme scheme = Scheme::https) { return {scheme, {"localhost", vendor.port(), false}, {}}; }
std::string text_of_vendor(const FakeVendor& vendor) { return "http://127.0.0.1:" + std::to_string(vendor.port()); }

std::string token_of(const Result<Minted>& minted) {
    if (!minted) return minted.error().detail;
    return std::string(std::get<Secret>(minted->what).reveal());
}
std::string key_of(const Result<Minted>& minted) {
    if (!minted) return minted.error().detail;
    const auto& keys = std::get<AwsSecretKeys>(minted->what);
    return keys.access_key_id + ' ' + std::string(keys.secret_access_key.reveal()) + ' ' + std::string(keys.session_token.reveal());
}

// Whatever the machine that tests has of these.
struct NoCloud {
    Variable a{"AWS_ACCESS_KEY_ID"}, b{"AWS_SECRET_ACCESS_KEY"}, c{"AWS_SESSION_TOKEN"}, d{"AWS_WEB_IDENTITY_TOKEN_FILE"}, e{"AWS_ROLE_ARN"}, f{"AWS_ROLE_SESSION_NAME"}, g{"AWS_PROFILE"};
    Variable h{"AWS_CONTAINER_CREDENTIALS_FULL_URI"}, i{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"}, j{"AWS_CONTAINER_AUTHORIZATION_TOKEN"}, k{"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"};
    Variable l{"AWS_EC2_METADATA_SERVICE_ENDPOINT"}, m{"AWS_EC2_METADATA_DISABLED", "true"}, n{"AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials"}, o{"AWS_CONFIG_FILE", "/nonexistent/config"};
    Variable p{"GCE_METADATA_HOST"}, q{"AZURE_TENANT_ID"}, r{"AZURE_CLIENT_ID"}, s{"AZURE_FEDERATED_TOKEN_FILE"}, t{"AZURE_AUTHORITY_HOST"};
};

// ---- GitHub

std::string judge_github(const Message& request) {
    if (request.start_line != "POST /app/installations/77/access_tokens HTTP/1.1") return malformed(request.start_line);
    if (request.field("accept") != "application/vnd.github+json" || request.field("x-github-api-version") != "2022-11-28" || request.field("user-agent").empty()) return malformed("fields");
    const std::string bearer = request.field("authorization");
    const auto claims = verified(bearer.substr(bearer.find(' ') + 1));
    if (!bearer.starts_with("Bearer ") || !claims) return answer(401, R"({"message":"A JSON web token could not be decoded"})");
    const double iat = claims->number("iat").value_or(0), exp = claims->number("exp").value_or(0), now = seconds_now();
    if (claims->text("iss") != "12" || iat > now - 20 || iat < now - 60 || exp <= now || exp > now + 600) return malformed("claims");
    if (request.body != R"({"repositories":["one"],"permissions":{"contents":"read"}})" || request.field("content-type") != "application/json") return malformed("body");
    return answer(201, R"({"token":"ghs_abc","expires_at":")" + in(1h) + R"(","permissions":{"contents":"read"}})");
}

GithubAppSpec github_spec(const FakeVendor& vendor, const TemporaryDirectory& directory) {
    GithubAppSpec spec;
    spec.app_id = "12";
    spec.installation_id = "77";
    spec.key = {SecretSource::Kind::file, directory.file("app.pem", pem_of_key(rsa_key())), {}, {}};
    spec.api_url = url_of(vendor);
    spec.repositories = {"one"};
    spec.permissions = {{"contents", "read"}};
    return spec;
}

// ---- AWS

std::string sts_answer(const std::string& action, const std::string& id) {
    return answer(200, "<" + action + "Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><" + action + "Result><Credentials><AccessKeyId>" + id + "</AccessKeyId><SecretAccessKey>secret-of-" + id +
                           "</SecretAccessKey><SessionToken>token-of-" + id + "</SessionToken><Expiration>" + in(1h) + "</Expiration></Credentials></" + action + "Result></" + action + "Response>");
}
std::string sts_refusal(const std::string& what) {
    return answer(403, "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>Refused</Code><Message>" + what + "</Message></Error></ErrorResponse>");
}

// The Authorization that AWS's algorithm gives for a POST to "/" with these keys: written anew, from "Create a signed AWS API request".
std::string signature_of(const Message& request, const std::string& secret, const std::string& region) {
    const auto mac = [](const std::string& key, const std::string& text) { return std::string(hmac(HashAlgorithm::sha256, key, text).bytes()); };
    const std::string date = request.field("x-amz-date"), token = request.field("x-amz-security-token"), day = date.substr(0, 8);
    std::string canonical = "POST\n/\n\ncontent-type:" + request.field("content-type") + "\nhost:" + request.field("host") + "\nx-amz-date:" + date + "\n", names = "content-type;host;x-amz-date";
    if (!token.empty()) canonical += "x-amz-security-token:" + token + "\n", names += ";x-amz-security-token";
    canonical += "\n" + names + "\n" + to_hex(hash_of(HashAlgorithm::sha256, request.body).bytes());
    const std::string scope = day + "/" + region + "/sts/aws4_request";
    const std::string text = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + to_hex(hash_of(HashAlgorithm::sha256, canonical).bytes());
    return to_hex(mac(mac(mac(mac(mac("AWS4" + secret, day), region), "sts"), "aws4_request"), text));
}

// AssumeRole: whoever calls must have signed with the keys that it was given before.
std::string judge_assume(const Message& request) {
    const FormMap form = form_of(request);
    const auto at = [&form](const char* name) { return form.contains(name) ? form.at(name) : std::string(); };
    if (request.start_line != "POST / HTTP/1.1" || at("Version") != "2011-06-15") return sts_refusal("no query request");
    if (at("Action") == "AssumeRoleWithWebIdentity") {
        if (request.count("authorization") != 0) return sts_refusal("signed");
        if (form != FormMap{{"Action", at("Action")}, {"Version", at("Version")}, {"RoleArn", "arn:aws:iam::1:role/web"}, {"RoleSessionName", "pod"}, {"WebIdentityToken", "eyJ.web.identity"}}) return sts_refusal("form");
        return sts_answer("AssumeRoleWithWebIdentity", "ASIAWEB");
    }
    const std::string authorization = request.field("authorization"), token = request.field("x-amz-security-token");
    const std::size_t begin = authorization.find("Credential=") + 11;
    const std::string id = authorization.substr(begin, authorization.find('/') - begin);
    const std::string secret = id == "AKIAROOT" ? "root-secret" : "secret-of-" + id;
    if (token != (id == "AKIAROOT" ? "" : "token-of-" + id)) return sts_refusal("session token");
    if (!authorization.ends_with("Signature=" + signature_of(request, secret, "eu-central-1"))) return sts_refusal("SignatureDoesNotMatch");
    if (at("Action") != "AssumeRole" || at("RoleSessionName") != "sluice") return sts_refusal("form");
    if (at("RoleArn") == "arn:aws:iam::1:role/first" && at("DurationSeconds") == "900" && at("ExternalId") == "a b&c") return sts_answer("AssumeRole", "ASIAFIRST");
    if (at("RoleArn") == "arn:aws:iam::2:role/second" && at("DurationSeconds") == "3600" && !form.contains("ExternalId") && id == "ASIAFIRST") return sts_answer("AssumeRole", "ASIASECOND");
    return sts_refusal("not authorized to perform sts:AssumeRole with root-secret");
}

AwsSpec aws_spec(AwsSpec::Source source) {
    AwsSpec spec;
    spec.region = "eu-central-1";
    spec.service = "s3";
    spec.source = source;
    return spec;
}
AssumeRoleSpec first_role() {
    AssumeRoleSpec role;
    role.arn = "arn:aws:iam::1:role/first";
    role.external_id = "a b&c";
    role.duration = 15min;
    return role;
}
AssumeRoleSpec second_role() {
    AssumeRoleSpec role;
    role.arn = "arn:aws:iam::2:role/second";
    return role;
}
std::string agent_answer(const std::string& id) {
    return answer(200, R"({"Code":"Success","AccessKeyId":")" + id + R"(","SecretAccessKey":"s","Token":"t","Expiration":")" + in(6h) + "\"}");
}

// "Use the Instance Metadata Service to access instance metadata" (EC2 User Guide): a session of 1 to 21,600 seconds by PUT, and its token at every GET.
std::string judge_imds(const Message& request) {
    if (request.start_line == "PUT /latest/api/token HTTP/1.1") {
        const auto ttl = parse_decimal(request.field("x-aws-ec2-metadata-token-ttl-seconds"));
        if (request.count("x-forwarded-for") != 0) return answer(403, "");   // it came by way of a proxy
        const bool good = ttl && *ttl >= 1 && *ttl <= 21600 && request.count("x-aws-ec2-metadata-token-ttl-seconds") == 1 && request.body.empty();
        return good ? answer(200, "session-1", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: " + std::to_string(*ttl) + "\r\n") : answer(400, "");
    }
    if (!request.start_line.starts_with("GET ") || request.count("x-forwarded-for") != 0) return answer(405, "");
    if (request.count("x-aws-ec2-metadata-token") != 1 || request.field("x-aws-ec2-metadata-token") != "session-1") return answer(401, "");   // version 1 is switched off
    if (request.start_line == "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1") return answer(200, "my-role");
    if (request.start_line == "GET /latest/meta-data/iam/security-credentials/my-role HTTP/1.1") return agent_answer("ASIAIMDS");
    return answer(404, "");
}

// ---- Azure

// "Microsoft identity platform and the OAuth 2.0 client credentials flow", third case: access token request with a federated credential.
std::string judge_entra(const Message& request) {
    const auto refused = [](const char* error, const std::string& what) { return answer(400, std::string(R"({"error":")") + error + R"(","error_description":")" + what + "\"}"); };
    const FormMap form = form_of(request);
    const auto at = [&form](const char* name) { return form.contains(name) ? form.at(name) : std::string(); };
    if (request.start_line != "POST /t-1/oauth2/v2.0/token HTTP/1.1") return refused("invalid_request", "AADSTS90002: Tenant not found");
    if (form.empty()) return refused("invalid_request", "AADSTS900144: The request body must contain the following parameter: 'grant_type'");
    if (request.count("authorization") != 0 || form.contains("client_secret")) return refused("invalid_request", "AADSTS7000216: more than one credential");
    if (at("grant_type") != "client_credentials") return refused("unsupported_grant_type", "AADSTS70003");
    if (!at("scope").ends_with("/.default")) return refused("invalid_scope", "AADSTS1002012: the scope has no /.default");
    if (at("client_id") != "c-1") return refused("unauthorized_client", "AADSTS700016: application not found");
    if (at("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") return refused("invalid_request", "AADSTS900144: client_assertion_type");
    if (at("client_assertion") != "eyJ.fede.rated") return answer(401, R"({"error":"invalid_client","error_description":"AADSTS700213: )" + at("client_assertion") + "\"}");
    if (form.size() != 5) return refused("invalid_request", "what is more");
    return answer(200, R"({"token_type":"Bearer","expires_in":86399,"access_token":"eyJ.entra"})");
}

// ---- Google Cloud

std::string id_token(double lifetime) {
    std::string out;
    append_base64url(out, R"({"alg":"RS256"})");
    out += '.';
    append_base64url(out, "{\"exp\":" + std::to_string(static_cast<long>(seconds_now() + lifetime)) + "}");
    return out + ".c2ln";
}

std::string judge_google(const std::string& base, const Message& request) {
    const FormMap form = form_of(request);
    const auto at = [&form](const char* name) { return form.contains(name) ? form.at(name) : std::string(); };
    if (request.start_line == "POST /token HTTP/1.1") {
        if (request.count("authorization") != 0) return malformed("a second credential");
        const auto claims = verified(at("assertion"));
        if (form.size() != 2 || at("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || !claims) return malformed("assertion");
        const double iat = claims->number("iat").value_or(0), exp = claims->number("exp").value_or(0);
        if (claims->text("iss") != "a@p.example" || claims->text("aud") != base + "/token" || iat > seconds_now() + 1 || exp != iat + 3600) return malformed("claims");
        if (claims->text("target_audience") == "https://app.example") return answer(200, R"({"id_token":")" + id_token(1800) + "\"}");
        if (claims->text("scope") == "s1 s2") return answer(200, R"({"access_token":"ya29.own","expires_in":3599,"token_type":"Bearer"})");
        if (claims->text("scope") == "https://www.googleapis.com/auth/cloud-platform") return answer(200, R"({"access_token":"ya29.wide","expires_in":3599,"token_type":"Bearer"})");
        return malformed("scope");
    }
    if (request.start_line == "POST /v1/token HTTP/1.1") {
        const FormMap wanted{{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"}, {"audience", "//iam.googleapis.com/p"}, {"scope", "https://www.googleapis.com/auth/cloud-platform"},
                             {"requested_token_type", "urn:ietf:params:oauth:token-type:access_token"}, {"subject_token", "eyJ.sub.ject"}, {"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"}};
        if (request.count("authorization") != 0 || form != wanted) return malformed("exchange");
        return answer(200, R"({"access_token":"ya29.federated","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600})");
    }
    const std::string bearer = request.field("authorization");
    if ((bearer != "Bearer ya29.federated" && bearer != "Bearer ya29.wide") || request.field("content-type") != "application/json") return answer(401, R"({"error":{"code":401,"message":"no token","status":"UNAUTHENTICATED"}})");
    if (request.start_line == "POST /v1/projects/-/serviceAccounts/b@p.example:generateAccessToken HTTP/1.1" && request.body == R"({"scope":["s1","s2"],"lifetime":"3600s"})")
        return answer(200, R"({"accessToken":"ya29.other","expireTime":")" + in(1h) + "\"}");
    if (request.start_line == "POST /v1/projects/-/serviceAccounts/b@p.example:generateIdToken HTTP/1.1" && request.body == R"({"audience":"https://app.example","includeEmail":true})")
        return answer(200, R"({"token":")" + id_token(3600) + "\"}");
    return answer(403, R"({"error":{"code":403,"message":"not allowed with ya29.federated","status":"PERMISSION_DENIED"}})");
}

// Google's services, under one name.
struct Google {
    std::string base;
    FakeVendor vendor{each([this](const Message& request) { return judge_google(base, request); }), vendor_ca()};
    TemporaryDirectory directory;
    Google() { base = "https://" + vendor.authority(); }

    SecretSource service_account() const {
        const std::string pem = on_one_line(pem_of_key(rsa_key()));
        return file(R"({"type":"service_account","client_email":"a@p.example","private_key_id":"k","private_key":")" + pem + R"(","token_uri":")" + base + "/token\"}");
    }
    SecretSource federation(const std::string& source, bool impersonated) const {
        return file(R"({"type":"external_account","audience":"//iam.googleapis.com/p","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":")" + base + "/v1/token\"," +
                    (impersonated ? R"("service_account_impersonation_url":")" + base + R"(/v1/projects/-/serviceAccounts/b@p.example:generateAccessToken",)" : "") + R"("credential_source":{)" + source + "}}");
    }
    GcpSpec spec(GcpSpec::Source source, SecretSource key) const {
        GcpSpec spec;
        spec.source = source;
        spec.key = std::move(key);
        spec.iam = url_of(vendor);
        return spec;
    }

  private:
    SecretSource file(const std::string& text) const { return {SecretSource::Kind::file, directory.file("google.json", text), {}, {}}; }
};

std::string judge_metadata(const Message& request) {
    if (request.count("metadata-flavor") != 1 || request.field("metadata-flavor") != "Google" || request.count("x-forwarded-for") != 0) return answer(403, "");
    const std::string base = "GET /computeMetadata/v1/instance/service-accounts/default/", flavor = "Metadata-Flavor: Google\r\n";
    if (request.start_line == base + "token?scopes=s1%2Cs2 HTTP/1.1") return answer(200, R"({"access_token":"ya29.vm","expires_in":1800,"token_type":"Bearer"})", flavor);
    if (request.start_line == base + "identity?audience=https%3A%2F%2Fapp.example&format=full HTTP/1.1") return answer(200, id_token(3600), flavor);
    return answer(404, "", flavor);
}

}  // namespace

TEST_CASE("GitHub: an app's signature gets an installation token") {
    const FakeVendor vendor(each(judge_github), vendor_ca());
    const TemporaryDirectory directory;
    IssuerRig rig(github_spec(vendor, directory));
    const Result<Minted> minted = rig.fetch();
    CHECK(token_of(minted) == "ghs_abc");
    REQUIRE(minted.has_value());
    CHECK(about(minted->lifetime, 1h));
    CHECK(minted->subject == "app 12 installation 77");
    CHECK(minted->scope == std::vector<std::string>{"contents:read"});
}

TEST_CASE("GitHub: what it refuses is told, the app's signature never") {
    std::string seen;
    const FakeVendor vendor(each([&seen](const Message& request) {
                                seen = request.field("authorization").substr(7);
                                return answer(422, R"({"message":"no: )" + seen + "\"}");
                            }),
                            vendor_ca());
    const TemporaryDirectory directory;
    const std::string fault = IssuerRig(github_spec(vendor, directory)).fault();
    CHECK(holds(fault, "/app/installations/77/access_tokens answered 422: no: ***"));
    CHECK_FALSE(holds(fault, seen.substr(0, 40)));
    GithubAppSpec spec = github_spec(vendor, directory);
    spec.installation_id = "../1";
    CHECK(holds(IssuerRig(spec).fault(), "installation_id is no number"));
    spec = github_spec(vendor, directory);
    spec.key.name = directory.file("bad.pem", "not a key");
    CHECK(holds(IssuerRig(spec).fault(), "the key in {file: "));
}

TEST_CASE("Azure: the cluster's token is read at every fetch and exchanged for one of Entra") {
    const NoCloud none;
    const FakeVendor vendor(each(judge_entra), vendor_ca());
    const TemporaryDirectory directory;
    const std::string path = directory.file("token", "eyJ.fede.rated\n");
    const Variable host("AZURE_AUTHORITY_HOST", "https://" + vendor.authority() + "/"), tenant("AZURE_TENANT_ID", "t-1"), client("AZURE_CLIENT_ID", "c-1"), file("AZURE_FEDERATED_TOKEN_FILE", path);
    AzureSpec spec;
    spec.scope = "https://vault.azure.net/.default";
    IssuerRig rig(spec);
    const Result<Minted> minted = rig.fetch();
    CHECK(token_of(minted) == "eyJ.entra");
    REQUIRE(minted.has_value());
    CHECK(about(minted->lifetime, 86399s));
    CHECK(minted->subject == "client c-1 of tenant t-1");
    directory.file("token", "eyJ.another.one");
    const std::string fault = rig.fault();
    CHECK(holds(fault, "/t-1/oauth2/v2.0/token answered 401 invalid_client: AADSTS700213: ***"));
    CHECK_FALSE(holds(fault, "another"));
    spec.scope = "https://vault.azure.net/secrets";
    CHECK(holds(IssuerRig(spec).fault(), "AADSTS1002012"));
}

TEST_CASE("Azure: what neither the policy nor the environment says is named") {
    const NoCloud none;
    AzureSpec spec;
    spec.client_id = "c-1";
    const std::string fault = IssuerRig(spec).fault();
    CHECK(holds(fault, "tenant (AZURE_TENANT_ID), token_file (AZURE_FEDERATED_TOKEN_FILE), scope;"));
    CHECK_FALSE(holds(fault, "AZURE_CLIENT_ID"));
    spec.tenant = "a/../b";
    spec.token_file = "/nonexistent";
    spec.scope = "s";
    CHECK(holds(IssuerRig(spec).fault(), "tenant is neither an id nor a domain"));
    spec.tenant = "t";
    spec.authority_host = "http://login.example";
    CHECK(holds(IssuerRig(spec).fault(), "authority_host is not https"));
}

TEST_CASE("AWS: keys of the environment sign for a role, and its keys for the next") {
    const NoCloud none;
    const FakeVendor vendor(each(judge_assume), vendor_ca());
    const Variable id("AWS_ACCESS_KEY_ID", "AKIAROOT"), secret("AWS_SECRET_ACCESS_KEY", "root-secret");
    AwsSpec spec = aws_spec(AwsSpec::Source::environment);
    spec.sts = url_of(vendor);
    IssuerRig plain(spec);
    CHECK(key_of(plain.fetch()) == "AKIAROOT root-secret ");
    spec.assume_role = {first_role(), second_role()};
    IssuerRig rig(spec);
    const Result<Minted> minted = rig.fetch();
    CHECK(key_of(minted) == "ASIASECOND secret-of-ASIASECOND token-of-ASIASECOND");
    REQUIRE(minted.has_value());
    CHECK(about(minted->lifetime, 1h));
    CHECK(minted->subject == "arn:aws:iam::2:role/second");
    spec.assume_role = {second_role()};
    const std::string fault = IssuerRig(spec).fault();
    CHECK(holds(fault, "answered 403 Refused: not authorized to perform sts:AssumeRole with ***"));
    CHECK(holds(fault, "*** (AssumeRole of arn:aws:iam::2:role/second)"));
}

TEST_CASE("AWS: half a pair of keys in the environment is said to be one") {
    const NoCloud none;
    const Variable id("AWS_ACCESS_KEY_ID", "AKIAROOT");
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::environment)).fault(), "AWS_SECRET_ACCESS_KEY is not set, though"));
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::automatic)).fault(), "AWS_SECRET_ACCESS_KEY is not set, though"));
}

TEST_CASE("AWS: a web identity gets its role's keys without a signature") {
    const NoCloud none;
    const FakeVendor vendor(each(judge_assume), vendor_ca());
    const TemporaryDirectory directory;
    const Variable file("AWS_WEB_IDENTITY_TOKEN_FILE", directory.file("token", "eyJ.web.identity")), arn("AWS_ROLE_ARN", "arn:aws:iam::1:role/web"), name("AWS_ROLE_SESSION_NAME", "pod");
    for (const auto source : {AwsSpec::Source::web_identity, AwsSpec::Source::automatic}) {
        AwsSpec spec = aws_spec(source);
        spec.sts = url_of(vendor);
        CHECK(key_of(IssuerRig(spec).fetch()) == "ASIAWEB secret-of-ASIAWEB token-of-ASIAWEB");
    }
    const Variable gone("AWS_ROLE_ARN");
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::automatic)).fault(), "AWS_ROLE_ARN is not"));
}

TEST_CASE("AWS: a profile is followed to the keys it has, or to words that say why it has none") {
    const NoCloud none;
    const FakeVendor vendor(each(judge_assume), vendor_ca());
    const TemporaryDirectory directory;
    const Variable credentials("AWS_SHARED_CREDENTIALS_FILE", directory.file("credentials", "[root]\naws_access_key_id = AKIAROOT\naws_secret_access_key = root-secret\n"));
    const Variable config("AWS_CONFIG_FILE", directory.file("config",
                                                            "[default]\nregion = x\n[profile first]\nrole_arn = arn:aws:iam::1:role/first\nsource_profile = root\nexternal_id = a b&c\nduration_seconds = 900\n"
                                                            "[profile second]\nrole_arn = arn:aws:iam::2:role/second\nsource_profile = first\n[profile ring]\nrole_arn = a\nsource_profile = gnir\n"
                                                            "[profile gnir]\nrole_arn = b\nsource_profile = ring\n[profile tool]\ncredential_process = x\n[profile person]\nsso_session = y\n[profile bare]\nrole_arn = c\n"));
    const auto of = [&vendor](const std::string& profile) {
        AwsSpec spec = aws_spec(AwsSpec::Source::file);
        spec.sts = url_of(vendor);
        spec.profile = profile;
        return key_of(IssuerRig(spec).fetch());
    };
    CHECK(of("root") == "AKIAROOT root-secret ");
    CHECK(of("second") == "ASIASECOND secret-of-ASIASECOND token-of-ASIASECOND");
    CHECK(holds(of("ring"), "round in circles"));
    CHECK(holds(of("tool"), "use a credential of type `exec`"));
    CHECK(holds(of("person"), "sso"));
    CHECK(holds(of("bare"), "no source_profile"));
    CHECK(holds(of("absent"), "no profile 'absent'"));
    CHECK(holds(of(""), "[default] profile of AWS's shared files has no keys"));
    const Variable named("AWS_PROFILE", "root");
    CHECK(key_of(IssuerRig(aws_spec(AwsSpec::Source::automatic)).fetch()) == "AKIAROOT root-secret ");
}

TEST_CASE("AWS: a container's agent is asked with its token, over plain HTTP only where that stays near") {
    const NoCloud none;
    const FakeVendor vendor(each([](const Message& request) {
        if (request.start_line != "GET /v1/credentials?x=1 HTTP/1.1" || request.field("authorization") != "pod token") return answer(401, R"({"code":"AccessDenied","message":"bad token"})");
        return agent_answer("ASIAPOD");
    }));
    const TemporaryDirectory directory;
    const Variable url("AWS_CONTAINER_CREDENTIALS_FULL_URI", text_of_vendor(vendor) + "/v1/credentials?x=1");
    {
        const Variable token("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", directory.file("token", "pod token\n"));
        for (const auto source : {AwsSpec::Source::container, AwsSpec::Source::automatic}) {
            const Result<Minted> minted = IssuerRig(aws_spec(source), false).fetch();   // its address needs no word of the policy's
            CHECK(key_of(minted) == "ASIAPOD s t");
            CHECK((minted.has_value() && about(minted->lifetime, 6h)));
        }
    }
    const Variable wrong("AWS_CONTAINER_AUTHORIZATION_TOKEN", "other token");
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::container)).fault(), "/v1/credentials answered 401 AccessDenied: bad token"));
    const Variable split("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nb: c");
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::container)).fault(), "cannot stand in a header"));
    for (const char* far : {"http://10.0.0.1/x", "http://169.254.169.254/x", "http://agent.example/x"}) {
        const Variable away("AWS_CONTAINER_CREDENTIALS_FULL_URI", far);
        CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::container)).fault(), "over plain HTTP"));
    }
}

TEST_CASE("AWS: the instance metadata service is asked by version 2 only") {
    const NoCloud none;
    Seen seen;
    const FakeVendor vendor(each([&seen](const Message& request) {
        seen.add(request);
        return judge_imds(request);
    }));
    const Variable on("AWS_EC2_METADATA_DISABLED"), url("AWS_EC2_METADATA_SERVICE_ENDPOINT", text_of_vendor(vendor));
    for (const auto source : {AwsSpec::Source::imds, AwsSpec::Source::automatic}) CHECK(key_of(IssuerRig(aws_spec(source), false).fetch()) == "ASIAIMDS s t");
    CHECK(seen.all().front().start_line.starts_with("PUT "));
    for (const char* forbidden : {"true", "TRUE", "True"}) {   // as Amazon's own clients take it
        const Variable off("AWS_EC2_METADATA_DISABLED", forbidden);
        CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::imds)).fault(), "AWS_EC2_METADATA_DISABLED forbids"));
    }
    const FakeVendor old(each([](const Message& request) { return request.start_line.starts_with("PUT ") ? answer(404, "") : answer(200, "my-role"); }));
    const Variable older("AWS_EC2_METADATA_SERVICE_ENDPOINT", text_of_vendor(old));
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::imds)).fault(), "/latest/api/token answered 404"));
    const Variable away("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.example");
    CHECK(holds(IssuerRig(aws_spec(AwsSpec::Source::imds)).fault(), "neither on this machine nor on this link"));
}

TEST_CASE("GCP: a service account's key gets an access token, or an ID token") {
    const Google google;
    GcpSpec spec = google.spec(GcpSpec::Source::service_account, google.service_account());
    spec.scope = {"s1", "s2"};
    const Result<Minted> minted = IssuerRig(spec).fetch();
    CHECK(token_of(minted) == "ya29.own");
    REQUIRE(minted.has_value());
    CHECK(about(minted->lifetime, 3599s));
    CHECK(minted->subject == "a@p.example");
    CHECK(minted->scope == spec.scope);
    spec.audience = "https://app.example";
    const Result<Minted> id = IssuerRig(spec).fetch();
    CHECK(token_of(id).ends_with(".c2ln"));
    CHECK((id.has_value() && about(id->lifetime, 1800s)));
}

TEST_CASE("GCP: a service account impersonates another") {
    const Google google;
    GcpSpec spec = google.spec(GcpSpec::Source::service_account, google.service_account());
    spec.scope = {"s1", "s2"};
    spec.impersonate = "b@p.example";
    const Result<Minted> minted = IssuerRig(spec).fetch();
    CHECK(token_of(minted) == "ya29.other");
    REQUIRE(minted.has_value());
    CHECK(about(minted->lifetime, 1h));
    CHECK(minted->subject == "b@p.example");
    spec.impersonate = "c/../d@p.example";
    CHECK(holds(IssuerRig(spec).fault(), "no service account's e-mail"));
}

TEST_CASE("GCP: a federated identity exchanges its token, and goes on as a service account") {
    const Google google;
    const std::string path = google.directory.file("subject", R"({"t":"eyJ.sub.ject"})");
    const std::string source = R"("file":")" + path + R"(","format":{"type":"json","subject_token_field_name":"t"})";
    GcpSpec spec = google.spec(GcpSpec::Source::external_account, google.federation(source, false));
    CHECK(token_of(IssuerRig(spec).fetch()) == "ya29.federated");
    spec.audience = "https://app.example";
    CHECK(holds(IssuerRig(spec).fault(), "say which service account to `impersonate`"));
    spec.key = google.federation(source, true);
    CHECK(token_of(IssuerRig(spec).fetch()).ends_with(".c2ln"));
    spec.audience.clear();
    spec.scope = {"s1", "s2"};
    CHECK(token_of(IssuerRig(spec).fetch()) == "ya29.other");
    spec.scope = {"s3"};
    const std::string fault = IssuerRig(spec).fault();
    CHECK(holds(fault, ":generateAccessToken answered 403 PERMISSION_DENIED: not allowed with ***"));
}

TEST_CASE("GCP: a federated identity's token may come from a URL nearby") {
    const Google google;
    const FakeVendor agent(each([](const Message& request) { return request.field("metadata") == "True" && request.start_line == "GET /token?a=b HTTP/1.1" ? answer(200, "eyJ.sub.ject\n") : malformed("agent"); }));
    const GcpSpec spec = google.spec(GcpSpec::Source::external_account, google.federation(R"("url":")" + text_of_vendor(agent) + R"(/token?a=b","headers":{"Metadata":"True"})", false));
    CHECK(token_of(IssuerRig(spec).fetch()) == "ya29.federated");
}

TEST_CASE("GCP: the metadata server is asked as Google's, and believed only as Google's") {
    const NoCloud none;
    const FakeVendor vendor(each(judge_metadata));
    const Variable host("GCE_METADATA_HOST", "127.0.0.1:" + std::to_string(vendor.port()));
    GcpSpec spec;
    spec.source = GcpSpec::Source::metadata;
    spec.scope = {"s1", "s2"};
    const Result<Minted> minted = IssuerRig(spec, false).fetch();
    CHECK(token_of(minted) == "ya29.vm");
    CHECK((minted.has_value() && about(minted->lifetime, 1800s)));
    spec.audience = "https://app.example";
    CHECK(token_of(IssuerRig(spec).fetch()).ends_with(".c2ln"));
    const FakeVendor stranger(each([](const Message&) { return answer(200, R"({"access_token":"ya29.vm","expires_in":1800,"token_type":"Bearer"})"); }));
    const Variable other("GCE_METADATA_HOST", "127.0.0.1:" + std::to_string(stranger.port()));
    CHECK(holds(IssuerRig(spec).fault(), "no metadata server of Google's"));
    const Variable away("GCE_METADATA_HOST", "metadata.example");
    CHECK(holds(IssuerRig(spec).fault(), "neither on this machine nor on this link"));
}
