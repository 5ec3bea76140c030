#include "proxy/http/fields.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

Fields make(const Lines& lines) {
    Fields fields;
    for (const auto& [name, value] : lines) fields.add(name, value);
    return fields;
}

std::string wire(const Fields& fields) {
    std::string out;
    fields.append_to(out);
    return out;
}

}  // namespace

TEST_CASE("a known field is known whatever its case, and nothing like it is") {
    struct Case {
        std::string name;
        Known known;
    };
    const Case cases[] = {
        {"connection", Known::connection},
        {"keep-alive", Known::keep_alive},
        {"proxy-connection", Known::proxy_connection},
        {"te", Known::te},
        {"trailer", Known::trailer},
        {"transfer-encoding", Known::transfer_encoding},
        {"upgrade", Known::upgrade},
        {"proxy-authorization", Known::proxy_authorization},
        {"proxy-authenticate", Known::proxy_authenticate},
        {"proxy-authentication-info", Known::proxy_authentication_info},
        {"host", Known::host},
        {"content-length", Known::content_length},
        {"content-type", Known::content_type},
        {"expect", Known::expect},
        {"authorization", Known::authorization},
        {"origin", Known::origin},
        {"sec-fetch-site", Known::sec_fetch_site},
        {"accept-encoding", Known::accept_encoding},
        {"sluice-timeout", Known::sluice},
        {"sluice-", Known::sluice},
        {"sluice-request-id-of-any-length-at-all", Known::sluice},
    };
    for (const Case& one : cases) {
        CAPTURE(one.name);
        std::string upper = one.name, longer = one.name + "x", shorter = one.name.substr(0, one.name.size() - 1);
        for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        CHECK(classify(one.name) == one.known);
        CHECK(classify(upper) == one.known);
        CHECK(classify("x" + one.name.substr(1)) == Known::other);
        if (one.known == Known::sluice) continue;
        CHECK(classify(longer) == Known::other);
        CHECK(classify(shorter) == Known::other);
    }
    for (std::string_view name : {"", "sluice", "sluicex-a", "content_length", "content\rlength", "hosts"}) {
        CAPTURE(name);
        CHECK(classify(name) == Known::other);
    }
}

TEST_CASE("fields keep their order, their case and their repetitions") {
    const Fields fields = make({{"Host", "a"}, {"X-One", "1"}, {"x-one", "2"}, {"Empty", ""}});
    CHECK(fields.size() == 4);
    CHECK(wire(fields) == "Host: a\r\nX-One: 1\r\nx-one: 2\r\nEmpty: \r\n");
    CHECK(fields.wire_size() == wire(fields).size());
    CHECK(fields[2].name == "x-one");
    CHECK(fields[2].value == "2");
    CHECK(fields[0].known == Known::host);
    std::string text;
    for (const Field field : fields) text.append(field.name).append("=").append(field.value).append(";");
    CHECK(text == "Host=a;X-One=1;x-one=2;Empty=;");
}

TEST_CASE("fields are appended after what is there already") {
    std::string out = "HTTP/1.1 200 OK\r\n";
    make({{"A", "1"}}).append_to(out);
    CHECK(out == "HTTP/1.1 200 OK\r\nA: 1\r\n");
    Fields{}.append_to(out);
    CHECK(out == "HTTP/1.1 200 OK\r\nA: 1\r\n");
}

TEST_CASE("a field is found by its name, whatever its case, the first first") {
    const Fields fields =
        make({{"X-A", "1"}, {"HOST", "h"}, {"x-a", "2"}, {"Sluice-Timeout", "1s"}, {"Sluice-B", "b"}});
    CHECK(fields.find("x-A") == "1");
    CHECK(fields.find("host") == "h");
    CHECK(fields.find(Known::host) == "h");
    CHECK(fields.find("sluice-b") == "b");
    CHECK(fields.find(Known::sluice) == "1s");
    CHECK_FALSE(fields.find("X-B"));
    CHECK_FALSE(fields.find("sluice-c"));
    CHECK_FALSE(fields.find(Known::content_length));
    CHECK(fields.count(Known::host) == 1);
    CHECK(fields.count(Known::sluice) == 2);
    CHECK(fields.count(Known::te) == 0);
}

TEST_CASE("set leaves exactly one field of the name, at the place of the first") {
    Fields fields = make({{"A", "1"}, {"authorization", "app"}, {"B", "2"}, {"Authorization", "app too"}, {"C", "3"}});
    fields.set("Authorization", "Bearer ours");
    CHECK(wire(fields) == "A: 1\r\nAuthorization: Bearer ours\r\nB: 2\r\nC: 3\r\n");
    fields.set("X-New", "n");
    CHECK(wire(fields) == "A: 1\r\nAuthorization: Bearer ours\r\nB: 2\r\nC: 3\r\nX-New: n\r\n");
    fields.set("x-new", "");
    CHECK(fields.find("X-New") == "");
    CHECK(fields.size() == 5);
}

TEST_CASE("an `other` field is set without touching other `other` fields") {
    Fields fields = make({{"X-Key", "1"}, {"X-Kez", "2"}, {"Sluice-A", "a"}, {"Sluice-B", "b"}});
    fields.set("x-key", "new");
    fields.set("sluice-b", "new");
    CHECK(wire(fields) == "x-key: new\r\nX-Kez: 2\r\nSluice-A: a\r\nsluice-b: new\r\n");
}

TEST_CASE("values that are views into the fields themselves survive growth") {
    Fields fields = make({{"X-Source", std::string(40, 's')}});
    for (int i = 0; i < 200; ++i) fields.add("X-Copy", *fields.find("X-Source"));
    fields.set("X-Set", *fields.find("X-Source"));
    for (int i = 0; i < 200; ++i) fields.set(fields[0].name, fields[0].value);
    REQUIRE(fields.size() == 202);
    for (const Field field : fields) CHECK(field.value == std::string(40, 's'));
    CHECK(fields[0].name == "X-Source");
}

TEST_CASE("remove takes every field of the name and says how many") {
    Fields fields = make({{"X-A", "1"}, {"Host", "h"}, {"x-a", "2"}, {"Sluice-A", "a"}, {"Sluice-B", "b"}});
    CHECK(fields.remove("X-A") == 2);
    CHECK(fields.remove("X-A") == 0);
    CHECK(fields.remove("sluice-a") == 1);
    CHECK(wire(fields) == "Host: h\r\nSluice-B: b\r\n");
    CHECK(fields.remove(Known::sluice) == 1);
    CHECK(fields.remove(Known::host) == 1);
    CHECK(fields.empty());
}

TEST_CASE("a list holds a token on any of its lines, whole and in any case") {
    const Fields fields =
        make({{"Connection", "Keep-Alive ,\tUpgrade"}, {"X", "close"}, {"connection", ",, x-closed ,"}});
    CHECK(fields.list_holds(Known::connection, "keep-alive"));
    CHECK(fields.list_holds(Known::connection, "upgrade"));
    CHECK(fields.list_holds(Known::connection, "X-Closed"));
    CHECK_FALSE(fields.list_holds(Known::connection, "close"));
    CHECK_FALSE(fields.list_holds(Known::connection, ""));
    CHECK_FALSE(fields.list_holds(Known::te, "trailers"));
}

TEST_CASE("hop-by-hop fields and those that Connection names go, the rest stays") {
    Fields fields = make({{"Connection", "close, X-Hop"},
                          {"Keep-Alive", "timeout=5"},
                          {"Proxy-Connection", "keep-alive"},
                          {"TE", "trailers"},
                          {"Trailer", "X-Sum"},
                          {"Transfer-Encoding", "chunked"},
                          {"Upgrade", "websocket"},
                          {"Proxy-Authorization", "Basic x"},
                          {"Proxy-Authenticate", "Basic"},
                          {"Proxy-Authentication-Info", "x"},
                          {"x-hop", "1"},
                          {"X-Hop-Two", "2"},
                          {"Close", "3"},
                          {"X-Kept", "4"},
                          {"connection", "x-hop-two"}});
    fields.remove_hop_by_hop();
    CHECK(wire(fields) == "X-Kept: 4\r\n");
}

TEST_CASE("what a vendor may take for a length or a coding goes no further, in the head or as a trailer") {
    for (const std::string name : {"Content_Length", "content_length", "CONTENT_LENGTH", "Transfer_Encoding", "transfer_Encoding"}) {
        CAPTURE(name);
        Fields fields = make({{"A", "1"}, {name, "5"}, {"Content-Length", "0"}, {"B", "2"}});
        fields.remove_hop_by_hop();
        CHECK(wire(fields) == "A: 1\r\nContent-Length: 0\r\nB: 2\r\n");
        CHECK_FALSE(may_be_trailer(name));
    }
    for (const std::string name : {"Content_Lengths", "ContentxLength", "Transfer_Encodin", "Content_Type", "X_Content_Length"}) {
        CAPTURE(name);
        Fields fields = make({{name, "5"}});
        fields.remove_hop_by_hop();
        CHECK(wire(fields) == name + ": 5\r\n");
    }
}

TEST_CASE("Connection cannot take away what is judged, or who is asking") {
    const Lines kept = {{"Host", "h"},
                        {"Content-Length", "5"},
                        {"Authorization", "Bearer x"},
                        {"Cookie", "a=b"},
                        {"Set-Cookie", "c=d"},
                        {"Content-Type", "text/plain"},
                        {"Origin", "https://o"},
                        {"Expect", "100-continue"},
                        {"Sec-Fetch-Site", "cross-site"},
                        {"Accept-Encoding", "gzip"},
                        {"Sluice-Timeout", "1s"}};
    for (const auto& [name, value] : kept) {
        CAPTURE(name);
        Fields fields = make({{"Connection", "close, " + name}, {name, value}});
        fields.remove_hop_by_hop();
        CHECK(wire(fields) == name + ": " + value + "\r\n");
    }
}

TEST_CASE("cleared fields keep nothing but their memory") {
    Fields fields = make({{"Authorization", "Bearer secret"}});
    fields.wipe_and_clear();
    CHECK(fields.empty());
    CHECK_FALSE(fields.find("Authorization"));
    fields.add("A", "1");
    CHECK(wire(fields) == "A: 1\r\n");
    fields.clear();
    CHECK(fields.empty());
}

TEST_CASE("a wiped field leaves no byte of its value behind") {
    Fields fields;
    fields.add("Authorization", std::string(500, 's'));
    fields.set("Authorization", "replaced");  // the old value still lies in the block
    const std::string_view old(fields[0].name.data() - 500, 500);
    CHECK(old == std::string(500, 's'));
    fields.wipe_and_clear();
    CHECK(old.find('s') == old.npos);
}

TEST_CASE("copied and moved fields are whole, and the moved-from are empty") {
    Fields first = make({{"A", "1"}, {"B", "2"}});
    Fields copy = first;
    Fields moved = std::move(first);
    CHECK(first.empty());
    CHECK(wire(copy) == "A: 1\r\nB: 2\r\n");
    CHECK(wire(moved) == wire(copy));
    copy.set("A", "3");
    CHECK(moved.find("A") == "1");
    moved = std::move(copy);
    CHECK(moved.find("A") == "3");
    CHECK(copy.empty());
}
