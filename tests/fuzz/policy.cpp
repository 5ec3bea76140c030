// The policy loader on any bytes: no crash, no hang, and either a Config or a fault. The input is the policy; what
// follows a line "=====" is the file that it includes.
#include <algorithm>
#include <set>

#include "config/decode.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

constexpr std::string_view separator = "\n=====\n";

PolicyInputs inputs_with(std::string included) {
    PolicyInputs inputs;
    inputs.read_file = [included](const std::string&) { return std::optional<std::string>(included); };
    inputs.list_files = [](const std::string& pattern) {
        return std::vector<std::string>{pattern.substr(0, pattern.find('*')) + "included.yaml"};
    };
    inputs.environment = [](const std::string& name) -> std::optional<std::string> {
        if (name == "PORT") return "15001";
        if (name == "EMPTY") return "";
        if (name == "NAME") return "pay.example";
        return {};
    };
    inputs.default_state = "/var/lib/sluice";
    return inputs;
}

/// What is true of every load.
void judge(const Decoded& decoded) {
    bool failed = false;
    for (const Fault& fault : decoded.faults) {
        failed = failed || !fault.warning;
        REQUIRE(!fault.message.empty() && fault.line >= 0);
        REQUIRE((fault.line > 0) == (fault.column > 0));
        REQUIRE(fault.source.size() < 1000 && fault.caret <= static_cast<int>(fault.source.size()) + 1);
        for (const char c : fault.text()) REQUIRE(static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t');
    }
    REQUIRE(failed == !decoded.config);
}

void judge_resilience(const Config& config, const Vendor& vendor) {
    std::set<std::string> names;
    const auto judge_limits = [&](const std::vector<LimitSpec>& limits) {
        for (const LimitSpec& limit : limits) {
            REQUIRE(!limit.name.empty() && names.insert(limit.name).second);
            REQUIRE(limit.rate || limit.tokens || limit.seats);
            REQUIRE(!limit.rate || (limit.rate->rate.count > 0 && limit.rate->burst > 0));
            REQUIRE(!limit.seats || limit.seats->least <= limit.seats->most);
        }
    };
    judge_limits(vendor.limits);
    for (const Route& route : vendor.routes) judge_limits(route.limits);
    REQUIRE(vendor.retry.backoff_min <= vendor.retry.backoff_max && vendor.breaker.open_min <= vendor.breaker.open_max);
    REQUIRE(std::is_sorted(vendor.retry.on.statuses.begin(), vendor.retry.on.statuses.end()));
    std::size_t steps = 0;
    for (const Vendor* at = &vendor; at->fallback; at = &config.vendors[at->fallback->vendor]) {
        REQUIRE(at->fallback->vendor < config.vendors.size());
        REQUIRE(++steps < config.vendors.size());
    }
}

/// What is true of every Config.
void judge(const Config& config) {
    REQUIRE(config.digest.size() == 64 && !describe_config(config).empty());
    REQUIRE(config.unmatched_vendor.index == config.vendors.size());
    for (const Vendor& vendor : config.vendors) {
        REQUIRE(config.find(vendor.name) == &vendor);
        REQUIRE(!vendor.hosts.empty() || !vendor.endpoints.empty());
        REQUIRE(!vendor.credential || *vendor.credential < config.credentials.size());
        judge_resilience(config, vendor);
        for (const HostPattern& host : vendor.hosts) {
            const std::uint16_t port = host.port == 0 ? 443 : host.port;
            const auto named =
                parse_authority((host.wildcard ? "x." : "") + host.text().substr(host.wildcard ? 2 : 0), port);
            if (named && !host.wildcard) REQUIRE(config.match(*named) == &vendor);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view whole = as_text(data, size);
    const auto end = whole.find(separator);
    const std::string included{end == whole.npos ? std::string_view{} : whole.substr(end + separator.size())};
    const Decoded decoded = decode_policy(whole.substr(0, end), "policy.yaml", inputs_with(included));
    judge(decoded);
    if (decoded.config) judge(*decoded.config);
    return 0;
}
