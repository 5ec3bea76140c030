// An aws-chunked body of the application, its chunks signed anew on their way. One worker thread; lives in its Exchange.
#pragma once

#include <optional>

#include "proxy/credentials/aws_chunked.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

class ResignedBody final : public BodySource {
  public:
    /// `seed`: what signed the head that goes before it.
    void begin(BodySource& inner, AwsSigned seed, bool signed_trailer);
    void clear() { signer_.reset(); }

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;
    void interrupt() override { inner_->interrupt(); }

  private:
    std::optional<Result<Chunk>> signed_so_far();
    std::optional<Failure> take(const Result<Chunk>& got);

    BodySource* inner_ = nullptr;
    std::optional<AwsChunkedResigner> signer_;
    std::size_t given_ = 0;             // of what is signed: the view that was given out last
    bool ended_ = false;                // the application's body
    const Fields* trailers_ = nullptr;
};

}  // namespace sluice
