#include "proxy/app/signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace sluice {

BlockedSignals::BlockedSignals(std::initializer_list<int> numbers) {
    ::sigemptyset(&numbers_);
    for (int number : numbers) ::sigaddset(&numbers_, number);
    ::pthread_sigmask(SIG_BLOCK, &numbers_, &before_);
}

BlockedSignals::~BlockedSignals() {
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

SignalReader::SignalReader(const BlockedSignals& signals, boost::asio::io_context& io, Handle handle)
    : descriptor_(io), handle_(std::move(handle)) {
    const int fd = ::signalfd(-1, &signals.numbers(), SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
    descriptor_.assign(fd);
    read_next();
}

void SignalReader::read_next() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code error) {
        if (error) return;
        signalfd_siginfo info{};
        while (::read(descriptor_.native_handle(), &info, sizeof info) == sizeof info) {
            handle_({static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL});
        }
        read_next();
    });
}

}  // namespace sluice
