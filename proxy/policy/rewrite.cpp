#include "proxy/policy/rewrite.hpp"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>
#include <memory>

#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"
#include "proxy/http/target.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

// Is it JSON? Boost.JSON's parser says so and builds nothing: the edits work on the text itself, because a number that
// went through a double would come out as another one.
struct Nothing {
    static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
    using Error = json::error_code;
    using Text = json::string_view;

    bool on_document_begin(Error&) { return true; }
    bool on_document_end(Error&) { return true; }
    bool on_array_begin(Error&) { return true; }
    bool on_array_end(std::size_t, Error&) { return true; }
    bool on_object_begin(Error&) { return true; }
    bool on_object_end(std::size_t, Error&) { return true; }
    bool on_string_part(Text, std::size_t, Error&) { return true; }
    bool on_string(Text, std::size_t, Error&) { return true; }
    bool on_key_part(Text, std::size_t, Error&) { return true; }
    bool on_key(Text, std::size_t, Error&) { return true; }
    bool on_number_part(Text, Error&) { return true; }
    bool on_int64(std::int64_t, Text, Error&) { return true; }
    bool on_uint64(std::uint64_t, Text, Error&) { return true; }
    bool on_double(double, Text, Error&) { return true; }
    bool on_bool(bool, Error&) { return true; }
    bool on_null(Error&) { return true; }
    bool on_comment_part(Text, Error&) { return true; }
    bool on_comment(Text, Error&) { return true; }
};

constexpr std::string_view white_space = " \t\r\n";

// From here on the text has been judged: each function may rely on what must follow.

std::size_t skip_space(std::string_view text, std::size_t at) {
    return std::min(text.find_first_not_of(white_space, at), text.size());
}

/// After the string that begins at `at`.
std::size_t skip_string(std::string_view text, std::size_t at) {
    for (++at; text[at] != '"'; ++at) {
        if (text[at] == '\\') ++at;
    }
    return at + 1;
}

/// After the value that begins at `at`.
std::size_t skip_value(std::string_view text, std::size_t at) {
    if (text[at] == '"') return skip_string(text, at);
    if (text[at] != '{' && text[at] != '[') return std::min(text.find_first_of(",]} \t\r\n", at), text.size());
    std::size_t depth = 0;
    do {
        at = text.find_first_of("\"{}[]", at);
        if (text[at] == '"') {
            at = skip_string(text, at);
            continue;
        }
        text[at] == '{' || text[at] == '[' ? ++depth : --depth;
        ++at;
    } while (depth > 0);
    return at;
}

/// What a string says, its quotes and escapes undone.
std::string unescaped(std::string_view literal) {
    if (literal.find('\\') == literal.npos) return std::string(literal.substr(1, literal.size() - 2));
    json::error_code wrong;
    const json::value value = json::parse({literal.data(), literal.size()}, wrong);
    const json::string* said = wrong ? nullptr : value.if_string();
    return said ? std::string(said->data(), said->size()) : std::string();
}

void append_name(std::string& out, std::string_view name) {
    out.push_back('"');
    append_json_escaped(out, name);
    out.push_back('"');
}

struct Member;
using Members = std::vector<Member>;

/// A value: its text, or, once an edit has looked into an object, its members.
struct Node {
    std::string_view raw;
    std::unique_ptr<Members> members;
};

struct Member {
    std::string name;
    std::string_view literal;  // as it stood there; "" for one that an edit has made
    Node value;
};

Node new_object() {
    return {{}, std::make_unique<Members>()};
}

/// One body under its edits. The first edit that cannot be done leaves `fault`.
class Document {
  public:
    explicit Document(std::string_view text) : root_{text, nullptr} {}

    void rename(const JsonPath& from, const JsonPath& to) {
        if (auto node = take(root_, from, 0)) put(to, std::move(*node));
    }
    void set(const JsonPath& path, std::string_view value) { put(path, Node{value, nullptr}); }
    void drop(const JsonPath& path) { take(root_, path, 0); }

    void append_to(std::string& out) const { append(out, root_); }
    const std::string& fault() const { return fault_; }

  private:
    Members* open(Node& node);
    std::optional<Node> take(Node& from, const JsonPath& path, std::size_t depth);
    void put(const JsonPath& path, Node value);
    static Member* only(Members& members, std::string_view name);
    static void append(std::string& out, const Node& node);

    Node root_;
    std::string fault_;
};

/// The members of an object; nullptr: it is something else.
Members* Document::open(Node& node) {
    if (node.members) return node.members.get();
    if (!node.raw.starts_with('{')) return nullptr;
    const std::string_view text = node.raw;
    auto members = std::make_unique<Members>();
    for (std::size_t at = skip_space(text, 1); text[at] != '}';) {
        if (members->size() == max_json_members) {
            fault_ = "has an object of more than " + std::to_string(max_json_members) + " members where it is edited";
            return nullptr;
        }
        const std::size_t name_end = skip_string(text, at);
        const std::string_view literal = text.substr(at, name_end - at);
        at = skip_space(text, skip_space(text, name_end) + 1);  // over the colon
        const std::size_t end = skip_value(text, at);
        members->push_back({unescaped(literal), literal, {text.substr(at, end - at), nullptr}});
        at = skip_space(text, end);
        if (text[at] == ',') at = skip_space(text, at + 1);
    }
    node.members = std::move(members);
    return node.members.get();
}

/// Takes out whatever `path` names from `depth` on; the last of it, or nothing.
std::optional<Node> Document::take(Node& from, const JsonPath& path, std::size_t depth) {
    if (depth == path.size()) return std::exchange(from, new_object());
    std::optional<Node> taken;
    Members* members = open(from);
    if (!members) return taken;
    const bool here = depth + 1 == path.size();
    for (Member& member : *members) {
        if (member.name != path[depth]) continue;
        if (here) {
            taken = std::move(member.value);
        } else if (auto found = take(member.value, path, depth + 1)) {
            taken = std::move(found);
        }
    }
    if (here) std::erase_if(*members, [&](const Member& member) { return member.name == path[depth]; });
    return taken;
}

/// The member of that name, the last where there are several: the others go. nullptr: there is none.
Member* Document::only(Members& members, std::string_view name) {
    const auto is_it = [name](const Member& member) { return member.name == name; };
    const auto last = std::find_if(members.rbegin(), members.rend(), is_it);
    if (last == members.rend()) return nullptr;
    const auto end = last.base() - 1;
    const auto gone = std::remove_if(members.begin(), end, is_it);
    return &*members.erase(gone, end);
}

void Document::put(const JsonPath& path, Node value) {
    Node* at = &root_;
    for (std::size_t depth = 0; depth < path.size(); ++depth) {
        Members* members = open(*at);
        if (!members) {
            if (fault_.empty()) {
                const JsonPath way(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(depth));
                fault_ = "has no object at " + to_text(way) + ", where " + to_text(path) + " is to be put";
            }
            return;
        }
        Member* member = only(*members, path[depth]);
        if (!member) member = &members->emplace_back(Member{path[depth], {}, new_object()});
        at = &member->value;
    }
    *at = std::move(value);
}

void Document::append(std::string& out, const Node& node) {
    if (!node.members) {
        out += node.raw;
        return;
    }
    out.push_back('{');
    bool first = true;
    for (const Member& member : *node.members) {
        if (!std::exchange(first, false)) out.push_back(',');
        member.literal.empty() ? append_name(out, member.name) : void(out += member.literal);
        out.push_back(':');
        append(out, member.value);
    }
    out.push_back('}');
}

std::string_view without_space(std::string_view text) {
    const std::size_t begin = skip_space(text, 0);
    return text.substr(begin, text.find_last_not_of(white_space) + 1 - begin);
}

/// The edits that look into the document. What could not be done, in words; "" for nothing.
std::string apply(Document& document, const JsonEdits& edits) {
    for (const auto& [from, to] : edits.rename) document.rename(from, to);
    for (const auto& [path, value] : edits.set) document.set(path, without_space(value));
    for (const JsonPath& path : edits.drop) document.drop(path);
    return document.fault();
}

Failure blamed(Origin whose, std::string_view what) {
    const bool request = whose == Origin::application;
    const std::string_view who = request ? "the request's body " : "the vendor's answer ";
    return {whose, request ? Reason::bad_request : Reason::upstream_protocol, Replay::unsafe,
            std::string(who) + std::string(what) + ", so the fallback's `rewrite` cannot edit it"};
}

constexpr std::string_view rest_mark = "/**";

/// What is wrong with a path of the policy, "/**" at its end taken away.
std::string judge_edited_path(std::string_view path) {
    if (!path.empty() && !path.starts_with('/')) return "does not begin with '/'";
    for (const char c : path) {
        if (c == '*') return "has a '*' other than a final \"/**\"";
        if (c == '?' || c == '#') return "holds a query or a fragment: the query is kept as it is";
        if (c <= ' ' || c >= 0x7F) return "holds a character that must be percent-encoded";
    }
    const std::string_view wrong = judge_path(path);
    return wrong.empty() ? std::string() : "is no sound path: " + std::string(wrong);
}

void rename_field(Fields& fields, std::string_view from, std::string_view to) {
    if (!fields.find(from)) return;
    Fields renamed;
    for (const Field field : fields) {
        if (same_text(field.name, from)) {
            renamed.add(to, field.value);
        } else if (!same_text(field.name, to)) {
            renamed.add(field.known, field.name, field.value);
        }
    }
    fields = std::move(renamed);
}

bool is_editable(std::string_view name) {
    return judge_edited_name(name).empty();
}

}  // namespace

std::optional<JsonPath> parse_json_path(std::string_view text, std::string& fault) {
    constexpr std::size_t most = 16;
    const std::string_view whole = text;
    const auto refuse = [&](std::string_view why) {
        fault = "'" + std::string(whole) + "' is no path of members: " + std::string(why) + "; write `$.card.number`";
        return std::optional<JsonPath>{};
    };
    if (!text.starts_with('$')) return refuse("it does not begin with '$'");
    JsonPath path;
    for (text.remove_prefix(1); !text.empty();) {
        if (text[0] == '[') return refuse("there are no arrays in it");
        if (text[0] != '.') return refuse("a name begins with '.'");
        text.remove_prefix(1);
        const std::size_t end = std::min(text.find_first_of(".["), text.size());
        const std::string_view name = text.substr(0, end);
        if (name.empty()) return refuse("a name is empty");
        for (const char c : name) {
            if (c == '*') return refuse("there are no wildcards");
            if (c == ']' || c == '"' || c == '\'' || static_cast<unsigned char>(c) < ' ' || c == 0x7F) {
                return refuse("a name holds a bracket, a quote or a control character");
            }
        }
        std::string literal;
        append_name(literal, name);
        if (unescaped(literal) != name) return refuse("a name is not UTF-8");
        if (path.size() == most) return refuse("it is more than 16 names deep");
        path.emplace_back(name);
        text.remove_prefix(end);
    }
    return path;
}

std::string to_text(const JsonPath& path) {
    std::string text = "$";
    for (const std::string& name : path) text += "." + name;
    return text;
}

std::optional<PathEdit> parse_path_edit(std::string_view from, std::string_view to, std::string& fault) {
    const bool carries = to.ends_with(rest_mark);
    for (std::string_view path : {from, to}) {
        const std::string_view whole = path;
        const bool marked = path.ends_with(rest_mark);
        if (marked) path.remove_suffix(rest_mark.size());
        std::string wrong = judge_edited_path(path);
        if (wrong.empty() && path.empty() && !marked) wrong = "is empty";
        if (wrong.empty()) continue;
        fault = "the path '" + std::string(whole) + "' " + wrong;
        return {};
    }
    if (carries && !from.ends_with(rest_mark)) {
        fault = "'" + std::string(to) + "' carries a rest over that '" + std::string(from) + "' does not have";
        return {};
    }
    return PathEdit{std::string(from), std::string(to)};
}

std::string_view judge_edited_name(std::string_view name) {
    if (!is_token(name)) return "it is no header name";
    const Known known = classify(name);
    if (is_hop_by_hop(known)) return "it is about one connection only, and Sluice makes it anew";
    if (known == Known::host) return "it names the vendor's host, and Sluice makes it anew";
    if (known == Known::content_length || known == Known::expect)
        return "it frames the message, and Sluice makes it anew";
    if (known == Known::sluice) return "it is Sluice's own";
    return {};
}

std::string judge_json(std::string_view text) {
    json::parse_options options;
    options.max_depth = max_json_depth;
    json::basic_parser<Nothing> parser(options);
    json::error_code wrong;
    const std::size_t read = parser.write_some(false, text.data(), text.size(), wrong);
    if (wrong == json::error::too_deep) return "nests deeper than " + std::to_string(max_json_depth);
    if (!wrong && read < text.size()) wrong = json::error::extra_data;
    return wrong ? "is no JSON: " + wrong.message() + " at byte " + std::to_string(read) : std::string();
}

std::string edited_target(std::string_view target, const std::vector<PathEdit>& edits) {
    const std::size_t query = std::min(target.find('?'), target.size());
    const std::string_view path = target.substr(0, query);
    for (const PathEdit& edit : edits) {
        std::string_view from = edit.from, to = edit.to, rest;
        if (from.ends_with(rest_mark)) {
            from.remove_suffix(rest_mark.size());
            if (!path.starts_with(from)) continue;
            rest = path.substr(from.size());
            if (!rest.empty() && rest[0] != '/') continue;  // "/v1/**" is not "/v10"
        } else if (path != from) {
            continue;
        }
        std::string out;
        if (to.ends_with(rest_mark)) {
            out.append(to.substr(0, to.size() - rest_mark.size())).append(rest);
        } else {
            out = to;
        }
        if (out.empty()) out = "/";
        return out.append(target.substr(query));
    }
    return std::string(target);
}

void edit_headers(Fields& fields, const HeaderEdits& edits) {
    for (const auto& [from, to] : edits.rename) {
        if (is_editable(from) && is_editable(to)) rename_field(fields, from, to);
    }
    for (const auto& [name, value] : edits.set) {
        if (is_editable(name) && is_field_value(value)) fields.set(name, value);
    }
    for (const std::string& name : edits.drop) {
        if (is_editable(name)) fields.remove(name);
    }
}

Result<std::string> edited_body(std::string_view body, const JsonEdits& edits, Origin whose) {
    if (edits.empty()) return std::string(body);
    const std::string too_large = "is larger than " + std::to_string(max_rewritten) + " bytes";
    if (body.size() > max_rewritten) return blamed(whose, too_large);
    if (skip_space(body, 0) == body.size()) return std::string(body);
    if (const std::string wrong = judge_json(body); !wrong.empty()) return blamed(whose, wrong);
    if (edits.wrap.empty() && body[skip_space(body, 0)] != '{') return std::string(body);
    body = without_space(body);
    Document document(body);
    if (body.starts_with('{')) {
        if (const std::string wrong = apply(document, edits); !wrong.empty()) return blamed(whose, wrong);
    }
    std::string out;
    out.reserve(body.size() + 64);
    if (!edits.wrap.empty()) {
        out.push_back('{');
        append_name(out, edits.wrap);
        out.push_back(':');
    }
    document.append_to(out);
    if (!edits.wrap.empty()) out.push_back('}');
    if (out.size() > max_rewritten) return blamed(whose, too_large + " once edited");
    return out;
}

}  // namespace sluice
