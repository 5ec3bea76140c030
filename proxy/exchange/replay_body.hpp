// The body of a request, read again from its beginning for another attempt, as long as all of what was read could be kept.
// One worker thread; recycled with its Exchange.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proxy/ports/ports.hpp"

namespace sluice {

class ReplayBody final : public BodySource {
  public:
    ReplayBody() = default;
    ReplayBody(const ReplayBody&) = delete;

    /// `inner` is read at most once; what was read of it is kept while it is at most `most` bytes.
    void begin(BodySource& inner, std::size_t most);
    /// Another attempt reads from the beginning. Only while `replayable`.
    void rewind() { at_ = 0; }
    /// Is all that was read still here?
    bool replayable() const { return keeping_; }
    /// Reads on until the whole body is at hand in one piece (true), more than `most` bytes have come (false: it can still be sent once), or `limits` end it. To be called before the first attempt. Where the inner body fails, who reads this one gets what came, then that Failure: asked again, the inner one would have another.
    Task<Result<bool>> read_whole(const Limits& limits, Activity& activity);
    /// May a body of so many bytes be kept whole?
    bool would_keep(std::uint64_t size) const { return keeping_ && size <= most_; }
    /// Is the whole body at hand?
    bool whole() const { return ended_ && keeping_; }
    /// What is kept.
    std::string_view kept() const { return kept_; }
    /// Those of a body that was read to its end; null: none.
    const Fields* trailers() const { return trailers_; }
    /// Puts another body in its place: whole, without trailers.
    void replace(std::string body);
    /// For the next exchange; a body may hold what is secret.
    void clear();

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;
    void interrupt() override { if (inner_) inner_->interrupt(); }

    /// Bytes of bodies that one worker keeps, all its exchanges together; what comes beyond is passed on and not kept.
    static constexpr std::size_t most_of_all = 64 * 1024 * 1024;

    ~ReplayBody() { forget(); }

  private:
    bool has_room_for(std::size_t size) const;
    void forget();
    Result<Chunk> keep(Result<Chunk> got);
    std::optional<Chunk> again();

    BodySource* inner_ = nullptr;
    std::size_t most_ = 0;
    std::string kept_;
    std::size_t counted_ = 0;       // of `kept_`, in what this thread keeps of all
    std::size_t at_ = 0;            // how much of `kept_` this attempt has been given
    bool ended_ = false;            // the inner body has come to its end
    bool keeping_ = true;           // no more than `most_` has come
    const Fields* trailers_ = nullptr;
    std::optional<Failure> broken_; // how the inner body failed while it was read ahead
};

}  // namespace sluice
