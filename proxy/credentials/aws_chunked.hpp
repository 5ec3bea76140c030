// A signed aws-chunked body ("Signature Calculations for the Authorization Header: Transferring Payload in Multiple
// Chunks", and "... Including Trailing Headers", Amazon S3 API Reference), signed anew as it streams:
//
//     10000;chunk-signature=<64 hex>\r\n <data> \r\n ... 0;chunk-signature=<64 hex>\r\n
//     [x-amz-checksum-crc32c:<value>\r\n x-amz-trailer-signature:<64 hex>\r\n] \r\n
//
// Every byte stays where it is but those of the signatures, so that Content-Length holds. The application's signatures
// are made with dummy keys and are not looked at. A chunk's signature stands before its data, so one chunk is kept at a
// time. Pure; called by whoever moves the body, on its thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/result.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/credentials/sigv4.hpp"

namespace sluice {

class AwsChunkedResigner {
  public:
    /// A larger chunk is a fault. The SDKs send 64 to 128 KiB.
    static constexpr std::size_t most_chunk_bytes = std::size_t(1) << 20;

    /// `seed` is what sign_aws gave for the head; `signed_trailer` of AwsPayload::Kind::streaming_signed_trailer.
    AwsChunkedResigner(AwsSigned seed, bool signed_trailer) : seed_(std::move(seed)), signed_trailer_(signed_trailer) {}

    /// Takes all of `bytes`. Fails (origin application, bad_request) where the framing is not as above, saying which
    /// chunk and at which byte of the body; from then on always.
    Result<void> push(std::string_view bytes);
    /// What can be sent. Valid until the next call. What is kept besides is less than a chunk and its framing.
    std::string_view ready() const { return {out_.data() + given_, sealed_ - given_}; }
    /// The first `size` bytes of `ready` have been sent.
    void consume(std::size_t size);
    /// The application's body is over: fails where it ends too early.
    Result<void> finish();

    /// Is the last byte of the body here? Nothing may come after it.
    bool done() const { return state_ == State::done; }

  private:
    enum class State : unsigned char { head, data, data_end, last, trailer, trailer_lf, done, failed };

    // Each takes what it can of `bytes`, and returns what is wrong with it, or "".
    std::string take(std::string_view& bytes);
    std::string take_data(std::string_view& bytes);
    std::string take_line(std::string_view& bytes, std::size_t most);
    // Each judges the line that begins at `line_` and is complete.
    std::string end_of_line();
    std::string end_of_head(std::string_view line);
    std::string end_of_trailer(std::string_view line);
    std::string end_of_trailer_signature(std::string_view value);

    void sign_chunk();
    void put_signature(const std::string& to_sign);
    void begin_line(State state);
    Failure fault(std::string_view what);

    AwsSigned seed_;  // `signature` is always the one before
    bool signed_trailer_;
    State state_ = State::head;
    std::string out_;  // [given_, sealed_) is signed
    std::size_t given_ = 0;
    std::size_t sealed_ = 0;
    std::size_t line_ = 0;       // where the line that is being read begins
    std::size_t signature_ = 0;  // where the signature of the chunk stands
    std::size_t left_ = 0;       // of the chunk's data
    Hash data_;
    std::vector<std::pair<std::string, std::string>> trailers_;
    std::size_t trailer_bytes_ = 0;
    std::uint64_t chunk_ = 1, at_ = 0;  // for people: which chunk, how many bytes of the body came before
    std::string failed_;
};

}  // namespace sluice
