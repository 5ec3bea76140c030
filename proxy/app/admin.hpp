// Admin: what operators, probes and scrapers read of a running Sluice and tell it, over plain HTTP/1.1.
//
//     GET  /metrics                      Prometheus
//     GET  /live, /ready                 probes; 503 and `waiting_for` while it is not ready
//     GET  /config                       the effective policy, as a policy
//     GET  /vendors                      the catalogue; per vendor what is at hand, and under `live` its breakers,
//                                        limits, retry budget, latency and chaos (standing.hpp)
//     GET  /vendors/<vendor>/breaker     its breakers
//     POST /vendors/<vendor>/breaker     {"state": "open|closed|auto", "endpoint": "..."}, or ?state=open&endpoint=...
//                                        (breakers.hpp): forces all of them, or that endpoint's, until `auto` or a
//                                        restart; answers with what they are then
//     POST /reload                       reads the policy again; answers with its faults
//
// What changes something is POST only. Bounded: 64 connections, 10 s for a request and for its answer, 16 KiB of head,
// 4 KiB of body and none where it means nothing. A web page must not read it: only a Host that is the listener's own
// address or localhost is answered, a foreign Origin and cross-site fetches are refused. Runs on the supervisor's loop;
// one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/app/admin_answer.hpp"
#include "proxy/app/breakers.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

/// What is shown, and what can be done. Called on the admin's thread, one call an answer.
struct AdminViews {
    std::function<std::string()> metrics;                   // Prometheus' text format 0.0.4
    std::function<std::string()> config;                    // JSON
    std::function<std::string()> vendors;                   // JSON
    std::function<std::vector<std::string>()> waiting_for;  // what keeps it from being ready, in words; empty: ready
    std::function<AdminAnswer(std::string_view vendor)> breakers;
    std::function<AdminAnswer(std::string_view vendor, const BreakerOrder& order)> force_breakers;
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
