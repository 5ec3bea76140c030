// HTTP/1.1 on one connection, either side of the proxy: strict heads in, bodies pulled, messages written anew. Heads are split and judged in proxy/http.
// One worker thread. At most one coroutine reads and one writes at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http/chunked.hpp"
#include "proxy/http/head.hpp"
#include "proxy/net/stream.hpp"
#include "proxy/ports/ports.hpp"
#include "proxy/wire/h1_head.hpp"

namespace sluice {

/// Received bytes that are not parsed yet: one pooled block, or a larger buffer while a head needs it or a body keeps coming. What was in it is wiped when it is given back: heads hold what applications log in
/// with, and answers what a vendor repeats. The larger ones of bodies are wiped once the body has ended (`finish`).
class InputBuffer {
  public:
    InputBuffer() = default;
    InputBuffer(const InputBuffer&) = delete;
    ~InputBuffer();

    std::string_view view() const { return {data_ + begin_, end_ - begin_}; }
    bool empty() const { return begin_ == end_; }
    void consume(std::size_t n) { begin_ += n; }
    /// Room for at least one byte, moving what is there to the front, or growing to `limit` bytes; empty: the limit is reached.
    std::span<char> room(Loop& loop, std::size_t limit);
    void filled(std::size_t n) {
        end_ += n;
        if (written_ < end_) written_ = end_;
    }
    /// Nothing is in it: the next reads may be larger, if a buffer for that is to be had.
    void widen(Loop& loop);
    /// Gives the block back; nothing may be in it.
    void release(Loop& loop);
    /// The same, where what came in has come to its end.
    void finish(Loop& loop);

  private:
    void wipe();

    std::unique_ptr<Block> block_;
    std::unique_ptr<char[]> large_;
    BulkPool::Buffer bulk_{nullptr, {nullptr}};
    BulkPool* unwiped_ = nullptr;   // something of ours may be in its buffers
    char* data_ = nullptr;
    std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
    std::size_t written_ = 0;   // from the first byte to the last that was ever filled
};

/// Both sides' common part: a stream, what was received of it, and the body that is being read.
class H1Channel final : public BodySource {
  public:
    static constexpr std::size_t max_head = 64 * 1024;
    static constexpr std::size_t max_fields = 100;

    explicit H1Channel(Origin side) : side_(side) {}

    Stream& stream() { return *stream_; }
    bool open() const { return stream_ && stream_->socket().open(); }
    void attach(std::unique_ptr<Stream> stream) { stream_ = std::move(stream); }
    InputBuffer& input() { return input_; }

    /// How reading a head came out.
    enum class Got : unsigned char { head, closed, timed_out, interrupted, failed };
    /// Reads the next head into `head`. `closed`: the peer ended the connection before its first byte. `failed`: `fault` says why (bad_request, head_too_large, or upstream_protocol and
    /// upstream_reset from a vendor). `timed_out` and `interrupted` may be followed by another call.
    Task<Got> read_head(RequestHead& head, TimePoint deadline, Failure& fault);
    /// The same without waiting, which nearly always does: a head comes in one piece. Nothing: go on with `read_head`.
    std::optional<Got> head_at_hand(RequestHead& head, Failure& fault);
    Task<Got> read_head(ResponseHead& head, TimePoint deadline, Failure& fault);
    /// Waits until the first byte of the next message is there.
    Task<Got> await_message(TimePoint deadline);
    bool has_input() const { return !input_.empty(); }

    /// The body that follows the head. `counter` counts its bytes. What `Connection` of the `head` nominates is no trailer either (RFC 9110 7.6.1): before `remove_hop_by_hop`.
    void start_body(const Framing& framing, std::uint64_t* counter, Activity* activity, const Fields* head = nullptr);
    /// Everything from here on, until the peer ends.
    void start_raw(std::uint64_t* counter, Activity* activity) { start_body({Framing::Kind::until_close, 0}, counter, activity); }
    /// Has the body been read to its end?
    bool body_done() const { return body_ == Body::done; }
    /// Reads the first piece of the body, if it is at hand, and keeps it for whoever pulls: what is wrong with it, or with what came in together with it. A peer that is gone is no news yet.
    std::optional<Failure> look_at_body();

    std::optional<Result<Chunk>> next_ready() override;
    Task<Result<Chunk>> next(TimePoint deadline) override;

    /// Whoever waits in `next` or `read_head` is woken: a Failure, Got::interrupted.
    void interrupt() override {
        if (open()) stream_->socket().interrupt_reader();
    }

    /// The same, and it is told `why` instead, now or when it next has to wait. `why` outlives the body.
    void interrupt(const Failure& why) {
        why_ = &why;
        interrupt();
    }

    /// Gives buffers back while nothing is under way.
    void rest();
    void close(bool reset = false);

  private:
    enum class Body : unsigned char { done, length, chunked, until_close, failed };
    struct HeadReading {
        HeadScan scan;
        bool empty_line_skipped = false;
    };
    template <class Head>
    std::optional<Got> look_for_head(Head& head, HeadReading& reading, Failure& fault);
    template <class Head>
    Task<Got> read_any_head(Head& head, TimePoint deadline, Failure& fault);
    Failure invalid(std::string detail) const;
    Failure ended(const Io& io, std::string_view where) const;
    std::optional<Result<Chunk>> take();   // of what is in the buffer
    Io receive(std::size_t limit);

    bool filled_room_ = false;   // the last read did: more is there already
    Origin side_;
    std::unique_ptr<Stream> stream_;
    InputBuffer input_;
    Body body_ = Body::done;
    std::uint64_t left_ = 0;
    std::uint64_t* counter_ = nullptr;
    Activity* activity_ = nullptr;
    const Failure* why_ = nullptr;   // of the body's interruption
    std::optional<Result<Chunk>> ahead_;   // read by `look_at_body`, pulled by nobody yet
    ChunkedDecoder decoder_;
    Fields trailers_;
    std::string nominated_;
};

/// Appends the start line, the fields (Content-Length and Transfer-Encoding as `framing` says, whatever stood there) and the empty line. `host` goes first.
void append_request_head(std::string& out, const RequestHead& head, std::string_view prefix, std::string_view host, const Framing& framing, bool upgrade);
/// `keep_alive` false: with "Connection: close". `bodiless`: an answer to HEAD or a 304, whose Content-Length is passed on.
void append_response_head(std::string& out, const ResponseHead& head, const Framing& framing, bool keep_alive, bool upgrade, bool bodiless, unsigned minor);

/// Stages one chunk of a body in its frame, and the end of the body after the last one. A trailer named like a field of the `head` is left out: it would stand beside a credential, or what a credential signs.
void stage_chunk(Stream& out, const Framing& framing, const Chunk& chunk, const Fields* head = nullptr);

/// Sends what is staged, and `bytes` after it. A peer that takes bytes slowly is not idle.
Task<Result<void>> push(Stream& out, Origin sink_side, std::string_view bytes, const Limits& limits, Activity& activity);

/// Pulls `source` to its end into `out`, framed, flushing whenever the source has nothing at hand or enough is staged. A Failure is the source's own, or of `sink_side` when writing failed; timeouts are
/// timeout_idle and timeout_total. Where the source fails what came of it before goes out first, without an end: whoever called cuts the connection. `held`: a first chunk that was already pulled. `head`: as for
/// `stage_chunk`. `unsent` tells that the source failed before a byte had gone out; nothing is staged any more then.
Task<Result<void>> pump(Stream& out, Origin sink_side, BodySource& source, Framing framing, const Limits& limits, Activity& activity, const Chunk* held = nullptr, const Fields* head = nullptr, bool* unsent = nullptr);

}  // namespace sluice
