// A place under each limit of an exchange's vendor and route: rate and tokens once an exchange (and the rate again for each
// further attempt), seats once an attempt. Who finds no place waits for one, as long as the limit lets it, or is refused 429.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Is one of those limits such a one?
bool any_limit(const Exchange& ex, bool (*is)(const LimitSpec&));

/// Rate and tokens of `ex.serving` and its route. A Failure: the refusal, with `ex.refusal_fields` set; nothing is taken then. The common case takes no coroutine: true, and everything is taken. Who waits for one limit's
/// place holds no other's rate meanwhile, but for what it came by last: it would be sent late, beside what the time has given back.
bool admit_at_once(Exchange& ex);
Task<Result<void>> admit(Core& core, Exchange& ex);

/// The limits that hold for `ex`, with nothing taken: for an attempt beside another one of the same exchange.
void hold_limits(Exchange& ex, TimePoint now);

/// The rate once more, for a further attempt; without waiting. What was taken for one that sent nothing serves again. False: nothing was taken.
bool admit_again(Exchange& ex, TimePoint now);
/// It is not made before a wait: the rate is put back and taken when the wait is over, or what comes back meanwhile would be sent beside it. Was there any?
bool put_rate_back(Exchange& ex, TimePoint now);
/// After the wait; likewise without waiting, else as `admit` does.
bool retake_rate_at_once(Exchange& ex, TimePoint now);
Task<Result<void>> retake_rate(Core& core, Exchange& ex);
/// The further attempt is not made after all.
void give_again_back(Exchange& ex, TimePoint now);

/// Its place of the rate becomes that of an attempt beside it, and back: both hold the same limits.
void hand_rate_over(Exchange& from, Exchange& to);

/// Seats for one attempt; likewise. Tunnels and upgrades take none. Who waits for one sends nothing, and holds no place of the rate meanwhile: it is taken again with the seat.
bool take_seats_at_once(Exchange& ex);
Task<Result<void>> take_seats(Core& core, Exchange& ex);
void give_seats_back(Exchange& ex);

/// The exchange leaves its vendor without an answer of it: what was taken for nothing comes back. A rate counts what was sent, tokens what was answered.
void give_unused_back(Exchange& ex, TimePoint now);

}  // namespace sluice
