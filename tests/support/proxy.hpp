// The real proxy in the test's process: the supervisor with its workers, on port 0, with a directory of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "proxy/app/supervisor.hpp"
#include "tests/support/wire.hpp"

namespace sluice::testing {

/// Removed with everything in it.
class TemporaryDirectory {
  public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    const std::string& path() const { return path_; }
    /// Writes `<path>/<name>` and returns its path.
    std::string file(const std::string& name, std::string_view content) const;

  private:
    std::string path_;
};

class TestProxy {
  public:
    /// `policy` is YAML without `version`, `listen` and `state`, which are put before it; with `workers` threads. `listen` adds keys to that map ("unix: /x"). "@dir" in the policy becomes the directory's path.
    explicit TestProxy(const std::string& policy, unsigned workers = 1, Duration drain = 10s, const std::string& listen = "", ReloadTimes reload = only_asked(), ApplicationTimes times = {});
    ~TestProxy();

    std::uint16_t port() const { return supervisor_->addresses().proxy.port; }
    std::uint16_t admin_port() const { return supervisor_->addresses().admin.port; }
    const TemporaryDirectory& directory() const { return directory_; }
    std::string ca() const;                       // PEM
    Supervisor& supervisor() { return *supervisor_; }

    /// Everything logged so far.
    std::string log() const;
    /// Waits, bounded by ten seconds, until `log` holds `text`. The log is written up to 100 ms late.
    bool logs(std::string_view text) const;
    std::string metrics() const { return supervisor_->telemetry().scrape(); }
    /// The value of a series written as "sluice_x{a=\"b\"}"; -1 for none.
    double metric(std::string_view series) const;

    /// A connection on which `CONNECT host` has been answered 200 and TLS is up (CA: ours, SNI and verified name: `host` without its port).
    Wire connected(const std::string& host) const;
    /// One GET over `connected`, its answer.
    Message get(const std::string& host, const std::string& path = "/", const std::string& more_fields = "") const;
    /// One plain request, as written, on a connection of its own.
    Message raw(std::string_view request) const;

    /// Its files are not looked at until a reload is asked for.
    static ReloadTimes only_asked() { return {1h, 1h, 1h}; }
    /// The policy's file, `@dir/policy.yaml`, as it would be for another `policy` (or workers, or `listen`), by rename.
    void rewrite(const std::string& policy) const { rewrite(policy, workers_, listen_); }
    void rewrite(const std::string& policy, unsigned workers, const std::string& listen) const;
    /// `POST /reload`.
    Message reload() const;

    void drain() { supervisor_->drain(); }
    /// After a drain: waits until the proxy has ended.
    void join();

  private:
    std::string whole(const std::string& policy, unsigned workers, const std::string& listen) const;

    TemporaryDirectory directory_;
    unsigned workers_;
    std::string listen_;
    int log_fd_ = -1;
    std::unique_ptr<Supervisor> supervisor_;
    std::thread runner_;
};

/// A vendor's CA for a whole test program: making one is not what is tested.
const CertAuthority& vendor_ca();

/// The YAML of one vendor whose endpoint is a FakeVendor on loopback; TLS trusts `vendor_ca` (its file is @dir/vendor-ca.crt). `more` are further keys, one a line, not indented.
std::string vendor_yaml(const std::string& name, const std::string& host, const FakeVendor& vendor, bool tls, const std::string& more = "");

/// Waits until `condition` holds, at most ten seconds; its last value.
bool eventually(const std::function<bool()>& condition);

}  // namespace sluice::testing
