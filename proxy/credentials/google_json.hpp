// What Google gives out and answers: key files of service accounts, configurations of workload identity federation
// (AIP-4117), replies of the IAM Credentials API and of the metadata server. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/credentials/credential.hpp"

namespace sluice {

struct GoogleServiceAccount {
    std::string email, key_id;
    Secret private_key;  // PEM
    Url token_uri;
};

struct GoogleExternalAccount {
    std::string audience, subject_token_type, workforce_project;
    Url token_url;
    std::optional<Url> impersonation_url;  // ends with ":generateAccessToken"
    Duration impersonation_lifetime = 1h;
    // Where the subject token is: a file, or what is answered at `url`.
    std::string file;
    Url url;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string field;  // of the JSON that is there; "": it is text
};

// Nothing: `why` says what is wrong with the file, never what is in it. A file says where its key is sent, so what it
// names must be https; plain HTTP is for this machine alone, or, where only a subject token comes from there, for this
// link.

std::optional<GoogleServiceAccount> read_service_account(std::string_view text, std::string& why);
std::optional<GoogleExternalAccount> read_external_account(std::string_view text, std::string& why);

/// The end that a JWT says it has (`exp`), without verifying anything: it comes from who signed it. Nothing: it is no
/// JWT, or has no such end.
std::optional<WallTime> end_of_jwt(std::string_view token);

/// {"accessToken", "expireTime"} of generateAccessToken. Nothing: `why` says for a person what was answered.
std::optional<Minted> read_impersonated(unsigned status, std::string_view body, WallTime asked, std::string& why);
/// An ID token as the member `name` of a JSON object; "": the body itself is one.
std::optional<Minted> read_id_token(std::string_view name, unsigned status, std::string_view body, WallTime asked,
                                    std::string& why);
/// A subject token as credential_source's `format` has it; `field` "": the whole text.
std::optional<Secret> read_subject_token(std::string_view field, std::string_view text, std::string& why);

/// "answered 403 PERMISSION_DENIED: ..." of an answer that is no token (google.rpc.Status, RFC 6749 5.2).
std::string google_refusal(unsigned status, std::string_view body);

/// May stand in the path of a request about it: an e-mail address, or a number.
bool is_google_account(std::string_view text);

}  // namespace sluice
