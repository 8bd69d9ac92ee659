// A caching, 64-byte aligned allocator for array storage: fresh pages from the system cost more than most kernels.
#pragma once

#include <cstddef>

namespace rushlight {

void* allocate(size_t bytes);              // throws std::bad_alloc
void release(void* memory, size_t bytes);  // `bytes` as it was asked for

}  // namespace rushlight
