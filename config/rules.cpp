#include "config/rules.hpp"

#include <algorithm>
#include <filesystem>

#include "proxy/base/text.hpp"

namespace sluice {
namespace {

constexpr std::size_t max_text = 64 * 1024;      // bytes of a scalar once its variables are put in
constexpr std::size_t max_suggested_from = 500;  // names that "did you mean" looks through

std::string_view name_of(Node::Kind kind) {
    switch (kind) {
    case Node::Kind::null: return "nothing";
    case Node::Kind::scalar: return "a single value";
    case Node::Kind::sequence: return "a list";
    case Node::Kind::map: return "a map";
    case Node::Kind::broken: break;
    }
    return "something broken";
}

bool is_variable_name(std::string_view name) {
    const auto fits = [](char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || is_digit(c); };
    return !name.empty() && name.size() <= 256 && !is_digit(name.front()) &&
           std::all_of(name.begin(), name.end(), fits);
}

bool means_off(std::string_view text) {
    constexpr std::string_view words[] = {"off", "false", "no", "none", "never", "disabled", "0"};
    return std::any_of(std::begin(words), std::end(words),
                       [&](std::string_view word) { return same_text(word, text); });
}

std::string in_words(std::span<const std::string_view> words) {
    std::string list;
    for (std::size_t i = 0; i < words.size(); ++i)
        list += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + std::string(words[i]);
    return list;
}

}  // namespace

std::string Place::path() const {
    std::vector<const Place*> steps;
    for (const Place* step = this; step->parent; step = step->parent) steps.push_back(step);
    std::string out;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        if ((*step)->key_node) {
            if (!out.empty()) out += '.';
            const std::string name = shown((*step)->key);
            out += name.substr(1, name.size() - 2);
        } else {
            out += "[" + std::to_string((*step)->index) + "]";
        }
    }
    return out;
}

std::string Place::in_path() const {
    return parent ? " in " + path() : " at the top level";
}

Place Place::at_key(std::string_view name) const {
    const std::size_t i = node.find(name);
    const Node& written = *node.items.at(i);
    return {*node.items[i + 1], this, written.text, 0, &written};
}

void Reader::fault(const Place& at, const std::string& what, const std::string& why, const std::string& tail) {
    faults_.add(*at.node.file, at.node.at, what + at.in_path() + (why.empty() ? "" : ": " + why) + tail);
}

void Reader::key_fault(const Place& at, const std::string& text) {
    const Node& node = at.key_node ? *at.key_node : at.node;
    faults_.add(*node.file, node.at, text);
}

void Reader::fault_of_key(const Place& map, std::string_view key, const std::string& what, const std::string& why) {
    const Place here = map.at_key(key);
    key_fault(here, what + here.in_path() + ": " + why);
}

void Reader::mask(const Node& node) {
    if (node.kind == Node::Kind::scalar) faults_.mask(*node.file, node.at, node.end);
    for (const Node* item : node.items) mask(*item);
}

bool Reader::expect(Node::Kind kind, const Place& at, std::string_view what, std::string_view off,
                    std::string_view brief) {
    if (at.node.kind == kind) return true;
    if (at.node.kind == Node::Kind::broken) return false;
    const bool scalar = at.node.kind == Node::Kind::scalar;
    std::string why, tail;
    if (scalar && !off.empty() && means_off(at.node.text))
        why = "to turn it off write " + std::string(off);
    else if (scalar && kind == Node::Kind::sequence)
        why = "put it in [ ]";
    else if (scalar && !brief.empty() && at.node.text.find('@') == std::string::npos)  // a URL may hold a password
        tail = " (did you mean " + shown("{" + std::string(brief) + ": " + at.node.text + "}") + "?)";
    fault(at, "expected " + std::string(what) + ", found " + std::string(name_of(at.node.kind)), why, tail);
    return false;
}

std::string Reader::beside(const Place& at, const std::string& path) const {
    if (path.starts_with('/')) return path;
    const std::filesystem::path file = std::filesystem::path(inputs_.directory) / at.node.file->path;
    std::string whole = (file.parent_path() / path).lexically_normal().string();
    while (whole.size() > 1 && whole.ends_with('/')) whole.pop_back();
    return whole;
}

std::optional<std::string> Reader::expand(const Place& at) {
    const std::string_view in = at.node.text;
    std::string out;
    for (std::size_t i = 0; i < in.size();) {
        const std::string_view rest = in.substr(i);
        if (!rest.starts_with("$$") && !rest.starts_with("${")) {
            out += in[i++];
            continue;
        }
        if (rest[1] == '$') {
            out += '$';
            i += 2;
            continue;
        }
        const auto close = rest.find('}');
        const std::string_view body = rest.substr(2, close == rest.npos ? rest.npos : close - 2);
        const auto dash = body.find(":-");
        const std::string_view name = body.substr(0, dash);
        if (close == rest.npos || !is_variable_name(name) || body.find("${") != body.npos) {
            fault(at, "broken variable " + shown(rest.substr(0, close == rest.npos ? close : close + 1)),
                  "write ${NAME}, ${NAME:-default}, or $$ for a dollar sign");
            return {};
        }
        const auto found = inputs_.environment(std::string(name));
        if (const auto bad = judge_text(found.value_or(""))) {
            fault(at, "the variable " + std::string(name) + " holds what no policy may", std::string(bad->second));
            return {};
        }
        if (dash != body.npos) {
            out += found && !found->empty() ? *found : std::string(body.substr(dash + 2));
        } else if (found) {
            out += *found;
        } else {
            fault(at, "the variable " + std::string(name) + " is not set",
                  "set it, or write ${" + std::string(name) + ":-default}");
            return {};
        }
        if (out.size() > max_text) {
            fault(at, "too long a text once its variables are put in");
            return {};
        }
        i += close + 1;
    }
    return out;
}

std::optional<Scalar> Reader::scalar(const Place& at, std::string_view what) {
    if (!expect(Node::Kind::scalar, at, what)) return {};
    const Node& node = at.node;
    Scalar scalar;
    scalar.substituted = node.text.find("${") != std::string::npos;
    if (node.text.find('$') == std::string::npos) {
        scalar.text = node.text;
    } else {
        auto text = expand(at);
        if (!text) return {};
        // "$${X}" holds "${" and yet nothing from outside: calling it substituted only makes a message more silent.
        scalar.text = std::move(*text);
    }
    if (node.plain || scalar.substituted) scalar.type = core_type(scalar.text);
    return scalar;
}

std::optional<Scalar> Reader::text(const Place& at, std::string_view what, bool numbers) {
    auto scalar = this->scalar(at, what);
    if (!scalar || scalar->substituted) return scalar;
    const bool number = scalar->type == CoreType::integer || scalar->type == CoreType::floating ||
                        scalar->type == CoreType::octal_looking;
    if (numbers && number) return scalar;
    std::string_view why;
    switch (scalar->type) {
    case CoreType::text: return scalar;
    case CoreType::null: why = "it is nothing"; break;
    case CoreType::boolean: why = "it is true or false"; break;
    case CoreType::integer: [[fallthrough]];
    case CoreType::floating: why = "it is a number"; break;
    case CoreType::octal_looking: why = "some readers of YAML take it for an octal number"; break;
    case CoreType::yes_or_no: why = "some readers of YAML take it for true or false"; break;
    }
    wrong(at, *scalar, what, std::string(why) + "; put it in quotes if text is meant");
    return {};
}

void Reader::wrong(const Place& at, const Scalar& scalar, std::string_view what, const std::string& why,
                   const std::string& tail) {
    if (scalar.substituted)
        fault(at, shown(at.node.text) + ", its variables put in, is not " + std::string(what));
    else
        fault(at, shown(scalar.text) + " is not " + std::string(what), why, tail);
}

std::string suggestion(std::string_view word, std::span<const std::string_view> candidates) {
    const auto near = nearest(word, candidates.first(std::min(candidates.size(), max_suggested_from)));
    return near ? " (did you mean '" + std::string(*near) + "'?)" : "";
}

boost::json::object Schema::or_variable(boost::json::object shape) {
    boost::json::object variable = refer("variable", [] {
        return boost::json::object{{"type", "string"},
                                   {"pattern", "\\$\\{"},
                                   {"description", "A value from the environment: ${NAME} or ${NAME:-default}."}};
    });
    return {{"anyOf", boost::json::array{std::move(shape), std::move(variable)}}};
}

int read_word(Reader& reader, const Place& at, std::span<const std::string_view> words) {
    const auto scalar = reader.scalar(at, in_words(words));
    if (!scalar) return -1;
    const auto found = std::find(words.begin(), words.end(), scalar->text);
    if (found == words.end()) {
        reader.wrong(at, *scalar, in_words(words), {}, suggestion(scalar->text, words));
        return -1;
    }
    const bool number = scalar->type == CoreType::integer || scalar->type == CoreType::floating;
    if (number && !scalar->substituted) {
        reader.fault(at, "expected text, found the number " + scalar->text, "write \"" + scalar->text + "\" in quotes");
        return -1;
    }
    return static_cast<int>(found - words.begin());
}

boost::json::object describe_words(Schema& schema, std::span<const std::string_view> words) {
    if (words.size() == 1) return {{"const", words.front()}};
    boost::json::array list;
    for (auto word : words) list.push_back(boost::json::value(word));
    return schema.or_variable({{"enum", std::move(list)}});
}

std::optional<bool> BooleanRule::read(Reader& reader, const Place& at) const {
    const auto scalar = reader.scalar(at, "true or false");
    if (!scalar) return {};
    if (scalar->type == CoreType::boolean) return lower(scalar->text.front()) == 't';
    std::string why;
    if (scalar->type == CoreType::yes_or_no) {
        const char first = lower(scalar->text.front());
        const bool yes = first == 'y' || same_text(scalar->text, "on");
        why = std::string("a YAML 1.2 boolean is true or false (did you mean '") + (yes ? "true" : "false") + "'?)";
    } else if (core_type(scalar->text) == CoreType::boolean) {
        why = "in quotes it is text: take the quotes away";
    }
    reader.wrong(at, *scalar, "true or false", why);
    return {};
}

boost::json::object BooleanRule::describe(Schema& schema) const {
    return schema.or_variable({{"type", "boolean"}});
}

std::optional<unsigned> IntegerRule::read(Reader& reader, const Place& at) const {
    const std::string range = min == max ? std::to_string(min)
                                         : (word.empty() ? "" : std::string(word) + " or ") + "a whole number from " +
                                               std::to_string(min) + " to " + std::to_string(max);
    const auto scalar = reader.scalar(at, range);
    if (!scalar) return {};
    if (!word.empty() && scalar->text == word) return 0;
    if (scalar->type == CoreType::integer) {
        const auto number = parse_decimal(scalar->text);
        if (number && *number >= min && *number <= max) return static_cast<unsigned>(*number);
        reader.wrong(at, *scalar, range, std::string(why));
        return {};
    }
    std::string advice;
    if (scalar->type == CoreType::octal_looking)
        advice = "it looks like an octal number: write it in decimal, without a leading zero";
    if (scalar->type == CoreType::text && core_type(scalar->text) == CoreType::integer)
        advice = "in quotes it is text: take the quotes away";
    reader.wrong(at, *scalar, range, advice);
    return {};
}

boost::json::object IntegerRule::describe(Schema& schema) const {
    if (min == max) return schema.or_variable({{"const", min}});
    boost::json::object number{{"type", "integer"}, {"minimum", min}, {"maximum", max}};
    if (word.empty()) return schema.or_variable(std::move(number));
    boost::json::object shape = schema.or_variable(std::move(number));
    boost::json::array& any = shape["anyOf"].as_array();
    any.insert(any.begin(), boost::json::object{{"const", word}});
    return shape;
}

std::string unknown_key(const Place& map, std::string_view key, std::span<const std::string_view> known,
                        const RefusedKeys& refused, const RefusedKeys& elsewhere) {
    const std::string what = "unknown key " + shown(key) + map.in_path();
    for (const RefusedKeys* keys : {&refused, &elsewhere})
        if (std::find(keys->names.begin(), keys->names.end(), key) != keys->names.end())
            return what + ": " + std::string(keys->why);
    return what + suggestion(key, known);
}

}  // namespace sluice
