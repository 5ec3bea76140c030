#include "proxy/telemetry/log_line.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

using namespace sluice;

namespace {

const WallTime at{std::chrono::microseconds(1'795'454'401'123'456)};

struct Fixture {
    Vendor vendor;
    Route route;
    ExchangeRecord record;

    Fixture() {
        vendor.name = "pay";
        route.name = "charges";
        record.vendor = &vendor;
        record.route = &route;
        record.request_id = "01HX";
        record.method = "POST";
        record.authority = "api.pay.example";
        record.path = "/v1/charges";
        record.listener = "proxy";
        record.status = 200;
        record.attempts = 1;
        record.duration = 1'234'567ns;
        record.traffic = {321, 12345678901};
    }
    std::string line(LogFormat format = LogFormat::json) const {
        std::string out;
        LineFormat(format).append_exchange(out, record, at);
        return out;
    }
    boost::json::object parsed() const { return boost::json::parse(line()).as_object(); }
};

// May a terminal show it, and a reader of lines read it, without doing what it says?
bool is_tame(std::string_view line) {
    if (!line.ends_with('\n')) return false;
    line.remove_suffix(1);
    for (std::size_t i = 0; i < line.size(); ++i) {
        const auto byte = static_cast<unsigned char>(line[i]);
        const unsigned next = i + 1 < line.size() ? static_cast<unsigned char>(line[i + 1]) : 0u;
        if (byte < 0x20 || byte == 0x7f) return false;
        if (byte == 0xc2 && next >= 0x80 && next <= 0x9f) return false;
        if (byte == 0xe2 && (line.substr(i, 3) == "\u2028" || line.substr(i, 3) == "\u202e")) return false;
    }
    return true;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "an exchange is one line of JSON") {
    record.phases.dns = 500us;
    record.phases.connect = 1ms;
    record.phases.tls = 12ms + 34us;
    record.phases.first_byte = 2s;
    CHECK(line() ==
          R"({"ts":"2026-11-23T17:20:01.123456Z","level":"info","event":"exchange","request_id":"01HX","vendor":"pay",)"
          R"("route":"charges","listener":"proxy","method":"POST","authority":"api.pay.example","path":"/v1/charges",)"
          R"("status":200,"outcome":"vendor","attempts":1,"duration_ms":1.234,"dns_ms":0.500,"connect_ms":1.000,)"
          R"("tls_ms":12.034,"first_byte_ms":2000.000,"bytes_to_vendor":321,"bytes_from_vendor":12345678901})"
          "\n");
}

TEST_CASE_METHOD(Fixture, "logfmt says the same, with quotes where they are needed") {
    record.status = 504;
    record.outcome = Outcome::failed;
    record.reason = Reason::timeout_first_byte;
    record.detail = "no answer within 10s";
    record.path = "/v1/\"charges\"";
    record.application_gone = true;
    CHECK(line(LogFormat::logfmt) ==
          "ts=2026-11-23T17:20:01.123456Z level=warning event=exchange request_id=01HX vendor=pay route=charges "
          "listener=proxy method=POST authority=api.pay.example path=\"/v1/\\\"charges\\\"\" status=504 outcome=failed "
          "reason=timeout_first_byte detail=\"no answer within 10s\" attempts=1 duration_ms=1.234 bytes_to_vendor=321 "
          "bytes_from_vendor=12345678901 gone=true\n");
}

TEST_CASE_METHOD(Fixture, "what is absent is left out") {
    record = {};
    CHECK(line() == R"({"ts":"2026-11-23T17:20:01.123456Z","level":"info","event":"exchange","vendor":"_other",)"
                    R"("outcome":"vendor","attempts":0,"duration_ms":0.000,"bytes_to_vendor":0,"bytes_from_vendor":0})"
                    "\n");
    record.listener = "proxy";
    record.client = "web";
    record.tunnel = record.reported = true;
    CHECK(line().find(R"("tunnel":true,"reported":true})") != std::string::npos);
    CHECK(line().find(R"("listener":"proxy","client":"web",)") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a failure is a warning; a refusal and an answer are information") {
    const auto [outcome, reason, level] = GENERATE(table<Outcome, std::optional<Reason>, std::string>({
        {Outcome::vendor, std::nullopt, "info"},
        {Outcome::refused, Reason::not_allowed, "info"},
        {Outcome::failed, Reason::connect_failed, "warning"},
    }));
    record.outcome = outcome;
    record.reason = reason;
    CHECK(parsed()["level"].as_string() == level);
}

TEST_CASE_METHOD(Fixture, "nothing that came from outside forges a line or moves a terminal") {
    using namespace std::string_literals;
    const std::string hostile = GENERATE(values<std::string>({
        "\n{\"level\":\"error\"}",
        "\r\nlevel=error",
        "\x1b[31mred\x1b]0;title\x07",
        "\xc2\x9b"
        "31m",  // CSI as a C1 control
        "\x9b"
        "31m",  // and as a byte that is no UTF-8
        "del\x7f",
        "nul\0after"s,
        "tab\there",
        "\u202edesrever\u2066",
        "two\u2028lines\u2029",
        "\xff\xfe\x80",
        "cut \xe2\x80",
        "\xe2\xc2\x9b",  // a control behind half a character
        "\xed\xa0\x80",  // a surrogate
        "\xf8\x88\x80\x80\x80",
        "\"} \\",
        "\\u001b",
    }));
    const std::string path = "/" + hostile;
    record.path = path;
    record.method = record.authority = record.detail = record.request_id = hostile;
    CHECK(is_tame(line(LogFormat::json)));
    CHECK(is_tame(line(LogFormat::logfmt)));
    boost::json::error_code fault;
    boost::json::parse(line(), fault);
    CHECK_FALSE(fault);
    CHECK(parsed()["status"] == 200);
}

TEST_CASE_METHOD(Fixture, "what is printable, or escaped in JSON, is read back as it was") {
    const std::string text = GENERATE(values<std::string>({"/plain", "/with space", "/quote\"d", "/back\\slash",
                                                           "/ümlaut/日本/😀", "/c1\xc2\x9b", "/\u202e", "/\x1b[0m"}));
    record.path = text;
    CHECK(parsed()["path"].as_string() == text);
}

TEST_CASE_METHOD(Fixture, "long fields are cut, between characters") {
    record.path = std::string_view();
    std::string path = "/" + std::string(1022, 'a') + "é" + std::string(500, 'b');  // the cut would fall inside é
    std::string detail(5000, 'd'), method(5000, 'M'), authority(70'000, 'h');
    record.path = path;
    record.detail = detail;
    record.method = method;
    record.authority = authority;
    CHECK(parsed()["path"].as_string() == "/" + std::string(1022, 'a'));
    CHECK(parsed()["detail"].as_string().size() == 512);
    CHECK(parsed()["method"].as_string().size() == 32);
    CHECK(parsed()["authority"].as_string().size() == 300);
}

TEST_CASE_METHOD(Fixture, "a query never reaches the log, even when it was left on the path") {
    record.path = "/v1/charges?api_key=sk_live_1";
    CHECK(parsed()["path"].as_string() == "/v1/charges");
    CHECK(line().find("sk_live") == std::string::npos);
}

TEST_CASE_METHOD(Fixture, "nor does a password or a fragment, where a target was refused before anybody took it apart") {
    record.path = "http://me:sk_live_1@api.pay.example/v1/charges#sk_live_2";
    CHECK(parsed()["path"].as_string() == "/v1/charges");
    CHECK(line().find("sk_live") == std::string::npos);
    record.path = "http://me:sk_live_1@api.pay.example";
    CHECK_FALSE(parsed().contains("path"));
}

TEST_CASE("the second of a line is its own, whatever came before") {
    LineFormat format(LogFormat::logfmt);
    const auto stamp = [&](std::int64_t micros) {
        std::string out;
        format.append_notice(out, Level::info, "tick", {}, WallTime(std::chrono::microseconds(micros)));
        return out.substr(0, out.find(' '));
    };
    CHECK(stamp(0) == "ts=1970-01-01T00:00:00.000000Z");
    CHECK(stamp(999'999) == "ts=1970-01-01T00:00:00.999999Z");
    CHECK(stamp(1'000'000) == "ts=1970-01-01T00:00:01.000000Z");
    CHECK(stamp(951'782'400'000'001) == "ts=2000-02-29T00:00:00.000001Z");
    CHECK(stamp(500'000) == "ts=1970-01-01T00:00:00.500000Z");
}

TEST_CASE("each byte is quoted or escaped where it has to be, wherever it stands") {
    for (const std::size_t size : {1, 7, 8, 9, 16, 21}) {
        for (std::size_t place = 0; place < size; ++place) {
            for (unsigned c = 0; c < 256; ++c) {
                std::string text(size, 'x');
                text[place] = static_cast<char>(c);
                std::string line;
                LineFormat(LogFormat::logfmt).append_notice(line, Level::info, "e", {{"k", text}}, at);
                std::string value = line.substr(line.find(" k=") + 3);
                value.pop_back();  // the end of the line
                const bool escaped = c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
                const bool quoted = escaped || c == ' ' || c == '=';
                const std::string as_it_is = quoted ? '"' + text + '"' : text;
                if (value.starts_with('"') != quoted || (value != as_it_is) != escaped) {
                    CAPTURE(size, place, c, value);
                    FAIL();
                }
            }
        }
    }
}

TEST_CASE("a notice carries its fields, escaped") {
    std::string out;
    LineFormat(LogFormat::json)
        .append_notice(out, Level::error, "secret_changed", {{"credential", "pay\n"}, {"empty", ""}}, at);
    CHECK(out == R"({"ts":"2026-11-23T17:20:01.123456Z","level":"error","event":"secret_changed",)"
                 R"("credential":"pay\n","empty":""})"
                 "\n");
    out.clear();
    LineFormat(LogFormat::logfmt).append_notice(out, Level::warning, "x", {{"a", "b c"}, {"empty", ""}}, at);
    CHECK(out == "ts=2026-11-23T17:20:01.123456Z level=warning event=x a=\"b c\" empty=\"\"\n");
}
