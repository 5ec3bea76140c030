// What an exchange needs of each limit of its vendor and route: a call of each rate and a seat for every attempt, tokens once.
// Taken right before an attempt is sent, all of it at once (policy/acquisition); who finds no place waits for one, as long as
// the limits let it and with nothing in hand, or is refused 429.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Is one of those limits such a one?
bool any_limit(const Exchange& ex, bool (*is)(const LimitSpec&));

/// The limits that hold for `ex`, with nothing taken; before anything else.
void hold_limits(Exchange& ex, TimePoint now);

/// What the next attempt needs and is not held yet: the common case takes no coroutine. False: nothing is held.
/// Tunnels and upgrades take no seats.
bool acquire_at_once(Exchange& ex);
/// Likewise of one that began to wait then. A Failure: the refusal, with `ex.refusal_fields` set, or why the wait was cut short; nothing is held then.
Task<Result<void>> acquire(Core& core, Exchange& ex, TimePoint began);

/// Without the seats, and without waiting, for an attempt that is decided upon: it is made at once, or puts back what it has (`put_back`) until it is. False: nothing but the seats is held.
bool spend_again(Exchange& ex, TimePoint now);
/// Is there likely to be a place for an attempt then, or by the end of the limits' waiting after that?
bool may_be_had(const Exchange& ex, TimePoint at);
void put_back(Exchange& ex, TimePoint now);

/// What nothing was sent for comes back: a rate counts what was sent, tokens what was answered. Seats do in any case.
void give_back(Exchange& ex, TimePoint now);
/// There is another attempt. The tokens of the one before, where nobody knows what it cost, stay spent; that one pays its own.
void leave_costs(Exchange& ex);
void give_seats_back(Exchange& ex);

/// What is held becomes that of an attempt beside it, and back: both hold the same limits.
void hand_over(Exchange& from, Exchange& to);

}  // namespace sluice
