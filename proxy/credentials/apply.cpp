#include "proxy/credentials/apply.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// No control at all: HTAB may stand in a field value, but in a secret it is a slip of whoever stored it.
bool is_clean(std::string_view value) {
    return is_field_value(value) && value.find('\t') == value.npos;
}

/// Makes the attachment of one credential. Strings that hold a secret get all their room at once, so that growing
/// leaves no copy behind, and end in a Secret, which wipes them.
class Maker {
  public:
    explicit Maker(const CredentialSpec& spec) : spec_(spec) {}

    Result<Attachment> operator()(const Secret& token) const {
        if (token.empty()) return unusable("its value is empty");
        if (const auto* hmac = std::get_if<HmacSpec>(&spec_.kind)) return Attachment{HmacSigner{hmac->scheme, token}, {token}};
        const auto* key = std::get_if<ApiKeySpec>(&spec_.kind);
        return key && !key->query.empty() ? in_query(key->query, token) : in_header(token);
    }

    Result<Attachment> operator()(const UserPassword& pair) const {
        const auto* basic = std::get_if<BasicSpec>(&spec_.kind);
        const bool username_is_secret = !basic || basic->username_source.written();
        const std::string_view username = pair.username.reveal(), password = pair.password.reveal();
        if (username.empty() && username_is_secret) return unusable("its username is empty");
        if (password.empty() && (!basic || basic->password.written())) return unusable("its password is empty");
        if (password.size() < spec_.rules.least) return unusable("its password is shorter than " + std::to_string(spec_.rules.least) + " bytes");
        if (username.find(':') != username.npos) return unusable("its username holds a ':' (RFC 7617 2)");
        if (!is_clean(username)) return unusable("its username holds a control character");
        if (!is_clean(password)) return unusable("its password holds a control character");
        std::string both;
        both.reserve(username.size() + password.size() + 1);
        both.append(username).append(":").append(password);
        constexpr std::string_view scheme = "Basic ";
        std::string value(scheme);
        value.reserve(value.size() + (both.size() + 2) / 3 * 4);
        append_base64(value, both);
        wipe(both);
        Attachment made{FixedValue{FixedValue::Place::header, "Authorization", Secret(std::move(value))}, {pair.password}};
        if (username_is_secret) made.secrets.push_back(pair.username);
        const std::string_view sent = std::get<FixedValue>(made.how).value.reveal();
        made.secrets.emplace_back(std::string(sent.substr(scheme.size())));
        return made;
    }

    Result<Attachment> operator()(const AwsSecretKeys& keys) const {
        const auto* aws = std::get_if<AwsSpec>(&spec_.kind);
        const auto* exec = std::get_if<ExecSpec>(&spec_.kind);
        if (!aws && (!exec || exec->region.empty() || exec->service.empty())) return unusable("keys of AWS were given for it, and no region and service that they sign for");
        if (keys.access_key_id.empty() || keys.secret_access_key.empty()) return unusable("its keys are empty");
        if (!is_clean(keys.access_key_id) || !is_clean(keys.session_token.reveal())) return unusable("its keys hold a control character");
        Attachment made{AwsSigner{aws ? aws->region : exec->region, aws ? aws->service : exec->service, keys}, {keys.secret_access_key}};
        if (!keys.session_token.empty()) made.secrets.push_back(keys.session_token);
        return made;
    }

    Result<Attachment> operator()(const OnConnection& shown) const { return Attachment{shown, {}}; }

  private:
    Failure unusable(std::string_view why) const {
        return {Origin::sluice, Reason::credential_unavailable, Replay::safe,
                "credential '" + spec_.name + "' cannot be used: " + std::string(why)};
    }

    Result<Attachment> in_query(const std::string& name, const Secret& token) const {
        // An application may have its placeholder in a header as well.
        if (!spec_.rules.placeholder.empty() && !is_clean(token.reveal())) return unusable("its value holds a line end or another control character");
        std::string value;
        value.reserve(3 * (spec_.place.prefix.size() + token.size()));
        append_percent_encoded(value, spec_.place.prefix);
        append_percent_encoded(value, token.reveal());
        return Attachment{FixedValue{FixedValue::Place::query, name, Secret(std::move(value))}, {token}};
    }

    Result<Attachment> in_header(const Secret& token) const {
        const std::string& prefix = spec_.place.prefix;
        if (!is_clean(token.reveal()) || !is_clean(prefix)) return unusable("its value holds a line end or another control character");
        std::string value;
        value.reserve(prefix.size() + token.size());
        value.append(prefix).append(token.reveal());
        return Attachment{FixedValue{FixedValue::Place::header, spec_.place.header, Secret(std::move(value))}, {token}};
    }

    const CredentialSpec& spec_;
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

/// Is a parameter ("name=value" as it stands) that one, however it is spelled?
class ParameterNamed {
  public:
    explicit ParameterNamed(std::string_view name)
        : with_brackets_(name.find('[') != name.npos), ours_(forgiven(name, with_brackets_)) {}
    bool operator()(std::string_view parameter) const {
        return forgiven(parameter.substr(0, parameter.find('=')), with_brackets_) == ours_;
    }

  private:
    bool with_brackets_;
    std::string ours_;
};

/// Takes the parameters that `is_out` says out of the query that begins at `begin` (after its '?'), in place, those that
/// only a vendor that splits at ';' would find too; everything else keeps its bytes.
template <class IsOut>
void remove_parameters(std::string& target, std::size_t begin, IsOut is_out) {
    std::size_t to = begin;
    bool kept_any = false;
    char separator = ';';
    for (std::size_t at = begin; at <= target.size();) {
        const std::size_t end = std::min(target.find_first_of("&;", at), target.size());
        const std::string_view parameter = std::string_view(target).substr(at, end - at);
        if (!is_out(parameter)) {
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
    if (query != target.npos) remove_parameters(target, query + 1, ParameterNamed(name));
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

struct Found {
    std::size_t at, size;
};

/// Where `placeholder` is next, as it stands.
Found find_literally(std::string_view text, std::string_view placeholder, std::size_t from) { return {text.find(placeholder, from), placeholder.size()}; }

/// The same in a target, where any of its characters may be percent-encoded, in digits of either case: some encode more than they have to (RFC 3986 2.1, 2.4).
Found find_in_target(std::string_view text, std::string_view placeholder, std::size_t from) {
    const auto encoded_at = [&](std::size_t at) -> std::size_t {   // how long; 0: it is not there
        const std::size_t begin = at;
        for (const char c : placeholder) {
            const int high = at + 2 < text.size() && text[at] == '%' ? hex_value(text[at + 1]) : -1, low = high >= 0 ? hex_value(text[at + 2]) : -1;
            const bool escaped = low >= 0 && static_cast<char>(high * 16 + low) == c;
            if (!escaped && (at == text.size() || text[at] != c)) return 0;
            at += escaped ? 3 : 1;
        }
        return at - begin;
    };
    const auto is_escape = [&](std::size_t at) { return at + 2 < text.size() && text[at] == '%' && hex_value(text[at + 1]) >= 0 && hex_value(text[at + 2]) >= 0; };
    for (; from < text.size(); from += is_escape(from) ? 3 : 1) {   // never from inside an escape: in `%2Fkey` there is no `2Fkey`
        if (text[from] != '%' && text[from] != placeholder.front()) continue;
        if (text.substr(from).starts_with(placeholder)) return {from, placeholder.size()};
        if (const std::size_t size = encoded_at(from)) return {from, size};
    }
    return {text.npos, 0};
}

/// Every `placeholder` that `find` finds in `text` becomes `secret`: once, even where the secret itself holds the placeholder. Nothing: there is none, or with those `found` before there are more than `most_placeholders`.
template <class Find>
std::optional<std::string> replaced(std::string_view text, std::string_view placeholder, std::string_view secret, std::size_t& found, Find find) {
    std::size_t finds = 0;
    for (Found next = find(text, placeholder, 0); next.at != text.npos; next = find(text, placeholder, next.at + next.size)) ++finds;
    found += finds;
    if (finds == 0 || found > most_placeholders) return {};
    std::string out;
    out.reserve(text.size() + finds * secret.size());
    for (;;) {
        const Found next = find(text, placeholder, 0);
        out.append(text.substr(0, next.at));
        if (next.at == text.npos) return out;
        out.append(secret);
        text.remove_prefix(next.at + next.size);
    }
}

void replace_in_target(std::string& target, std::string_view placeholder, std::string_view secret, std::size_t& found) {
    std::string encoded;
    encoded.reserve(3 * secret.size());
    append_percent_encoded(encoded, secret);
    auto changed = replaced(target, placeholder, encoded, found, find_in_target);
    wipe(encoded);
    if (!changed) return;
    wipe(target);
    target = std::move(*changed);
}

/// The pair in "Basic dXNlcjpwYXNz". Nothing: not such a value.
std::optional<std::string> decoded_basic(std::string_view value) {
    constexpr std::string_view scheme = "basic ";
    if (value.size() <= scheme.size() || !same_text(value.substr(0, scheme.size()), scheme)) return {};
    return decode_base64(trimmed(value.substr(scheme.size())));
}

/// "Basic dXNlcjpwYXNz" with the placeholder in it. Nothing: not such a value.
std::optional<std::string> replaced_in_basic(std::string_view value, std::string_view placeholder, std::string_view secret, std::size_t& found) {
    const auto decoded = decoded_basic(value);
    auto pair = decoded ? replaced(*decoded, placeholder, secret, found, find_literally) : std::nullopt;
    if (!pair) return {};
    std::string out = "Basic ";
    out.reserve(out.size() + (pair->size() + 2) / 3 * 4);
    append_base64(out, *pair);
    wipe(*pair);
    return out;
}

void drop_fields_beside(std::string_view name, std::string_view placeholder, Fields& in) {
    const auto has_it = [placeholder](const Field& field) {
        if (field.value.find(placeholder) != field.value.npos) return true;
        const auto pair = field.known == Known::authorization ? decoded_basic(field.value) : std::nullopt;
        return pair && pair->find(placeholder) != pair->npos;
    };
    bool here = false, beside = false;
    for (const Field field : in)
        if (same_variable(field.name, name)) (has_it(field) ? here : beside) = true;
    if (!here || !beside) return;
    Fields kept;
    for (const Field field : in)
        if (!same_variable(field.name, name) || has_it(field)) kept.add(field.known, field.name, field.value);
    in = std::move(kept);
}

void drop_parameters_beside(std::string_view name, std::string_view placeholder, std::string& target) {
    const std::size_t query = target.find('?');
    if (query == target.npos) return;
    const ParameterNamed is_ours(name);
    bool here = false;
    std::string kept = target;
    remove_parameters(kept, query + 1, [&](std::string_view parameter) {
        if (!is_ours(parameter)) return false;
        const bool has_it = find_in_target(parameter, placeholder, 0).at != parameter.npos;
        here = here || has_it;
        return !has_it;
    });
    if (here) target = std::move(kept);
}

}  // namespace

std::optional<Secret> as_in_target(const Secret& secret) {
    std::string encoded;
    encoded.reserve(3 * secret.size());
    append_percent_encoded(encoded, secret.reveal());
    if (secret.same_as(encoded)) return {};
    return Secret(std::move(encoded));
}

Result<Attachment> make_attachment(const CredentialSpec& spec, const Minted& minted) {
    Result<Attachment> made = std::visit(Maker{spec}, minted.what);
    const auto* value = made ? std::get_if<FixedValue>(&made->how) : nullptr;
    if (!value || (value->place != FixedValue::Place::query && spec.rules.placeholder.empty())) return made;
    if (auto encoded = as_in_target(made->secrets.front())) made->secrets.push_back(std::move(*encoded));
    return made;
}

void apply(const FixedValue& value, RequestHead& head) {
    switch (value.place) {
    case FixedValue::Place::header:
        head.fields.set(value.name, value.value.reveal());
        if (value.name.find_first_of("-_") != value.name.npos) head.fields.remove_lookalikes(value.name);
        return;
    case FixedValue::Place::query: set_parameter(head.target, value.name, value.value.reveal()); return;
    }
}

void withhold(const CredentialSpec& spec, RequestHead& head) {
    const auto drop_header = [&head](const std::string& name) {
        if (name.empty()) return;
        head.fields.remove(name);
        head.fields.remove_lookalikes(name);
    };
    drop_header(spec.place.header);
    const auto* exec = std::get_if<ExecSpec>(&spec.kind);
    if (std::holds_alternative<AwsSpec>(spec.kind) || (exec && exec->format == ExecSpec::Format::credential_process)) {
        drop_header("X-Amz-Security-Token");
        drop_header("X-Amz-Date");
    } else if (const auto* hmac = std::get_if<HmacSpec>(&spec.kind)) {
        for (const HmacHeader& header : hmac->scheme.headers) drop_header(header.name);
    } else if (const auto* key = std::get_if<ApiKeySpec>(&spec.kind); key && !key->query.empty()) {
        const std::size_t query = head.target.find('?');
        if (query != head.target.npos) remove_parameters(head.target, query + 1, ParameterNamed(key->query));
    }
}

void drop_beside_placeholder(const FixedValue& value, std::string_view placeholder, RequestHead& head) {
    if (value.place == FixedValue::Place::header)
        drop_fields_beside(value.name, placeholder, head.fields);
    else
        drop_parameters_beside(value.name, placeholder, head.target);
    drop_fields_beside("Authorization", placeholder, head.fields);
}

Placeholders replace_placeholder(std::string_view placeholder, std::string_view secret, RequestHead& head) {
    std::size_t found = 0;
    replace_in_target(head.target, placeholder, secret, found);
    bool in_fields = false;
    Fields fields;   // anew: there may be several of one name
    for (const Field field : head.fields) {
        auto value = replaced(field.value, placeholder, secret, found, find_literally);
        if (!value && field.known == Known::authorization) value = replaced_in_basic(field.value, placeholder, secret, found);
        if (found > most_placeholders) return Placeholders::too_many;
        fields.add(field.known, field.name, value ? *value : field.value);
        if (!value) continue;
        wipe(*value);
        in_fields = true;
    }
    if (in_fields) head.fields = std::move(fields);
    if (found > most_placeholders) return Placeholders::too_many;
    return found > 0 ? Placeholders::replaced : Placeholders::none;
}

}  // namespace sluice
