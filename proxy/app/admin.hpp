// Admin: what operators, probes and scrapers read of a running Sluice and tell it, over plain HTTP/1.1. What changes
// something is POST only. Bounded: 64 connections, 10 s for a request and for its answer, 16 KiB of head, no body. A
// web page must not read it: only a Host that is the listener's own address or localhost is answered, a foreign Origin
// and cross-site fetches are refused. Runs on the supervisor's loop; one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

/// What an action came to: JSON.
struct AdminAnswer {
    unsigned status = 200;
    std::string body;
};

/// What is shown, and what can be done. Called on the admin's thread, one call an answer.
struct AdminViews {
    std::function<std::string()> metrics;                   // Prometheus' text format 0.0.4
    std::function<std::string()> config;                    // JSON
    std::function<std::string()> vendors;                   // JSON
    std::function<std::vector<std::string>()> waiting_for;  // what keeps it from being ready, in words; empty: ready
    /// Returns at once; the answer is given once, on any thread.
    std::function<void(std::function<void(AdminAnswer)>)> reload;
};

class Admin {
  public:
    /// Which door a connection came in by.
    enum class Door : unsigned char {
        admin,    // everything
        metrics,  // /metrics /live /ready only, for scrapers outside of the pod: they name it by an address or a
                  // service that we cannot know
    };

    /// `patience`: for a request (keep-alive included), and for its answer to be taken.
    Admin(boost::asio::io_context& io, AdminViews views, Duration patience = 10s);
    ~Admin();

    /// Takes over an accepted TCP socket.
    void adopt(int fd, Door door);
    /// Closes every connection.
    void close();
    std::size_t connections() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sluice
