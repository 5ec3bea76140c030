// What a value of the policy may be. A rule does two things from the same words: it reads a node (or says what is wrong
// with it), and it describes itself as JSON Schema. Tables of keys are made of rules (config/written.cpp), so that what
// decodes is what is described. Pure; one Reader belongs to one load.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/source.hpp"
#include "config/yaml.hpp"

namespace sluice {

/// A value together with where it was written, for the faults that only show beside other values.
template <class V>
struct Written {
    V value;
    const Node* node = nullptr;
};
template <class V>
using Maybe = std::optional<Written<V>>;

/// An entry of a map whose keys are names.
template <class V>
struct Named {
    std::string name;
    const Node* key = nullptr;
    V value;
};

/// Where the reader stands: a node, and the keys that led to it. Lives on the stack of the reading functions.
struct Place {
    const Node& node;
    const Place* parent = nullptr;
    std::string_view key = {};  // "" for an item of a list
    std::size_t index = 0;      // of that item
    const Node* key_node = nullptr;

    /// "vendors.pay.routes[0]"; "" at the top.
    std::string path() const;
    /// " in vendors.pay", or " at the top level".
    std::string in_path() const;
    /// The value of a key that this map has.
    Place at_key(std::string_view name) const;
};

struct Scalar {
    std::string text;  // variables put in
    CoreType type = CoreType::text;
    bool substituted = false;  // its text came from outside: it has the type that its text has, and no message shows it
};

class Reader {
  public:
    Reader(FaultList& faults, const PolicyInputs& inputs) : faults_(faults), inputs_(inputs) {}

    /// "<what> in <path>: <why><tail>", at the node.
    void fault(const Place& at, const std::string& what, const std::string& why = {}, const std::string& tail = {});
    /// The same, at the key that led to the node, `text` as it is.
    void key_fault(const Place& at, const std::string& text);
    /// "<what> in <path of the map>.<key>: <why>", at a key that the map has.
    void fault_of_key(const Place& map, std::string_view key, const std::string& what, const std::string& why);
    /// Hides all scalars in there from every fault's source line.
    void mask(const Node& node);

    /// Nothing: not a scalar, or its variables cannot be put in; the fault has been reported. `what`: "a duration".
    std::optional<Scalar> scalar(const Place& at, std::string_view what);
    /// The same, and text: what YAML reads as a boolean or (unless `numbers`) as a number needs quotes.
    std::optional<Scalar> text(const Place& at, std::string_view what, bool numbers);
    /// False: reported. `off`: what to write instead of `off`, `false`, `none` and the like.
    /// `brief`: the key of a map that a bare value is meant for.
    bool expect(Node::Kind kind, const Place& at, std::string_view what, std::string_view off = {},
                std::string_view brief = {});
    /// A path that is written there: a relative one starts from the directory of its file, and is made absolute.
    std::string beside(const Place& at, const std::string& path) const;
    /// "'5' is not a duration in ..." without showing what a variable held.
    void wrong(const Place& at, const Scalar& scalar, std::string_view what, const std::string& why,
               const std::string& tail = {});

  private:
    std::optional<std::string> expand(const Place& at);

    FaultList& faults_;
    const PolicyInputs& inputs_;
};

/// " (did you mean 'x'?)", or "".
std::string suggestion(std::string_view word, std::span<const std::string_view> candidates);

/// The JSON Schema that is being written.
class Schema {
  public:
    boost::json::object defs;

    /// {"$ref": "#/$defs/<name>"}; `make` is called for the first of each name.
    template <class Make>
    boost::json::object refer(std::string_view name, Make make) {
        if (!defs.contains(name)) {
            defs[name] = nullptr;  // keeps its place in the order
            defs[name] = make();
        }
        return {{"$ref", "#/$defs/" + std::string(name)}};
    }
    /// A value of another type than text may also come from a variable: "${WORKERS:-4}".
    boost::json::object or_variable(boost::json::object shape);
};

// ---- rules. Each has a Value, `read` and `describe`.

/// Text of some form.
template <class V>
struct ScalarRule {
    using Value = V;
    std::string_view what;  // "a duration"
    std::string_view example;
    std::string_view pattern;  // ECMA 262, for editors; "" for any text
    std::optional<V> (*parse)(const std::string& text, std::string& why);
    bool takes_numbers = false;  // a number is not a type error but goes to `parse`, which has better advice

    std::optional<V> read(Reader& reader, const Place& at) const {
        const auto scalar = reader.text(at, what, takes_numbers);
        if (!scalar) return {};
        std::string why;
        auto value = parse(scalar->text, why);
        if (!value) reader.wrong(at, *scalar, what, why);
        return value;
    }
    boost::json::object describe(Schema&) const {
        boost::json::object shape{{"type", "string"}};
        if (!pattern.empty()) shape["pattern"] = "^(?:" + std::string(pattern) + ")$|\\$\\{";
        if (!example.empty()) shape["examples"] = boost::json::array{example};
        return shape;
    }
};

template <class E>
struct Word {
    std::string_view name;
    E value;
};

/// Reads one of some words; -1: reported.
int read_word(Reader& reader, const Place& at, std::span<const std::string_view> words);
boost::json::object describe_words(Schema& schema, std::span<const std::string_view> words);

template <class E, std::size_t n>
struct WordsRule {
    using Value = E;
    Word<E> words[n];

    std::vector<std::string_view> names() const {
        std::vector<std::string_view> list;
        for (const auto& word : words) list.push_back(word.name);
        return list;
    }
    std::optional<E> read(Reader& reader, const Place& at) const {
        const int found = read_word(reader, at, names());
        if (found < 0) return {};
        return words[found].value;
    }
    boost::json::object describe(Schema& schema) const { return describe_words(schema, names()); }
};
template <class E, std::size_t n>
WordsRule(const Word<E> (&)[n]) -> WordsRule<E, n>;

struct BooleanRule {
    using Value = bool;
    std::optional<bool> read(Reader& reader, const Place& at) const;
    boost::json::object describe(Schema& schema) const;
};

/// A whole number; with `word`, also that word, which counts as 0.
struct IntegerRule {
    using Value = unsigned;
    unsigned min = 0, max = 0;
    std::string_view word = {};
    std::string_view why = {};  // said of a number outside

    std::optional<unsigned> read(Reader& reader, const Place& at) const;
    boost::json::object describe(Schema& schema) const;
};

/// A rule whose tables another file keeps to itself.
template <class V>
struct FarRule {
    using Value = V;
    std::optional<V> (*reads)(Reader&, const Place&);
    boost::json::object (*describes)(Schema&);

    std::optional<V> read(Reader& reader, const Place& at) const { return reads(reader, at); }
    boost::json::object describe(Schema& schema) const { return describes(schema); }
};

template <const auto& item>
struct ListRule {
    using Item = typename std::remove_cvref_t<decltype(item)>::Value;
    using Value = std::vector<Written<Item>>;
    std::string_view what;  // "a list of hosts"
    std::size_t at_least = 0;
    std::size_t at_most = SIZE_MAX;
    std::string_view why = {};  // said of too many

    std::optional<Value> read(Reader& reader, const Place& at) const {
        if (!reader.expect(Node::Kind::sequence, at, what)) return {};
        if (at.node.items.size() < at_least) reader.fault(at, std::string(what) + " without any");
        Value list;
        for (std::size_t i = 0; i < at.node.items.size(); ++i) {
            const Place here{*at.node.items[i], &at, {}, i};
            if (i == at_most) reader.fault(here, "one too many", std::string(why));
            if (i >= at_most) break;
            if (auto value = item.read(reader, here)) list.push_back({std::move(*value), &here.node});
        }
        return list;
    }
    boost::json::object describe(Schema& schema) const {
        boost::json::object shape{{"type", "array"}, {"items", item.describe(schema)}};
        if (at_least > 0) shape["minItems"] = at_least;
        if (at_most < SIZE_MAX) shape["maxItems"] = at_most;
        return shape;
    }
};

/// What a name must look like. Empty: fine; else why not.
struct NameForm {
    std::string_view what;     // "a vendor's name"
    std::string_view pattern;  // for editors
    std::string (*judge)(std::string_view name);
};

/// A map whose keys are names that the operator gives.
template <const auto& item, const NameForm& form>
struct NamedRule {
    using Item = typename std::remove_cvref_t<decltype(item)>::Value;
    using Value = std::vector<Named<Item>>;
    std::string_view what;  // "a map of vendors by name"

    std::optional<Value> read(Reader& reader, const Place& at) const {
        if (!reader.expect(Node::Kind::map, at, what)) return {};
        Value list;
        for (std::size_t i = 0; i + 1 < at.node.items.size(); i += 2) {
            const Node& key = *at.node.items[i];
            const Place here{*at.node.items[i + 1], &at, key.text, 0, &key};
            if (const std::string why = form.judge(key.text); !why.empty())
                reader.key_fault(here,
                                 shown(key.text) + " is not " + std::string(form.what) + at.in_path() + ": " + why);
            if (auto value = item.read(reader, here)) list.push_back({key.text, &key, std::move(*value)});
        }
        return list;
    }
    boost::json::object describe(Schema& schema) const {
        return {{"type", "object"},
                {"propertyNames", boost::json::object{{"pattern", form.pattern}}},
                {"additionalProperties", item.describe(schema)}};
    }
};

enum class Presence : unsigned char { optional, required };

/// One key of a map that is read into a T.
template <class T>
struct Key {
    std::string_view name, doc;
    Presence presence;
    void (*read)(Reader&, const Place&, T& into);
    boost::json::object (*describe)(Schema&);
};

template <class T, class M>
T owner_of(M T::*);

template <auto member, const auto& rule>
constexpr auto key(std::string_view name, std::string_view doc, Presence presence = Presence::optional) {
    using T = decltype(owner_of(member));
    return Key<T>{name, doc, presence,
                  [](Reader& reader, const Place& at, T& into) {
                      if (auto value = rule.read(reader, at)) into.*member = {std::move(*value), &at.node};
                  },
                  [](Schema& schema) { return rule.describe(schema); }};
}

/// Keys that are refused with better words than "unknown".
struct RefusedKeys {
    std::span<const std::string_view> names;
    std::string_view why;
};

/// What is wrong with a key that a map does not have, as one sentence.
std::string unknown_key(const Place& map, std::string_view key, std::span<const std::string_view> known,
                        const RefusedKeys& refused, const RefusedKeys& elsewhere);

/// A map of known keys.
template <class T>
struct MapRule {
    using Value = T;
    std::string_view name;  // in the schema's $defs; also "a map of <name>"
    std::string_view doc;
    std::span<const Key<T>> keys;
    RefusedKeys refused = {};
    bool private_values = false;                          // what stands under an unknown key may be a secret
    void (*check)(Reader&, const Place&, T&) = nullptr;   // of the keys together
    void (*amend)(boost::json::object& shape) = nullptr;  // the same for the schema
    RefusedKeys elsewhere = {};
    std::string_view off = {};    // how it is turned off, said to who writes `off` in its place
    std::string_view brief = {};  // the key that is meant by who writes a bare value in its place

    const Key<T>* find(std::string_view key) const {
        for (const Key<T>& known : keys)
            if (known.name == key) return &known;
        return nullptr;
    }

    std::optional<T> read(Reader& reader, const Place& at) const {
        if (!reader.expect(Node::Kind::map, at, "a map", off, brief)) {
            if (private_values) reader.mask(at.node);
            return {};
        }
        T value{};
        for (std::size_t i = 0; i + 1 < at.node.items.size(); i += 2) {
            const Node& written = *at.node.items[i];
            const Place here{*at.node.items[i + 1], &at, written.text, 0, &written};
            if (const Key<T>* known = find(written.text))
                known->read(reader, here, value);
            else
                refuse(reader, at, here);
        }
        for (const Key<T>& known : keys)
            if (known.presence == Presence::required && at.node.find(known.name) == Node::npos)
                reader.key_fault(at, "'" + std::string(known.name) + "' is missing" + at.in_path());
        if (check) check(reader, at, value);
        return value;
    }

    boost::json::object describe(Schema& schema) const {
        return schema.refer(name, [&] {
            boost::json::object properties;
            boost::json::array required;
            for (const Key<T>& known : keys) {
                boost::json::object shape = known.describe(schema);
                shape["description"] = known.doc;
                properties[known.name] = std::move(shape);
                if (known.presence == Presence::required) required.push_back(boost::json::value(known.name));
            }
            boost::json::object shape{{"type", "object"}, {"description", doc}, {"properties", std::move(properties)}};
            if (!required.empty()) shape["required"] = std::move(required);
            shape["additionalProperties"] = false;
            if (amend) amend(shape);
            return shape;
        });
    }

  private:
    void refuse(Reader& reader, const Place& map, const Place& at) const {
        std::vector<std::string_view> names;
        for (const Key<T>& known : keys) names.push_back(known.name);
        if (private_values) reader.mask(at.node);
        reader.key_fault(at, unknown_key(map, at.key, names, refused, elsewhere));
    }
};

}  // namespace sluice
