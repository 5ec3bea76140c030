// When what was read of a credential becomes what is attached. Pure; one a credential.
//
// A secret that is rewritten in place is for moments empty or half there, and a pair of files for moments half old.
// Taking those at their word would refuse good requests, or send a vendor half a key. So another value is taken once it
// was read unchanged for `settle`, and a value that was good goes on being used until nothing like it was found for
// `grace`. Longer it is not: a secret that was deleted must stop being used (fail closed), and an operator should see
// it happen.
#pragma once

#include <optional>

#include "proxy/base/result.hpp"
#include "proxy/base/time.hpp"
#include "proxy/credentials/credential.hpp"

namespace sluice {

struct RotationTimes {
    Duration settle = 100ms;
    Duration grace = 2s;
};

class Rotation {
  public:
    /// The first reading counts at once: there is nothing older to go on with.
    Rotation(Result<Attachment> first, RotationTimes times) : state_(std::move(first)), times_(times) {}

    /// What was read at `now`. True: it is the state from here on.
    bool observe(Result<Attachment> reading, TimePoint now);

    const Result<Attachment>& state() const { return state_; }
    /// The last reading was not the state: look again after `settle`.
    bool unsettled() const { return pending_.has_value(); }

  private:
    Result<Attachment> state_;
    RotationTimes times_;
    std::optional<Result<Attachment>> pending_;  // the last reading, where it is not the state
    TimePoint differs_since_{};                  // the state was not read any more
    TimePoint same_since_{};                     // `pending_` was read each time
};

}  // namespace sluice
