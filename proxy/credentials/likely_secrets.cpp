#include "proxy/credentials/likely_secrets.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t least_random = 16;

// Of words as base64, base64url, hexadecimal and JSON Web Tokens are written, and of names and paths.
bool is_of_word(char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || std::string_view("+/_-.~").find(c) != std::string_view::npos;
}

/// In 20 characters by chance a small letter, a capital or a digit follows another kind about nine times, but for a small
/// one after a capital, as names write words: "AssumeRoleWithWebIdentity", "linux-amd64" change once in five at most. A
/// path may lead to what looks random.
bool looks_random(std::string_view word) {
    constexpr std::size_t window = 20;
    if (word.size() < least_random) return false;
    const auto kind = [](char c) { return is_digit(c) ? 1 : c >= 'a' && c <= 'z' ? 2 : c >= 'A' && c <= 'Z' ? 3 : 0; };
    const auto changes_at = [&](std::size_t i) {
        const int before = kind(word[i - 1]), now = kind(word[i]);
        return before != 0 && now != 0 && before != now && !(before == 3 && now == 2);
    };
    const std::size_t size = std::min(word.size(), window);
    std::size_t changes = 0;
    for (std::size_t i = 1; i < word.size(); ++i) {
        changes += changes_at(i);
        if (i >= size) changes -= changes_at(i - size + 1);
        if (4 * changes >= size) return true;
    }
    return false;
}

// Of a host or a path no.
bool names_a_secret(std::string_view word) {
    if (word.find_first_of("./") != word.npos) return false;
    constexpr std::array names = {"token", "secret", "passw", "passphrase", "pwd", "key", "credential", "auth", "cookie", "session", "assertion", "signature"};
    const std::string name = to_lower(word);
    return name.ends_with("pass") || std::any_of(names.begin(), names.end(), [&name](std::string_view one) { return name.find(one) != name.npos; });
}

// As issuers mark theirs (Vault, Stripe and who took after it), however what follows looks.
bool is_marked(std::string_view word) {
    constexpr std::array<std::string_view, 7> marks = {"hvs.", "hvb.", "hvr.", "sk-live-", "sk_live_", "rk-live-", "rk_live_"};
    constexpr std::size_t least = 8;
    word.remove_prefix(word.rfind('/') + 1);
    return std::any_of(marks.begin(), marks.end(), [word](std::string_view one) { return word.starts_with(one) && word.size() >= one.size() + least; });
}

bool is_scheme(std::string_view word) { return same_text(word, "bearer") || same_text(word, "basic"); }

// As people write words: "refused", "Unauthorized:", "not-found".
bool is_plain(std::string_view word) {
    word = word.substr(0, word.find_last_not_of(":.!") + 1);
    word.remove_prefix(!word.empty() && word[0] >= 'A' && word[0] <= 'Z');
    return std::all_of(word.begin(), word.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

std::size_t skip(std::string_view line, std::size_t at, std::string_view what) {
    return std::min(line.find_first_not_of(what, at), line.size());
}

std::string_view word_at(std::string_view line, std::size_t at) {
    return line.substr(at, std::min(line.find_first_of(" \t,;", at), line.size()) - at);
}

// Behind "Bearer" a word that is no secret is a short one, or one of these.
bool may_be_bearers(std::string_view word) {
    constexpr std::size_t least = 12;
    word = word.substr(0, word.find_last_not_of(":.!") + 1);
    return word.size() >= least && !same_text(word, "authentication") && !same_text(word, "authorization");
}

/// Behind the name that ends at `at`: where the value begins that has to be masked whole. npos: none.
std::size_t value_behind(std::string_view line, std::string_view name, std::size_t at) {
    const std::size_t gap = skip(line, at, "\"'");
    const std::size_t sign = skip(line, gap, " \t");
    if (sign < line.size() && line[sign] == '=') return skip(line, sign + 1, " \t");
    if (sign < line.size() && line[sign] == ':') {
        const std::size_t value = skip(line, sign + 1, " \t");
        const bool quoted = value < line.size() && (line[value] == '"' || line[value] == '\'');
        const bool of_field = name.size() > 2 && same_text(name.substr(0, 2), "x-");   // a header's value is no remark
        return quoted || of_field || !is_plain(word_at(line, value)) ? value : line.npos;
    }
    const std::string_view next = word_at(line, sign);
    const bool of_bearer = same_text(name, "bearer") && may_be_bearers(next);
    const bool of_option = name.starts_with('-'), of_scheme = is_scheme(name) && (of_bearer || !is_plain(next));
    return sign > gap && (of_option || of_scheme) ? sign : line.npos;
}

/// Where a URL's authority begins at that `:`, and has who asks before its host (`://user:password@host`): the `@`.
std::size_t end_of_userinfo(std::string_view line, std::size_t at) {
    if (!line.substr(at).starts_with("://")) return line.npos;
    const std::string_view authority = line.substr(at + 3, std::min(line.find_first_of("/ \t\"'?#", at + 3), line.size()) - at - 3);
    const std::size_t sign = authority.rfind('@');
    return sign == authority.npos || sign == 0 ? line.npos : at + 3 + sign;
}

/// Of the value that begins there: to the quote that ends it, or to what ends a word.
std::size_t end_of_value(std::string_view line, std::size_t at) {
    if (at < line.size() && (line[at] == '"' || line[at] == '\'')) {
        const std::size_t quote = line.find(line[at], at + 1);
        return quote == line.npos ? line.size() : quote + 1;
    }
    return std::min(line.find_first_of(" \t\"',;&)}]", at), line.size());
}

}  // namespace

std::string mask_likely_secrets(std::string_view line) {
    std::string out;
    for (std::size_t at = 0; at < line.size();) {
        const auto stop = std::find_if_not(line.begin() + static_cast<std::ptrdiff_t>(at), line.end(), is_of_word);
        const std::size_t end = static_cast<std::size_t>(stop - line.begin());
        const std::string_view word = line.substr(at, end - at);
        if (word.empty()) {
            const std::size_t known = end_of_userinfo(line, at);
            out += line[at++];
            if (known == line.npos) continue;
            out.append("//***");
            at = known;
            continue;
        }
        const std::size_t value = names_a_secret(word) || is_scheme(word) ? value_behind(line, word, end) : line.npos;
        const bool behind_scheme = value < line.size() && is_scheme(word_at(line, value));
        out += looks_random(word) || is_marked(word) ? std::string_view("***") : word;
        at = end;
        if (value >= line.size() || behind_scheme) continue;   // "Authorization: Bearer ...": the scheme is a name itself
        out.append(line.substr(end, value - end)).append("***");
        at = end_of_value(line, value);
    }
    return out;
}

}  // namespace sluice
