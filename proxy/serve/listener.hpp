// A bound, listening socket. Whoever has it waits until it is readable (the first worker for applications, the supervisor for those who ask admin) and has the sockets accepted then. When descriptors run out, one kept in reserve lets it accept, answer 503 `overloaded` with Retry-After, say so to `TurnedAway`, and close. One thread at a time.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "config/config.hpp"

namespace sluice {

class Listener {
  public:
    using Deal = std::function<void(int fd)>;
    /// A connection was answered and closed for want of descriptors: what it was told as its id.
    using TurnedAway = std::function<void(std::string_view request_id)>;

    /// Binds and listens. Throws std::system_error whose what() names the address and what to do.
    static Listener tcp(const ListenAddress& address);
    /// A socket file (0660; `for_all`: 0666), in place of a stale one of an earlier run; one that somebody still answers on is an error. Removed by `close`.
    static Listener unix_socket(const std::string& path, bool for_all);
    Listener(Listener&& other) noexcept;
    Listener& operator=(Listener&&) = delete;
    ~Listener() { close(); }

    /// Non-blocking; -1 once closed.
    int fd() const { return fd_; }
    /// As bound (port 0 was picked); for a socket file the address is empty.
    const ListenAddress& address() const { return address_; }
    /// Takes those that wait, up to 256 of them; what is dealt out is the taker's, and non-blocking.
    void accept_all(const Deal& deal, const TurnedAway& turned_away);
    void close();
    /// Of a socket file that is there already: from now on it is as with `for_all`, or without. Any thread.
    static void change_mode(const std::string& path, bool for_all);

  private:
    explicit Listener(int fd);
    void turn_away(const TurnedAway& turned_away);

    int fd_, spare_;
    ListenAddress address_;
    std::string path_;
};

}  // namespace sluice
