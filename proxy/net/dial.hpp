// A TCP connection to an authority: resolve, judge every address, connect by happy eyeballs (RFC 8305: families
// interleaved, 250 ms between attempts, sooner when one fails). The address that was judged is the address that is
// dialled. One a worker, on its thread; called by the transport.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proxy/http/authority.hpp"
#include "proxy/net/resolve.hpp"
#include "proxy/net/socket.hpp"
#include "proxy/policy/vendor.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

struct Dialled {
    Socket socket;
    IpAddress address;
};

/// The families in turn, beginning with that of the first address, each in its own order (RFC 8305 4). Pure.
std::vector<IpAddress> interleaved(const std::vector<IpAddress>& addresses);

class Dialler {
  public:
    /// `own_listener(address, port)` says whether that is one of our own listeners, which are never dialled. It is
    /// asked about the bare form: a mapped IPv6 address (::ffff:0:0/96) is judged and dialled as the IPv4 address it
    /// is.
    Dialler(Loop& loop, Resolver& resolver, std::function<bool(const IpAddress&, std::uint16_t)> own_listener);

    /// Failures, all replay safe: dns_failed; address_refused (origin sluice, the detail names host, address and why,
    /// and what to write: `addresses: [...]`, of `whose` policy; "" where nobody's holds, and a vendor has to be made) when no address is left that may be dialled (those that may not are left
    /// out while others remain); connect_failed (with the last error in words); timeout_connect; overloaded (origin
    /// sluice) when descriptors have run out. What was spent is written into `phases`, in the part that failed too. The
    /// arguments must outlive the task.
    Task<Result<Dialled>> dial(const Authority& authority, const std::vector<AddressRange>& addresses,
                               TimePoint deadline, Phases& phases, std::string_view whose = "the vendor");

  private:
    Result<std::vector<IpAddress>> choose(const Authority& authority, const std::vector<AddressRange>& addresses,
                                          const std::vector<IpAddress>& resolved, std::string_view whose) const;

    Loop& loop_;
    Resolver& resolver_;
    std::function<bool(const IpAddress&, std::uint16_t)> own_listener_;
};

}  // namespace sluice
