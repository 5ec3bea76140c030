#include "proxy/policy/clients.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "proxy/base/codec.hpp"

using namespace sluice;

namespace {

/// Three applications: `web` by password, `batch` by uid, `both` by either.
struct Office {
    std::vector<ClientSpec> clients;
    std::map<std::string, Secret> passwords;

    Office() {
        clients.push_back({"web", {}, 0, false, {0, 2}});
        clients.push_back({"batch", 1000, {}, true, {}});
        clients.push_back({"both", 2000, 1, false, {1}});
        passwords.emplace("web", Secret(std::string("open sesame")));
        passwords.emplace("both", Secret(std::string("with:colon")));
    }
    PasswordOf password_of() const {
        return [this](const ClientSpec& client) -> const Secret* {
            const auto found = passwords.find(client.name);
            return found == passwords.end() ? nullptr : &found->second;
        };
    }
    std::string known(std::optional<std::uint32_t> uid, std::optional<std::string> field, bool ambiguous = false) const {
        CallerSigns signs{uid, {}, ambiguous};
        if (field) signs.authorization = *field;
        const Caller caller = identify(clients, signs, password_of());
        CHECK((caller.client == nullptr) == !caller.why.empty());
        return caller.client ? caller.client->name : "nobody";
    }
};

std::string basic(const std::string& user_and_password, const std::string& scheme = "Basic ") {
    std::string out = scheme;
    append_base64(out, user_and_password);
    return out;
}

}  // namespace

TEST_CASE("a client is known by name and password, whatever way Basic is spelled") {
    const Office office;
    struct Case {
        std::string field, known;
    };
    const Case cases[] = {
        {basic("web:open sesame"), "web"},
        {basic("web:open sesame", "bAsIc "), "web"},
        {basic("web:open sesame", "Basic   "), "web"},
        {basic("both:with:colon"), "both"},
        {basic("web:open sesam"), "nobody"},
        {basic("web:open sesamf"), "nobody"},
        {basic("web:open sesame "), "nobody"},
        {basic("web:open sesameopen sesame"), "nobody"},
        {basic("web:"), "nobody"},
        {basic("web"), "nobody"},
        {basic(":open sesame"), "nobody"},
        {basic("Web:open sesame"), "nobody"},
        {basic("both:open sesame"), "nobody"},
        {basic("batch:"), "nobody"},
        {basic("batch:not a password"), "nobody"},
        {basic("stranger:open sesame"), "nobody"},
        {basic("stranger:not a password"), "nobody"},
        {basic("web:open sesame", "Bearer "), "nobody"},
        {basic("web:open sesame", "Basic"), "nobody"},
        {"Basic web:open sesame", "nobody"},
        {"Basic ", "nobody"},
        {"", "nobody"},
        {basic("web:open sesame" + std::string(10'000, 'x')), "nobody"},
    };
    for (const Case& one : cases) {
        INFO(one.field);
        CHECK(office.known({}, one.field) == one.known);
    }
}

TEST_CASE("the uid behind a socket file comes before what is sent") {
    const Office office;
    CHECK(office.known(1000, {}) == "batch");
    CHECK(office.known(2000, {}) == "both");
    CHECK(office.known(1000, basic("web:open sesame")) == "batch");
    CHECK(office.known(1000, basic("web:wrong")) == "batch");
    CHECK(office.known(3000, basic("web:open sesame")) == "web");
    CHECK(office.known(3000, {}) == "nobody");
    CHECK(office.known({}, {}) == "nobody");
    CHECK(office.known(0, {}) == "nobody");
}

TEST_CASE("two Proxy-Authorizations are nobody's, as they may be read either way") {
    const Office office;
    CHECK(office.known({}, basic("web:open sesame"), true) == "nobody");
    CHECK(office.known(1000, basic("web:open sesame"), true) == "batch");
}

TEST_CASE("while a client's password is not at hand no password is its, and none is wrong") {
    Office office;
    const auto judged = [&](const std::string& sent) {
        const std::string field = basic(sent);
        return identify(office.clients, {{}, field, false}, office.password_of());
    };
    office.passwords.clear();
    for (const bool empty : {false, true}) {
        if (empty) office.passwords.emplace("web", Secret());
        for (const char* sent : {"web:open sesame", "web:", "web:not a password"}) {
            INFO(sent);
            const Caller caller = judged(sent);
            CHECK_FALSE(caller.client);
            CHECK(caller.unread);
            CHECK(caller.named == &office.clients[0]);
            CHECK(caller.why.find("'web'") != std::string::npos);
        }
    }
    // Nobody else's is missed: there is no such client, or it never had one.
    for (const char* sent : {"stranger:open sesame", "batch:not a password", "web"}) {
        INFO(sent);
        CHECK_FALSE(judged(sent).client);
        CHECK_FALSE(judged(sent).unread);
        CHECK_FALSE(judged(sent).named);
    }
}

TEST_CASE("whose name was shown with another password is known to us, and not told") {
    const Office office;
    const std::string wrong = basic("web:open sesamf"), right = basic("web:open sesame");
    const Caller caller = identify(office.clients, {{}, wrong, false}, office.password_of());
    CHECK(caller.named == &office.clients[0]);
    CHECK_FALSE(caller.unread);
    CHECK(caller.why.find("web") == std::string::npos);
    CHECK_FALSE(identify(office.clients, {{}, right, false}, office.password_of()).named);
}

TEST_CASE("who is refused is not told what was wrong") {
    Office office;
    const auto why = [&](const std::string& sent) {
        const std::string field = basic(sent);
        return identify(office.clients, {{}, field, false}, office.password_of()).why;
    };
    const std::string wrong_password = why("web:wrong password");
    CHECK(why("stranger:wrong password") == wrong_password);
    CHECK(why("batch:wrong password") == wrong_password);
    CHECK(wrong_password.find("web") == std::string::npos);
}

TEST_CASE("inside a tunnel a client is whoever opened it, as long as the policy knows it") {
    Office office;
    const auto inside = [&](std::optional<std::uint32_t> uid, const std::string& name) {
        const Caller caller = identify_inside(office.clients, uid, name, office.password_of());
        CHECK((caller.client == nullptr) == !caller.why.empty());
        return caller.client ? caller.client->name : "nobody";
    };
    CHECK(inside({}, "web") == "web");
    CHECK(inside(1000, "") == "batch");
    CHECK(inside({}, "batch") == "nobody");  // which has no password that anybody could have shown
    CHECK(inside({}, "") == "nobody");
    CHECK(inside({}, "removed") == "nobody");
    CHECK(inside(3000, "") == "nobody");
    office.passwords["web"] = Secret(std::string("another one"));
    CHECK(inside({}, "web") == "web");
    office.passwords.erase("web");
    CHECK(inside({}, "web") == "nobody");
    CHECK(identify_inside(office.clients, {}, "web", office.password_of()).unread);
    CHECK_FALSE(identify_inside(office.clients, {}, "batch", office.password_of()).unread);
}

TEST_CASE("a client may ask for the vendors of its list, and for hosts of no vendor only where it has all") {
    const Office office;
    Vendor vendor;
    vendor.name = "pay";
    const auto verdict = [&](const ClientSpec* client, std::size_t index, bool matched) {
        vendor.index = index;
        const Verdict verdict = judge_client(office.clients, client, vendor, matched);
        return verdict.refused() ? std::string(name_of(verdict.refusal().reason)) : "allowed";
    };
    const ClientSpec &web = office.clients[0], &batch = office.clients[1];
    CHECK(verdict(&web, 0, true) == "allowed");
    CHECK(verdict(&web, 1, true) == "not_allowed");
    CHECK(verdict(&web, 2, true) == "allowed");
    CHECK(verdict(&web, 0, false) == "not_allowed");
    CHECK(verdict(&batch, 1, true) == "allowed");
    CHECK(verdict(&batch, 9, false) == "allowed");
    CHECK(verdict(nullptr, 0, true) == "client_unknown");
    CHECK(verdict(nullptr, 0, false) == "client_unknown");
    CHECK_FALSE(judge_client({}, nullptr, vendor, false).refused());

    vendor.index = 1;
    const std::string detail = judge_client(office.clients, &web, vendor, true).refusal().detail;
    CHECK(detail.find("'web'") != std::string::npos);
    CHECK(detail.find("'pay'") != std::string::npos);
}
