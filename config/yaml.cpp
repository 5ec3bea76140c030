#include "config/yaml.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "proxy/base/text.hpp"

namespace sluice {
namespace {

constexpr std::size_t max_undefined_anchors = 20;     // each costs a pass over the file,
constexpr std::size_t max_file_of_passes = 1u << 20;  // which is not done with a large one
constexpr std::string_view core_tag = "tag:yaml.org,2002:";

struct LocalFault {
    Position at;
    std::string message;
};

/// Thrown through yaml-cpp to end a pass: what follows would cost too much or mean nothing.
struct EndOfPass {};

Position position_of(const YAML::Mark& mark) {
    if (mark.is_null()) return {};
    return {static_cast<std::uint32_t>(mark.line), static_cast<std::uint32_t>(mark.column)};
}

/// Receives yaml-cpp's events of one pass over one file.
class TreeBuilder final : public YAML::EventHandler {
  public:
    TreeBuilder(const SourceFile& file, std::deque<Node>& arena, const YamlBounds& bounds,
                const std::vector<Position>& undefined)
        : file_(file), arena_(arena), bounds_(bounds), undefined_(undefined) {}

    const Node* root() const { return root_; }
    std::uint64_t weight() const { return root_ ? root_->weight : 0; }
    const std::vector<LocalFault>& faults() const { return faults_; }
    const Node* final_scalar() const { return final_scalar_; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ == 0) return;
        fail(position_of(mark),
             "a policy is one document: another one, or something that does not belong to the first, begins here");
        throw EndOfPass{};
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node& node = make(Node::Kind::null, mark, anchor);
        // yaml-cpp marks an absent value by whatever comes after it, maybe lines later: the key, or the list, is its
        // place.
        if (!frames_.empty()) node.at = frames_.back().awaits_value ? frames_.back().key->at : frames_.back().node->at;
        put(node, position_of(mark));
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node& target = *anchors_.at(anchor);
        if (target.open) {
            fail(position_of(mark), "an alias inside the value that it stands for");
            throw EndOfPass{};
        }
        put(target, position_of(mark));
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        Node& node = make(Node::Kind::scalar, mark, anchor);
        node.text = value;
        judge_tag(node, tag);
        put(node, node.at);
        last_scalar_ = &node;
        final_scalar_ = &node;
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(Node::Kind::sequence, mark, tag, anchor);
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(Node::Kind::map, mark, tag, anchor);
    }
    void OnMapEnd() override {
        refuse_duplicates(*frames_.back().node);
        close();
    }

  private:
    struct Frame {
        Node* node;
        const Node* key = nullptr;  // of a map: the latest
        bool awaits_value = false;  // of that key
        bool key_kept = true;
        Node* parent = nullptr;  // gets the weight at the end; null where this one was not kept
    };

    void fail(Position at, std::string message) { faults_.push_back({at, std::move(message)}); }

    Node& make(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
        if (arena_.size() >= arena_limit()) {
            fail(position_of(mark), "the policy is too large: more than four million values");
            throw EndOfPass{};
        }
        Node& node = arena_.emplace_back();
        node.kind = kind;
        node.file = &file_;
        node.at = position_of(mark);
        node.end = {UINT32_MAX, 0};
        if (std::binary_search(undefined_.begin(), undefined_.end(), node.at)) node.kind = Node::Kind::broken;
        if (anchor != YAML::NullAnchor) anchors_[anchor] = &node;
        return node;
    }
    std::size_t arena_limit() const { return started_ + static_cast<std::size_t>(bounds_.nodes); }

    void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
        Node& node = make(kind, mark, anchor);
        const std::string_view own = kind == Node::Kind::map ? "map" : "seq";
        if (!tag.empty() && tag != "?" && tag != "!" && tag != std::string{core_tag}.append(own))
            fail(node.at, "unknown tag " + shown(tag));
        if (frames_.size() >= bounds_.depth) {
            fail(node.at, "nested deeper than " + std::to_string(bounds_.depth) + " levels");
            throw EndOfPass{};
        }
        node.open = true;
        Node* parent = frames_.empty() ? nullptr : frames_.back().node;
        const bool kept = put(node, node.at);
        frames_.push_back({.node = &node, .parent = kept ? parent : nullptr});
    }

    void close() {
        const Frame frame = frames_.back();
        frames_.pop_back();
        frame.node->open = false;
        if (frame.parent) add_weight(*frame.parent, frame.node->weight, frame.node->at);
    }

    void add_weight(Node& parent, std::uint64_t weight, Position at) {
        parent.weight += weight;
        if (parent.weight <= bounds_.nodes) return;
        fail(at, "aliases make this policy too large: more than four million values");
        throw EndOfPass{};
    }

    /// Into the collection that is open. `at`: of the event, which of an alias is not the node's own. False: not kept.
    bool put(Node& node, Position at) {
        if (last_scalar_) {
            last_scalar_->end = at;
            last_scalar_ = nullptr;
        }
        if (frames_.empty()) {
            root_ = &node;
            return false;
        }
        Frame& frame = frames_.back();
        if (frame.node->kind == Node::Kind::map) {
            if (!frame.awaits_value) {
                frame.key = &node;
                frame.awaits_value = true;
                frame.key_kept = judge_key(node, at);
                return false;
            }
            frame.awaits_value = false;
            if (!frame.key_kept) return false;
            frame.node->items.push_back(frame.key);
            frame.node->weight += 1;
        }
        frame.node->items.push_back(&node);
        if (!node.open) add_weight(*frame.node, node.weight, at);
        return true;
    }

    bool judge_key(const Node& key, Position at) {
        if (key.kind == Node::Kind::broken) return false;
        if (key.kind != Node::Kind::scalar || key.text.empty()) {
            const std::string_view what = key.kind == Node::Kind::sequence ? "a list"
                                          : key.kind == Node::Kind::map    ? "a map"
                                                                           : "nothing";
            fail(at, "a key must be a word, not " + std::string(what) + in_path());
            return false;
        }
        if (key.plain && key.text == "<<") {
            fail(at, "merge keys ('<<') are not part of YAML 1.2" + in_path() +
                         ": write the keys out, or give a whole value an anchor (&name) and repeat it (*name)");
            return false;
        }
        return true;
    }

    void judge_tag(Node& node, const std::string& tag) {
        node.plain = tag == "?";
        if (tag.empty() || tag == "?" || tag == "!" || node.kind == Node::Kind::broken) return;
        const std::string_view name = std::string_view{tag}.starts_with(core_tag)
                                          ? std::string_view{tag}.substr(core_tag.size())
                                          : std::string_view{};
        if (name == "str") return;
        const CoreType type = core_type(node.text);
        node.plain = true;
        if ((name == "int" && type == CoreType::integer) || (name == "bool" && type == CoreType::boolean) ||
            (name == "float" && (type == CoreType::floating || type == CoreType::integer)))
            return;
        if (name == "null" && type == CoreType::null) {
            node.kind = Node::Kind::null;
            return;
        }
        const bool known = name == "int" || name == "bool" || name == "float" || name == "null";
        fail(node.at,
             known ? "the value is not what its tag !!" + std::string(name) + " says" : "unknown tag " + shown(tag));
        node.kind = Node::Kind::broken;
    }

    /// Keeps the first of each key, so that the rest of the decoder sees every key once.
    void refuse_duplicates(Node& map) {
        std::unordered_map<std::string_view, const Node*> seen;
        std::vector<const Node*> kept;
        const bool small = map.items.size() <= 32;
        for (std::size_t i = 0; i + 1 < map.items.size(); i += 2) {
            const Node* key = map.items[i];
            const Node* first = small ? find_key(kept, key->text) : nullptr;
            if (!small)
                if (const auto [entry, fresh] = seen.try_emplace(key->text, key); !fresh) first = entry->second;
            if (first)
                fail(key->at,
                     "duplicate key " + shown(key->text) + in_path() + ": the first is at " + file_.place(first->at));
            else
                kept.insert(kept.end(), {key, map.items[i + 1]});
        }
        map.items = std::move(kept);
    }
    static const Node* find_key(const std::vector<const Node*>& items, std::string_view text) {
        for (std::size_t i = 0; i < items.size(); i += 2)
            if (items[i]->text == text) return items[i];
        return nullptr;
    }

    /// " in vendors.pay.routes[1]": where the innermost open collection is.
    std::string in_path() const {
        std::string path;
        for (std::size_t i = 0; i + 1 < frames_.size(); ++i) {
            const Frame& frame = frames_[i];
            if (frame.node->kind == Node::Kind::sequence)
                path += "[" + std::to_string(frame.node->items.size() - 1) + "]";
            else
                path += (path.empty() ? "" : ".") + key_text(frame.key);
        }
        return path.empty() ? " at the top level" : " in " + path;
    }
    static std::string key_text(const Node* key) { return key && key->kind == Node::Kind::scalar ? key->text : "?"; }

    const SourceFile& file_;
    std::deque<Node>& arena_;
    const YamlBounds& bounds_;
    const std::vector<Position>& undefined_;  // sorted; aliases that have been reported
    const std::size_t started_ = arena_.size();

    std::vector<Frame> frames_;
    std::unordered_map<YAML::anchor_t, Node*> anchors_;
    const Node* root_ = nullptr;
    Node* last_scalar_ = nullptr;         // its `end` is not known yet
    const Node* final_scalar_ = nullptr;  // of the document, so far
    std::size_t documents_ = 0;
    std::vector<LocalFault> faults_;
};

bool indented_by_tab(std::string_view line) {
    const auto begin = line.find_first_not_of(' ');
    return begin != std::string_view::npos && line[begin] == '\t';
}

/// yaml-cpp's words for a syntax fault, in ours.
std::string explain_syntax(const YAML::Exception& error, const SourceFile& file) {
    const Position at = position_of(error.mark);
    if (indented_by_tab(file.line(at.line))) return "a tab in the indentation: YAML allows only spaces there";
    static const std::pair<std::string_view, std::string_view> words[] = {
        {YAML::ErrorMsg::END_OF_MAP,
         "a line that does not belong to the map before it: is the indentation off, or a ':' missing?"},
        {YAML::ErrorMsg::END_OF_SEQ,
         "a line that does not belong to the list before it: is the indentation off, or a '-' missing?"},
        {YAML::ErrorMsg::END_OF_MAP_FLOW,
         "a '{' without its '}', or a ',' missing (a value that holds braces, such as ${VAR}, goes in quotes inside "
         "them)"},
        {YAML::ErrorMsg::END_OF_SEQ_FLOW, "a '[' without its ']', or a ',' missing"},
        {YAML::ErrorMsg::MAP_VALUE,
         "a ':' where none can stand: is the line before it missing its ':', the indentation off, or a value that "
         "holds ': ' not in quotes?"},
        {YAML::ErrorMsg::MAP_KEY, "a key where none can stand: is the indentation off?"},
        {YAML::ErrorMsg::BLOCK_ENTRY, "a '-' where no list can begin: put it on a line of its own"},
        {YAML::ErrorMsg::UNKNOWN_TOKEN, "a value cannot begin with this character: put it in quotes"},
        {YAML::ErrorMsg::EOF_IN_SCALAR, "a quote is never closed"},
        {YAML::ErrorMsg::DOC_IN_SCALAR, "a quote is never closed"},
        {YAML::ErrorMsg::UNKNOWN_ANCHOR,
         "an alias (*name) without its anchor (&name) before it; what follows was not looked at"},
        {YAML::ErrorMsg::FLOW_END, "a closing bracket without its opening one"},
        {YAML::ErrorMsg::TAB_IN_INDENTATION, "a tab in the indentation: YAML allows only spaces there"},
    };
    for (const auto& [theirs, ours] : words)
        if (error.msg == theirs) return std::string{ours};
    return "broken YAML: " + error.msg;
}

/// yaml-cpp takes the end of the file for the closing quote of a scalar if a line break comes before it. `at`: where
/// the scalar begins, its tag and its anchor included.
bool quote_is_open(std::string_view text, std::size_t at) {
    while (at < text.size() && (text[at] == '&' || text[at] == '!' || text[at] == '#')) {
        at = std::min(text.find_first_of(text[at] == '#' ? "\n" : " \t\r\n", at), text.size());
        at = std::min(text.find_first_not_of(" \t\r\n", at), text.size());
    }
    if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return false;
    const char quote = text[at];
    for (std::size_t i = at + 1; i < text.size(); ++i) {
        const bool escape = quote == '"' ? text[i] == '\\' : text[i] == quote && text.substr(i + 1, 1) == "'";
        if (escape)
            ++i;
        else if (text[i] == quote)
            return false;
    }
    return true;
}

/// Where yaml-cpp noticed a fault, moved to where it is.
Position place_of(const YAML::Exception& error) {
    Position at = position_of(error.mark);
    if (error.msg.starts_with(YAML::ErrorMsg::INVALID_ESCAPE))
        at.column -= std::min(at.column, 2u);  // it stands behind "\\q"
    return at;
}

/// yaml-cpp passes over directives that it does not know, and reads YAML 1.1 for a document that says so.
void judge_directives(const SourceFile& file, FaultList& faults) {
    for (std::uint32_t number = 0; number < file.line_starts.size(); ++number) {
        const std::string_view line = file.line(number);
        if (line.empty() || line.starts_with('#') || trimmed(line).empty() || trimmed(line) == "%YAML 1.2") continue;
        if (!line.starts_with('%')) return;
        faults.add(file, {number, 0}, "a directive: a policy has none but '%YAML 1.2'");
    }
}

/// One pass. A syntax fault, if that ended it; `undefined_anchor` tells the one that another pass can step over.
std::optional<LocalFault> run_pass(TreeBuilder& builder, const std::string& text, const SourceFile& file,
                                   bool& undefined_anchor) {
    std::istringstream in{text};
    try {
        YAML::Parser parser{in};
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const EndOfPass&) {
        return LocalFault{};  // the builder has said why
    } catch (const YAML::Exception& error) {
        undefined_anchor = error.msg == YAML::ErrorMsg::UNKNOWN_ANCHOR;
        return LocalFault{place_of(error), explain_syntax(error, file)};
    }
    if (const Node* last = builder.final_scalar(); last && quote_is_open(text, file.offset(last->at)))
        return LocalFault{last->at, "a quote is never closed"};
    return {};
}

/// Writes an empty string over "*name", so that the next pass can go on behind it. False: there is none.
bool blank_alias(std::string& text, std::size_t at, std::string& name) {
    if (at >= text.size() || text[at] != '*') return false;
    const std::size_t end = std::min(text.find_first_of(" \t\r\n,[]{}:?%@`", at), text.size());
    if (end - at < 2) return false;
    name = text.substr(at, end - at);
    std::fill(text.begin() + static_cast<std::ptrdiff_t>(at), text.begin() + static_cast<std::ptrdiff_t>(end), ' ');
    text[at] = text[at + 1] = '"';
    return true;
}

}  // namespace

std::size_t Node::find(std::string_view key) const {
    if (kind != Kind::map) return npos;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2)
        if (items[i]->text == key) return i;
    return npos;
}

YamlTree parse_yaml(const SourceFile& file, std::deque<Node>& arena, YamlBounds& bounds, FaultList& faults) {
    if (const auto bad = judge_text(file.text)) {
        faults.add(file, file.position(bad->first), std::string(bad->second) + ": a policy is UTF-8 text");
        return {};
    }
    const auto is_indicator = [](char c) { return c == '[' || c == '{' || c == ',' || c == ':'; };
    if (static_cast<std::uint64_t>(std::count_if(file.text.begin(), file.text.end(), is_indicator)) > bounds.nodes) {
        // yaml-cpp keeps a quarter of a kilobyte for each until their line ends.
        faults.add(file.path, "too large: more than four million of '[', '{', ',' and ':'");
        return {};
    }
    judge_directives(file, faults);
    std::string text = file.text;
    std::vector<Position> undefined;
    const std::size_t started = arena.size();
    for (;;) {
        TreeBuilder builder{file, arena, bounds, undefined};
        bool undefined_anchor = false;
        const std::optional<LocalFault> ended = run_pass(builder, text, file, undefined_anchor);
        std::string name;
        if (undefined_anchor && undefined.size() < max_undefined_anchors && text.size() <= max_file_of_passes &&
            blank_alias(text, file.offset(ended->at), name)) {
            faults.add(file, ended->at, shown(name) + " has no anchor '&" + name.substr(1) + "' before it");
            undefined.insert(std::upper_bound(undefined.begin(), undefined.end(), ended->at), ended->at);
            arena.resize(started);
            continue;
        }
        for (const LocalFault& fault : builder.faults()) faults.add(file, fault.at, fault.message);
        if (ended && !ended->message.empty()) faults.add(file, ended->at, ended->message);
        if (ended) return {};
        bounds.nodes -= std::min(bounds.nodes, std::max<std::uint64_t>(arena.size() - started, builder.weight()));
        return {builder.root(), true};
    }
}

CoreType core_type(std::string_view plain) {
    static constexpr std::string_view nulls[] = {"", "~", "null", "Null", "NULL"};
    static constexpr std::string_view booleans[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    static constexpr std::string_view yes_words[] = {"y",  "Y",  "yes", "Yes", "YES", "n",   "N",   "no",
                                                     "No", "NO", "on",  "On",  "ON",  "off", "Off", "OFF"};
    static constexpr std::string_view specials[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    const auto among = [](std::string_view word, const auto& words) {
        return std::find(std::begin(words), std::end(words), word) != std::end(words);
    };
    const auto all_of = [](std::string_view digits, std::string_view allowed) {
        return !digits.empty() && digits.find_first_not_of(allowed) == std::string_view::npos;
    };
    constexpr std::string_view decimal = "0123456789";
    if (among(plain, nulls)) return CoreType::null;
    if (among(plain, booleans)) return CoreType::boolean;
    if (among(plain, yes_words)) return CoreType::yes_or_no;

    std::string_view number = plain;
    if (number.front() == '-' || number.front() == '+') number.remove_prefix(1);
    if (among(number, specials)) return CoreType::floating;
    if (number.starts_with("0o") && all_of(number.substr(2), "01234567")) return CoreType::octal_looking;
    if (number.starts_with("0x") && all_of(number.substr(2), "0123456789abcdefABCDEF")) return CoreType::integer;
    if (all_of(number, decimal))
        return number.size() > 1 && number.front() == '0' ? CoreType::octal_looking : CoreType::integer;

    // [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
    std::string_view mantissa = number.substr(0, std::min(number.find_first_of("eE"), number.size()));
    std::string_view exponent = number.substr(mantissa.size());
    if (!exponent.empty()) {
        exponent.remove_prefix(1);
        if (!exponent.empty() && (exponent.front() == '-' || exponent.front() == '+')) exponent.remove_prefix(1);
        if (!all_of(exponent, decimal)) return CoreType::text;
    }
    const auto dot = std::min(mantissa.find('.'), mantissa.size());
    const std::string_view whole = mantissa.substr(0, dot);
    const std::string_view fraction = mantissa.substr(std::min(dot + 1, mantissa.size()));
    const bool whole_ok = whole.empty() ? !fraction.empty() : all_of(whole, decimal);
    const bool fraction_ok = fraction.empty() || all_of(fraction, decimal);
    return whole_ok && fraction_ok ? CoreType::floating : CoreType::text;
}

}  // namespace sluice
