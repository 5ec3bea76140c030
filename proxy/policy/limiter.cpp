#include "proxy/policy/limiter.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "proxy/http/retry_after.hpp"

namespace sluice {

namespace {

/// Reads like `per_header`'s value is at most a head field; still, what is hashed is bounded by the head.
class SipHash {  // SipHash-1-3 (Aumasson, Bernstein): short keys, chosen by strangers
  public:
    explicit SipHash(const std::array<std::uint64_t, 2>& key)
        : v0_(key[0] ^ 0x736f6d6570736575),
          v1_(key[1] ^ 0x646f72616e646f6d),
          v2_(key[0] ^ 0x6c7967656e657261),
          v3_(key[1] ^ 0x7465646279746573) {}

    std::uint64_t of(std::string_view text) {
        std::size_t at = 0;
        for (; at + 8 <= text.size(); at += 8) take(word(text.substr(at, 8)));
        take(word(text.substr(at)) | static_cast<std::uint64_t>(text.size()) << 56);
        v2_ ^= 0xff;
        for (int i = 0; i < 3; ++i) round();
        return v0_ ^ v1_ ^ v2_ ^ v3_;
    }

  private:
    static std::uint64_t word(std::string_view text) {  // little-endian
        std::uint64_t out = 0;
        for (std::size_t i = text.size(); i > 0; --i) out = out << 8 | static_cast<unsigned char>(text[i - 1]);
        return out;
    }
    static std::uint64_t rotated(std::uint64_t x, int by) { return x << by | x >> (64 - by); }
    void take(std::uint64_t m) {
        v3_ ^= m;
        round();
        v0_ ^= m;
    }
    void round() {
        v0_ += v1_, v1_ = rotated(v1_, 13) ^ v0_, v0_ = rotated(v0_, 32);
        v2_ += v3_, v3_ = rotated(v3_, 16) ^ v2_;
        v0_ += v3_, v3_ = rotated(v3_, 21) ^ v0_;
        v2_ += v1_, v1_ = rotated(v1_, 17) ^ v2_, v2_ = rotated(v2_, 32);
    }

    std::uint64_t v0_, v1_, v2_, v3_;
};

std::optional<LimitView::Meter> meter_of(const std::optional<Gcra>& gcra, const RateSpec* spec, TimePoint now) {
    if (!gcra) return {};
    return LimitView::Meter{spec->rate.count, spec->rate.per, gcra->remaining(now), gcra->full_in(now)};
}

}  // namespace

// ---- one key's share

struct Place::Entry {
    explicit Entry(const LimitSpec& of) : spec(of) {
        if (spec.rate) rate.emplace(*spec.rate);
        if (spec.tokens) tokens.emplace(spec.tokens->rate);
    }

    /// A new entry would stand no better. Whoever holds it may still change that.
    bool is_as_new(TimePoint now) const {
        return (!rate || rate->full_in(now) == Duration{}) && (!tokens || tokens->full_in(now) == Duration{}) &&
               seats.in_use() == 0 && spenders.empty() && sitters.empty() && learnt.holds_until(now) <= now;
    }
    void reset() {
        if (rate) rate->reset();
        if (tokens) tokens->reset();
        learnt.reset();
    }

    /// One more user of the entry; false while it is being given to another key.
    bool hold() {
        unsigned seen = holds.load();
        do {
            if (seen == claimed) return false;
        } while (!holds.compare_exchange_weak(seen, seen + 1));
        return true;
    }
    void let_go() { holds.fetch_sub(1); }
    /// Who waits for a seat waits for the rest in the same queue.
    void wake_spenders() {
        spenders.wake_head();
        sitters.wake_head();
    }
    /// For another key, if nobody uses it: until `holds` is stored anew nobody can.
    bool claim() {
        unsigned none = 0;
        return holds.compare_exchange_strong(none, claimed);
    }
    static constexpr unsigned claimed = std::numeric_limits<unsigned>::max();

    const LimitSpec& spec;
    std::atomic<unsigned> holds{0};
    std::optional<Gcra> rate, tokens;
    WaitQueue spenders, sitters;
    Bulkhead seats{sitters};
    LearntPace learnt;
};

Place& Place::operator=(Place&& other) noexcept {
    if (this == &other) return *this;
    if (entry_ && held_) entry_->let_go();
    entry_ = std::exchange(other.entry_, nullptr);
    held_ = std::exchange(other.held_, false);
    return *this;
}

Place::~Place() {
    if (entry_ && held_) entry_->let_go();
}

Full Place::full(const Spent& spent, std::uint64_t cost_tokens, TimePoint since) const {
    const Entry& e = *entry_;
    Full full{e.rate || !e.tokens ? Part::rate : Part::tokens, since};
    const auto judge = [&](Part part, TimePoint ready_at) {
        if (ready_at > full.retry_at) full = {part, ready_at};
    };
    if (e.rate && spent.rate.cost == 0) judge(Part::rate, e.rate->ready_at(1, since));
    if (e.tokens && spent.tokens.cost == 0) judge(Part::tokens, e.tokens->ready_at(cost_tokens, since));
    if (e.spec.learn && !spent.admitted) judge(Part::learnt, e.learnt.ready_at(since));
    return full;
}

// All or none without a lock: where there are several parts it is looked at first and taken then, and what another
// worker takes in between is given back.
std::optional<Full> Place::spend(Spent& spent, std::uint64_t cost_tokens, TimePoint since, TimePoint now) {
    Entry& e = *entry_;
    const bool tokens = e.tokens && spent.tokens.cost == 0, learns = e.spec.learn && !spent.admitted;
    TimePoint at = now;
    if (tokens || learns || since < now) {
        const Full why = full(spent, cost_tokens, since);
        if (why.retry_at > now) return why;
        at = why.retry_at;
    }
    if (e.rate && spent.rate.cost == 0) {
        const Gcra::Taken taken = e.rate->take(1, at);
        if (!taken.admitted) return Full{Part::rate, taken.retry_at};
        spent.rate = taken.charge;
    }
    if (tokens) {
        const Gcra::Taken taken = e.tokens->take(cost_tokens, at);
        if (!taken.admitted) {
            refund_rate(spent, now);
            return Full{Part::tokens, taken.retry_at};
        }
        spent.tokens = taken.charge;
    }
    const bool paid = e.tokens && !tokens;  // by an attempt before
    if (learns && !e.learnt.take(paid ? 0 : cost_tokens, at)) {
        refund_rate(spent, now);
        if (tokens) settle(spent, 0, now);
        return Full{Part::learnt, e.learnt.ready_at(now)};
    }
    spent.admitted = true;
    return {};
}

void Place::refund_rate(Spent& spent, TimePoint now) {
    Entry& e = *entry_;
    const Charge rate = std::exchange(spent.rate, {});
    if (e.rate && rate.cost > 0 && e.rate->refund(rate, 1, now)) e.wake_spenders();
}

void Place::settle(Spent& spent, std::uint64_t actual_tokens, TimePoint now) {
    Entry& e = *entry_;
    const Charge charge = std::exchange(spent.tokens, {});
    if (e.tokens && charge.cost > 0 && e.tokens->settle(charge, actual_tokens, now)) e.wake_spenders();
}

void Place::learn(const VendorSignal& signal, TimePoint now) {
    if (!entry_->spec.learn) return;
    entry_->learnt.learn(signal, now);
    entry_->wake_spenders();  // they may stand at a spacing that has ended
}

std::optional<Lease> Place::enter(unsigned seats) {
    return entry_->seats.enter(seats);
}

bool Place::seats_full(unsigned seats) const {
    return entry_->seats.full(seats);
}

unsigned Place::seats_in_use() const {
    return entry_->seats.in_use();
}

WaitQueue& Place::spenders() const {
    return entry_->spenders;
}

WaitQueue& Place::sitters() const {
    return entry_->sitters;
}

LimitView Place::view(TimePoint now) const {
    const Entry& e = *entry_;
    LimitView view;
    view.rate = meter_of(e.rate, e.spec.rate ? &*e.spec.rate : nullptr, now);
    view.tokens = meter_of(e.tokens, e.spec.tokens ? &e.spec.tokens->rate : nullptr, now);
    view.seats_in_use = view.fullest = e.seats.in_use();
    view.waiting = e.spenders.size() + e.sitters.size();
    view.learnt = e.learnt.view(now);
    return view;
}

// ---- all keys

struct LimitState::Bucket {
    template <std::size_t... I>
    Bucket(const LimitSpec& spec, std::index_sequence<I...>) : entries{((void)I, Place::Entry(spec))...} {}
    explicit Bucket(const LimitSpec& spec) : Bucket(spec, std::make_index_sequence<ways>{}) {}

    std::array<std::atomic<std::uint64_t>, ways> hashes{};  // of the keys; 0: none yet
    std::array<Place::Entry, ways> entries;
};

LimitState::LimitState(const LimitSpec& spec, std::array<std::uint64_t, 2> seed)
    : spec_(spec), seed_(seed), all_(std::make_unique<Place::Entry>(spec_)), seats_(spec.seats ? spec.seats->most : 0) {
    if (!spec_.per_header.empty()) buckets_ = std::make_unique<std::atomic<Bucket*>[]>(most_keys / ways);
}

LimitState::~LimitState() {
    for (std::size_t i = 0; buckets_ && i < most_keys / ways; ++i) delete buckets_[i].load();
}

LimitState::Bucket& LimitState::bucket_of(std::uint64_t hash) {
    std::atomic<Bucket*>& slot = buckets_[hash % (most_keys / ways)];
    if (Bucket* bucket = slot.load(std::memory_order_acquire)) return *bucket;
    BriefLock::Guard guard(lock_);
    if (!slot.load(std::memory_order_relaxed)) slot.store(new Bucket(spec_), std::memory_order_release);
    return *slot.load(std::memory_order_relaxed);
}

/// Without a lock. What is held cannot become another key's; so the key is looked at once more.
Place LimitState::found_in(Bucket& bucket, std::uint64_t hash) {
    for (std::size_t i = 0; i < ways; ++i) {
        if (bucket.hashes[i].load(std::memory_order_acquire) != hash) continue;
        Place::Entry& entry = bucket.entries[i];
        if (!entry.hold()) continue;
        Place place(&entry, true);
        if (bucket.hashes[i].load() == hash) return place;
    }
    return {};
}

// In the emptier one: of two random choices the better one fills a table nearly evenly (Azar, Broder, Karlin, Upfal).
Place LimitState::made_in(std::array<Bucket*, 2> buckets, std::uint64_t hash, TimePoint now) {
    BriefLock::Guard guard(lock_);
    for (Bucket* bucket : buckets)
        if (Place place = found_in(*bucket, hash)) return place;  // made by another worker meanwhile
    const auto unused = [](const Bucket* bucket) { return std::count(bucket->hashes.begin(), bucket->hashes.end(), 0); };
    if (unused(buckets[1]) > unused(buckets[0])) std::swap(buckets[0], buckets[1]);
    const auto given_in = [&](Bucket& bucket, bool never_used) -> Place {
        for (std::size_t i = 0; i < ways; ++i) {
            Place::Entry& entry = bucket.entries[i];
            if (never_used != (bucket.hashes[i].load() == 0) || !entry.claim()) continue;
            const bool free = entry.is_as_new(now);
            if (free) {
                entry.reset();
                bucket.hashes[i].store(hash);
            }
            entry.holds.store(free ? 1 : 0);
            if (free) return Place(&entry, true);
        }
        return {};
    };
    for (const bool never_used : {true, false})
        for (Bucket* bucket : buckets)
            if (Place place = given_in(*bucket, never_used)) return place;
    return {};
}

Place LimitState::place(std::string_view key, TimePoint now) {
    if (!buckets_) return Place(all_.get(), false);
    const std::uint64_t hash = std::max<std::uint64_t>(SipHash(seed_).of(key), 1);
    Bucket& first = bucket_of(hash);
    if (Place place = found_in(first, hash)) return place;
    Bucket& second = bucket_of(hash >> 32);
    if (Place place = found_in(second, hash)) return place;
    if (Place place = made_in({&first, &second}, hash, now)) return place;
    return Place(all_.get(), false);
}

void LimitState::set_seats(unsigned seats) {
    if (seats_.exchange(seats) >= seats) return;
    all_->sitters.wake_head();
    for (std::size_t b = 0; buckets_ && b < most_keys / ways; ++b)
        if (Bucket* bucket = buckets_[b].load(std::memory_order_acquire))
            for (Place::Entry& entry : bucket->entries) entry.sitters.wake_head();
}

LimitView LimitState::view(TimePoint now) const {
    LimitView sum = Place(all_.get(), false).view(now);
    const auto add_meter = [](std::optional<LimitView::Meter>& sum, const std::optional<LimitView::Meter>& one) {
        if (one && one->remaining < sum->remaining) sum = one;
    };
    for (std::size_t b = 0; buckets_ && b < most_keys / ways; ++b) {
        const Bucket* bucket = buckets_[b].load(std::memory_order_acquire);
        for (std::size_t i = 0; bucket && i < ways; ++i) {
            if (bucket->hashes[i].load() == 0) continue;
            Place::Entry* entry = const_cast<Place::Entry*>(&bucket->entries[i]);
            const LimitView one = Place(entry, false).view(now);
            add_meter(sum.rate, one.rate);
            add_meter(sum.tokens, one.tokens);
            sum.seats_in_use += one.seats_in_use;
            sum.fullest = std::max(sum.fullest, one.fullest);
            sum.waiting += one.waiting;
            if (one.learnt.holds > sum.learnt.holds) sum.learnt = one.learnt;
            if (!entry->is_as_new(now)) ++sum.keys;
        }
    }
    return sum;
}

// ---- what a refusal says

QuotaViews quota_views(const LimitSpec& spec, const LimitView& view, unsigned seats) {
    QuotaViews out;
    const auto add = [&](const QuotaView& quota) { out.views[out.size++] = quota; };
    const auto add_meter = [&](const std::optional<LimitView::Meter>& meter, std::string_view part, std::string_view unit) {
        if (meter) add({spec.name, part, meter->limit, meter->window, unit, meter->remaining, meter->full_in});
    };
    add_meter(view.rate, "", "");
    add_meter(view.tokens, "-tokens", "tokens");
    if (spec.seats) add({spec.name, "-concurrency", seats, {}, "concurrent-requests", seats - std::min(seats, view.seats_in_use), {}});
    return out;
}

Duration retry_after_of(const Full& full, TimePoint now) {
    if (full.retry_at == never) return 1s;
    return std::max<Duration>(full.retry_at - now, Duration{});
}

Refusal refusal_of(const LimitSpec& spec, const Full& full, TimePoint now) {
    struct Words {
        Reason reason;
        std::string_view before, after;
    };
    const auto words = [&]() -> Words {
        switch (full.part) {
        case Part::rate: return {Reason::rate_limited, "the rate of the limit '", "' is spent"};
        case Part::tokens: return {Reason::token_limited, "the tokens of the limit '", "' are spent"};
        case Part::seats: return {Reason::concurrency_limited, "all places of the limit '", "' are taken"};
        case Part::learnt:
            return {Reason::rate_limited, "the vendor asks for fewer calls (learnt by the limit '", "')"};
        }
        return {Reason::rate_limited, "the limit '", "' is full"};
    }();
    const Duration wait = std::max<Duration>(retry_after_of(full, now), 1s);
    std::string detail(words.before);
    detail.append(spec.name).append(words.after);
    if (full.retry_at != never) detail.append("; there may be room in ").append(format_retry_after(wait)).append(" s");
    return {words.reason, std::move(detail), wait};
}

}  // namespace sluice
