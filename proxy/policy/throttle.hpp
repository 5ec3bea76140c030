// Does an answer say "too fast", and for how long? Status, head, the first 64 KiB of a body that passes by, and
// trailers: 429 and 529, Retry-After, the quota families (http/ratelimit_headers), and the forms that are not a 429:
// AWS error codes
// (`x-amzn-ErrorType`, `__type`, `code`, `<Code>`), Google's RESOURCE_EXHAUSTED with RetryInfo.retryDelay, Shopify
// GraphQL's THROTTLED with throttleStatus, gRPC's RESOURCE_EXHAUSTED with grpc-retry-pushback-ms. Pure, bounded, one
// thread; whatever is malformed says nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proxy/base/json_scan.hpp"
#include "proxy/base/time.hpp"
#include "proxy/http/fields.hpp"
#include "proxy/policy/learnt.hpp"

namespace sluice {

class ThrottleReader {
  public:
    /// An answer begins; what was read before is forgotten.
    void start(unsigned status, const Fields& head, WallTime now);
    /// Could the body say more? Asked before each `read`; false for most answers.
    bool wants_body() const { return looks_for_ != Form::nothing; }
    /// The next piece of the body, without transfer coding. A body with a content coding says nothing.
    void read(std::string_view piece);
    /// gRPC says it here.
    void read_trailers(const Fields& trailers);

    /// What is known so far.
    const VendorSignal& signal() const { return signal_; }

    static constexpr std::size_t most_body = 64 * 1024;

  private:
    enum class Form : unsigned char { nothing, json, xml };

    void read_grpc(const Fields& fields);
    void take_code(std::string_view code);
    void take_value(JsonScan& scan, const JsonScan::Value& value);
    void read_xml(std::string_view piece);
    void conclude_shopify();

    VendorSignal signal_;
    Form looks_for_ = Form::nothing;
    unsigned status_ = 0;
    std::size_t left_ = 0;  // bytes of the body that may still be looked at
    JsonScan scan_;
    std::uint64_t available_ = 0, maximum_ = 0, restore_ = 0;  // throttleStatus
    bool has_available_ = false;
    unsigned char matched_ = 0;  // of "<Code>"
    std::size_t code_size_ = 0;
    char code_[64];
};

}  // namespace sluice
