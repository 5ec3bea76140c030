#include "proxy/net/stream.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>  // explicit_bzero

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice {

namespace {
constexpr std::size_t record_size = SSL3_RT_MAX_PLAIN_LENGTH;
}

// OpenSSL's way to the socket: reads come straight from it, writes are appended to the stream's output.
struct StreamBio {
    static int read(BIO* bio, char* into, int size) {
        Stream& stream = *static_cast<Stream*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (!stream.already_.empty()) {
            const std::size_t n = std::min(stream.already_.size(), static_cast<std::size_t>(size));
            std::memcpy(into, stream.already_.data(), n);
            stream.already_.erase(0, n);
            if (stream.already_.empty()) std::string().swap(stream.already_);
            return static_cast<int>(n);
        }
        const Io io = stream.socket_.read({into, static_cast<std::size_t>(size)});
        switch (io.kind) {
        case Io::Kind::some: return static_cast<int>(io.size);
        case Io::Kind::blocked: BIO_set_retry_read(bio); return -1;
        case Io::Kind::eof: stream.eof_ = true; return 0;
        case Io::Kind::failed: stream.error_ = io.error; return -1;
        }
        return -1;
    }
    static int write(BIO* bio, const char* bytes, int size) {
        BIO_clear_retry_flags(bio);
        static_cast<Stream*>(BIO_get_data(bio))->append_out(bytes, static_cast<std::size_t>(size));
        return size;
    }
    static long control(BIO* bio, int command, long, void*) {
        switch (command) {
        case BIO_CTRL_FLUSH: return 1;
        case BIO_CTRL_EOF: return static_cast<Stream*>(BIO_get_data(bio))->eof_ ? 1 : 0;
        default: return 0;
        }
    }
    static int create(BIO* bio) {
        BIO_set_init(bio, 1);
        return 1;
    }
    // OpenSSL says of a fatal alert what it says of a close_notify: that the peer has ended.
    static void note_alert(const SSL* ssl, int what, int alert) {
        if (what != SSL_CB_READ_ALERT) return;
        const int level = alert >> 8, description = alert & 0xff;
        const bool ends_well = description == SSL_AD_CLOSE_NOTIFY || description == SSL_AD_USER_CANCELLED;
        const bool fatal = level == SSL3_AL_FATAL || SSL_version(ssl) == TLS1_3_VERSION;   // RFC 8446 6
        if (fatal && !ends_well) static_cast<Stream*>(BIO_get_data(SSL_get_rbio(ssl)))->alert_ = description;
    }
    static BIO_METHOD* method() {
        static BIO_METHOD* const made = [] {
            BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice stream");
            BIO_meth_set_read(m, read);
            BIO_meth_set_write(m, write);
            BIO_meth_set_ctrl(m, control);
            BIO_meth_set_create(m, create);
            return m;
        }();
        return made;
    }
};

Stream::Stream(Socket socket) : socket_(std::move(socket)) {}

Stream::~Stream() {
    if (socket_.open()) close();
    if (ssl_) SSL_set_options(ssl_.get(), SSL_OP_CLEANSE_PLAINTEXT);   // frees no buffer with what came in last
}

void Stream::start_tls(SslPtr ssl, std::string_view already) {
    ssl_ = std::move(ssl);
    already_ = already;
    BIO* bio = BIO_new(StreamBio::method());
    BIO_set_data(bio, this);
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_info_callback(ssl_.get(), StreamBio::note_alert);
    if (loop().blocks.wipes()) SSL_set_options(ssl_.get(), SSL_OP_CLEANSE_PLAINTEXT);   // its own buffers too
}

Task<Stream::Handshake> Stream::handshake(TimePoint deadline) {
    for (;;) {
        ERR_clear_error();
        const int done = SSL_do_handshake(ssl_.get());
        const int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
        if (why == SSL_ERROR_NONE && SSL_is_server(ssl_.get()) && SSL_version(ssl_.get()) == TLS1_3_VERSION) {
            ticket_bytes_ = out_bytes_;
            // Nothing of ours that leaves now acknowledges its last flight, for which a peer with Nagle's algorithm (RFC 1122 4.2.3.4) would hold back its request: 40 ms.
            if (holds_nothing()) socket_.acknowledge();
            SSL_set_options(ssl_.get(), SSL_OP_CLEANSE_PLAINTEXT);   // a handshake's messages are no secret, and wiping costs as much as a tenth of it
            co_return Handshake::done;
        }
        // An alert is worth sending too: the peer's log then says why.
        if (out_bytes_ > 0) {
            if (why == SSL_ERROR_WANT_READ && SSL_is_server(ssl_.get())) co_await loop().poller.after_batch();   // else others would clear the error queue
            std::error_code error;
            const Wait flushed = co_await flush(deadline, error);
            if (flushed == Wait::timed_out) co_return Handshake::timed_out;
            if (flushed == Wait::interrupted && why == SSL_ERROR_NONE) co_return Handshake::closed;
        }
        if (why == SSL_ERROR_NONE) {
            if (SSL_is_server(ssl_.get()) && SSL_session_reused(ssl_.get()) == 1) socket_.acknowledge();   // of TLS 1.2, where the client spoke last
            SSL_set_options(ssl_.get(), SSL_OP_CLEANSE_PLAINTEXT);
            co_return Handshake::done;
        }
        if (why != SSL_ERROR_WANT_READ) co_return eof_ || error_ ? Handshake::closed : Handshake::failed;
        const Wait waited = co_await socket_.readable(deadline);
        if (waited == Wait::timed_out) co_return Handshake::timed_out;
        if (waited == Wait::interrupted) co_return Handshake::interrupted;
    }
}

void Stream::send_ticket() {
    if (ticket_bytes_ > 0 && staged() == ticket_bytes_) try_flush();   // what else is staged has somebody who sends it
}

Io Stream::read(std::span<char> into) {
    if (!ssl_) return socket_.read(into);
    if (holds_nothing()) return {};
    std::size_t got = 0;
    if (SSL_read_ex(ssl_.get(), into.data(), into.size(), &got) == 1) return {Io::Kind::some, got, {}};
    return why_nothing();
}

// Every answer is followed by a read that finds nothing; OpenSSL takes 900 instructions to say so.
bool Stream::holds_nothing() const {
    return socket_.drained() && already_.empty() && !eof_ && !error_ && SSL_get_shutdown(ssl_.get()) == 0 && SSL_has_pending(ssl_.get()) == 0;
}

// After a read that gave nothing. SSL_get_error would ask the thread's error queue, which then has to be cleared before each operation, at 200 instructions a time; the connection's own state tells as much.
Io Stream::why_nothing() {
    if (alert_ == 0 && (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0) return {Io::Kind::eof, 0, {}};
    if (!eof_ && !error_ && alert_ == 0 && SSL_want_read(ssl_.get())) return {};
    ERR_clear_error();
    return {Io::Kind::failed, 0, error_ ? error_ : std::make_error_code(std::errc::connection_aborted)};
}

void Stream::keep_buffers() {
    if (!ssl_ || std::exchange(keeps_buffers_, true)) return;
    SSL_clear_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS);
    if (!loop().blocks.wipes()) SSL_clear_options(ssl_.get(), SSL_OP_CLEANSE_PLAINTEXT);   // what comes next writes over it
}

void Stream::release_buffers() {
    if (!ssl_) return;
    keeps_buffers_ = false;
    SSL_set_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS);
    SSL_set_options(ssl_.get(), SSL_OP_CLEANSE_PLAINTEXT);
    SSL_free_buffers(ssl_.get());
}

bool Stream::quiet() {
    if (!socket_.open()) return false;
    if (!socket_.stirred()) return true;
    if (!ssl_) {
        // Whatever it is, nobody asked for it: a byte would be an answer to no question.
        char byte;
        return socket_.read({&byte, 1}).kind == Io::Kind::blocked;
    }
    char byte;
    std::size_t got = 0;
    if (SSL_peek_ex(ssl_.get(), &byte, 1, &got) == 1) return false;
    return why_nothing().kind == Io::Kind::blocked;   // a session ticket, a key update
}

bool Stream::has_spoken() {
    if (!socket_.open()) return false;
    char byte;
    if (!ssl_) return ::recv(socket_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    std::size_t got = 0;
    if (SSL_peek_ex(ssl_.get(), &byte, 1, &got) == 1) return true;
    why_nothing();   // leaves no error behind in the thread's queue
    return false;
}

bool Stream::hung_up() {
    if (!socket_.open()) return true;
    char byte;
    if (!ssl_) {
        const ssize_t got = ::recv(socket_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    }
    std::size_t got = 0;
    return SSL_peek_ex(ssl_.get(), &byte, 1, &got) != 1 && why_nothing().kind != Io::Kind::blocked;
}

bool Stream::hung_up_behind_bytes() const {
    if (!socket_.open()) return true;
    if (ssl_) return socket_.ended_at() != never;
    pollfd state{socket_.fd(), 0, 0};
    return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLERR | POLLHUP)) != 0;   // a reset; POLLRDHUP alone is a half-close
}

void Stream::append_out(const char* bytes, std::size_t size) {
    out_bytes_ += size;
    while (size > 0) {
        if (out_.empty() || out_.back().end == Block::size) out_.push_back({loop().blocks.take(), 0, 0});
        Piece& piece = out_.back();
        const std::size_t n = std::min(size, Block::size - piece.end);
        std::memcpy(piece.block->bytes.get() + piece.end, bytes, n);
        piece.end += n;
        bytes += n;
        size -= n;
    }
}

void Stream::encrypt(const char* bytes, std::size_t size) {
    std::size_t written = 0;
    if (SSL_write_ex(ssl_.get(), bytes, size, &written) == 1) return;
    // Our BIO takes everything, so a failure is for good (the peer is gone, or a handshake has failed).
    ERR_clear_error();
    if (!error_) error_ = std::make_error_code(std::errc::broken_pipe);
}

void Stream::seal() {
    if (plain_size_ == 0) return;
    encrypt(plain_->bytes.get(), plain_size_);
    drop_plain();
}

void Stream::stage(std::string_view bytes) {
    if (!ssl_) {
        append_out(bytes.data(), bytes.size());
        return;
    }
    while (!bytes.empty()) {
        if (plain_size_ == 0 && bytes.size() >= record_size) {   // a whole record: no copy
            encrypt(bytes.data(), record_size);
            bytes.remove_prefix(record_size);
            continue;
        }
        if (!plain_) plain_ = loop().blocks.take();
        const std::size_t n = std::min(bytes.size(), record_size - plain_size_);
        std::memcpy(plain_->bytes.get() + plain_size_, bytes.data(), n);
        plain_size_ += n;
        bytes.remove_prefix(n);
        if (plain_size_ == record_size) seal();
    }
}

// What goes back is for whoever comes next, and a head may hold a credential. Under TLS `out_` is sealed, and what lies in it no secret.
void Stream::drop_plain() {
    if (!plain_) return;
    explicit_bzero(plain_->bytes.get(), std::exchange(plain_size_, 0));
    loop().blocks.give(std::move(plain_));
}

void Stream::drop(Piece& piece) {
    if (!ssl_) explicit_bzero(piece.block->bytes.get(), piece.end);
    loop().blocks.give(std::move(piece.block));
}

void Stream::drop_out() {
    for (Piece& piece : out_) drop(piece);
    out_.clear();
    out_bytes_ = ticket_bytes_ = 0;
}

bool Stream::unstage() {
    if (ssl_ && out_bytes_ > ticket_bytes_) return false;
    if (!ssl_) drop_out();
    drop_plain();
    return true;
}

Io Stream::try_flush() {
    if (!socket_.open()) return {Io::Kind::failed, 0, std::make_error_code(std::errc::not_connected)};
    seal();
    std::size_t taken = 0;
    while (!out_.empty()) {
        std::array<iovec, 8> pieces;
        std::size_t count = 0;
        for (Piece& piece : out_) {
            if (count == pieces.size()) break;
            pieces[count++] = {piece.block->bytes.get() + piece.begin, piece.end - piece.begin};
        }
        const Io io = socket_.write({pieces.data(), count});
        if (io.kind != Io::Kind::some) return {io.kind, taken, io.error};
        out_bytes_ -= io.size;
        ticket_bytes_ = 0;
        taken += io.size;
        std::size_t sent = io.size, emptied = 0;
        for (Piece& piece : out_) {
            const std::size_t n = std::min(sent, piece.end - piece.begin);
            piece.begin += n;
            sent -= n;
            if (piece.begin != piece.end) break;
            drop(piece);
            ++emptied;
        }
        out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(emptied));
    }
    return {Io::Kind::some, taken, {}};
}

Task<Wait> Stream::flush(TimePoint deadline, std::error_code& error) {
    for (;;) {
        const Io io = try_flush();
        if (io.kind == Io::Kind::some) {
            if (!error_) co_return Wait::ready;
            error = error_;
            co_return Wait::interrupted;
        }
        if (io.kind != Io::Kind::blocked) {
            error = io.error;
            co_return Wait::interrupted;
        }
        const Wait waited = co_await socket_.writable(deadline);
        if (waited != Wait::ready) co_return waited;
    }
}

Task<Wait> Stream::write(std::string_view& bytes, TimePoint deadline, std::error_code& error) {
    if (ssl_ || bytes.size() < 4096) {
        stage(std::exchange(bytes, {}));
        const Wait waited = co_await flush(deadline, error);
        co_return waited;
    }
    while (!bytes.empty()) {
        if (out_bytes_ > 0 && out_.size() == 1) {   // the head and the first bytes of its body in one send
            const Piece& piece = out_.front();
            const std::array<iovec, 2> pieces{iovec{piece.block->bytes.get() + piece.begin, piece.end - piece.begin},
                                              iovec{const_cast<char*>(bytes.data()), bytes.size()}};
            const Io io = socket_.write(pieces);
            if (io.kind == Io::Kind::some) {
                const std::size_t of_piece = std::min(io.size, piece.end - piece.begin);
                out_.front().begin += of_piece;
                out_bytes_ -= of_piece;
                if (out_bytes_ == 0) {
                    drop(out_.front());
                    out_.clear();
                }
                bytes.remove_prefix(io.size - of_piece);
                continue;
            }
            if (io.kind == Io::Kind::failed) {
                error = io.error;
                co_return Wait::interrupted;
            }
        } else if (out_bytes_ > 0) {
            const Wait flushed = co_await flush(deadline, error);
            if (flushed != Wait::ready) co_return flushed;
            continue;
        } else {
            const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
            const Io io = socket_.write({&piece, 1});
            if (io.kind == Io::Kind::some) {
                bytes.remove_prefix(io.size);
                continue;
            }
            if (io.kind == Io::Kind::failed) {
                error = io.error;
                co_return Wait::interrupted;
            }
        }
        const Wait waited = co_await socket_.writable(deadline);
        if (waited != Wait::ready) co_return waited;
    }
    co_return Wait::ready;
}

void Stream::end_writing() {
    if (!socket_.open()) return;
    seal();
    if (ssl_) SSL_shutdown(ssl_.get());
    try_flush();
    socket_.shutdown_send();
}

void Stream::close(bool reset) {
    if (!socket_.open()) return;
    if (ssl_ && !reset) {
        seal();
        SSL_shutdown(ssl_.get());
        try_flush();
    }
    drop_out();
    drop_plain();
    socket_.close(reset);
}

}  // namespace sluice
