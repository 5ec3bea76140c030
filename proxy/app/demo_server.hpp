// A small HTTPS server on loopback, for the vendor and the issuer of `sluice demo`. Threads of its own; not for
// anything but demos and tests.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "certs/authority.hpp"

namespace sluice {

class DemoServer {
  public:
    struct Request {
        std::string method, path, host, authorization;
        bool keep_alive = false;
    };
    /// What is written back, whole; "": the connection ends without an answer. Nothing: it is kept open until the other
    /// side has had enough. On a thread of its connection.
    using Answer = std::function<std::optional<std::string>(const Request&)>;

    /// Listens on a free port of 127.0.0.1 as "localhost", with a certificate of `authority`. Throws
    /// std::runtime_error.
    DemoServer(const CertAuthority& authority, Answer answer);
    /// Cuts off what is open.
    ~DemoServer();

    std::uint16_t port() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// A response whose body is JSON, as it is written.
std::string demo_response(unsigned status, const std::string& json, bool keep_alive,
                          std::initializer_list<std::pair<std::string_view, std::string_view>> fields = {});

}  // namespace sluice
