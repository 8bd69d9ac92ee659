// Large blocks, cut out of mappings and joined again when they are free, so that a free one serves any size.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace rushlight {

// Blocks lie at the lowest address where they fit: what only a peak needs lies high, in pages that can be given back.
// Not for several threads at once.
class Heap {
 public:
  static constexpr size_t page = size_t{1} << 21;  // memory comes and goes in huge pages, where the system has them
  static constexpr size_t alignment = 64;

  // nullptr where there is no memory. From `clean` on nobody has written to the block yet: it holds zeros.
  void* allocate(size_t bytes, char** clean);
  void release(void* block, size_t bytes);

  size_t resident() const { return resident_; }  // bytes of the pages that may have been touched
  void trim(size_t most);                        // gives back free pages, the highest first, until no more are resident

 private:
  struct Segment {
    char* begin;
    char* used;                 // from here on nothing has been written
    std::vector<bool> touched;  // pages
    char* end() const { return begin + touched.size() * page; }
  };

  static size_t padded(size_t bytes);
  Segment* grow(size_t bytes);
  Segment& segment_of(const char* address);
  char* touch(char* begin, size_t bytes);

  std::vector<Segment> segments_;  // by address
  std::map<char*, size_t> free_;
  size_t resident_ = 0, mapped_ = 0;
};

}  // namespace rushlight
