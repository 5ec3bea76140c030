#include "proxy/net/resolve.hpp"

#include <ares.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <limits>
#include <list>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::ptrdiff_t kept_of_a_family = 32;
constexpr std::string_view no_answer = "no answer from the name servers";

/// What a lookup came to: addresses, or why there are none.
struct Answer {
    std::vector<IpAddress> addresses;
    std::string_view fault{};  // static words
    Duration ttl{};            // zero: not kept
    Reason reason = Reason::dns_failed;
};

/// One coroutine's wait for a Lookup.
struct Waiter {
    Wakeup wakeup;
    Deadline deadline{[](void* waiter) { static_cast<Waiter*>(waiter)->wakeup.notify(Wait::timed_out); }, this};
};

/// Bounded by entries and by time.
class AddressCache {
  public:
    explicit AddressCache(std::size_t limit) : limit_(limit) {}

    /// Valid until the next call.
    const Answer* find(const std::string& host, TimePoint now) {
        const auto found = by_host_.find(host);
        if (found == by_host_.end()) return nullptr;
        if (found->second->expires <= now) {
            entries_.erase(found->second);
            by_host_.erase(found);
            return nullptr;
        }
        entries_.splice(entries_.begin(), entries_, found->second);
        return &found->second->answer;
    }

    void put(const std::string& host, const Answer& answer, TimePoint now) {
        if (const auto found = by_host_.find(host); found != by_host_.end()) {
            entries_.erase(found->second);
            by_host_.erase(found);
        }
        if (answer.ttl <= Duration::zero() || limit_ == 0) return;
        if (entries_.size() == limit_) {
            by_host_.erase(entries_.back().host);
            entries_.pop_back();
        }
        entries_.push_front(Entry{host, answer, later(now, answer.ttl)});
        by_host_.emplace(host, entries_.begin());
    }

  private:
    struct Entry {
        std::string host;
        Answer answer;
        TimePoint expires;
    };
    std::size_t limit_;
    std::list<Entry> entries_;  // most recently used first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_host_;
};

/// Which resolv.conf the channel was made from.
struct Stamp {
    dev_t device{};
    ino_t inode{};
    off_t size{};
    std::int64_t modified{};

    bool operator==(const Stamp&) const = default;

    static Stamp of(const std::string& path) {
        struct stat file {};
        if (::stat(path.c_str(), &file) != 0) return {};
        return {file.st_dev, file.st_ino, file.st_size, file.st_mtim.tv_sec * 1'000'000'000 + file.st_mtim.tv_nsec};
    }
};

/// Authorities were checked when they were made; c-ares reads a C string, so it is never given anything else.
bool is_host_name(std::string_view host) {
    return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](char c) {
        return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_' || c == '.';
    });
}

bool is_localhost(std::string_view host) {
    constexpr std::string_view name = "localhost";
    if (host.size() < name.size() || !same_text(host.substr(host.size() - name.size()), name)) return false;
    return host.size() == name.size() || host[host.size() - name.size() - 1] == '.';
}

std::vector<IpAddress> loopback() {
    IpAddress v6{{}, true}, v4{};
    v6.bytes[15] = 1;
    v4.bytes = {127, 0, 0, 1};
    return {v6, v4};
}

Failure failed(std::string_view host, std::string_view why, Reason reason = Reason::dns_failed) {
    Failure failure;
    failure.origin = reason == Reason::overloaded ? Origin::sluice : Origin::vendor;
    failure.reason = reason;
    failure.replay = Replay::safe;
    failure.detail = std::string(host) + ": " + std::string(why);
    return failure;
}

/// The words for an ares status.
std::string_view words_for(int status) {
    switch (status) {
        case ARES_ENOTFOUND:
            return "no such host";
        case ARES_ENODATA:
            return "the name has no address";
        case ARES_ETIMEOUT:
            return no_answer;
        case ARES_ECONNREFUSED:  // c-ares 1.18 says this of SERVFAIL and REFUSED too, after it has asked every server
            return "the name servers cannot be reached, or fail to answer";
        case ARES_ESERVFAIL:
            return "the name servers failed (SERVFAIL)";
        case ARES_EREFUSED:
            return "the name servers refuse to answer (REFUSED)";
        case ARES_EBADRESP:
            return "the name servers' answer makes no sense";
        case ARES_EBADNAME:
            return "not a host name";
        default:
            return ares_strerror(status);
    }
}

/// c-ares does not say why it had no socket.
bool sockets_ran_out() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return true;
    ::close(fd);
    return false;
}

std::optional<IpAddress> address_of(const ares_addrinfo_node& node) {
    IpAddress address;
    if (node.ai_family == AF_INET && node.ai_addrlen >= sizeof(sockaddr_in)) {
        std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in*>(node.ai_addr)->sin_addr, 4);
        return address;
    }
    if (node.ai_family == AF_INET6 && node.ai_addrlen >= sizeof(sockaddr_in6)) {
        std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(node.ai_addr)->sin6_addr, 16);
        address.v6 = true;
        return address;
    }
    return std::nullopt;
}

/// The addresses in c-ares' order, each once, and the least of all TTLs that led to them.
Answer answer_of(const ares_addrinfo& info) {
    Answer answer;
    std::int64_t ttl = std::numeric_limits<std::int32_t>::max();
    for (const auto* cname = info.cnames; cname; cname = cname->next) ttl = std::min<std::int64_t>(ttl, cname->ttl);
    for (const auto* node = info.nodes; node; node = node->ai_next) {
        ttl = std::min<std::int64_t>(ttl, node->ai_ttl);
        const auto address = address_of(*node);
        if (!address) continue;
        const auto same_family = [&](const IpAddress& kept) { return kept.v6 == address->v6; };
        auto& kept = answer.addresses;
        if (std::count_if(kept.begin(), kept.end(), same_family) == kept_of_a_family) continue;
        if (std::find(kept.begin(), kept.end(), *address) == kept.end()) kept.push_back(*address);
    }
    answer.ttl = std::chrono::seconds(std::max<std::int64_t>(ttl, 0));  // RFC 2181 8: negative is zero
    if (answer.addresses.empty()) answer.fault = words_for(ARES_ENODATA);
    return answer;
}

}  // namespace

/// c-ares' channel, the sockets that it wants watched, the lookups in flight, and the cache. c-ares is never called
/// from its own callbacks: those only note down what came in, and the waiters are resumed once it has returned.
struct Resolver::Impl : std::enable_shared_from_this<Impl> {
    struct Lookup {
        Lookup(Impl& i, std::string h) : impl(i), host(std::move(h)) {}

        Impl& impl;
        std::string host;
        Answer answer;
        bool done = false;
        std::list<Waiter> waiters;  // each is taken out by its own coroutine
        Deadline bound{[](void* lookup) { static_cast<Lookup*>(lookup)->give_up(); }, this};

        void give_up() {
            const std::shared_ptr<Impl> keep = impl.shared_from_this();
            keep->finish(*this, Answer{{}, no_answer});
            keep->resume_finished();
        }
    };
    using LookupPtr = std::shared_ptr<Lookup>;

    /// A socket of c-ares', which alone closes it, as a rule while it is being told of it.
    struct Watch : Polled {
        Watch(Impl& i, int f) : Polled(told), impl(i), fd(f) {}

        Impl& impl;
        const int fd;

        static void told(Polled* polled, std::uint32_t events) {
            const auto& watch = *static_cast<Watch*>(polled);
            const bool over = (events & (EPOLLERR | EPOLLHUP)) != 0;
            const int readable = over || (events & EPOLLIN) != 0 ? watch.fd : ARES_SOCKET_BAD;
            const int writable = over || (events & EPOLLOUT) != 0 ? watch.fd : ARES_SOCKET_BAD;
            watch.impl.process(readable, writable);
        }
    };

    Impl(Loop& l, Options o) : loop(l), options(std::move(o)), cache(options.cache_entries) {}

    Loop& loop;
    const Options options;
    AddressCache cache;
    std::unordered_map<std::string, LookupPtr> lookups;  // by host; not done yet
    std::deque<LookupPtr> finished;                      // done, with waiters that were not told yet
    std::deque<LookupPtr> again;                         // their channel was replaced under them
    std::size_t asked = 0;                               // callbacks that c-ares owes us
    ares_channel channel = nullptr;
    Stamp stamp;
    TimePoint check_at{};
    std::unordered_map<int, Watch> watches;
    bool closed = false;
    Deadline timeout{[](void* impl) { static_cast<Impl*>(impl)->process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }, this};

    LookupPtr look_up(const std::string& host);
    void ask(const LookupPtr& lookup);
    void answered(Lookup& lookup, int status, const ares_addrinfo* info);
    void finish(Lookup& lookup, Answer answer);
    void resume_finished();

    void refresh_channel();
    ares_channel make_channel() const;
    void close_channel();

    void watch(int fd, bool read, bool write);
    void process(int readable, int writable);
    void set_timeout();
    void close();
};

/// The lookup of this host that is under way, or a new one, which may be done already; none: too many are.
Resolver::Impl::LookupPtr Resolver::Impl::look_up(const std::string& host) {
    if (const auto found = lookups.find(host); found != lookups.end()) return found->second;
    if (asked >= options.lookups) return nullptr;
    refresh_channel();
    const auto lookup = std::make_shared<Lookup>(*this, host);
    lookups.emplace(host, lookup);
    loop.wheel.arm(lookup->bound, later(Loop::now(), options.lookup));
    ask(lookup);
    set_timeout();
    if (!finished.empty()) {
        // Others came to their end with the channel; they are not resumed inside the coroutine that called us.
        loop.post([self = shared_from_this()] { self->resume_finished(); });
    }
    return lookup;
}

void Resolver::Impl::ask(const LookupPtr& lookup) {
    if (!channel) {
        finish(*lookup, Answer{{}, "the system's resolver configuration cannot be read"});
        return;
    }
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    if (!options.hosts_file.empty()) hints.ai_flags |= ARES_AI_ENVHOSTS;
    ++asked;
    ares_getaddrinfo(
        channel, lookup->host.c_str(), nullptr, &hints,
        [](void* argument, int status, int, ares_addrinfo* info) {
            // c-ares calls exactly once, at the latest when its channel is destroyed: the reference is its own.
            const std::unique_ptr<LookupPtr> asked_for{static_cast<LookupPtr*>(argument)};
            const std::unique_ptr<ares_addrinfo, decltype(&ares_freeaddrinfo)> owned{info, &ares_freeaddrinfo};
            Lookup& lookup = **asked_for;
            --lookup.impl.asked;
            if (lookup.done || lookup.impl.closed) return;
            if (status == ARES_EDESTRUCTION) {
                lookup.impl.again.push_back(*asked_for);
            } else {
                lookup.impl.answered(lookup, status, info);
            }
        },
        new LookupPtr(lookup));
}

void Resolver::Impl::answered(Lookup& lookup, int status, const ares_addrinfo* info) {
    Answer answer;
    if (status == ARES_SUCCESS && info) {
        answer = answer_of(*info);
        answer.ttl = std::min(std::max(answer.ttl, options.min_ttl), options.max_ttl);
    } else {
        answer.fault = words_for(status);
    }
    if (status == ARES_ENOTFOUND || status == ARES_ENODATA) answer.ttl = options.negative_ttl;
    if (status == ARES_ECONNREFUSED && sockets_ran_out()) {
        answer.fault = "no socket to ask the name servers with";
        answer.reason = Reason::overloaded;
    }
    cache.put(lookup.host, answer, Loop::now());
    finish(lookup, std::move(answer));
}

void Resolver::Impl::finish(Lookup& lookup, Answer answer) {
    const auto found = lookups.find(lookup.host);
    if (found == lookups.end() || found->second.get() != &lookup) return;
    lookup.answer = std::move(answer);
    lookup.done = true;
    lookup.bound.disarm();
    if (!lookup.waiters.empty()) finished.push_back(found->second);
    lookups.erase(found);
}

/// Callers hold a reference: a coroutine that is resumed may destroy the Resolver.
void Resolver::Impl::resume_finished() {
    while (!finished.empty()) {
        const LookupPtr lookup = std::move(finished.front());
        finished.pop_front();
        while (!lookup->waiters.empty()) lookup->waiters.front().wakeup.notify(Wait::ready);
    }
}

/// A new channel where resolv.conf has changed, and what the old one had not finished is asked again.
void Resolver::Impl::refresh_channel() {
    const TimePoint now = Loop::now();
    if (channel && now < check_at) return;
    check_at = later(now, options.recheck);
    const Stamp current = Stamp::of(options.resolv_conf);
    if (channel && current == stamp) return;
    stamp = current;
    close_channel();
    channel = make_channel();
    for (; !again.empty(); again.pop_front()) ask(again.front());
}

ares_channel Resolver::Impl::make_channel() const {
    static const int library = ares_library_init(ARES_LIB_INIT_ALL);
    if (library != ARES_SUCCESS) return nullptr;
    ares_options wanted{};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
    wanted.sock_state_cb = [](void* impl, ares_socket_t fd, int read, int write) {
        static_cast<Impl*>(impl)->watch(fd, read != 0, write != 0);
    };
    wanted.sock_state_cb_data = const_cast<Impl*>(this);
    wanted.timeout = 1000;  // doubled by each round: a lost datagram must not spend the whole of `connect` (2 s)
    wanted.tries = 3;
    wanted.udp_port = wanted.tcp_port = options.port;  // in host order, whatever the manual says
    std::string resolv_conf = options.servers.empty() ? options.resolv_conf : "/dev/null";
    wanted.resolvconf_path = resolv_conf.data();
    mask |= ARES_OPT_RESOLVCONF;
    char lookups_by_name[] = "b", lookups_by_file[] = "fb";
    if (!options.servers.empty()) {
        mask |= ARES_OPT_DOMAINS;  // none
        mask |= ARES_OPT_LOOKUPS;
        wanted.lookups = options.hosts_file.empty() ? lookups_by_name : lookups_by_file;
    }
    ares_channel made = nullptr;
    if (ares_init_options(&made, &wanted, mask) != ARES_SUCCESS) return nullptr;
    if (!options.servers.empty()) ares_set_servers_ports_csv(made, options.servers.c_str());
    return made;
}

void Resolver::Impl::close_channel() {
    if (channel) ares_destroy(std::exchange(channel, nullptr));
}

/// c-ares opened a socket, wants something else of it, or is about to close it.
void Resolver::Impl::watch(int fd, bool read, bool write) {
    const auto watch = watches.try_emplace(fd, *this, fd).first;
    if ((read || write) && loop.poller.add_level(fd, watch->second, read, write)) return;
    loop.poller.remove(fd, watch->second);   // a socket that cannot be watched: the query ends by its time
    watches.erase(watch);
}

/// c-ares reads, writes and looks at its own clock; then those wake up whose answer is there.
void Resolver::Impl::process(int readable, int writable) {
    const std::shared_ptr<Impl> keep = shared_from_this();
    if (!channel) return;
    ares_process_fd(channel, readable, writable);
    set_timeout();
    resume_finished();
}

void Resolver::Impl::set_timeout() {
    timeval left{};
    if (!channel || !ares_timeout(channel, nullptr, &left)) {
        timeout.disarm();
        return;
    }
    loop.wheel.arm(timeout, Loop::now() + std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec));
}

/// The last moment at which the loop is sure to be there. Who comes later finds everything closed.
void Resolver::Impl::close() {
    closed = true;
    close_channel();
    timeout.disarm();
    for (auto& [host, lookup] : lookups) finished.push_back(lookup);
    lookups.clear();
    for (const LookupPtr& lookup : finished) {
        lookup->done = true;
        lookup->bound.disarm();
        lookup->waiters.clear();  // a coroutine whose wakeup is destroyed is unwound, and with it its reference
    }
    finished.clear();
}

Resolver::Resolver(Loop& loop, Options options) : impl_(std::make_shared<Impl>(loop, std::move(options))) {
    if (!impl_->options.hosts_file.empty()) ::setenv("CARES_HOSTS", impl_->options.hosts_file.c_str(), 1);
}

Resolver::~Resolver() {
    impl_->close();
}

Task<Result<std::vector<IpAddress>>> Resolver::resolve(std::string host, TimePoint deadline) {
    if (const auto literal = parse_address(host)) co_return std::vector<IpAddress>{*literal};
    if (!is_host_name(host)) co_return failed("the authority", "not a host name");
    if (is_localhost(host)) co_return loopback();
    if (const Answer* known = impl_->cache.find(host, Loop::now())) {
        if (!known->fault.empty()) co_return failed(host, known->fault, known->reason);
        co_return known->addresses;
    }
    const Impl::LookupPtr lookup = impl_->look_up(host);
    if (!lookup) co_return failed(host, "too many names are being looked up", Reason::overloaded);
    if (!lookup->done) {
        const auto waiter = lookup->waiters.emplace(lookup->waiters.end());
        impl_->loop.wheel.arm(waiter->deadline, deadline);
        const Wait how = co_await waiter->wakeup.wait();
        lookup->waiters.erase(waiter);
        if (how == Wait::timed_out) {
            co_return failed(host, "no answer from the name servers within the time to connect",
                             Reason::timeout_connect);
        }
    }
    if (!lookup->answer.fault.empty()) co_return failed(host, lookup->answer.fault, lookup->answer.reason);
    co_return lookup->answer.addresses;
}

}  // namespace sluice
