// One worker thread's event loop with what every connection on it shares: the epoll set, the deadline wheel, the pools of buffers. The thread sleeps in the set, until the wheel's next deadline; other threads
// reach it by `post` alone.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "proxy/net/deadline.hpp"
#include "proxy/net/poller.hpp"
#include "proxy/ports/clock.hpp"

namespace sluice {

/// Buffers for bytes on their way in or out. An idle connection holds none: 10,000 of them must fit in 240 MiB.
struct Block {
    static constexpr std::size_t size = 17 * 1024;   // a whole TLS record (16 KiB + overhead), or a chunk of that size with its frame
    std::unique_ptr<char[]> bytes = std::make_unique_for_overwrite<char[]>(size);
    bool wiped = false;   // before it is given back or freed

    Block() = default;
    Block(const Block&) = delete;
    ~Block() {
        if (wiped) wipe();
    }
    void wipe();
};

/// LIFO, so that the block given out is the one last in the processor's cache. Keeps at most `spare` unused ones.
class BlockPool {
  public:
    std::unique_ptr<Block> take() {
        if (free_.empty()) {
            auto fresh = std::make_unique<Block>();
            fresh->wiped = wipes_;
            return fresh;
        }
        auto block = std::move(free_.back());
        free_.pop_back();
        return block;
    }
    void give(std::unique_ptr<Block> block) {
        if (!block || free_.size() >= spare) return;
        if (wipes_) block->wipe();
        free_.push_back(std::move(block));
    }
    /// From now on nothing of what was in a block is left behind: where all that comes in is secret. Some 0.5 us a block.
    void wipe_all() { wipes_ = true; }
    bool wipes() const { return wipes_; }

  private:
    bool wipes_ = false;
    static constexpr std::size_t spare = 64;
    std::vector<std::unique_ptr<Block>> free_;
};

/// Larger buffers for plain bodies that keep coming: a read or a write of 17 KiB costs a third more than its share of one of 64 KiB. Few, whatever the number of connections: who finds none goes on with its
/// Block. What was in one stays there while its body goes on, which takes it again and again: wiping it each time would cost a twentieth. `wipe_of` is for when the body has ended.
class BulkPool {
  public:
    static constexpr std::size_t size = 64 * 1024, most = 64;
    struct Return {
        BulkPool* pool;
        const void* owner = nullptr;
        std::size_t used = 0;   // from the first byte to the last that was filled since it was wiped
        void operator()(char* bytes) const { pool->give({std::unique_ptr<char[]>(bytes), owner, used}); }
    };
    using Buffer = std::unique_ptr<char[], Return>;

    BulkPool() { free_.reserve(spare); }   // giving back must not fail
    BulkPool(const BulkPool&) = delete;
    ~BulkPool() {
        for (Spare& one : free_) one.wipe();
    }
    /// For `owner`'s bytes. Null: all are in use.
    Buffer take(const void* owner) {
        if (out_ == most) return Buffer(nullptr, {this});
        Spare one;
        if (free_.empty()) {
            one.bytes = std::make_unique_for_overwrite<char[]>(size);
        } else {
            one = std::move(free_.back());
            free_.pop_back();
        }
        ++out_;
        return Buffer(one.bytes.release(), {this, owner, one.used});
    }
    /// Those that `owner` was the last to use.
    void wipe_of(const void* owner) {
        for (Spare& one : free_)
            if (one.owner == owner) one.wipe();
    }

  private:
    struct Spare {
        std::unique_ptr<char[]> bytes;
        const void* owner = nullptr;
        std::size_t used = 0;
        void wipe();
    };
    void give(Spare one) {
        --out_;
        if (free_.size() < spare)
            free_.push_back(std::move(one));
        else
            one.wipe();
    }

    static constexpr std::size_t spare = 8;
    std::vector<Spare> free_;
    std::size_t out_ = 0;
};

/// Closures on their way to the loop's thread.
class Inbox : public Polled {
  public:
    Inbox();
    Inbox(const Inbox&) = delete;
    ~Inbox();

    /// Any thread.
    void put(std::function<void()> closure);
    /// Those that had come when the set told of them.
    void run_all();

    const int fd;

  private:
    std::mutex mutex_;
    std::vector<std::function<void()>> waiting_;
    bool told_ = false;
};

class Loop {
  public:
    Loop();

    BlockPool blocks;   // first: what goes with the others gives its own back
    BulkPool bulk;
    Wheel wheel;
    Poller poller;

    static TimePoint now() { return Clock::now(); }

    /// Turns until `stop`.
    void run();
    /// What is due, then what happens until `until` (one batch of it), then what was posted: none of the three can keep the others from their turn.
    void turn(TimePoint until);
    /// Ends `run`, once what is being told has been. The loop's thread.
    void stop() { stopped_ = true; }

    /// Runs `closure` on the loop's thread, in a later turn, in the order of the calls; destroyed unrun where the loop has ended. Any thread.
    void post(std::function<void()> closure) { inbox_.put(std::move(closure)); }

  private:
    Inbox inbox_;
    bool stopped_ = false;
};

}  // namespace sluice
