// AWS Signature Version 4 in the Authorization header ("Signing AWS API requests", and for S3 "Authenticating Requests:
// Using the Authorization Header"). What the application signed with its dummy keys goes; the same request, signed with
// ours, stays. Pure: the time is an argument; called by whoever sends a request, on its thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "proxy/base/result.hpp"
#include "proxy/base/secret.hpp"
#include "proxy/base/time.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

/// Views: whoever signs keeps the secrets. The token is empty for keys that last.
struct AwsKeys {
    std::string_view access_key_id;
    std::string_view secret_access_key;
    std::string_view session_token;
};

/// The signing key of the last day, region, service and pair of keys: deriving it is four HMACs. One for each
/// credential and thread.
class AwsKeyCache {
  public:
    /// `date` is "20150830". Valid until the next call.
    const HashValue& key(const AwsKeys& keys, std::string_view date, std::string_view region, std::string_view service);
    /// Once in a while: what nobody has asked for since the last call is forgotten, and wiped. Keys that were replaced are of no more use.
    void tidy();
    bool empty() const { return secret_.empty(); }

  private:
    std::string date_, region_, service_, access_key_id_;
    Secret secret_;  // a store of one's own may change the secret of a key and keep its id
    HashValue key_;
    bool used_ = false;
};

/// What the signature says of the body.
struct AwsPayload {
    enum class Kind : unsigned char {
        given,                       // the application's own hash of it, in X-Amz-Content-Sha256; or there is no body
        unsigned_payload,            // nothing
        must_hash,                   // its SHA-256, which the caller has to find first: `text` is empty until then
        streaming_signed,            // aws-chunked, each chunk signed: goes through AwsChunkedResigner
        streaming_signed_trailer,    // the same with a signed trailer
        streaming_unsigned_trailer,  // aws-chunked without signatures: goes as it is
    };
    Kind kind = Kind::given;
    std::string text;  // what is signed in its place
};

/// Decides by X-Amz-Content-Sha256 (never by what frames the body: that is gone from the head), and where there is none by the service: S3 takes a request whose body is not
/// signed, the others do not. Fails (origin application, bad_request) with words where the body's signatures cannot be
/// made anew: the asymmetric ones (SigV4a), event streams, and words that nobody knows.
Result<AwsPayload> judge_aws_payload(std::string_view service, const RequestHead& head, bool has_body);

/// S3 and its kin: their paths are signed as they are sent, and they want X-Amz-Content-Sha256.
bool is_s3(std::string_view service);

/// Views, none of them into the head that is signed: it changes under them.
struct AwsSigning {
    AwsKeys keys;
    std::string_view region;
    std::string_view service;
    WallTime now;
    std::string_view host;     // the Host field as it will be sent; the head's own is not looked at
    std::string_view prefix;   // goes before the path when it is sent: no '/' at its end
    std::string_view payload;  // AwsPayload::text
    // Lower-case names of further fields to sign, beside host, content-type, content-md5 and x-amz-*. None that
    // somebody on the way changes.
    std::span<const std::string_view> also_sign = {};
    enum class Path : unsigned char { by_service, as_s3 } path = Path::by_service;
};

/// What the signatures of an aws-chunked body go on from.
struct AwsSigned {
    HashValue key;
    std::string time;       // "20150830T123600Z"
    std::string scope;      // "20150830/us-east-1/s3/aws4_request"
    std::string signature;  // of the head, 64 hexadecimal digits: the first chunk's seed
};

/// Takes away what a signature of the application left (Authorization, X-Amz-Date, Date, X-Amz-Security-Token,
/// X-Amz-S3session-Token, the parameters of a presigned URL, those of signature version 2 too), and signs. Sets X-Amz-Date, X-Amz-Security-Token where
/// there is a token, X-Amz-Content-Sha256 for S3 or where there was one, and Authorization. A '+' in the query becomes
/// %20, which is what AWS reads it as. `head.target` is in origin-form; hop-by-hop fields are gone already. What is
/// signed may not be changed any more. Under 10 us for a request of 1 KiB.
void sign_aws(const AwsSigning& in, AwsKeyCache& cache, RequestHead& head, AwsSigned& out);

/// The text whose hash is signed, for a head that sign_aws has been through, and the names of its fields
/// ("host;x-amz-date"). Both appended. Holds the session token.
void append_canonical_request(const AwsSigning& in, const RequestHead& head, std::string& out, std::string& names);

/// SHA-256 of nothing.
inline constexpr std::string_view empty_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

}  // namespace sluice
