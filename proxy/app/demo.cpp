#include "proxy/app/demo.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "config/decode.hpp"
#include "proxy/app/demo_client.hpp"
#include "proxy/app/demo_issuer.hpp"
#include "proxy/app/demo_vendor.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/app/signals.hpp"
#include "proxy/app/supervisor.hpp"

namespace sluice {

namespace {

constexpr const char* vendor_host = "api.vendor.demo";
constexpr const char* shaky_host = "shaky.vendor.demo";
constexpr const char* busy_host = "busy.vendor.demo";
constexpr const char* token_host = "token.vendor.demo";
const std::string other_host = "not-allowed.demo";
constexpr const char* vendor_key = "demo-key-that-no-application-has";
constexpr const char* client_secret = "demo-client-secret-that-no-application-has";
constexpr Duration most_patience = 20s;  // for what takes a few seconds

/// A directory (0700) that is gone when the demo is over.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        path_ = (std::filesystem::temp_directory_path() / "sluice-demo-XXXXXX").string();
        if (!::mkdtemp(path_.data()))
            throw StartFault("cannot make a directory in " + path_ + ": set TMPDIR to one that can be written");
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    std::string file(const char* name) const { return path_ + '/' + name; }
    std::string write(const char* name, const std::string& contents) const {
        std::ofstream(file(name), std::ios::binary) << contents;
        return file(name);
    }

  private:
    std::string path_;
};

/// A vendor of the policy: the demo's own server, by another name each time. `more`: its further keys, a line each.
std::string vendor_text(const char* name, const char* about, const char* host, std::uint16_t port, const std::string& ca,
                        std::initializer_list<const char*> more, const char* credential = "demo-key") {
    std::ostringstream vendor;
    vendor << "  " << name << ":\n    about: " << about << "\n    hosts: [" << host
           << "]\n    endpoints: [{url: \"https://localhost:" << port
           << "\"}]\n    addresses: [127.0.0.0/8, \"::1/128\"]   # this vendor alone may be on loopback\n    tls: {ca: {file: "
           << quoted(ca) << "}}\n    credential: " << credential << "\n";
    for (const char* line : more) vendor << "    " << line << "\n";
    return vendor.str();
}

std::string policy_text(const TemporaryDirectory& directory, std::uint16_t port, std::uint16_t issuer_port) {
    const std::string ca = directory.file("vendor-ca.crt");
    std::ostringstream policy;
    policy << "version: 1\n"
              "listen: {proxy: 127.0.0.1:0, admin: 127.0.0.1:0}\n"
              "workers: 1\n"
              "state: "
           << quoted(directory.file("state"))
           << "\n"
              "authority: {ca: ephemeral, publish: "
           << quoted(directory.file("ca"))
           << "}\n"
              "credentials:\n"
              "  demo-key: {type: bearer, value: {file: "
           << quoted(directory.file("vendor.key"))
           << "}}\n"
              "  demo-token:\n    type: oauth2_client_credentials\n    token_url: \"https://localhost:"
           << issuer_port << DemoIssuer::path << "\"\n    client_id: " << DemoIssuer::client_id << "\n    client_secret: {file: "
           << quoted(directory.file("client.secret"))
           << "}\n    scope: [demo.read]\n    addresses: [127.0.0.0/8, \"::1/128\"]\n    tls: {ca: {file: "
           << quoted(directory.file("issuer-ca.crt"))
           << "}}\n"
              "vendors:\n"
           << vendor_text("demo", "A vendor inside of this very process", vendor_host, port, ca,
                          {"timeout: {first_byte: 1s}"})
           << vendor_text("shaky", "The same, on a bad day", shaky_host, port, ca,
                          {"timeout: {first_byte: 300ms}", "retry: {backoff: 50ms..100ms}",
                           "breaker: {consecutive: 3, open_for: 1s..1m, probes: 1}"})
           << vendor_text("busy", "The same, with too many callers", busy_host, port, ca,
                          {"retry: {on: [+429]}", "limit: {rate: 100/s, learn: true, when_full: {wait: 3s}}"})
           << vendor_text("account", "The same, for whom has a token of its issuer", token_host, port, ca, {}, "demo-token");
    return policy.str();
}

std::shared_ptr<const Config> load_policy_of_demo(const std::string& path, Streams& streams) {
    const Decoded decoded = load_policy(path, PolicyInputs::system());
    for (const Fault& fault : decoded.faults) print_fault(streams.err, fault);
    if (!decoded.config) throw StartFault("the demo's own policy is refused");
    return decoded.config;
}

/// The supervisor's loop on a thread of its own.
class Background {
  public:
    explicit Background(Supervisor& supervisor)
        : supervisor_(supervisor), thread_([this] { fine_ = supervisor_.run(); }) {}
    ~Background() { end(); }

    void wait() {
        if (thread_.joinable()) thread_.join();
    }
    void end() {
        supervisor_.drain();
        wait();
    }
    bool fine() const { return fine_; }

  private:
    Supervisor& supervisor_;
    bool fine_ = true;
    std::thread thread_;
};

/// Tells what each side sees, and holds it against what should have happened.
class Story {
  public:
    Story(Console& out, const Supervisor& supervisor, const DemoVendor& vendor, DemoIssuer& issuer)
        : out_(out), supervisor_(supervisor), vendor_(vendor), issuer_(issuer) {}

    void introduce() {
        out_ << out_.paint(Colour::bold,
                           "Sluice " SLUICE_VERSION ": an application without a secret, a vendor that wants one")
             << "\n\n";
        line("proxy",
             "http://" + supervisor_.addresses().proxy.text() + "  (the application's HTTP_PROXY and HTTPS_PROXY)");
        line("trusts", supervisor_.published().ca_crt);
        line("vendor", "https://" + std::string(vendor_host) +
                           ", in truth https://localhost:" + std::to_string(vendor_.port()) + " with a private CA");
        out_.flush();
    }

    bool tell() {
        credential();
        deadline();
        unknown_host();
        spoofed_host();
        act("Second act: the vendor has a bad day, and the application keeps standing");
        failing_vendor();
        hanging_vendor();
        recovered_vendor();
        throttling_vendor();
        act("Third act: the vendor wants tokens that live for four seconds, and the application has none at all");
        minted_token();
        renewed_token();
        issuer_out();
        issuer_back();
        return fine_;
    }

  private:
    void credential() {
        begin("The vendor's credential is added on the way");
        const DemoAnswer answer = request({.path = "/v1/hello"}, "no Authorization");
        const auto seen = vendor_.seen();
        expect(answer.status == 200 && answer.outcome == "vendor", "a 200 from the vendor");
        expect(seen.size() == 1 && seen.back().authorization == "Bearer " + std::string(vendor_key),
               "the credential at the vendor");
    }

    void deadline() {
        begin("A vendor that hangs is cut off: timeout.first_byte is 1s");
        const DemoAnswer answer = request({.path = std::string(DemoVendor::slow_path)}, "");
        expect(answer.status == 504 && answer.reason == "timeout_first_byte", "a 504 timeout_first_byte");
        expect(answer.took >= 1s && answer.took < 3s, "an answer after about a second");
    }

    void unknown_host() {
        begin("A host that no policy names is refused");
        const DemoAnswer answer = request({.host = other_host}, "");
        expect(answer.status == 403 && answer.reason == "unknown_vendor" && answer.of_connect,
               "a 403 unknown_vendor to CONNECT");
    }

    void spoofed_host() {
        begin("A Host that is not the CONNECT target gets no credential");
        const DemoAnswer answer = request({.named = other_host, .path = "/v1/hello"}, "Host: " + other_host);
        expect(answer.status == 421 && answer.reason == "authority_mismatch", "a 421 authority_mismatch");
    }

    void failing_vendor() {
        begin("A vendor that fails twice is asked a third time");
        const DemoAnswer answer = request({.host = shaky_host, .path = std::string(DemoVendor::flaky_path)}, "");
        expect(answer.status == 200 && answer.attempts == "3", "a 200, after two 503 that the application never saw");
    }

    void hanging_vendor() {
        begin("A vendor that hangs is left alone after three timeouts: its breaker opens");
        for (int i = 0; i < 3; ++i) {
            const DemoAnswer cut_off = request({.host = shaky_host, .path = std::string(DemoVendor::slow_path)}, "");
            expect(cut_off.status == 504, "a 504: 300 ms are all that the application lost");
        }
        already_seen_ = vendor_.seen().size();
        const DemoAnswer refused = request({.host = shaky_host, .path = "/v1/hello"}, "");
        expect(refused.status == 503 && refused.reason == "breaker_open" && refused.took < 250ms,
               "a 503 breaker_open at once, with a Retry-After");
    }

    void recovered_vendor() {
        begin("After open_for (1s) one request is let through; it succeeds, and the breaker is closed");
        std::this_thread::sleep_for(1100ms);
        const DemoAnswer answer = request({.host = shaky_host, .path = "/v1/hello"}, "");
        expect(answer.status == 200, "a 200 from the vendor");
    }

    void throttling_vendor() {
        begin("A vendor that throttles (429, Retry-After: 1) gets the pace that it asks for");
        const DemoAnswer answer = request({.host = busy_host, .path = std::string(DemoVendor::busy_path)}, "");
        expect(answer.status == 200 && answer.attempts == "2", "a 200: Sluice has waited, the application had nothing to do");
        expect(answer.took >= 1s, "not before the second was over");
    }

    void minted_token() {
        begin("A token was fetched from its issuer (TLS, a private CA of its own) before anybody asked");
        const DemoAnswer answer = request({.host = token_host, .path = std::string(DemoVendor::guarded_path)}, "no Authorization");
        expect(answer.status == 200, "a 200: the vendor has accepted the token");
        line("application", "read " + answer.body.substr(0, answer.body.find('\n')));
        expect(!issuer_.is_any_in(answer.body) && answer.body.find("Bearer ****") != std::string::npos,
               "the vendor's answer repeats the token, and it came masked");
    }

    /// Requests until `enough`, each as soon as the one before is answered; the last answer.
    template <class Enough>
    DemoAnswer ask_until(Enough enough, std::map<std::string, int>& statuses) {
        const TimePoint end = std::chrono::steady_clock::now() + most_patience;
        DemoAnswer answer;
        do {
            answer = ask({supervisor_.addresses().proxy, supervisor_.published().ca_crt, token_host, {}, std::string(DemoVendor::guarded_path)});
            ++statuses[answer.status ? std::to_string(answer.status) : answer.fault];
            tokens_seen_ |= issuer_.is_any_in(answer.body);
            std::this_thread::sleep_for(10ms);  // this machine has other things to do
        } while (!enough(answer) && std::chrono::steady_clock::now() < end);
        return answer;
    }

    void say(const std::map<std::string, int>& statuses) {
        std::string text;
        for (const auto& [status, times] : statuses) text += (text.empty() ? "" : ", ") + std::to_string(times) + " times " + status;
        line("application", "got " + text);
    }

    std::set<std::string> tokens_at_vendor() const {
        const auto seen = vendor_.seen();
        std::set<std::string> tokens;
        for (std::size_t i = already_seen_; i < seen.size(); ++i) tokens.insert(seen[i].authorization);
        return tokens;
    }

    void renewed_token() {
        begin("It is renewed before it ends, while the application sends one request after the other");
        std::map<std::string, int> statuses;
        ask_until([this](const DemoAnswer& answer) { return answer.status != 200 || tokens_at_vendor().size() >= 3; }, statuses);
        std::string tokens;
        for (const std::string& token : tokens_at_vendor()) tokens += (tokens.empty() ? "" : ", ") + masked(token);
        line("vendor", "saw " + tokens);
        say(statuses);
        line("issuer", "has given out " + std::to_string(issuer_.given()) + " tokens since the start");
        expect(tokens_at_vendor().size() >= 3, "at least three tokens, one after the other");
        expect(statuses.size() == 1 && statuses.contains("200"), "not one 401, nor any other failure");
    }

    void issuer_out() {
        begin("The issuer is out: requests go on with the token at hand, and are refused once it has ended");
        issuer_.set_out(true);
        std::map<std::string, int> statuses;
        const DemoAnswer answer = ask_until([](const DemoAnswer& one) { return one.status != 200; }, statuses);
        say(statuses);
        say(answer);
        expect(statuses.contains("200"), "answers from the vendor, though the issuer is out");
        expect(answer.status == 503 && answer.reason == "credential_unavailable" && !answer.retry_after.empty(),
               "then a 503 credential_unavailable with a Retry-After, and never an expired token");
    }

    void issuer_back() {
        begin("The issuer is back: Sluice finds out by itself, without a restart");
        issuer_.set_out(false);
        std::map<std::string, int> statuses;
        const DemoAnswer answer = ask_until([](const DemoAnswer& one) { return one.status == 200; }, statuses);
        say(statuses);
        expect(answer.status == 200, "a 200 from the vendor");
        expect(!tokens_seen_, "in all these answers, not one token");
    }

    void act(const std::string& title) { out_ << "\n" << out_.paint(Colour::bold, "== " + title) << "\n"; }

    void begin(const std::string& title) {
        out_ << "\n" << out_.paint(Colour::bold, std::to_string(++number_) + ". " + title) << "\n";
        out_.flush();
        already_seen_ = vendor_.seen().size();
    }

    DemoAnswer request(DemoRequest what, const std::string& noteworthy) {
        what.proxy = supervisor_.addresses().proxy;
        what.ca_file = supervisor_.published().ca_crt;
        if (what.host.empty()) what.host = vendor_host;
        line("application", "GET https://" + what.host + what.path + (noteworthy.empty() ? "" : "   " + noteworthy));
        const DemoAnswer answer = ask(what);
        say_what_the_vendor_saw();
        say(answer);
        return answer;
    }

    void say_what_the_vendor_saw() {
        const auto seen = vendor_.seen();
        if (seen.size() == already_seen_) return line("vendor", "saw nothing");
        const DemoVendor::Seen& last = seen.back();
        const std::string credential =
            last.authorization.empty() ? "no Authorization" : "Authorization: " + masked(last.authorization);
        line("vendor", "saw " + last.method + ' ' + last.path + "   Host: " + last.host + "   " + credential);
    }

    void say(const DemoAnswer& answer) {
        char after[32];
        std::snprintf(after, sizeof after, " after %.2f s", std::chrono::duration<double>(answer.took).count());
        std::string text = answer.status ? "got " + std::to_string(answer.status) : "got no answer: " + answer.fault;
        if (!answer.outcome.empty()) text += "   Sluice-Outcome: " + answer.outcome;
        if (!answer.reason.empty()) text += "   Sluice-Reason: " + answer.reason;
        if (!answer.attempts.empty() && answer.attempts > "1") text += "   Sluice-Attempts: " + answer.attempts;
        if (!answer.retry_after.empty()) text += "   Retry-After: " + answer.retry_after;
        line("application", text + "  " + out_.paint(Colour::dim, after));
        out_.flush();
    }

    void line(std::string_view who, const std::string& what) {
        out_ << "   " << out_.paint(Colour::cyan, who) << std::string(13 - who.size(), ' ') << what << "\n";
    }

    void expect(bool met, const std::string& what) {
        if (!met) fine_ = false;
        const std::string mark = met ? out_.paint(Colour::green, "ok") : out_.paint(Colour::red, "NOT AS EXPECTED");
        line("", mark + "  " + what);
        out_.flush();
    }

    Console& out_;
    const Supervisor& supervisor_;
    const DemoVendor& vendor_;
    DemoIssuer& issuer_;
    int number_ = 0;
    std::size_t already_seen_ = 0;
    bool tokens_seen_ = false;  // by the application
    bool fine_ = true;
};

/// The lines of /metrics that the story left behind.
void show_metrics(Console& out, const ListenAddress& admin) {
    out << "\n" << out.paint(Colour::bold, "What Prometheus sees") << " at http://" << admin.text() << "/metrics\n";
    std::istringstream lines(fetch_plain(admin, "/metrics"));
    for (std::string line; std::getline(lines, line);) {
        const bool told = line.starts_with("sluice_requests_total{") || line.starts_with("sluice_rejected_total{") ||
                          line.starts_with("sluice_attempts_total{") || line.starts_with("sluice_breaker_") ||
                          line.starts_with("sluice_credential_refresh_total{") || line.starts_with("sluice_scrubbed_secrets_total{");
        if (told && !line.ends_with(" 0")) out << "   " << line << "\n";
    }
}

void show_what_to_try(Console& out, const Supervisor& supervisor, const TemporaryDirectory& directory) {
    const std::string proxy = "http://" + supervisor.addresses().proxy.text();
    const std::string admin = "http://" + supervisor.addresses().admin.text();
    const std::string through = "curl -i --proxy " + proxy + " --cacert " + supervisor.published().ca_crt + ' ';
    const std::string vendor = "https://" + std::string(vendor_host);
    const auto offer = [&out](std::string_view what, const std::string& command) {
        out << "  " << out.paint(Colour::dim, "# " + std::string(what)) << "\n  " << command << "\n";
    };
    out << "\n" << out.paint(Colour::bold, "Try it by hand") << " (Ctrl-C ends it)\n";
    offer("the credential is added", through + vendor + "/v1/hello");
    offer("without a proxy setting: base-URL mode", "curl -i --noproxy '*' " + proxy + "/demo/v1/hello");
    offer("the vendor hangs: 504 after a second", through + vendor + std::string(DemoVendor::slow_path));
    offer("a vendor that fails twice: 200, after three attempts",
          through + "https://" + shaky_host + std::string(DemoVendor::flaky_path));
    offer("a vendor that hangs: the fourth time its breaker is open, 503 at once",
          through + "https://" + shaky_host + std::string(DemoVendor::slow_path));
    offer("a vendor that throttles: 200, a second later", through + "https://" + busy_host + std::string(DemoVendor::busy_path));
    offer("a token that is fetched and renewed; the answer repeats it, masked",
          through + "https://" + token_host + std::string(DemoVendor::guarded_path));
    std::error_code unknown;
    const auto ourselves = std::filesystem::read_symlink("/proc/self/exe", unknown);   // it need not be on the PATH
    offer("get a token by hand, and see whose it is",
          (unknown ? std::string("sluice") : ourselves.string()) + " credential test demo-token --config " + directory.file("sluice.yaml"));
    offer("a host that no policy names: 403 to CONNECT", through + "https://" + other_host + "/");
    offer("a spoofed Host: 421", through + "-H 'Host: " + other_host + "' " + vendor + "/v1/hello");
    offer("what Prometheus scrapes", "curl --noproxy '*' " + admin + "/metrics");
    offer("the catalogue of vendors", "curl --noproxy '*' " + admin + "/vendors");
    out << "  "
        << out.paint(Colour::dim,
                     "# policy and log: " + directory.file("sluice.yaml") + ' ' + directory.file("sluice.log"))
        << "\n";
    out.flush();
}

class LogFile {
  public:
    explicit LogFile(const std::string& path)
        : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
        if (fd_ < 0) throw StartFault("cannot write " + path);
    }
    ~LogFile() { ::close(fd_); }
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;
    int fd() const { return fd_; }

  private:
    int fd_;
};

bool show(bool stay, Streams& streams) {
    const BlockedSignals signals({SIGINT, SIGTERM});
    const TemporaryDirectory directory;
    CertResult<CertAuthority> authority = CertAuthority::make(std::chrono::system_clock::now());
    if (!authority) throw StartFault(authority.error().what);
    CertResult<CertAuthority> issuers_authority = CertAuthority::make(std::chrono::system_clock::now());
    if (!issuers_authority) throw StartFault(issuers_authority.error().what);
    DemoIssuer issuer(*issuers_authority, client_secret);
    const DemoVendor vendor(*authority, [&issuer](const std::string& value) { return issuer.accepts(value); });
    directory.write("issuer-ca.crt", issuers_authority->pem());
    directory.write("client.secret", client_secret);
    directory.write("vendor-ca.crt", authority->pem());
    directory.write("vendor.key", vendor_key);
    const std::string policy = directory.write("sluice.yaml", policy_text(directory, vendor.port(), issuer.port()));
    const LogFile log(directory.file("sluice.log"));

    Supervisor supervisor(load_policy_of_demo(policy, streams), {.log_fd = log.fd(), .drain = 2s, .policy = policy});
    const SignalReader reader(signals, supervisor.io(), [&supervisor](const Signal&) { supervisor.drain(); });
    Background background(supervisor);

    Story story(streams.out, supervisor, vendor, issuer);
    story.introduce();
    const bool as_expected = story.tell();
    show_metrics(streams.out, supervisor.addresses().admin);
    if (stay) {
        show_what_to_try(streams.out, supervisor, directory);
        background.wait();
    }
    background.end();
    return as_expected && background.fine();
}

}  // namespace

int run_demo(bool stay, Streams& streams) {
    harden_process();
    try {
        if (show(stay, streams)) {
            streams.out << "\n" << streams.out.paint(Colour::green, "Everything was as it should be.") << "\n";
            return code_of(Exit::fine);
        }
        streams.err << streams.err.paint(Colour::red, "the demo did not go as it should")
                    << ": please report what it printed\n";
    } catch (const std::runtime_error& fault) {
        streams.err << streams.err.paint(Colour::red, "the demo cannot start") << ": " << fault.what() << "\n";
    }
    return code_of(Exit::failure);
}

}  // namespace sluice
