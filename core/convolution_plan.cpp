#include "convolution_plan.h"

#include <algorithm>

#include "simd.h"
#include "threads.h"

namespace rushlight::convolution {

bool Windows::in_order() const {
  for (size_t t = 0; t < taps.size(); ++t) {
    if (taps[t].weight != static_cast<int64_t>(t)) return false;
  }
  return true;
}

bool Windows::dense_3x3() const {
  if (taps.size() != 9 || positions[0] != 1 || size[0] != 1) return false;
  if (step != Extents{1, 1, 1} || !dense_output()) return false;
  const Extents& first = taps[0].offset;
  const int64_t sign = taps[8].offset[1] > first[1] ? 1 : -1;
  for (int64_t t = 0; t < 9; ++t) {
    const Extents& offset = taps[static_cast<size_t>(t)].offset;
    if (offset[1] != first[1] + sign * (t / 3) || offset[2] != first[2] + sign * (t % 3)) return false;
  }
  return true;
}

Units::Units(const Windows& windows, int64_t wanted, int64_t limit) : images(1), dimension(2) {
  for (dimension = 0; dimension < 2 && windows.positions[dimension] == 1;) ++dimension;
  band = windows.positions[dimension];
  const int64_t in_image = std::max<int64_t>(1, volume(windows.positions));
  const int64_t in_row = std::max<int64_t>(1, in_image / std::max<int64_t>(1, band));
  const int64_t enough = 96;
  auto items = [&] { return Patch(windows, *this).image * images; };
  if (in_image <= wanted) {
    images = std::clamp<int64_t>(wanted / in_image, 1, std::max<int64_t>(1, windows.images));
    while (images > 1 && images / 2 * in_image >= enough && items() > limit) images /= 2;
    images = divide_up(windows.images, std::max<int64_t>(1, divide_up(windows.images, images)));
  } else {
    band = std::clamp<int64_t>(wanted / in_row, 1, band);
    while (band > 1 && band / 2 * in_row >= enough && items() > limit) band /= 2;
    band = divide_up(windows.positions[dimension], divide_up(windows.positions[dimension], band));
  }
  images = std::max<int64_t>(1, images);
  band = std::max<int64_t>(1, band);
  image_units = divide_up(windows.images, images);
  bands = divide_up(windows.positions[dimension], band);
}

Patch::Patch(const Windows& windows, const Units& units) : low{}, extents{} {
  Extents high{};
  for (size_t t = 0; t < windows.taps.size(); ++t) {
    for (int d = 0; d < 3; ++d) {
      const int64_t offset = windows.taps[t].offset[d];
      low[d] = t == 0 ? offset : std::min(low[d], offset);
      high[d] = t == 0 ? offset : std::max(high[d], offset);
    }
  }
  for (int d = 0; d < 3; ++d) {
    const int64_t count = d == units.dimension ? units.band : windows.positions[d];
    extents[d] = std::max<int64_t>(0, count - 1) * windows.step[d] + high[d] - low[d] + 1;
  }
  plane = volume(extents);
  if (plane % 512 == 0) plane += 16;  // else the channels of one pixel would fall on the same few cache lines
  image = plane * windows.in_channels;
}

std::vector<int64_t> Patch::tap_offsets(const Windows& windows) const {
  std::vector<int64_t> offsets;
  offsets.reserve(static_cast<size_t>(windows.depth()));
  for (int64_t c = 0; c < windows.in_channels; ++c) {
    for (const Tap& tap : windows.taps) {
      const int64_t row = (tap.offset[0] - low[0]) * extents[1] + tap.offset[1] - low[1];
      offsets.push_back(c * plane + row * extents[2] + tap.offset[2] - low[2]);
    }
  }
  return offsets;
}

Share::Share(const Windows& windows, const Units& units, int64_t index) : positions(windows.positions) {
  first = index / units.bands * units.images;
  images = std::min(units.images, windows.images - first);
  begin = index % units.bands * units.band;
  end = std::min(begin + units.band, windows.positions[units.dimension]);
  positions[units.dimension] = end - begin;
}

void Share::position_offsets(const Windows& windows, const Patch& patch, int64_t* offsets) const {
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t d = 0; d < positions[0]; ++d) {
      for (int64_t h = 0; h < positions[1]; ++h) {
        const int64_t row = d * windows.step[0] * patch.extents[1] + h * windows.step[1];
        int64_t offset = n * patch.image + row * patch.extents[2];
        for (int64_t w = 0; w < positions[2]; ++w, offset += windows.step[2]) *offsets++ = offset;
      }
    }
  }
}

template <class T>
void copy_patch(const Windows& windows, const Units& units, const Patch& patch, const Share& share, int64_t group,
                int64_t from, int64_t to, const T* x, T* target) {
  Extents origin = patch.low;
  origin[units.dimension] += share.begin * windows.step[units.dimension];
  const Extents& size = windows.size;
  const int64_t left = std::clamp<int64_t>(-origin[2], 0, patch.extents[2]);
  const int64_t right = std::clamp<int64_t>(size[2] - origin[2], left, patch.extents[2]);
  const int64_t channels = windows.groups * windows.in_channels;
  for (int64_t n = 0; n < share.images; ++n) {
    for (int64_t c = from; c < to; ++c) {
      const int64_t channel = (share.first + n) * channels + group * windows.in_channels + c;
      const T* source = x + channel * volume(size);
      T* row = target + n * patch.image + (c - from) * patch.plane;
      for (int64_t d = 0; d < patch.extents[0]; ++d) {
        const int64_t z = origin[0] + d;
        for (int64_t h = 0; h < patch.extents[1]; ++h, row += patch.extents[2]) {
          const int64_t y = origin[1] + h;
          if (z < 0 || z >= size[0] || y < 0 || y >= size[1] || left >= right) {
            std::fill(row, row + patch.extents[2], T(0));
            continue;
          }
          for (int64_t w = 0; w < left; ++w) row[w] = 0;
          copy_short(source + (z * size[1] + y) * size[2] + origin[2] + left, right - left, row + left);
          for (int64_t w = right; w < patch.extents[2]; ++w) row[w] = 0;
        }
      }
    }
  }
}

template void copy_patch<float>(const Windows&, const Units&, const Patch&, const Share&, int64_t, int64_t, int64_t,
                                const float*, float*);
template void copy_patch<double>(const Windows&, const Units&, const Patch&, const Share&, int64_t, int64_t, int64_t,
                                 const double*, double*);

}  // namespace rushlight::convolution
