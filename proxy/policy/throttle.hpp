// Does an answer say "too fast", and for how long? Read from its status, its head, the first 64 KiB of the body that
// passes by, and its trailers: 429, 529, Retry-After, the quota families (http/ratelimit_headers), and the forms that are
// not a 429: AWS error codes (`x-amzn-ErrorType`, `__type`, `code`, `<Code>`), Google's RESOURCE_EXHAUSTED with
// RetryInfo.retryDelay, Shopify GraphQL's THROTTLED with throttleStatus, gRPC's RESOURCE_EXHAUSTED with
// grpc-retry-pushback-ms or a RetryInfo among its details, GitHub's 403. Pure, bounded, one thread; what is malformed
// says nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
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
    /// Could the body say more? To be asked before each `read`; false for most answers from the start.
    bool wants_body() const { return form_ != Form::nothing; }
    /// The next piece of the body, without its transfer coding.
    void read(std::string_view piece);
    /// gRPC says it here.
    void read_trailers(const Fields& trailers) { read_grpc(trailers); }

    /// What is known so far.
    const VendorSignal& signal() const { return signal_; }

    static constexpr std::size_t most_body = 64 * 1024;

  private:
    enum class Form : unsigned char { nothing, json, xml };

    Form form_of(const Fields& head) const;
    void read_grpc(const Fields& fields);
    void read_json(std::string_view piece);
    void read_xml(std::string_view piece);
    void take_text(std::string_view text);
    void take_number(std::string_view text);
    void take_code(std::string_view code);
    void conclude_shopify();

    VendorSignal signal_;
    Form form_ = Form::nothing;
    bool is_error_ = false;   // by its status
    bool throttled_ = false;  // Shopify
    std::size_t left_ = 0;    // bytes of the body that may still be looked at
    JsonScan scan_;
    std::optional<double> cost_, maximum_, available_, restored_;  // Shopify's points; restored_: of them a second
    std::size_t matched_ = 0;                                      // of "<Code>"
    std::size_t code_size_ = 0;
    std::array<char, 64> code_;
};

}  // namespace sluice
