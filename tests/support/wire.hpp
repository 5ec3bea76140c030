// Blocking sockets for tests, plain or TLS: every step is bounded by ten seconds, so that a wrong proxy fails a test instead of hanging it.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "certs/authority.hpp"
#include "certs/trust.hpp"

namespace sluice::testing {

/// A head, read as loosely as can be: the tests look at what was really written.
struct Message {
    std::string start_line;
    std::vector<std::pair<std::string, std::string>> fields;   // names lower case
    std::string body;                                          // decoded
    std::string trailers;                                      // raw lines
    bool whole = false;                                        // the body came to its end as its framing says

    unsigned status() const;                                   // of a response
    std::string field(std::string_view name) const;            // the first; "" for none
    std::size_t count(std::string_view name) const;
    std::string reason() const { return field("sluice-reason"); }
};

/// One end of a connection. Not copied.
class Wire {
  public:
    explicit Wire(int fd);
    static Wire to(std::uint16_t port);                        // of 127.0.0.1
    static Wire to_unix(const std::string& path);
    Wire(Wire&&) noexcept;
    ~Wire();

    /// TLS on top, as the client: trusts `ca_pem` only; `sni` is sent ("" for none), `verified` is the name checked ("" for none). Throws std::runtime_error with OpenSSL's words.
    void tls_client(const std::string& ca_pem, const std::string& sni, const std::string& verified, int max_version = 0, SSL_SESSION* session = nullptr);
    /// TLS as the server.
    void tls_server(SSL_CTX* context);
    SSL* ssl() const { return ssl_; }

    void write(std::string_view bytes);                        // throws when the peer is gone
    bool try_write(std::string_view bytes);
    /// Some bytes; "" at the end of the stream or when it broke (see `reset`).
    std::string read_some(std::size_t most = 65536);
    std::string read_exactly(std::size_t size);                // fewer only at the end
    std::string read_all();
    /// Within the time nothing came (the connection may have ended: then false).
    bool silent_for(std::chrono::milliseconds time);

    /// Up to the empty line; then the body as its framing says. `head_only` for answers to HEAD. Nothing: the stream ended first.
    std::optional<Message> read_head();
    void read_body(Message& message, bool request);
    std::optional<Message> read_request();
    std::optional<Message> read_response(bool head_only = false);

    void half_close();                                         // close_notify, where TLS, and FIN
    void fin();                                                // FIN without close_notify
    void close(bool with_reset = false);
    bool reset() const { return reset_; }
    int fd() const { return fd_; }

  private:
    std::string take_line(bool& found);
    bool fill();

    int fd_ = -1;
    SSL* ssl_ = nullptr;
    SSL_CTX* context_ = nullptr;
    std::string buffer_;
    bool reset_ = false;
};

/// A vendor of our own making: each connection is handed to `serve` on a thread of its own.
class FakeVendor {
  public:
    using Serve = std::function<void(Wire&)>;

    /// Plain.
    explicit FakeVendor(Serve serve);
    /// TLS, with a certificate for `host` by `authority`.
    FakeVendor(Serve serve, const CertAuthority& authority, const std::string& host = "localhost", int max_version = 0);
    ~FakeVendor();

    std::uint16_t port() const { return port_; }
    std::string authority() const { return "localhost:" + std::to_string(port_); }
    std::size_t connections() const;
    SSL_CTX* context() const { return context_.get(); }

  private:
    void listen();
    void accept_all();

    Serve serve_;
    SslCtxPtr context_;
    KeyPtr key_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::thread acceptor_;
    mutable std::mutex mutex_;
    std::vector<std::thread> threads_;
    std::vector<int> open_;
    std::size_t connections_ = 0;
};

/// Answers every request with 200 and what it was sent: the request's head in the body, then its body. Keeps the connection.
FakeVendor::Serve echo();
/// Answers every request with `response`, as written.
FakeVendor::Serve always(std::string response);

/// Requests that a vendor has seen, for tests that look at both sides.
class Seen {
  public:
    void add(Message message);
    std::vector<Message> all() const;
    std::size_t size() const;

  private:
    mutable std::mutex mutex_;
    std::vector<Message> messages_;
};
/// Like `echo`, and remembers.
FakeVendor::Serve echo_into(Seen& seen);

}  // namespace sluice::testing
