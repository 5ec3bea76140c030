// A value or a Failure. Exceptions do not travel on the request path; a Failure states whom to blame, whether the request
// may be sent again, and in words what happened. Pure.
#pragma once

#include <boost/system/result.hpp>
#include <chrono>
#include <string>
#include <system_error>

#include "proxy/base/reason.hpp"

namespace sluice {

/// Whom to blame.
enum class Origin : unsigned char {
    application,  // it sent something wrong, or went away
    sluice,       // our own limit or policy
    vendor,       // the network towards the vendor, or the vendor itself
};

/// May the request be sent again?
enum class Replay : unsigned char {
    safe,    // no byte of the request reached the vendor
    unsafe,  // some may have
};

struct Failure {
    Origin origin = Origin::vendor;
    Reason reason = Reason::upstream_reset;
    Replay replay = Replay::unsafe;
    std::string detail;      // for people: names what and where; never a secret, never a query string
    std::error_code cause{};
    bool gone = false;       // the application went away: nobody is left to be answered
    std::chrono::nanoseconds retry_after{};   // of our own refusals: when it is worth coming again; 0: nothing is known

    static Failure application_gone() {
        Failure failure{Origin::application, Reason::bad_request, Replay::unsafe, "the application went away", {}};
        failure.gone = true;
        return failure;
    }
};

template <class T>
using Result = boost::system::result<T, Failure>;

[[noreturn]] inline void throw_exception_from_error(const Failure& failure, const boost::source_location&) {
    throw std::logic_error("value of a failed Result read: " + failure.detail);
}

}  // namespace sluice
