// The resolver against a name server of our own on loopback.
#include "proxy/net/resolve.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/fake_dns.hpp"
#include "tests/support/run_task.hpp"

using namespace sluice;
using namespace sluice::test;

namespace {

using Addresses = Result<std::vector<IpAddress>>;

struct Bench {
    Loop loop;
    FakeDns dns;
    std::unique_ptr<Resolver> resolver;

    explicit Bench(Resolver::Options options = {}) {
        options.servers = dns.servers();
        resolver = std::make_unique<Resolver>(loop, std::move(options));
    }
    Addresses resolve(const std::string& host, Duration within = 20s) {
        return run(loop, resolver->resolve(host, Loop::now() + within));
    }
    Running<Addresses> start(const std::string& host, Duration within = 20s) {
        return {loop, resolver->resolve(host, Loop::now() + within)};
    }
};

/// "::1 127.0.0.1", or the failure's detail.
std::string text_of(const Addresses& addresses) {
    if (!addresses) return addresses.error().detail;
    std::string out;
    for (const IpAddress& address : *addresses) out += (out.empty() ? "" : " ") + address.text();
    return out;
}

/// A file of the test's own, gone with it.
class TemporaryFile {
  public:
    TemporaryFile() {
        std::string path = (std::filesystem::temp_directory_path() / "sluice-test-XXXXXX").string();
        const int fd = ::mkstemp(path.data());
        REQUIRE(fd >= 0);
        ::close(fd);
        path_ = path;
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() { ::unlink(path_.c_str()); }
    void write(std::string_view text) const { std::ofstream(path_, std::ios::trunc) << text; }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

}  // namespace

TEST_CASE("a name is asked for once in each family, and answers with both") {
    Bench bench;
    bench.dns.addresses({"127.0.0.5", "::1"});
    const Addresses found = bench.resolve("api.example");
    REQUIRE(found.has_value());
    CHECK(found->size() == 2);
    CHECK(std::count(found->begin(), found->end(), *parse_address("127.0.0.5")) == 1);
    CHECK(std::count(found->begin(), found->end(), *parse_address("::1")) == 1);
    CHECK(bench.dns.asked().size() == 2);
    CHECK(bench.dns.asked_for("api.example", type_a) == 1);
    CHECK(bench.dns.asked_for("api.example", type_aaaa) == 1);
}

TEST_CASE("a name of one family only answers with that") {
    const std::string address = GENERATE(as<std::string>{}, "127.0.0.5", "::1");
    Bench bench;
    bench.dns.addresses({address});
    CHECK(text_of(bench.resolve("api.example")) == address);
}

TEST_CASE("literals and localhost are never asked of a name server") {
    Bench bench;
    bench.dns.addresses({"192.0.2.66"});
    CHECK(text_of(bench.resolve("203.0.113.9")) == "203.0.113.9");
    CHECK(text_of(bench.resolve("2001:db8::9")) == "2001:db8::9");
    CHECK(text_of(bench.resolve("localhost")) == "::1 127.0.0.1");
    CHECK(text_of(bench.resolve("app.LOCALHOST")) == "::1 127.0.0.1");
    CHECK(bench.dns.asked().empty());
    CHECK(text_of(bench.resolve("notlocalhost")) == "192.0.2.66");
}

TEST_CASE("an answer is kept for its TTL, between the least and the most that the options say") {
    struct Case {
        std::uint32_t ttl;
        Duration min, max;
        bool kept;
    };
    const auto test = GENERATE(values<Case>({
        {300, 0s, 5min, true},
        {0, 0s, 5min, false},
        {0, 1min, 5min, true},
        {300, 0s, 0s, false},
        {0x80000000u, 0s, 5min, false},  // RFC 2181 8: the sign bit makes it zero
    }));
    CAPTURE(test.ttl, test.min.count(), test.max.count());
    Resolver::Options options;
    options.min_ttl = test.min;
    options.max_ttl = test.max;
    Bench bench{options};
    bench.dns.addresses({"127.0.0.5"}, test.ttl);
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
    CHECK(bench.dns.asked_for("api.example", type_a) == (test.kept ? 1 : 2));
}

TEST_CASE("the TTL of a CNAME on the way bounds the answer's") {
    Resolver::Options options;
    options.min_ttl = 0s;
    Bench bench{options};
    bench.dns.answer([](const DnsQuery& query) {
        std::vector<DnsRecord> records{{type_cname, 0, dns_name("far.example")}};
        if (query.type == type_a) {
            records.push_back(address_record("127.0.0.5", 300));
            records.back().owner = dns_name("far.example");
        }
        return std::vector{dns_reply(query, records)};
    });
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
    CHECK(bench.dns.asked_for("api.example", type_a) == 2);
}

TEST_CASE("an answer whose TTL is over is asked for again, and not before") {
    Resolver::Options options;
    options.min_ttl = 0s;
    Bench bench{options};
    bench.dns.addresses({"127.0.0.5"}, 1);
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
    const TimePoint answered = Loop::now();
    bench.dns.addresses({"127.0.0.6"}, 1);
    while (text_of(bench.resolve("api.example")) == "127.0.0.5") REQUIRE(Loop::now() < answered + 10s);
    CHECK(Loop::now() >= answered + 990ms);  // it was kept a little before `answered` was taken
    CHECK(bench.dns.asked_for("api.example", type_a) == 2);
}

TEST_CASE("a name that does not exist fails in words, and is kept shortly") {
    struct Case {
        unsigned char code;
        std::string_view detail;
        bool kept;
    };
    const auto test = GENERATE(values<Case>({
        {no_such_name, "gone.example: no such host", true},
        {no_error, "gone.example: the name has no address", true},
        {server_failure, "gone.example: the name servers cannot be reached, or fail to answer", false},
        {refused, "gone.example: the name servers cannot be reached, or fail to answer", false},
    }));
    CAPTURE(test.detail);
    Bench bench;
    bench.dns.answer([&](const DnsQuery& query) { return std::vector{dns_reply(query, {}, test.code)}; });
    const Addresses first = bench.resolve("gone.example");
    REQUIRE(!first);
    CHECK(first.error().detail == test.detail);
    CHECK(first.error().reason == Reason::dns_failed);
    CHECK(first.error().origin == Origin::vendor);
    CHECK(first.error().replay == Replay::safe);
    bench.dns.addresses({"127.0.0.5"});
    CHECK(text_of(bench.resolve("gone.example")) == (test.kept ? test.detail : "127.0.0.5"));
}

TEST_CASE("a negative answer is kept five seconds at most, and no longer than the options say") {
    CHECK(Resolver::Options{}.negative_ttl <= 5s);
    Resolver::Options options;
    options.negative_ttl = 0s;
    Bench bench{options};
    bench.dns.answer([](const DnsQuery& query) { return std::vector{dns_reply(query, {}, no_such_name)}; });
    CHECK(text_of(bench.resolve("gone.example")) == "gone.example: no such host");
    bench.dns.addresses({"127.0.0.5"});
    CHECK(text_of(bench.resolve("gone.example")) == "127.0.0.5");
}

TEST_CASE("however many wait for a name, it is looked up once") {
    Bench bench;
    std::vector<DnsQuery> held;
    bench.dns.answer([&](const DnsQuery& query) {
        held.push_back(query);
        return std::vector<Bytes>{};
    });
    std::vector<Running<Addresses>> waiting;
    for (int i = 0; i < 50; ++i) waiting.push_back(bench.start("api.example"));
    run_until(bench.loop, [&] { return held.size() == 2; });
    for (const DnsQuery& query : held) bench.dns.send(dns_addresses(query, {"127.0.0.5"}));
    for (Running<Addresses>& each : waiting) CHECK(text_of(each.get()) == "127.0.0.5");
    CHECK(bench.dns.asked().size() == 2);
}

TEST_CASE("a wait that ends at its deadline takes nothing from the others who wait for the same name") {
    Bench bench;
    std::vector<DnsQuery> held;
    bench.dns.answer([&](const DnsQuery& query) {
        held.push_back(query);
        return std::vector<Bytes>{};
    });
    const TimePoint started = Loop::now();
    Running<Addresses> hasty = bench.start("api.example", 40ms);
    Running<Addresses> patient = bench.start("api.example");
    const Addresses& cut = hasty.get();
    CHECK(Loop::now() >= started + 40ms);
    REQUIRE(!cut);
    CHECK(cut.error().reason == Reason::timeout_connect);
    CHECK(cut.error().replay == Replay::safe);
    CHECK(cut.error().detail == "api.example: no answer from the name servers within the time to connect");
    CHECK_FALSE(patient.done());
    run_until(bench.loop, [&] { return held.size() >= 2; });
    for (const DnsQuery& query : held) bench.dns.send(dns_addresses(query, {"127.0.0.5"}));
    CHECK(text_of(patient.get()) == "127.0.0.5");
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
}

TEST_CASE("a lookup that nobody answers ends by itself") {
    Resolver::Options options;
    options.lookup = 60ms;
    Bench bench{options};
    const Addresses found = bench.resolve("api.example");
    REQUIRE(!found);
    CHECK(found.error().reason == Reason::dns_failed);
    CHECK(found.error().detail == "api.example: no answer from the name servers");
    bench.dns.addresses({"127.0.0.5"});
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
}

TEST_CASE("a datagram that is lost is sent again soon enough for a connection's time") {
    Bench bench;
    bench.dns.answer([&](const DnsQuery& query) {
        if (bench.dns.asked_for("api.example", query.type) < 2) return std::vector<Bytes>{};
        return std::vector{dns_addresses(query, {"127.0.0.5"})};
    });
    CHECK(text_of(bench.resolve("api.example", 5s)) == "127.0.0.5");
}

TEST_CASE("a name server that is not there fails the lookup") {
    Loop loop;
    Resolver::Options options;
    {
        FakeDns gone;
        options.servers = gone.servers();
    }
    Resolver resolver{loop, options};
    const Addresses found = run(loop, resolver.resolve("api.example", Loop::now() + 20s));
    REQUIRE(!found);
    CHECK(found.error().reason == Reason::dns_failed);
}

TEST_CASE("the cache holds no more names than the options say, and forgets the one not used longest") {
    Resolver::Options options;
    options.cache_entries = 2;
    Bench bench{options};
    bench.dns.addresses({"127.0.0.5"});
    for (const char* host : {"a.example", "b.example", "a.example", "c.example", "a.example", "b.example"}) {
        CHECK(text_of(bench.resolve(host)) == "127.0.0.5");
    }
    CHECK(bench.dns.asked_for("a.example", type_a) == 1);
    CHECK(bench.dns.asked_for("b.example", type_a) == 2);
    CHECK(bench.dns.asked_for("c.example", type_a) == 1);
}

TEST_CASE("more lookups at once than the options say are refused, not queued") {
    Resolver::Options options;
    options.lookups = 2;
    Bench bench{options};
    Running<Addresses> first = bench.start("a.example");
    Running<Addresses> second = bench.start("b.example");
    const Addresses third = bench.resolve("c.example");
    REQUIRE(!third);
    CHECK(third.error().reason == Reason::overloaded);
    CHECK(third.error().origin == Origin::sluice);
    CHECK(third.error().replay == Replay::safe);
    Running<Addresses> again = bench.start("a.example");  // joins the one under way
    CHECK_FALSE(again.done());
    bench.resolver.reset();
}

TEST_CASE("what is no host name is neither asked for nor repeated") {
    Bench bench;
    bench.dns.addresses({"127.0.0.5"});
    for (const std::string& host : {std::string(), std::string("a b"), std::string("api.example\0.evil", 17),
                                    std::string("api.example\r\nX: y"), std::string(254, 'a'), std::string("a/../b"),
                                    std::string("caf\xc3\xa9.example"), std::string("[::1]"), std::string("::1%lo")}) {
        CAPTURE(host);
        const Addresses found = bench.resolve(host);
        CHECK(text_of(found) == "the authority: not a host name");
    }
    CHECK_FALSE(bench.resolve("a..b").has_value());
    CHECK_FALSE(bench.resolve(".example").has_value());
    CHECK_FALSE(bench.resolve(std::string(64, 'a') + ".example").has_value());
    CHECK(bench.dns.asked().empty());
}

TEST_CASE("answers that nobody asked for change nothing") {
    Bench bench;
    bench.dns.answer([](const DnsQuery& query) {
        DnsQuery wrong_id = query;
        wrong_id.id[0] = static_cast<char>(wrong_id.id[0] ^ 0x55);
        DnsQuery wrong_question = query;
        wrong_question.question = dns_name("evil.example") + query.question.substr(query.question.size() - 4);
        DnsQuery wrong_type = query;
        wrong_type.question[wrong_type.question.size() - 3] = 16;
        Bytes no_question = query.id + Bytes("\x81\x80\0\0\0\1\0\0\0\0", 10);
        return std::vector<Bytes>{dns_addresses(wrong_id, {"192.0.2.1", "2001:db8::1"}),
                                  dns_addresses(wrong_question, {"192.0.2.2", "2001:db8::2"}),
                                  dns_reply(wrong_type, {address_record("192.0.2.3"), address_record("2001:db8::3")}),
                                  no_question,
                                  "x",
                                  Bytes(1500, '\xff'),
                                  Bytes(512, '\0'),
                                  query.id,
                                  dns_addresses(query, {"127.0.0.5"})};
    });
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
}

TEST_CASE("an answer cut off or spoilt at any byte is no worse than a failure") {
    const auto whole = [](const DnsQuery& query) {
        std::vector<DnsRecord> records{{type_cname, 60, dns_name("b.example")}};
        records.push_back(address_record(query.type == type_a ? "127.0.0.5" : "::1", 60));
        records.back().owner = dns_name("b.example");
        return dns_reply(query, records);
    };
    const int with = GENERATE(-1, 0x00, 0xff, 0xc0);  // what each byte is replaced by in turn; -1: cut off there
    Resolver::Options options;
    options.min_ttl = options.negative_ttl = 0s;
    options.lookup = 15ms;
    options.lookups = 4096;
    Bench bench{options};
    std::size_t at = 12, size = 64;
    bench.dns.answer([&](const DnsQuery& query) {
        Bytes reply = whole(query);
        size = reply.size();
        if (at >= size) return std::vector{reply};
        if (with >= 0) {
            reply[at] = static_cast<char>(with);
        } else {
            reply.resize(at);
        }
        return std::vector{reply};
    });
    for (; at < size; ++at) {
        CAPTURE(at);
        // Each is a name of its own: an answer to an earlier one that comes late is not taken for this one's.
        const Addresses found = bench.resolve("n" + std::to_string(at) + ".example");
        if (found) {
            CHECK(found->size() <= 2);
        } else {
            CHECK(found.error().reason == Reason::dns_failed);
        }
    }
}

TEST_CASE("a CNAME that leads back to itself ends in a failure") {
    struct Case {
        const char* what;
        std::vector<DnsRecord> records;
    };
    Bytes b = dns_name("b.example"), a = dns_name("a.example");
    const std::vector<Case> cases{
        {"to itself", {{type_cname, 60, a}}},
        {"to itself by pointer", {{type_cname, 60, Bytes("\xc0\x0c", 2)}}},
        {"round", {{type_cname, 60, b}, {type_cname, 60, a, b}, {type_cname, 60, b}, {type_cname, 60, a, b}}},
        {"a name that points at itself", {{type_cname, 60, Bytes("\xc0\x27", 2)}}},
        {"an owner that points at itself", {{type_cname, 60, a, Bytes("\xc0\x1b", 2)}}},
    };
    for (const Case& test : cases) {
        CAPTURE(test.what);
        Bench bench;
        bench.dns.answer([&](const DnsQuery& query) { return std::vector{dns_reply(query, test.records)}; });
        const Addresses found = bench.resolve("a.example");
        REQUIRE(!found);
        CHECK(found.error().reason == Reason::dns_failed);
    }
}

TEST_CASE("of thousands of addresses, a bounded number of each family is kept") {
    Bench bench;
    bench.dns.answer([](const DnsQuery& query) {
        if (!query.tcp) return std::vector{dns_reply(query, {}, no_error, true)};  // "too long, come by TCP"
        std::vector<DnsRecord> records;
        for (int i = 0; i < 2000; ++i) {
            const std::string tail = std::to_string(i / 250) + "." + std::to_string(i % 250);
            records.push_back(
                address_record(query.type == type_a ? "127.1." + tail : "2001:db8::" + std::to_string(i)));
        }
        return std::vector{dns_reply(query, records)};
    });
    const Addresses found = bench.resolve("api.example");
    REQUIRE(found.has_value());
    CHECK(std::count_if(found->begin(), found->end(), [](const IpAddress& each) { return each.v6; }) == 32);
    CHECK(std::count_if(found->begin(), found->end(), [](const IpAddress& each) { return !each.v6; }) == 32);
}

TEST_CASE("an address that is answered twice is given once") {
    Bench bench;
    bench.dns.addresses({"127.0.0.5", "127.0.0.5", "127.0.0.5"});
    CHECK(text_of(bench.resolve("api.example")) == "127.0.0.5");
}

TEST_CASE("the hosts file comes before the name servers, and is read again when it changes") {
    TemporaryFile hosts;
    hosts.write("127.0.0.7 db.internal alias.internal # ours\n");
    Resolver::Options options;
    options.hosts_file = hosts.path();
    options.min_ttl = 0s;
    Bench bench{options};
    bench.dns.addresses({"127.0.0.5"});
    CHECK(text_of(bench.resolve("alias.internal")) == "127.0.0.7");
    CHECK(bench.dns.asked().empty());
    hosts.write("127.0.0.8 db.internal\n");
    CHECK(text_of(bench.resolve("db.internal")) == "127.0.0.8");
    CHECK(text_of(bench.resolve("alias.internal")) == "127.0.0.5");
}

TEST_CASE("search domains and ndots are those of resolv.conf") {
    Loop loop;
    FakeDns dns;
    TemporaryFile conf;
    conf.write("nameserver 127.0.0.1\nsearch corp.example\noptions ndots:2\n");
    Resolver::Options options;
    options.resolv_conf = conf.path();
    options.port = dns.port();
    Resolver resolver{loop, options};
    dns.answer([](const DnsQuery& query) {
        if (query.name != "pay.svc.corp.example") return std::vector{dns_reply(query, {}, no_such_name)};
        return std::vector{dns_addresses(query, {"127.0.0.5"})};
    });
    const Addresses found = run(loop, resolver.resolve("pay.svc", Loop::now() + 20s));
    CHECK(text_of(found) == "127.0.0.5");
    CHECK(dns.asked_for("pay.svc", type_a) == 0);  // fewer dots than ndots: the search domain first
}

TEST_CASE("a changed resolv.conf takes over the lookups that are under way") {
    Loop loop;
    std::optional<FakeDns> of_silence, of_answers;
    for (int tries = 0; !of_answers; ++tries) {  // what is free on one address may be taken on the other
        of_silence.emplace("127.0.0.2");
        try {
            of_answers.emplace("127.0.0.1", of_silence->port());
        } catch (const boost::system::system_error&) {
            if (tries == 50) throw;
        }
    }
    FakeDns &silent = *of_silence, &dns = *of_answers;
    dns.addresses({"127.0.0.5"});
    TemporaryFile conf;
    conf.write("nameserver 127.0.0.2\n");
    Resolver::Options options;
    options.resolv_conf = conf.path();
    options.port = dns.port();
    options.recheck = 0s;
    Resolver resolver{loop, options};
    Running<Addresses> first{loop, resolver.resolve("a.example", Loop::now() + 20s)};
    run_until(loop, [&] { return silent.asked().size() == 2; });
    CHECK(dns.asked().empty());
    conf.write("nameserver 127.0.0.1\n# another\n");
    Running<Addresses> second{loop, resolver.resolve("b.example", Loop::now() + 20s)};
    CHECK(text_of(second.get()) == "127.0.0.5");
    CHECK(text_of(first.get()) == "127.0.0.5");
    CHECK(silent.asked_for("b.example", type_a) == 0);
}

namespace {

/// Says when it was destroyed, and with it the coroutine that holds it.
struct Witness {
    bool& gone;
    ~Witness() { gone = true; }
};
Task<bool> wait_as_witness(Resolver& resolver, bool& gone, bool& resumed) {
    const Witness witness{gone};
    Task<Addresses> task = resolver.resolve("api.example", Loop::now() + 20s);
    const Addresses found = co_await std::move(task);
    resumed = true;
    co_return found.has_value();
}

Task<bool> destroy_when_answered(std::unique_ptr<Resolver>& resolver) {
    Task<Addresses> task = resolver->resolve("api.example", Loop::now() + 20s);
    const Addresses found = co_await std::move(task);
    resolver.reset();
    co_return found.has_value();
}

}  // namespace

TEST_CASE("a coroutine that waits for a resolver that is destroyed is unwound, not resumed") {
    bool gone = false, resumed = false;
    {
        Bench bench;
        Running<bool> waiting{bench.loop, wait_as_witness(*bench.resolver, gone, resumed)};
        run_until(bench.loop, [&] { return bench.dns.asked().size() == 2; });
        bench.resolver.reset();
        bench.dns.addresses({"127.0.0.5"});
    }
    CHECK(gone);
    CHECK_FALSE(resumed);
}

TEST_CASE("a coroutine may destroy the resolver that has just answered it") {
    Bench bench;
    bench.dns.addresses({"127.0.0.5"});
    Running<bool> first{bench.loop, destroy_when_answered(bench.resolver)};
    Running<Addresses> other = bench.start("other.example");
    CHECK(first.get());
    CHECK(bench.resolver == nullptr);
}
