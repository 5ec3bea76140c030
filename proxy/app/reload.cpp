#include "proxy/app/reload.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "proxy/issuers/file_watch.hpp"

namespace sluice {

namespace {

TimePoint now() {
    return std::chrono::steady_clock::now();
}

}  // namespace

struct Reloader::Impl {
    struct Asked {
        std::string why;
        Done done;
    };
    enum class Woken : unsigned char { stop, asked, files, time };

    Impl(PolicySource& read, CarryOut how, std::function<void()> tidy_up, ReloadTimes when)
        : source(read), carry_out(std::move(how)), tidy(std::move(tidy_up)), times(when) {
        if (event < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
        watch.follow(source.files(), source.directories());
        thread = std::thread([this] { run(); });
    }

    ~Impl() {
        {
            const std::lock_guard lock(mutex);
            stopping = true;
        }
        ::eventfd_write(event, 1);
        thread.join();
        ::close(event);
        Reloaded leaving;
        leaving.result = Reloaded::Result::leaving;
        for (const Asked& one : asked)
            if (one.done) one.done(leaving);
    }

    void ask(Asked one) {
        {
            const std::lock_guard lock(mutex);
            asked.push_back(std::move(one));
        }
        ::eventfd_write(event, 1);
    }

    void run() {
        ::pthread_setname_np(::pthread_self(), "sluice-reload");
        for (;;) {
            Woken woken = wait_until(now() + times.poll);
            if (woken == Woken::files) woken = settle();
            switch (woken) {
            case Woken::stop: return;
            case Woken::asked: reload(); break;
            case Woken::files:
            case Woken::time:
                if (source.changed()) reload();
                break;
            }
            tidy();
        }
    }

    /// Many files may change at once, and each more than once: waits until it is over, unless somebody asks meanwhile.
    Woken settle() {
        const TimePoint patience = now() + times.patience;
        for (;;) {
            const Woken woken = wait_until(std::min(now() + times.settle, patience));
            if (woken == Woken::files && now() < patience) continue;
            return woken == Woken::time ? Woken::files : woken;
        }
    }

    void reload() {
        std::vector<Asked> answered;
        {
            const std::lock_guard lock(mutex);
            answered.swap(asked);
        }
        std::string why;
        for (const Asked& one : answered)
            if (why.find(one.why) == std::string::npos) why += (why.empty() ? "" : ", ") + one.why;
        watch.follow(source.files(), source.directories());
        const Reloaded reloaded = carry_out(why.empty() ? "files" : why);
        watch.follow(source.files(), source.directories());
        for (const Asked& one : answered)
            if (one.done) one.done(reloaded);
    }

    Woken wait_until(TimePoint when) {
        for (;;) {
            const auto left = std::max<Duration>(when - now(), Duration::zero());
            pollfd events[] = {{event, POLLIN, 0}, {watch.fd(), POLLIN, 0}};
            const int ready =
                ::poll(events, 2, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count()));
            if (ready == 0) return Woken::time;
            if (ready > 0 && events[0].revents != 0) {
                eventfd_t ignored;
                ::eventfd_read(event, &ignored);
                const std::lock_guard lock(mutex);
                if (stopping) return Woken::stop;
                if (!asked.empty()) return Woken::asked;
            }
            if (ready > 0 && events[1].revents != 0 && watch.take_events()) return Woken::files;
        }
    }

    PolicySource& source;
    const CarryOut carry_out;
    const std::function<void()> tidy;
    const ReloadTimes times;
    FileWatch watch;
    const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    std::mutex mutex;  // of the two below
    std::vector<Asked> asked;
    bool stopping = false;
    std::thread thread;
};

Reloader::Reloader(PolicySource& source, CarryOut carry_out, std::function<void()> tidy, ReloadTimes times)
    : impl_(std::make_unique<Impl>(source, std::move(carry_out), std::move(tidy), times)) {}

Reloader::~Reloader() = default;

void Reloader::ask(std::string why, Done done) {
    impl_->ask({std::move(why), std::move(done)});
}

}  // namespace sluice
