#include "proxy/net/deadline.hpp"

#include <algorithm>
#include <bit>
#include <iterator>

namespace sluice {

void Deadline::append(Deadline& entry) {
    entry.previous_ = previous_;
    entry.next_ = this;
    previous_->next_ = &entry;
    previous_ = &entry;
}

void Deadline::append_all(Deadline& head) {
    if (head.alone()) return;
    previous_->next_ = head.next_;
    head.next_->previous_ = previous_;
    previous_ = head.previous_;
    previous_->next_ = this;
    head.next_ = head.previous_ = &head;
}

void Wheel::Ring::add(std::int64_t slot, Deadline& deadline) {
    heads[slot].append(deadline);
    occupied[static_cast<std::size_t>(slot / 64)] |= std::uint64_t{1} << (slot % 64);
}

std::int64_t Wheel::Ring::first_from(std::int64_t slot) const {
    auto word = static_cast<std::size_t>(slot / 64);
    if (word >= occupied.size()) return slots;
    std::uint64_t bits = occupied[word] & (~std::uint64_t{0} << (slot % 64));
    while (true) {
        for (; bits != 0; bits &= bits - 1) {
            const auto bit = static_cast<std::size_t>(std::countr_zero(bits));
            if (!heads[word * 64 + bit].alone()) return static_cast<std::int64_t>(word * 64 + bit);
            occupied[word] &= ~(std::uint64_t{1} << bit);
        }
        if (++word == occupied.size()) return slots;
        bits = occupied[word];
    }
}

/// Rounded up: a deadline never fires early.
std::int64_t Wheel::due_tick(TimePoint at) {
    const std::int64_t ns = at.time_since_epoch().count();
    return ns / tick + (ns % tick > 0 ? 1 : 0);
}

TimePoint Wheel::time_of(std::int64_t at_tick) {
    return TimePoint{Duration{at_tick * tick}};
}

Wheel::Wheel(TimePoint start) : next_tick_(start.time_since_epoch().count() / tick + 1) {}

Wheel::~Wheel() {
    const auto disarm_all = [](Deadline& head) {
        while (!head.alone()) head.next_->disarm();
    };
    std::for_each(std::begin(fine_.heads), std::end(fine_.heads), disarm_all);
    std::for_each(std::begin(coarse_.heads), std::end(coarse_.heads), disarm_all);
    disarm_all(due_);
}

void Wheel::arm(Deadline& deadline, TimePoint at) {
    deadline.disarm();
    if (at == never) return;
    deadline.at_ = at;
    const TimePoint wake = time_of(place(deadline));
    if (wake < wake_ && !firing_) wake_ = wake;
}

/// Into the ring and slot that its time asks for. Returns the tick at which the wheel has to look at it.
std::int64_t Wheel::place(Deadline& deadline) {
    const std::int64_t due = std::max(due_tick(deadline.at_), next_tick_);
    if (due - next_tick_ < slots) {
        fine_.add(due % slots, deadline);
        return due;
    }
    // The turn that is under way was sorted into the fine ring when it began: its slot serves again only after it.
    const std::int64_t turn = std::min(due / slots, next_tick_ / slots + slots - 1);
    coarse_.add(turn % slots, deadline);
    return turn_end();
}

void Wheel::advance(TimePoint now) {
    collect(now.time_since_epoch().count() / tick);
    fire_collected();
    wake_ = next_due();
}

/// Moves everything up to and including tick `last` to `due_`. Only lists are spliced here, turn by turn, so that
/// catching up after a stall of minutes costs microseconds.
void Wheel::collect(std::int64_t last) {
    if (fine_.empty() && coarse_.empty()) next_tick_ = std::max(next_tick_, last + 1);
    while (next_tick_ <= last) {
        const std::int64_t turn = turn_end();
        const std::int64_t end = std::min(last + 1, turn);
        const std::int64_t end_slot = (end - 1) % slots;
        for (std::int64_t slot = fine_.first_from(next_tick_ % slots); slot <= end_slot;
             slot = fine_.first_from(slot)) {
            due_.append_all(fine_.heads[slot]);
        }
        next_tick_ = end;
        if (end == turn) sort_again(coarse_.heads[end / slots % slots]);
    }
}

/// A turn begins: what waited for it in the coarse ring goes to its tick in the fine one, or on to a later turn.
void Wheel::sort_again(Deadline& head) {
    Deadline waiting;
    waiting.append_all(head);
    while (!waiting.alone()) {
        Deadline& deadline = *waiting.next_;
        deadline.disarm();
        place(deadline);
    }
}

void Wheel::fire_collected() {
    struct Firing {
        bool& flag;
        explicit Firing(bool& f) : flag(f) { flag = true; }
        ~Firing() { flag = false; }
    } firing{firing_};
    while (!due_.alone()) {
        Deadline& deadline = *due_.next_;
        deadline.disarm();
        deadline.fire_(deadline.context_);
    }
}

TimePoint Wheel::next_due() const {
    if (!due_.alone()) return time_of(next_tick_ - 1);
    const std::int64_t here = next_tick_ % slots;
    std::int64_t slot = fine_.first_from(here);
    if (slot == slots) slot = fine_.first_from(0);
    const bool coarse = !coarse_.empty();
    if (slot == slots) return coarse ? time_of(turn_end()) : never;
    const std::int64_t due = next_tick_ + (slot - here + slots) % slots;
    return time_of(coarse ? std::min(due, turn_end()) : due);
}

}  // namespace sluice
