// A byte stream over a Socket, plain or TLS: try-read, staged writes, one flush. OpenSSL receives straight from the socket and its records are appended to pooled output blocks, so that a message costs one send.
// One worker thread; one coroutine may read while another writes.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/socket.hpp"

namespace sluice {

struct SslDeleter { void operator()(SSL* p) const { SSL_free(p); } };
using SslPtr = std::unique_ptr<SSL, SslDeleter>;

class Stream {
  public:
    /// Flush when this much is staged.
    static constexpr std::size_t high_water = 48 * 1024;

    Stream() = default;
    explicit Stream(Socket socket);
    Stream(const Stream&) = delete;
    ~Stream();

    Socket& socket() { return socket_; }
    Loop& loop() { return socket_.loop(); }
    SSL* ssl() const { return ssl_.get(); }
    bool encrypted() const { return ssl_ != nullptr; }

    /// From now on OpenSSL's buffers (34 KiB) stay from message to message, with what came in last: for connections that turn out to be busy. SSL_MODE_RELEASE_BUFFERS, with which they begin, allocates them anew
    /// each time, and they are wiped before they go.
    void keep_buffers();
    /// Gives them back, where nothing is in them: for connections that rest.
    void release_buffers();

    /// From here on TLS; `ssl` has its role set. `already` was read before anybody knew that this is TLS.
    void start_tls(SslPtr ssl, std::string_view already);
    enum class Handshake : unsigned char { done, failed, timed_out, interrupted, closed };
    /// `failed`: OpenSSL's error queue says why. Flushes what the handshake wrote, but for the session ticket of a TLS 1.3 server: that goes out with the first answer, or by `send_ticket`.
    Task<Handshake> handshake(TimePoint deadline);

    /// Sends a ticket that still waits for an answer to go out with.
    void send_ticket();

    /// The fatal alert that the peer has ended TLS with, as far as it was read (RFC 8446 6.2); 0: none. One that it sends for what ended a TLS 1.3 handshake is read after that handshake.
    int alert() const { return alert_; }

    /// Plain bytes. `eof` of a TLS stream is a close_notify; without one it is `failed` with connection_aborted: a body cut short must not look whole.
    Io read(std::span<char> into);
    Socket::Readiness readable(TimePoint deadline) { return socket_.readable(deadline); }
    /// Nothing came in since `watch`, or nothing but TLS's own messages.
    bool quiet();

    /// Has the peer said something that was not read yet? Takes nothing from it.
    bool has_spoken();

    /// Has the peer gone, as far as can be told without taking anything from it? A plain connection's FIN may be a half-close by someone who still wants the answer; under TLS nobody does that.
    bool hung_up();
    /// Likewise where bytes of its are still to be read, past which nobody can look.
    bool hung_up_behind_bytes() const;

    /// Stages: copied, or encrypted, never sent yet.
    void stage(std::string_view bytes);
    std::size_t staged() const { return out_bytes_ + plain_size_; }
    /// Forgets what is staged, of which nothing may have been sent. False: some of it is in TLS records already, which are numbered; it stays staged.
    bool unstage();
    /// To be awaited before a `try_flush` that ends a message: what is staged becomes records now, while its bytes are at hand, and goes out beside what the other events of this batch send.
    Poller::AfterBatch sealed() {
        seal();
        return loop().poller.after_batch();
    }
    /// Sends what is staged, as far as the socket takes it at once. `blocked`: some is left. `size`: what was taken, also where it failed after that.
    Io try_flush();
    /// Sends what is staged. `interrupted` also when the socket has failed: `error` then says why.
    Task<Wait> flush(TimePoint deadline, std::error_code& error);
    /// What is staged and then `bytes`, without copying them where that saves a copy (plain, large). `bytes` shrinks by what was sent or staged, so that a wait that timed out
    /// can be taken up again.
    Task<Wait> write(std::string_view& bytes, TimePoint deadline, std::error_code& error);

    /// close_notify, where TLS, and FIN after what is staged has been sent.
    void end_writing();
    void close(bool reset = false);

  private:
    friend struct StreamBio;
    struct Piece { std::unique_ptr<Block> block; std::size_t begin = 0, end = 0; };

    bool holds_nothing() const;
    Io why_nothing();
    void append_out(const char* bytes, std::size_t size);
    void drop_plain();
    void drop(Piece& piece);
    void drop_out();
    void encrypt(const char* bytes, std::size_t size);
    void seal();   // what was staged as plain text becomes a record

    Socket socket_;
    SslPtr ssl_;
    std::string already_;               // what OpenSSL has still to be given of it
    std::unique_ptr<Block> plain_;      // TLS: staged, not yet a record; an idle connection keeps no buffers
    std::size_t plain_size_ = 0;
    std::vector<Piece> out_;            // to be sent, in order
    std::size_t out_bytes_ = 0;
    std::size_t ticket_bytes_ = 0;      // of those: a session ticket, in front
    std::error_code error_;             // of the socket, as OpenSSL met it
    bool eof_ = false;
    int alert_ = 0;
    bool keeps_buffers_ = false;
};

}  // namespace sluice
