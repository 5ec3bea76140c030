#include "proxy/credentials/aws_chunked.hpp"

#include <algorithm>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

namespace {

constexpr std::string_view extension = ";chunk-signature=";
constexpr std::string_view trailer_signature = "x-amz-trailer-signature";
constexpr std::size_t signature_size = 64;
constexpr std::size_t most_digits = 16;
constexpr std::size_t most_head_bytes = most_digits + extension.size() + signature_size + 2;
constexpr std::size_t most_trailer_bytes = 8192, most_trailers = 32;

bool is_signature(std::string_view text) {
    return text.size() == signature_size &&
           std::all_of(text.begin(), text.end(), [](char c) { return hex_value(c) >= 0; });
}

}  // namespace

Result<void> AwsChunkedResigner::push(std::string_view bytes) {
    const std::size_t size = bytes.size();
    const std::uint64_t before = at_;
    if (state_ == State::failed) return fault(failed_);
    while (!bytes.empty()) {
        const std::string wrong = take(bytes);
        at_ = before + (size - bytes.size());
        if (!wrong.empty()) return fault(wrong);
    }
    return {};
}

std::string AwsChunkedResigner::take(std::string_view& bytes) {
    switch (state_) {
    case State::data: return take_data(bytes);
    case State::head: return take_line(bytes, most_head_bytes);
    case State::data_end:
    case State::last:
    case State::trailer_lf: return take_line(bytes, 2);
    case State::trailer: return take_line(bytes, most_trailer_bytes - trailer_bytes_);
    case State::done: return "something after its end";
    case State::failed: break;
    }
    return failed_;
}

std::string AwsChunkedResigner::take_data(std::string_view& bytes) {
    const std::string_view data = bytes.substr(0, left_);
    out_ += data;
    data_.add(data);
    left_ -= data.size();
    bytes.remove_prefix(data.size());
    if (left_ > 0) return "";
    sign_chunk();
    begin_line(State::data_end);
    return "";
}

std::string AwsChunkedResigner::take_line(std::string_view& bytes, std::size_t most) {
    const std::size_t room = most - std::min(most, out_.size() - line_);
    const std::size_t end = bytes.substr(0, room).find('\n');
    const std::size_t size = end == bytes.npos ? std::min(room, bytes.size()) : end + 1;
    out_ += bytes.substr(0, size);
    bytes.remove_prefix(size);
    if (end != bytes.npos) return end_of_line();
    if (size < room) return "";
    if (state_ == State::trailer) return "trailers of more than 8 KiB";
    return state_ == State::head ? "a chunk's first line that is too long"
                                 : "something other than CRLF where one is due";
}

std::string AwsChunkedResigner::end_of_line() {
    std::string_view line = std::string_view(out_).substr(line_);
    line.remove_suffix(1);
    const bool crlf = line.ends_with('\r');
    if (crlf) line.remove_suffix(1);
    // minio-go ends a trailer with LF and then CRLF, and S3 takes it.
    if (!crlf && (state_ != State::trailer || line.empty())) return "a bare LF";
    switch (state_) {
    case State::head: return end_of_head(line);
    case State::data_end:
        if (!line.empty()) return "something other than CRLF after a chunk's data";
        ++chunk_;
        sealed_ = out_.size();
        begin_line(State::head);
        return "";
    case State::last:
        if (!line.empty()) return "something other than CRLF after the last chunk";
        sealed_ = out_.size();
        state_ = State::done;
        return "";
    case State::trailer: {
        const std::string wrong = end_of_trailer(line);
        if (crlf || !wrong.empty()) return wrong;
        if (state_ != State::trailer) return "a bare LF after the trailer's signature";
        begin_line(State::trailer_lf);
        return "";
    }
    case State::trailer_lf:
        if (!line.empty()) return "a bare LF in the trailers";
        begin_line(State::trailer);
        return "";
    case State::data:
    case State::done:
    case State::failed: break;  // no line is read there
    }
    return "";
}

std::string AwsChunkedResigner::end_of_head(std::string_view line) {
    const std::string_view digits = line.substr(0, line.find(';'));
    if (digits.empty() || digits.size() > most_digits) return "a chunk size that is no hexadecimal number";
    std::uint64_t size = 0;
    for (const char c : digits) {
        if (hex_value(c) < 0) return "a chunk size that is no hexadecimal number";
        size = size << 4 | static_cast<unsigned>(hex_value(c));
    }
    const std::string_view rest = line.substr(digits.size());
    if (!rest.starts_with(extension)) return "a chunk without chunk-signature";
    if (!is_signature(rest.substr(extension.size()))) return "a chunk-signature that is not 64 hexadecimal digits";
    if (size > most_chunk_bytes) {
        return "a chunk of " + std::to_string(size) + " bytes, of which at most 1 MiB can be signed anew: " +
               "let the application send smaller chunks, or UNSIGNED-PAYLOAD";
    }
    signature_ = line_ + digits.size() + extension.size();
    left_ = static_cast<std::size_t>(size);
    if (left_ > 0) {
        state_ = State::data;
        return "";
    }
    sign_chunk();
    sealed_ = out_.size();
    begin_line(signed_trailer_ ? State::trailer : State::last);
    return "";
}

std::string AwsChunkedResigner::end_of_trailer(std::string_view line) {
    trailer_bytes_ += out_.size() - line_;
    const std::size_t colon = line.find(':');
    if (line.empty()) return "trailers without x-amz-trailer-signature";
    if (colon == line.npos || !is_token(line.substr(0, colon))) return "a trailer without a name";
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (!is_field_value(value)) return "a control character in a trailer";
    std::string name = to_lower(line.substr(0, colon));
    if (name == trailer_signature) return end_of_trailer_signature(line.substr(colon + 1));
    const auto same = [&name](const auto& other) { return other.first == name; };
    if (std::any_of(trailers_.begin(), trailers_.end(), same)) return "the trailer " + name + " twice";
    if (trailers_.size() == most_trailers) return "more than 32 trailers";
    trailers_.emplace_back(std::move(name), value);
    begin_line(State::trailer);
    return "";
}

std::string AwsChunkedResigner::end_of_trailer_signature(std::string_view value) {
    if (!is_signature(value)) return "an x-amz-trailer-signature that is not 64 hexadecimal digits";
    signature_ = static_cast<std::size_t>(value.data() - out_.data());
    std::sort(trailers_.begin(), trailers_.end());
    std::string canonical;
    for (const auto& [name, text] : trailers_) canonical.append(name).append(":").append(text).append("\n");
    std::string to_sign = "AWS4-HMAC-SHA256-TRAILER\n";
    to_sign.append(seed_.time).append("\n").append(seed_.scope).append("\n").append(seed_.signature).append("\n");
    append_hex(to_sign, hash_of(HashAlgorithm::sha256, canonical).bytes());
    put_signature(to_sign);
    begin_line(State::last);
    return "";
}

void AwsChunkedResigner::sign_chunk() {
    std::string to_sign = "AWS4-HMAC-SHA256-PAYLOAD\n";
    to_sign.append(seed_.time).append("\n").append(seed_.scope).append("\n").append(seed_.signature).append("\n");
    to_sign.append(empty_sha256).append("\n");
    append_hex(to_sign, data_.finish().bytes());
    put_signature(to_sign);
}

void AwsChunkedResigner::put_signature(const std::string& to_sign) {
    seed_.signature = to_hex(hmac(HashAlgorithm::sha256, seed_.key.bytes(), to_sign).bytes());
    out_.replace(signature_, signature_size, seed_.signature);
}

void AwsChunkedResigner::begin_line(State state) {
    state_ = state;
    line_ = out_.size();
}

void AwsChunkedResigner::consume(std::size_t size) {
    given_ += std::min(size, sealed_ - given_);
    // What was sent is let go of once it is all that was ready, or most of what there is: each byte is moved once.
    if (given_ == 0 || (given_ < sealed_ && given_ < out_.size() / 2)) return;
    out_.erase(0, given_);
    sealed_ -= given_;
    line_ -= std::min(line_, given_);
    signature_ -= std::min(signature_, given_);
    given_ = 0;
}

Result<void> AwsChunkedResigner::finish() {
    if (state_ == State::done) return {};
    return fault(state_ == State::failed ? failed_ : "its end, where more is due");
}

Failure AwsChunkedResigner::fault(std::string_view what) {
    if (state_ != State::failed) {
        failed_ = "in the aws-chunked body, chunk " + std::to_string(chunk_) + ", before byte " + std::to_string(at_) +
                  ": " + std::string(what);
        state_ = State::failed;
    }
    return {Origin::application, Reason::bad_request, Replay::unsafe, failed_};
}

}  // namespace sluice
