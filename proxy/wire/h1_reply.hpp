// Answers to an application over HTTP/1.1: heads written anew, bodies in the framing that this application understands.
#pragma once

#include "proxy/wire/h1.hpp"

namespace sluice {

class H1Reply final : public ReplySink {
  public:
    /// `draining` and `stopped` outlive the reply: the worker takes no further requests; this connection is about to be cut.
    H1Reply(H1Channel& channel, const bool& draining, const bool& stopped) : channel_(channel), draining_(draining), stopped_(stopped) {}

    /// For the next request. `keep_alive`: as far as the request goes.
    void begin(std::string_view method, unsigned minor, bool keep_alive);
    /// May another request follow on the connection, now that the answer is out?
    bool keep_alive() const { return keep_alive_; }

    Task<Result<void>> inform(const ResponseHead& head) override;
    Task<Result<void>> deliver(const ResponseHead& head, const Framing& framing, BodySource* body, const Limits& limits, Activity& activity) override;
    Task<Result<void>> deliver_stream(const ResponseHead& head, BodySource& body, const Limits& limits, Activity& activity) override;
    bool began() const override { return began_; }
    bool stopped() const override { return stopped_; }
    TimePoint left_at() const override { return channel_.open() ? channel_.stream().socket().ended_at() : never; }

  private:
    void stage_head(const ResponseHead& head, const Framing& framing, bool keep_alive, bool upgrade, bool bodiless, unsigned minor);

    H1Channel& channel_;
    const bool& draining_;
    const bool& stopped_;
    std::string scratch_;
    unsigned minor_ = 1;
    bool head_only_ = false, connect_ = false;
    bool keep_alive_ = true;
    bool began_ = false;
};

}  // namespace sluice
