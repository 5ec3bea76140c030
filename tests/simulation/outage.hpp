// A vendor that is down for ten minutes under the load of many applications, in virtual time: the machines that Sluice
// runs on, with nothing in between, and the SDKs that call through them or straight to the vendor.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "proxy/policy/attempt_plan.hpp"
#include "proxy/policy/breaker.hpp"
#include "proxy/policy/budget.hpp"
#include "proxy/policy/rate.hpp"

namespace sluice::simulation {

struct Scenario {
    /// What an SDK makes of our answers before it tries again, twice at most.
    enum class Sdk : unsigned char {
        told,      // obeys `x-should-retry`, and a Retry-After of up to `waits`: those of OpenAI, Anthropic
        timed,     // obeys a Retry-After of up to `waits`, and nothing else: urllib3, retryablehttp
        untaught,  // backs off as it likes
    };
    enum class Outage : unsigned char {
        errors,  // 503 after 20 ms
        hang,    // nothing, ever
    };
    unsigned clients = 1000;        // each makes a call a second
    bool patient = false;           // makes none while another of its calls is under way
    unsigned sluices = 0;           // 0: none; else the clients are spread over so many
    std::optional<RateSpec> limit;  // of each Sluice
    BreakerSpec breaker;            // likewise
    Sdk sdk = Sdk::told;
    Duration waits = 1min;  // of a Retry-After, the longest that an SDK obeys
    Outage outage = Outage::errors;
    std::uint64_t seed = 1;

    Duration before = 1min, outage_time = 10min, after = 6min;  // more than a breaker stays open
};

/// What the vendor saw. Rates are attempts a second, a normal one is `clients`.
struct Figures {
    std::uint64_t attempts_down = 0;  // sent to the vendor while it was down
    std::uint64_t calls_down = 0;     // of applications in that time
    unsigned peak_down = 0;           // most attempts in one of its seconds
    unsigned peak_after = 0;          // most attempts in one second once the vendor is up again
    Duration recovered_after{};       // from the end of the outage until 99 % of a second's calls succeed
    double failed_before = 0;         // share of calls that failed while nothing was wrong
};

Figures run(const Scenario& scenario);

}  // namespace sluice::simulation
