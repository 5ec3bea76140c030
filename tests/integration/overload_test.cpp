// Connections for which there is no room.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

/// The soft limit of open files, while it lives.
class DescriptorLimit {
  public:
    explicit DescriptorLimit(rlim_t most) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit lowered{most, before_.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &lowered);
    }
    DescriptorLimit(const DescriptorLimit&) = delete;
    ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

void check_is_whole(const Message& answer) {
    CHECK(answer.start_line == "HTTP/1.1 503 Service Unavailable");
    CHECK(answer.whole);
    CHECK(answer.reason() == "overloaded");
    CHECK(answer.field("content-type") == "application/problem+json");
    CHECK(answer.field("sluice-outcome") == "refused");
    CHECK(answer.field("sluice-attempts") == "0");
    CHECK(answer.field("retry-after") == "1");
    CHECK(answer.field("connection") == "close");
    const std::string id = answer.field("sluice-request-id");
    CHECK(id.size() == 32);
    CHECK(answer.body == R"({"title":"Sluice is at its limit of connections","status":503,"detail":"raise the limit of open files, or run )"
                         R"(more sidecars","reason":"overloaded","request_id":")" + id + "\"}\n");
}

}  // namespace

TEST_CASE("a connection over the cap is refused as any request is, with an id that the log has too") {
    std::unique_ptr<TestProxy> proxy;
    {
        const DescriptorLimit few(200);   // of which a quarter are for applications
        proxy = std::make_unique<TestProxy>("");
    }
    constexpr std::size_t cap = 50, politely = cap / 8;
    std::vector<Wire> idle;
    for (std::size_t i = 0; i < cap; ++i) idle.push_back(Wire::to(proxy->port()));
    std::vector<Wire> more;
    for (std::size_t i = 0; i < politely + 2; ++i) more.push_back(Wire::to(proxy->port()));   // the last ones at once
    for (std::size_t i = more.size(); i-- > 0;) {
        if (i < politely) more[i].write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        const auto answer = more[i].read_response();
        REQUIRE(answer);
        check_is_whole(*answer);
        CHECK(proxy->logs("\"request_id\":\"" + answer->field("sluice-request-id") + "\""));
    }
}

TEST_CASE("when descriptors have run out a connection is still accepted, and told why it is closed") {
    TestProxy proxy("");
    const auto answer = [&] {   // no CHECK in here: it may need a descriptor
        const int low = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Wire app(::fcntl(low, F_DUPFD_CLOEXEC, 500));   // above whatever is open
        ::close(low);
        const DescriptorLimit none(static_cast<rlim_t>(app.fd()) + 1);
        std::vector<int> all;
        for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) all.push_back(fd);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(proxy.port());
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::connect(app.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        app.try_write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        auto read = app.read_response();
        for (const int fd : all) ::close(fd);
        return read;
    }();
    REQUIRE(answer);
    check_is_whole(*answer);
    CHECK(proxy.logs("\"request_id\":\"" + answer->field("sluice-request-id") + "\""));
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="_other",reason="overloaded"})") == 1);
}
