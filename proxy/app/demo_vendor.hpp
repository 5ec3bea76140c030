// The vendor of `sluice demo`: it remembers what it was sent. Not for anything but demos and tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "certs/authority.hpp"

namespace sluice {

class DemoVendor {
  public:
    /// What reached the vendor, of one request.
    struct Seen {
        std::string method, path, host, authorization;
    };

    /// Is it the value of an Authorization that opens `guarded_path`? Any thread.
    using Accepts = std::function<bool(const std::string& authorization)>;

    /// A DemoServer. Throws std::runtime_error.
    explicit DemoVendor(const CertAuthority& authority, Accepts accepts = {});
    /// Cuts off what is open.
    ~DemoVendor();

    std::uint16_t port() const;
    /// Everything so far, in order; at most the last 1000. Any thread.
    std::vector<Seen> seen() const;

    /// A request for it is never answered.
    static constexpr std::string_view slow_path = "/v1/slow";
    /// Of each three requests for it the first two are answered 503.
    static constexpr std::string_view flaky_path = "/v1/flaky";
    /// Of each two requests for it the first is answered 429, with a Retry-After of a second.
    static constexpr std::string_view busy_path = "/v1/busy";
    /// 401 to whom it does not accept. To others it repeats the Authorization in full, as careless vendors do.
    static constexpr std::string_view guarded_path = "/v1/account";

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// A header value that may hold a secret, as it may be shown: "Bearer demo-…".
std::string masked(const std::string& value);

}  // namespace sluice
