#include "tests/simulation/outage.hpp"

#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/support/steps.hpp"

using namespace sluice;
using namespace sluice::simulation;

namespace {

using Sdk = Scenario::Sdk;
using Outage = Scenario::Outage;

const auto clients = static_cast<unsigned>(steps(1000));

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

const char* name_of(Sdk sdk) {
    switch (sdk) {
    case Sdk::told: return "x-should-retry";
    case Sdk::timed: return "Retry-After only";
    case Sdk::untaught: return "neither";
    }
    return "";
}

void print(const char* what, const Scenario& scenario) {
    const Figures figures = run(scenario);
    const double normal = scenario.clients;
    std::printf("| %s | %s | %s | %s | %llu | %.2f | %.2f | %lld s |\n", what, name_of(scenario.sdk),
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

TEST_CASE("SDKs that only know Retry-After do not come back in the same second") {
    for (const unsigned sluices : {1u, clients}) {
        CAPTURE(sluices);
        Scenario patient = scenario(sluices, Sdk::timed, Outage::errors);
        patient.patient = true;
        CHECK(run(patient).peak_after <= 1.5 * clients);
    }
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
    for (const Sdk sdk : {Sdk::told, Sdk::timed, Sdk::untaught}) {
        for (const Outage outage : {Outage::errors, Outage::hang}) {
            if (sdk != Sdk::told && outage == Outage::hang) continue;  // as the others
            if (sdk == Sdk::told) print("no Sluice", scenario(0, sdk, outage));
            print("one Sluice", scenario(1, sdk, outage));
            print("a Sluice each", scenario(clients, sdk, outage));
            Scenario limited = scenario(1, sdk, outage);
            limited.limit = a_fifth_more();
            print("one Sluice, limit 1.2", limited);
            Scenario quick = scenario(1, sdk, outage);
            quick.breaker.open_max = 1min;
            if (sdk == Sdk::told) print("one Sluice, open_for: 15s..1m", quick);
            if (sdk != Sdk::timed) continue;
            for (const unsigned sluices : {1u, clients}) {
                Scenario patient = scenario(sluices, sdk, outage);
                patient.patient = true;
                print(sluices == 1 ? "one Sluice" : "a Sluice each", patient);
            }
        }
    }
}
