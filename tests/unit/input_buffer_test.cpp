// Where bytes are while they come in, and what is left of them afterwards.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "proxy/wire/h1.hpp"

using namespace sluice;

namespace {

bool all_zero(const Block& block) {
    return std::all_of(block.bytes.get(), block.bytes.get() + Block::size, [](char c) { return c == 0; });
}

std::unique_ptr<Block> zeros() {
    auto block = std::make_unique<Block>();
    std::memset(block->bytes.get(), 0, Block::size);
    return block;
}

void fill(InputBuffer& in, Loop& loop, std::size_t limit) {
    const std::span<char> room = in.room(loop, limit);
    std::memset(room.data(), 's', room.size());
    in.filled(room.size());
}

}  // namespace

TEST_CASE("nothing is left in a block that something came in, on a loop that is for secrets or on another") {
    Loop loop;
    if (GENERATE(true, false)) loop.blocks.wipe_all();
    InputBuffer in;
    loop.blocks.give(zeros());
    SECTION("that was read to its end") {
        fill(in, loop, Block::size);
        in.consume(Block::size);
        in.release(loop);
    }
    SECTION("that was not, because the connection ended") {
        fill(in, loop, Block::size);
        in.release(loop);
    }
    SECTION("that was filled again and again, further each time and less far at last") {
        for (const std::size_t size : {100u, 3000u, 7u}) {
            const std::span<char> room = in.room(loop, Block::size);
            std::memset(room.data(), 's', size);
            in.filled(size);
            in.consume(size);
        }
        in.release(loop);
    }
    SECTION("whose head needed more room") {
        fill(in, loop, Block::size);
        fill(in, loop, 2 * Block::size);
    }
    const auto block = loop.blocks.take();  // the one that was given back last
    CHECK(all_zero(*block));
}

TEST_CASE("a body that keeps coming has no larger buffers where they would have to be wiped") {
    Loop loop;
    InputBuffer plain, secret;
    plain.widen(loop);
    CHECK(plain.room(loop, Block::size).size() == BulkPool::size);
    plain.release(loop);
    loop.blocks.wipe_all();
    secret.widen(loop);
    CHECK(secret.room(loop, Block::size).size() == Block::size);
}

TEST_CASE("nothing is left of a body in the larger buffers once it has ended, also where it had several") {
    Loop loop;
    for (const std::size_t filled : {BulkPool::size, std::size_t{300}}) {
        BulkPool::Buffer first = loop.bulk.take(nullptr), second = loop.bulk.take(nullptr);
        for (BulkPool::Buffer* buffer : {&first, &second}) std::memset(buffer->get(), 0, BulkPool::size);
        first.reset();
        auto in = std::make_unique<InputBuffer>();
        in->widen(loop);   // the first
        const std::span<char> room = in->room(loop, Block::size);
        std::memset(room.data(), 's', filled);
        in->filled(filled);
        in->consume(filled);
        in->release(loop);   // while it waits for more
        second.reset();
        in->widen(loop);   // the second
        fill(*in, loop, Block::size);
        in->consume(BulkPool::size);
        if (GENERATE(true, false)) in->finish(loop);
        else in.reset();
        for (BulkPool::Buffer* buffer : {&first, &second}) {
            *buffer = loop.bulk.take(nullptr);
            CHECK(std::all_of(buffer->get(), buffer->get() + BulkPool::size, [](char c) { return c == 0; }));
        }
    }
}

TEST_CASE("the larger buffers are not wiped while their body goes on, also where another ends") {
    Loop loop;
    InputBuffer in, other;
    other.widen(loop);
    in.widen(loop);
    fill(in, loop, Block::size);
    in.consume(BulkPool::size);
    in.release(loop);
    other.finish(loop);
    const BulkPool::Buffer of_other = loop.bulk.take(nullptr);
    CHECK(loop.bulk.take(nullptr).get_deleter().used == BulkPool::size);
}
