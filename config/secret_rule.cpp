#include "config/secret_rule.hpp"

#include <algorithm>

#include "config/forms.hpp"
#include "config/reach.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

/// "kv/data/llm#key"
std::optional<VaultReference> parse_vault_reference(const std::string& text, std::string& why) {
    const auto hash = text.find('#');
    if (hash == text.npos) {
        why = "write the path, '#' and which of its values, as in kv/data/llm#key";
        return {};
    }
    auto path = parse_vault_path(text.substr(0, hash), why);
    if (!path) return {};
    auto field = parse_vault_field(text.substr(hash + 1), why);
    if (!field) return {};
    return VaultReference{std::move(*path), std::move(*field)};
}

constexpr ScalarRule<std::string> variable_name{"the name of a variable", "API_KEY", "[A-Za-z_][A-Za-z0-9_]*",
                                                parse_variable_name};
constexpr ScalarRule<VaultReference> vault_reference{"a value in Vault", "kv/data/llm#key", "[^/#?][^#?]*#.+",
                                                     parse_vault_reference};

constexpr Key<WrittenSecret> secret_keys[] = {
    key<&WrittenSecret::file, file_name>("file",
                                         "A file that holds the secret; read again when it changes. A relative path "
                                         "starts from the directory of the policy file."),
    key<&WrittenSecret::env, variable_name>("env", "A variable of Sluice's environment that holds the secret."),
    key<&WrittenSecret::vault, vault_reference>(
        "vault", "A value in Vault: its path as in the API, '#' and which value, as in kv/data/llm#key."),
    key<&WrittenSecret::login, line_rule>(
        "login",
        "The credential of type vault that says where Vault is and how to log in; default the only one without `path`, "
        "and where there is none, VAULT_ADDR, VAULT_TOKEN and VAULT_NAMESPACE of Sluice's environment."),
};
constexpr std::string_view one_of_places = "write {file: /run/secrets/x}, {env: NAME} or {vault: path#key}";

void amend_secret(boost::json::object& shape) {
    boost::json::array places;
    for (const char* place : {"file", "env", "vault"})
        places.push_back(boost::json::object{{"required", boost::json::array{place}}});
    shape["oneOf"] = std::move(places);
    shape["dependentRequired"] = boost::json::object{{"login", boost::json::array{"vault"}}};
}

constexpr MapRule<WrittenSecret> secret_map{
    .name = "secret",
    .doc = "Where a secret is; never the secret itself: {file: /run/secrets/x}, {env: NAME} or {vault: path#key}.",
    .keys = secret_keys,
    .private_values = true,
    .check = nullptr,
    .amend = amend_secret,
};

/// "${API_KEY}" tells which variable was meant.
std::string advice(const std::string& text) {
    std::string why;
    if (text.starts_with("${") && text.ends_with('}') && parse_variable_name(text.substr(2, text.size() - 3), why))
        return "write {env: " + text.substr(2, text.size() - 3) + "}, so that it is never a part of the policy";
    return "secrets are never written into a policy, " + std::string(one_of_places);
}

std::optional<std::string> parse_user(const std::string& text, std::string& why) {
    if (text.find(':') != text.npos) {
        why = "RFC 7617 has no ':' in a user's name";
        return {};
    }
    return parse_line(text, why);
}
constexpr ScalarRule<std::string> plain_user{"a user's name", "", "[^:]+", parse_user};

}  // namespace

std::optional<std::string> parse_variable_name(const std::string& text, std::string& why) {
    const auto fits = [](char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || is_digit(c); };
    if (!text.empty() && text.size() <= 256 && !is_digit(text.front()) && std::all_of(text.begin(), text.end(), fits))
        return text;
    why = "it takes the name alone, of letters, digits and '_'";
    return {};
}

std::optional<std::string> parse_vault_path(const std::string& text, std::string& why) {
    const std::string_view fault = judge_path("/" + text);
    if (text.empty() || text.size() > 512 || !all_printable(text) || text.find_first_of(" ?#") != text.npos)
        why = "a path in Vault is 1 to 512 printable ASCII characters without a space, '?' and '#'";
    else if (text.starts_with('/') || text.starts_with("v1/"))
        why = "it is what follows /v1/ in Vault's API, such as kv/data/llm";
    else if (text.ends_with('/') || text.find("//") != text.npos)
        why = "it ends in '/', or has an empty part";
    else if (!fault.empty())
        why = fault;
    else
        return text;
    return {};
}

std::optional<std::string> parse_vault_field(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 256 && all_printable(text)) return text;
    why = "the value's name is 1 to 256 printable ASCII characters";
    return {};
}

std::optional<SecretSource> read_secret(Reader& reader, const Place& at) {
    if (at.node.kind != Node::Kind::map) {
        if (at.node.kind == Node::Kind::broken) return {};
        reader.mask(at.node);
        reader.fault(at, at.node.kind == Node::Kind::scalar ? "a secret in plain text" : "a secret is expected",
                     advice(at.node.text));
        return {};
    }
    auto written = secret_map.read(reader, at);
    if (!written) return {};
    const auto has = [&](std::string_view name) { return at.node.find(name) != Node::npos; };
    const int places = has("file") + has("env") + has("vault");
    if (places > 1) {
        reader.fault(at, "a secret from two places", std::string(one_of_places));
        return {};
    }
    if (has("login") && !has("vault")) {
        reader.fault_of_key(at, "login", "a login without `vault`", "only what is in Vault needs one");
        return {};
    }
    using Kind = SecretSource::Kind;
    if (written->file) return SecretSource{Kind::file, beside(at.node.file->path, written->file->value), {}, {}};
    if (written->env) return SecretSource{Kind::environment, std::move(written->env->value), {}, {}};
    if (written->vault) {
        VaultReference& vault = written->vault->value;
        return SecretSource{Kind::vault, std::move(vault.path), std::move(vault.field),
                            written->login ? std::move(written->login->value) : std::string()};
    }
    if (at.node.items.empty()) reader.fault(at, "a secret is expected", std::string(one_of_places));
    return {};
}
boost::json::object describe_secret(Schema& schema) {
    return secret_map.describe(schema);
}

std::optional<WrittenUser> read_user(Reader& reader, const Place& at) {
    if (at.node.kind == Node::Kind::map) {
        auto source = read_secret(reader, at);
        if (!source) return {};
        return WrittenUser{{}, std::move(*source)};
    }
    auto name = plain_user.read(reader, at);
    if (!name) return {};
    return WrittenUser{std::move(*name), {}};
}
boost::json::object describe_user(Schema& schema) {
    return {{"anyOf", boost::json::array{plain_user.describe(schema), secret_map.describe(schema)}}};
}

}  // namespace sluice
