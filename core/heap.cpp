#include "heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

namespace rushlight {

namespace {

constexpr size_t smallest_segment = size_t{64} << 20;
constexpr size_t on_small_pages = 2;  // the first pages of all, so that a small process stays small

// An aligned mapping: a larger one with its ends given back. It takes addresses, but no memory until it is touched.
char* map_pages(size_t bytes) {
  void* mapped = mmap(nullptr, bytes + Heap::page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(mapped);
  size_t head = (Heap::page - reinterpret_cast<uintptr_t>(begin) % Heap::page) % Heap::page;
  if (head > 0) munmap(begin, head);
  if (Heap::page > head) munmap(begin + head + bytes, Heap::page - head);
  return begin + head;
}

}  // namespace

// A few cache lines more than asked for: arrays of equal sizes, powers of two as they often are, then don't all begin
// at the same places in the caches.
size_t Heap::padded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment + 3 * alignment; }

Heap::Segment* Heap::grow(size_t bytes) {
  size_t wanted = std::max({smallest_segment, mapped_, bytes});
  size_t size = (wanted + page - 1) / page * page;
  char* begin = map_pages(size);
  if (begin == nullptr && size > bytes + page) {
    size = (bytes + page - 1) / page * page;
    begin = map_pages(size);
  }
  if (begin == nullptr) return nullptr;
#if defined(MADV_HUGEPAGE)
  size_t small = mapped_ == 0 ? on_small_pages * page : 0;
  madvise(begin + small, size - small, MADV_HUGEPAGE);  // fewer page faults; a mere wish
#endif
  mapped_ += size;
  auto place = std::ranges::upper_bound(segments_, begin, {}, &Segment::begin);
  place = segments_.insert(place, Segment{begin, begin, std::vector<bool>(size / page)});
  free_.emplace(begin, size);
  return &*place;
}

Heap::Segment& Heap::segment_of(const char* address) {
  auto after =
      std::ranges::upper_bound(segments_, address, {}, [](const Segment& s) -> const char* { return s.begin; });
  return *std::prev(after);
}

// Counts the pages of the block as resident; returns where the part of it begins that never belonged to any other.
char* Heap::touch(char* begin, size_t bytes) {
  Segment& segment = segment_of(begin);
  size_t first = static_cast<size_t>(begin - segment.begin) / page;
  size_t last = static_cast<size_t>(begin + bytes - 1 - segment.begin) / page;
  for (size_t i = first; i <= last; ++i) {
    if (!segment.touched[i]) resident_ += page;
    segment.touched[i] = true;
  }
  char* end = begin + bytes;
  return std::clamp(std::exchange(segment.used, std::max(segment.used, end)), begin, end);
}

void* Heap::allocate(size_t bytes, char** clean) {
  bytes = padded(bytes);
  auto fits = [&](const auto& extent) { return extent.second >= bytes; };
  auto found = std::ranges::find_if(free_, fits);
  if (found == free_.end()) {
    Segment* fresh = grow(bytes);
    if (fresh == nullptr) return nullptr;
    found = free_.find(fresh->begin);
  }
  auto [begin, size] = *found;
  auto next = free_.erase(found);
  if (size > bytes) free_.emplace_hint(next, begin + bytes, size - bytes);
  *clean = touch(begin, bytes);
  return begin;
}

void Heap::release(void* block, size_t bytes) {
  char* begin = static_cast<char*>(block);
  bytes = padded(bytes);
  const Segment& segment = segment_of(begin);
  auto next = free_.lower_bound(begin);
  if (next != free_.end() && begin + bytes == next->first && next->first < segment.end()) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == begin && before->first >= segment.begin) {
      before->second += bytes;
      return;
    }
  }
  free_.emplace_hint(next, begin, bytes);
}

void Heap::trim(size_t most) {
  for (auto extent = free_.rbegin(); extent != free_.rend() && resident_ > most; ++extent) {
    Segment& segment = segment_of(extent->first);
    size_t first = (static_cast<size_t>(extent->first - segment.begin) + page - 1) / page;
    size_t last = static_cast<size_t>(extent->first + extent->second - segment.begin) / page;
    for (size_t i = last; i > first && resident_ > most; --i) {
      if (!segment.touched[i - 1]) continue;
      madvise(segment.begin + (i - 1) * page, page, MADV_DONTNEED);
      segment.touched[i - 1] = false;
      if (segment.used <= segment.begin + i * page)
        segment.used = std::min(segment.used, segment.begin + (i - 1) * page);
      resident_ -= page;
    }
  }
}

}  // namespace rushlight
