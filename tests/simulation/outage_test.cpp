#include "tests/simulation/outage.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/support/steps.hpp"

using namespace sluice;
using namespace sluice::simulation;

namespace {

using Sdk = Scenario::Sdk;
using Outage = Scenario::Outage;

const auto clients = static_cast<unsigned>(std::max(steps(1000), 300));  // fewer make a peak by chance

/// One Sluice for all, whose limit leaves a fifth more than they need.
RateSpec a_fifth_more() {
    return {{clients + clients / 5, 1s}, clients / 10};
}

Scenario scenario(unsigned sluices, Sdk sdk, Outage outage) {
    Scenario made;
    made.clients = clients;
    made.sluices = sluices;
    made.sdk = sdk;
    made.outage = outage;
    return made;
}

const char* name_of(Sdk sdk, Duration waits = 1min) {
    switch (sdk) {
    case Sdk::told: return "x-should-retry";
    case Sdk::timed: return waits > 1h ? "any Retry-After" : "Retry-After up to 1 min";
    case Sdk::untaught: return "neither";
    }
    return "";
}

void print(const char* what, const Scenario& scenario) {
    const Figures figures = run(scenario);
    const double normal = scenario.clients;
    std::printf("| %s | %s | %s | %s | %llu | %.2f | %.2f | %lld s |\n", what, name_of(scenario.sdk, scenario.waits),
                scenario.patient ? "one" : "any", scenario.outage == Outage::hang ? "hang" : "503",
                static_cast<unsigned long long>(figures.attempts_down), figures.peak_down / normal,
                figures.peak_after / normal, static_cast<long long>(figures.recovered_after / 1s));
}

}  // namespace

TEST_CASE("a vendor that is down gets a fiftieth of the attempts that it would get without Sluice") {
    for (const Outage outage : {Outage::errors, Outage::hang}) {
        const Figures without = run(scenario(0, Sdk::told, outage));
        CHECK(without.attempts_down > 2.9 * static_cast<double>(without.calls_down));
        CHECK(without.peak_after > 2 * clients);
        for (const unsigned sluices : {1u, clients}) {
            CAPTURE(outage, sluices);
            const Figures with = run(scenario(sluices, Sdk::told, outage));
            CHECK(with.attempts_down * 50 < without.attempts_down);
            CHECK(with.failed_before == 0);
        }
    }
}

TEST_CASE("a vendor that is up again meets no more than 1.5 times its normal rate") {
    for (const Outage outage : {Outage::errors, Outage::hang}) {
        for (const unsigned sluices : {1u, clients}) {
            CAPTURE(outage, sluices);
            const Figures with = run(scenario(sluices, Sdk::told, outage));
            CHECK(with.peak_after <= 1.5 * clients);
            CHECK(with.recovered_after <= 5min);  // as long as a breaker stays open at most
        }
    }
}

TEST_CASE("no SDK makes a spike when the vendor is up again, whatever it obeys and however many calls it has under way") {
    const auto [sdk, waits] = GENERATE(
        table<Sdk, Duration>({{Sdk::told, 1min}, {Sdk::timed, 1min}, {Sdk::timed, 24h}, {Sdk::untaught, 1min}}));
    const auto outage = GENERATE(Outage::errors, Outage::hang);
    const auto patient = GENERATE(false, true);
    const auto sluices = GENERATE(1u, clients);
    if (steps(20) < 20 && (patient || outage == Outage::hang)) return;  // a sanitizer has nothing new to see in them
    CAPTURE(name_of(sdk), waits / 1s, outage, patient, sluices);
    Scenario made = scenario(sluices, sdk, outage);
    made.patient = patient;
    made.waits = waits;
    if (waits > 1h) made.after = 12min;  // longer than a readmission
    const Figures figures = run(made);
    CHECK(figures.peak_after <= 1.5 * clients);
    CHECK(figures.failed_before == 0);
}

TEST_CASE("under a limit not even SDKs that are told nothing make a spike") {
    for (const Sdk sdk : {Sdk::timed, Sdk::untaught}) {
        CAPTURE(name_of(sdk));
        Scenario limited = scenario(1, sdk, Outage::errors);
        limited.limit = a_fifth_more();
        const Figures figures = run(limited);
        CHECK(figures.peak_after <= 1.5 * clients);
        CHECK(figures.failed_before == 0);
    }
}

TEST_CASE("the figures of tests/bench/README.md", "[.figures]") {
    std::puts(
        "| | SDK obeys | calls at once | outage | attempts while down | peak while down | peak after | well again |");
    std::puts("|---|---|---|---|---|---|---|---|");
    for (const Outage outage : {Outage::errors, Outage::hang}) {
        print("no Sluice", scenario(0, Sdk::told, outage));
        Scenario quick = scenario(1, Sdk::told, outage);
        quick.breaker.open_max = 1min;
        print("one Sluice, open_for: 15s..1m", quick);
    }
    for (const Sdk sdk : {Sdk::told, Sdk::timed, Sdk::untaught}) {
        for (const Duration waits : {Duration{1min}, Duration{24h}}) {
            if (waits != 1min && sdk != Sdk::timed) continue;
            for (const Outage outage : {Outage::errors, Outage::hang}) {
                for (const bool patient : {false, true}) {
                    for (const unsigned sluices : {1u, clients}) {
                        Scenario made = scenario(sluices, sdk, outage);
                        made.waits = waits;
                        made.patient = patient;
                        print(sluices == 1 ? "one Sluice" : "a Sluice each", made);
                    }
                }
            }
        }
    }
}
