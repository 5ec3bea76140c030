// What the clouds answer, and the files they give out: read strictly, refused with words, never with a secret in them.
#include <catch2/catch.hpp>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/aws_profile.hpp"
#include "proxy/credentials/aws_replies.hpp"
#include "proxy/credentials/github_reply.hpp"
#include "proxy/credentials/google_json.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/credentials/secret_xml.hpp"
#include "proxy/http/date.hpp"

using namespace sluice;

namespace {

const WallTime asked = *parse_rfc3339("2026-07-16T08:00:00Z");

std::string token_of(const Minted& minted) { return std::string(std::get<Secret>(minted.what).reveal()); }
const AwsSecretKeys& keys_of(const Minted& minted) { return std::get<AwsSecretKeys>(minted.what); }
bool holds(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

std::string replaced(std::string text, std::string_view what, std::string_view by) {
    const auto at = text.find(what);
    REQUIRE(at != text.npos);
    return text.replace(at, what.size(), by);
}

// As the API reference of STS shows it.
const std::string sts_answer = R"(<?xml version="1.0" encoding="UTF-8"?>
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <SourceIdentity/>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/demo/x</Arn><AssumedRoleId>ARO123EXAMPLE123:x</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <SessionToken>AQoDYXdzEPT//////////wEXAMPLE&#43;tc764&amp;w==</SessionToken>
      <Expiration>2026-07-16T09:00:00Z</Expiration>
    </Credentials>
    <PackedPolicySize>8</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>
</AssumeRoleResponse>
)";

std::string sts_fault(const std::string& body, unsigned status = 200) {
    std::string why;
    CHECK_FALSE(read_sts_reply("AssumeRole", status, body, asked, why));
    CHECK_FALSE(holds(why, "bPxRfiCY"));
    return why;
}

const std::string agent_answer =
    R"({"Code":"Success","LastUpdated":"2026-07-16T07:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secretsecret","Token":"tokentoken","Expiration":"2026-07-16T14:00:00Z"})";

std::string agent_fault(const std::string& body, unsigned status = 200) {
    std::string why;
    CHECK_FALSE(read_aws_keys_reply(status, body, asked, why));
    CHECK_FALSE(holds(why, "secretsecret"));
    return why;
}

std::string jwt(std::string_view claims) {
    std::string out;
    append_base64url(out, R"({"alg":"RS256"})");
    out += '.';
    append_base64url(out, claims);
    return out + ".c2ln";
}

const std::string account_file =
    R"({"type":"service_account","project_id":"p","private_key_id":"k1","private_key":"-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----\n","client_email":"a@p.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token"})";
std::string account_fault(const std::string& text) {
    std::string why;
    CHECK_FALSE(read_service_account(text, why));
    CHECK_FALSE(holds(why, "MIIsecret"));
    return why;
}

const std::string federation_file =
    R"({"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken","service_account_impersonation":{"token_lifetime_seconds":2800},"credential_source":{"file":"/var/run/token","format":{"type":"json","subject_token_field_name":"access_token"}}})";
std::string federation_fault(const std::string& text) {
    std::string why;
    CHECK_FALSE(read_external_account(text, why));
    return why;
}

const AwsProfile* profile_of(const AwsProfiles& profiles, std::string_view name) {
    const AwsProfile* found = profiles.find(name);
    REQUIRE(found);
    return found;
}

}  // namespace

TEST_CASE("an STS answer gives keys that live until its Expiration") {
    std::string why;
    const auto minted = read_sts_reply("AssumeRole", 200, sts_answer, asked, why);
    REQUIRE(minted);
    CHECK(keys_of(*minted).access_key_id == "ASIAIOSFODNN7EXAMPLE");
    CHECK(keys_of(*minted).secret_access_key.reveal() == "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY");
    CHECK(keys_of(*minted).session_token.reveal() == "AQoDYXdzEPT//////////wEXAMPLE+tc764&w==");
    CHECK(minted->lifetime == Duration(1h));
}

TEST_CASE("an STS answer that cannot be used is refused in words") {
    CHECK(holds(sts_fault("{}"), "not the XML"));
    CHECK(holds(sts_fault(replaced(sts_answer, "AssumeRoleResult>", "OtherResult>")), "not the XML"));
    CHECK(holds(sts_fault(replaced(sts_answer, "<AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>", "")), "AccessKeyId"));
    CHECK(holds(sts_fault(replaced(sts_answer, "ASIAIOSFODNN7EXAMPLE", "A/B")), "AccessKeyId"));
    CHECK(holds(sts_fault(replaced(sts_answer, "wJalr", "wJ&#10;alr")), "SecretAccessKey"));
    CHECK(holds(sts_fault(replaced(sts_answer, "AQoDYX", "AQo DYX")), "session token"));
    CHECK(holds(sts_fault(replaced(sts_answer, "2026-07-16T09", "2026-07-16T07")), "ended already, at 2026-07-16T07:00:00Z"));
    CHECK(holds(sts_fault(replaced(sts_answer, "2026-07-16T09:00:00Z", "soon")), "'soon', is no time"));
    CHECK(holds(sts_fault(replaced(sts_answer, "</Credentials>", "<AccessKeyId>B</AccessKeyId></Credentials>")), "AccessKeyId"));
}

TEST_CASE("an STS refusal is told by its code and message") {
    const std::string body = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is not authorized\n</Message></Error></ErrorResponse>";
    CHECK(sts_fault(body, 403) == "answered 403 AccessDenied: User: x is not authorized?");
    CHECK(sts_fault("<html>", 502) == "answered 502");
}

TEST_CASE("XML with what no such answer has is refused") {
    for (const char* text : {"", "x", "<a>", "<a></b>", "<a/><b/>", "<a/>x", "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "<a>&x;</a>", "<a>&#0;</a>", "<a>&#xD800;</a>", "<a>&#x110000;</a>",
                             "<a><!-- c --></a>", "<a><![CDATA[x]]></a>", "<a><?p?></a>", "<a:b/>", "<a b></a>", "<a b='<'/>", "<a b='1'c='2'/>", "<a>x<b/></a>", "<a><b/>x</a>", "<a>\x01</a>", "<a.b/>"}) {
        INFO(text);
        CHECK_FALSE(SecretXml::parse(text));
    }
    std::string deep, wide = "<a>";
    for (int i = 0; i < 17; ++i) deep += "<a>";
    for (int i = 0; i < 17; ++i) deep += "</a>";
    for (int i = 0; i < 600; ++i) wide += "<b/>";
    CHECK_FALSE(SecretXml::parse(deep));
    CHECK_FALSE(SecretXml::parse(wide + "</a>"));
    CHECK_FALSE(SecretXml::parse("<a>" + std::string(200'000, 'x') + "</a>"));
}

TEST_CASE("XML text is found by its path, and not where it is there twice") {
    const auto xml = SecretXml::parse("<a x:y = '1'><b>&lt;&#x20AC;&gt;</b><c><b>2</b></c><d>1</d><d>2</d></a>");
    REQUIRE(xml);
    CHECK(xml->text("a.b") == "<\xE2\x82\xAC>");
    CHECK(xml->text("a.c.b") == "2");
    CHECK_FALSE(xml->text("a.d"));
    CHECK_FALSE(xml->text("a.c"));
    CHECK_FALSE(xml->text("b"));
}

TEST_CASE("an agent's answer gives keys, and one without an end gives keys that last") {
    std::string why;
    const auto minted = read_aws_keys_reply(200, agent_answer, asked, why);
    REQUIRE(minted);
    CHECK(keys_of(*minted).session_token.reveal() == "tokentoken");
    CHECK(minted->lifetime == Duration(6h));
    const auto lasting = read_aws_keys_reply(200, R"({"AccessKeyId":"A","SecretAccessKey":"s"})", asked, why);
    REQUIRE(lasting);
    CHECK_FALSE(lasting->lifetime);
    CHECK(keys_of(*lasting).session_token.empty());
}

TEST_CASE("an agent's answer that cannot be used is refused in words") {
    CHECK(holds(agent_fault("nonsense"), "not a JSON object"));
    CHECK(holds(agent_fault("[]"), "not a JSON object"));
    CHECK(holds(agent_fault(replaced(agent_answer, "\"Success\"", "\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no\"")), "AssumeRoleUnauthorizedAccess no"));
    CHECK(holds(agent_fault(replaced(agent_answer, "\"ASIAEXAMPLE\"", "17")), "AccessKeyId"));
    CHECK(holds(agent_fault(replaced(agent_answer, "\"tokentoken\"", "[1]")), "Token is no text"));
    CHECK(holds(agent_fault(replaced(agent_answer, "\"2026-07-16T14:00:00Z\"", "1e400")), "Expiration is no text"));
    CHECK(holds(agent_fault(replaced(agent_answer, "\"2026-07-16T14:00:00Z\"", "1784188800")), "Expiration is no text"));
    CHECK(holds(agent_fault(replaced(agent_answer, "2026-07-16T14", "1999-07-16T14")), "ended already"));
    CHECK(holds(agent_fault(replaced(agent_answer, "tokentoken", "token\\r\\ntoken")), "session token"));
    CHECK(agent_fault(R"({"code":"Nope","message":"not here"})", 404) == "answered 404 Nope: not here");
}

TEST_CASE("a region has its own STS, and a request is signed for the region that the endpoint is in") {
    CHECK(sts_of("eu-central-1")->host == "sts.eu-central-1.amazonaws.com");
    CHECK(sts_of("cn-north-1")->host == "sts.cn-north-1.amazonaws.com.cn");
    for (const char* region : {"", "evil.example/", "a.b", "-x", "EU"}) CHECK_FALSE(sts_of(region));
    CHECK(sts_region({"sts.amazonaws.com", 443, false}, "eu-west-1") == "us-east-1");
    CHECK(sts_region({"sts.us-west-2.amazonaws.com", 443, false}, "eu-west-1") == "us-west-2");
    CHECK(sts_region({"sts.cn-north-1.amazonaws.com.cn", 443, false}, "x") == "cn-north-1");
    CHECK(sts_region({"minio.example", 443, false}, "eu-west-1") == "eu-west-1");
    CHECK(sts_region({"sts.amazonaws.com.evil.example", 443, false}, "eu-west-1") == "eu-west-1");
}

TEST_CASE("what goes into a path of the metadata service is the name of a role") {
    CHECK(is_role_name("my-role_1@x=y"));
    for (const char* name : {"", ".", "..", "a/b", "a b", "a?b", "<html>"}) CHECK_FALSE(is_role_name(name));
}

TEST_CASE("AWS profiles are read as the SDKs read them") {
    std::string why;
    const auto profiles = AwsProfiles::read("# mine\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=se=cr#et  # a comment\n\n[ ops ] ; here\r\nAWS_ACCESS_KEY_ID=AKIA2\r\naws_secret_access_key = two\r\n",
                                            "[default]\nregion = eu-central-1\naws_access_key_id = OLD\naws_secret_access_key = old\naws_session_token = stale\ns3 =\n  max_concurrent_requests = 20\n"
                                            "[profile app]\nrole_arn = arn:aws:iam::1:role/app\nsource_profile = ops\nexternal_id=e\nduration_seconds = 900\n[sso-session corp]\nsso_region = x\n[profile 'my own']\ncredential_process = /bin/x\n",
                                            why);
    REQUIRE(profiles);
    const AwsProfile* plain = profile_of(*profiles, "default");
    CHECK(plain->access_key_id == "AKIA1");
    CHECK(plain->secret_access_key.reveal() == "se=cr#et");
    CHECK(plain->session_token.empty());   // the other file's belongs to other keys
    CHECK(profile_of(*profiles, "ops")->secret_access_key.reveal() == "two");
    const AwsProfile* app = profile_of(*profiles, "app");
    CHECK(app->role_arn == "arn:aws:iam::1:role/app");
    CHECK(app->source_profile == "ops");
    CHECK(app->external_id == "e");
    CHECK(app->duration == Duration(15min));
    CHECK(profile_of(*profiles, "my own")->process);
    CHECK_FALSE(profiles->find("corp"));
    CHECK_FALSE(profiles->find("profile app"));
}

TEST_CASE("an AWS file that is none is refused by its line, without what stands in it") {
    for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{{"[default]\nwJalrsecret\n", "line 2 of AWS's credentials file is neither"},
                                                                                      {"aws_secret_access_key = wJalrsecret\n", "line 1 of AWS's credentials file stands before any"},
                                                                                      {"[wJalrsecret\n", "line 1 of AWS's credentials file is no [section]"},
                                                                                      {"[a]\nduration_seconds = 99999999999999999999\n", "line 2 of AWS's credentials file has a duration_seconds"}}) {
        std::string why;
        CHECK_FALSE(AwsProfiles::read(text, "", why));
        CHECK(holds(why, words));
        CHECK_FALSE(holds(why, "wJalr"));
    }
}

TEST_CASE("a service account's file gives who it is and where its key is shown") {
    std::string why;
    const auto account = read_service_account(account_file, why);
    REQUIRE(account);
    CHECK(account->email == "a@p.iam.gserviceaccount.com");
    CHECK(account->key_id == "k1");
    CHECK(account->token_uri.authority.host == "oauth2.googleapis.com");
    CHECK(account->private_key.reveal().starts_with("-----BEGIN"));
}

TEST_CASE("a service account's file that would send its key astray is refused") {
    CHECK(holds(account_fault(replaced(account_file, "https://oauth2", "http://oauth2")), "not https"));
    CHECK(holds(account_fault(replaced(account_file, "https://oauth2.googleapis.com", "http://169.254.169.254")), "not https"));
    CHECK(holds(account_fault(replaced(account_file, "https://oauth2.googleapis.com/token", "nowhere")), "cannot be used"));
    CHECK(holds(account_fault(replaced(account_file, "token_uri", "token")), "no token_uri"));
    CHECK(holds(account_fault(replaced(account_file, "\"private_key\"", "\"private\"")), "no private_key"));
    CHECK(holds(account_fault(replaced(account_file, "\"service_account\"", "\"authorized_user\"")), "'authorized_user', not service_account"));
    CHECK(holds(account_fault("MIIsecret"), "not a JSON object"));
    std::string why;
    CHECK(read_service_account(replaced(account_file, "https://oauth2.googleapis.com", "http://127.0.0.1:8080"), why));
}

TEST_CASE("a federation's configuration says where the subject's token is and where it is exchanged") {
    std::string why;
    const auto account = read_external_account(federation_file, why);
    REQUIRE(account);
    CHECK(account->file == "/var/run/token");
    CHECK(account->field == "access_token");
    CHECK(account->impersonation_lifetime == Duration(2800s));
    CHECK(account->impersonation_url->prefix.ends_with(":generateAccessToken"));
    const auto by_url = read_external_account(replaced(federation_file, "\"file\":\"/var/run/token\"", R"("url":"http://169.254.169.254/metadata/identity/oauth2/token?a=b","headers":{"Metadata":"True"})"), why);
    REQUIRE(by_url);
    CHECK(by_url->url.prefix == "/metadata/identity/oauth2/token?a=b");
    CHECK(by_url->headers == std::vector<std::pair<std::string, std::string>>{{"Metadata", "True"}});
}

TEST_CASE("a federation's configuration that cannot be followed is refused in words") {
    CHECK(holds(federation_fault(replaced(federation_file, "https://sts", "http://sts")), "token_url that is not https"));
    CHECK(holds(federation_fault(replaced(federation_file, "https://iam", "http://iam")), "impersonation_url that is not https"));
    CHECK(holds(federation_fault(replaced(federation_file, ":generateAccessToken", ":other")), "does not end with"));
    CHECK(holds(federation_fault(replaced(federation_file, "2800", "1e300")), "token_lifetime_seconds"));
    CHECK(holds(federation_fault(replaced(federation_file, "\"file\":\"/var/run/token\"", "\"environment_id\":\"aws1\"")), "neither a file nor a URL"));
    CHECK(holds(federation_fault(replaced(federation_file, "\"file\":\"/var/run/token\"", "\"executable\":{}")), "neither a file nor a URL"));
    CHECK(holds(federation_fault(replaced(federation_file, "\"file\":\"/var/run/token\"", "\"url\":\"http://internal.example/\"")), "not https"));
    CHECK(holds(federation_fault(replaced(federation_file, "\"file\":\"/var/run/token\"", R"("url":"https://a.example/","headers":{"A":"b\r\nc"})")), "no header fields"));
    CHECK(holds(federation_fault(replaced(federation_file, "\"type\":\"json\"", "\"type\":\"xml\"")), "format"));
    CHECK(holds(federation_fault(replaced(federation_file, "\"audience\"", "\"aud\"")), "no audience"));
}

TEST_CASE("a subject's token is the text of its file, or one member of it") {
    std::string why;
    CHECK(read_subject_token("", "abc.def\n", why)->reveal() == "abc.def");
    CHECK(read_subject_token("t", R"({"t":"abc"})", why)->reveal() == "abc");
    CHECK_FALSE(read_subject_token("t", R"({"t":1})", why));
    CHECK_FALSE(read_subject_token("t", "abc", why));
    CHECK(holds(why, "not JSON with a text 't'"));
    CHECK_FALSE(read_subject_token("", "two words", why));
    CHECK(why == "holds no token");
}

TEST_CASE("an ID token lives until its exp") {
    std::string why;
    const std::string token = jwt(R"({"aud":"a","exp":1784192400})");   // 09:00
    const auto minted = read_id_token("token", 200, R"({"token":")" + token + "\"}", asked, why);
    REQUIRE(minted);
    CHECK(token_of(*minted) == token);
    CHECK(minted->lifetime == Duration(1h));
    CHECK(read_id_token("", 200, token + "\n", asked, why));
    for (const std::string& bad : {jwt("{}"), jwt(R"({"exp":"soon"})"), jwt(R"({"exp":1e300})"), jwt(R"({"exp":-1})"), jwt("no"), std::string("a.b"), std::string("a.!.c"), std::string("<html>")}) {
        INFO(bad);
        CHECK_FALSE(read_id_token("", 200, bad, asked, why));
        CHECK(holds(why, "no JSON Web Token with an end"));
    }
    CHECK_FALSE(read_id_token("", 200, jwt(R"({"exp":1784188800})"), asked, why));
    CHECK(holds(why, "ended already"));
    CHECK_FALSE(read_id_token("token", 200, "[]", asked, why));
}

TEST_CASE("an impersonated token lives until its expireTime, and Google's refusals are told by status and message") {
    std::string why;
    const auto minted = read_impersonated(200, R"({"accessToken":"ya29.x","expireTime":"2026-07-16T08:30:00Z"})", asked, why);
    REQUIRE(minted);
    CHECK(minted->lifetime == Duration(30min));
    CHECK_FALSE(read_impersonated(200, R"({"accessToken":"ya29 x","expireTime":"2026-07-16T08:30:00Z"})", asked, why));
    CHECK_FALSE(read_impersonated(200, R"({"accessToken":"ya29.x"})", asked, why));
    CHECK(holds(why, "does not say when it ends"));
    CHECK_FALSE(read_impersonated(403, R"({"error":{"code":403,"message":"no\u0007","status":"PERMISSION_DENIED"}})", asked, why));
    CHECK(why == "answered 403 PERMISSION_DENIED: no?");
    CHECK(google_refusal(400, R"({"error":"invalid_grant","error_description":"bad"})") == "answered 400 invalid_grant: bad");
    CHECK(google_refusal(500, "oops") == "answered 500");
}

TEST_CASE("an installation is asked for what the policy narrows it to") {
    GithubAppSpec spec;
    CHECK(installation_request(spec).empty());
    spec.repositories = {"a", "b\"c"};
    spec.permissions = {{"contents", "read"}};
    CHECK(installation_request(spec) == R"({"repositories":["a","b\"c"],"permissions":{"contents":"read"}})");
}

TEST_CASE("an installation token says what it may do and until when") {
    std::string why;
    const auto minted = read_installation_token(201, R"({"token":"ghs_x","expires_at":"2026-07-16T09:00:00Z","permissions":{"contents":"read","issues":"write"}})", asked, why);
    REQUIRE(minted);
    CHECK(token_of(*minted) == "ghs_x");
    CHECK(minted->lifetime == Duration(1h));
    CHECK(minted->scope == std::vector<std::string>{"contents:read", "issues:write"});
    for (const char* body : {"", "[]", "{}", R"({"token":"ghs_x"})", R"({"token":"ghs_x","expires_at":5})", R"({"token":"g\nx","expires_at":"2026-07-16T09:00:00Z"})", R"({"token":"ghs_x","expires_at":"2026-07-16T07:00:00Z"})"}) {
        INFO(body);
        CHECK_FALSE(read_installation_token(201, body, asked, why));
        CHECK(why.starts_with("answered 201 but"));
        CHECK_FALSE(holds(why, "ghs_x"));
    }
    CHECK_FALSE(read_installation_token(404, R"({"message":"Not Found"})", asked, why));
    CHECK(holds(why, "answered 404: Not Found (is the app installed"));
}

TEST_CASE("an end that is centuries away is believed for a year") {
    std::string why;
    CHECK(read_expiry("2199-01-01T00:00:00Z", asked, why) == Duration(365 * 24h));
}

TEST_CASE("only this machine and this link are near") {
    for (const char* host : {"127.0.0.1", "127.9.9.9", "[::1]", "localhost"}) CHECK(is_loopback(*parse_authority(host, 80)));
    for (const char* host : {"127.evil.example", "10.0.0.1", "localhost.evil.example"}) CHECK_FALSE(is_loopback(*parse_authority(host, 80)));
    for (const char* host : {"169.254.169.254", "[fe80::1]", "[febf::1]"}) CHECK(is_link_local(*parse_authority(host, 80)));
    for (const char* host : {"169.254.evil.example", "fe80.example", "169.253.1.1", "[fec0::1]", "[fd00:ec2::254]"}) CHECK_FALSE(is_link_local(*parse_authority(host, 80)));
}
