#include "config/json_value.hpp"

#include <boost/json/parse.hpp>
#include <cmath>

#include "proxy/base/text.hpp"

namespace sluice {
namespace {

constexpr std::size_t max_json = 16 * 1024;

/// A number of YAML's core schema in JSON's grammar (RFC 8259 6); nothing: JSON has none such.
std::optional<std::string> number_text(std::string_view text) {
    std::string out;
    if (text.starts_with('+')) text.remove_prefix(1);
    if (text.starts_with('-')) out = "-", text.remove_prefix(1);
    if (text.starts_with("0x")) return {};
    if (text.starts_with('.')) out += '0';
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool lone_dot = text[i] == '.' && (i + 1 == text.size() || !is_digit(text[i + 1]));
        if (!lone_dot) out += text[i];
    }
    boost::system::error_code error;
    const auto value = boost::json::parse(out, error);
    if (error || (value.is_double() && !std::isfinite(value.get_double()))) return {};
    return out;
}

void append_string(std::string& out, std::string_view text) {
    out += '"';
    append_json_escaped(out, text);
    out += '"';
}

class Writer {
  public:
    Writer(Reader& reader, std::string& out) : reader_(reader), out_(out) {}

    /// False: reported.
    bool write(const Place& at) {
        if (out_.size() > max_json) return refuse(at);
        switch (at.node.kind) {
        case Node::Kind::null: out_ += "null"; return true;
        case Node::Kind::scalar: return write_scalar(at);
        case Node::Kind::sequence: return write_list(at);
        case Node::Kind::map: return write_map(at);
        case Node::Kind::broken: return false;
        }
        return false;
    }

  private:
    bool refuse(const Place& at) {
        reader_.fault(at, "too large a value", "as JSON it is longer than 16 KiB");
        return false;
    }

    bool write_scalar(const Place& at) {
        const auto scalar = reader_.scalar(at, "a value");
        if (!scalar) return false;
        if (out_.size() + scalar->text.size() > max_json) return refuse(at);
        std::string why = "put it in quotes if text is meant";
        switch (scalar->type) {
        case CoreType::text: append_string(out_, scalar->text); return true;
        case CoreType::null: out_ += "null"; return true;
        case CoreType::boolean: out_ += lower(scalar->text.front()) == 't' ? "true" : "false"; return true;
        case CoreType::integer: [[fallthrough]];
        case CoreType::floating:
            if (const auto number = number_text(scalar->text)) {
                out_ += *number;
                return true;
            }
            break;
        case CoreType::octal_looking: why = "some readers of YAML take it for an octal number; " + why; break;
        case CoreType::yes_or_no: why = "some readers of YAML take it for true or false; " + why; break;
        }
        reader_.wrong(at, *scalar, "a value that JSON has", why);
        return false;
    }

    bool write_list(const Place& at) {
        out_ += '[';
        for (std::size_t i = 0; i < at.node.items.size(); ++i) {
            if (i > 0) out_ += ',';
            if (!write({*at.node.items[i], &at, {}, i})) return false;
        }
        out_ += ']';
        return true;
    }

    bool write_map(const Place& at) {
        out_ += '{';
        for (std::size_t i = 0; i + 1 < at.node.items.size(); i += 2) {
            const Node& key = *at.node.items[i];
            if (i > 0) out_ += ',';
            append_string(out_, key.text);
            out_ += ':';
            if (!write({*at.node.items[i + 1], &at, key.text, 0, &key})) return false;
        }
        out_ += '}';
        return true;
    }

    Reader& reader_;
    std::string& out_;
};

}  // namespace

std::optional<std::string> read_json(Reader& reader, const Place& at) {
    std::string out;
    if (!Writer{reader, out}.write(at)) return {};
    if (out.size() <= max_json) return out;
    reader.fault(at, "too large a value", "as JSON it is longer than 16 KiB");
    return {};
}

}  // namespace sluice
