#include "proxy/wire/transport.hpp"

#include <openssl/err.h>

#include "certs/client_certificate.hpp"
#include "certs/pem.hpp"
#include "proxy/base/text.hpp"
#include "proxy/policy/stream_timeouts.hpp"

namespace sluice {

namespace {

constexpr unsigned max_interim_answers = 32;

std::size_t most_of_a_head(const RequestHead& head, const std::string& prefix) {
    constexpr std::size_t of_ours = 512;   // Host, the framing, Connection
    return head.method.size() + prefix.size() + head.target.size() + head.fields.wire_size() + of_ours;
}

// An event stream is never over; only a `total` that was written bounds it.
void loosen_for_streams(RoundTrip& trip) {
    if (!trip.limits.timeout.total_written) trip.limits.total = never;
}

bool is_event_stream(const ResponseHead& head) {
    const auto type = head.fields.find(Known::content_type);
    constexpr std::string_view event_stream = "text/event-stream";
    return type && same_text(type->substr(0, event_stream.size()), event_stream);
}

Duration promised_keep_alive(const Fields& fields) {
    const auto value = fields.find(Known::keep_alive);
    constexpr std::string_view key = "timeout=";
    if (!value) return {};
    const auto at = value->find(key);
    if (at == std::string_view::npos) return {};
    std::string_view digits = value->substr(at + key.size());
    digits = digits.substr(0, digits.find_first_not_of("0123456789"));
    const auto seconds = parse_decimal(digits.substr(0, 6));
    return seconds ? std::chrono::seconds(*seconds) : Duration{};
}

Failure with_nothing_sent(Failure failure) {
    failure.replay = Replay::safe;
    return failure;
}

PoolKey key_of(const RoundTrip& trip) {
    const bool shown = trip.certificate && trip.destination.scheme == Scheme::https;
    return {trip.contexts->identity_of(*trip.vendor), trip.destination.scheme, trip.destination.authority, shown ? trip.certificate->identity : decltype(PoolKey::shown){}};
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
    auto* connection = static_cast<UpstreamConnection*>(SSL_get_app_data(ssl));
    if (!connection || !connection->sessions) return 0;
    if (SslSessionPtr copy{SSL_SESSION_dup(session)}) connection->sessions->keep(connection->key, std::move(copy));
    return 0;   // the one that we were told of stays OpenSSL's
}

// Detached, but `finish` waits for it: everything it refers to lives longer. The last thing it does is wake whoever looks at its result; nothing is touched after that.
Task<void> upload(UpstreamConnection& connection, BodySource& body, const Fields& head, Framing framing, Limits limits, Activity& activity, std::optional<Chunk> held) {
    Stream& out = connection.channel.stream();
    bool unsent = false;
    const bool raw = framing.kind == Framing::Kind::until_close;   // after a head that is long out
    Result<void> sent = co_await pump(out, Origin::vendor, body, framing, limits, activity, held ? &*held : nullptr, &head, raw ? nullptr : &unsent);
    Upload& state = connection.upload;
    state.running = false;
    state.ended = Loop::now();
    if (!sent)
        state.failure = unsent ? with_nothing_sent(std::move(sent.error())) : std::move(sent.error());
    else if (framing.kind == Framing::Kind::until_close)
        out.end_writing();
    if (state.finished.waiting())
        state.finished.notify(Wait::ready);
    else if (state.failure && framing.kind == Framing::Kind::until_close)
        connection.channel.interrupt(*state.failure);   // one exchange, and so one end: whoever waits for the other direction must not take it for the vendor's
    else if (state.receiving)
        connection.channel.interrupt();
}

// What a vendor says of our client certificate ends its side of a TLS 1.3 handshake when ours is long over, and comes where its answer would (RFC 8446 4.4.2.4): it has not looked at the request.
Task<Result<void>> with_tls_fault(UpstreamConnection& connection, Failure failure) {
    Stream& stream = connection.channel.stream();
    if (failure.reason != Reason::upstream_reset || connection.reused || connection.answered || !stream.encrypted()) co_return failure;
    constexpr Duration soon = 100ms;   // where sending failed what was said before has come too, but nobody was told yet
    if (stream.alert() == 0) co_await stream.readable(later(Loop::now(), soon));
    stream.has_spoken();
    if (stream.alert() == 0) co_return failure;
    failure.reason = Reason::tls_failed;
    failure.detail = alert_fault(stream.ssl(), stream.alert());
    if (refuses_certificate(stream.alert())) failure.replay = Replay::safe;
    if (connection.sessions) connection.sessions->forget(connection.key);
    co_return failure;
}

}  // namespace

void remember_sessions(SSL_CTX* context) { SSL_CTX_sess_set_new_cb(context, keep_session); }

Failure HttpTransport::timed_out(const RoundTrip& trip, TimePoint now, Reason otherwise, std::string detail) const {
    if (now >= trip.limits.total) return {Origin::vendor, Reason::timeout_total, Replay::unsafe, "the exchange was not over within its total time of " + format_duration(trip.limits.timeout.total)};
    return {Origin::vendor, otherwise, Replay::unsafe, std::move(detail)};
}

void HttpTransport::discard(ConnectionPtr connection, bool reset) {
    journal_.connections_moved(connection->series.get(), -1, 0);
    connection->channel.close(reset);
}

void HttpTransport::adopt(std::shared_ptr<const ClientContexts> contexts) {
    pool_.keep_only(*contexts);
    contexts_ = std::move(contexts);
}

namespace {

// Who has to say that an address is meant: an issuer is reached by the rules of a credential, and a host that no vendor has by nobody's.
std::string_view whose_addresses(const Vendor& vendor) {
    if (vendor.name == "_other") return "";
    return vendor.hosts.empty() && vendor.endpoints.empty() ? std::string_view(vendor.name) : std::string_view("the vendor");
}

}  // namespace

// ---- connecting ------------------------------------------------------------------------------------------------------

Task<Result<HttpTransport::ConnectionPtr>> HttpTransport::connect(RoundTrip& trip, const PoolKey& key, bool tls) {
    const TimePoint started = Loop::now();
    const TimePoint deadline = std::min(later(started, trip.limits.timeout.connect), trip.limits.total);
    Result<Dialled> dialled = co_await dialler_.dial(trip.destination.authority, trip.vendor->addresses, deadline, *trip.phases, whose_addresses(*trip.vendor));
    if (!dialled) {
        Failure failure = std::move(dialled.error());
        if (failure.reason == Reason::timeout_connect)
            failure = timed_out(trip, Loop::now(), Reason::timeout_connect, trip.destination.authority.text() + " could not be connected within " + format_duration(trip.limits.timeout.connect));
        failure.replay = Replay::safe;
        co_return failure;
    }

    auto connection = std::make_unique<UpstreamConnection>(key);
    connection->series = trip.vendor->series;
    connection->sessions = &sessions_;
    connection->channel.attach(std::make_unique<Stream>(std::move(dialled->socket)));
    if (tls) {
        Result<void> secured = co_await secure(trip, *connection, Loop::now());
        if (!secured) {
            connection->channel.close();
            co_return std::move(secured.error());
        }
    }
    journal_.connections_moved(connection->series.get(), +1, 0);
    co_return std::move(connection);
}

Task<Result<void>> HttpTransport::secure(RoundTrip& trip, UpstreamConnection& connection, TimePoint started) {
    const Authority& authority = trip.destination.authority;
    const auto fail = [&](std::string detail) { return Failure{Origin::vendor, Reason::tls_failed, Replay::safe, std::move(detail)}; };
    SSL_CTX* context = trip.contexts->of(*trip.vendor);
    if (!context) co_return fail(trip.contexts->fault_of(*trip.vendor));
    SslPtr ssl(SSL_new(context));
    if (!ssl || !expect_host(ssl.get(), authority.host, authority.is_address)) co_return fail("no TLS connection could be set up for " + authority.host);
    if (trip.certificate && !show_certificate(ssl.get(), *trip.certificate)) co_return fail("the client certificate of vendor '" + trip.vendor->name + "' cannot be shown: " + take_openssl_reason());
    SSL_set_connect_state(ssl.get());
    SSL_set_app_data(ssl.get(), &connection);
    static constexpr unsigned char alpn[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_set_alpn_protos(ssl.get(), alpn, sizeof alpn);
    if (const SslSessionPtr session = sessions_.copy_of(connection.key)) offer_session(ssl.get(), session.get(), authority.host);

    Stream& stream = connection.channel.stream();
    stream.start_tls(std::move(ssl), {});
    const Stream::Handshake shaken = co_await stream.handshake(std::min(later(started, trip.limits.timeout.tls), trip.limits.total));
    trip.phases->tls = Loop::now() - started;
    if (shaken == Stream::Handshake::failed || shaken == Stream::Handshake::closed) sessions_.forget(connection.key);   // it may have been for the session that was offered
    switch (shaken) {
    case Stream::Handshake::done: break;
    case Stream::Handshake::timed_out: {
        Failure late = timed_out(trip, Loop::now(), Reason::timeout_tls, "the TLS handshake with " + authority.host + " did not finish within " + format_duration(trip.limits.timeout.tls));
        late.replay = Replay::safe;
        co_return late;
    }
    case Stream::Handshake::failed: co_return fail(verification_fault(stream.ssl(), authority.host));
    case Stream::Handshake::closed: co_return fail(authority.host + " closed the connection during the TLS handshake");
    case Stream::Handshake::interrupted: co_return fail("interrupted");
    }
    journal_.handshaken(*trip.vendor, SSL_session_reused(stream.ssl()) == 1);
    co_return Result<void>{};
}

// ---- one request -----------------------------------------------------------------------------------------------------

Task<Result<void>> HttpTransport::round_trip(RoundTrip& trip) {
    // What is at hand of the body is pulled once and kept: a request that is whole can be sent again.
    std::optional<Chunk> held;
    if (trip.request_body && !trip.upgrade) {
        if (auto ready = trip.request_body->next_ready()) {
            if (!ready->has_value()) co_return with_nothing_sent(std::move(ready->error()));
            held = **ready;
        }
    }
    const bool whole = !trip.request_body || trip.upgrade || (held && held->last);
    const bool replayable = whole && trip.repeatable;
    const PoolKey key = key_of(trip);

    for (bool may_reuse = true;; may_reuse = false) {
        ConnectionPtr connection = may_reuse ? pool_.take(key, replayable, Loop::now()) : nullptr;
        if (!connection) {
            Result<ConnectionPtr> made = co_await connect(trip, key, trip.destination.scheme == Scheme::https);
            if (!made) co_return std::move(made.error());
            connection = std::move(*made);
            if (trip.application->stopped()) {   // meanwhile: nobody waits for what would be sent
                discard(std::move(connection), true);
                co_return with_nothing_sent(Failure::application_gone());
            }
            if (connection->channel.stream().has_spoken()) {   // not an answer to us; the pool has looked at what it gives
                sessions_.forget(key);   // resumed, it would speak too late to be told from an answer
                discard(std::move(connection), true);
                co_return Failure{Origin::vendor, Reason::upstream_protocol, Replay::safe, trip.destination.authority.text() + " spoke before it was asked"};
            }
        }
        const bool reused = connection->reused;
        UpstreamConnection& on = *connection;
        trip.connection = connection.release();   // from here on `finish` gives it back

        const Chunk* first = held ? &*held : nullptr;
        Result<void> done = co_await send(trip, on, first);
        if (done && !whole) start_upload(trip, on, trip.request_framing, held);
        if (done) done = co_await receive(trip, on, Loop::now());
        if (done) co_return done;
        if (!reused) {
            Failure failure = std::move(done.error());
            done = co_await with_tls_fault(on, std::move(failure));
            co_return done;
        }

        // It died while it lay in the pool: nobody has to know.
        const bool died = done.error().reason == Reason::upstream_reset && !on.answered;
        if (!died || !(replayable || (done.error().replay == Replay::safe && whole))) co_return done;
        trip.phases->first_byte.reset();
        co_await finish(trip);
    }
}

Task<Result<void>> HttpTransport::send(RoundTrip& trip, UpstreamConnection& connection, const Chunk* held) {
    Stream& stream = connection.channel.stream();
    connection.upload.reset();
    connection.answered = false;
    connection.reusable = false;
    scratch_.clear();
    scratch_.reserve(most_of_a_head(*trip.request, trip.destination.prefix));   // growing, it would leave the credential behind
    append_request_head(scratch_, *trip.request, trip.destination.prefix, trip.destination.authority.text(trip.destination.scheme), trip.request_framing, trip.upgrade);
    stream.stage(scratch_);
    wipe(scratch_);   // it holds the credential
    trip.activity->last = Loop::now();
    const bool whole = !trip.request_body || trip.upgrade || (held && held->last);
    if (!whole) co_return Result<void>{};   // the upload sends the head with what it has of the body

    if (held) stage_chunk(stream, trip.request_framing, *held, &trip.request->fields);
    co_await stream.sealed();
    if (trip.application->stopped()) {   // meanwhile: nothing was sent, and nothing shall be
        stream.close(true);
        co_return with_nothing_sent(Failure::application_gone());
    }
    const Io sent = stream.try_flush();
    if (sent.kind == Io::Kind::some) co_return Result<void>{};
    if (sent.kind != Io::Kind::blocked) {   // of a long request a part may have been taken first
        const Replay replay = sent.size == 0 ? Replay::safe : Replay::unsafe;
        co_return Failure{Origin::vendor, Reason::upstream_reset, replay, "the vendor closed the connection before the request was sent: " + sent.error.message(), sent.error};
    }
    co_return co_await push(stream, Origin::vendor, {}, trip.limits, *trip.activity);
}

void HttpTransport::start_upload(RoundTrip& trip, UpstreamConnection& connection, Framing framing, std::optional<Chunk> held) {
    connection.upload.running = true;
    spawn(upload(connection, *trip.request_body, trip.request->fields, framing, trip.limits, *trip.activity, held));
}

Task<Result<void>> HttpTransport::receive(RoundTrip& trip, UpstreamConnection& connection, TimePoint sent) {
    Upload& upload = connection.upload;
    const Timeouts& timeout = trip.limits.timeout;
    unsigned interim = 0;
    for (;;) {
        if (upload.failure && upload.failure->origin == Origin::application) co_return *upload.failure;   // there will be no answer
        // While the request is still being sent only `idle` counts; the vendor's time to answer begins when it has it all.
        if (upload.ended != TimePoint{}) sent = upload.ended;
        const TimePoint until = std::min(upload.running ? later(trip.activity->last, timeout.idle) : later(sent, timeout.first_byte - trip.delayed), trip.limits.total);
        Failure fault;
        upload.receiving = true;
        const H1Channel::Got got = co_await connection.channel.read_head(*trip.response, until, fault);
        upload.receiving = false;
        if (!upload.running) trip.phases->first_byte = Loop::now() - std::max(sent, upload.ended) + trip.delayed;   // in vain, unless it is a head
        if (upload.failure && upload.failure->origin == Origin::application) continue;
        switch (got) {
        case H1Channel::Got::head: {
            connection.answered = true;
            const unsigned status = trip.response->status;
            if (status >= 200 || status == 101) {
                trip.phases->first_byte = Loop::now() - sent + trip.delayed;
                co_return accept_head(trip, connection);
            }
            if (status < 100 || ++interim > max_interim_answers)
                co_return Failure{Origin::vendor, Reason::upstream_protocol, Replay::unsafe, status < 100 ? "the vendor answered with status " + std::to_string(status) : "too many interim answers"};
            trip.response->fields.remove_hop_by_hop();
            trip.response->fields.remove(Known::sluice);
            if (trip.needles) scrub_head(*trip.needles, *trip.response);
            Result<void> informed = co_await trip.application->inform(*trip.response);
            if (!informed) co_return informed;
            continue;
        }
        case H1Channel::Got::timed_out: {
            const TimePoint now = Loop::now();
            if (now >= trip.limits.total || !upload.running) {
                if (now < until) continue;
                co_return timed_out(trip, now, Reason::timeout_first_byte, "the vendor did not answer within " + format_duration(timeout.first_byte));
            }
            if (now < later(trip.activity->last, timeout.idle)) continue;
            co_return timed_out(trip, now, Reason::timeout_idle, "no byte moved for " + format_duration(timeout.idle) + " while the request was being sent");
        }
        case H1Channel::Got::interrupted:
            if (!connection.channel.open() || trip.application->stopped()) co_return Failure::application_gone();
            continue;   // the upload has ended: the deadline is another one now. What the vendor said before it stopped reading is still to be heard
        case H1Channel::Got::closed:
            co_return Failure{Origin::vendor, Reason::upstream_reset, Replay::unsafe, "the vendor closed the connection before it had answered"};
        case H1Channel::Got::failed:
            connection.answered = true;
            co_return fault;
        }
    }
}

Result<void> HttpTransport::accept_head(RoundTrip& trip, UpstreamConnection& connection) {
    ResponseHead& head = *trip.response;
    if (head.status == 101) {
        const auto protocol = head.fields.find(Known::upgrade);
        if (!trip.upgrade || !protocol || !same_text(*protocol, "websocket"))
            return Failure{Origin::vendor, Reason::upstream_protocol, Replay::unsafe, "the vendor switched to a protocol that nobody asked for"};
        trip.upgraded = true;
        loosen_for_streams(trip);
        trip.limits.timeout = timeouts_of_stream(trip.limits.timeout);
        connection.channel.start_raw(&trip.traffic->from_vendor, trip.activity);
        trip.response_framing = {Framing::Kind::until_close, 0};
        trip.response_body = &connection.channel;
        start_upload(trip, connection, {Framing::Kind::until_close, 0}, {});
        return {};
    }
    Result<Framing> framing = judge_response_framing(head, trip.request->method);
    if (!framing) return std::move(framing.error());
    const bool announces_body = head.fields.find(Known::content_length) || head.fields.find(Known::transfer_encoding);
    const bool doubtful = head.status == 204 && announces_body;   // it has no body, but its sender may think otherwise
    connection.reusable = keeps_alive(head.minor, head.fields) && framing->kind != Framing::Kind::until_close && !doubtful;
    connection.keep_alive_for = promised_keep_alive(head.fields);
    if (is_event_stream(head)) loosen_for_streams(trip);
    trip.response_framing = *framing;
    connection.channel.start_body(*framing, &trip.traffic->from_vendor, trip.activity, &head.fields);
    trip.response_body = framing->kind == Framing::Kind::none ? nullptr : &connection.channel;
    return {};
}

Task<Result<void>> HttpTransport::open_stream(RoundTrip& trip) {
    const PoolKey key = key_of(trip);
    Result<ConnectionPtr> made = co_await connect(trip, key, false);
    if (!made) co_return std::move(made.error());
    UpstreamConnection& on = **made;
    trip.connection = made->release();
    trip.upgraded = true;
    loosen_for_streams(trip);
    trip.limits.timeout = timeouts_of_stream(trip.limits.timeout);
    on.channel.start_raw(&trip.traffic->from_vendor, trip.activity);
    trip.response_body = &on.channel;
    trip.activity->last = Loop::now();
    start_upload(trip, on, {Framing::Kind::until_close, 0}, {});
    co_return Result<void>{};
}

void HttpTransport::abort(RoundTrip& trip) {
    auto* connection = static_cast<UpstreamConnection*>(trip.connection);
    if (!connection) return;
    connection->channel.interrupt();
    if (trip.connection == connection && connection->channel.open()) connection->channel.stream().socket().interrupt_writer();
}

Task<void> HttpTransport::finish(RoundTrip& trip) {
    ConnectionPtr connection(static_cast<UpstreamConnection*>(std::exchange(trip.connection, nullptr)));
    if (!connection) co_return;
    Upload& upload = connection->upload;
    if (upload.running && trip.upgraded && connection->channel.body_done()) {
        // The vendor has ended its half of a stream; the application may have a last word, for a while.
        Deadline patience([](void* body) { static_cast<BodySource*>(body)->interrupt(); }, trip.request_body);
        loop_.wheel.arm(patience, later(Loop::now(), 30s));
        co_await upload.finished.wait();
    }
    if (upload.running) {
        trip.request_body->interrupt();
        connection->channel.stream().socket().interrupt_writer();
        if (upload.running) co_await upload.finished.wait();
    }
    const bool clean = connection->channel.body_done() && !upload.failure;
    const bool wanted = trip.contexts == contexts_.get() || contexts_->reach_over(connection->key.identity);
    if (clean && wanted && connection->reusable && !trip.upgraded && !connection->channel.has_input()) {
        pool_.give(std::move(connection), Loop::now());
        co_return;
    }
    discard(std::move(connection), !clean);
}

}  // namespace sluice
