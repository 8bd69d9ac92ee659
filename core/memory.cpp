#include "memory.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "bind.h"
#include "heap.h"

namespace rushlight {

namespace {

// Small blocks have size classes: multiples of 64 bytes up to 512, then eight to each power of two. Large ones come
// from the heap, since malloc holds on to what is freed, and in an arena of its own for each thread.
constexpr size_t smallest = 64;
constexpr size_t largest = size_t{1} << 46;
constexpr size_t large_from = size_t{1} << 17;
constexpr int class_count = 8 + 8 * (17 - 9);

int class_of(size_t bytes) {
  if (bytes <= 512) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / smallest);
  int octave = std::bit_width(bytes - 1) - 10;  // 0 for 513 .. 1024
  return 8 + 8 * octave + static_cast<int>((bytes - 1) >> (octave + 6)) - 8;
}

constexpr size_t size_of(int index) {
  if (index < 8) return smallest * static_cast<size_t>(index + 1);
  int octave = (index - 8) / 8;
  return static_cast<size_t>(9 + (index - 8) % 8) << (octave + 6);
}

// Freed memory is kept as long as it and live memory together stay within little more than what live memory alone has
// reached of late: the cache spares page faults and hardly raises the process's peak.
class Cache {
 public:
  // From `clean` on the block holds zeros.
  void* allocate(size_t bytes, char** clean) {
    int index = bytes < large_from ? class_of(bytes) : -1;
    if (index >= 0) bytes = size_of(index);
    lock();
    void* block = index < 0 ? allocate_large(bytes, clean) : take(index);
    if (block != nullptr) count(bytes);
    unlock();
    if (block == nullptr && index >= 0) {
      block = allocate_small(bytes);
      lock();
      count(bytes);
      unlock();
    }
    if (block == nullptr) throw std::bad_alloc();
    if (index >= 0) *clean = static_cast<char*>(block) + bytes;
    return block;
  }

  void release(void* memory, size_t bytes) {
    lock();
    if (bytes >= large_from) {
      live_ -= bytes;
      live_large_ -= bytes;
      heap_.release(memory, bytes);
    } else {
      int index = class_of(bytes);
      live_ -= size_of(index);
      kept_small_ += size_of(index);
      stacks_[index] = new (memory) Block{stacks_[index], index};
    }
    Block* evicted = make_room(limit());
    unlock();
    give_back(evicted);
  }

  void empty() {
    lock();
    Block* evicted = make_room(0);
    unlock();
    give_back(evicted);
  }

  std::array<size_t, 3> statistics() {
    lock();
    std::array<size_t, 3> result = {live_, kept_small_ + heap_.resident() - std::min(heap_.resident(), live_large_),
                                    peak()};
    unlock();
    return result;
  }

  // Held for a few instructions only, so a spin lock; and held by who forks, so that a child finds it free.
  void lock() {
    while (lock_.test_and_set(std::memory_order_acquire)) {
      while (lock_.test(std::memory_order_relaxed)) {
      }
    }
  }
  void unlock() { lock_.clear(std::memory_order_release); }

 private:
  struct Block {
    Block* next = nullptr;
    int index = 0;
  };

  void* take(int index) {
    Block* found = stacks_[index];
    if (found == nullptr) return nullptr;
    stacks_[index] = found->next;
    kept_small_ -= size_of(index);
    return found;
  }

  void* allocate_small(size_t bytes) {
    void* fresh = std::aligned_alloc(smallest, bytes);
    if (fresh == nullptr) {  // out of memory: try again without the cache
      empty();
      fresh = std::aligned_alloc(smallest, bytes);
    }
    return fresh;
  }

  void* allocate_large(size_t bytes, char** clean) {
    void* block = heap_.allocate(bytes, clean);
    if (block != nullptr) live_large_ += bytes;
    return block;
  }

  void count(size_t bytes) {
    live_ += bytes;
    turnover_ += bytes;
    recent_peak_ = std::max(recent_peak_, live_);
    if (turnover_ > 16 * peak()) {  // a peak that isn't reached again is forgotten
      previous_peak_ = recent_peak_;
      recent_peak_ = live_;
      turnover_ = 0;
    }
  }

  size_t peak() const { return std::max(recent_peak_, previous_peak_); }

  // What live and kept memory may come to: a little over the peak, for what lies between live blocks.
  size_t limit() const { return peak() + std::clamp(peak() / 4, size_t{4} << 20, size_t{8} << 20); }

  // Gives back free pages, and takes the largest small blocks out of the cache, until live and kept memory fit into
  // `limit`; the caller frees these after unlocking.
  Block* make_room(size_t limit) {
    size_t small = live_ - live_large_ + kept_small_;
    if (small + heap_.resident() <= limit) return nullptr;
    heap_.trim(limit - std::min(small, limit));
    Block* evicted = nullptr;
    for (int index = class_count - 1; index >= 0; --index) {
      while (stacks_[index] != nullptr && live_ - live_large_ + kept_small_ + heap_.resident() > limit) {
        Block* block = static_cast<Block*>(take(index));
        block->next = evicted;
        evicted = block;
      }
    }
    return evicted;
  }

  static void give_back(Block* block) {
    while (block != nullptr) std::free(std::exchange(block, block->next));
  }

  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  size_t live_ = 0, live_large_ = 0, kept_small_ = 0;
  size_t recent_peak_ = 0, previous_peak_ = 0, turnover_ = 0;
  std::array<Block*, class_count> stacks_ = {};
  Heap heap_;
};

// Never destroyed: arrays may outlive every other object of the process.
Cache& cache() {
  static Cache* const shared = [] {
    pthread_atfork([] { cache().lock(); }, [] { cache().unlock(); }, [] { cache().unlock(); });
    return new Cache;
  }();
  return *shared;
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes > largest) throw std::bad_alloc();
  char* clean;
  return cache().allocate(bytes, &clean);
}

void* allocate_zeros(size_t bytes) {
  if (bytes > largest) throw std::bad_alloc();
  char* clean;
  void* block = cache().allocate(bytes, &clean);
  std::memset(block, 0, std::min(bytes, static_cast<size_t>(clean - static_cast<char*>(block))));
  return block;
}

void release(void* memory, size_t bytes) { cache().release(memory, bytes); }

void bind_memory(nanobind::module_& module) {
  namespace nb = nanobind;
  module.def(
      "memory_statistics",
      [] {
        auto [live, kept, peak] = cache().statistics();
        nb::dict result;
        result["live"] = live;
        result["cached"] = kept;
        result["peak"] = peak;
        return result;
      },
      "Bytes of array storage in use, kept for reuse, and the recent peak of those in use.");
  module.def("empty_cache", [] { cache().empty(); }, "Gives all cached memory back to the system.");
}

}  // namespace rushlight
