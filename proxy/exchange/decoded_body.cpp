#include "proxy/exchange/decoded_body.hpp"

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <string>

namespace sluice {

namespace {

constexpr std::size_t between_codings = 16 * 1024;

// Codings over codings can make gigabytes of a few bytes that come to nothing at the end, where no application holds them up. Honest ones grow.
constexpr std::uint64_t between_at_least = 1024 * 1024, between_for_each_byte = 16;

Failure broken(Coding coding, std::string_view what) {
    return {Origin::vendor, Reason::upstream_protocol, Replay::unsafe, "the vendor's body, which it says is coded with " + std::string(name_of(coding)) + ", " + std::string(what), {}};
}

}  // namespace

void DecodedBody::begin(BodySource& inner, const Codings& codings) {
    end();
    inner_ = &inner;
    for (std::size_t i = codings.count; i > 0; --i) {
        const std::size_t room = i == 1 ? window : between_codings;
        stages_.push_back({codings.applied[i - 1], Decoder(codings.applied[i - 1]), std::make_unique_for_overwrite<char[]>(room), room});
    }
}

void DecodedBody::end() {
    for (Stage& stage : stages_)   // what was decoded had not been searched yet
        explicit_bzero(stage.out.get(), std::min<std::uint64_t>(stage.room, &stage == &stages_.back() ? made_ : between_));
    stages_.clear();
    in_ = {};
    last_ = over_ = false;
    trailers_ = nullptr;
    made_ = between_ = 0;
    failure_.reset();
}

void DecodedBody::take(const Chunk& piece) {
    in_ = piece.data;
    last_ = piece.last;
    trailers_ = piece.trailers;
}

// Did anything move?
bool DecodedBody::advance_stage(std::size_t i) {
    Stage& stage = stages_[i];
    if (stage.begin == stage.end) stage.begin = stage.end = 0;
    if (stage.end == stage.room) return false;
    const Decoder::Step step = stage.decoder.decode(i == 0 ? in_ : stages_[i - 1].unread(), {stage.out.get() + stage.end, stage.room - stage.end});
    if (i == 0)
        in_.remove_prefix(step.used);
    else
        stages_[i - 1].begin += step.used;
    stage.end += step.made;
    (i + 1 == stages_.size() ? made_ : between_) += step.made;
    if (step.fault) failure_ = broken(stage.coding, "cannot be decoded: " + std::string(step.fault));
    else if (between_ > between_at_least + between_for_each_byte * made_) failure_ = broken(stage.coding, "decodes to next to nothing through its other codings");
    return step.used > 0 || step.made > 0;
}

void DecodedBody::advance() {
    const Stage& last = stages_.back();
    for (bool moved = true; moved && !failure_ && last.end < last.room;) {
        moved = false;
        for (std::size_t i = 0; i < stages_.size() && !failure_; ++i) moved |= advance_stage(i);
    }
    if (!failure_ && last_ && in_.empty() && last.end < last.room) judge_end();
}

// Everything that came went as far as it goes.
void DecodedBody::judge_end() {
    over_ = true;
    for (const Stage& stage : stages_) {
        if (stage.decoder.at_end()) continue;
        over_ = false;
        failure_ = broken(stage.coding, "ends too early");
        return;
    }
}

// What can be made of what came; nothing: more has to come.
std::optional<Result<Chunk>> DecodedBody::at_hand() {
    if (over_) return Chunk{{}, true, trailers_};
    Stage& out = stages_.back();
    out.begin = out.end = 0;   // it was taken
    if (!failure_) advance();
    if (out.end > 0) return Chunk{out.unread(), over_, over_ ? trailers_ : nullptr};
    if (failure_) return *failure_;
    if (over_) return Chunk{{}, true, trailers_};
    return {};
}

std::optional<Result<Chunk>> DecodedBody::next_ready() {
    for (;;) {
        if (auto chunk = at_hand()) return chunk;
        auto got = inner_->next_ready();
        if (!got || !got->has_value()) return got;
        take(**got);
    }
}

Task<Result<Chunk>> DecodedBody::next(TimePoint deadline) {
    for (;;) {
        if (auto chunk = at_hand()) co_return std::move(*chunk);
        Result<Chunk> got = co_await inner_->next(deadline);
        if (!got) co_return got;
        take(*got);
    }
}

}  // namespace sluice
