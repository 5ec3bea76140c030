// The issuer of `sluice demo`: a token endpoint (RFC 6749 4.4) whose tokens live for four seconds. Any thread may ask
// it; not for anything but demos and tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "certs/authority.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

class DemoIssuer {
  public:
    static constexpr Duration lifetime = 4s;
    static constexpr std::string_view client_id = "demo-app", path = "/token";

    /// A DemoServer. Gives tokens to `client_id` with this secret. Throws std::runtime_error.
    DemoIssuer(const CertAuthority& authority, std::string client_secret);
    ~DemoIssuer();

    std::uint16_t port() const;
    /// While it is out, whoever asks is cut off.
    void set_out(bool out);

    /// How many tokens it has given out.
    std::size_t given() const;
    /// Is it "Bearer " and a token that has not ended, or only just?
    bool accepts(const std::string& authorization) const;
    /// Is any token that it has ever given out in there?
    bool is_any_in(const std::string& text) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
