// A caching, 64-byte aligned allocator for array storage: fresh pages from the system cost more than most kernels.
#pragma once

#include <cstddef>

namespace rushlight {

void* allocate(size_t bytes);              // throws std::bad_alloc
void* allocate_zeros(size_t bytes);        // fresh pages, which hold zeros, are left untouched
void release(void* memory, size_t bytes);  // `bytes` as it was asked for

}  // namespace rushlight
