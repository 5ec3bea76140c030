#include "proxy/credentials/overlap.hpp"

#include <catch2/catch.hpp>
#include <vector>

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

TEST_CASE("after a while one request of either kind shows the new secret; the others do not") {
    const bool repeatable = GENERATE(false, true);
    OverlapPlan plan;
    plan.refused(serial, false, true, start);
    plan.taken(serial, true, start);
    CHECK(plan.shows_previous(serial, true, start + 29s));
    CHECK(plan.shows_previous(serial, false, start + 29s));
    CHECK_FALSE(plan.shows_previous(serial, repeatable, start + 30s));
    CHECK(plan.shows_previous(serial, true, start + 30s));
    CHECK(plan.shows_previous(serial, false, start + 30s));
    plan.taken(serial, false, start + 31s);
    CHECK_FALSE(plan.shows_previous(serial, true, start + 31s));
    CHECK_FALSE(plan.shows_previous(serial, false, start + 31s));
}

TEST_CASE("a request that cannot be sent again and is refused has the next one of its kind show the other secret, and one more the first again") {
    OverlapPlan plan;
    CHECK_FALSE(large(plan, false, true, start));
    CHECK(large(plan, false, true, start));
    CHECK_FALSE(large(plan, false, true, start));   // the first may have been refused by its own fault
    int shown_new = 0;
    for (int i = 1; i <= 100; ++i) shown_new += !large(plan, false, true, start + i * 1s);
    CHECK(shown_new == 3);                                 // each 30 s
    CHECK(large(plan, true, false, start + 101s));         // the vendor has switched
    CHECK_FALSE(large(plan, true, false, start + 101s));
    CHECK_FALSE(large(plan, true, false, start + 101s));
}

TEST_CASE("the previous secret comes first, and is told of, where it alone is taken") {
    struct Step {
        enum Kind { shows_new, shows_previous, refused_new, refused_previous, taken_new, taken_previous, told } what;
        bool repeatable = false;   // of those that show or are refused
    };
    struct Row {
        const char* name;
        std::vector<Step> steps;
    };
    using enum Step::Kind;
    const Row row = GENERATE(values<Row>({
        {"one refusal of a request's own, both are valid", {{shows_new}, {refused_new}, {shows_previous}, {taken_previous}, {shows_new}, {taken_new}, {shows_new}, {shows_new, true}}},
        {"the new one is not valid yet", {{shows_new}, {refused_new}, {shows_previous}, {taken_previous}, {shows_new}, {refused_new}, {shows_previous}, {told}, {shows_previous, true}, {taken_previous}}},
        {"a late refusal is not that of the one more", {{shows_new}, {shows_new}, {refused_new}, {shows_previous}, {taken_previous}, {refused_new}, {shows_new}, {taken_new}, {shows_new}}},
        {"it is shown once more by one alone", {{shows_new}, {refused_new}, {shows_previous}, {taken_previous}, {shows_new}, {shows_new, true}, {shows_new}, {refused_new}, {shows_previous}, {told}}},
        {"the new one is taken while the previous one is tried", {{shows_new}, {shows_new}, {refused_new}, {shows_previous}, {taken_new}, {taken_previous}, {shows_new}, {refused_new}, {shows_new}}},
        {"a request that is sent again finds out by itself", {{shows_new, true}, {refused_new, true}, {told}, {shows_previous}}},
        {"one that is refused with both says nothing for others",
         {{shows_new, true}, {refused_new, true}, {refused_previous, true}, {shows_new}, {refused_new}, {shows_previous}, {taken_previous}, {shows_new}, {taken_new}, {shows_new}}},
    }));
    INFO(row.name);
    OverlapPlan plan;
    for (std::size_t i = 0; i < row.steps.size(); ++i) {
        const Step step = row.steps[i];
        INFO("step " << i);
        switch (step.what) {
        case shows_new: CHECK_FALSE(plan.shows_previous(serial, step.repeatable, start)); break;
        case shows_previous: CHECK(plan.shows_previous(serial, step.repeatable, start)); break;
        case refused_new: plan.refused(serial, false, step.repeatable, start); break;
        case refused_previous: plan.refused(serial, true, step.repeatable, start); break;
        case taken_new: plan.taken(serial, false, start); break;
        case taken_previous: CHECK_FALSE(plan.taken(serial, true, start)); break;
        case told: CHECK(plan.taken(serial, true, start)); break;
        }
    }
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
