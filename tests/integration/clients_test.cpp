// Several applications behind one Sluice: who is known, by which sign, and what each may ask for.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <filesystem>

#include "proxy/base/codec.hpp"
#include "tests/support/fake_vault.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string pay = "api.pay.example", llm = "llm.example", pinned = "pinned.example";
const std::string web_password = "web-passw0rd", ops_password = "ops-passw0rd";

std::string shown(const std::string& name, const std::string& password) {
    std::string out = "Proxy-Authorization: Basic ";
    append_base64(out, name + ":" + password);
    return out + "\r\n";
}
const std::string as_web = shown("web", web_password), as_ops = shown("ops", ops_password);

std::string connect(const std::string& host, const std::string& fields = "") {
    return "CONNECT " + host + ":443 HTTP/1.1\r\nHost: " + host + ":443\r\n" + fields + "\r\n";
}
std::string get(const std::string& host, const std::string& fields = "") {
    return "GET http://" + host + "/v1 HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n";
}
/// As inside of a tunnel.
std::string get_inside(const std::string& host, const std::string& fields = "") {
    return "GET /v1 HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n";
}

Message ask(Wire& wire, const std::string& request) {
    wire.write(request);
    return wire.read_response().value_or(Message{});
}

void echo_bytes(Wire& wire) {
    for (std::string bytes = wire.read_some(); !bytes.empty(); bytes = wire.read_some()) wire.write(bytes);
}

const std::string two_clients =
    "clients:\n  web: {password: {file: @dir/web}, vendors: [pay, pinned]}\n"
    "  ops: {password: {file: @dir/ops}, vendors: all}\n";

/// `pay` has a credential; `pinned` is a tunnel. `web` may ask for those two, `ops` for everything.
struct Bench {
    Seen seen;
    FakeVendor vendor{echo_into(seen), vendor_ca()};
    FakeVendor bytes{echo_bytes};
    TemporaryDirectory secrets;
    std::unique_ptr<TestProxy> proxy;

    explicit Bench(const std::string& clients = two_clients, const std::string& more = "") {
        secrets.file("web", web_password + "\n");
        secrets.file("ops", ops_password + "\n");
        proxy = std::make_unique<TestProxy>(policy(clients, more), 1, 10s, "unix: \"" + socket() + "\"");
    }
    std::string socket() const { return secrets.path() + "/proxy.sock"; }
    std::string own() const { return "127.0.0.1:" + std::to_string(proxy->port()); }

    std::string policy(std::string clients, const std::string& more = "") const {
        constexpr std::string_view mark = "@dir";
        for (auto at = clients.find(mark); at != clients.npos; at = clients.find(mark)) clients.replace(at, mark.size(), secrets.path());
        return "credentials: {key: {type: bearer, value: {file: " + secrets.file("token", "s3cr3t-t0ken") + "}}}\n" + more +
               "vendors:\n" + vendor_yaml("pay", pay, vendor, true, "credential: key") +
               vendor_yaml("llm", llm, vendor, true) + vendor_yaml("pinned", pinned, bytes, false, "mode: tunnel") + clients;
    }
    void replace(const std::string& name, const std::string& password) const {
        std::filesystem::rename(secrets.file(name + ".new", password), secrets.path() + "/" + name);
    }
    Wire opened(const std::string& host, const std::string& fields) const {
        Wire wire = Wire::to(proxy->port());
        wire.write(connect(host, fields));
        const auto answer = wire.read_head();
        REQUIRE(answer);
        REQUIRE(answer->status() == 200);
        return wire;
    }
    /// In it, TLS is up.
    Wire entered(const std::string& host, const std::string& fields) const {
        Wire wire = opened(host, fields);
        wire.tls_client(proxy->ca(), host, host);
        return wire;
    }
};

void check_unknown(const Message& answer) {
    CHECK(answer.status() == 407);
    CHECK(answer.reason() == "client_unknown");
    CHECK(answer.field("proxy-authenticate") == "Basic realm=\"sluice\"");
    CHECK(answer.field("content-type") == "application/problem+json");
    CHECK(answer.field("sluice-outcome") == "refused");
}

/// Of `web`: its password is not at hand.
void check_unread(const Message& answer) {
    CHECK(answer.status() == 503);
    CHECK(answer.reason() == "credential_unavailable");
    CHECK(answer.body.find("the password of client 'web' is not at hand") != std::string::npos);
    CHECK(answer.field("proxy-authenticate").empty());
}

/// What is the same in two refusals but for their request ids.
std::string without_id(const Message& answer) { return answer.body.substr(0, answer.body.find("\"request_id\"")); }

}  // namespace

TEST_CASE("with clients in the policy only who shows a client's name and password is served") {
    Bench bench;
    for (const std::string& fields :
         {std::string(), shown("web", "web-passw0re"), shown("web", ""), shown("web", ops_password), shown("stranger", web_password),
          as_web + as_ops, std::string("Proxy-Authorization: Bearer " + web_password + "\r\n"), "Authorization: " + as_web.substr(21)}) {
        INFO(fields);
        check_unknown(bench.proxy->raw(get(pay, fields)));
    }
    CHECK(bench.seen.size() == 0);
    CHECK(bench.proxy->raw(get(pay, as_web)).status() == 200);
    CHECK(bench.proxy->raw(get(llm, as_ops)).status() == 200);
    CHECK(bench.seen.size() == 2);
    CHECK(eventually([&] { return bench.proxy->metric(R"(sluice_rejected_total{vendor="_other",reason="client_unknown"})") == 8; }));
}

TEST_CASE("a refusal is the same whether the name or the password is wrong") {
    Bench bench;
    const Message name = bench.proxy->raw(get(pay, shown("stranger", web_password)));
    const Message password = bench.proxy->raw(get(pay, shown("web", "something else")));
    CHECK(without_id(name) == without_id(password));
    CHECK(without_id(name).size() > 50);
    const Message vendor = bench.proxy->raw(get("no-vendor.example", shown("web", "something else")));
    CHECK(without_id(vendor) == without_id(password));
}

TEST_CASE("what says who the client is never goes to the vendor, and never into the log") {
    Bench bench;
    CHECK(bench.proxy->raw(get(pay, as_web)).status() == 200);
    Wire wire = bench.entered(pay, as_web);
    CHECK(ask(wire, get_inside(pay, as_web)).status() == 200);
    REQUIRE(bench.seen.size() == 2);
    for (const Message& request : bench.seen.all()) {
        CHECK(request.count("proxy-authorization") == 0);
        CHECK(request.field("authorization") == "Bearer s3cr3t-t0ken");
    }
    check_unknown(bench.proxy->raw(get(pay, shown("web", "a-wrong-passw0rd"))));
    CHECK(bench.proxy->logs("\"client\":\"web\""));
    CHECK(bench.proxy->logs("client_unknown"));
    const std::string log = bench.proxy->log();
    for (const std::string& secret : {web_password, as_web.substr(27, 20), std::string("a-wrong-passw0rd")}) CHECK(log.find(secret) == log.npos);
    CHECK(bench.proxy->metrics().find("clients.") == std::string::npos);
}

TEST_CASE("a CONNECT without credentials may be tried again with them on the same connection, and holds for what is inside") {
    Bench bench;
    Wire wire = Wire::to(bench.proxy->port());
    check_unknown(ask(wire, connect(pay)));
    check_unknown(ask(wire, connect(pay, shown("web", "wrong"))));
    check_unknown(ask(wire, connect(pay, "Content-Length: 0\r\n")));
    wire.write(connect(pay, as_web));
    const auto established = wire.read_head();
    REQUIRE(established);
    REQUIRE(established->status() == 200);
    wire.tls_client(bench.proxy->ca(), pay, pay);
    CHECK(ask(wire, get_inside(pay)).status() == 200);
    // Nothing that is said inside makes another client of it.
    CHECK(ask(wire, get_inside(pay, shown("web", "wrong"))).status() == 200);
    CHECK(bench.seen.size() == 2);
    CHECK(bench.proxy->logs("\"client\":\"web\""));
}

TEST_CASE("a CONNECT of a stranger that says close is answered and closed") {
    Bench bench;
    Wire wire = Wire::to(bench.proxy->port());
    check_unknown(ask(wire, connect(pay, "Connection: close\r\n")));
    CHECK(wire.read_all().empty());
}

TEST_CASE("on a connection that is kept each request is known by itself") {
    Bench bench;
    Wire wire = Wire::to(bench.proxy->port());
    check_unknown(ask(wire, get(pay)));
    CHECK(ask(wire, get(pay, as_web)).status() == 200);
    check_unknown(ask(wire, get(pay)));
    CHECK(ask(wire, get(llm, as_ops)).status() == 200);
}

TEST_CASE("base-URL mode asks for the same credentials, and says nothing of vendors to strangers") {
    Bench bench;
    const auto base = [&](const std::string& path, const std::string& fields) {
        return bench.proxy->raw("GET " + path + " HTTP/1.1\r\nHost: " + bench.own() + "\r\n" + fields + "\r\n");
    };
    const Message stranger = base("/pay/v1", "");
    check_unknown(stranger);
    CHECK(without_id(stranger) == without_id(base("/nothing/v1", "")));
    CHECK(base("/pay/v1", as_web).status() == 200);
    CHECK(base("/llm/v1", as_web).reason() == "not_allowed");
    CHECK(base("/llm/v1", as_ops).status() == 200);
    CHECK(base("/nothing/v1", as_web).reason() == "unknown_vendor");
    CHECK(base("/pay/v1", as_web + "Origin: http://evil.example\r\n").reason() == "not_allowed");
    CHECK(bench.proxy->logs("\"listener\":\"base_url\",\"client\":\"web\""));
}

TEST_CASE("on a socket file the uid of the peer says who it is, else Proxy-Authorization") {
    const std::string uid = std::to_string(::geteuid()), another = std::to_string(::geteuid() + 1);
    const auto policy = [](const std::string& whose) {
        return two_clients + "  local: {uid: " + whose + ", vendors: [llm]}\n";
    };
    Bench bench(policy(uid));
    {
        Wire wire = Wire::to_unix(bench.socket());
        CHECK(ask(wire, get(llm)).status() == 200);
        CHECK(ask(wire, get(pay)).reason() == "not_allowed");
        CHECK(ask(wire, get(pay, as_web)).reason() == "not_allowed");   // it is known already
        wire.write(connect(llm));
        CHECK(wire.read_head().value_or(Message{}).status() == 200);
        wire.tls_client(bench.proxy->ca(), llm, llm);
        CHECK(ask(wire, get_inside(llm)).status() == 200);

        // That uid is another's from here on.
        bench.proxy->rewrite(bench.policy(policy(another)));
        REQUIRE(bench.proxy->reload().status() == 200);
        check_unknown(ask(wire, get_inside(llm)));
    }
    CHECK(bench.proxy->logs("\"client\":\"local\""));
    check_unknown(bench.proxy->raw(get(llm)));   // TCP tells no uid
    Wire wire = Wire::to_unix(bench.socket());
    check_unknown(ask(wire, get(llm)));
    CHECK(ask(wire, get(pay, as_web)).status() == 200);
}

TEST_CASE("a socket file is for its owner's group, and for everybody while clients are known by their uid") {
    const auto mode = [](const Bench& bench) {
        return static_cast<unsigned>(std::filesystem::status(bench.socket()).permissions());
    };
    const std::string by_uid = two_clients + "  local: {uid: 1, vendors: [llm]}\n";
    Bench closed(two_clients);
    CHECK(mode(closed) == 0660);
    Bench open(by_uid);
    CHECK(mode(open) == 0666);
    open.proxy->rewrite(open.policy(two_clients));
    REQUIRE(open.proxy->reload().status() == 200);
    CHECK(mode(open) == 0660);
    open.proxy->rewrite(open.policy(by_uid));
    REQUIRE(open.proxy->reload().status() == 200);
    CHECK(mode(open) == 0666);
}

TEST_CASE("a client that asks for another's vendor is told so") {
    Bench bench;
    const Message plain = bench.proxy->raw(get(llm, as_web));
    CHECK(plain.status() == 403);
    CHECK(plain.reason() == "not_allowed");
    CHECK(plain.body.find("client 'web' may not ask for vendor 'llm'") != std::string::npos);
    const Message opened = bench.proxy->raw(connect(llm, as_web));
    CHECK(opened.status() == 403);
    CHECK(opened.reason() == "not_allowed");
    CHECK(bench.seen.size() == 0);
    CHECK(bench.proxy->raw(get("no-vendor.example", as_web)).reason() == "unknown_vendor");
}

TEST_CASE("a tunnel is for its clients too") {
    Bench bench("clients:\n  web: {password: {file: @dir/web}, vendors: [pinned]}\n"
                "  ops: {password: {file: @dir/ops}, vendors: [pay]}\n");
    check_unknown(bench.proxy->raw(connect(pinned)));
    CHECK(bench.proxy->raw(connect(pinned, as_ops)).reason() == "not_allowed");
    CHECK(bench.bytes.connections() == 0);
    Wire wire = bench.opened(pinned, as_web);
    wire.write("hello");
    CHECK(wire.read_exactly(5) == "hello");
    wire.close();
    CHECK(bench.proxy->logs("\"client\":\"web\""));
}

TEST_CASE("hosts that no vendor has are for clients of all vendors only") {
    for (const std::string word : {"tunnel", "report"}) {
        INFO(word);
        Bench bench(two_clients, "unmatched: " + word + "\n");
        const std::string elsewhere = "127.0.0.1";
        check_unknown(bench.proxy->raw(connect(elsewhere)));
        CHECK(bench.proxy->raw(connect(elsewhere, as_web)).reason() == "not_allowed");
        CHECK(bench.proxy->raw(connect(elsewhere, as_ops)).reason() == "address_refused");   // as far as it can get
        CHECK(bench.proxy->logs("not_allowed"));
    }
}

TEST_CASE("a reload takes a client away, or a vendor of its, from connections that are open") {
    Bench bench;
    Wire web = bench.entered(pay, as_web), ops = bench.entered(llm, as_ops);
    CHECK(ask(web, get_inside(pay)).status() == 200);
    CHECK(ask(ops, get_inside(llm)).status() == 200);

    bench.proxy->rewrite(bench.policy("clients:\n  ops: {password: {file: @dir/ops}, vendors: [pay]}\n"));
    REQUIRE(bench.proxy->reload().status() == 200);
    check_unknown(ask(web, get_inside(pay)));
    const Message narrowed = ask(ops, get_inside(llm));
    CHECK(narrowed.status() == 403);
    CHECK(narrowed.reason() == "not_allowed");
    check_unknown(bench.proxy->raw(get(pay, as_web)));
    CHECK(bench.proxy->raw(get(pay, as_ops)).status() == 200);
}

TEST_CASE("clients that come with a reload hold for connections that were opened before") {
    Bench bench("");
    Wire wire = bench.entered(pay, "");
    CHECK(ask(wire, get_inside(pay)).status() == 200);
    bench.proxy->rewrite(bench.policy(two_clients));
    REQUIRE(bench.proxy->reload().status() == 200);
    check_unknown(ask(wire, get_inside(pay)));
    CHECK(bench.proxy->raw(get(pay, as_web)).status() == 200);
}

TEST_CASE("what is refused inside a tunnel names the vendor to its client, and never to a stranger") {
    Bench bench("");
    const bool stranger = GENERATE(false, true);
    std::vector<Wire> wires;
    const std::vector<std::string> refused = {
        get_inside(llm), "GET /v1 HTTP/1.1\r\nHost: " + pay + "\r\nno colon\r\n\r\n",
        get_inside(pay, "Content-Length: 1\r\nContent-Length: 1\r\n"), get_inside(pay, "Transfer-Encoding: chunked\r\n") + "+5\r\n",
        "CONNECT " + llm + ":443 HTTP/1.1\r\nHost: " + llm + ":443\r\n\r\n"};
    for (std::size_t i = 0; i < refused.size(); ++i) wires.push_back(bench.entered(pay, ""));
    if (stranger) {
        bench.proxy->rewrite(bench.policy(two_clients));
        REQUIRE(bench.proxy->reload().status() == 200);
    }
    for (std::size_t i = 0; i < refused.size(); ++i) {
        INFO(refused[i]);
        const Message answer = ask(wires[i], refused[i]);
        const std::string id = answer.field("sluice-request-id");
        REQUIRE(id.size() == 32);
        CHECK((answer.body.find("\"vendor\"") == std::string::npos) == stranger);
        CHECK(bench.proxy->logs("\"request_id\":\"" + id + "\",\"vendor\":\"" + (stranger ? "_other" : "pay") + "\""));
    }
}

TEST_CASE("a password that is rotated holds without a restart, and open tunnels go on") {
    Bench bench;
    Wire tunnel = bench.entered(pay, as_web);
    bench.replace("web", "an0ther-passw0rd");
    const std::string as_web_now = shown("web", "an0ther-passw0rd");
    CHECK(eventually([&] { return bench.proxy->raw(get(pay, as_web_now)).status() == 200; }));
    check_unknown(bench.proxy->raw(get(pay, as_web)));
    CHECK(ask(tunnel, get_inside(pay)).status() == 200);
    CHECK(bench.proxy->logs("\"credential\":\"clients.web\",\"state\":\"changed\""));
}

TEST_CASE("a client whose password cannot be read is told so until it can, and is not asked for another") {
    Bench bench;
    Wire tunnel = bench.entered(pay, as_web);
    bench.replace("web", "short");
    CHECK(eventually([&] { return bench.proxy->raw(get(pay, as_web)).status() == 503; }));
    check_unread(bench.proxy->raw(get(pay, shown("web", "short"))));
    check_unread(bench.proxy->raw(connect(pay, as_web)));
    check_unread(ask(tunnel, get_inside(pay)));
    check_unknown(bench.proxy->raw(get(pay, shown("stranger", web_password))));
    CHECK(bench.proxy->logs("its password is shorter than 8 bytes"));
    CHECK(bench.proxy->raw(get(pay, as_ops)).status() == 200);
    bench.replace("web", web_password);
    CHECK(eventually([&] { return bench.proxy->raw(get(pay, as_web)).status() == 200; }));
}

TEST_CASE("a password in Vault is waited for, and a new one is taken when somebody shows it") {
    FakeVault vault;
    vault.seal(true);
    TemporaryDirectory secrets;
    Seen seen;
    const FakeVendor vendor(echo_into(seen), vendor_ca());
    const std::string login = "credentials:\n" + vault.login_yaml("hvs.clients", secrets);
    const std::string clients = "clients:\n  web: {password: {vault: \"kv/data/web#password\"}, vendors: [pay]}\n  ops: {password: {file: " +
                                secrets.file("ops", ops_password) + "}, vendors: all}\n";
    const TestProxy proxy(login + "vendors:\n" + vendor_yaml("pay", pay, vendor, true) + clients);

    const Message early = proxy.raw(get(pay, as_web));
    check_unread(early);
    CHECK(early.field("retry-after") == "5");
    CHECK(proxy.raw(get(pay, as_ops)).status() == 200);   // which waits for nobody
    CHECK(proxy.logs("Vault is sealed"));

    vault.put("web", {{"password", web_password}});
    vault.seal(false);
    CHECK(eventually([&] { return proxy.raw(get(pay, as_web)).status() == 200; }));
    check_unknown(proxy.raw(get(pay, shown("web", "an0ther-passw0rd"))));

    vault.put("web", {{"password", "an0ther-passw0rd"}});
    const std::string as_web_now = shown("web", "an0ther-passw0rd");
    CHECK(eventually([&] { return proxy.raw(get(pay, as_web_now)).status() == 200; }));
    check_unknown(proxy.raw(get(pay, as_web)));

    // What is gone from Vault later does not lock out whom it let in.
    vault.seal(true);
    check_unknown(proxy.raw(get(pay, shown("web", "s0me-passw0rd"))));
    CHECK(eventually([&] { return proxy.metric("sluice_credential_refresh_total{credential=\"clients.web\",result=\"failed\"}") > 0; }));
    CHECK(proxy.raw(get(pay, as_web_now)).status() == 200);
    CHECK(proxy.log().find("passw0rd") == std::string::npos);
    CHECK(vault.complaints().empty());
}

TEST_CASE("without clients whoever reaches the listener is served, as ever") {
    Bench bench("");
    CHECK(bench.proxy->raw(get(pay)).status() == 200);
    CHECK(bench.proxy->raw(get(pay, shown("anybody", "anything"))).status() == 200);
    CHECK(bench.seen.all().back().count("proxy-authorization") == 0);
    CHECK(bench.proxy->logs("\"vendor\":\"pay\""));
    CHECK(bench.proxy->log().find("\"client\"") == std::string::npos);
}
