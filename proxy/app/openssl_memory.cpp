#include "proxy/app/openssl_memory.hpp"

#include <malloc.h>  // malloc_usable_size
#include <openssl/crypto.h>
#include <string.h>  // explicit_bzero

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "proxy/base/wiped_frees.hpp"

namespace sluice {
namespace {

[[gnu::noinline, gnu::cold]] void wipe_and_free(void* at) {
    if (at) explicit_bzero(at, ::malloc_usable_size(at));
    std::free(at);
}

// 1,800 times a handshake.
void release(void* at, const char*, int) {
    return WipedFrees::wanted() ? wipe_and_free(at) : std::free(at);
}

void* reallocate(void* at, std::size_t size, const char* file, int line) {
    if (size == 0) {
        release(at, file, line);
        return nullptr;
    }
    if (!WipedFrees::wanted() || !at) return std::realloc(at, size);
    void* const other = std::malloc(size);
    if (!other) return nullptr;
    std::memcpy(other, at, std::min(size, ::malloc_usable_size(at)));
    release(at, file, line);
    return other;
}

}  // namespace

// Its own malloc stays, so that only frees pay: for one look at a word of the thread's.
bool wipe_what_openssl_frees() {
    return CRYPTO_set_mem_functions(nullptr, reallocate, release) == 1;
}

}  // namespace sluice
