#include "tests/support/proxy.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "config/decode.hpp"
#include "proxy/base/text.hpp"

namespace sluice::testing {

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-test-XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    path_ = pattern;
}
TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}
std::string TemporaryDirectory::file(const std::string& name, std::string_view content) const {
    const std::string path = path_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

namespace {

std::string with_directory(std::string text, const std::string& directory) {
    constexpr std::string_view mark = "@dir";
    for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + directory.size())) text.replace(at, mark.size(), directory);
    return text;
}

std::shared_ptr<const Config> loaded(PolicySource& source) {
    Decoded result = source.load();
    std::string faults;
    for (const Fault& fault : result.faults)
        if (!fault.warning) faults += fault.text() + "\n";
    if (!result.config) throw std::runtime_error("the test's policy is bad:\n" + faults);
    return result.config;
}

}  // namespace

std::string TestProxy::whole(const std::string& policy, unsigned workers, const std::string& listen) const {
    return with_directory("version: 1\nlisten: {proxy: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"" + (listen.empty() ? "" : ", " + listen) + "}\nworkers: " + std::to_string(workers) +
                              "\nstate: @dir/state\n" + policy,
                          directory_.path());
}

void TestProxy::rewrite(const std::string& policy, unsigned workers, const std::string& listen) const {
    std::filesystem::rename(directory_.file("policy.yaml.new", whole(policy, workers, listen)), directory_.path() + "/policy.yaml");
}

Message TestProxy::reload() const {
    Wire wire = Wire::to(admin_port());
    wire.write("POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return wire.read_response().value_or(Message{});
}

TestProxy::TestProxy(const std::string& policy, unsigned workers, Duration drain, const std::string& listen, ReloadTimes reload, ApplicationTimes times) : workers_(workers), listen_(listen) {
    directory_.file("vendor-ca.crt", vendor_ca().pem());
    log_fd_ = ::open((directory_.path() + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    Supervisor::Options options;
    options.log_fd = log_fd_;
    options.drain = drain;
    options.policy = directory_.file("policy.yaml", whole(policy, workers, listen));
    options.source = std::make_shared<PolicySource>(options.policy);
    options.reload_times = reload;
    options.application_times = times;
    auto config = loaded(*options.source);
    supervisor_ = std::make_unique<Supervisor>(std::move(config), std::move(options));
    runner_ = std::thread([this] { supervisor_->run(); });
}

TestProxy::~TestProxy() {
    supervisor_->stop();
    join();
    supervisor_.reset();
    ::close(log_fd_);
}

void TestProxy::join() {
    if (runner_.joinable()) runner_.join();
}

std::string TestProxy::ca() const {
    std::ifstream file(supervisor_->published().ca_crt);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string TestProxy::log() const {
    std::ifstream file(directory_.path() + "/log");
    return {std::istreambuf_iterator<char>(file), {}};
}

bool TestProxy::logs(std::string_view text) const {
    return eventually([&] { return log().find(text) != std::string::npos; });
}

double TestProxy::metric(std::string_view series) const {
    std::istringstream lines(metrics());
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(series) && line.size() > series.size() && line[series.size()] == ' ') return std::stod(line.substr(series.size() + 1));
    return -1;
}

Wire TestProxy::connected(const std::string& host) const {
    const std::string authority = host.find(':') == std::string::npos ? host + ":443" : host;
    Wire wire = Wire::to(port());
    wire.write("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n");
    const auto answer = wire.read_head();
    if (!answer || answer->status() != 200) throw std::runtime_error("CONNECT: " + (answer ? answer->start_line : "no answer"));
    const std::string name = host.substr(0, host.find(':'));
    wire.tls_client(ca(), name, name);
    return wire;
}

Message TestProxy::get(const std::string& host, const std::string& path, const std::string& more_fields) const {
    Wire wire = connected(host);
    wire.write("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + more_fields + "\r\n");
    return wire.read_response().value_or(Message{});
}

Message TestProxy::raw(std::string_view request) const {
    Wire wire = Wire::to(port());
    wire.try_write(request);
    return wire.read_response().value_or(Message{});
}

const CertAuthority& vendor_ca() {
    static const CertAuthority made = std::move(CertAuthority::make(std::chrono::system_clock::now()).value());
    return made;
}

std::string vendor_yaml(const std::string& name, const std::string& host, const FakeVendor& vendor, bool tls, const std::string& more) {
    std::string yaml = "  " + name + ":\n    hosts: [" + host + "]\n    addresses: [127.0.0.0/8, \"::1\"]\n    endpoints: [{url: \"" + (tls ? "https://" : "http://") + vendor.authority() + "\"}]\n";
    if (tls) yaml += "    tls: {ca: {file: @dir/vendor-ca.crt}}\n";
    std::istringstream lines(more);
    for (std::string line; std::getline(lines, line);) yaml += "    " + line + "\n";
    return yaml;
}

bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return condition();
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

}  // namespace sluice::testing
