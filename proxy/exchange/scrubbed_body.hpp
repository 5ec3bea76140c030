// The body of an answer without the secrets that its request was given. One worker thread; lives in its Exchange.
#pragma once

#include <memory>

#include "proxy/credentials/scrub.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// Masks what is found. What comes goes on at once, but for an end of such characters as secrets are made of: that waits until more has come, whether it agrees
/// with one or not. In which pieces it goes on says nothing of the secret (`Scrubber`). Trailers are searched too.
class ScrubbedBody final : public BodySource {
  public:
    void begin(BodySource& inner, std::shared_ptr<const Needles> needles);
    /// Wipes what is left, and lets go of the needles.
    void end();
    /// How many were masked of the body at hand.
    std::uint64_t finds() const { return scrubber_.finds() + in_trailers_; }

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;
    void interrupt() override { inner_->interrupt(); }

  private:
    std::optional<Chunk> pass(const Chunk& piece);
    std::optional<Chunk> take_second();

    BodySource* inner_ = nullptr;
    std::shared_ptr<const Needles> needles_;
    Scrubber scrubber_;
    std::optional<Chunk> second_;   // goes out next, after what was held back
    Fields trailers_;
    unsigned in_trailers_ = 0;
};

}  // namespace sluice
