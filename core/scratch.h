// Working memory of one block of work, from the caching allocator; none for no items.
#pragma once

#include <cstdint>

#include "memory.h"

namespace rushlight {

template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : bytes_(static_cast<size_t>(count) * sizeof(T)) {
    if (bytes_ > 0) data_ = static_cast<T*>(allocate(bytes_));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (bytes_ > 0) release(data_, bytes_);
  }
  T* get() const { return data_; }
  T& operator[](int64_t index) const { return data_[index]; }

 private:
  T* data_ = nullptr;
  size_t bytes_;
};

}  // namespace rushlight
