#include "proxy/net/dial.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <list>
#include <memory>
#include <utility>

#include "proxy/net/sockaddr.hpp"

namespace sluice {

namespace {

constexpr Duration attempt_delay = 250ms;  // RFC 8305 5
constexpr std::size_t named_at_most = 4;   // addresses in a failure's detail

// ---- which addresses, in which order

/// ::ffff:192.0.2.1 is dialled over IPv4, and so it is judged, compared and counted as that.
IpAddress bare(const IpAddress& address) {
    constexpr std::array<unsigned char, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!address.v6 || !std::equal(mapped.begin(), mapped.end(), address.bytes.begin())) return address;
    IpAddress v4;
    std::copy(address.bytes.begin() + 12, address.bytes.end(), v4.bytes.begin());
    return v4;
}

/// 0.0.0.0 and :: are "this host" to the kernel: they would reach any listener of ours.
bool is_unspecified(const IpAddress& address) {
    return address.bytes == decltype(address.bytes){};
}

/// "192.0.2.1, 192.0.2.2 and 7 more"
std::string listed(const std::vector<IpAddress>& addresses) {
    std::string out;
    for (std::size_t i = 0; i < std::min(addresses.size(), named_at_most); ++i) {
        if (i > 0) out += ", ";
        out += addresses[i].text();
    }
    if (addresses.size() > named_at_most) out += " and " + std::to_string(addresses.size() - named_at_most) + " more";
    return out;
}

Failure failure_of(Origin origin, Reason reason, std::string detail, std::error_code cause = {}) {
    Failure failure;
    failure.origin = origin;
    failure.reason = reason;
    failure.replay = Replay::safe;  // no byte was sent
    failure.detail = std::move(detail);
    failure.cause = cause;
    return failure;
}

/// Why none of a host's addresses may be dialled.
class Refusals {
  public:
    void add(const IpAddress& address, std::string_view why, bool may_be_allowed) {
        if (why_.empty()) {
            first_ = address;
            why_ = why;
        }
        if (may_be_allowed) to_allow_.push_back(address);
    }
    /// Whatever else the host's addresses are: that is whom it means, and nothing that can be written allows it.
    void add_own(const IpAddress& address) {
        first_ = address;
        why_ = "one of Sluice's own listeners";
        own_ = true;
    }

    Failure failure(const Authority& authority, std::string_view whose) const {
        std::string detail = authority.text() + " is not dialled: ";
        detail += authority.is_address ? "" : authority.host + " resolves to ";
        detail += first_.text() + (authority.is_address ? " is " : ", ") + std::string(why_);
        if (!to_allow_.empty() && !own_) {
            detail += "; where that is meant, ";
            detail += whose.empty() ? "make a vendor of it: `hosts: [\"" + authority.text() + "\"], addresses: ["
                                    : std::string(whose) + "'s policy says `addresses: [";
            detail += listed(to_allow_) + "]`";
        }
        return failure_of(Origin::sluice, Reason::address_refused, std::move(detail));
    }

  private:
    IpAddress first_;
    std::string_view why_;
    std::vector<IpAddress> to_allow_;
    bool own_ = false;
};

// ---- attempts

struct Attempt {
    IpAddress address;
    Socket socket;
    int error = 0;  // errno; with an error there is no socket
};

/// Begins to connect. Errors that are known at once (no route, no descriptors) are there on return.
Attempt begin(Loop& loop, const IpAddress& address, std::uint16_t port) {
    Attempt attempt{address, {}, 0};
    const int fd = ::socket(address.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        attempt.error = errno;
        return attempt;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_storage name;
    const socklen_t size = to_sockaddr(address, port, name);
    // An interrupted connect goes on by itself.
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&name), size) != 0 && errno != EINPROGRESS && errno != EINTR) {
        attempt.error = errno;
        ::close(fd);
        return attempt;
    }
    try {
        attempt.socket = Socket(loop, fd, Socket::Begin::connecting);
    } catch (const std::exception&) {  // the kernel gives no room to watch it
        attempt.error = ENOBUFS;
        ::close(fd);
    }
    return attempt;
}

/// What connecting came to, once the socket is writable.
int outcome_of(const Socket& socket) {
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/// What was tried in vain.
class Tally {
  public:
    void began(const IpAddress& address) { tried_.push_back(address); }
    void failed(const IpAddress& address, int error) {
        if (is_shortage(error)) shortage_ = error;
        // "No IPv6 here" says less than what became of an address that could be tried.
        if (error_ != 0 && is_local(error) && !is_local(error_)) return;
        address_ = address;
        error_ = error;
    }

    Failure failure(const Authority& authority) const {
        const int error = shortage_ != 0 ? shortage_ : error_;
        const std::error_code cause(error, std::generic_category());
        if (shortage_ != 0) {
            return failure_of(Origin::sluice, Reason::overloaded,
                              "no socket for a connection to " + authority.text() + ": " + cause.message(), cause);
        }
        std::string detail = "connecting to " + authority.text() + " failed: ";
        if (!authority.is_address) detail += address_.text() + ": ";
        detail += cause.message();
        if (tried_.size() > 1) detail += " (" + std::to_string(tried_.size()) + " addresses tried)";
        return failure_of(Origin::vendor, Reason::connect_failed, std::move(detail), cause);
    }
    Failure timeout(const Authority& authority) const {
        std::string detail = "no TCP connection to " + authority.text() + " within the time to connect";
        if (!authority.is_address && !tried_.empty()) detail += "; tried " + listed(tried_);
        return failure_of(Origin::vendor, Reason::timeout_connect, std::move(detail));
    }

  private:
    static bool is_shortage(int error) {
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
    }
    static bool is_local(int error) { return error == ENETUNREACH || error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

    std::vector<IpAddress> tried_;
    IpAddress address_;
    int error_ = 0;
    int shortage_ = 0;
};

/// Several attempts under way at once. Each is watched by a coroutine of its own; all of them wake the one that waits
/// for the first to connect.
struct Race {
    Wakeup changed;
    Deadline pace{[](void* race) { static_cast<Race*>(race)->changed.notify(Wait::timed_out); }, this};
    std::list<Attempt> attempts;
    Attempt* winner = nullptr;
    std::size_t running = 0;
    bool over = false;
};

Task<void> watch(std::shared_ptr<Race> race, Attempt* attempt, Tally* tally) {
    if (race->over) co_return;
    const Wait how = co_await attempt->socket.writable(never);
    if (race->over) co_return;  // closed by whoever won
    --race->running;
    attempt->error = how == Wait::ready ? outcome_of(attempt->socket) : ECANCELED;
    if (attempt->error != 0) {
        tally->failed(attempt->address, attempt->error);
        attempt->socket.close();
    } else if (!race->winner) {
        race->winner = attempt;
    }
    race->changed.notify(Wait::ready);
}

/// The candidates of one call of `dial`, as they are worked off.
struct Dialling {
    Loop& loop;
    const Authority& authority;
    TimePoint deadline;
    std::vector<IpAddress> candidates;
    std::size_t next = 0;
    Tally tally{};

    bool more() const { return next < candidates.size(); }
    /// The next candidate's attempt; its error is in the tally already.
    Attempt begin_next() {
        Attempt attempt = begin(loop, candidates[next], authority.port);
        tally.began(candidates[next++]);
        if (attempt.error != 0) tally.failed(attempt.address, attempt.error);
        return attempt;
    }
};

void run(Dialling& dialling, const std::shared_ptr<Race>& race, Attempt attempt) {
    if (attempt.error != 0) return;
    race->attempts.push_back(std::move(attempt));
    ++race->running;
    spawn(watch(race, &race->attempts.back(), &dialling.tally));
}

/// Until one has connected, nothing is left, or the time is up.
Task<void> run_race(Dialling& dialling, std::shared_ptr<Race> race) {
    TimePoint next_at = Loop::now();
    while (!race->winner && Loop::now() < dialling.deadline) {
        if (dialling.more() && (race->running == 0 || Loop::now() >= next_at)) {
            Attempt attempt = dialling.begin_next();
            if (attempt.error == 0) next_at = later(Loop::now(), attempt_delay);
            run(dialling, race, std::move(attempt));
            continue;
        }
        if (race->running == 0) co_return;
        dialling.loop.wheel.arm(race->pace, dialling.more() ? std::min(next_at, dialling.deadline) : dialling.deadline);
        const Wait changed = co_await race->changed.wait();
        if (changed == Wait::ready)
            next_at = Loop::now();  // one has failed: the next need not wait
    }
}

/// `first` did not connect within its time: on with the other candidates, if time is left.
Task<Result<Attempt>> race_others(Dialling& dialling, Attempt first) {
    const auto race = std::make_shared<Race>();
    run(dialling, race, std::move(first));
    Task<void> running = run_race(dialling, race);
    co_await std::move(running);
    race->over = true;
    race->pace.disarm();
    for (Attempt& attempt : race->attempts) {
        if (&attempt != race->winner) attempt.socket.close();
    }
    if (race->winner) co_return std::move(*race->winner);
    if (race->running > 0 || dialling.more()) co_return dialling.tally.timeout(dialling.authority);
    co_return dialling.tally.failure(dialling.authority);
}

/// One after the other while each fails soon, which is nearly always; only where one hangs do they race.
Task<Result<Attempt>> connect_any(Dialling& dialling) {
    while (dialling.more()) {
        Attempt attempt = dialling.begin_next();
        if (attempt.error != 0) continue;
        const TimePoint paced = dialling.more() ? later(Loop::now(), attempt_delay) : never;
        const Wait how = co_await attempt.socket.writable(std::min(paced, dialling.deadline));
        if (how == Wait::timed_out) {
            Task<Result<Attempt>> raced = race_others(dialling, std::move(attempt));
            co_return co_await std::move(raced);
        }
        attempt.error = how == Wait::ready ? outcome_of(attempt.socket) : ECANCELED;
        if (attempt.error == 0) co_return std::move(attempt);
        dialling.tally.failed(attempt.address, attempt.error);
    }
    co_return dialling.tally.failure(dialling.authority);
}

}  // namespace

std::vector<IpAddress> interleaved(const std::vector<IpAddress>& addresses) {
    std::vector<IpAddress> first, second;
    for (const IpAddress& each : addresses) (each.v6 == addresses.front().v6 ? first : second).push_back(each);
    std::vector<IpAddress> out;
    for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
        if (i < first.size()) out.push_back(first[i]);
        if (i < second.size()) out.push_back(second[i]);
    }
    return out;
}

Dialler::Dialler(Loop& loop, Resolver& resolver, std::function<bool(const IpAddress&, std::uint16_t)> own_listener)
    : loop_(loop), resolver_(resolver), own_listener_(std::move(own_listener)) {}

/// The addresses that may be dialled, each once, in the order in which they are tried.
Result<std::vector<IpAddress>> Dialler::choose(const Authority& authority, const std::vector<AddressRange>& addresses,
                                               const std::vector<IpAddress>& resolved,
                                               std::string_view whose) const {
    Refusals refusals;
    std::vector<IpAddress> allowed;
    for (const IpAddress& each : resolved) {
        const IpAddress address = bare(each);
        if (std::find(allowed.begin(), allowed.end(), address) != allowed.end()) continue;
        if (is_unspecified(address)) {
            refusals.add(address, "the unspecified address", false);
        } else if (own_listener_ && own_listener_(address, authority.port)) {
            refusals.add_own(address);
        } else if (const std::string_view why = judge_address(address, addresses); !why.empty()) {
            refusals.add(address, why, true);
        } else {
            allowed.push_back(address);
        }
    }
    if (allowed.empty()) return refusals.failure(authority, whose);
    return interleaved(allowed);
}

Task<Result<Dialled>> Dialler::dial(const Authority& authority, const std::vector<AddressRange>& addresses,
                                    TimePoint deadline, Phases& phases, std::string_view whose) {
    const TimePoint started = Loop::now();
    Task<Result<std::vector<IpAddress>>> resolving = resolver_.resolve(authority.host, deadline);
    const Result<std::vector<IpAddress>> resolved = co_await std::move(resolving);
    const TimePoint resolved_at = Loop::now();
    phases.dns = resolved_at - started;
    if (!resolved) co_return resolved.error();

    Result<std::vector<IpAddress>> candidates = choose(authority, addresses, *resolved, whose);
    if (!candidates) co_return candidates.error();

    Dialling dialling{loop_, authority, deadline, std::move(*candidates)};
    Task<Result<Attempt>> connecting = connect_any(dialling);
    Result<Attempt> attempt = co_await std::move(connecting);
    phases.connect = Loop::now() - resolved_at;
    if (!attempt) co_return attempt.error();
    co_return Dialled{std::move(attempt->socket), attempt->address};
}

}  // namespace sluice
