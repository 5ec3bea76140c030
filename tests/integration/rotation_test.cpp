// Secrets that are rotated while requests go on, from the file to the vendor: not one of them fails. And a vendor that is behind: `overlap`.
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/digest.hpp"
#include "tests/support/certificate.hpp"
#include "tests/support/fake_vault.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace fs = std::filesystem;

namespace {

std::string secret(int n) { return "s3cr3t-number-" + std::to_string(n); }

// A way to show a secret: how the policy writes it, and what a vendor that knows the secret looks for.
struct Way {
    const char* name;
    const char* type;   // in the credential's map
    std::function<bool(const Message&, const std::string& secret)> fits;
};
std::vector<Way> ways() {
    return {
        {"bearer", "type: bearer, value: {file: @dir/now}", [](const Message& request, const std::string& secret) { return request.field("authorization") == "Bearer " + secret; }},
        {"api_key", "type: api_key, header: X-Api-Key, value: {file: @dir/now}", [](const Message& request, const std::string& secret) { return request.field("x-api-key") == secret; }},
        {"basic", "type: basic, username: somebody, password: {file: @dir/now}",
         [](const Message& request, const std::string& secret) {
             std::string wanted = "Basic ";
             append_base64(wanted, "somebody:" + secret);
             return request.field("authorization") == wanted;
         }},
        {"signing key", "type: hmac, key: {file: @dir/now}, string_to_sign: \"{method} {path}\", header: X-Signature",
         [](const Message& request, const std::string& secret) { return request.field("x-signature") == to_hex(hmac(HashAlgorithm::sha256, secret, "GET /").bytes()); }},
    };
}

/// Takes the secrets that it was told of, 401 to any other; which one it was shown last.
class KnowingVendor {
  public:
    explicit KnowingVendor(Way way) : way_(std::move(way)), vendor_([this](Wire& wire) { serve(wire); }, vendor_ca()) {}

    void take(int n) {
        const std::lock_guard lock(mutex_);
        taken_.push_back(n);
    }
    int latest() const { return latest_; }
    /// A request for /held has come; it is answered after `let_go`.
    bool holds_one() { return held_.try_acquire_for(10s); }
    void let_go() { let_go_.release(); }
    const FakeVendor& server() const { return vendor_; }

  private:
    void serve(Wire& wire) {
        while (const auto request = wire.read_request()) {
            int shown = -1;
            {
                const std::lock_guard lock(mutex_);
                for (const int n : taken_)
                    if (way_.fits(*request, secret(n))) shown = n;
            }
            if (request->start_line.starts_with("GET /held ")) {
                held_.release();
                static_cast<void>(let_go_.try_acquire_for(10s));
            } else {
                latest_ = shown;
            }
            wire.write(shown < 0 ? "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    }

    const Way way_;
    mutable std::mutex mutex_;
    std::vector<int> taken_;
    std::atomic<int> latest_ = -1;
    std::binary_semaphore held_{0}, let_go_{0};
    FakeVendor vendor_;
};

/// Applications that ask without pause until `stop`, each on a connection of its own; what did not end in 200 is counted.
class Load {
  public:
    Load(const TestProxy& proxy, int applications) {
        for (int i = 0; i < applications; ++i)
            threads_.emplace_back([this, wire = std::make_shared<Wire>(proxy.connected("pay.example"))] {
                while (!stopped_) {
                    wire->write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
                    const auto answer = wire->read_response();
                    const bool is_good = answer && answer->status() == 200;
                    ++(is_good ? good_ : bad_);
                    if (is_good) continue;
                    const std::lock_guard lock(mutex_);
                    first_bad_ = answer ? answer->start_line + ' ' + answer->body : "no answer";
                    return;
                }
            });
    }
    ~Load() { stop(); }
    void stop() {
        stopped_ = true;
        for (std::thread& thread : threads_)
            if (thread.joinable()) thread.join();
    }
    int good() const { return good_; }
    int bad() const { return bad_; }
    std::string first_bad() const {
        const std::lock_guard lock(mutex_);
        return first_bad_;
    }

  private:
    std::atomic<bool> stopped_ = false;
    std::atomic<int> good_ = 0, bad_ = 0;
    mutable std::mutex mutex_;
    std::string first_bad_;
    std::vector<std::thread> threads_;
};

void check_no_failure(Load& load) {
    load.stop();
    INFO(load.first_bad());
    CHECK(load.bad() == 0);
    CHECK(load.good() > 20);
}

std::string policy_of(const Way& way, const KnowingVendor& vendor, const std::string& more) {
    return std::string("credentials:\n  k: {") + way.type + more + "}\nvendors:\n" + vendor_yaml("pay", "pay.example", vendor.server(), true, "credential: k\nretry: {max: 0}");
}

bool answers_200(const TestProxy& proxy) {
    return eventually([&] { return proxy.get("pay.example").status() == 200; });
}

}  // namespace

TEST_CASE("a secret in a file is rotated under load, in whatever way it is shown, and not one request fails", "[multi-worker]") {
    const std::size_t index = GENERATE(range<std::size_t>(0, 4));
    const Way way = ways()[index];
    INFO(way.name);
    KnowingVendor vendor(way);
    for (int n = 0; n <= 4; ++n) vendor.take(n);
    // Nothing may hide a wrong secret: no second try, no other credential.
    TestProxy proxy(policy_of(way, vendor, ", refresh_on: []"), 2);
    const std::string path = proxy.directory().file("now", secret(0));
    REQUIRE(answers_200(proxy));
    Load load(proxy, 3);
    for (int n = 1; n <= 4; ++n) {
        if (n % 2)
            fs::rename(proxy.directory().file("next", secret(n)), path);
        else
            std::ofstream(path, std::ios::trunc) << secret(n) << '\n';   // empty for a moment, or half there
        CHECK(eventually([&] { return vendor.latest() == n; }));
    }
    check_no_failure(load);
}

TEST_CASE("a client certificate and its key are rotated under load, in files or in Vault, and not one request fails", "[multi-worker]") {
    const bool in_vault = GENERATE(false, true);
    INFO((in_vault ? "in Vault" : "in files"));
    std::vector<OurCertificate> pairs(3);
    std::atomic<int> latest = -1;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                const std::string shown = shown_on(wire);
                for (std::size_t i = 0; i < pairs.size(); ++i)
                    if (pairs[i].shown() == shown) latest = static_cast<int>(i);
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        },
        vendor_ca());
    insist_on_certificates(vendor);
    FakeVault vault;
    const TemporaryDirectory mounted;   // as Kubernetes mounts a Secret: both files change by one rename
    const auto mount = [&](std::size_t i) {
        const std::string version = "version" + std::to_string(i), folder = mounted.path() + "/" + version;
        fs::create_directory(folder);
        mounted.file(version + "/tls.crt", pairs[i].cert_pem);
        fs::permissions(mounted.file(version + "/tls.key", pairs[i].key_pem), fs::perms::owner_read);
        fs::create_directory_symlink(version, mounted.path() + "/..new");
        fs::rename(mounted.path() + "/..new", mounted.path() + "/..data");
        if (fs::exists(mounted.path() + "/tls.crt")) return;
        fs::create_symlink("..data/tls.crt", mounted.path() + "/tls.crt");
        fs::create_symlink("..data/tls.key", mounted.path() + "/tls.key");
    };
    const auto rotate = [&](std::size_t i) { in_vault ? vault.put_first("client", pairs[i].in_vault(), 1) : mount(i); };
    rotate(0);
    const std::string pair = in_vault ? "cert: {vault: \"secret/client#cert\"}, key: {vault: \"secret/client#key\"}"
                                      : "cert: {file: " + mounted.path() + "/tls.crt}, key: {file: " + mounted.path() + "/tls.key}";
    TestProxy proxy("credentials:\n" + (in_vault ? vault.login_yaml("hvs.tls", mounted) : std::string()) + "  k: {type: mtls, " + pair + "}\nvendors:\n" +
                        vendor_yaml("pay", "pay.example", vendor, true, "credential: k\nretry: {max: 0}"),
                    2, 10s, "", ReloadTimes{20ms, 100ms, 500ms});
    REQUIRE(answers_200(proxy));
    CHECK(latest == 0);
    Load load(proxy, 3);
    for (std::size_t i = 1; i < pairs.size(); ++i) {
        rotate(i);
        CHECK(eventually([&] { return latest == static_cast<int>(i); }));
    }
    check_no_failure(load);
}

TEST_CASE("the secret before the last rotation is tried when the new one is refused, in whatever way it is shown, and told of") {
    const std::size_t index = GENERATE(range<std::size_t>(0, 4));
    const Way way = ways()[index];
    INFO(way.name);
    KnowingVendor vendor(way);
    vendor.take(0);
    TestProxy proxy(policy_of(way, vendor, ", overlap: {secret: {file: @dir/before}}"));
    proxy.directory().file("before", secret(0));
    const std::string path = proxy.directory().file("now", secret(1));   // which the vendor does not know yet
    REQUIRE(answers_200(proxy));
    CHECK(vendor.latest() == 0);
    CHECK(proxy.logs("the vendor refuses the new secret, and still takes the one before it (overlap)"));
    const Message first = proxy.get("pay.example");
    CHECK(first.status() == 200);
    CHECK(first.field("sluice-attempts") == "1");   // for a while the old one comes first
    CHECK(proxy.log().find("s3cr3t") == std::string::npos);

    // Of another rotation the new one is tried first again.
    vendor.take(2);
    fs::rename(proxy.directory().file("next", secret(2)), path);
    CHECK(eventually([&] { return proxy.get("pay.example").status() == 200 && vendor.latest() == 2; }));
}

TEST_CASE("uploads that cannot be sent again find the secret that their vendor takes, and tell all workers", "[multi-worker]") {
    const Way way = ways()[0];
    KnowingVendor vendor(way);
    vendor.take(0);
    TestProxy proxy(policy_of(way, vendor, ", overlap: {secret: {file: @dir/before}}"), 2);
    proxy.directory().file("before", secret(0));
    const std::string path = proxy.directory().file("now", secret(1));   // which the vendor does not know yet
    const auto upload = [&proxy] {
        Wire wire = proxy.connected("pay.example");   // each on the next worker
        wire.write("POST / HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'u'));
        return wire.read_response().value_or(Message{}).status();
    };
    unsigned first = 0;
    REQUIRE(eventually([&] { return (first = upload()) != 503; }));
    CHECK(first == 401);
    CHECK(upload() == 200);
    CHECK(upload() == 401);   // the first may have been refused by its own fault: the new one is shown once more
    for (int i = 0; i < 6; ++i) CHECK(upload() == 200);
    CHECK(vendor.latest() == 0);
    CHECK(proxy.logs("the vendor refuses the new secret, and still takes the one before it (overlap)"));
}

TEST_CASE("an answer that comes after another rotation does not bring the secret before that back") {
    const Way way = ways()[0];
    KnowingVendor vendor(way);
    vendor.take(0);
    TestProxy proxy(policy_of(way, vendor, ", overlap: {secret: {file: @dir/before}}"));
    proxy.directory().file("before", secret(0));
    const std::string path = proxy.directory().file("now", secret(1));
    REQUIRE(answers_200(proxy));
    unsigned status = 0;
    std::thread slow([&] { status = proxy.get("pay.example", "/held").status(); });
    CHECK(vendor.holds_one());
    vendor.take(2);
    fs::rename(proxy.directory().file("next", secret(2)), path);
    CHECK(eventually([&] { return proxy.get("pay.example").status() == 200 && vendor.latest() == 2; }));
    vendor.let_go();
    slow.join();
    CHECK(status == 200);   // with the one of before
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(vendor.latest() == 2);
}

TEST_CASE("a reload that puts a credential elsewhere puts the secret before it there too") {
    Seen seen;
    FakeVendor vendor(
        [&seen](Wire& wire) {
            while (auto request = wire.read_request()) {
                seen.add(*request);
                const bool good = request->field("x-here") == "the-old-secret" || request->field("x-there") == "the-old-secret";
                wire.write(std::string("HTTP/1.1 ") + (good ? "200 OK" : "401 Unauthorized") + "\r\nContent-Length: 0\r\n\r\n");
            }
        },
        vendor_ca());
    FakeVault vault;
    vault.put("app", {{"key", "the-new-secret"}});
    const TemporaryDirectory files;
    const std::string before = files.file("before", "the-old-secret"), login = vault.login_yaml("t-1", files);
    const auto policy = [&](const std::string& header) {
        return "credentials:\n" + login + "  k: {type: api_key, header: " + header + ", value: {vault: kv/data/app#key, login: vault}, overlap: {secret: {file: " + before +
               "}}}\nvendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: k");
    };
    TestProxy proxy(policy("X-Here"));
    REQUIRE(eventually([&] { return proxy.get("pay.example").status() == 200; }));
    proxy.rewrite(policy("X-There"));
    REQUIRE(proxy.reload().status() == 200);
    CHECK(proxy.get("pay.example").status() == 200);
    const Message last = seen.all().back();
    CHECK(last.field("x-there") == "the-old-secret");
    CHECK(last.field("x-here").empty());
}
