// A vendor whose body breaks off once the application has its head: one that breaks off together with it is a 502.
#pragma once

#include <chrono>
#include <semaphore>

#include "tests/support/wire.hpp"

namespace sluice::testing {

/// Breaks off in the middle of a body, once `head_arrived` is released.
inline FakeVendor::Serve cut_off_after(std::binary_semaphore& head_arrived) {
    return [&head_arrived](Wire& wire) {
        if (!wire.read_request()) return;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        static_cast<void>(head_arrived.try_acquire_for(std::chrono::seconds(10)));
    };
}

/// The answer of such a vendor to a GET on `app`, its body as far as it came; nothing where no head did.
inline std::optional<Message> ask_cut_off(Wire& app, const std::string& host, std::binary_semaphore& head_arrived) {
    app.write("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    auto answer = app.read_head();
    head_arrived.release();
    if (answer) app.read_body(*answer, false);
    return answer;
}

}  // namespace sluice::testing
