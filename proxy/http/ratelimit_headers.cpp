#include "proxy/http/ratelimit_headers.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"
#include "proxy/http/retry_after.hpp"

namespace sluice {

namespace {

using Kind = QuotaHint::Kind;
using Number = std::optional<std::uint64_t>;

constexpr std::uint64_t most_quota = 1'000'000'000'000'000;  // sums and products of a few still fit

/// A count at the front of `text`: what follows a comma, a semicolon or a dot is left out (`100, 100;w=60`, `99.5`).
Number parse_count(std::string_view text) {
    text = trimmed(text);
    const Number number = parse_decimal(trimmed(text.substr(0, text.find_first_of(",;."))));
    return number ? Number(std::min(*number, most_quota)) : std::nullopt;
}

// ---- Structured Fields (RFC 9651), as far as these fields use them

struct Param {
    std::string_view key;
    std::string_view value;  // a string without its quotes
};

struct Item {
    static constexpr std::size_t most_params = 8;
    std::string_view name;   // a string without its quotes, a token, or a number
    std::string_view value;  // of a dictionary's member: `name=value`
    std::array<Param, most_params> params{};
    std::size_t size = 0;

    std::optional<std::string_view> param(std::string_view key) const {
        for (std::size_t i = 0; i < size; ++i) {
            if (params[i].key == key) return params[i].value;
        }
        return {};
    }
    Number number(std::string_view key) const {
        const auto value = param(key);
        return value ? parse_count(*value) : std::nullopt;
    }
};

bool is_bare(char c) {  // of keys, tokens and numbers
    constexpr std::string_view others = "_-.*!#$%&'+^`|~:/";
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || others.find(c) != others.npos;
}

/// Reads a list or dictionary; what is malformed makes all of the field malformed.
class Items {
  public:
    explicit Items(std::string_view text) : left_(trimmed(text)) {}

    std::optional<Item> next() {
        if (left_.empty() || failed_) return {};
        Item item;
        item.name = take_bare_item();
        if (take('=')) item.value = take_bare_item();
        while (!failed_ && take(';')) take_param(item);
        if (failed_) return {};
        left_ = trimmed(left_);
        if (left_.empty()) return item;
        if (!take(',')) return fail(), std::nullopt;
        left_ = trimmed(left_);
        if (left_.empty()) return fail(), std::nullopt;
        return item;
    }
    bool failed() const { return failed_; }

  private:
    void fail() {
        failed_ = true;
        left_ = {};
    }
    bool take(char c) {
        if (!left_.starts_with(c)) return false;
        left_.remove_prefix(1);
        return true;
    }
    std::string_view take_bare() {
        const auto end = std::find_if_not(left_.begin(), left_.end(), is_bare);
        const std::string_view bare = left_.substr(0, static_cast<std::size_t>(end - left_.begin()));
        if (bare.empty()) fail();
        left_.remove_prefix(bare.size());
        return bare;
    }
    std::string_view take_bare_item() {
        if (take('?')) return take_bare();      // a boolean
        if (take(':')) return take_until(':');  // bytes
        return take('"') ? take_until('"') : take_bare();
    }
    std::string_view take_until(char end) {
        std::size_t size = 0;
        while (size < left_.size() && left_[size] != end) size += left_[size] == '\\' ? 2 : 1;
        if (size >= left_.size()) return fail(), std::string_view{};
        const std::string_view text = left_.substr(0, size);
        left_.remove_prefix(size + 1);
        return text;
    }
    void take_param(Item& item) {
        left_ = trimmed(left_);
        Param param{take_bare(), {}};
        if (take('=')) param.value = take_bare_item();
        if (item.size < Item::most_params) item.params[item.size++] = param;
    }

    std::string_view left_;
    bool failed_ = false;
};

/// At most eight items of one field; none if it is malformed.
struct ItemList {
    std::array<Item, QuotaHints::most> items{};
    std::size_t size = 0;

    void read(std::string_view text) {
        const std::size_t before = size;
        Items in(text);
        while (const auto item = in.next()) {
            if (size < items.size()) items[size++] = *item;
        }
        if (in.failed()) size = before;
    }
    const Item* find(std::string_view name) const {
        const auto end = items.begin() + static_cast<std::ptrdiff_t>(size);
        const auto at = std::find_if(items.begin(), end, [&](const Item& item) { return item.name == name; });
        return at == end ? nullptr : &*at;
    }
};

// ---- the families

/// What a family of three fields has said so far.
struct Triple {
    Kind kind = Kind::requests;
    bool refills = false;
    Number limit, remaining;
    std::optional<Duration> reset;
};

enum class Part : unsigned char { limit, remaining, reset };

std::optional<Part> part_of(std::string_view word) {
    if (same_text(word, "limit")) return Part::limit;
    if (same_text(word, "remaining")) return Part::remaining;
    if (same_text(word, "reset")) return Part::reset;
    return {};
}

bool take_prefix(std::string_view& name, std::string_view prefix) {
    if (name.size() < prefix.size() || !same_text(name.substr(0, prefix.size()), prefix)) return false;
    name.remove_prefix(prefix.size());
    return true;
}

class HintReader {
  public:
    explicit HintReader(WallTime now) : now_(now) {}

    void read(std::string_view name, std::string_view value) {
        if (name.size() < 9 || name.size() > 64 || value.size() > 1024) return;
        switch (lower(name[0])) {
        case 'r':
            if (same_text(name, "ratelimit")) return current_.read(value);
            if (same_text(name, "ratelimit-policy")) return policies_.read(value);
            if (take_prefix(name, "ratelimit-")) return take(draft, name, value);
            return;
        case 'x':
            if (take_prefix(name, "x-ratelimit-")) return take_x(name, value);
            if (take_prefix(name, "x-rate-limit-")) return take(x_rate, name, value);
            if (same_text(name, "x-shopify-shop-api-call-limit")) return take_shopify(value);
            return;
        case 'a':
            if (take_prefix(name, "anthropic-ratelimit-")) return take_anthropic(name, value);
            return;
        default: return;
        }
    }

    QuotaHints hints() {
        QuotaHints out;
        add_draft(out);
        for (const Triple& triple : triples_) {
            if (!triple.remaining) continue;
            out.add({triple.kind, triple.refills, triple.limit, triple.remaining, triple.reset});
        }
        return out;
    }

  private:
    enum Family : std::size_t {
        draft,
        x_plain,
        x_rate,
        x_requests,
        x_tokens,
        anthropic_requests,
        anthropic_tokens,
        anthropic_input,
        anthropic_output,
        shopify,
        families
    };

    void take(Family family, std::string_view word, std::string_view value) {
        const auto part = part_of(word);
        if (!part) return;
        Triple& triple = triples_[family];
        switch (*part) {
        case Part::limit: triple.limit = parse_count(value); return;
        case Part::remaining: triple.remaining = parse_count(value); return;
        case Part::reset: triple.reset = parse_reset(value, now_); return;
        }
    }
    /// OpenAI's resets say when all of it is there again.
    void take_x(std::string_view word, std::string_view value) {
        const std::size_t dash = word.find('-');
        if (dash == word.npos) return take(x_plain, word, value);
        const bool tokens = same_text(word.substr(dash + 1), "tokens");
        if (!tokens && !same_text(word.substr(dash + 1), "requests")) return;
        const Family family = tokens ? x_tokens : x_requests;
        triples_[family].kind = tokens ? Kind::tokens : Kind::requests;
        triples_[family].refills = true;
        take(family, word.substr(0, dash), value);
    }
    void take_anthropic(std::string_view word, std::string_view value) {
        struct Name {
            std::string_view word;
            Family family;
            Kind kind;
        };
        static constexpr Name names[] = {{"requests-", anthropic_requests, Kind::requests},
                                         {"tokens-", anthropic_tokens, Kind::tokens},
                                         {"input-tokens-", anthropic_input, Kind::tokens},
                                         {"output-tokens-", anthropic_output, Kind::tokens}};
        for (const Name& name : names) {
            if (!take_prefix(word, name.word)) continue;
            triples_[name.family].kind = name.kind;
            triples_[name.family].refills = true;
            return take(name.family, word, value);
        }
    }
    /// "32/40": used of a bucket that leaks empty in 20 s, whatever its size.
    void take_shopify(std::string_view value) {
        const std::size_t slash = value.find('/');
        if (slash == value.npos) return;
        const Number used = parse_decimal(trimmed(value.substr(0, slash)));
        const Number limit = parse_decimal(trimmed(value.substr(slash + 1)));
        if (!used || !limit || *limit == 0 || *limit > 1'000'000) return;
        const std::uint64_t taken = std::min(*used, *limit);
        const Duration reset = Duration(20s) / static_cast<std::int64_t>(*limit) * static_cast<std::int64_t>(taken);
        triples_[shopify] = {Kind::requests, true, limit, *limit - taken, reset};
    }

    void add_draft(QuotaHints& out) {
        for (std::size_t i = 0; i < current_.size; ++i) {
            const Item& item = current_.items[i];
            if (!item.value.empty()) return add_older_draft(out);
            const Item* policy = policies_.find(item.name);
            QuotaHint hint;
            hint.remaining = item.number("r");
            if (!hint.remaining) continue;
            if (const auto t = item.param("t")) hint.reset_after = seconds_of(*t);
            if (policy) {
                const auto unit = policy->param("qu");
                if (unit && (*unit == "content-bytes" || *unit == "concurrent-requests")) continue;
                if (unit && unit->find("token") != unit->npos) hint.kind = Kind::tokens;
                hint.limit = policy->number("q");
                if (const auto w = policy->param("w"); w && !hint.reset_after) hint.reset_after = seconds_of(*w);
            }
            if (item.name.find("token") != item.name.npos) hint.kind = Kind::tokens;
            out.add(hint);
        }
    }
    /// `RateLimit: limit=100, remaining=50, reset=5`, as the draft had it until -07.
    void add_older_draft(QuotaHints& out) const {
        QuotaHint hint;
        for (std::size_t i = 0; i < current_.size; ++i) {
            const Item& item = current_.items[i];
            if (item.name == "limit") hint.limit = parse_count(item.value);
            if (item.name == "remaining") hint.remaining = parse_count(item.value);
            if (item.name == "reset") hint.reset_after = seconds_of(item.value);
        }
        if (hint.remaining) out.add(hint);
    }
    static std::optional<Duration> seconds_of(std::string_view text) {
        const Number number = parse_decimal(text);
        if (!number) return {};
        constexpr auto most =
            static_cast<std::uint64_t>(std::chrono::floor<std::chrono::seconds>(most_retry_after).count());
        return std::chrono::seconds(std::min(*number, most));
    }

    const WallTime now_;
    ItemList current_, policies_;
    std::array<Triple, families> triples_{};
};

/// The name as an sf-string (RFC 9651 3.3.3).
void append_name(std::string& out, const QuotaView& quota) {
    out += '"';
    for (const std::string_view text : {quota.name, quota.part}) {
        for (const char c : text) {
            if (c == '"' || c == '\\') out += '\\';
            out += c >= 0x20 && c < 0x7F ? c : '?';
        }
    }
    out += '"';
}

std::string whole_seconds(Duration duration) {
    return std::to_string(std::max<std::int64_t>(std::chrono::ceil<std::chrono::seconds>(duration).count(), 0));
}

bool may_tell(std::string_view name) {
    const char first = name.empty() ? '\0' : lower(name[0]);
    return (first == 'r' || first == 'x' || first == 'a') && name.size() >= 9;
}

bool is_about_quota(std::string_view name) {
    std::string_view rest = name;
    return take_prefix(rest, "ratelimit") || take_prefix(rest, "x-rate") || take_prefix(rest, "x-shopify-shop-api") ||
           take_prefix(rest, "anthropic-ratelimit-");
}

}  // namespace

QuotaHints read_quota_hints(const Fields& fields, WallTime now) {
    // Most answers say nothing: they are not to pay for what reading takes.
    for (const Field first : fields) {
        if (first.known != Known::other || !may_tell(first.name) || !is_about_quota(first.name)) continue;
        HintReader reader(now);
        for (const Field field : fields) reader.read(field.name, field.value);
        return reader.hints();
    }
    return {};
}

void append_ratelimit_policy(std::string& out, const QuotaView& quota) {
    append_name(out, quota);
    out.append(";q=").append(std::to_string(quota.limit));
    if (!quota.unit.empty()) out.append(";qu=\"").append(quota.unit).append("\"");
    if (quota.window > Duration{}) out.append(";w=").append(whole_seconds(quota.window));
}

void append_ratelimit(std::string& out, const QuotaView& quota) {
    append_name(out, quota);
    out.append(";r=").append(std::to_string(quota.remaining));
    if (quota.reset_after > Duration{}) out.append(";t=").append(whole_seconds(quota.reset_after));
}

}  // namespace sluice
