// The profiles of AWS's shared files ("Shared config and credentials files", AWS SDKs and Tools Reference Guide). Pure:
// reading the files is `proxy/issuers`.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/secret.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

struct AwsProfile {
    std::string access_key_id;
    Secret secret_access_key, session_token;
    std::string role_arn, source_profile, credential_source, external_id, session_name, web_identity_token_file;
    std::optional<Duration> duration;  // of the role's session
    bool process = false;              // credential_process
    bool sso = false;                  // sso_session, sso_account_id ...

    bool has_keys() const { return !access_key_id.empty() || !secret_access_key.empty(); }
    /// Does it say anything about keys?
    bool says_anything() const { return has_keys() || !role_arn.empty() || process || sso; }
};

class AwsProfiles {
  public:
    /// The text of `credentials` and of `config`, each "" where there is no such file. Sections of the first are
    /// profiles by their name, of the second `[default]` and `[profile x]`; others are passed over, as are settings
    /// that say nothing about keys. Keys in `credentials` go before those in `config`, all three together. Nothing:
    /// `why` names the file and the line, never what is in it.
    static std::optional<AwsProfiles> read(std::string_view credentials, std::string_view config, std::string& why);

    /// Null: there is no such profile.
    const AwsProfile* find(std::string_view name) const;

  private:
    std::map<std::string, AwsProfile, std::less<>> profiles_;
};

}  // namespace sluice
