#include "proxy/ports/task.hpp"

#include <array>
#include <cstdlib>
#include <new>

namespace sluice::coroutine {

namespace {

// Who touches a frame that is gone shall be seen. (g++ says it with the one, clang with the other.)
#if defined(__SANITIZE_ADDRESS__)
constexpr bool recycles = false;
#elif defined(__has_feature)
constexpr bool recycles = !__has_feature(address_sanitizer);
#else
constexpr bool recycles = true;
#endif

/// The frames of one thread that are not used, by their size.
class Spares {
  public:
    ~Spares() {
        closed_ = true;
        for (Shelf& shelf : shelves_) {
            while (shelf.first) std::free(std::exchange(shelf.first, shelf.first->next));
        }
    }
    static std::size_t shelf_of(std::size_t size) { return (size - 1) / step; }
    static constexpr std::size_t largest = 4096;
    void* take(std::size_t index) {
        Shelf& shelf = shelves_[index];
        Spare* const spare = shelf.first;
        if (!spare) return std::malloc((index + 1) * step);
        shelf.first = spare->next;
        --shelf.count;
        return spare;
    }
    void give(void* frame, std::size_t index) {
        Shelf& shelf = shelves_[index];
        if (shelf.count == kept || closed_) {
            std::free(frame);
            return;
        }
        shelf.first = new (frame) Spare{shelf.first};
        ++shelf.count;
    }

  private:
    static constexpr std::size_t step = 64;
    static constexpr unsigned kept = 64;   // of a size: what is under way at one time, seldom more
    struct Spare { Spare* next; };
    struct Shelf {
        Spare* first = nullptr;
        unsigned count = 0;
    };
    std::array<Shelf, largest / step> shelves_;
    bool closed_ = false;
};

thread_local Spares spares;

}  // namespace

void* Frame::operator new(std::size_t size) {
    void* frame = recycles && size <= Spares::largest ? spares.take(Spares::shelf_of(size)) : std::malloc(size);
    if (!frame) throw std::bad_alloc();
    return frame;
}

void Frame::operator delete(void* frame, std::size_t size) {
    if (recycles && size <= Spares::largest)
        spares.give(frame, Spares::shelf_of(size));
    else
        std::free(frame);
}

void unwind(Frame& waiting) {
    Frame* outermost = &waiting;
    while (outermost->caller) outermost = outermost->caller;
    outermost->self.destroy();
}

}  // namespace sluice::coroutine
