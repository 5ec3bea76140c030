#include "proxy/credentials/apply.hpp"

#include <algorithm>
#include <cstring>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// No control at all: HTAB may stand in a field value, but in a secret it is a slip of whoever stored it.
bool is_clean(std::string_view value) {
    return is_field_value(value) && value.find('\t') == value.npos;
}

bool is_unreserved(char c) {  // RFC 3986 2.3
    const char l = lower(c);
    return is_digit(c) || (l >= 'a' && l <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
}

void append_percent_encoded(std::string& out, std::string_view text) {
    for (char c : text) {
        if (is_unreserved(c)) {
            out += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += "0123456789ABCDEF"[byte >> 4];
        out += "0123456789ABCDEF"[byte & 0xF];
    }
}

void append_base64(std::string& out, std::string_view text) {  // RFC 4648 4
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < text.size(); i += 3) {
        unsigned group = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            group = group << 8 | (i + j < text.size() ? static_cast<unsigned char>(text[i + j]) : 0u);
        }
        const std::size_t given = std::min<std::size_t>(text.size() - i, 3);
        for (std::size_t j = 0; j < 4; ++j) out += j <= given ? digits[group >> (18 - 6 * j) & 0x3F] : '=';
    }
}

/// Makes the attachment of one kind of spec. Strings that hold a secret get all their room at once, so that growing
/// leaves no copy behind, and end in a Secret, which wipes them.
class Maker {
  public:
    Maker(const CredentialSpec& spec, const SecretValues& values) : spec_(spec), values_(values) {}

    Result<Attachment> operator()(const BearerSpec& bearer) const { return in_header(bearer.header, bearer.prefix); }

    Result<Attachment> operator()(const ApiKeySpec& key) const {
        if (key.query.empty()) return in_header(key.header, key.prefix);
        if (values_.value.empty()) return unusable("its value is empty");
        std::string value;
        value.reserve(3 * (key.prefix.size() + values_.value.size()));
        append_percent_encoded(value, key.prefix);
        append_percent_encoded(value, values_.value.reveal());
        return Attachment{Attachment::Place::query, key.query, Secret(std::move(value))};
    }

    Result<Attachment> operator()(const BasicSpec& basic) const {
        const bool username_is_secret = basic.username_source.kind != SecretSource::Kind::none;
        const std::string_view username = username_is_secret ? values_.username.reveal() : basic.username;
        const std::string_view password = values_.value.reveal();
        if (username.empty() && username_is_secret) return unusable("its username is empty");
        if (password.empty() && basic.password.kind != SecretSource::Kind::none)
            return unusable("its password is empty");
        if (username.find(':') != username.npos) return unusable("its username holds a ':' (RFC 7617 2)");
        if (!is_clean(username)) return unusable("its username holds a control character");
        if (!is_clean(password)) return unusable("its password holds a control character");
        std::string pair;
        pair.reserve(username.size() + password.size() + 1);
        pair.append(username).append(":").append(password);
        std::string value = "Basic ";
        value.reserve(value.size() + (pair.size() + 2) / 3 * 4);
        append_base64(value, pair);
        wipe(pair);
        return Attachment{Attachment::Place::header, "Authorization", Secret(std::move(value))};
    }

  private:
    Failure unusable(std::string_view why) const {
        return {Origin::sluice, Reason::credential_unavailable, Replay::safe,
                "credential '" + spec_.name + "' cannot be used: " + std::string(why)};
    }

    Result<Attachment> in_header(const std::string& header, const std::string& prefix) const {
        if (values_.value.empty()) return unusable("its value is empty");
        if (!is_clean(values_.value.reveal()) || !is_clean(prefix)) {
            return unusable("its value holds a line end or another control character");
        }
        std::string value;
        value.reserve(prefix.size() + values_.value.size());
        value.append(prefix).append(values_.value.reveal());
        return Attachment{Attachment::Place::header, header, Secret(std::move(value))};
    }

    const CredentialSpec& spec_;
    const SecretValues& values_;
};

/// Percent-decoded, IIS's %uXXXX too, as far as it is ASCII; what is no escape stands for itself.
std::string decoded(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t digits_at = text.size() >= 6 && (text.starts_with("%u00") || text.starts_with("%U00")) ? 4 : 1;
        const bool escape = text[0] == '%' && text.size() >= digits_at + 2;
        const int high = escape ? hex_value(text[digits_at]) : -1;
        const int low = escape ? hex_value(text[digits_at + 1]) : -1;
        const bool sound = high >= 0 && low >= 0;
        out += sound ? static_cast<char>(high * 16 + low) : text[0];
        text.remove_prefix(sound ? digits_at + 2 : 1);
    }
    return out;
}

/// A parameter's name as the most forgiving of vendors reads it: '+' for a space, blanks around it skipped, over at a NUL,
/// '.' and ' ' as good as '_', `key[]` for `key` (all PHP), case ignored (ASP.NET).
std::string forgiven(std::string_view written, bool with_brackets) {
    std::string name = decoded(written);
    name.resize(std::min(name.find('\0'), name.size()));
    std::replace(name.begin(), name.end(), '+', ' ');
    name = trimmed(name);
    if (const std::size_t bracket = name.find('[', 1); bracket != name.npos && !with_brackets) {
        if (name.find(']', bracket) != name.npos) name.resize(bracket);
        else name[bracket] = '_';
    }
    for (char& c : name) c = c == ' ' || c == '.' || c == '\t' ? '_' : lower(c);
    return name;
}

/// Takes the parameter out of the query that begins at `begin` (after its '?'), in place, however it is spelled, also
/// where only a vendor that splits at ';' would find it; everything else keeps its bytes.
void remove_parameter(std::string& target, std::size_t begin, std::string_view name) {
    const bool with_brackets = name.find('[') != name.npos;
    const std::string ours = forgiven(name, with_brackets);
    std::size_t to = begin;
    bool kept_any = false;
    char separator = ';';
    for (std::size_t at = begin; at <= target.size();) {
        const std::size_t end = std::min(target.find_first_of("&;", at), target.size());
        const std::string_view parameter = std::string_view(target).substr(at, end - at);
        if (forgiven(parameter.substr(0, parameter.find('=')), with_brackets) != ours) {
            if (kept_any) target[to++] = separator;
            kept_any = true;
            separator = ';';
            std::memmove(target.data() + to, parameter.data(), parameter.size());
            to += parameter.size();
        }
        // What follows a parameter that is gone must not become part of the one before it.
        if (end < target.size() && target[end] == '&') separator = '&';
        at = end + 1;
    }
    target.resize(to);
}

/// Room for `more` bytes without leaving a copy of an earlier credential in the block that is given up.
void make_room(std::string& target, std::size_t more) {
    if (target.capacity() - target.size() >= more) return;
    std::string grown;
    grown.reserve(std::max(target.size() + more, target.capacity() * 2));
    grown.append(target);
    target.swap(grown);
    wipe(grown);
}

void set_parameter(std::string& target, std::string_view name, std::string_view encoded_value) {
    const std::size_t query = target.find('?');
    if (query != target.npos) remove_parameter(target, query + 1, name);
    make_room(target, 2 + 3 * name.size() + encoded_value.size());
    if (query == target.npos) {
        target += '?';
    } else if (target.size() > query + 1) {
        target += '&';
    }
    append_percent_encoded(target, name);
    target += '=';
    target += encoded_value;
}

}  // namespace

Result<Attachment> make_attachment(const CredentialSpec& spec, const SecretValues& values) {
    return std::visit(Maker{spec, values}, spec.kind);
}

void apply(const Attachment& attachment, RequestHead& head) {
    switch (attachment.place) {
    case Attachment::Place::header:
        head.fields.set(attachment.name, attachment.value.reveal());
        if (attachment.name.find_first_of("-_") != attachment.name.npos) head.fields.remove_lookalikes(attachment.name);
        return;
    case Attachment::Place::query: set_parameter(head.target, attachment.name, attachment.value.reveal()); return;
    }
}

void withhold(const CredentialSpec& spec, RequestHead& head) {
    const auto drop_header = [&head](const std::string& name) {
        head.fields.remove(name);
        head.fields.remove_lookalikes(name);
    };
    if (const auto* bearer = std::get_if<BearerSpec>(&spec.kind)) return drop_header(bearer->header);
    if (std::holds_alternative<BasicSpec>(spec.kind)) return drop_header("Authorization");
    const auto& key = std::get<ApiKeySpec>(spec.kind);
    if (key.query.empty()) return drop_header(key.header);
    const std::size_t query = head.target.find('?');
    if (query != head.target.npos) remove_parameter(head.target, query + 1, key.query);
}

}  // namespace sluice
