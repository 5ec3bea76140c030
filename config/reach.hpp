// How something is reached: its URL, TLS, address ranges, timeouts. Vendors have these keys, and so do credentials for
// whose sake an issuer is called. Pure.
#pragma once

#include "config/written.hpp"

namespace sluice {

/// `{file: ...}`, its path made whole.
inline constexpr struct FileRule {
    using Value = std::string;
    std::optional<std::string> read(Reader& reader, const Place& at) const;
    boost::json::object describe(Schema& schema) const;
} file_rule;

std::optional<WrittenPair> read_pair(Reader& reader, const Place& at);
boost::json::object describe_pair(Schema& schema);
inline constexpr FarRule<WrittenPair> pair_rule{read_pair, describe_pair};

std::optional<WrittenTls> read_tls(Reader& reader, const Place& at);
boost::json::object describe_tls(Schema& schema);
inline constexpr FarRule<WrittenTls> tls_rule{read_tls, describe_tls};

std::optional<WrittenTimeouts> read_timeouts(Reader& reader, const Place& at);
boost::json::object describe_timeouts(Schema& schema);
inline constexpr FarRule<WrittenTimeouts> timeouts_rule{read_timeouts, describe_timeouts};

/// Of an issuer: shorter ones are built in, and none is longer than a whole fetch may take.
std::optional<WrittenTimeouts> read_issuer_timeouts(Reader& reader, const Place& at);
boost::json::object describe_issuer_timeouts(Schema& schema);
inline constexpr FarRule<WrittenTimeouts> issuer_timeouts_rule{read_issuer_timeouts, describe_issuer_timeouts};

using WrittenRanges = std::vector<Written<AddressRange>>;
std::optional<WrittenRanges> read_ranges(Reader& reader, const Place& at);
boost::json::object describe_ranges(Schema& schema);
inline constexpr FarRule<WrittenRanges> ranges_rule{read_ranges, describe_ranges};

/// Where a vendor is: http or https, without a query. A URL may hold `user:password@`, which no fault shows.
std::optional<Url> read_endpoint_url(Reader& reader, const Place& at);
boost::json::object describe_endpoint_url(Schema& schema);
inline constexpr FarRule<Url> url_rule{read_endpoint_url, describe_endpoint_url};

/// Where an issuer is. What it is shown is a secret and what it gives is one, so http:// is for this machine and for
/// the clouds' own metadata addresses alone.
std::optional<Url> read_issuer_base(Reader& reader, const Place& at);
std::optional<Url> read_issuer_resource(Reader& reader, const Place& at);
boost::json::object describe_issuer_url(Schema& schema);
inline constexpr FarRule<Url> issuer_base_url{read_issuer_base, describe_issuer_url};
inline constexpr FarRule<Url> issuer_resource_url{read_issuer_resource, describe_issuer_url};

}  // namespace sluice
