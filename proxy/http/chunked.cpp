#include "proxy/http/chunked.hpp"

#include <algorithm>
#include <array>

#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

namespace {

constexpr unsigned most_digits = 16;  // of 64 bits
constexpr std::size_t most_extension_bytes = 1024, most_trailers = 100;

bool is_text(char c) {
    return (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) || c == '\t';
}

}  // namespace

void ChunkedDecoder::start(Fields* trailers, std::size_t max_trailer_bytes) {
    state_ = State::size_first;
    left_ = 0;
    trailer_bytes_ = 0;
    trailer_count_ = 0;
    max_trailer_bytes_ = max_trailer_bytes;
    line_.clear();
    trailers_ = trailers;
}

ChunkedDecoder::Step ChunkedDecoder::decode(std::string_view in) {
    Step step;
    while (step.used < in.size() && state_ != State::done && state_ != State::failed) {
        if (state_ == State::data) {
            if (!step.data.empty()) return step;  // one piece a step: it is one view
            step.data = in.substr(step.used, static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size())));
            step.used += step.data.size();
            left_ -= step.data.size();
            if (left_ == 0) state_ = State::data_cr;
            continue;
        }
        step.fault = take(in[step.used++]);
        if (step.fault) state_ = State::failed;
    }
    step.done = state_ == State::done;
    if (state_ == State::failed && !step.fault) step.fault = "the chunked body was already found bad";
    return step;
}

const char* ChunkedDecoder::fault_in(std::string_view in) const {
    ChunkedDecoder ahead = *this;
    Fields thrown_away;
    ahead.trailers_ = &thrown_away;
    while (!in.empty()) {
        const Step step = ahead.decode(in);
        if (step.fault) return step.fault;
        if (step.done || step.used == 0) break;
        in.remove_prefix(step.used);
    }
    return nullptr;
}

const char* ChunkedDecoder::take(char c) {
    switch (state_) {
    case State::size_first:
        left_ = 0;
        digits_ = 0;
        extension_bytes_ = 0;
        if (hex_value(c) < 0) return "a chunk size that does not begin with a hexadecimal digit";
        state_ = State::size;
        return take_size(c);
    case State::size: return take_size(c);
    case State::extension: return take_extension(c);
    case State::size_lf: return expect(c, '\n', left_ == 0 ? State::trailer_start : State::data);
    case State::data_cr: return expect(c, '\r', State::data_lf);
    case State::data_lf: return expect(c, '\n', State::size_first);
    case State::trailer_start:
    case State::trailer:
    case State::trailer_lf: return take_trailer(c);
    case State::end_lf: return expect(c, '\n', State::done);
    case State::data:
    case State::done:
    case State::failed: break;  // decode takes no byte of framing there
    }
    return nullptr;
}

const char* ChunkedDecoder::expect(char c, char expected, State next) {
    state_ = next;
    return c == expected ? nullptr : "something other than CRLF where a chunk or one of its lines ends";
}

const char* ChunkedDecoder::take_size(char c) {
    if (const int digit = hex_value(c); digit >= 0) {
        if (++digits_ > most_digits) return "a chunk size of more than 16 digits";
        left_ = left_ << 4 | static_cast<unsigned>(digit);
        return nullptr;
    }
    if (c == '\n') return "a bare LF in a chunk size line";
    if (c != '\r' && c != ';') return "something other than digits and extensions in a chunk size line";
    state_ = c == '\r' ? State::size_lf : State::extension;
    return nullptr;
}

const char* ChunkedDecoder::take_extension(char c) {
    if (c == '\r') {
        state_ = State::size_lf;
        return nullptr;
    }
    if (c == '\n') return "a bare LF in a chunk size line";
    if (!is_text(c)) return "a control character in a chunk extension";
    return ++extension_bytes_ > most_extension_bytes ? "chunk extensions of more than 1 KiB" : nullptr;
}

const char* ChunkedDecoder::take_trailer(char c) {
    if (state_ == State::trailer_start && c == '\r') {
        state_ = State::end_lf;
        return nullptr;
    }
    if (++trailer_bytes_ > max_trailer_bytes_) return "trailers that are too large";
    if (state_ == State::trailer_lf) return c == '\n' ? end_of_trailer_line() : "a bare CR in the trailers";
    if (c == '\n') return "a bare LF in the trailers";
    state_ = c == '\r' ? State::trailer_lf : State::trailer;
    if (c != '\r') line_.push_back(c);
    return nullptr;
}

const char* ChunkedDecoder::end_of_trailer_line() {
    state_ = State::trailer_start;
    const std::string_view line = line_;
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    if (line[0] == ' ' || line[0] == '\t') return "a folded trailer line (obs-fold)";
    if (colon == line.npos) return "a trailer line without a colon";
    if (!is_token(name)) return "a trailer name that is not a token";
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (!is_field_value(value)) return "a control character in a trailer";
    if (++trailer_count_ > most_trailers) return "more than 100 trailers";
    if (trailers_ && may_be_trailer(name)) trailers_->add(Known::other, name, value);
    line_.clear();
    return nullptr;
}

void append_chunk_head(std::string& out, std::uint64_t size) {
    std::array<char, most_digits + 2> text;
    auto at = text.end();
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = "0123456789abcdef"[size & 0xF];
        size >>= 4;
    } while (size > 0);
    out.append(at, text.end());
}

}  // namespace sluice
