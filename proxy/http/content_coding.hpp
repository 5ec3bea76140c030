// Content codings (RFC 9110 8.4): which a head names, how their bytes are decoded, and what a head says once they are. Pure; a Decoder belongs to one
// body on one thread.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/http/head.hpp"

namespace sluice {

enum class Coding : unsigned char { gzip, deflate, br, zstd };
std::string_view name_of(Coding coding);

/// In the order in which they were applied; identity is none.
struct Codings {
    static constexpr std::size_t most = 3;
    std::array<Coding, most> applied{};
    std::size_t count = 0;
};

/// Those of an answer's `Content-Encoding` lines. Nothing: one is unknown, they are more than three, or the answer is part of something (206), whose bytes
/// cannot be decoded without the rest.
std::optional<Codings> codings_of(const ResponseHead& head);

/// What is delivered is the decoded body: removes Content-Encoding, Content-Length, digests and Accept-Ranges, which are about other bytes, and weakens a
/// strong ETag (RFC 9110 8.8.1). For answers without a body (HEAD, 304) too, so that they say the same.
void prepare_decoded_head(ResponseHead& head);

/// Undoes one coding, as far as the bytes at hand go. Memory: 48 KiB for gzip and deflate, up to 16 MiB for br and 8 MiB (RFC 9659) for zstd, as the
/// body's own window asks.
class Decoder {
  public:
    explicit Decoder(Coding coding);
    Decoder(Decoder&&) noexcept;
    Decoder& operator=(Decoder&&) noexcept;
    ~Decoder();

    struct Step {
        std::size_t used = 0;            // of `in`
        std::size_t made = 0;            // into `room`
        const char* fault = nullptr;     // in a few words; nothing can be decoded any more
    };
    /// Where `room`, which must not be empty, is not filled, all of `in` was used and there is nothing more without further input.
    /// What stands after the end is another gzip member or zstd frame, or is left out, as browsers do.
    Step decode(std::string_view in, std::span<char> room);
    /// May the body end here? Yes, too, before its first byte: an empty body is often said to be coded.
    bool at_end() const;

  private:
    struct Engine;
    std::unique_ptr<Engine> engine_;
    bool begun_ = false, more_ = false;
};

}  // namespace sluice
