// What issuers answer and give out, as any bytes: read or refused with words, and what is read may be used as it is. The
// input's first byte says which reader gets the rest.
#include <algorithm>
#include <string>

#include "proxy/credentials/aws_profile.hpp"
#include "proxy/credentials/aws_replies.hpp"
#include "proxy/credentials/github_reply.hpp"
#include "proxy/credentials/google_json.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/credentials/secret_xml.hpp"
#include "proxy/credentials/token_reply.hpp"
#include "proxy/http/date.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

const WallTime asked = *parse_rfc3339("2026-07-16T08:00:00Z");
constexpr Duration a_year = 365 * 24h;

bool printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void judge(const std::optional<Minted>& minted, const std::string& why) {
    REQUIRE(minted.has_value() == why.empty());
    REQUIRE(printable(why) && why.size() < 1000);
    if (!minted) return;
    if (minted->lifetime) REQUIRE(*minted->lifetime > Duration{} && *minted->lifetime <= a_year);
    for (const std::string& scope : minted->scope) REQUIRE(printable(scope));
    if (const auto* keys = std::get_if<AwsSecretKeys>(&minted->what)) {
        REQUIRE(is_access_key_id(keys->access_key_id) && is_token_text(keys->secret_access_key.reveal()));
        REQUIRE(keys->session_token.empty() || is_token_text(keys->session_token.reveal()));
    } else {
        REQUIRE(is_token_text(std::get<Secret>(minted->what).reveal()));
    }
}

bool is_kept(const Url& url) { return url.scheme == Scheme::https || is_loopback(url.authority); }

void judge_files(std::string_view text) {
    std::string why;
    if (const auto account = read_service_account(text, why)) {
        REQUIRE(is_kept(account->token_uri) && !account->private_key.empty());
    } else {
        REQUIRE(!why.empty() && printable(why));
    }
    why.clear();
    if (const auto account = read_external_account(text, why)) {
        REQUIRE(is_kept(account->token_url) && account->file.empty() != account->url.authority.host.empty());
        REQUIRE(!account->impersonation_url || is_kept(*account->impersonation_url));
    } else {
        REQUIRE(!why.empty() && printable(why));
    }
}

void judge_profiles(std::string_view text) {
    const std::size_t half = std::min(text.find('\0'), text.size());
    std::string why;
    const auto profiles = AwsProfiles::read(text.substr(0, half), text.substr(half + (half < text.size())), why);
    REQUIRE(profiles.has_value() == why.empty() && printable(why));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text = as_text(data + 1, size - 1);
    const unsigned status = data[0] & 0x80 ? 403 : 200;
    std::string why;
    switch (data[0] & 0x7F) {
    case 'x': judge(read_sts_reply("AssumeRole", status, text, asked, why), why); break;
    case 'k': judge(read_aws_keys_reply(status, text, asked, why), why); break;
    case 'g': judge(read_installation_token(status == 200 ? 201 : status, text, asked, why), why); break;
    case 'i': judge(read_id_token("token", status, text, asked, why), why); break;
    case 'j': judge(read_id_token("", status, text, asked, why), why); break;
    case 'm': judge(read_impersonated(status, text, asked, why), why); break;
    case 'f': judge_files(text); break;
    case 'p': judge_profiles(text); break;
    case 's':
        if (const auto token = read_subject_token("t", text, why)) REQUIRE(is_token_text(token->reveal()));
        break;
    case 't': {
        const auto read = read_token_reply(status, text);
        if (const auto* denied = std::get_if<TokenDenied>(&read)) REQUIRE(printable(denied->what) && !denied->what.empty());
        break;
    }
    default: break;
    }
    return 0;
}
