// JWTs against the vectors of RFC 7515 (Appendix A) and RFC 8037. The keys in data/jws are those of the RFCs, as PEM;
// each file says whose it is.
#include "proxy/credentials/assertion.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "proxy/base/codec.hpp"
#include "proxy/http/date.hpp"
#include "proxy/issuers/errand.hpp"

using namespace sluice;

namespace {

std::string pem(const std::string& name) {
    std::ifstream file(std::string(SLUICE_SOURCE_DIR) + "/tests/unit/data/jws/" + name);
    std::ostringstream text;
    text << file.rdbuf();
    REQUIRE(!text.str().empty());
    return text.str();
}

JwtKey key(const std::string& name, std::string_view algorithm = "") {
    std::string why;
    auto out = JwtKey::read(pem(name), algorithm, why);
    INFO(name << " " << why);
    REQUIRE(out.has_value());
    return *out;
}

std::string fault(std::string_view text, std::string_view algorithm = "") {
    std::string why;
    return JwtKey::read(text, algorithm, why) ? "(none)" : why;
}

/// By way of OpenSSL's own verification, with the signature put back into DER for ECDSA.
bool verifies(const std::string& pem_name, const char* hash, const std::string& token, bool pss = false) {
    const std::string text = pem(pem_name);
    BIO* in = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
    EVP_PKEY* pkey = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO_free(in);
    const std::size_t dot = token.rfind('.');
    const std::string signed_text = token.substr(0, dot);
    std::string signature = decode_base64url(token.substr(dot + 1)).value_or("");
    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) {
        const auto* raw = reinterpret_cast<const unsigned char*>(signature.data());
        const int half = static_cast<int>(signature.size() / 2);
        ECDSA_SIG* numbers = ECDSA_SIG_new();
        ECDSA_SIG_set0(numbers, BN_bin2bn(raw, half, nullptr), BN_bin2bn(raw + half, half, nullptr));
        unsigned char* der = nullptr;
        const int size = i2d_ECDSA_SIG(numbers, &der);
        signature.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
        OPENSSL_free(der);
        ECDSA_SIG_free(numbers);
    }
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* details = nullptr;
    REQUIRE(EVP_DigestVerifyInit_ex(context, &details, hash, nullptr, nullptr, pkey, nullptr) == 1);
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST);
    }
    const auto bytes = [](const std::string& s) { return reinterpret_cast<const unsigned char*>(s.data()); };
    const int verdict =
        EVP_DigestVerify(context, bytes(signature), signature.size(), bytes(signed_text), signed_text.size());
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return verdict == 1;
}

const std::string joe = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
const std::string joe_payload =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

}  // namespace

TEST_CASE("RS256 is RFC 7515 A.2 to the letter") {
    for (const char* file : {"rsa.pem", "rsa_pkcs1.pem"}) {
        CHECK(key(file).sign(R"({"alg":"RS256"})", joe).value() ==
              "eyJhbGciOiJSUzI1NiJ9." + joe_payload +
                  ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
                  "O8W2Fp5jujGbds9uJdb"
                  "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_"
                  "eSN9383Lc"
                  "OLn6_dO--xi12jzDwusC-"
                  "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVm"
                  "tVrBp0igcN_IoypGlUPQGe77Rw");
    }
}

TEST_CASE("an assertion of RFC 7523 4 is its example's, and so is the form that it goes in") {
    const std::string claims =
        R"({"iss":"https://jwt-idp.example.com","sub":"mailto:mike@example.com","aud":"https://jwt-rp.example.net",)"
        R"("nbf":1300815780,"exp":1300819380,"http://claims.example.com/member":true})";
    const std::string token = key("p256.pem").sign(R"({"alg":"ES256","kid":"16"})", claims).value();
    CHECK(token.starts_with("eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi"));
    const std::size_t begin = token.find('.') + 1;
    CHECK(decode_base64url(token.substr(begin, token.rfind('.') - begin)) == claims);
    CHECK(verifies("p256.pem", "SHA256", token));

    Form form;
    form.add("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer").add("assertion", token);
    const IssuerRequest request =
        std::move(form).post_to({Scheme::https, {"as.example.com", 443, false}, "/token.oauth2"});
    CHECK(request.method == "POST");
    CHECK(request.fields.find("Content-Type") == "application/x-www-form-urlencoded");
    CHECK(request.body.reveal() ==
          "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
          "&assertion=" +
              token);
}

TEST_CASE("EdDSA is RFC 8037 A.4 to the letter") {
    CHECK(key("ed25519.pem").sign(R"({"alg":"EdDSA"})", "Example of Ed25519 signing").value() ==
          "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-"
          "09PGcvMg3AIbQR6dWbhijcNR4ki4"
          "iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
}

TEST_CASE("ECDSA signatures are r and s of the curve's length, and verify as RFC 7515's own do") {
    // The RFC's tokens prove the check that ours then have to pass.
    CHECK(verifies("p256.pem", "SHA256",
                   "eyJhbGciOiJFUzI1NiJ9." + joe_payload +
                       ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"));
    CHECK(verifies(
        "p521.pem", "SHA512",
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KG"
        "DKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"));
    struct Case {
        const char *file, *hash, *algorithm;
        std::size_t signature_size;
    };
    const Case cases[] = {{"p256.pem", "SHA256", "ES256", 86},
                          {"p256_sec1.pem", "SHA256", "ES256", 86},
                          {"p384.pem", "SHA384", "ES384", 128},
                          {"p521.pem", "SHA512", "ES512", 176}};
    for (const Case& c : cases) {
        const JwtKey one = key(c.file);
        CHECK(one.algorithm() == c.algorithm);
        for (int i = 0; i < 300; ++i) {  // short r and s come once in 256
            const std::string token = one.sign("{}", std::to_string(i)).value();
            REQUIRE(token.size() - token.rfind('.') - 1 == c.signature_size);
            if (i < 10) CHECK(verifies(c.file, c.hash, token));
        }
        std::string token = one.sign("{}", "x").value();
        token[0] = 'f';
        CHECK(!verifies(c.file, c.hash, token));
    }
}

TEST_CASE("RSA signs with every hash, and PSS with a salt as long as it") {
    CHECK(verifies("rsa.pem", "SHA384", key("rsa.pem", "RS384").sign("{}", "x").value()));
    CHECK(verifies("rsa.pem", "SHA512", key("rsa.pem", "RS512").sign("{}", "x").value()));
    CHECK(verifies("rsa.pem", "SHA256", key("rsa.pem", "PS256").sign("{}", "x").value(), true));
    CHECK(verifies("rsa.pem", "SHA512", key("rsa.pem", "PS512").sign("{}", "x").value(), true));
    CHECK(!verifies("rsa.pem", "SHA256", key("rsa.pem", "PS256").sign("{}", "x").value()));
    CHECK(verifies("rsa_pss.pem", "SHA256", key("rsa_pss.pem").sign("{}", "x").value(), true));
    CHECK(key("rsa_pss.pem").algorithm() == "PS256");
}

TEST_CASE("what is no usable private key is refused in words for a person") {
    CHECK(fault("").find("is empty") == 0);
    CHECK(fault(" \n").find("is empty") == 0);
    CHECK(fault("hunter2").find("is no PEM") == 0);
    CHECK(fault(pem("encrypted.pem")).find("is encrypted") == 0);
    CHECK(fault(pem("encrypted_sec1.pem")).find("is encrypted") == 0);
    CHECK(fault(pem("public.pem")).find("is a public key") == 0);
    CHECK(fault(pem("certificate.pem")).find("is a certificate") == 0);
    CHECK(fault("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
              .find("is in OpenSSH's") == 0);
    CHECK(fault("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").find("is damaged") == 0);
    CHECK(fault("-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\\n")
              .find("has its line ends written as") == 0);
    CHECK(fault("{\n\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMII\"}").find("is JSON") == 0);
    CHECK(fault(std::string(2 << 20, 'x')).find("is larger") == 0);
    CHECK(fault(pem("weak.pem")) == "is an RSA key of 1024 bits: at least 2048 are due (RFC 7518 3.3)");
    CHECK(fault(pem("p256.pem"), "RS256") == "is a key of type P-256, which cannot sign RS256, only ES256");
    CHECK(fault(pem("p256.pem"), "ES384").find("cannot sign ES384") != std::string::npos);
    CHECK(fault(pem("rsa.pem"), "EdDSA") ==
          "is a key of type RSA, which cannot sign EdDSA, only RS256, RS384, RS512, PS256, PS384, PS512");
    CHECK(fault(pem("rsa_pss.pem"), "RS256").find("cannot sign RS256") != std::string::npos);
    CHECK(fault(pem("ed25519.pem"), "ES256").find("is a key of type Ed25519") == 0);
    CHECK(fault(pem("secp256k1.pem")).find("is a key of type secp256k1, for which there is no JWT algorithm") == 0);
    CHECK(fault(pem("x25519.pem")).find("is a key of type X25519") == 0);
    CHECK(fault(pem("rsa.pem"), "RS265") == "cannot be used: there is no algorithm 'RS265' (did you mean 'RS256'?)");
    CHECK(fault(pem("rsa.pem"), "none").find("there is no algorithm 'none'") != std::string::npos);
    CHECK(fault(pem("rsa.pem"), "HS256").find("there is no algorithm 'HS256'") != std::string::npos);
    CHECK(ERR_peek_error() == 0);  // nothing is left for a connection of the same thread to find
}

TEST_CASE("a private key is found beside its certificate") {
    CHECK(fault(pem("certificate.pem") + pem("p256.pem")) == "(none)");
}

TEST_CASE("a token says how it is signed, and what it is told to say in that order") {
    JwtMembers header, claims;
    header.text("kid", "k\"1");
    const WallTime now = *parse_rfc3339("2026-07-16T08:00:00.9Z");
    const std::string audiences[] = {"https://a.example/", "b\n"};
    std::array<unsigned char, 16> bits{};
    bits[15] = 255;
    claims.text("iss", "old")
        .text("sub", "caf\xc3\xa9\xff")
        .list("aud", audiences)
        .time("iat", now - 30s)
        .time("exp", now + 10min);
    claims.id(bits).flag("admin", false).number("n", -7).json("nested", R"({"a":[1]})").text("iss", "client");
    const std::string token = sign_jwt(key("p256.pem"), header, claims).value();
    const std::size_t first = token.find('.'), second = token.rfind('.');
    CHECK(decode_base64url(token.substr(0, first)) == R"({"kid":"k\"1","alg":"ES256","typ":"JWT"})");
    CHECK(decode_base64url(token.substr(first + 1, second - first - 1)) ==
          "{\"iss\":\"client\",\"sub\":\"caf\xc3\xa9\xef\xbf\xbd\",\"aud\":[\"https://a.example/"
          "\",\"b\\n\"],\"iat\":1784188770,"
          "\"exp\":1784189400,\"jti\":\"AAAAAAAAAAAAAAAAAAAA_w\",\"admin\":false,\"n\":-7,\"nested\":{\"a\":[1]}}");
    CHECK(verifies("p256.pem", "SHA256", token));

    header.text("typ", "client-authentication+jwt").text("alg", "none");
    const std::string typed = sign_jwt(key("p256.pem"), header, claims).value();
    CHECK(decode_base64url(typed.substr(0, typed.find('.'))) ==
          R"({"kid":"k\"1","typ":"client-authentication+jwt","alg":"ES256"})");
}
