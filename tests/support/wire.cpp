#include "tests/support/wire.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "proxy/base/text.hpp"

namespace sluice::testing {

namespace {

constexpr timeval step_time{10, 0};

// OpenSSL writes without MSG_NOSIGNAL: a vendor whose TLS peer is gone must not end the test program without a word.
[[maybe_unused]] const auto no_sigpipe = std::signal(SIGPIPE, SIG_IGN);

std::string openssl_words() {
    char text[256] = "no OpenSSL error";
    if (const unsigned long error = ERR_peek_last_error()) ERR_error_string_n(error, text, sizeof text);
    return text;
}

}  // namespace

unsigned Message::status() const {
    unsigned status = 0;
    if (start_line.size() > 12) std::from_chars(start_line.data() + 9, start_line.data() + 12, status);
    return status;
}

std::string Message::field(std::string_view name) const {
    for (const auto& [key, value] : fields)
        if (key == name) return value;
    return {};
}

std::size_t Message::count(std::string_view name) const {
    return static_cast<std::size_t>(std::count_if(fields.begin(), fields.end(), [&](const auto& field) { return field.first == name; }));
}

// ---- Wire ------------------------------------------------------------------------------------------------------------

Wire::Wire(int fd) : fd_(fd) {
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &step_time, sizeof step_time);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &step_time, sizeof step_time);
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Wire Wire::to(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("connect: " + std::string(std::strerror(errno)));
    return Wire(fd);
}

Wire Wire::to_unix(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("connect: " + std::string(std::strerror(errno)));
    return Wire(fd);
}

Wire::Wire(Wire&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), ssl_(std::exchange(other.ssl_, nullptr)), context_(std::exchange(other.context_, nullptr)), buffer_(std::move(other.buffer_)), reset_(other.reset_) {}

Wire::~Wire() {
    close();
    if (ssl_) SSL_free(ssl_);
    if (context_) SSL_CTX_free(context_);
}

void Wire::tls_client(const std::string& ca_pem, const std::string& sni, const std::string& verified, int max_version, SSL_SESSION* session) {
    ERR_clear_error();
    context_ = SSL_CTX_new(TLS_client_method());
    if (max_version) SSL_CTX_set_max_proto_version(context_, max_version);
    BIO* bio = BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size()));
    while (X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error();
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    ssl_ = SSL_new(context_);
    if (!sni.empty()) SSL_set_tlsext_host_name(ssl_, sni.c_str());
    if (!verified.empty() && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), verified.c_str()) != 1) SSL_set1_host(ssl_, verified.c_str());
    if (session) SSL_set_session(ssl_, session);
    SSL_set_fd(ssl_, fd_);
    if (SSL_connect(ssl_) != 1) throw std::runtime_error("TLS: " + openssl_words() + ": " + X509_verify_cert_error_string(SSL_get_verify_result(ssl_)));
}

void Wire::tls_server(SSL_CTX* context) {
    ERR_clear_error();
    ssl_ = SSL_new(context);
    SSL_set_fd(ssl_, fd_);
    if (SSL_accept(ssl_) != 1) throw std::runtime_error("TLS: " + openssl_words());
}

bool Wire::try_write(std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t sent = 0;
        if (ssl_) {
            ERR_clear_error();
            sent = SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)));
        } else {
            sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        }
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

void Wire::write(std::string_view bytes) {
    if (!try_write(bytes)) throw std::runtime_error("write: the peer is gone");
}

std::string Wire::read_some(std::size_t most) {
    if (!buffer_.empty()) {
        std::string out = buffer_.substr(0, most);
        buffer_.erase(0, out.size());
        return out;
    }
    std::string out(most, '\0');
    ssize_t got = 0;
    if (ssl_) {
        ERR_clear_error();
        got = SSL_read(ssl_, out.data(), static_cast<int>(most));
        if (got <= 0 && SSL_get_error(ssl_, static_cast<int>(got)) != SSL_ERROR_ZERO_RETURN) reset_ = true;
    } else {
        got = ::recv(fd_, out.data(), most, 0);
        if (got < 0) reset_ = true;
    }
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
}

bool Wire::fill() {
    std::string more = read_some();
    // read_some empties the buffer first, so what it returned comes after nothing.
    buffer_ += more;
    return !more.empty();
}

std::string Wire::read_exactly(std::size_t size) {
    std::string out;
    while (out.size() < size) {
        const std::string more = read_some(size - out.size());
        if (more.empty()) break;
        out += more;
    }
    return out;
}

std::string Wire::read_all() {
    std::string out;
    for (std::string more = read_some(); !more.empty(); more = read_some()) out += more;
    return out;
}

bool Wire::silent_for(std::chrono::milliseconds time) {
    if (!buffer_.empty() || (ssl_ && SSL_pending(ssl_) > 0)) return false;
    pollfd waiting{fd_, POLLIN, 0};
    return ::poll(&waiting, 1, static_cast<int>(time.count())) == 0;
}

std::string Wire::take_line(bool& found) {
    for (;;) {
        const auto end = buffer_.find("\r\n");
        if (end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 2);
            found = true;
            return line;
        }
        std::string kept = std::exchange(buffer_, {});
        const std::string more = read_some();
        buffer_ = kept + more;
        if (more.empty()) {
            found = false;
            return {};
        }
    }
}

std::optional<Message> Wire::read_head() {
    Message message;
    bool found = false;
    message.start_line = take_line(found);
    if (!found) return {};
    for (;;) {
        const std::string line = take_line(found);
        if (!found) return {};
        if (line.empty()) return message;
        const auto colon = line.find(':');
        message.fields.emplace_back(to_lower(line.substr(0, colon)), colon == std::string::npos ? "" : std::string(trimmed(std::string_view(line).substr(colon + 1))));
    }
}

void Wire::read_body(Message& message, bool request) {
    if (message.field("transfer-encoding") == "chunked") {
        for (;;) {
            bool found = false;
            const std::string line = take_line(found);
            if (!found) return;
            const std::size_t size = std::stoul(line, nullptr, 16);
            if (size == 0) break;
            std::string data = read_exactly(size);
            message.body += data;
            if (data.size() < size || read_exactly(2) != "\r\n") return;
        }
        for (;;) {
            bool found = false;
            const std::string line = take_line(found);
            if (!found) return;
            if (line.empty()) break;
            message.trailers += line + "\n";
        }
        message.whole = true;
        return;
    }
    if (const std::string length = message.field("content-length"); !length.empty()) {
        const std::size_t size = std::stoull(length);
        message.body = read_exactly(size);
        message.whole = message.body.size() == size;
        return;
    }
    if (!request) message.body = read_all();
    message.whole = !reset_;
}

std::optional<Message> Wire::read_request() {
    auto message = read_head();
    if (message) read_body(*message, true);
    return message;
}

std::optional<Message> Wire::read_response(bool head_only) {
    auto message = read_head();
    if (!message) return {};
    const unsigned status = message->status();
    if (head_only || status / 100 == 1 || status == 204 || status == 304)
        message->whole = true;
    else
        read_body(*message, false);
    return message;
}

void Wire::half_close() {
    if (ssl_) SSL_shutdown(ssl_);
    ::shutdown(fd_, SHUT_WR);
}

void Wire::fin() { ::shutdown(fd_, SHUT_WR); }

void Wire::close(bool with_reset) {
    if (fd_ < 0) return;
    if (with_reset) {
        const linger hard{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    } else if (ssl_ && SSL_is_init_finished(ssl_)) {
        SSL_shutdown(ssl_);
    }
    ::close(std::exchange(fd_, -1));
}

// ---- FakeVendor ------------------------------------------------------------------------------------------------------

FakeVendor::FakeVendor(Serve serve) : serve_(std::move(serve)) { listen(); }

FakeVendor::FakeVendor(Serve serve, const CertAuthority& authority, const std::string& host, int max_version) : serve_(std::move(serve)) {
    key_ = std::move(make_key().value());
    const X509Ptr leaf = std::move(authority.mint(host, key_.get(), std::chrono::system_clock::now()).value());
    context_.reset(SSL_CTX_new(TLS_server_method()));
    if (max_version) {
        SSL_CTX_set_min_proto_version(context_.get(), 0);
        SSL_CTX_set_max_proto_version(context_.get(), max_version);
        SSL_CTX_set_security_level(context_.get(), 0);
    }
    SSL_CTX_use_certificate(context_.get(), leaf.get());
    SSL_CTX_use_PrivateKey(context_.get(), key_.get());
    listen();
}

void FakeVendor::listen() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 1024) != 0) throw std::runtime_error("the fake vendor cannot listen");
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
}

void FakeVendor::accept_all() {
    for (;;) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        const std::lock_guard lock(mutex_);
        ++connections_;
        open_.push_back(fd);
        threads_.emplace_back([this, fd] {
            {
                Wire wire(fd);
                try {
                    if (context_) wire.tls_server(context_.get());
                    serve_(wire);
                } catch (const std::exception&) {   // a peer that goes away is no fault of the vendor's
                }
                const std::lock_guard closing(mutex_);
                open_.erase(std::find(open_.begin(), open_.end(), fd));
                wire.close();
            }
        });
    }
}

FakeVendor::~FakeVendor() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
        const std::lock_guard lock(mutex_);
        for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
}

std::size_t FakeVendor::connections() const {
    const std::lock_guard lock(mutex_);
    return connections_;
}

void Seen::add(Message message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
}
std::vector<Message> Seen::all() const {
    const std::lock_guard lock(mutex_);
    return messages_;
}
std::size_t Seen::size() const {
    const std::lock_guard lock(mutex_);
    return messages_.size();
}

FakeVendor::Serve echo_into(Seen& seen) {
    return [&seen](Wire& wire) {
        while (auto request = wire.read_request()) {
            std::string body = request->start_line + "\n";
            for (const auto& [name, value] : request->fields) body += name + ": " + value + "\n";
            body += "\n" + request->body;
            const bool last = request->field("connection") == "close";
            const bool head = request->start_line.starts_with("HEAD ");
            seen.add(std::move(*request));
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + (head ? "" : body));
            if (last) return;
        }
    };
}

FakeVendor::Serve echo() {
    auto seen = std::make_shared<Seen>();
    return [seen, serve = echo_into(*seen)](Wire& wire) { serve(wire); };
}

FakeVendor::Serve always(std::string response) {
    return [response = std::move(response)](Wire& wire) {
        while (wire.read_request()) wire.write(response);
    };
}

}  // namespace sluice::testing
