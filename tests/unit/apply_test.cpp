#include "proxy/credentials/apply.hpp"

#include <catch2/catch.hpp>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/scrub.hpp"

using namespace sluice;

namespace {

const SecretSource from_file{SecretSource::Kind::file, "/run/secrets/x"};

CredentialSpec spec(CredentialSpec::Kind kind, Placement place = {}) {
    CredentialSpec out;
    out.name = "pay-key";
    out.kind = std::move(kind);
    out.place = std::move(place);
    return out;
}

Minted token(std::string value) {
    return {Secret(std::move(value))};
}
Minted user(std::string name, std::string password) {
    return {UserPassword{Secret(std::move(name)), Secret(std::move(password))}};
}

CredentialSpec key_in_query(std::string name, std::string prefix = {}) {
    return spec(ApiKeySpec{std::move(name), from_file}, {"", std::move(prefix)});
}

CredentialSpec key_in_header(std::string name, std::string prefix = {}) {
    return spec(ApiKeySpec{"", from_file}, {std::move(name), std::move(prefix)});
}

const FixedValue& fixed(const Result<Attachment>& made) {
    REQUIRE(made.has_value());
    return std::get<FixedValue>(made->how);
}

/// Compares without showing either side: a test's output is no place for a secret.
bool is(const Secret& secret, std::string_view expected) {
    return secret.same_as(expected);
}

FixedValue attachment(FixedValue::Place place, std::string name, std::string value) {
    return {place, std::move(name), Secret(std::move(value))};
}

}  // namespace

TEST_CASE("what the application had for one vendor is withheld from another, wherever the credential goes") {
    RequestHead head;
    head.target = "/v1?a=1&key=mine;KEY=mine&b=2";
    for (const char* name : {"Authorization", "X-Api-Key", "X_Api_Key", "Accept"}) head.fields.add(name, "theirs");
    withhold(key_in_query("key"), head);
    CHECK(head.target == "/v1?a=1&b=2");
    withhold(key_in_header("x-api-key"), head);
    CHECK(head.fields.size() == 2);
    withhold(spec(BasicSpec{}), head);
    REQUIRE(head.fields.size() == 1);
    CHECK(head.fields[0].name == "Accept");
    withhold(spec(BearerSpec{}, {"Accept", ""}), head);
    CHECK(head.fields.empty());
}

TEST_CASE("a bearer token goes into its header behind its prefix") {
    const auto made = make_attachment(spec(BearerSpec{}), token("token"));
    CHECK(fixed(made).place == FixedValue::Place::header);
    CHECK(fixed(made).name == "Authorization");
    CHECK(is(fixed(made).value, "Bearer token"));

    const auto bare = make_attachment(spec(BearerSpec{}, {"X-Auth", ""}), token("token"));
    CHECK(fixed(bare).name == "X-Auth");
    CHECK(is(fixed(bare).value, "token"));
}

TEST_CASE("an API key goes into its header as it is, into a query percent-encoded") {
    const auto header = make_attachment(key_in_header("X-Api-Key", "Key "), token("a+b/c=="));
    CHECK(fixed(header).place == FixedValue::Place::header);
    CHECK(fixed(header).name == "X-Api-Key");
    CHECK(is(fixed(header).value, "Key a+b/c=="));

    const auto query = make_attachment(key_in_query("key", "p:"), token("aZ9-._~ +&=#%/\xC3\xA9"));
    CHECK(fixed(query).place == FixedValue::Place::query);
    CHECK(fixed(query).name == "key");
    CHECK(is(fixed(query).value, "p%3AaZ9-._~%20%2B%26%3D%23%25%2F%C3%A9"));
}

TEST_CASE("what must not come back is the bare secret, a username only where it is one, and what is sent of them") {
    CHECK(is(make_attachment(key_in_query("key", "p:"), token("s3cr3t"))->secrets.at(0), "s3cr3t"));
    BasicSpec plain;
    plain.username = "joe";
    plain.password = from_file;
    const auto basic = make_attachment(spec(plain), user("joe", "s3cr3t"));
    REQUIRE(basic->secrets.size() == 2);
    CHECK(is(basic->secrets[0], "s3cr3t"));
    CHECK(is(basic->secrets[1], "am9lOnMzY3IzdA=="));
    BasicSpec hidden;
    hidden.username_source = hidden.password = from_file;
    const auto both = make_attachment(spec(hidden), user("joe", "s3cr3t"));
    REQUIRE(both->secrets.size() == 3);
    CHECK(is(both->secrets[1], "joe"));
}

TEST_CASE("what may go into a path or query must not come back as it is written there either, whatever encodes it again") {
    const auto query = make_attachment(key_in_query("key"), token("a+b/c==d%e=="));
    REQUIRE(query->secrets.size() == 2);
    CHECK(is(query->secrets[0], "a+b/c==d%e=="));
    CHECK(is(query->secrets[1], "a%2Bb%2Fc%3D%3Dd%25e%3D%3D"));
    const Needles needles(query->secrets);
    CHECK(needles.occurs_in("/login?next=%2Fv1%3Fkey%3Da%252Bb%252Fc%253D%253Dd%2525e%253D%253D"));
    std::string echoed;
    append_base64url(echoed, R"({"next":"/v1?key=a%2Bb%2Fc%3D%3Dd%25e%3D%3D"})");
    CHECK(needles.occurs_in(echoed));
    CHECK(make_attachment(key_in_query("key"), token("s3cr3t-of-letters"))->secrets.size() == 1);

    CredentialSpec header = key_in_header("X-Key", "");
    CHECK(make_attachment(header, token("a+b/c==d%e=="))->secrets.size() == 1);
    header.rules.placeholder = "PLACE-HOLDER";
    REQUIRE(make_attachment(header, token("a+b/c==d%e=="))->secrets.size() == 2);
    CHECK(is(make_attachment(header, token("a+b/c==d%e=="))->secrets[1], "a%2Bb%2Fc%3D%3Dd%25e%3D%3D"));
    BasicSpec basic;
    basic.username = "joe";
    basic.password = from_file;
    CredentialSpec pair = spec(basic);
    pair.rules.placeholder = "PLACE-HOLDER";
    CHECK(is(make_attachment(pair, user("joe", "s3/cr3t"))->secrets.back(), "s3%2Fcr3t"));
}

TEST_CASE("basic authentication is base64 of both, of every length") {
    struct Case {
        std::string username, password, encoded;
    };
    const Case cases[] = {
        {"Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},  // RFC 7617 2
        {"test", "123\xC2\xA3", "dGVzdDoxMjPCow=="},                 // RFC 7617 2.1
        {"a", "b", "YTpi"},
        {"a", "bc", "YTpiYw=="},
        {"a", "bcd", "YTpiY2Q="},
        {"a", "b:c", "YTpiOmM="},  // only a username has no ':'
        {"", "b", "OmI="},
        {"\xFF\xFE", "\xFB", "//46+w=="},
    };
    for (const Case& one : cases) {
        CAPTURE(one.username);
        BasicSpec basic;
        basic.username = one.username;
        basic.password = from_file;
        const auto made = make_attachment(spec(basic), user(one.username, one.password));
        CHECK(fixed(made).place == FixedValue::Place::header);
        CHECK(fixed(made).name == "Authorization");
        CHECK(is(fixed(made).value, "Basic " + one.encoded));
    }
}

TEST_CASE("what Basic sends is looked for in answers like the password, encoded once more too") {
    BasicSpec basic;
    basic.username = "somebody";
    basic.password = from_file;
    const auto made = make_attachment(spec(basic), user("somebody", "pass:word?>"));
    REQUIRE(made.has_value());
    const Needles needles(made->secrets);
    // printf %s 'somebody:pass:word?>' | base64; that | base64; that | xxd -p; its '=' percent-encoded
    CHECK(needles.occurs_in("Basic c29tZWJvZHk6cGFzczp3b3JkPz4="));
    CHECK(needles.occurs_in("YzI5dFpXSnZaSGs2Y0dGemN6cDNiM0prUHo0PQ=="));
    CHECK(needles.occurs_in("633239745a574a765a486b366347467a637a703362334a6b507a343d"));
    CHECK(needles.occurs_in("?authorization=Basic%20c29tZWJvZHk6cGFzczp3b3JkPz4%3D"));
}

TEST_CASE("a username may be a secret itself, and a password may be left out") {
    BasicSpec both;
    both.username = "not this";
    both.username_source = both.password = from_file;
    CHECK(is(fixed(make_attachment(spec(both), user("u", "p"))).value, "Basic dTpw"));

    BasicSpec no_password;
    no_password.username = "u";
    CHECK(is(fixed(make_attachment(spec(no_password), user("u", ""))).value, "Basic dTo="));
}

TEST_CASE("a secret that cannot stand in its place is refused, and never shown") {
    BasicSpec basic, secret_username;
    basic.username = "u";
    basic.password = secret_username.username_source = secret_username.password = from_file;
    const std::string control = "its value holds a line end or another control character";
    struct Case {
        CredentialSpec spec;
        Minted minted;
        std::string why;
    };
    const Case cases[] = {
        {spec(BearerSpec{}), token(""), "its value is empty"},
        {spec(BearerSpec{}), token("hunter2\n"), control},
        {spec(BearerSpec{}), token("hunter2\r\nX-Evil: 1"), control},
        {spec(BearerSpec{}), token(std::string("hunter2\0", 8)), control},
        {spec(BearerSpec{}), token("hunter2\x7F"), control},
        {spec(BearerSpec{}), token("hunter2\t"), control},
        {key_in_header("X-Key"), token(""), "its value is empty"},
        {key_in_header("X-Key"), token("\x01hunter2"), control},
        {key_in_query("key"), token(""), "its value is empty"},
        {spec(basic), user("u", ""), "its password is empty"},
        {spec(basic), user("u", "hunter2\n"), "its password holds a control character"},
        {spec(secret_username), user("", "hunter2"), "its username is empty"},
        {spec(secret_username), user("hun:ter2", "hunter2"), "its username holds a ':' (RFC 7617 2)"},
        {spec(secret_username), user("hunter2\n", "hunter2"), "its username holds a control character"},
        {spec(AwsSpec{}), {AwsSecretKeys{"AKIA1", Secret(), Secret()}}, "its keys are empty"},
        {spec(BearerSpec{}), {AwsSecretKeys{"AKIA1", Secret("hunter2"), Secret()}}, "keys of AWS were given for it, and no region and service that they sign for"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.why);
        const auto made = make_attachment(one.spec, one.minted);
        REQUIRE_FALSE(made.has_value());
        CHECK(made.error().detail == "credential 'pay-key' cannot be used: " + one.why);
        CHECK(made.error().reason == Reason::credential_unavailable);
        CHECK(made.error().origin == Origin::sluice);
        CHECK(made.error().replay == Replay::safe);
        CHECK(made.error().detail.find("hunter2") == std::string::npos);
    }
}

TEST_CASE("a value in a query may be any bytes: they are encoded") {
    CHECK(is(fixed(make_attachment(key_in_query("key"), token("a\r\n"))).value, "a%0D%0A"));
}

TEST_CASE("whatever the application put in the same header is dropped") {
    RequestHead head;
    head.target = "/v1?a=b";
    head.fields.add("Host", "h");
    head.fields.add("authorization", "Bearer of the application");
    head.fields.add("X-A", "1");
    head.fields.add("AUTHORIZATION", "Basic of the application");
    apply(attachment(FixedValue::Place::header, "Authorization", "Bearer ours"), head);
    std::string lines;
    head.fields.append_to(lines);
    CHECK(lines == "Host: h\r\nAuthorization: Bearer ours\r\nX-A: 1\r\n");
    CHECK(head.target == "/v1?a=b");

    apply(attachment(FixedValue::Place::header, "X-Api-Key", "key"), head);
    CHECK(head.fields.find("x-api-key") == "key");
    CHECK(head.fields.find("authorization") == "Bearer ours");
}

TEST_CASE("a field that a vendor behind CGI would read as ours is dropped as well") {
    RequestHead head;
    head.fields.add("X_API-KEY", "mine");
    head.fields.add("X-Api-Key-Id", "kept");
    head.fields.add("x-api_key", "mine");
    head.fields.add("X-Api-Key", "mine");
    apply(attachment(FixedValue::Place::header, "X-Api-Key", "ours"), head);
    std::string lines;
    head.fields.append_to(lines);
    CHECK(lines == "X-Api-Key-Id: kept\r\nX-Api-Key: ours\r\n");
}

TEST_CASE("a query parameter replaces the application's, however it is spelled, and moves nothing else") {
    struct Case {
        std::string target, name, expected;
    };
    const Case cases[] = {
        {"/v1", "key", "/v1?key=K"},
        {"/v1?", "key", "/v1?key=K"},
        {"/v1?a=b", "key", "/v1?a=b&key=K"},
        {"/v1?a=b&c", "key", "/v1?a=b&c&key=K"},
        {"/v1?key=x", "key", "/v1?key=K"},
        {"/v1?key", "key", "/v1?key=K"},
        {"/v1?key=", "key", "/v1?key=K"},
        {"/v1?key=x&a=b", "key", "/v1?a=b&key=K"},
        {"/v1?a=b&key=x", "key", "/v1?a=b&key=K"},
        {"/v1?a=b&key=x&c=d&key=y", "key", "/v1?a=b&c=d&key=K"},
        {"/v1?%6Bey=x&k%65%79=y", "key", "/v1?key=K"},
        {"/v1?keys=y&ke=z&xkey=w", "key", "/v1?keys=y&ke=z&xkey=w&key=K"},
        {"/v1?a=key=x", "key", "/v1?a=key=x&key=K"},
        {"/v1?key%3Dx=1", "key", "/v1?key%3Dx=1&key=K"},  // a parameter named "key=x"
        {"/v1?a=%26key%3Dx", "key", "/v1?a=%26key%3Dx&key=K"},
        {"/v1?%6=1&%zz=2&%", "key", "/v1?%6=1&%zz=2&%&key=K"},
        {"/v1?a=?key=x", "key", "/v1?a=?key=x&key=K"},
        {"/v1?&a=b&&key=x&", "key", "/v1?&a=b&&&key=K"},
        {"/key=x?a", "key", "/key=x?a&key=K"},
        {"/v1?api+key=x&api%20key=y", "api key", "/v1?api%20key=K"},
        {"/v1?a+b=x&a%2Bb=y&a%2bb=z&ab", "a+b", "/v1?ab&a%2Bb=K"},
        {"/v1?api[key]=x&api%5Bkey%5D=y&api=z&api[other]=w", "api[key]", "/v1?api=z&api[other]=w&api%5Bkey%5D=K"},
        // Vendors that split at ';' as well (RFC 1866 8.2.1):
        {"/v1?a=1;key=mine", "key", "/v1?a=1&key=K"},
        {"/v1?key=mine;a=1", "key", "/v1?a=1&key=K"},
        {"/v1?a=1;%6bey=mine;b=2", "key", "/v1?a=1;b=2&key=K"},
        {"/v1?a=1;b=2&key=x;c=3&d;e", "key", "/v1?a=1;b=2&c=3&d;e&key=K"},
        {"/v1?;key;", "key", "/v1?;&key=K"},
        {"/v1?a=1%3Bkey=mine", "key", "/v1?a=1%3Bkey=mine&key=K"},  // part of a's value to everybody
        // What the frameworks of vendors make of a name:
        {"/v1?KEY=x&kEy=y&%4bey=z", "key", "/v1?key=K"},
        {"/v1?+key=x&%20key=y&key+=z&key%09=w", "key", "/v1?key=K"},
        {"/v1?key[]=x&key%5b0%5D=y&key[a][b]=z", "key", "/v1?key=K"},
        {"/v1?key%00=x&key%00z=y", "key", "/v1?key=K"},
        {"/v1?%u006bey=x&%U006Bey=y", "key", "/v1?key=K"},
        {"/v1?api.key=x&api+key=y&api[key=z&api%2ekey=w&api-key=v", "api_key", "/v1?api-key=v&api_key=K"},
        {"/v1?_key=x&key_=y&[key]=z", "key", "/v1?_key=x&key_=y&[key]=z&key=K"},
        {"/v1?%256bey=x", "key", "/v1?%256bey=x&key=K"},  // decoded once it is "%6bey"
        {"/v1?%u01_6bey=1&%u", "key", "/v1?%u01_6bey=1&%u&key=K"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.target, one.name);
        RequestHead head;
        head.target = one.target;
        head.fields.add("Authorization", "the application's");
        apply(attachment(FixedValue::Place::query, one.name, "K"), head);
        CHECK(head.target == one.expected);
        CHECK(head.fields.size() == 1);
    }
}

TEST_CASE("applying again, as a retry does, changes nothing") {
    RequestHead head;
    head.target = "/v1?a=b";
    for (int attempt = 0; attempt < 3; ++attempt) {
        apply(attachment(FixedValue::Place::query, "key", "K%2B"), head);
        apply(attachment(FixedValue::Place::header, "X-Key", "K+"), head);
    }
    CHECK(head.target == "/v1?a=b&key=K%2B");
    CHECK(head.fields.size() == 1);
}

TEST_CASE("a spec names its type and where its secret is, never the secret") {
    CHECK(spec(BearerSpec{}).type() == "bearer");
    CHECK(spec(ApiKeySpec{}).type() == "api_key");
    CHECK(spec(BasicSpec{}).type() == "basic");
    CHECK(from_file.text() == "{file: /run/secrets/x}");
    CHECK(SecretSource{SecretSource::Kind::environment, "KEY"}.text() == "{env: KEY}");
    CHECK(SecretSource{}.text() == "(none)");
}

// ---- placeholders

TEST_CASE("a placeholder is replaced wherever the application put it") {
    RequestHead head;
    head.target = "/v1/PLACE-HOLDER/x?key=PLACE-HOLDER&b=2";
    head.fields.add("X-Api-Key", "PLACE-HOLDER");
    head.fields.add("Authorization", "Basic dTpQTEFDRS1IT0xERVI=");   // u:PLACE-HOLDER
    head.fields.add("X-Twice", "a PLACE-HOLDER and PLACE-HOLDER");
    head.fields.add("X-Other", "PLACE-HOLD");
    CHECK(replace_placeholder("PLACE-HOLDER", "s/3 cr3t", head) == Placeholders::replaced);
    CHECK(head.target == "/v1/s%2F3%20cr3t/x?key=s%2F3%20cr3t&b=2");
    CHECK(head.fields.find("X-Api-Key") == "s/3 cr3t");
    CHECK(head.fields.find("Authorization") == "Basic dTpzLzMgY3IzdA==");
    CHECK(head.fields.find("X-Twice") == "a s/3 cr3t and s/3 cr3t");
    CHECK(head.fields.find("X-Other") == "PLACE-HOLD");
}

TEST_CASE("beside a placeholder in the credential's own place nothing else of the application's stands there") {
    RequestHead head;
    head.target = "/x?key=PLACE-HOLDER&K%65Y=own;key=own2&b=2";
    head.fields.add("Authorization", "Bearer own");
    head.fields.add("X-Api-Key", "PLACE-HOLDER");
    head.fields.add("authorization", "Basic dTpQTEFDRS1IT0xERVI=");   // u:PLACE-HOLDER
    head.fields.add("X_Api_Key", "own");
    head.fields.add("x-api-key", "own");
    head.fields.add("Accept", "own");
    const auto drop = [&head](FixedValue::Place place, std::string name) { drop_beside_placeholder(attachment(place, std::move(name), "Bearer s3cr3t"), "PLACE-HOLDER", head); };
    drop(FixedValue::Place::header, "Authorization");
    drop(FixedValue::Place::header, "X-Api-Key");
    drop(FixedValue::Place::query, "key");
    std::string text;
    for (const Field field : head.fields) text.append(field.name).append(": ").append(field.value).append("\n");
    CHECK(text == "X-Api-Key: PLACE-HOLDER\nauthorization: Basic dTpQTEFDRS1IT0xERVI=\nAccept: own\n");
    CHECK(head.target == "/x?key=PLACE-HOLDER&b=2");
    head.fields.add("Authorization", "Bearer own");   // which holds one value whatever the credential's place is
    drop(FixedValue::Place::query, "key");
    CHECK(head.fields.count(Known::authorization) == 1);
}

TEST_CASE("where the placeholder stands elsewhere, what the application has in the credential's place is left to it") {
    RequestHead head;
    head.target = "/x?key=own&key=own2&other=PLACE-HOLDER";
    head.fields.add("X-Other", "PLACE-HOLDER");
    head.fields.add("Authorization", "Bearer own");
    drop_beside_placeholder(attachment(FixedValue::Place::header, "Authorization", "Bearer s3cr3t"), "PLACE-HOLDER", head);
    drop_beside_placeholder(attachment(FixedValue::Place::query, "key", "s3cr3t"), "PLACE-HOLDER", head);
    CHECK(head.target == "/x?key=own&key=own2&other=PLACE-HOLDER");
    CHECK(head.fields.find("Authorization") == "Bearer own");
}

TEST_CASE("a secret that holds its placeholder is put in once, and fields of one name stay apart") {
    RequestHead head;
    head.target = "/PLACE-HOLDER?key=PLACE-HOLDER";
    head.fields.add("Cookie", "a=1");
    head.fields.add("Cookie", "b=PLACE-HOLDER");
    head.fields.add("Cookie", "c=PLACE-HOLDER");
    CHECK(replace_placeholder("PLACE-HOLDER", "PLACE-HOLDER-2", head) == Placeholders::replaced);
    CHECK(head.target == "/PLACE-HOLDER-2?key=PLACE-HOLDER-2");
    std::vector<std::string> cookies;
    for (const Field field : head.fields) cookies.emplace_back(field.value);
    CHECK(cookies == std::vector<std::string>{"a=1", "b=PLACE-HOLDER-2", "c=PLACE-HOLDER-2"});
}

TEST_CASE("a value for a query that could break a header is refused where a placeholder may bring it there") {
    CredentialSpec spec;
    spec.name = "k";
    spec.kind = ApiKeySpec{"key", {}};
    const Minted minted{Secret("secret\r\nX-Evil: 1"), {}, {}, {}};
    CHECK(make_attachment(spec, minted).has_value());
    spec.rules.placeholder = "PLACE-HOLDER";
    CHECK_FALSE(make_attachment(spec, minted).has_value());
}

TEST_CASE("a placeholder that needs encoding is found encoded in path and query") {
    RequestHead head;
    head.target = "/a?key=%7B%7Bkey%7D%7D";
    CHECK(replace_placeholder("{{key}}", "s3cr3t", head) == Placeholders::replaced);
    CHECK(head.target == "/a?key=s3cr3t");
}

TEST_CASE("a placeholder is found in path and query however much of it is encoded, in digits of either case") {
    const auto target = [](const std::string& written, std::string_view placeholder) {
        RequestHead head;
        head.target = written;
        replace_placeholder(placeholder, "s3/cr3t", head);
        return head.target;
    };
    CHECK(target("/a?key=%7b%7Bkey%7d%7D", "{{key}}") == "/a?key=s3%2Fcr3t");
    CHECK(target("/%7b{key%7d}/%7bkey%7d", "{{key}}") == "/s3%2Fcr3t/%7bkey%7d");
    CHECK(target("/%50LACE%2dHOLDE%52", "PLACE-HOLDER") == "/s3%2Fcr3t");
    CHECK(target("/%%50LACE-HOLDER%", "PLACE-HOLDER") == "/%s3%2Fcr3t%");
    CHECK(target("/x%2541y1234", "x%41y1234") == "/s3%2Fcr3t");   // the placeholder's own escape, encoded
    CHECK(target("/x%41y1234", "x%41y1234") == "/s3%2Fcr3t");     // and as it is
    for (const char* other : {"/PLACE-HOLDE%5", "/PLACE-HOLDE%", "/PLACE-HOLDE", "/%2550LACE-HOLDER", "/place-holder", "/PLACE%2GHOLDER"})
        CHECK(target(other, "PLACE-HOLDER") == other);
}

TEST_CASE("no placeholder begins inside of an escape of path or query") {
    const auto target = [](const std::string& written, std::string_view placeholder) {
        RequestHead head;
        head.target = written;
        replace_placeholder(placeholder, "s3cr3t", head);
        return head.target;
    };
    CHECK(target("/a%2FABCDEF?q=%2FABCDEF", "2FABCDEF") == "/a%2FABCDEF?q=%2FABCDEF");
    CHECK(target("/a%2FABCDEF", "FABCDEF") == "/a%2FABCDEF");
    CHECK(target("/a%2F2FABCDEF/2FABCDEF", "2FABCDEF") == "/a%2Fs3cr3t/s3cr3t");
    CHECK(target("/%%2FABCDEF", "/ABCDEF") == "/%s3cr3t");
    CHECK(target("/%zz2FABCDEF", "2FABCDEF") == "/%zzs3cr3t");   // that is none
}

TEST_CASE("in a header's value only the placeholder itself is replaced, as nobody decodes there") {
    RequestHead head;
    head.target = "/";
    head.fields.add("X-Api-Key", "PLACE%2DHOLDER");
    CHECK(replace_placeholder("PLACE-HOLDER", "s3cr3t", head) == Placeholders::none);
}

TEST_CASE("a request without the placeholder stays as it is") {
    RequestHead head;
    head.target = "/a?b=c";
    head.fields.add("Authorization", "Basic !!!");
    CHECK(replace_placeholder("PLACE-HOLDER", "s3cr3t", head) == Placeholders::none);
    CHECK(head.target == "/a?b=c");
    CHECK(head.fields.find("Authorization") == "Basic !!!");
}

TEST_CASE("no small request becomes one of megabytes by its placeholders, wherever they are") {
    const auto many = [](std::size_t times) {
        std::string text;
        for (std::size_t i = 0; i < times; ++i) text += "PLACE-HOLDER,";
        return text;
    };
    const auto as_basic = [&](std::size_t times) {
        std::string value = "Basic ";
        append_base64(value, "user:" + many(times));
        return value;
    };
    const std::string secret(2000, 's');
    const auto outcome = [&](const std::string& target, const std::string& header, const std::string& authorization) {
        RequestHead head;
        head.target = target;
        head.fields.add("X-Key", header);
        head.fields.add("Authorization", authorization);
        return replace_placeholder("PLACE-HOLDER", secret, head);
    };
    CHECK(outcome("/?" + many(most_placeholders), "", "") == Placeholders::replaced);
    CHECK(outcome("/?" + many(most_placeholders + 1), "", "") == Placeholders::too_many);
    CHECK(outcome("/", many(most_placeholders), "") == Placeholders::replaced);
    CHECK(outcome("/", many(most_placeholders + 1), "") == Placeholders::too_many);
    CHECK(outcome("/", "", as_basic(most_placeholders)) == Placeholders::replaced);
    CHECK(outcome("/", "", as_basic(most_placeholders + 1)) == Placeholders::too_many);
    CHECK(outcome("/?" + many(8), many(4), as_basic(5)) == Placeholders::too_many);
    CHECK(outcome("/" + many(4500), "", "") == Placeholders::too_many);
}
