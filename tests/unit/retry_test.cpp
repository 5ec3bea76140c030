#include "proxy/policy/retry.hpp"

#include <algorithm>
#include <bitset>
#include <catch2/catch.hpp>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

std::string text_of(const RetryOn& on) {
    std::string text;
    const auto add = [&](bool is, const std::string& word) { text += is ? (text.empty() ? "" : " ") + word : ""; };
    add(on.connect, "connect");
    add(on.tls, "tls");
    add(on.reset, "reset");
    add(on.timeout, "timeout");
    add(on.server_errors, "5xx");
    if (on.statuses.size() > 20) return text + " and " + std::to_string(on.statuses.size()) + " statuses";
    for (const auto status : on.statuses) add(true, std::to_string(status));
    return text;
}

std::string edited_text(const RetryOn& base, const std::vector<std::string>& words) {
    std::string fault;
    const auto on = edited(base, words, fault);
    CHECK(on.has_value() == fault.empty());
    return on ? text_of(*on) : fault;
}

}  // namespace

TEST_CASE("a plain list replaces what is retried on, a list of signs edits it") {
    const RetryOn base;
    struct Case {
        std::vector<std::string> words;
        std::string result;
    };
    const Case cases[] = {
        {{}, ""},
        {{"tls", "connect"}, "connect tls"},
        {{"503", "429", "503"}, "429 503"},
        {{"5xx", "timeout"}, "timeout 5xx"},
        {{"100", "599"}, "100 599"},
        {{"+429", "+529"}, "connect reset 429 502 503 504 529"},
        {{"+tls", "-reset", "-502"}, "connect tls 503 504"},
        {{"-tls"}, "connect reset 502 503 504"},
        {{"+connect"}, "connect reset 502 503 504"},
        {{"+5xx"}, "connect reset 5xx 502 503 504"},
        {{"-5xx"}, "connect reset"},
        {{"+503", "-5xx"}, "connect reset 503"},
        {{"-5xx", "+503"}, "connect reset 503"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.words);
        CHECK(edited_text(base, one.words) == one.result);
    }
}

TEST_CASE("a status taken away from 5xx leaves the other ones") {
    RetryOn base;
    base.server_errors = true;
    std::string fault;
    const std::vector<std::string> words{"-501", "-505"};
    const RetryOn on = edited(base, words, fault).value();
    for (unsigned status = 100; status <= 599; ++status) {
        CAPTURE(status);
        CHECK(on.names(status) == (status >= 500 && status != 501 && status != 505));
    }
    CHECK(std::is_sorted(on.statuses.begin(), on.statuses.end()));
}

TEST_CASE("a list that cannot be meant is refused in words") {
    struct Case {
        std::vector<std::string> words;
        std::string fault;
    };
    const Case cases[] = {
        {{"+429", "503"}, "a list either replaces"},
        {{"503", "-tls"}, "a list either replaces"},
        {{"+429", "-429"}, "'429' is both added and taken away"},
        {{"-tls", "+reset", "+tls"}, "'tls' is both added and taken away"},
        {{"conect"}, "'conect' is nothing to retry on; write `connect`, `tls`"},
        {{"conect"}, "(did you mean 'connect'?)"},
        {{"+timeuot"}, "(did you mean 'timeout'?)"},
        {{""}, "'' is nothing"},
        {{"+"}, "'' is nothing"},
        {{"++429"}, "'+429' is nothing"},
        {{"Connect"}, "'Connect' is nothing"},
        {{"4xx"}, "'4xx' is nothing"},
        {{"99"}, "'99' is nothing"},
        {{"099"}, "'099' is nothing"},
        {{"0429"}, "'0429' is nothing"},
        {{"600"}, "'600' is nothing"},
        {{"18446744073709551621"}, "is nothing"},
        {{"503 "}, "is nothing"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.words);
        CHECK_THAT(edited_text({}, one.words), Catch::Contains(one.fault));
    }
}

namespace {

/// `retry.on` as the plainest set of what it names: 5xx is a hundred statuses.
struct PlainOn {
    std::bitset<600> statuses;
    std::bitset<4> words;  // connect, tls, reset, timeout

    static constexpr const char* names[] = {"connect", "tls", "reset", "timeout"};
    static constexpr Reason reasons[] = {Reason::connect_failed, Reason::tls_failed, Reason::upstream_reset,
                                         Reason::timeout_first_byte};

    void put(const std::string& word, bool wanted) {
        for (std::size_t i = 0; i < 4; ++i)
            if (word == names[i]) words[i] = wanted;
        if (word == "5xx")
            for (std::size_t status = 500; status < 600; ++status) statuses[status] = wanted;
        else if (word[0] >= '1' && word[0] <= '5')
            statuses[std::stoul(word)] = wanted;
    }
    /// Looks at every seventh status.
    bool is(const RetryOn& on, std::uint64_t first) const {
        for (std::size_t i = 0; i < 4; ++i)
            if (on.names(reasons[i]) != words[i]) return false;
        for (auto status = static_cast<unsigned>(first); status < 600; status += 7)
            if (on.names(status) != statuses[status]) return false;
        return std::is_sorted(on.statuses.begin(), on.statuses.end());
    }
};

}  // namespace

TEST_CASE("a random walk of lists over lists that were inherited names what the lists say, one after the other") {
    static const char* const vocabulary[] = {"connect", "tls", "reset", "timeout", "5xx", "5xx", "429",   "500",
                                             "502",     "503", "599",   "100",     "451", "4xx", "resets"};
    walk::Dice dice(20261127);
    RetryOn on;
    PlainOn plain;
    for (const char* word : {"connect", "reset", "502", "503", "504"}) plain.put(word, true);
    long words = 0, refused = 0;
    std::string fault;
    while (words < 1'000'000 / walk::slower) {
        const bool edits = !dice.one_in(4);
        std::vector<std::string> list;
        for (auto n = dice.below(5); n > 0; --n) {
            const std::string word = vocabulary[dice.below(dice.one_in(8) ? std::size(vocabulary) : 13)];
            const bool sign = edits != dice.one_in(40);
            list.push_back((sign ? (dice.one_in(2) ? "+" : "-") : "") + word);
        }
        words += static_cast<long>(list.size());
        const auto is_signed = [](const std::string& word) { return word[0] == '+' || word[0] == '-'; };
        const auto signs = std::count_if(list.begin(), list.end(), is_signed);
        bool wrong = signs != 0 && signs != static_cast<long>(list.size());
        for (const std::string& word : list) {
            wrong |= word.ends_with("4xx") || word.ends_with("resets");
            if (is_signed(word))
                wrong |= std::count(list.begin(), list.end(), (word[0] == '+' ? "-" : "+") + word.substr(1)) > 0;
        }
        fault.clear();
        const auto next = edited(on, list, fault);
        if (next.has_value() == wrong || fault.empty() == wrong)
            FAIL("broken: what cannot be meant is refused, in words");
        refused += wrong ? 1 : 0;
        if (wrong) continue;
        if (signs == 0) plain = {};
        for (const char sign : {'-', '+'})
            for (const std::string& word : list)
                if ((word[0] == '-') == (sign == '-')) plain.put(is_signed(word) ? word.substr(1) : word, sign == '+');
        on = *next;
        if (!plain.is(on, dice.below(7)))
            FAIL("broken: after " << list.size() << " words, the last '" << (list.empty() ? "" : list.back()) << "'");
    }
    CHECK(refused > 1000 / walk::slower);
}

TEST_CASE("each word names its failures, and what is ours is never retried") {
    struct Case {
        Reason reason;
        std::string word;  // "": none
    };
    const Case cases[] = {
        {Reason::dns_failed, "connect"},      {Reason::connect_failed, "connect"},
        {Reason::timeout_connect, "connect"}, {Reason::tls_failed, "tls"},
        {Reason::timeout_tls, "tls"},         {Reason::upstream_reset, "reset"},
        {Reason::upstream_protocol, "reset"}, {Reason::timeout_first_byte, "timeout"},
        {Reason::timeout_idle, "timeout"},
    };
    for (std::size_t i = 0; i < reason_count; ++i) {
        const auto reason = static_cast<Reason>(i);
        const auto* found =
            std::find_if(std::begin(cases), std::end(cases), [&](auto& c) { return c.reason == reason; });
        const std::string named_by = found == std::end(cases) ? "" : found->word;
        CAPTURE(name_of(reason), named_by);
        for (const std::string word : {"connect", "tls", "reset", "timeout", "5xx"}) {
            std::string fault;
            const RetryOn on = edited({}, std::vector{word}, fault).value();
            CHECK(on.names(reason) == (word == named_by));
        }
    }
}

TEST_CASE("statuses are retried one by one or as 5xx") {
    const RetryOn by_default;
    RetryOn all;
    all.server_errors = true;
    all.statuses = {429};
    for (unsigned status = 0; status < 1100; ++status) {
        CAPTURE(status);
        CHECK(by_default.names(status) == (status == 502 || status == 503 || status == 504));
        CHECK(all.names(status) == (status == 429 || (status >= 500 && status < 600)));
    }
}

TEST_CASE("a Retry-After that ends for all is spread, and never shorter") {
    CHECK(spread(2s, 15s, 0) == 2s);
    CHECK(spread(2s, 15s, 0.5) == 9500ms);
    CHECK(spread(2s, 15s, 1) == 17s);
    CHECK(spread(2s, 15s, -3) == 2s);
    CHECK(spread(2s, 15s, 3) == 17s);
    CHECK(spread(2s, 0s, 0.5) == 2s);
}

TEST_CASE("a request is keyed by a header that says something") {
    const IdempotencySpec spec;
    const auto keyed = [&](std::string_view name, std::string_view value) {
        Fields fields;
        fields.add("Accept", "*/*");
        fields.add(name, value);
        return spec.is_keyed(fields);
    };
    CHECK(keyed("Idempotency-Key", "a"));
    CHECK(keyed("idempotency-KEY", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""));
    CHECK_FALSE(keyed("Idempotency-Key", ""));
    CHECK_FALSE(keyed("Idempotency-Key", " \t"));
    CHECK_FALSE(keyed("Idempotency-Keys", "a"));
    Fields two;
    two.add("Idempotency-Key", "");
    two.add("Idempotency-Key", "b");
    CHECK(spec.is_keyed(two));
    CHECK_FALSE(IdempotencySpec{"X-Request-Token", {}}.is_keyed(two));
}

TEST_CASE("keys are made for the methods that the policy names") {
    const IdempotencySpec spec{"Idempotency-Key", {"POST", "PATCH"}};
    CHECK(spec.generates("POST"));
    CHECK(spec.generates("PATCH"));
    CHECK_FALSE(spec.generates("post"));
    CHECK_FALSE(spec.generates("GET"));
    CHECK_FALSE(IdempotencySpec{}.generates("POST"));
}

TEST_CASE("a key of ours is a UUID of version 4 that keeps all other bits") {
    CHECK(make_idempotency_key(0, 0) == "00000000-0000-4000-8000-000000000000");
    CHECK(make_idempotency_key(~0ULL, ~0ULL) == "ffffffff-ffff-4fff-bfff-ffffffffffff");
    CHECK(make_idempotency_key(0x0123456789abcdefULL, 0xfedcba9876543210ULL) == "01234567-89ab-4def-bedc-ba9876543210");
}
