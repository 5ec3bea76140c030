#include "proxy/telemetry/log_writer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

namespace {

constexpr Duration flush_time = 1s;
constexpr std::size_t max_merged = 64 * 1024;  // small buffers are joined up to this, to be one write
constexpr std::size_t max_spare = 8;           // emptied buffers kept for the workers' next ones

std::uint64_t lines_in(std::string_view bytes) {
    return static_cast<std::uint64_t>(std::count(bytes.begin(), bytes.end(), '\n'));
}

// Where the log goes. Its writes do not block, although O_NONBLOCK may not be set on what others write to as well (it
// belongs to the open file, which a shell or a parent shares): pipes and terminals are opened anew where that is
// permitted, sockets are told call by call, and to anything else that could block at most PIPE_BUF goes at once, which
// fits when poll says that there is room.
class LogSink {
  public:
    explicit LogSink(int fd) {
        struct stat status {};
        if (fstat(fd, &status) != 0) return;
        socket_ = S_ISSOCK(status.st_mode);
        if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
            const std::string path = "/proc/self/fd/" + std::to_string(fd);
            fd_ = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
            if (fd_ < 0) most_ = PIPE_BUF;
        }
        if (fd_ < 0) fd_ = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    LogSink(const LogSink&) = delete;
    LogSink& operator=(const LogSink&) = delete;
    ~LogSink() {
        if (fd_ >= 0) close(fd_);
    }

    int fd() const { return fd_; }
    ssize_t write(std::string_view bytes) const {
        bytes = bytes.substr(0, most_);
        if (socket_) return send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return ::write(fd_, bytes.data(), bytes.size());
    }

  private:
    int fd_ = -1;
    bool socket_ = false;
    std::size_t most_ = std::string_view::npos;
};

}  // namespace

struct LogWriter::Shared {
    explicit Shared(int fd) : sink(fd) {}
    ~Shared() {
        if (stop_event >= 0) close(stop_event);
    }

    LogSink sink;
    const int stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    std::atomic<std::uint64_t> dropped{0};

    std::mutex mutex;
    std::condition_variable changed;  // something to write, to stop, or finished
    std::deque<std::string> waiting;
    std::size_t waiting_bytes = 0;  // of `waiting` and of what is being written
    std::vector<std::string> spare;
    bool stopping = false, finished = false;
    std::atomic<TimePoint> give_up{never};  // while stopping

    void run();
    void write(std::string_view rest);
    bool wait_for_room();
};

// Until there is room, or it is time to give up: false.
bool LogWriter::Shared::wait_for_room() {
    for (;;) {
        const TimePoint until = give_up.load();
        const bool stopping_now = until != never;
        const auto left = until - std::chrono::steady_clock::now();
        if (stopping_now && left <= Duration::zero()) return false;
        const int patience =
            stopping_now ? static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count()) : -1;
        pollfd watched[] = {{sink.fd(), POLLOUT, 0}, {stopping_now ? -1 : stop_event, POLLIN, 0}};
        if (poll(watched, 2, patience) > 0 && watched[0].revents != 0) return true;  // an error shows in the write
    }
}

void LogWriter::Shared::write(std::string_view rest) {
    while (!rest.empty() && sink.fd() >= 0 && wait_for_room()) {
        const ssize_t written = sink.write(rest);
        if (written > 0) {
            rest.remove_prefix(static_cast<std::size_t>(written));
        } else if (written == 0 || (errno != EAGAIN && errno != EINTR)) {
            break;
        }
    }
    if (!rest.empty()) dropped += lines_in(rest);
}

void LogWriter::Shared::run() {
    sigset_t all;  // a signal is for the main thread; and a broken pipe shall be an error, not a SIGPIPE
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);

    std::unique_lock lock(mutex);
    for (;;) {
        changed.wait(lock, [this] { return !waiting.empty() || stopping; });
        if (waiting.empty()) break;
        std::string batch = std::move(waiting.front());
        waiting.pop_front();
        lock.unlock();
        write(batch);
        lock.lock();
        waiting_bytes -= batch.size();
        batch.clear();
        if (spare.size() < max_spare && batch.capacity() <= 4 * max_merged) spare.push_back(std::move(batch));
    }
    finished = true;
    changed.notify_all();
}

LogWriter::LogWriter(int fd) : shared_(std::make_shared<Shared>(fd)) {
    if (shared_->stop_event < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    thread_ = std::thread([shared = shared_] { shared->run(); });
}

LogWriter::~LogWriter() {
    std::unique_lock lock(shared_->mutex);
    shared_->stopping = true;
    shared_->give_up = std::chrono::steady_clock::now() + flush_time;
    shared_->changed.notify_all();
    eventfd_write(shared_->stop_event, 1);
    // A little longer than the writer itself waits.
    if (shared_->changed.wait_for(lock, flush_time + 100ms, [this] { return shared_->finished; })) {
        lock.unlock();
        thread_.join();
    } else {
        // Stuck inside a write that should not have blocked (a dead disk, say). What it uses is its own.
        thread_.detach();
    }
}

void LogWriter::take(std::string& buffer) {
    if (buffer.empty()) return;
    {
        const std::lock_guard lock(shared_->mutex);
        auto& waiting = shared_->waiting;
        if (shared_->waiting_bytes + buffer.size() > max_waiting) {
            shared_->dropped += lines_in(buffer);
            buffer.clear();
            return;
        }
        shared_->waiting_bytes += buffer.size();
        if (!waiting.empty() && waiting.back().size() + buffer.size() <= max_merged) {
            waiting.back() += buffer;
            buffer.clear();
            return;  // the thread knows already of the batch that this joins
        }
        waiting.push_back(std::move(buffer));
        buffer.clear();
        if (!shared_->spare.empty()) {
            buffer = std::move(shared_->spare.back());
            shared_->spare.pop_back();
        }
    }
    shared_->changed.notify_one();
}

std::uint64_t LogWriter::dropped() const {
    return shared_->dropped.load();
}

}  // namespace sluice
