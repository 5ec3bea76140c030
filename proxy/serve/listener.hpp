// Accepts for all workers and deals the sockets out in turn. Runs on the supervisor's own io_context, so that a busy worker never delays an accept. When descriptors run out, one kept in reserve lets it accept, answer 503 `overloaded` with Retry-After, say so to `TurnedAway`, and close.
#pragma once

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/ports/asio.hpp"

namespace sluice {

class Listener {
  public:
    using Deal = std::function<void(int fd)>;
    /// A connection was answered and closed for want of descriptors: what it was told as its id.
    using TurnedAway = std::function<void(std::string_view request_id)>;

    /// Binds and listens. Throws std::system_error whose what() names the address and what to do.
    static Listener tcp(asio::io_context& io, const ListenAddress& address, Deal deal, TurnedAway turned_away);
    /// A socket file (0660; `for_all`: 0666), in place of a stale one of an earlier run; one that somebody still answers on is an error. Removed by `close`.
    static Listener unix_socket(asio::io_context& io, const std::string& path, bool for_all, Deal deal, TurnedAway turned_away);
    Listener(Listener&&) noexcept;
    ~Listener();

    /// As bound (port 0 was picked); for a socket file the address is empty.
    const ListenAddress& address() const;
    void start();
    void close();
    /// Of a socket file that is there already: from now on it is as with `for_all`, or without. Any thread.
    static void change_mode(const std::string& path, bool for_all);

  private:
    struct Impl;
    explicit Listener(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
};

}  // namespace sluice
