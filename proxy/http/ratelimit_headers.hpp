// What answers say about quotas, whatever family of fields they use, and our own fields about ours. Pure; a malformed
// field is ignored (draft-ietf-httpapi-ratelimit-headers 5), everything is bounded, nothing is allocated while reading.
//
// Families: `RateLimit` and `RateLimit-Policy` of the draft (its lists of today and `limit=, remaining=, reset=` of
// before),
// `[X-]RateLimit-{Limit,Remaining,Reset}` (GitHub and many others), `x-ratelimit-*-{requests,tokens}` (OpenAI),
// `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-*`, `X-Shopify-Shop-Api-Call-Limit`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/time.hpp"
#include "proxy/http/fields.hpp"

namespace sluice {

/// What one quota stands at.
struct QuotaHint {
    enum class Kind : unsigned char { requests, tokens };

    Kind kind = Kind::requests;
    bool refills = false;  // `reset_after` is when it is full again (OpenAI, Anthropic, Shopify); else a window's end
    std::optional<std::uint64_t> limit;
    std::optional<std::uint64_t> remaining;
    std::optional<Duration> reset_after;  // at most `most_retry_after`

    bool operator==(const QuotaHint&) const = default;
};

/// At most eight: more are not looked at.
class QuotaHints {
  public:
    static constexpr std::size_t most = 8;

    void add(const QuotaHint& hint) {
        if (size_ < most) hints_[size_++] = hint;
    }
    void clear() { size_ = 0; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const QuotaHint& operator[](std::size_t i) const { return hints_[i]; }
    const QuotaHint* begin() const { return hints_.data(); }
    const QuotaHint* end() const { return hints_.data() + size_; }

  private:
    std::array<QuotaHint, most> hints_{};
    std::size_t size_ = 0;
};

/// Every quota that the fields tell of: those of which at least `remaining` is known.
QuotaHints read_quota_hints(const Fields& fields, WallTime now);

/// One of our own limits, as the draft's fields name it.
struct QuotaView {
    std::string_view name, part{};  // "calls" and "-tokens": together the policy's name, of which each may be there once
    std::uint64_t limit = 0;
    Duration window{};       // 0: of things at once
    std::string_view unit{};  // of `qu`; "": requests
    std::uint64_t remaining = 0;
    Duration reset_after{};  // until all of it is there again; 0: not said
};

/// `"name";q=100;w=60`: the value of RateLimit-Policy, one item; items are joined with ", ".
void append_ratelimit_policy(std::string& out, const QuotaView& quota);
/// `"name";r=50;t=30`: of RateLimit.
void append_ratelimit(std::string& out, const QuotaView& quota);

}  // namespace sluice
