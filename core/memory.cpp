#include "memory.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "bind.h"

namespace rushlight {

namespace {

// Size classes: multiples of 64 bytes up to 512, then eight to each power of two, so at most an eighth is unused (and
// untouched: it costs addresses, not memory).
constexpr size_t smallest = 64;
constexpr size_t largest = size_t{1} << 46;
constexpr int class_count = 8 + 8 * (46 - 9);
constexpr size_t huge_page = size_t{1} << 21;
constexpr size_t mapped_from = 2 * huge_page;  // from here on blocks are mappings of their own, on huge pages

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

void* system_allocate(size_t bytes) {
#if defined(__linux__)
  if (bytes >= mapped_from) {
    // An aligned mapping: a larger one with its ends given back.
    size_t extended = bytes + huge_page;
    void* mapped = mmap(nullptr, extended, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    char* begin = static_cast<char*>(mapped);
    size_t head = (huge_page - reinterpret_cast<uintptr_t>(begin) % huge_page) % huge_page;
    if (head > 0) munmap(begin, head);
    if (huge_page > head) munmap(begin + head + bytes, huge_page - head);
    madvise(begin + head, bytes, MADV_HUGEPAGE);  // fewer page faults; a mere wish, so its result is not looked at
    return begin + head;
  }
#endif
  return std::aligned_alloc(64, bytes);
}

void system_release(void* memory, size_t bytes) {
#if defined(__linux__)
  if (bytes >= mapped_from) {
    munmap(memory, bytes);
    return;
  }
#endif
  std::free(memory);
}

// Freed blocks are kept, a stack for each size, as long as live and kept memory together stay within little more than
// what live memory alone has reached of late: the cache spares page faults and hardly raises the process's peak.
class Cache {
 public:
  void* allocate(int index) {
    size_t bytes = size_of(index);
    lock();
    live_ += bytes;
    turnover_ += bytes;
    recent_peak_ = std::max(recent_peak_, live_);
    if (turnover_ > 16 * peak()) {  // a peak that isn't reached again is forgotten
      previous_peak_ = recent_peak_;
      recent_peak_ = live_;
      turnover_ = 0;
    }
    if (Block* found = stacks_[index]) {
      stacks_[index] = found->next;
      kept_ -= bytes;
      unlock();
      return found;
    }
    Evicted evicted = make_room(limit());
    unlock();
    give_back(evicted);
    void* fresh = system_allocate(bytes);
    if (fresh == nullptr) {  // out of memory: try again without the cache
      empty();
      fresh = system_allocate(bytes);
    }
    if (fresh == nullptr) {
      lock();
      live_ -= bytes;
      unlock();
      throw std::bad_alloc();
    }
    return fresh;
  }

  void release(void* memory, int index) {
    size_t bytes = size_of(index);
    Block* block = new (memory) Block;
    lock();
    live_ -= bytes;
    kept_ += bytes;
    block->next = stacks_[index];
    stacks_[index] = block;
    largest_kept_ = std::max(largest_kept_, index);
    Evicted evicted = live_ + kept_ > limit() ? make_room(limit()) : Evicted{};
    unlock();
    give_back(evicted);
  }

  void empty() {
    lock();
    Evicted evicted = make_room(0);
    unlock();
    give_back(evicted);
  }

  std::array<size_t, 3> statistics() {
    lock();
    std::array<size_t, 3> result = {live_, kept_, peak()};
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
  using Evicted = Block*;

  size_t peak() const { return std::max(recent_peak_, previous_peak_); }

  // What live and kept memory may come to: a little over the peak, since a freed block serves its own size only.
  size_t limit() const { return peak() + std::clamp(peak() / 4, size_t{1} << 20, size_t{8} << 20); }

  // Takes the largest blocks out of the cache until live and kept memory fit into `limit`; the caller frees them
  // after unlocking.
  Evicted make_room(size_t limit) {
    Evicted evicted = nullptr;
    while (kept_ > 0 && live_ + kept_ > limit) {
      Block* block = stacks_[largest_kept_];
      if (block == nullptr) {
        --largest_kept_;
        continue;
      }
      stacks_[largest_kept_] = block->next;
      kept_ -= size_of(largest_kept_);
      block->index = largest_kept_;
      block->next = evicted;
      evicted = block;
    }
    return evicted;
  }

  static void give_back(Evicted block) {
    while (block != nullptr) {
      Block* next = block->next;
      system_release(block, size_of(block->index));
      block = next;
    }
  }

  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  size_t live_ = 0, kept_ = 0;
  size_t recent_peak_ = 0, previous_peak_ = 0, turnover_ = 0;
  int largest_kept_ = 0;
  std::array<Block*, class_count> stacks_ = {};
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
  return cache().allocate(class_of(bytes));
}

void release(void* memory, size_t bytes) { cache().release(memory, class_of(bytes)); }

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
