#include "proxy/serve/worker.hpp"

#include <malloc.h>
#include <unistd.h>

#include <system_error>

#include "proxy/net/timer.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/net/resolve.hpp"
#include "proxy/serve/overload.hpp"
#include "proxy/serve/session.hpp"
#include "proxy/wire/transport.hpp"

namespace sluice {

namespace {

constexpr std::size_t polite_refusals = 256;   // at one time; for more there is no waiting
constexpr std::size_t a_rush = 256;   // so many sessions leave memory behind that is worth giving back

}  // namespace

bool is_own_listener(const World& world, const IpAddress& address, std::uint16_t port) {
    for (const ListenAddress& own : world.own) {
        if (own.port != port) continue;
        const IpAddress& base = own.address;
        const bool any = base == IpAddress{{}, base.v6};
        const auto inner = embedded_v4(address);
        if (any || base == address || (inner && base == *inner)) return true;
    }
    return false;
}

namespace {

struct PolicyOnWorker final : PolicyInForce {
    PolicyOnWorker(std::shared_ptr<const PolicySnapshot> of, DeskTable& table, CredentialKeeper* keeper)
        : PolicyInForce{*of->config, *of->contexts, desk}, snapshot(std::move(of)), desk(table, snapshot->credentials, keeper) {}

    std::shared_ptr<const PolicySnapshot> snapshot;
    Desk desk;
};

}  // namespace

struct Worker::Impl {
    Impl(World& w, unsigned index);

    void put_in_force(std::shared_ptr<const PolicySnapshot> snapshot);
    void tidy();
    void give_memory_back();
    void end_when_empty();
    void serve(int fd, Entrance entrance);
    void record_turned_away(std::string_view request_id);

    struct Door : Polled {
        Door(Impl& of, Listener at, Entrance as, const std::vector<std::unique_ptr<Worker>>& workers);
        ~Door();
        void accept();

        Impl& impl;
        Listener listener;
        const Entrance entrance;
        const std::vector<std::unique_ptr<Worker>>& all;
        std::size_t next = 0;   // whose turn it is
    };

    World& world;
    Loop loop;
    std::unique_ptr<WorkerJournal> journal;
    Resolver resolver;
    Dialler dialler;
    HttpTransport transport;
    LoopTimer timer{loop};
    DeskTable desks;
    Core core;
    LeafCache leaves;
    Floor floor;
    std::vector<std::unique_ptr<Door>> doors;
    Deadline tidying{[](void* impl) { static_cast<Impl*>(impl)->tidy(); }, this};
    Deadline last_call{[](void* impl) { static_cast<Impl*>(impl)->loop.stop(); }, this};
    std::size_t subscription;
    std::size_t turned_away = 0;
    std::size_t most_sessions = 0;   // since memory was given back
    bool ending = false;
};

Worker::Impl::Impl(World& w, unsigned)
    : world(w),
      journal(w.telemetry->journal()),
      resolver(loop, Resolver::Options{}),
      dialler(loop, resolver, [&w](const IpAddress& address, std::uint16_t port) { return is_own_listener(w, address, port); }),
      transport(loop, dialler, *journal),
      core{nullptr, transport, *journal, timer, {system_random(), system_random()}, false},
      leaves(w.identity),
      floor{w, loop, core, leaves, *journal, {}, {}} {
    put_in_force(w.policy);
    subscription = w.board->subscribe([this](const CredentialSlots& changed) { loop.post([this, changed] { desks.refresh(changed); }); });
    loop.wheel.arm(tidying, later(Loop::now(), 1s));
}

void Worker::Impl::put_in_force(std::shared_ptr<const PolicySnapshot> snapshot) {
    transport.adopt(snapshot->contexts);
    core.policy = std::make_shared<PolicyOnWorker>(std::move(snapshot), desks, world.keeper);
}

void Worker::Impl::tidy() {
    const TimePoint now = Loop::now();
    transport.sweep(now);
    for (AwsKeyCache& keys : core.aws_keys) keys.tidy();
    std::vector<Session*> sessions(floor.sessions.begin(), floor.sessions.end());   // one that ends leaves the list
    for (Session* session : sessions) session->tidy();
    give_memory_back();
    end_when_empty();
    loop.wheel.arm(tidying, later(now, 1s));
}

// What a rush of connections needed lies free in the middle of the heap when it is over; glibc keeps that until it is told.
void Worker::Impl::give_memory_back() {
    most_sessions = std::max(most_sessions, floor.sessions.size());
    if (most_sessions < a_rush || floor.sessions.size() > most_sessions / 4) return;
    ::malloc_trim(0);
    most_sessions = floor.sessions.size();
}

void Worker::Impl::end_when_empty() {
    if (!ending || !floor.sessions.empty() || turned_away > 0 || core.detached > 0) return;
    transport.close_idle();
    journal->flush();
    loop.stop();
}

namespace {

Task<void> serve_session(Floor& floor, Socket socket, Entrance entrance) {
    Session session(floor, std::move(socket), entrance);
    co_await session.run();
}

void say(Stream& stream, const std::string& answer) {
    stream.stage(answer);
    stream.end_writing();
}

// So many that waiting for each would cost the descriptors that vendors need: told at once, and closed.
void turn_away_at_once(Loop& loop, Socket socket, const std::string& answer) {
    Stream stream(std::move(socket));
    auto block = loop.blocks.take();
    stream.read({block->bytes.get(), Block::size});
    say(stream, answer);
    loop.blocks.give(std::move(block));
}

// Over the cap: the request is read, as far as it comes at once, so that the answer is not lost to a reset.
Task<void> turn_away(Loop& loop, Socket socket, std::string answer) {
    Stream stream(std::move(socket));
    const TimePoint until = later(Loop::now(), 1s);
    auto block = loop.blocks.take();
    const std::span<char> room(block->bytes.get(), Block::size);
    const Wait waited = co_await stream.readable(until);
    if (waited == Wait::ready) stream.read(room);
    say(stream, answer);
    while (stream.socket().open()) {
        const Io io = stream.read(room);
        if (io.kind == Io::Kind::some) continue;
        if (io.kind != Io::Kind::blocked) break;
        const Wait more = co_await stream.readable(until);
        if (more != Wait::ready) break;
    }
    loop.blocks.give(std::move(block));
}

}  // namespace

// UBSan looks at a vptr by way of a pipe: without descriptors it takes every object for none.
[[gnu::no_sanitize("vptr")]] void Worker::Impl::record_turned_away(std::string_view request_id) {
    journal->record(overload_record(request_id));
    if (!floor.flush_log.armed()) loop.wheel.arm(floor.flush_log, later(Loop::now(), 100ms));
}

Worker::Impl::Door::Door(Impl& of, Listener at, Entrance as, const std::vector<std::unique_ptr<Worker>>& workers)
    : Polled([](Polled* door, std::uint32_t) { static_cast<Door*>(door)->accept(); }), impl(of), listener(std::move(at)), entrance(as), all(workers) {
    if (!impl.loop.poller.add_level(listener.fd(), *this, true, false)) throw std::system_error(errno, std::generic_category(), "cannot watch a listener");
}

Worker::Impl::Door::~Door() { impl.loop.poller.remove(listener.fd(), *this); }

void Worker::Impl::Door::accept() {
    const auto deal = [this](int fd) {
        if (const std::size_t turn = next++ % all.size(); turn > 0) return all[turn]->adopt(fd, entrance);
        impl.serve(fd, entrance);
    };
    listener.accept_all(deal, [this](std::string_view request_id) { impl.record_turned_away(request_id); });
}

void Worker::Impl::serve(int fd, Entrance entrance) {
    Socket socket;
    try {
        socket = Socket(loop, fd);
    } catch (const std::system_error& error) {   // the kernel has no room to watch one more
        ::close(fd);
        world.telemetry->notice(Level::error, "accept_failed", {{"error", error.what()}});
        return;
    }
    if (world.connections.fetch_add(1, std::memory_order_relaxed) >= world.max_connections) {
        world.connections.fetch_sub(1, std::memory_order_relaxed);
        std::string request_id;
        core.draw_request_id(request_id);
        record_turned_away(request_id);
        if (turned_away >= std::min(polite_refusals, world.max_connections / 8)) return turn_away_at_once(loop, std::move(socket), overload_answer(request_id));
        ++turned_away;
        spawn(turn_away(loop, std::move(socket), overload_answer(request_id)), [this](const std::exception_ptr&) {
            --turned_away;
            end_when_empty();
        });
        return;
    }
    spawn(serve_session(floor, std::move(socket), entrance), [this](const std::exception_ptr& fault) {
        world.connections.fetch_sub(1, std::memory_order_relaxed);
        if (fault) {
            try {
                std::rethrow_exception(fault);
            } catch (const std::exception& error) {   // the one last catch: this connection ends, nothing else
                world.telemetry->notice(Level::error, "session_failed", {{"error", error.what()}});
            }
        }
        end_when_empty();
    });
}

Worker::Worker(World& world, unsigned index) : impl_(std::make_unique<Impl>(world, index)) {}

Worker::~Worker() {
    impl_->world.board->unsubscribe(impl_->subscription);
    // A session that did not end in time still refers to all of this; the process is about to end anyway.
    if (!impl_->floor.sessions.empty() || impl_->core.detached > 0) static_cast<void>(impl_.release());
}

void Worker::listen(Listener listener, Entrance entrance, const std::vector<std::unique_ptr<Worker>>& workers) {
    impl_->doors.push_back(std::make_unique<Impl::Door>(*impl_, std::move(listener), entrance, workers));
}

void Worker::run() { impl_->loop.run(); }

void Worker::stop_listening(std::function<void()> then) {
    impl_->loop.post([impl = impl_.get(), then = std::move(then)] {
        impl->doors.clear();
        then();
    });
}

void Worker::adopt(int fd, Entrance entrance) {
    impl_->loop.post([impl = impl_.get(), fd, entrance] { impl->serve(fd, entrance); });
}

void Worker::put_in_force(std::shared_ptr<const PolicySnapshot> policy, std::shared_ptr<void> until_taken) {
    impl_->loop.post([impl = impl_.get(), policy = std::move(policy), until_taken = std::move(until_taken)]() mutable {
        impl->put_in_force(std::move(policy));
        until_taken.reset();
    });
}

void Worker::drain() {
    impl_->loop.post([impl = impl_.get()] {
        impl->core.draining = true;
        impl->ending = true;
        std::vector<Session*> sessions(impl->floor.sessions.begin(), impl->floor.sessions.end());
        for (Session* session : sessions) session->close_if_idle();
        impl->end_when_empty();
    });
}

void Worker::stop() {
    impl_->loop.post([impl = impl_.get()] {
        impl->doors.clear();
        impl->core.draining = impl->core.stopping = true;
        impl->ending = true;
        impl->loop.wheel.arm(impl->last_call, later(Loop::now(), 1s));   // for sessions that are just dialling
        std::vector<Session*> sessions(impl->floor.sessions.begin(), impl->floor.sessions.end());
        for (Session* session : sessions) {
            const auto& now = impl->floor.sessions;
            if (std::find(now.begin(), now.end(), session) != now.end()) session->abort();
        }
        impl->end_when_empty();
    });
}

}  // namespace sluice
