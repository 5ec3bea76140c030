#include "proxy/wire/h1.hpp"

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "proxy/exchange/pull.hpp"
#include "proxy/wire/h1_head.hpp"

namespace sluice {

// ---- input ---------------------------------------------------------------------------------------------------------

std::span<char> InputBuffer::room(Loop& loop, std::size_t limit) {
    if (!data_) {
        block_ = loop.blocks.take();
        data_ = block_->bytes.get();
        capacity_ = Block::size;
    }
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == capacity_ && begin_ > 0) {
        std::memmove(data_, data_ + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    if (end_ == capacity_ && capacity_ < limit) {
        std::unique_ptr<char[]> larger = std::make_unique_for_overwrite<char[]>(limit);
        std::memcpy(larger.get(), data_, end_);
        wipe();
        loop.blocks.give(std::move(block_));
        bulk_.reset();
        large_ = std::move(larger);
        data_ = large_.get();
        capacity_ = limit;
        written_ = end_;
    }
    return {data_ + end_, capacity_ - end_};
}

void InputBuffer::wipe() {
    const std::size_t written = std::exchange(written_, 0);
    if (written == 0) return;
    if (bulk_)
        bulk_.get_deleter().used = std::max(bulk_.get_deleter().used, written);
    else
        explicit_bzero(data_, written);
}

void InputBuffer::release(Loop& loop) {
    wipe();
    if (block_) loop.blocks.give(std::move(block_));
    large_.reset();
    bulk_.reset();
    data_ = nullptr;
    capacity_ = begin_ = end_ = 0;
}

void InputBuffer::finish(Loop& loop) {
    release(loop);
    if (unwiped_) std::exchange(unwiped_, nullptr)->wipe_of(this);
}

InputBuffer::~InputBuffer() {
    wipe();
    bulk_.reset();
    if (unwiped_) unwiped_->wipe_of(this);
}

void InputBuffer::widen(Loop& loop) {
    if (bulk_ || large_ || loop.blocks.wipes()) return;   // what is secret is small
    BulkPool::Buffer wider = loop.bulk.take(this);
    if (!wider) return;
    release(loop);
    bulk_ = std::move(wider);
    unwiped_ = &loop.bulk;
    data_ = bulk_.get();
    capacity_ = BulkPool::size;
}

// ---- heads ---------------------------------------------------------------------------------------------------------

Failure H1Channel::invalid(std::string detail) const {
    if (side_ == Origin::application) return {Origin::application, Reason::bad_request, Replay::unsafe, std::move(detail)};
    return {Origin::vendor, Reason::upstream_protocol, Replay::unsafe, std::move(detail)};
}

Failure H1Channel::ended(const Io& io, std::string_view where) const {
    if (side_ == Origin::application) {
        Failure gone = Failure::application_gone();
        gone.cause = io.error;
        return gone;
    }
    std::string detail = "the vendor closed the connection ";
    detail += where;
    if (io.error) detail += ": " + io.error.message();
    return {Origin::vendor, Reason::upstream_reset, Replay::unsafe, std::move(detail), io.error};
}

Io H1Channel::receive(std::size_t limit) {
    const std::span<char> room = input_.room(stream_->loop(), limit);
    if (room.empty()) return {Io::Kind::failed, 0, std::make_error_code(std::errc::message_size)};
    const Io io = stream_->read(room);
    if (io.kind == Io::Kind::some) {
        input_.filled(io.size);
        filled_room_ = io.size == room.size();
        if (activity_) activity_->last = Loop::now();
    }
    return io;
}

Task<H1Channel::Got> H1Channel::await_message(TimePoint deadline) {
    for (;;) {
        if (!input_.empty()) co_return Got::head;
        const Io io = receive(Block::size);
        if (io.kind == Io::Kind::some) co_return Got::head;
        if (io.kind != Io::Kind::blocked) co_return Got::closed;
        input_.release(stream_->loop());   // an idle connection holds no buffer
        const Wait waited = co_await stream_->readable(deadline);
        if (waited == Wait::timed_out) co_return Got::timed_out;
        if (waited == Wait::interrupted) co_return Got::interrupted;
    }
}

// As far as it comes without waiting. Nothing: more has to come in.
template <class Head>
std::optional<H1Channel::Got> H1Channel::look_for_head(Head& head, HeadReading& reading, Failure& fault) {
    constexpr bool is_request = std::is_same_v<Head, RequestHead>;
    for (;;) {
        std::string_view in = input_.view();
        if (is_request && !reading.empty_line_skipped && in.starts_with("\r\n")) {   // RFC 9112 2.2: one is forgiven
            input_.consume(2);
            reading.empty_line_skipped = true;
            in = input_.view();
        }
        if (!in.empty()) {
            HeadScan& scan = reading.scan;
            const char* wrong = in.front() == '\r' && in.size() == 1 && !reading.empty_line_skipped ? nullptr : judge_first_byte(in.front(), is_request);
            const bool whole = !wrong && scan.look(in.substr(0, max_head));
            if (!wrong) wrong = scan.fault;
            if (!wrong && whole) {
                if (auto bad = parse_head(in.substr(0, scan.end), head)) {
                    fault = invalid(std::move(bad->detail));
                    if (is_request && bad->too_large) fault.reason = Reason::head_too_large;
                    return Got::failed;
                }
                input_.consume(scan.end);
                return Got::head;
            }
            if (!wrong && in.size() >= max_head) {
                fault = invalid("the head is larger than " + std::to_string(max_head / 1024) + " KiB");
                if (is_request) fault.reason = Reason::head_too_large;
                return Got::failed;
            }
            if (wrong) {
                fault = invalid(wrong);
                return Got::failed;
            }
        }
        const Io io = receive(max_head + 2);
        if (io.kind == Io::Kind::some) continue;
        if (io.kind == Io::Kind::blocked) return {};
        if (input_.empty() && io.kind == Io::Kind::eof) return Got::closed;
        fault = ended(io, input_.empty() ? "before it had answered" : "in the middle of the head");
        return input_.empty() ? Got::closed : Got::failed;
    }
}

template <class Head>
Task<H1Channel::Got> H1Channel::read_any_head(Head& head, TimePoint deadline, Failure& fault) {
    HeadReading reading;
    for (;;) {
        if (const auto got = look_for_head(head, reading, fault)) co_return *got;
        const Wait waited = co_await stream_->readable(deadline);
        if (waited == Wait::timed_out) co_return Got::timed_out;
        if (waited == Wait::interrupted) co_return Got::interrupted;
    }
}

std::optional<H1Channel::Got> H1Channel::head_at_hand(RequestHead& head, Failure& fault) {
    HeadReading reading;
    return look_for_head(head, reading, fault);
}
Task<H1Channel::Got> H1Channel::read_head(RequestHead& head, TimePoint deadline, Failure& fault) {
    return read_any_head(head, deadline, fault);
}
Task<H1Channel::Got> H1Channel::read_head(ResponseHead& head, TimePoint deadline, Failure& fault) {
    return read_any_head(head, deadline, fault);
}

// ---- bodies --------------------------------------------------------------------------------------------------------

void H1Channel::start_body(const Framing& framing, std::uint64_t* counter, Activity* activity, const Fields* head) {
    counter_ = counter;
    activity_ = activity;
    why_ = nullptr;
    ahead_.reset();
    left_ = framing.length;
    switch (framing.kind) {
    case Framing::Kind::none: body_ = Body::done; return;
    case Framing::Kind::length: body_ = left_ > 0 ? Body::length : Body::done; return;
    case Framing::Kind::chunked:
        trailers_.clear();
        nominated_.clear();
        for (std::size_t i = 0; head && i < head->size(); ++i) {
            const Field field = (*head)[i];
            if (field.known == Known::connection) nominated_.append(field.value).append(",");
        }
        decoder_.start(&trailers_);
        body_ = Body::chunked;
        return;
    case Framing::Kind::until_close: body_ = Body::until_close; return;
    }
}

std::optional<Result<Chunk>> H1Channel::take() {
    switch (body_) {
    case Body::done: return Chunk{{}, true, nullptr};
    case Body::failed: return invalid("the body could not be read");
    case Body::length: {
        if (input_.empty()) return {};
        const std::string_view data = input_.view().substr(0, left_);
        left_ -= data.size();
        if (left_ == 0) body_ = Body::done;
        input_.consume(data.size());
        *counter_ += data.size();
        return Chunk{data, left_ == 0, nullptr};
    }
    case Body::chunked:
        while (!input_.empty()) {
            const ChunkedDecoder::Step step = decoder_.decode(input_.view());
            if (step.fault) {
                body_ = Body::failed;
                return invalid(step.fault);
            }
            input_.consume(step.used);
            *counter_ += step.data.size();
            if (step.done) {
                body_ = Body::done;
                if (!trailers_.empty()) trailers_.remove_nominated(nominated_);
                return Chunk{step.data, true, trailers_.empty() ? nullptr : &trailers_};
            }
            if (!step.data.empty()) return Chunk{step.data, false, nullptr};
            if (step.used == 0) break;
        }
        return {};
    case Body::until_close: {
        if (input_.empty()) return {};
        const std::string_view data = input_.view();
        input_.consume(data.size());
        *counter_ += data.size();
        return Chunk{data, false, nullptr};
    }
    }
    return {};
}

std::optional<Failure> H1Channel::look_at_body() {
    std::uint64_t uncounted = 0;   // it may yet be nobody's
    std::uint64_t* const counter = std::exchange(counter_, &uncounted);
    ahead_ = next_ready();
    counter_ = counter;
    if (!ahead_) return {};
    // Pieces that came together are judged together, or the first one would be worth an attempt.
    if (const char* fault = ahead_->has_value() && body_ == Body::chunked ? decoder_.fault_in(input_.view()) : nullptr) {
        body_ = Body::failed;
        ahead_ = invalid(fault);
    }
    if (ahead_->has_value() || ahead_->error().gone) return {};
    return ahead_->error();
}

std::optional<Result<Chunk>> H1Channel::next_ready() {
    if (ahead_) {
        std::optional<Result<Chunk>> first = std::exchange(ahead_, std::nullopt);
        if (first->has_value()) *counter_ += (*first)->data.size();
        return first;
    }
    for (;;) {
        if (auto chunk = take()) return chunk;
        if (filled_room_ && input_.empty() && !stream_->encrypted()) input_.widen(stream_->loop());
        const Io io = receive(Block::size);
        switch (io.kind) {
        case Io::Kind::some: continue;
        case Io::Kind::blocked: return {};
        case Io::Kind::eof:
            if (body_ == Body::until_close) {
                body_ = Body::done;
                return Chunk{{}, true, nullptr};
            }
            [[fallthrough]];
        case Io::Kind::failed:
            body_ = Body::failed;
            return ended(io, "in the middle of the body");
        }
    }
}

Task<Result<Chunk>> H1Channel::next(TimePoint deadline) {
    for (;;) {
        if (auto chunk = next_ready()) co_return std::move(*chunk);
        if (why_) co_return *why_;
        if (input_.empty()) input_.release(stream_->loop());   // however long the next byte takes
        const Wait waited = co_await stream_->readable(deadline);
        if (waited == Wait::timed_out) co_return Failure{side_, Reason::timeout_idle, Replay::unsafe, "no byte moved for too long"};
        if (waited == Wait::interrupted) co_return why_ ? *why_ : ended({Io::Kind::failed, 0, {}}, "(interrupted)");
    }
}

void H1Channel::rest() {
    if (open() && input_.empty()) input_.finish(stream_->loop());
    counter_ = nullptr;
    activity_ = nullptr;
}

void H1Channel::close(bool reset) {
    if (!open()) return;
    input_.finish(stream_->loop());
    stream_->close(reset);
}

// ---- writing -------------------------------------------------------------------------------------------------------

namespace {

void append_number(std::string& out, std::uint64_t number) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(digits, end);
}

void append_fields(std::string& out, const Fields& fields) {
    fields.append_to(out, [](Known known) { return known != Known::content_length && known != Known::transfer_encoding && known != Known::host; });
}

void append_framing(std::string& out, const Framing& framing) {
    switch (framing.kind) {
    case Framing::Kind::none:
    case Framing::Kind::until_close: return;
    case Framing::Kind::length:
        out.append("Content-Length: ");
        append_number(out, framing.length);
        out.append("\r\n");
        return;
    case Framing::Kind::chunked: out.append("Transfer-Encoding: chunked\r\n"); return;
    }
}

}  // namespace

void append_request_head(std::string& out, const RequestHead& head, std::string_view prefix, std::string_view host, const Framing& framing, bool upgrade) {
    out.append(head.method).append(" ").append(prefix);
    if (!prefix.empty() && head.target == "*") out.append("/");
    out.append(head.target).append(" HTTP/1.1\r\nHost: ").append(host).append("\r\n");
    append_fields(out, head.fields);
    append_framing(out, framing);
    if (upgrade) out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    out.append("\r\n");
}

void append_response_head(std::string& out, const ResponseHead& head, const Framing& framing, bool keep_alive, bool upgrade, bool bodiless, unsigned minor) {
    out.append("HTTP/1.1 ");
    append_number(out, head.status);
    out.append(" ").append(head.phrase).append("\r\n");
    append_fields(out, head.fields);
    if (bodiless) {
        if (const auto length = head.fields.find(Known::content_length)) out.append("Content-Length: ").append(*length).append("\r\n");
    } else {
        append_framing(out, framing);
    }
    if (upgrade) {
        out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if (!keep_alive) {
        out.append("Connection: close\r\n");
    } else if (minor == 0) {
        out.append("Connection: keep-alive\r\n");
    }
    out.append("\r\n");
}

Task<Result<void>> push(Stream& out, Origin sink_side, std::string_view bytes, const Limits& limits, Activity& activity) {
    for (;;) {
        const std::size_t before = out.staged() + bytes.size();
        const TimePoint until = std::min(later(activity.last, limits.timeout.idle), limits.total);
        std::error_code error;
        const Wait waited = co_await out.write(bytes, until, error);
        const TimePoint now = Loop::now();
        if (waited == Wait::ready) {
            activity.last = now;
            co_return Result<void>{};
        }
        if (waited == Wait::interrupted) {
            if (sink_side == Origin::application) co_return Failure::application_gone();
            co_return Failure{Origin::vendor, Reason::upstream_reset, Replay::unsafe, "the vendor closed the connection while the request was being sent: " + error.message(), error};
        }
        if (out.staged() + bytes.size() < before) activity.last = now;
        if (now >= limits.total) co_return Failure{sink_side, Reason::timeout_total, Replay::unsafe, "the exchange was not over within its total time"};
        if (now >= later(activity.last, limits.timeout.idle)) co_return Failure{sink_side, Reason::timeout_idle, Replay::unsafe, "no byte moved for too long"};
    }
}

namespace {

void stage_end(Stream& out, const Framing& framing, const Fields* trailers, const Fields* head) {
    if (framing.kind != Framing::Kind::chunked) return;
    if (!trailers) {
        out.stage("0\r\n\r\n");
        return;
    }
    std::string end = "0\r\n";
    Fields passed = *trailers;
    if (head) passed.remove_all_in(*head);
    passed.append_to(end);
    end += "\r\n";
    out.stage(end);
}

}  // namespace

void stage_chunk(Stream& out, const Framing& framing, const Chunk& chunk, const Fields* head) {
    const bool chunked = framing.kind == Framing::Kind::chunked;
    if (!chunk.data.empty()) {
        if (chunked) {
            std::string size;   // short: inside the object
            append_chunk_head(size, chunk.data.size());
            out.stage(size);
        }
        out.stage(chunk.data);
        if (chunked) out.stage("\r\n");
    }
    if (chunk.last) stage_end(out, framing, chunk.trailers, head);
}

Task<Result<void>> pump(Stream& out, Origin sink_side, BodySource& source, Framing framing, const Limits& limits, Activity& activity, const Chunk* held, const Fields* head, bool* unsent) {
    constexpr std::size_t worth_no_copy = 4096;
    std::optional<Result<Chunk>> chunk;
    if (held) chunk.emplace(*held);
    bool began = false;
    for (;;) {
        if (!chunk) chunk = source.next_ready();
        if (!chunk) {
            began = true;
            if (out.staged() > 0) {
                Result<void> flushed = co_await push(out, sink_side, {}, limits, activity);
                if (!flushed) co_return flushed;
            }
            Result<Chunk> pulled = co_await pull(source, limits, activity);
            chunk.emplace(std::move(pulled));
        }
        if (!chunk->has_value()) {
            const Failure why = chunk->error();
            const bool nothing_sent = unsent && !began;
            if (nothing_sent) *unsent = out.unstage();
            if (nothing_sent && (*unsent || sink_side == Origin::vendor)) co_return why;   // of such a request a vendor hears nothing, of such an answer there is a head in records already
            // What came just before the end may be the events that matter most; the cut after it shows that it is not all.
            if (out.staged() > 0) static_cast<void>(co_await push(out, sink_side, {}, limits, activity));
            co_return why;
        }
        const Chunk piece = **chunk;
        chunk.reset();
        if (!out.encrypted() && piece.data.size() >= worth_no_copy && framing.kind != Framing::Kind::chunked) {
            began = true;
            Result<void> pushed = co_await push(out, sink_side, piece.data, limits, activity);
            if (!pushed || piece.last) co_return pushed;
            continue;
        }
        stage_chunk(out, framing, piece, head);
        if (piece.last) {
            if (out.try_flush().kind == Io::Kind::some) {   // the common case, without a coroutine
                activity.last = Loop::now();
                co_return Result<void>{};
            }
            co_return co_await push(out, sink_side, {}, limits, activity);
        }
        if (out.staged() >= Stream::high_water) {
            began = true;
            Result<void> flushed = co_await push(out, sink_side, {}, limits, activity);
            if (!flushed) co_return flushed;
        }
    }
}

}  // namespace sluice
