#include "proxy/credentials/aws_profile.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_profiles = 1000;

std::string_view take_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

// A comment on a line of its own, or after white space.
std::string_view without_comment(std::string_view text) {
    for (std::size_t i = 1; i < text.size(); ++i)
        if ((text[i] == '#' || text[i] == ';') && (text[i - 1] == ' ' || text[i - 1] == '\t'))
            return trimmed(text.substr(0, i));
    return trimmed(text);
}

// The profile that "[...]" names. Nothing: it is no section; "": one that is no profile.
std::optional<std::string_view> profile_of(std::string_view line, bool is_config) {
    line = without_comment(line);
    if (!line.ends_with(']')) return {};
    std::string_view name = trimmed(line.substr(1, line.size() - 2));
    if (name.empty() || name.find_first_of("[]") != name.npos) return {};
    if (!is_config || name == "default") return name;
    if (!name.starts_with("profile ") && !name.starts_with("profile\t")) return "";
    name = trimmed(name.substr(8));
    if (name.size() >= 2 && (name.front() == '"' || name.front() == '\'') && name.back() == name.front())
        name = name.substr(1, name.size() - 2);
    return name;
}

struct Setting {
    std::string_view name;
    std::string AwsProfile::*to;
};
constexpr Setting texts[] = {
    {"aws_access_key_id", &AwsProfile::access_key_id},
    {"role_arn", &AwsProfile::role_arn},
    {"source_profile", &AwsProfile::source_profile},
    {"credential_source", &AwsProfile::credential_source},
    {"external_id", &AwsProfile::external_id},
    {"role_session_name", &AwsProfile::session_name},
    {"web_identity_token_file", &AwsProfile::web_identity_token_file},
};

// False: the value has no sense.
bool set(AwsProfile& profile, std::string_view name, std::string_view value) {
    for (const Setting& setting : texts)
        if (name == setting.name) profile.*setting.to = value;
    if (name == "aws_secret_access_key") profile.secret_access_key = Secret(std::string(value));
    if (name == "aws_session_token") profile.session_token = Secret(std::string(value));
    if (name == "credential_process") profile.process = true;
    if (name.starts_with("sso_")) profile.sso = true;
    if (name != "duration_seconds") return true;
    const auto seconds = parse_decimal(value);
    if (!seconds || *seconds < 900 || *seconds > 43200) return false;  // of STS
    profile.duration = std::chrono::seconds(*seconds);
    return true;
}

class Reader {
  public:
    Reader(std::map<std::string, AwsProfile, std::less<>>& into, bool is_config) : into_(into), is_config_(is_config) {}

    // "": all of it is read; else what is wrong.
    std::string_view take(std::string_view raw) {
        const std::string_view line = trimmed(raw);
        if (line.empty() || line.front() == '#' || line.front() == ';') return {};
        const bool indented = raw.front() == ' ' || raw.front() == '\t';
        if (indented && has_setting_) return {};  // what belongs to the setting above: `s3 =` and its like
        if (line.front() == '[') return begin(line);
        const std::size_t equals = line.find('=');
        if (equals == line.npos || equals == 0) return "is neither [section] nor name = value";
        if (!begun_) return "stands before any [section]";
        has_setting_ = true;
        if (!profile_) return {};
        const std::string name = to_lower(trimmed(line.substr(0, equals)));
        return set(*profile_, name, without_comment(line.substr(equals + 1)))
                   ? std::string_view{}
                   : "has a duration_seconds that is not between 900 and 43200";
    }

  private:
    std::string_view begin(std::string_view line) {
        const auto name = profile_of(line, is_config_);
        if (!name) return "is no [section]";
        begun_ = true;
        has_setting_ = false;
        profile_ = nullptr;
        if (name->empty()) return {};
        if (into_.size() == most_profiles) return "is one profile too many (1000)";
        profile_ = &into_[std::string(*name)];
        return {};
    }

    std::map<std::string, AwsProfile, std::less<>>& into_;
    const bool is_config_;
    AwsProfile* profile_ = nullptr;
    bool begun_ = false, has_setting_ = false;
};

bool read_all(std::string_view text, bool is_config, std::map<std::string, AwsProfile, std::less<>>& into,
              std::string& why) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // some editors' mark
    Reader reader(into, is_config);
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::string_view wrong = reader.take(take_line(text));
        if (wrong.empty()) continue;
        why = "line " + std::to_string(number) + " of AWS's " + (is_config ? "config" : "credentials") + " file " +
              std::string(wrong);
        return false;
    }
    return true;
}

}  // namespace

std::optional<AwsProfiles> AwsProfiles::read(std::string_view credentials, std::string_view config, std::string& why) {
    AwsProfiles read;
    std::map<std::string, AwsProfile, std::less<>> first;
    if (!read_all(config, true, read.profiles_, why) || !read_all(credentials, false, first, why)) return {};
    for (auto& [name, profile] : first) {
        AwsProfile& merged = read.profiles_[name];
        if (profile.has_keys()) {
            merged.access_key_id = std::move(profile.access_key_id);
            merged.secret_access_key = std::move(profile.secret_access_key);
            merged.session_token = std::move(profile.session_token);
        }
        for (const Setting& setting : texts)
            if (setting.to != &AwsProfile::access_key_id && !(profile.*setting.to).empty())
                merged.*setting.to = std::move(profile.*setting.to);
        if (profile.duration) merged.duration = profile.duration;
        merged.process |= profile.process;
        merged.sso |= profile.sso;
    }
    return read;
}

const AwsProfile* AwsProfiles::find(std::string_view name) const {
    const auto found = profiles_.find(name);
    return found == profiles_.end() ? nullptr : &found->second;
}

}  // namespace sluice
