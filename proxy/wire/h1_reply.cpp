#include "proxy/wire/h1_reply.hpp"

#include <string.h>  // explicit_bzero

namespace sluice {

void H1Reply::begin(std::string_view method, unsigned minor, bool keep_alive) {
    minor_ = minor;
    head_only_ = method == "HEAD";
    connect_ = method == "CONNECT";
    keep_alive_ = keep_alive;
    began_ = false;
}

// A vendor may have repeated in it what it was sent: nothing of that stays behind, not where the text had to grow either.
void H1Reply::stage_head(const ResponseHead& head, const Framing& framing, bool keep_alive, bool upgrade, bool bodiless, unsigned minor) {
    constexpr std::size_t of_ours = 512;   // the status, the framing, Connection
    scratch_.reserve(head.phrase.size() + head.fields.wire_size() + of_ours);
    append_response_head(scratch_, head, framing, keep_alive, upgrade, bodiless, minor);
    channel_.stream().stage(scratch_);
    explicit_bzero(scratch_.data(), scratch_.size());
    scratch_.clear();
}

Task<Result<void>> H1Reply::inform(const ResponseHead& head) {
    if (minor_ == 0) co_return Result<void>{};   // HTTP/1.0 knows no interim answers
    stage_head(head, {}, true, false, false, minor_);
    Activity activity{Loop::now()};
    const Limits limits{Timeouts{.idle = 10s}};
    co_return co_await push(channel_.stream(), Origin::application, {}, limits, activity);
}

Task<Result<void>> H1Reply::deliver(const ResponseHead& head, const Framing& framing, BodySource* body, const Limits& limits, Activity& activity) {
    // What goes bad before any of it has gone out can still become a status.
    std::optional<Chunk> first;
    if (body) {
        if (auto ready = body->next_ready()) {
            if (!ready->has_value()) co_return std::move(ready->error());
            first = **ready;
        }
    }
    Framing out = framing;
    const bool bodiless = head_only_ || head.status == 304;
    if (body && framing.kind != Framing::Kind::length) out.kind = minor_ == 0 ? Framing::Kind::until_close : Framing::Kind::chunked;
    // A request whose body is still on its way leaves the connection in no state for another.
    if (out.kind == Framing::Kind::until_close || !channel_.body_done() || draining_) keep_alive_ = false;

    Stream& stream = channel_.stream();
    stage_head(head, out, keep_alive_, false, bodiless, minor_);
    began_ = true;
    const bool whole = !body || (first && first->last);   // most answers come in one piece
    if (body && whole) stage_chunk(stream, out, *first);
    if (!whole) {
        bool unsent = false;
        Result<void> done = co_await pump(stream, Origin::application, *body, out, limits, activity, first ? &*first : nullptr, nullptr, &unsent);
        if (unsent) began_ = false;
        co_return done;
    }
    co_await stream.sealed();
    if (stream.try_flush().kind == Io::Kind::some) {
        activity.last = Loop::now();
        co_return Result<void>{};
    }
    co_return co_await push(stream, Origin::application, {}, limits, activity);
}

Task<Result<void>> H1Reply::deliver_stream(const ResponseHead& head, BodySource& body, const Limits& limits, Activity& activity) {
    keep_alive_ = false;
    stage_head(head, {}, true, !connect_, false, 1);
    began_ = true;
    Stream& stream = channel_.stream();
    Result<void> done = co_await pump(stream, Origin::application, body, {Framing::Kind::until_close, 0}, limits, activity);
    if (done) stream.end_writing();
    co_return done;
}

}  // namespace sluice
