// The dialler against listeners on loopback, and names from a name server of our own. A connection that hangs is made
// with a listener whose queue is full: its kernel drops every further SYN.
#include "proxy/net/dial.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/fake_dns.hpp"
#include "tests/support/run_task.hpp"

using namespace sluice;
using namespace sluice::test;

namespace {

/// A descriptor of the test's own.
class Fd {
  public:
    explicit Fd(int fd = -1) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

struct Name {
    sockaddr_storage storage{};
    socklen_t size = 0;

    Name(const std::string& address, std::uint16_t port) {
        const IpAddress ip = parse_address(address).value();
        if (ip.v6) {
            auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
            v6.sin6_family = AF_INET6;
            v6.sin6_port = htons(port);
            std::memcpy(&v6.sin6_addr, ip.bytes.data(), 16);
            size = sizeof v6;
        } else {
            auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
            v4.sin_family = AF_INET;
            v4.sin_port = htons(port);
            std::memcpy(&v4.sin_addr, ip.bytes.data(), 4);
            size = sizeof v4;
        }
    }
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
};

/// Listens, and answers; or, once it is `full`, hangs. `port` 0 picks one.
class Listener {
  public:
    Listener(const std::string& address, std::uint16_t port, int backlog) {
        const Name name(address, port);
        fd_ = Fd(::socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int on = 1;
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        REQUIRE(::bind(fd_.get(), name.get(), name.size) == 0);
        REQUIRE(::listen(fd_.get(), backlog) == 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
        port_ = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                                  : reinterpret_cast<sockaddr_in&>(bound).sin_port);
        address_ = address;
    }
    static Listener answering(const std::string& address, std::uint16_t port = 0) { return {address, port, 64}; }
    static Listener hanging(const std::string& address, std::uint16_t port = 0) {
        Listener listener(address, port, 0);
        const Name name(address, listener.port_);
        listener.filler_ = Fd(::socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(listener.filler_.get(), name.get(), name.size) == 0);  // the queue of none holds one
        return listener;
    }

    std::uint16_t port() const { return port_; }
    Fd accept() const { return Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

  private:
    Fd fd_, filler_;
    std::uint16_t port_ = 0;
    std::string address_;
};

std::vector<AddressRange> ranges(const std::vector<std::string>& texts) {
    std::vector<AddressRange> out;
    std::string fault;
    for (const std::string& text : texts) out.push_back(parse_range(text, fault).value());
    return out;
}

struct Bench {
    Loop loop;
    FakeDns dns;
    Resolver resolver;
    std::vector<std::pair<std::string, std::uint16_t>> asked_own;
    std::set<std::string> own;
    Phases phases;   // of the latest
    Dialler dialler{loop, resolver, [this](const IpAddress& address, std::uint16_t port) {
                        asked_own.emplace_back(address.text(), port);
                        return own.count(address.text()) > 0;
                    }};

    std::string_view whose = "the vendor";

    Bench() : resolver(loop, options_for(dns)) {}

    static Resolver::Options options_for(const FakeDns& dns) {
        Resolver::Options options;
        options.servers = dns.servers();
        return options;
    }

    Result<Dialled> dial(const Authority& authority, const std::vector<AddressRange>& addresses,
                         Duration within = 20s) {
        phases = {};
        return run(loop, dialler.dial(authority, addresses, Loop::now() + within, phases, whose));
    }
    Result<Dialled> dial(const std::string& host, std::uint16_t port, Duration within = 20s) {
        const Authority authority{host, port, parse_address(host).has_value()};
        const auto addresses = ranges({"127.0.0.0/8", "::1"});
        return dial(authority, addresses, within);
    }
};

std::string failure_of(const Result<Dialled>& result) {
    return result ? "connected to " + result->address.text()
                  : std::string(name_of(result.error().reason)) + ": " + result.error().detail;
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("a name is resolved and connected to, and both are timed") {
    Bench bench;
    const Listener listener = Listener::answering("127.0.0.2");
    bench.dns.addresses({"127.0.0.2"});
    const TimePoint started = Loop::now();
    Result<Dialled> dialled = bench.dial("api.example", listener.port());
    const Duration taken = Loop::now() - started;
    REQUIRE(dialled.has_value());
    CHECK(dialled->address.text() == "127.0.0.2");
    REQUIRE((bench.phases.dns && bench.phases.connect));
    CHECK(*bench.phases.dns > 0s);
    CHECK(*bench.phases.connect > 0s);
    CHECK(*bench.phases.dns + *bench.phases.connect <= taken);
    int no_delay = 0;
    socklen_t size = sizeof no_delay;
    ::getsockopt(dialled->socket.fd(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
    CHECK(no_delay != 0);
    const Fd peer = listener.accept();
    const iovec hello{const_cast<char*>("hello"), 5};
    CHECK(dialled->socket.write({&hello, 1}).size == 5);
    char read[8]{};
    CHECK(::recv(peer.get(), read, sizeof read, 0) == 5);
    CHECK(std::string(read) == "hello");
}

TEST_CASE("literals of both families are connected to") {
    const std::string address = GENERATE(as<std::string>{}, "127.0.0.1", "::1");
    Bench bench;
    const Listener listener = Listener::answering(address);
    const Result<Dialled> dialled = bench.dial(address, listener.port());
    CHECK(failure_of(dialled) == "connected to " + address);
    CHECK(bench.dns.asked().empty());
}

TEST_CASE("an address that may not be dialled is refused, with what to write if it is meant") {
    struct Case {
        Authority authority;
        std::vector<std::string> answer, allowed;
        std::string_view detail;
    };
    const std::vector<Case> cases{
        {{"api.example", 443, false},
         {"10.0.0.5"},
         {},
         "api.example:443 is not dialled: api.example resolves to 10.0.0.5, a private address; where that is meant, "
         "the vendor's policy says `addresses: [10.0.0.5]`"},
        {{"169.254.169.254", 80, true},
         {},
         {},
         "169.254.169.254:80 is not dialled: 169.254.169.254 is a link-local address (cloud metadata); where that is "
         "meant, the vendor's policy says `addresses: [169.254.169.254]`"},
        {{"::1", 443, true},
         {},
         {"127.0.0.0/8"},
         "[::1]:443 is not dialled: ::1 is a loopback address; where that is meant, the vendor's policy says "
         "`addresses: [::1]`"},
        {{"api.example", 443, false},
         {"10.0.0.5", "10.0.0.6"},
         {"10.0.0.7"},
         "api.example:443 is not dialled: api.example resolves to 10.0.0.5, a private address; where that is meant, "
         "the vendor's policy says `addresses: [10.0.0.5, 10.0.0.6]`"},
        {{"api.example", 443, false},
         {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"},
         {},
         "api.example:443 is not dialled: api.example resolves to 10.0.0.1, a private address; where that is meant, "
         "the vendor's policy says `addresses: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 2 more]`"},
        {{"::ffff:10.0.0.5", 443, true},
         {},
         {},
         "[::ffff:10.0.0.5]:443 is not dialled: 10.0.0.5 is a private address; where that is meant, the vendor's "
         "policy says `addresses: [10.0.0.5]`"},
        {{"localhost", 443, false},
         {"203.0.113.1"},
         {},
         "localhost:443 is not dialled: localhost resolves to ::1, a loopback address; where that is meant, the "
         "vendor's policy says `addresses: [::1, 127.0.0.1]`"},
        {{"0.0.0.0", 443, true}, {}, {"0.0.0.0/0"}, "0.0.0.0:443 is not dialled: 0.0.0.0 is the unspecified address"},
        {{"::", 443, true}, {}, {"::/0"}, "[::]:443 is not dialled: :: is the unspecified address"},
        {{"::ffff:0.0.0.0", 443, true},
         {},
         {"0.0.0.0/0", "::/0"},
         "[::ffff:0.0.0.0]:443 is not dialled: 0.0.0.0 is the unspecified address"},
    };
    for (const Case& test : cases) {
        CAPTURE(test.authority.text());
        Bench bench;
        bench.dns.addresses(test.answer);
        const Result<Dialled> dialled = bench.dial(test.authority, ranges(test.allowed));
        REQUIRE(!dialled);
        CHECK(dialled.error().reason == Reason::address_refused);
        CHECK(dialled.error().origin == Origin::sluice);
        CHECK(dialled.error().replay == Replay::safe);
        CHECK(dialled.error().detail == test.detail);
    }
}

TEST_CASE("addresses that may not be dialled are left out while others remain") {
    Bench bench;
    const Listener forbidden = Listener::answering("127.0.0.2");
    const Listener listener = Listener::answering("127.0.0.3", forbidden.port());
    bench.dns.addresses({"10.0.0.1", "127.0.0.2", "127.0.0.3"});
    const Result<Dialled> dialled = bench.dial(Authority{"api.example", listener.port(), false}, ranges({"127.0.0.3"}));
    CHECK(failure_of(dialled) == "connected to 127.0.0.3");
}

TEST_CASE("what is to be written says whose policy it belongs in, or that somebody's has to be made") {
    Bench bench;
    bench.whose = "credential pay";
    CHECK(failure_of(bench.dial(Authority{"10.0.0.5", 443, true}, {})).ends_with("is a private address; where that is meant, credential pay's policy says `addresses: [10.0.0.5]`"));
    bench.whose = "";
    CHECK(failure_of(bench.dial(Authority{"::1", 443, true}, {})).ends_with("is a loopback address; where that is meant, make a vendor of it: `hosts: [\"[::1]:443\"], addresses: [::1]`"));
}

TEST_CASE("a listener of our own is not dialled, by any form of its address") {
    Bench bench;
    const Listener listener = Listener::answering("127.0.0.1");
    bench.own = {"127.0.0.1"};
    bench.dns.addresses({"127.0.0.1"});
    const std::string port = std::to_string(listener.port());
    CHECK(failure_of(bench.dial("api.example", listener.port())) ==
          "address_refused: api.example:" + port +
              " is not dialled: api.example resolves to 127.0.0.1, one of Sluice's own listeners");
    CHECK(failure_of(bench.dial("::ffff:127.0.0.1", listener.port())) ==
          "address_refused: [::ffff:127.0.0.1]:" + port +
              " is not dialled: 127.0.0.1 is one of Sluice's own listeners");
    // Nor is anybody told to write what would not help.
    const Result<Dialled> refused = bench.dial(Authority{"127.0.0.1", listener.port(), true}, {});
    CHECK(failure_of(refused) == "address_refused: 127.0.0.1:" + port + " is not dialled: 127.0.0.1 is one of Sluice's own listeners");
    bench.dns.addresses({"127.0.0.9", "127.0.0.1"});
    CHECK(failure_of(bench.dial(Authority{"both.example", listener.port(), false}, {})) ==
          "address_refused: both.example:" + port + " is not dialled: both.example resolves to 127.0.0.1, one of Sluice's own listeners");
    CHECK(bench.asked_own.size() == 5);
    std::erase_if(bench.asked_own, [](const auto& asked) { return asked.first == "127.0.0.9"; });
    CHECK(bench.asked_own.size() == 4);
    for (const auto& asked : bench.asked_own)
        CHECK(asked == std::pair<std::string, std::uint16_t>("127.0.0.1", listener.port()));
}

TEST_CASE("a name that has no address fails as the resolver says") {
    Bench bench;
    bench.dns.answer([](const DnsQuery& query) { return std::vector{dns_reply(query, {}, no_such_name)}; });
    CHECK(failure_of(bench.dial("gone.example", 443)) == "dns_failed: gone.example: no such host");
    CHECK(bench.phases.dns.value_or(0s) > 0s);
    CHECK_FALSE(bench.phases.connect);
}

TEST_CASE("a name that nobody resolves ends with the time to connect") {
    Bench bench;
    const Result<Dialled> dialled = bench.dial("api.example", 443, 50ms);
    REQUIRE(!dialled);
    CHECK(dialled.error().reason == Reason::timeout_connect);
}

TEST_CASE("a connection that is refused fails in words") {
    Bench bench;
    std::uint16_t port = 0;
    { port = Listener::answering("127.0.0.2").port(); }
    bench.dns.addresses({"127.0.0.2"});
    Result<Dialled> dialled = bench.dial("api.example", port);
    REQUIRE(!dialled);
    CHECK(dialled.error().reason == Reason::connect_failed);
    CHECK(dialled.error().origin == Origin::vendor);
    CHECK(dialled.error().replay == Replay::safe);
    CHECK(dialled.error().cause == std::errc::connection_refused);
    CHECK(dialled.error().detail ==
          "connecting to api.example:" + std::to_string(port) + " failed: 127.0.0.2: Connection refused");
    dialled = bench.dial("127.0.0.2", port);
    CHECK(failure_of(dialled) ==
          "connect_failed: connecting to 127.0.0.2:" + std::to_string(port) + " failed: Connection refused");
}

TEST_CASE("after a refused connection the next address is tried at once") {
    Bench bench;
    const Listener listener = Listener::answering("127.0.0.4");
    bench.dns.addresses({"127.0.0.2", "127.0.0.3", "127.0.0.4"});
    // The clock of a loaded machine may stand still for as long as the pause that must not be made: once is enough.
    Duration least = 1h;
    for (int i = 0; i < 5 && least >= 250ms; ++i) {
        const Result<Dialled> dialled = bench.dial("api.example", listener.port());
        REQUIRE(dialled.has_value());
        CHECK(dialled->address.text() == "127.0.0.4");
        least = std::min(least, *bench.phases.connect);
    }
    CHECK(least < 250ms);
}

TEST_CASE("an address that hangs is raced by the next after 250 ms") {
    Bench bench;
    const Listener hanging = Listener::hanging("127.0.0.2");
    const Listener listener = Listener::answering("127.0.0.3", hanging.port());
    bench.dns.addresses({"127.0.0.2", "127.0.0.3"});
    const Result<Dialled> dialled = bench.dial("api.example", listener.port());
    REQUIRE(dialled.has_value());
    CHECK(dialled->address.text() == "127.0.0.3");
    CHECK(*bench.phases.connect >= 250ms);
}

TEST_CASE("a family that hangs does not keep the other from being reached") {
    Bench bench;
    const Listener hanging = Listener::hanging("::1");
    const Listener listener = Listener::answering("127.0.0.3", hanging.port());
    bench.dns.addresses({"::1", "127.0.0.3"});
    const Result<Dialled> dialled = bench.dial("api.example", listener.port());
    CHECK(failure_of(dialled) == "connected to 127.0.0.3");
}

TEST_CASE("in a race, an attempt that fails starts the next at once") {
    Bench bench;
    const Listener hanging = Listener::hanging("127.0.0.2");
    const Listener listener = Listener::answering("127.0.0.6", hanging.port());
    bench.dns.addresses({"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"});
    Duration least = 1h;
    for (int i = 0; i < 5 && least >= 500ms; ++i) {
        const Result<Dialled> dialled = bench.dial("api.example", listener.port());
        REQUIRE(dialled.has_value());
        CHECK(dialled->address.text() == "127.0.0.6");
        least = std::min(least, *bench.phases.connect);
    }
    CHECK(least >= 250ms);
    CHECK(least < 500ms);
}

TEST_CASE("an address without a route keeps nobody from the others") {
    const std::string unreachable = "127.255.255.255";  // TCP has no way to a broadcast address
    Bench bench;
    const Listener listener = Listener::answering("127.0.0.6");
    CHECK(failure_of(bench.dial(unreachable, listener.port())) ==
          "connect_failed: connecting to 127.255.255.255:" + std::to_string(listener.port()) +
              " failed: Network is unreachable");
    bench.dns.addresses({unreachable, "127.0.0.6"});
    CHECK(failure_of(bench.dial("api.example", listener.port())) == "connected to 127.0.0.6");
}

TEST_CASE("an attempt that was overtaken goes on, and may still win") {
    Bench bench;
    const Listener slow = Listener::hanging("127.0.0.2");
    const Listener hanging = Listener::hanging("127.0.0.3", slow.port());
    bench.dns.addresses({"127.0.0.2", "127.0.0.3"});
    Running<Result<Dialled>> dialling{bench.loop, [](Bench& b, std::uint16_t port) -> Task<Result<Dialled>> {
                                          const Authority authority{"api.example", port, false};
                                          const auto addresses = ranges({"127.0.0.0/8"});
                                          Task<Result<Dialled>> task =
                                              b.dialler.dial(authority, addresses, Loop::now() + 20s, b.phases);
                                          co_return co_await std::move(task);
                                      }(bench, slow.port())};
    const TimePoint raced = Loop::now() + 600ms;
    run_until(bench.loop, [&] { return Loop::now() >= raced; });
    CHECK_FALSE(dialling.done());
    const Fd room = slow.accept();  // the kernel sends its SYN again, and is answered now
    const Result<Dialled>& dialled = dialling.get();
    REQUIRE(dialled.has_value());
    CHECK(dialled->address.text() == "127.0.0.2");
}

TEST_CASE("where every address hangs the time to connect ends it, and nothing stays open") {
    struct Case {
        std::vector<std::string> addresses;
        Duration within;
        std::string_view tried;
    };
    const auto test = GENERATE(values<Case>({
        {{"127.0.0.2"}, 60ms, "; tried 127.0.0.2"},
        {{"127.0.0.2", "127.0.0.3"}, 60ms, "; tried 127.0.0.2"},
        {{"127.0.0.2", "127.0.0.3"}, 700ms, "; tried 127.0.0.2, 127.0.0.3"},
    }));
    Bench bench;
    std::vector<Listener> listeners;
    for (const std::string& address : test.addresses) {
        listeners.push_back(Listener::hanging(address, listeners.empty() ? 0 : listeners.front().port()));
    }
    bench.dns.addresses(test.addresses);
    REQUIRE(run(bench.loop, bench.resolver.resolve("api.example", Loop::now() + 20s)).has_value());
    const std::size_t before = open_descriptors();
    const TimePoint started = Loop::now();
    const Result<Dialled> dialled = bench.dial("api.example", listeners.front().port(), test.within);
    CHECK(Loop::now() >= started + test.within);
    CHECK(failure_of(dialled) ==
          "timeout_connect: no TCP connection to api.example:" + std::to_string(listeners.front().port()) +
              " within the time to connect" + std::string(test.tried));
    bench.loop.turn(Loop::now());
    CHECK(open_descriptors() == before);
}

TEST_CASE("the losers of a race are closed") {
    Bench bench;
    const Listener hanging = Listener::hanging("127.0.0.2");
    const Listener listener = Listener::answering("127.0.0.3", hanging.port());
    bench.dns.addresses({"127.0.0.2", "127.0.0.3"});
    REQUIRE(run(bench.loop, bench.resolver.resolve("api.example", Loop::now() + 20s)).has_value());
    const std::size_t before = open_descriptors();
    const Result<Dialled> dialled = bench.dial("api.example", listener.port());
    REQUIRE(dialled.has_value());
    bench.loop.turn(Loop::now());
    CHECK(open_descriptors() == before + 1);
}

TEST_CASE("of several failures the last one that says something of the vendor is told") {
    struct Case {
        std::vector<std::string> addresses;
        std::string_view told;
    };
    const auto test = GENERATE(values<Case>({
        {{"127.0.0.2", "127.0.0.3"}, "127.0.0.3: Connection refused (2 addresses tried)"},
        {{"127.0.0.2", "127.255.255.255"}, "127.0.0.2: Connection refused (2 addresses tried)"},
    }));
    Bench bench;
    std::uint16_t port = 0;
    { port = Listener::answering("127.0.0.2").port(); }
    bench.dns.addresses(test.addresses);
    CHECK(failure_of(bench.dial("api.example", port)) ==
          "connect_failed: connecting to api.example:" + std::to_string(port) + " failed: " + std::string(test.told));
}

namespace {

/// No further descriptor can be had while it lives.
class NoDescriptors {
  public:
    NoDescriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit none = before_;
        none.rlim_cur = 0;
        ::setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("when descriptors have run out the failure is ours, and can be told from a vendor's") {
    const std::string host = GENERATE(as<std::string>{}, "127.0.0.2", "api.example", "known.example");
    Bench bench;
    const Listener listener = Listener::answering("127.0.0.2");
    bench.dns.addresses({"127.0.0.2", "127.0.0.3"});
    // All the way, not only resolved: UBSan needs a pipe for each type that it meets for the first time.
    REQUIRE(bench.dial("known.example", listener.port()).has_value());
    const Result<Dialled> dialled = [&] {  // nothing else, no CHECK either, for the same reason
        const NoDescriptors none;
        return bench.dial(host, listener.port());
    }();
    REQUIRE(!dialled);
    CHECK(dialled.error().reason == Reason::overloaded);
    CHECK(dialled.error().origin == Origin::sluice);
    CHECK(dialled.error().replay == Replay::safe);
    CHECK(failure_of(bench.dial(host, listener.port())) == "connected to 127.0.0.2");
}

TEST_CASE("families are tried in turn, beginning with the first address's") {
    const auto order = [](const std::vector<std::string>& texts) {
        std::vector<IpAddress> addresses;
        for (const std::string& text : texts) addresses.push_back(*parse_address(text));
        std::string out;
        for (const IpAddress& each : interleaved(addresses)) out += each.text() + " ";
        return out;
    };
    CHECK(order({}) == "");
    CHECK(order({"192.0.2.1"}) == "192.0.2.1 ");
    CHECK(order({"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"}) ==
          "2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3 ");
    CHECK(order({"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"}) ==
          "192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2 2001:db8::3 ");
}
