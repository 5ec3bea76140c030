// One worker thread's event loop with what every connection on it shares: the io_context, the deadline wheel, the pools of buffers.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "proxy/net/deadline.hpp"
#include "proxy/net/poller.hpp"
#include "proxy/ports/clock.hpp"

namespace sluice {

/// Buffers for bytes on their way in or out. An idle connection holds none: 10,000 of them must fit in 240 MiB.
struct Block {
    static constexpr std::size_t size = 17 * 1024;   // a whole TLS record (16 KiB + overhead), or a chunk of that size with its frame
    std::unique_ptr<char[]> bytes = std::make_unique_for_overwrite<char[]>(size);
};

/// LIFO, so that the block given out is the one last in the processor's cache. Keeps at most `spare` unused ones.
class BlockPool {
  public:
    std::unique_ptr<Block> take() {
        if (free_.empty()) return std::make_unique<Block>();
        auto block = std::move(free_.back());
        free_.pop_back();
        return block;
    }
    void give(std::unique_ptr<Block> block) {
        if (block && free_.size() < spare) free_.push_back(std::move(block));
    }

  private:
    static constexpr std::size_t spare = 64;
    std::vector<std::unique_ptr<Block>> free_;
};

/// Larger buffers for plain bodies that keep coming: a read or a write of 17 KiB costs a third more than its share of one of 64 KiB. Few, whatever the number of connections: who finds none goes on with its
/// Block.
class BulkPool {
  public:
    static constexpr std::size_t size = 64 * 1024, most = 64;
    struct Return {
        BulkPool* pool;
        void operator()(char* bytes) const { pool->give(bytes); }
    };
    using Buffer = std::unique_ptr<char[], Return>;

    BulkPool() { free_.reserve(spare); }   // giving back must not fail
    BulkPool(const BulkPool&) = delete;
    /// Null: all are in use.
    Buffer take() {
        if (out_ == most) return Buffer(nullptr, {this});
        std::unique_ptr<char[]> bytes;
        if (free_.empty()) {
            bytes = std::make_unique_for_overwrite<char[]>(size);
        } else {
            bytes = std::move(free_.back());
            free_.pop_back();
        }
        ++out_;
        return Buffer(bytes.release(), {this});
    }

  private:
    void give(char* bytes) {
        --out_;
        std::unique_ptr<char[]> owned(bytes);
        if (free_.size() < spare) free_.push_back(std::move(owned));
    }

    static constexpr std::size_t spare = 8;
    std::vector<std::unique_ptr<char[]>> free_;
    std::size_t out_ = 0;
};

struct Loop {
    BlockPool blocks;   // first: coroutines that go with the io_context give theirs back
    BulkPool bulk;
    asio::io_context io{1};
    Wheel wheel{io};
    Poller poller{io};

    static TimePoint now() { return Clock::now(); }
};

}  // namespace sluice
