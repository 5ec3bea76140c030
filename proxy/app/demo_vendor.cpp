#include "proxy/app/demo_vendor.hpp"

#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>

#include "proxy/app/console.hpp"
#include "proxy/app/demo_server.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_remembered = 1000;

std::string hello(const DemoVendor::Seen& seen, const std::string& authorization) {
    return "{\"message\":\"hello from the vendor\",\"the_vendor_saw\":{\"host\":" + quoted(seen.host) +
           ",\"path\":" + quoted(seen.path) + ",\"authorization\":" + quoted(authorization) + "}}\n";
}

}  // namespace

std::string masked(const std::string& value) {
    const std::size_t space = value.find(' ');
    const std::size_t shown = (space == std::string::npos ? 0 : space + 1) + 5;
    return value.size() <= shown ? value : value.substr(0, shown) + "…";
}

struct DemoVendor::Impl {
    Impl(const CertAuthority& authority, Accepts who)
        : accepts(std::move(who)),
          server(authority, [this](const DemoServer::Request& request) { return answer(request); }) {}

    std::optional<std::string> answer(const DemoServer::Request& request) {
        std::size_t before = 0;
        const Seen one = remember(request, before);
        if (one.path == slow_path) return {};
        if (one.path == guarded_path) {
            if (!accepts || !accepts(one.authorization))
                return demo_response(401, "{\"error\":\"invalid_token\"}\n", request.keep_alive,
                                     {{"WWW-Authenticate", "Bearer error=\"invalid_token\""}});
            return demo_response(200, hello(one, one.authorization), request.keep_alive);
        }
        const std::string body = hello(one, masked(one.authorization));
        if (one.path == flaky_path && before % 3 != 2) return demo_response(503, body, request.keep_alive);
        if (one.path == busy_path && before % 2 == 0)
            return demo_response(429, body, request.keep_alive, {{"Retry-After", "1"}});
        return demo_response(200, body, request.keep_alive);
    }

    /// `before`: how many for the same path came before it.
    Seen remember(const DemoServer::Request& request, std::size_t& before) {
        Seen one{request.method, request.path, request.host, request.authorization};
        const std::lock_guard lock(mutex);
        before = static_cast<std::size_t>(
            std::count_if(seen.begin(), seen.end(), [&](const Seen& other) { return other.path == one.path; }));
        seen.push_back(one);
        if (seen.size() > most_remembered) seen.pop_front();
        return one;
    }

    const Accepts accepts;
    mutable std::mutex mutex;
    std::deque<Seen> seen;
    DemoServer server;  // last: its threads use the rest
};

DemoVendor::DemoVendor(const CertAuthority& authority, Accepts accepts)
    : impl_(std::make_unique<Impl>(authority, std::move(accepts))) {}
DemoVendor::~DemoVendor() = default;

std::uint16_t DemoVendor::port() const {
    return impl_->server.port();
}

std::vector<DemoVendor::Seen> DemoVendor::seen() const {
    const std::lock_guard lock(impl_->mutex);
    return {impl_->seen.begin(), impl_->seen.end()};
}

}  // namespace sluice
