// The Mersenne twister mt19937 (Matsumoto and Nishimura 1998): the bits of PyTorch's CPU generator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "bind.h"
#include "kernel.h"

namespace rushlight {

class MersenneTwister {
 public:
  static constexpr int period = 624;  // words of state

  std::mutex mutex;  // taken without the GIL

  explicit MersenneTwister(uint32_t seed) { start(seed); }

  void start(uint32_t seed) {
    state_[0] = seed;
    for (uint32_t i = 1; i < period; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
    position_ = period;
  }

  const uint32_t* words() const { return state_; }
  int position() const { return position_; }
  void restore(const uint32_t* words, int position) {
    std::copy_n(words, period, state_);
    position_ = position;
  }

  void draw(uint32_t* out, int64_t count) {
    while (count > 0) {
      if (position_ == period) advance();
      int64_t step = std::min<int64_t>(count, period - position_);
      const uint32_t* from = state_ + position_;
      for (int64_t i = 0; i < step; ++i) out[i] = tempered(from[i]);
      position_ += static_cast<int>(step);
      out += step;
      count -= step;
    }
  }

  // A number in [0, 1) of 53 bits.
  double uniform() {
    uint64_t high = next() & 0x1fffffu;
    return static_cast<double>(static_cast<int64_t>(high << 32 | next())) * 0x1p-53;
  }

 private:
  static constexpr int shift = 397;

  uint32_t next() {
    if (position_ == period) advance();
    return tempered(state_[position_++]);
  }

  static uint32_t mixed(uint32_t upper, uint32_t lower, uint32_t far) {
    uint32_t y = (upper & 0x80000000u) | (lower & 0x7fffffffu);
    return far ^ (y >> 1) ^ (-(lower & 1u) & 0x9908b0dfu);
  }

  static uint32_t tempered(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }

  uint32_t state_[period];
  int position_ = period;  // of the next word; `period` where the state must first be advanced

  void advance() {
    int i = 0;
    for (; i < period - shift; ++i) state_[i] = mixed(state_[i], state_[i + 1], state_[i + shift]);
    for (; i < period - 1; ++i) state_[i] = mixed(state_[i], state_[i + 1], state_[i + shift - period]);
    state_[i] = mixed(state_[i], state_[0], state_[shift - 1]);
    position_ = 0;
  }
};

// Runs `work(engine)` without the GIL, one thread at a time.
template <class Work>
void with_engine(MersenneTwister& engine, Work&& work) {
  Unlocked unlocked;
  std::lock_guard lock(engine.mutex);
  work(engine);
}

void bind_rejection(nb::class_<MersenneTwister>& engine);  // rejection.cpp

}  // namespace rushlight
