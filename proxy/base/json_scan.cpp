#include "proxy/base/json_scan.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_of_number(char c) {
    return is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
}

}  // namespace

void JsonScan::start() {
    state_ = State::value;
    depth_ = 0;
}

std::string_view JsonScan::key(std::size_t level) const {
    if (level >= depth_ || level >= most_keys || arrays_[level]) return {};
    return {keys_[level].text.data(), keys_[level].size};
}

bool JsonScan::under(std::initializer_list<std::string_view> path, std::size_t from) const {
    if (depth_ < from + path.size() || from + path.size() > most_keys) return false;
    for (const std::string_view wanted : path) {
        if (wanted.empty() ? !arrays_[from] : key(from) != wanted) return false;
        ++from;
    }
    return true;
}

const JsonScan::Value* JsonScan::next(std::string_view& piece) {
    while (!piece.empty() && state_ != State::done && state_ != State::failed) {
        if (state_ == State::string) {
            take_plain(piece);
            if (piece.empty()) break;
        }
        const char c = piece.front();
        // What ends a number or word is not part of it: told first, and read when asked again.
        if (state_ == State::number && !is_of_number(c)) return tell(Value::Kind::number);
        if (state_ == State::word && !(c >= 'a' && c <= 'z')) {
            if (is_word()) return tell(Value::Kind::word);
            fail();
            break;
        }
        piece.remove_prefix(1);
        if (take(c)) return tell(Value::Kind::string);
    }
    return nullptr;
}

const JsonScan::Value* JsonScan::finish() {
    if (state_ == State::number && depth_ == 0) return tell(Value::Kind::number);
    if (state_ == State::word && depth_ == 0 && is_word()) return tell(Value::Kind::word);
    if (state_ != State::done) fail();
    return nullptr;
}

const JsonScan::Value* JsonScan::cut() {
    const bool inside = state_ == State::string || state_ == State::escape || state_ == State::unicode;
    return inside && !is_key_ ? tell(Value::Kind::string) : nullptr;
}

/// Ends the scalar; its path stands until the next byte is taken.
const JsonScan::Value* JsonScan::tell(Value::Kind kind) {
    value_ = {kind, {text_.data(), std::min(size_, most_text)}, size_};
    state_ = depth_ == 0 ? State::done : State::after_value;
    return &value_;
}

bool JsonScan::is_word() const {
    const std::string_view text(text_.data(), std::min(size_, most_text));
    return text == "true" || text == "false" || text == "null";
}

/// True: a string that is a value has ended.
bool JsonScan::take(char c) {
    switch (state_) {
    case State::value:
    case State::first_value:
        if (is_blank(c)) return false;
        if (c == ']' && state_ == State::first_value) return close(true), false;
        begin_value(c);
        return false;
    case State::first_key:
    case State::key:
        if (is_blank(c)) return false;
        if (c == '}' && state_ == State::first_key) return close(false), false;
        if (c != '"') return fail(), false;
        is_key_ = true;
        begin(State::string);
        return false;
    case State::colon:
        if (c == ':') {
            state_ = State::value;
        } else if (!is_blank(c)) {
            fail();
        }
        return false;
    case State::after_value:
        if (c == ',') {
            state_ = arrays_[depth_ - 1] ? State::value : State::key;
        } else if (c == ']' || c == '}') {
            close(c == ']');
        } else if (!is_blank(c)) {
            fail();
        }
        return false;
    case State::string:
        if (c == '"') return end_string();
        state_ = State::escape;  // take_plain has taken everything else
        return false;
    case State::escape: take_escape(c); return false;
    case State::unicode: take_unicode(c); return false;
    case State::number:
    case State::word: append(c); return false;
    case State::done:
    case State::failed: return false;
    }
    return false;
}

void JsonScan::begin_value(char c) {
    if (c == '{' || c == '[') {
        open(c == '[');
    } else if (c == '"') {
        is_key_ = false;
        begin(State::string);
    } else if (is_digit(c) || c == '-') {
        begin(State::number);
        append(c);
    } else if (c == 't' || c == 'f' || c == 'n') {
        begin(State::word);
        append(c);
    } else {
        fail();
    }
}

void JsonScan::begin(State state) {
    state_ = state;
    size_ = 0;
}

void JsonScan::open(bool array) {
    if (depth_ == most_levels) return fail();
    if (depth_ < most_keys) keys_[depth_].size = 0;
    arrays_[depth_++] = array;
    state_ = array ? State::first_value : State::first_key;
}

void JsonScan::close(bool array) {
    if (depth_ == 0 || arrays_[depth_ - 1] != array) return fail();
    --depth_;
    state_ = depth_ == 0 ? State::done : State::after_value;
}

bool JsonScan::end_string() {
    if (!is_key_) return true;
    if (depth_ <= most_keys) {
        Key& key = keys_[depth_ - 1];
        key.size = size_ <= most_key ? static_cast<unsigned char>(size_) : 0;
        std::copy_n(text_.data(), key.size, key.text.data());
    }
    state_ = State::colon;
    return false;
}

/// What of a string stands for itself, as much as there is.
void JsonScan::take_plain(std::string_view& piece) {
    std::size_t plain = 0;
    while (plain < piece.size() && piece[plain] != '"' && piece[plain] != '\\') ++plain;
    if (size_ < most_text) {
        std::copy_n(piece.data(), std::min(plain, most_text - size_), text_.data() + size_);
    }
    size_ += plain;
    piece.remove_prefix(plain);
}

void JsonScan::append(char c) {
    if (size_ < most_text) text_[size_] = c;
    ++size_;
}

void JsonScan::take_escape(char c) {
    static constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
    if (c == 'u') {
        state_ = State::unicode;
        digits_ = 0;
        unit_ = 0;
        return;
    }
    const std::size_t which = names.find(c);
    if (which == names.npos) return fail();
    append(meant[which]);
    state_ = State::string;
}

void JsonScan::take_unicode(char c) {
    const int digit = hex_value(c);
    if (digit < 0) return fail();
    unit_ = unit_ << 4 | static_cast<unsigned>(digit);
    if (++digits_ < 4) return;
    append_code_unit(unit_);
    state_ = State::string;
}

/// As UTF-8. A half of a surrogate pair is written as two question marks: nothing that is looked for is outside the
/// BMP, and the pair counts for the four bytes that it has.
void JsonScan::append_code_unit(unsigned unit) {
    if (unit < 0x80) return append(static_cast<char>(unit));
    if (unit >= 0xD800 && unit < 0xE000) {
        append('?');
        return append('?');
    }
    if (unit < 0x800) {
        append(static_cast<char>(0xC0 | unit >> 6));
    } else {
        append(static_cast<char>(0xE0 | unit >> 12));
        append(static_cast<char>(0x80 | (unit >> 6 & 0x3F)));
    }
    append(static_cast<char>(0x80 | (unit & 0x3F)));
}

}  // namespace sluice
