// When a policy is read again: whenever it is asked for, and when its files change. One thread, on which the reading
// and building happens too, so that neither workers nor admin wait for it. The supervisor owns it; what a reload is, is
// the supervisor's (`carry_out`).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/decode.hpp"
#include "proxy/app/policy_source.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

/// What came of one reload.
struct Reloaded {
    enum class Result : unsigned char {
        in_force,   // the new policy is
        unchanged,  // what was read is what is in force
        refused,    // the policy from before goes on
        leaving,    // Sluice is shutting down
    };
    Result result = Result::refused;
    std::string file, digest;   // what was read; no digest where it is bad
    std::vector<Fault> faults;  // warnings too
};

struct ReloadTimes {
    Duration settle = 100ms;  // nothing has happened to the files for so long, or
    Duration patience = 1s;   // so long after the first event
    Duration poll = 3s;       // between looks when nothing is noticed
};

class Reloader {
  public:
    /// Why: "files", or what was asked with. On the reloader's thread, one call at a time.
    using CarryOut = std::function<Reloaded(std::string_view why)>;
    using Done = std::function<void(const Reloaded&)>;

    /// Starts the thread. What `source` has read is watched. `tidy` is called on the same thread every few seconds.
    Reloader(PolicySource& source, CarryOut carry_out, std::function<void()> tidy, ReloadTimes times = {});
    /// Ends the thread; a reload that is under way is waited for. Who still waits for an answer gets `leaving`.
    ~Reloader();

    /// Any thread. `done` (may be empty) is called once, on the reloader's thread. What is asked while a reload is
    /// under way waits for the next; all that wait share one.
    void ask(std::string why, Done done);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
