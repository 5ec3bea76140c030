#include "proxy/credentials/overlap.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

const TimePoint start{1000h};
constexpr std::uint64_t serial = 7;

/// A vendor's answer to the next request that cannot be sent again: which secret it was shown.
bool large(OverlapPlan& plan, bool takes_new, bool takes_previous, TimePoint now) {
    const bool previous = plan.shows_previous(serial, false, now);
    if (previous ? takes_previous : takes_new)
        plan.taken(serial, previous, now);
    else
        plan.refused(serial, previous, false, now);
    return previous;
}

}  // namespace

TEST_CASE("the new secret comes first, until a request was refused with it and taken with the one before") {
    OverlapPlan plan;
    CHECK_FALSE(plan.shows_previous(serial, true, start));
    plan.refused(serial, false, true, start);
    CHECK_FALSE(plan.shows_previous(serial, true, start));   // that alone may be the request's own fault
    CHECK(plan.taken(serial, true, start));
    CHECK(plan.shows_previous(serial, true, start + 1s));
    CHECK(plan.shows_previous(serial, false, start + 1s));
    CHECK_FALSE(plan.taken(serial, true, start + 1s));   // known
}

TEST_CASE("after a while one request that can be sent again shows the new secret; the others do not") {
    OverlapPlan plan;
    plan.refused(serial, false, true, start);
    plan.taken(serial, true, start);
    CHECK(plan.shows_previous(serial, true, start + 29s));
    CHECK(plan.shows_previous(serial, false, start + 30s));
    CHECK_FALSE(plan.shows_previous(serial, true, start + 30s));
    CHECK(plan.shows_previous(serial, true, start + 30s));
    plan.taken(serial, false, start + 31s);
    CHECK_FALSE(plan.shows_previous(serial, true, start + 31s));
    CHECK_FALSE(plan.shows_previous(serial, false, start + 31s));
}

TEST_CASE("a request that cannot be sent again and is refused has the next one of its kind show the other secret") {
    OverlapPlan plan;
    CHECK_FALSE(large(plan, false, true, start));
    CHECK(large(plan, false, true, start));
    for (int i = 1; i < 100; ++i) CHECK(large(plan, false, true, start + i * 1s));
    CHECK(large(plan, true, false, start + 100s));         // the vendor has switched
    CHECK_FALSE(large(plan, true, false, start + 100s));
    CHECK_FALSE(large(plan, true, false, start + 100s));
}

TEST_CASE("a request that can be sent again does not use that up: it finds out by itself") {
    OverlapPlan plan;
    plan.refused(serial, false, false, start);
    CHECK_FALSE(plan.shows_previous(serial, true, start));
    CHECK(plan.shows_previous(serial, false, start));
}

TEST_CASE("who has a vendor refuse whatever it is shown does not turn the secrets back and forth") {
    OverlapPlan plan;
    const bool vendor_takes_both = GENERATE(false, true);
    int others = 0, shown_previous = 0;
    for (TimePoint now = start; now < start + 1h; now += 100ms) {
        large(plan, false, false, now);   // a path that always says 401
        shown_previous += large(plan, true, vendor_takes_both, now);
        ++others;
    }
    // One that a vendor does not take is shown by one in a minute.
    if (!vendor_takes_both) CHECK(shown_previous <= 66);
    CHECK(others == 36'000);
}

TEST_CASE("where the secret that comes first is taken after all, nobody shows the other") {
    OverlapPlan plan;
    plan.refused(serial, false, false, start);
    plan.taken(serial, false, start);
    CHECK_FALSE(plan.shows_previous(serial, false, start));
}

TEST_CASE("news of secrets that were replaced are none, and new ones begin anew") {
    OverlapPlan plan;
    plan.refused(serial, false, true, start);
    plan.taken(serial, true, start);
    CHECK_FALSE(plan.shows_previous(serial + 1, true, start));
    CHECK_FALSE(plan.taken(serial, true, start));
    CHECK_FALSE(plan.shows_previous(serial, true, start));
    CHECK_FALSE(plan.shows_previous(serial + 1, true, start));
}

TEST_CASE("a late answer to the secret before does not bring it back once the new one is taken") {
    OverlapPlan plan;
    plan.refused(serial, false, true, start);
    plan.taken(serial, true, start);
    plan.taken(serial, false, start + 1s);
    CHECK_FALSE(plan.taken(serial, true, start + 2s));
    CHECK_FALSE(plan.shows_previous(serial, true, start + 2s));
}
