#include "proxy/app/demo_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <list>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "certs/trust.hpp"

namespace sluice {

namespace {

namespace http = boost::beast::http;
using Parser = http::request_parser<http::string_body>;

struct SslDeleter {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
};

constexpr std::size_t most_connections = 32;

SslCtxPtr server_context(const CertAuthority& authority) {
    CertResult<KeyPtr> key = make_key();
    if (!key) throw std::runtime_error(key.error().what);
    CertResult<X509Ptr> leaf = authority.mint("localhost", key->get(), std::chrono::system_clock::now());
    if (!leaf) throw std::runtime_error(leaf.error().what);
    SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
    if (!context || SSL_CTX_use_certificate(context.get(), leaf->get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), key->get()) != 1) {
        throw std::runtime_error("the demo's TLS could not be set up");
    }
    return context;
}

/// A free port of 127.0.0.1.
int listen_on_loopback(std::uint16_t& port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    if (fd < 0 || ::bind(fd, generic, size) != 0 || ::listen(fd, 64) != 0 || ::getsockname(fd, generic, &size) != 0) {
        if (fd >= 0) ::close(fd);
        throw std::runtime_error("the demo cannot listen on 127.0.0.1");
    }
    port = ntohs(address.sin_port);
    return fd;
}

}  // namespace

struct DemoServer::Impl {
    Impl(const CertAuthority& authority, Answer how)
        : answer(std::move(how)), context(server_context(authority)), listener(listen_on_loopback(port)) {
        accepting = std::thread([this] { accept_all(); });
    }

    ~Impl() {
        leaving = true;
        ::shutdown(listener, SHUT_RDWR);
        accepting.join();
        ::close(listener);
        for (Connection& connection : connections) ::shutdown(connection.fd, SHUT_RDWR);
        for (Connection& connection : connections) {
            connection.thread.join();
            ::close(connection.fd);
        }
    }

    /// Its descriptor is closed by whoever joins the thread, so that nobody shuts down a number that means something
    /// else by then.
    struct Connection {
        int fd = -1;
        std::atomic<bool> done{false};
        std::thread thread;
    };

    void accept_all() {
        while (!leaving) {
            const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) continue;
            reap();
            if (connections.size() >= most_connections) {
                ::close(fd);
                continue;
            }
            Connection& connection = connections.emplace_back();
            connection.fd = fd;
            connection.thread = std::thread([this, &connection] {
                serve(connection.fd);
                ::shutdown(connection.fd, SHUT_RDWR);
                connection.done = true;
            });
        }
    }

    void reap() {
        connections.remove_if([](Connection& connection) {
            if (!connection.done) return false;
            connection.thread.join();
            ::close(connection.fd);
            return true;
        });
    }

    void serve(int fd) {
        const std::unique_ptr<SSL, SslDeleter> ssl(SSL_new(context.get()));
        if (!ssl || SSL_set_fd(ssl.get(), fd) != 1 || SSL_accept(ssl.get()) != 1) return;
        boost::beast::flat_buffer buffer;
        while (serve_one(ssl.get(), buffer)) {
        }
        SSL_shutdown(ssl.get());
    }

    bool serve_one(SSL* ssl, boost::beast::flat_buffer& buffer) {
        Parser parser;
        parser.body_limit(1024 * 1024);
        parser.eager(true);
        while (!parser.is_done()) {
            boost::system::error_code error;
            const std::size_t used = parser.put(buffer.data(), error);
            buffer.consume(used);
            if (error && error != http::error::need_more) return false;
            if (!parser.is_done() && !read_more(ssl, buffer)) return false;
        }
        const auto& got = parser.get();
        const Request request{std::string(got.method_string()), std::string(got.target()),
                              std::string(got[http::field::host]), std::string(got[http::field::authorization]),
                              got.keep_alive()};
        const std::optional<std::string> text = answer(request);
        if (!text) {
            while (read_more(ssl, buffer)) buffer.clear();  // until Sluice has had enough
            return false;
        }
        return !text->empty() && SSL_write(ssl, text->data(), static_cast<int>(text->size())) > 0 && request.keep_alive;
    }

    static bool read_more(SSL* ssl, boost::beast::flat_buffer& buffer) {
        const auto room = buffer.prepare(4096);
        const int got = SSL_read(ssl, room.data(), static_cast<int>(room.size()));
        if (got > 0) buffer.commit(static_cast<std::size_t>(got));
        return got > 0;
    }

    const Answer answer;
    SslCtxPtr context;
    std::uint16_t port = 0;
    int listener = -1;
    std::atomic<bool> leaving{false};
    std::thread accepting;
    std::list<Connection> connections;  // of the accepting thread; after it has ended, of the destructor
};

DemoServer::DemoServer(const CertAuthority& authority, Answer answer)
    : impl_(std::make_unique<Impl>(authority, std::move(answer))) {}
DemoServer::~DemoServer() = default;

std::uint16_t DemoServer::port() const {
    return impl_->port;
}

std::string demo_response(unsigned status, const std::string& json, bool keep_alive,
                          std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
    http::response<http::string_body> response(static_cast<http::status>(status), 11);
    for (const auto& [name, value] : fields)
        response.set(boost::beast::string_view(name.data(), name.size()),
                     boost::beast::string_view(value.data(), value.size()));
    response.set(http::field::content_type, "application/json");
    response.body() = json;
    response.keep_alive(keep_alive);
    response.prepare_payload();
    std::ostringstream out;
    out << response;
    return out.str();
}

}  // namespace sluice
