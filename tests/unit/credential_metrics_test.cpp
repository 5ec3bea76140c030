#include "proxy/telemetry/credential_metrics.hpp"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace std::chrono_literals;

namespace {

/// Is it a whole line of the exposition?
bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("fetches of a credential are counted by how they ended, and how long they took whatever their end") {
    CredentialMetrics metrics;
    metrics.fetched("pay", true, 30ms);
    metrics.fetched("pay", true, 50ms);
    metrics.fetched("pay", false, 7s);
    metrics.fetched("llm", false, 1ms);
    const std::string text = metrics.text();
    INFO(text);
    CHECK(has_line(text, R"(sluice_credential_refresh_total{credential="pay",result="ok"} 2)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_total{credential="pay",result="failed"} 1)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_total{credential="llm",result="ok"} 0)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_total{credential="llm",result="failed"} 1)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_seconds_bucket{credential="pay",le="0.025"} 0)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_seconds_bucket{credential="pay",le="0.05"} 2)"));   // `le`: its edge is in it
    CHECK(has_line(text, R"(sluice_credential_refresh_seconds_bucket{credential="pay",le="5"} 2)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_seconds_bucket{credential="pay",le="+Inf"} 3)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_seconds_count{credential="pay"} 3)"));
    CHECK(has_line(text, R"(sluice_credential_refresh_seconds_sum{credential="pay"} 7.08)"));
    CHECK(has_line(text, "# TYPE sluice_credential_refresh_seconds histogram"));
}

TEST_CASE("what is at hand is told as it stands at the scrape: since when, until when, and whether requests get it") {
    CredentialMetrics metrics;
    std::vector<CredentialStanding> standing = {{"pay", true, WallTime(1'000'000s), WallTime(1'003'600s)}, {"key", true, WallTime(1'000'001s), {}}, {"gone", false, {}, {}}};
    metrics.watch([&] { return standing; });
    std::string text = metrics.text();
    INFO(text);
    CHECK(has_line(text, R"(sluice_credential_minted_timestamp_seconds{credential="pay"} 1000000)"));
    CHECK(has_line(text, R"(sluice_credential_expiry_timestamp_seconds{credential="pay"} 1003600)"));
    CHECK(has_line(text, R"(sluice_credential_available{credential="pay"} 1)"));
    CHECK(has_line(text, R"(sluice_credential_minted_timestamp_seconds{credential="key"} 1000001)"));
    CHECK(text.find(R"(sluice_credential_expiry_timestamp_seconds{credential="key"})") == std::string::npos);   // it does not end
    CHECK(has_line(text, R"(sluice_credential_available{credential="gone"} 0)"));
    CHECK(text.find(R"(sluice_credential_minted_timestamp_seconds{credential="gone"})") == std::string::npos);
    standing.erase(standing.begin());
    text = metrics.text();
    CHECK(text.find("pay") == std::string::npos);
}
