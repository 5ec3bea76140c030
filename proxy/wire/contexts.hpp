// The client SSL_CTXs of a Config: one for each distinct set of TlsRules, found by the vendor's index. Built with the Config, shared by all workers, never changed after.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "certs/trust.hpp"
#include "config/config.hpp"

namespace sluice {

class ClientContexts {
  public:
    /// Every vendor of the policy. A vendor whose files cannot be read gets no context: its fault is kept, its requests fail with tls_failed that says it.
    explicit ClientContexts(const Config& config);

    SSL_CTX* of(const Vendor& vendor) const { return by_vendor_[vendor.index]->context.get(); }   // null: see fault_of
    const std::string& fault_of(const Vendor& vendor) const { return by_vendor_[vendor.index]->fault; }

  private:
    struct Entry { SslCtxPtr context; std::string fault; };
    std::vector<std::shared_ptr<const Entry>> by_vendor_;
};

}  // namespace sluice
