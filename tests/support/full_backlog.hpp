// A vendor that is there and takes no connection.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

namespace sluice::testing {

/// Listens on 127.0.0.1, and never accepts more than its backlog holds: a connection hangs in SYN_SENT.
class FullBacklog {
  public:
    FullBacklog() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
        ::listen(listener_, 0);
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        for (int& fd : fillers_) {
            fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            static_cast<void>(::connect(fd, reinterpret_cast<sockaddr*>(&address), size));
        }
    }
    FullBacklog(const FullBacklog&) = delete;
    ~FullBacklog() {
        for (const int fd : fillers_) ::close(fd);
        ::close(listener_);
    }
    std::uint16_t port() const { return port_; }

  private:
    int listener_;
    int fillers_[4];
    std::uint16_t port_ = 0;
};

}  // namespace sluice::testing
