// Heads as Beast reads them and as we do: another reader of the same bytes, by other people. Seeded, bounded.
#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "proxy/base/text.hpp"
#include "proxy/http/status.hpp"
#include "proxy/wire/h1_head.hpp"
#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

namespace http = boost::beast::http;

constexpr std::string_view requests[] = {
    "GET /v1/charges?limit=3 HTTP/1.1\r\nHost: api.pay.example\r\nAccept: */*\r\nX-A: 1\r\nx-a:2\r\n\r\n",
    "POST /v1 HTTP/1.1\r\nHost: a.example:8443\r\nContent-Length: 12\r\nContent-Type: application/json\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\nUser-Agent: curl/8.0\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\nCookie: a=b; c=\"d\"\r\nX-Empty:\r\nX-Blank:  \t \r\nX-Latin: \xE4\xF6\r\n\r\n",
    "GET http://a.example/b%20c HTTP/1.1\r\nHost: a.example\r\nProxy-Connection: keep-alive\r\n\r\n",
};
constexpr std::string_view responses[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\nset-cookie: c\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX-Latin: \xE4\xF6\r\n\r\n",
    "HTTP/1.0 503 \r\nRetry-After: 3\r\nX-Empty:\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
};
/// What readers of HTTP were found to differ on.
constexpr std::string_view pieces[] = {
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "\0",
    "\r\n ",
    "\r\n\t",
    ",",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "\x80",
    "\x7F",
    "0",
    "\"",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: x\r\n",
    ": ",
    " :",
    "\r\n\r\n",
    "\v",
    ";",
    "18446744073709551616",
    "-1",
    "+1",
    "gzip, chunked",
    "close",
    "(",
};

/// What the one or the other made of a head: the start line's parts, and the values of each name in their order.
struct Read {
    std::string start;
    std::map<std::string, std::vector<std::string>> fields;
    bool operator==(const Read&) const = default;
};

std::optional<Read> read_by_us(std::string_view raw, RequestHead& head) {
    if (parse_head(raw, head)) return {};
    return Read{head.method + " " + head.target + " " + std::to_string(head.minor), {}};
}
std::optional<Read> read_by_us(std::string_view raw, ResponseHead& head) {
    if (parse_head(raw, head)) return {};
    // Beast says its own words where there are none.
    const std::string phrase =
        head.phrase.empty() ? std::string(http::obsolete_reason(http::int_to_status(head.status))) : head.phrase;
    return Read{std::to_string(head.status) + " " + phrase + " " + std::to_string(head.minor), {}};
}
template <class Head>
std::optional<Read> ours(std::string_view raw, Head& head) {
    auto read = read_by_us(raw, head);
    if (!read) return {};
    for (const Field field : head.fields) read->fields[to_lower(field.name)].emplace_back(field.value);
    return read;
}

/// We put our own words, or none, for a phrase that is not plain ASCII.
std::string phrase_for(unsigned status, boost::string_view phrase) {
    const bool plain = std::all_of(phrase.begin(), phrase.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (plain) return std::string(phrase);
    const std::string_view ours = phrase_of(status);
    return ours.empty() ? std::string(http::obsolete_reason(http::int_to_status(status))) : std::string(ours);
}

/// Beast wants the space before a phrase that is not there; we forgive that one thing.
std::string with_space(std::string_view raw) {
    std::string out(raw);
    const std::size_t end = out.find("\r\n"), after_status = std::string_view("HTTP/1.1 200").size();
    if (end == after_status && out.starts_with("HTTP/")) out.insert(end, 1, ' ');
    return out;
}

template <bool is_request>
std::optional<Read> beasts(std::string_view as_it_came) {
    const std::string raw = is_request ? std::string(as_it_came) : with_space(as_it_came);
    http::parser<is_request, http::empty_body> parser;
    parser.header_limit(64 * 1024);
    parser.body_limit(boost::none);
    parser.skip(true);
    boost::system::error_code error;
    const std::size_t used = parser.put(boost::asio::buffer(raw.data(), raw.size()), error);
    if (error || !parser.is_header_done() || used != raw.size()) return {};
    const auto& head = parser.get();
    Read read;
    const std::string minor = std::to_string(head.version() - 10);
    if constexpr (is_request)
        read.start = std::string(head.method_string()) + " " + std::string(head.target()) + " " + minor;
    else
        read.start = std::to_string(head.result_int()) + " " + phrase_for(head.result_int(), head.reason()) + " " + minor;
    for (const auto& field : head)
        read.fields[to_lower(std::string(field.name_string()))].emplace_back(trimmed(std::string(field.value())));
    return read;
}

template <std::size_t n>
std::string mutated(const std::string_view (&heads)[n], walk::Dice& dice) {
    std::string head(heads[dice.below(n)]);
    for (std::uint64_t left = 1 + dice.below(3); left > 0; --left) {
        const std::size_t at = dice.below(head.size() + 1);
        const std::string_view piece = pieces[dice.below(std::size(pieces))];
        switch (dice.below(5)) {
        case 0: head.insert(at, piece); break;
        case 1: head.erase(at, 1 + dice.below(4)); break;
        case 2: head.replace(at, piece.size(), piece); break;
        case 3: head.insert(at, head.substr(dice.below(head.size() + 1), dice.below(12))); break;
        case 4:
            if (at < head.size()) head[at] = static_cast<char>(dice.below(256));
            break;
        }
    }
    return head;
}

bool is_framed(const RequestHead& head) {
    return judge_request_framing(head).has_value();
}
bool is_framed(const ResponseHead& head) {
    return judge_response_framing(head, "GET").has_value();
}

struct Seen {
    int both = 0, beast_alone = 0, we_alone = 0, neither = 0;
};

template <bool is_request, class Head, std::size_t n>
Seen compare(const std::string_view (&heads)[n], int rounds) {
    walk::Dice dice(20261126);
    Seen seen;
    Head head;
    for (int round = 0; round < rounds; ++round) {
        const std::string in = mutated(heads, dice);
        HeadScan scan;
        if (!scan.look(in)) continue;
        const std::string_view raw = std::string_view(in).substr(0, scan.end);
        const auto our = ours(raw, head);
        const auto their = beasts<is_request>(raw);
        ++(our ? their ? seen.both : seen.we_alone : their ? seen.beast_alone : seen.neither);
        // Catch's own assertions cost more than what they would look at.
        const bool same = !our || !their || *our == *their;
        const bool judged = !our || their || !is_framed(head);
        if (same && judged) continue;
        INFO(our->start << " | " << (their ? their->start : "refused by Beast"));
        CAPTURE(round, raw);
        CHECK(same);
        CHECK(judged);
    }
    return seen;
}

void check_counts(const Seen& seen, int rounds) {
    // Mutations that leave most heads whole or none would compare nothing.
    CHECK(seen.both > rounds / 10);
    CHECK(seen.neither > rounds / 10);
    CHECK(seen.beast_alone > 0);
}

constexpr int rounds = 25'000 / walk::slower;

}  // namespace

TEST_CASE("no mutated request that Beast takes too is read differently, and none that it refuses is let through") {
    check_counts(compare<true, RequestHead>(requests, rounds), rounds);
}

TEST_CASE("no mutated response that Beast takes too is read differently, and none that it refuses is let through") {
    check_counts(compare<false, ResponseHead>(responses, rounds), rounds);
}
