#include "proxy/app/demo_client.hpp"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <system_error>

#include "certs/trust.hpp"

namespace sluice {

namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

/// What went wrong, in words; never leaves this file.
struct ClientFault {
    std::string what;
};

[[noreturn]] void fail(const std::string& what) {
    throw ClientFault{what};
}

class Connection {
  public:
    explicit Connection(const ListenAddress& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const timeval patience{10, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(to.port);
        std::memcpy(&address.sin_addr, to.address.bytes.data(), 4);
        if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
            const std::string why = std::generic_category().message(errno);
            ::close(fd_);
            fail("cannot connect to " + to.text() + ": " + why);
        }
    }
    ~Connection() {
        SSL_free(ssl_);
        ::close(fd_);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void start_tls(const DemoRequest& request) {
        context_.reset(SSL_CTX_new(TLS_client_method()));
        if (!context_ || SSL_CTX_load_verify_locations(context_.get(), request.ca_file.c_str(), nullptr) != 1) {
            fail("cannot read " + request.ca_file);
        }
        SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
        ssl_ = SSL_new(context_.get());
        if (!ssl_ || SSL_set_fd(ssl_, fd_) != 1 || SSL_set_tlsext_host_name(ssl_, request.host.c_str()) != 1 ||
            SSL_set1_host(ssl_, request.host.c_str()) != 1 || SSL_connect(ssl_) != 1) {
            fail("the TLS handshake inside CONNECT failed");
        }
    }

    void write(const std::string& text) {
        const bool written =
            ssl_ ? SSL_write(ssl_, text.data(), static_cast<int>(text.size())) > 0
                 : ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
        if (!written) fail("the proxy closed the connection");
    }

    /// One whole response; `head_only` for the 200 of a CONNECT.
    http::response<http::string_body> read(const std::function<bool(unsigned status)>& head_only) {
        Parser parser;
        parser.eager(true);
        parser.body_limit(16 * 1024 * 1024);
        boost::system::error_code error;
        while (!parser.is_done()) {
            if (parser.is_header_done() && head_only(parser.get().result_int())) break;
            if (!read_more()) {
                parser.put_eof(error);
                if (error || !parser.is_done()) fail("the proxy closed the connection before it had answered");
                break;
            }
            buffer_.consume(parser.put(buffer_.data(), error));
            if (error && error != http::error::need_more) fail("the answer is not valid HTTP: " + error.message());
        }
        return parser.release();
    }

  private:
    bool read_more() {
        const auto room = buffer_.prepare(4096);
        const ssize_t got = ssl_ ? SSL_read(ssl_, room.data(), static_cast<int>(room.size()))
                                 : ::recv(fd_, room.data(), room.size(), 0);
        if (got > 0) buffer_.commit(static_cast<std::size_t>(got));
        return got > 0;
    }

    int fd_;
    SslCtxPtr context_;
    SSL* ssl_ = nullptr;
    boost::beast::flat_buffer buffer_;
};

bool never_head_only(unsigned) {
    return false;
}

void fill(DemoAnswer& answer, const http::response<http::string_body>& response) {
    answer.status = response.result_int();
    answer.outcome = std::string(response["Sluice-Outcome"]);
    answer.reason = std::string(response["Sluice-Reason"]);
    answer.attempts = std::string(response["Sluice-Attempts"]);
    answer.retry_after = std::string(response["Retry-After"]);
    answer.body = response.body();
}

void talk(const DemoRequest& request, DemoAnswer& answer) {
    Connection connection(request.proxy);
    const std::string target = request.host + ":443";
    connection.write("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n");
    const auto opened = connection.read([](unsigned status) { return status == 200; });
    if (opened.result_int() != 200) {
        answer.of_connect = true;
        return fill(answer, opened);
    }
    connection.start_tls(request);
    const std::string named = request.named.empty() ? request.host : request.named;
    connection.write("GET " + request.path + " HTTP/1.1\r\nHost: " + named + "\r\nConnection: close\r\n\r\n");
    fill(answer, connection.read(never_head_only));
}

}  // namespace

DemoAnswer ask(const DemoRequest& request) {
    DemoAnswer answer;
    const TimePoint started = std::chrono::steady_clock::now();
    try {
        talk(request, answer);
    } catch (const ClientFault& fault) {
        answer.fault = fault.what;
    }
    answer.took = std::chrono::steady_clock::now() - started;
    return answer;
}

std::string fetch_plain(const ListenAddress& address, const std::string& path) {
    try {
        Connection connection(address);
        connection.write("GET " + path + " HTTP/1.1\r\nHost: " + address.text() + "\r\nConnection: close\r\n\r\n");
        return connection.read(never_head_only).body();
    } catch (const ClientFault&) {
        return {};
    }
}

}  // namespace sluice
