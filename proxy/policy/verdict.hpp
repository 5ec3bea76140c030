// What a policy decides: allow, or refuse with a reason that the application, the log and the metrics all see. Pure.
#pragma once

#include <string>
#include <utility>

#include "proxy/base/reason.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

struct Refusal {
    Reason reason;
    std::string detail;       // for people: what was refused, and what to do about it
    Duration retry_after{};   // 0: no Retry-After
};

class Verdict {
  public:
    static Verdict allow() { return Verdict{}; }
    static Verdict refuse(Refusal refusal) {
        Verdict verdict;
        verdict.refused_ = true;
        verdict.refusal_ = std::move(refusal);
        return verdict;
    }
    bool refused() const { return refused_; }
    const Refusal& refusal() const { return refusal_; }

  private:
    Verdict() : refusal_{Reason::not_allowed, {}, {}} {}
    bool refused_ = false;
    Refusal refusal_;
};

}  // namespace sluice
