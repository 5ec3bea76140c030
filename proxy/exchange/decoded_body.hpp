// The body of an answer without its content codings, so that it can be searched. One worker thread; lives in its Exchange.
#pragma once

#include <memory>
#include <vector>

#include "proxy/http/content_coding.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// Decodes as it is pulled: what can be made of the bytes at hand is given at once (an event of a flushed stream), and never more than a window, so that
/// a bomb costs the application only what it reads. Bytes that are no such coding, or end before it does, are a Failure (upstream_protocol). Memory: the
/// window, 16 KiB for each further coding, and what `Decoder` says.
class DecodedBody final : public BodySource {
  public:
    static constexpr std::size_t window = 64 * 1024;

    /// With `codings_of` the answer's head; at least one.
    void begin(BodySource& inner, const Codings& codings);
    /// Gives the memory back.
    void end();

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;
    void interrupt() override { inner_->interrupt(); }

  private:
    /// One coding, and what is decoded of it but not yet taken.
    struct Stage {
        Coding coding;
        Decoder decoder;
        std::unique_ptr<char[]> out;
        std::size_t room;
        std::size_t begin = 0, end = 0;

        std::string_view unread() const { return {out.get() + begin, end - begin}; }
    };

    void take(const Chunk& piece);
    void advance();
    bool advance_stage(std::size_t i);
    void judge_end();
    std::optional<Result<Chunk>> at_hand();

    BodySource* inner_ = nullptr;
    std::vector<Stage> stages_;       // the coding that was applied last first
    std::string_view in_;             // of the inner's latest piece: what is not used yet
    bool last_ = false;               // it was the last
    const Fields* trailers_ = nullptr;
    std::uint64_t made_ = 0;          // decoded bytes
    std::uint64_t between_ = 0;       // bytes from one coding to the next
    bool over_ = false;
    std::optional<Failure> failure_;
};

}  // namespace sluice
