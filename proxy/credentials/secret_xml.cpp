#include "proxy/credentials/secret_xml.hpp"

#include <algorithm>
#include <charconv>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_bytes = 128 * 1024, most_depth = 16, most_elements = 512;

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool begins_name(char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_';
}
bool is_name(char c) {
    return begins_name(c) || is_digit(c) || c == '-';
}
bool is_blank(std::string_view text) {
    return std::all_of(text.begin(), text.end(), is_space);
}

// XML 1.0 2.2: no controls but white space, no surrogates.
bool append_utf8(std::string& out, unsigned code) {
    if (code < 0x20 ? !(code == 9 || code == 10 || code == 13) : code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return false;
    const auto byte = [&out](unsigned value) { out += static_cast<char>(value); };
    if (code < 0x80) {
        byte(code);
    } else if (code < 0x800) {
        byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F));
    } else {
        byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)), byte(0x80 | (code >> 6 & 0x3F)),
            byte(0x80 | (code & 0x3F));
    }
    return true;
}

// `name` stands between '&' and ';'.
bool append_entity(std::string& out, std::string_view name) {
    static constexpr std::pair<std::string_view, char> known[] = {
        {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    for (const auto& [word, c] : known)
        if (name == word) return out += c, true;
    if (!name.starts_with('#')) return false;
    name.remove_prefix(1);
    const int base = name.starts_with('x') ? 16 : 10;
    if (base == 16) name.remove_prefix(1);
    unsigned code = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), code, base);
    return error == std::errc{} && end == name.data() + name.size() && append_utf8(out, code);
}

}  // namespace

class SecretXml::Reader {
  public:
    explicit Reader(std::string_view text) : left_(text) {
        text_.reserve(text.size());
    }  // grown, it would leave copies behind
    ~Reader() { wipe(text_); }

    bool read(SecretXml& into) {
        if (left_.starts_with("<?xml") && !take_declaration()) return false;
        while (!left_.empty()) {
            const bool fine = left_.front() != '<'      ? take_text()
                              : left_.starts_with("</") ? take_end(into)
                                                        : take_start(into);
            if (!fine) return false;
        }
        return open_.empty() && elements_ > 0;
    }

  private:
    struct Open {
        std::string_view name;
        std::size_t path = 0;  // length of path_ before it
        bool holds_elements = false;
    };

    bool take_declaration() {
        const std::size_t end = left_.find("?>");
        if (end == left_.npos) return false;
        left_.remove_prefix(end + 2);
        return true;
    }
    void skip_space() {
        while (!left_.empty() && is_space(left_.front())) left_.remove_prefix(1);
    }
    bool take(char c) {
        if (!left_.starts_with(c)) return false;
        left_.remove_prefix(1);
        return true;
    }
    std::string_view take_name() {
        if (left_.empty() || !begins_name(left_.front())) return {};
        const auto end = std::find_if_not(left_.begin(), left_.end(), is_name);
        const std::string_view name = left_.substr(0, static_cast<std::size_t>(end - left_.begin()));
        left_.remove_prefix(name.size());
        return name;
    }
    bool take_attribute() {
        if (take_name().empty()) return false;
        if (take(':') && take_name().empty()) return false;  // xmlns:x, xsi:nil
        skip_space();
        if (!take('=')) return false;
        skip_space();
        const char quote = left_.empty() ? '\0' : left_.front();
        if (quote != '"' && quote != '\'') return false;
        const std::size_t end = left_.find(quote, 1);
        if (end == left_.npos || left_.substr(0, end).find('<') != left_.npos) return false;
        left_.remove_prefix(end + 1);
        return true;
    }

    bool take_text() {
        const std::string_view raw = left_.substr(0, left_.find('<'));
        left_.remove_prefix(raw.size());
        if (open_.empty() || open_.back().holds_elements) return is_blank(raw);
        for (std::size_t i = 0; i < raw.size(); ++i) {
            if (raw[i] != '&') {
                if (static_cast<unsigned char>(raw[i]) < 0x20 && !is_space(raw[i])) return false;
                text_ += raw[i];
                continue;
            }
            const std::size_t end = raw.substr(0, i + 12).find(';', i);
            if (end == raw.npos || !append_entity(text_, raw.substr(i + 1, end - i - 1))) return false;
            i = end;
        }
        return true;
    }

    bool take_start(SecretXml& into) {
        left_.remove_prefix(1);
        const std::string_view name = take_name();
        if (name.empty() || ++elements_ > most_elements || open_.size() == most_depth) return false;
        if (open_.empty() ? elements_ > 1 : !is_blank(text_)) return false;  // a second root; text beside elements
        wipe_text();
        if (!open_.empty()) open_.back().holds_elements = true;
        open_.push_back({name, path_.size(), false});
        if (!path_.empty()) path_ += '.';
        path_ += name;
        for (;;) {
            const bool spaced = !left_.empty() && is_space(left_.front());
            skip_space();
            if (take('>')) return true;
            if (left_.starts_with("/>")) {
                left_.remove_prefix(2);
                return close(into);
            }
            if (!spaced || !take_attribute()) return false;
        }
    }
    bool take_end(SecretXml& into) {
        left_.remove_prefix(2);
        if (open_.empty() || take_name() != open_.back().name) return false;
        skip_space();
        return take('>') && close(into);
    }
    bool close(SecretXml& into) {
        if (!open_.back().holds_elements) into.leaves_.emplace_back(path_, Secret(std::string(text_)));
        path_.resize(open_.back().path);
        open_.pop_back();
        wipe_text();
        return true;
    }
    void wipe_text() {  // keeps its room
        std::fill(text_.begin(), text_.end(), '\0');
        text_.clear();
    }

    std::string_view left_;
    std::vector<Open> open_;
    std::string path_, text_;
    std::size_t elements_ = 0;
};

std::optional<SecretXml> SecretXml::parse(std::string_view text) {
    SecretXml parsed;
    if (text.size() > most_bytes || !Reader(text).read(parsed)) return {};
    return parsed;
}

std::optional<std::string_view> SecretXml::text(std::string_view path) const {
    const auto is_it = [path](const auto& leaf) { return leaf.first == path; };
    const auto found = std::find_if(leaves_.begin(), leaves_.end(), is_it);
    if (found == leaves_.end() || std::find_if(found + 1, leaves_.end(), is_it) != leaves_.end()) return {};
    return found->second.reveal();
}

}  // namespace sluice
