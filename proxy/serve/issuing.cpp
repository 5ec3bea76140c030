#include "proxy/serve/issuing.hpp"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <thread>

#include "proxy/issuers/fetch.hpp"
#include "proxy/issuers/refresh_flight.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/net/resolve.hpp"
#include "proxy/net/timer.hpp"
#include "proxy/ports/signals_blocked.hpp"
#include "proxy/wire/transport.hpp"

namespace sluice {

namespace {

constexpr Duration last_connection = 1s;   // may take at the end, where one is just being made
constexpr Duration noticed_sleep = 500ms;  // less may be this thread, between two readings

/// How long the machine has been suspended since it was started: by so much its clock, which deadlines are of, is behind that by which tokens end.
Duration suspended() {
    const auto read = [](clockid_t clock) {
        timespec now{};
        ::clock_gettime(clock, &now);
        return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
    };
    const Duration awake = read(CLOCK_MONOTONIC);
    return read(CLOCK_BOOTTIME) - awake;
}

}  // namespace

struct Issuing::Impl {
    Impl(World& w, std::string state, CredentialKeeper::Notify notify)
        : world(w),
          journal(w.telemetry->journal()),
          resolver(loop, Resolver::Options{}),
          dialler(loop, resolver, [&w](const IpAddress& address, std::uint16_t port) { return is_own_listener(w, address, port); }),
          transport(loop, dialler, *journal),
          tools{timer, transport, flights, std::move(state)},
          keeper(tools, *w.board, [this](Task<void> task) { spawn(std::move(task)); }, std::move(notify)) {
        loop.blocks.wipe_all();   // whole answers pass through them, tokens and all
    }

    void tidy() {
        transport.sweep(Loop::now());
        const Duration asleep = suspended();
        if (asleep - slept >= noticed_sleep) keeper.slept(asleep - slept);
        slept = asleep;
        loop.wheel.arm(tidying, later(Loop::now(), 1s));
    }

    void run() {
        const SignalsBlocked blocked;
        ::pthread_setname_np(::pthread_self(), "sluice-issuers");
        loop.run();
    }

    World& world;
    Loop loop;
    std::unique_ptr<WorkerJournal> journal;
    Resolver resolver;
    Dialler dialler;
    HttpTransport transport;
    LoopTimer timer{loop};
    RefreshFlights flights;
    IssuerTools tools;
    CredentialKeeper keeper;
    Deadline tidying{[](void* impl) { static_cast<Impl*>(impl)->tidy(); }, this};
    Deadline last_call{[](void* impl) { static_cast<Impl*>(impl)->loop.stop(); }, this};
    Duration slept = suspended();
    std::thread thread;
    bool idle = true;          // written on its thread, read when that has ended
};

Issuing::Issuing(World& world, std::string state, CredentialKeeper::Notify notify) : impl_(std::make_unique<Impl>(world, std::move(state), std::move(notify))) {}

Issuing::~Issuing() {
    if (!impl_->thread.joinable()) return;
    impl_->idle = false;
    impl_->loop.post([impl = impl_.get()] {
        const Duration patience = impl->keeper.stop([impl] {
            impl->idle = true;
            impl->transport.close_idle();
            impl->loop.stop();
        });
        impl->loop.wheel.arm(impl->last_call, later(Loop::now(), std::max(patience, last_connection)));
    });
    impl_->thread.join();
    // What did not end in time still refers to all of this; the process is about to end anyway.
    if (!impl_->idle) static_cast<void>(impl_.release());
}

CredentialKeeper& Issuing::keeper() { return impl_->keeper; }

void Issuing::follow(std::shared_ptr<const PolicySnapshot> policy) {
    const auto is_fetched = [](const CredentialSpec& spec) { return !spec.is_static() || spec.rules.overlap.written(); };
    const auto& config = *policy->config;
    const bool needed = std::any_of(config.credentials.begin(), config.credentials.end(), is_fetched) || std::any_of(config.secrets.begin(), config.secrets.end(), is_fetched);
    if (!needed && !impl_->thread.joinable()) return;
    impl_->loop.post([impl = impl_.get(), policy = std::move(policy)] {
        impl->transport.adopt(policy->contexts);
        impl->keeper.follow(policy->config, policy->contexts, policy->credentials);
    });
    if (impl_->thread.joinable()) return;
    impl_->loop.wheel.arm(impl_->tidying, later(Loop::now(), 1s));
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Result<Minted> Issuing::fetch_once(const PolicySnapshot& policy, const CredentialSpec& spec, Duration time, IssuerMemory* memory, Told* how) {
    Loop& loop = impl_->loop;
    impl_->transport.adopt(policy.contexts);
    IssuerMemory none;
    const std::shared_ptr<IssuerMemory> borrowed(std::shared_ptr<IssuerMemory>(), memory ? memory : &none);
    Errand errand(impl_->tools, policy.config, policy.contexts, spec, borrowed, later(Loop::now(), time));
    std::optional<Result<Minted>> got;
    spawn(fetch_credential(errand), [&](const std::exception_ptr& broken, std::optional<Result<Minted>> minted) {
        if (broken) minted = errand.failure("the fetch broke");
        got = std::move(minted);
        if (impl_->flights.none()) return loop.stop();
        impl_->flights.when_none([&loop] { loop.stop(); });   // a refresh token that is sent is worth nothing without its answer
    });
    loop.run();
    if (how) *how = {errand.notes(), errand.calls()};
    return std::move(*got);
}

}  // namespace sluice
