// A convolution, and the gradient with respect to its input, as one thing: sums over windows of an image.
//
//   y[n, o, p] = bias[o] + sum over channels c and taps t of w[o, c, t.weight] * x[n, c, p * step + t.offset]
//
// for every position p of a grid, x being zero outside its extents. The gradient with respect to the input of a strided
// convolution is one such sum for each remainder of the position by the stride, over the taps that meet it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace rushlight::convolution {

using Extents = std::array<int64_t, 3>;  // depth, height, width; leading ones where there are fewer dimensions

inline int64_t volume(const Extents& extents) { return extents[0] * extents[1] * extents[2]; }

struct Tap {
  Extents offset;  // from the position times the step, in the input
  int64_t weight;  // which number of the window's weights
};

struct Windows {
  int64_t images, groups;
  int64_t in_channels, out_channels;  // of one group
  Extents size;                       // of the input
  Extents positions, step;
  std::vector<Tap> taps;
  // Where the results lie in the output: items between neighbouring positions, of a whole channel, before the first.
  Extents out_step;
  int64_t out_plane, out_base;

  int64_t depth() const { return in_channels * static_cast<int64_t>(taps.size()); }
  bool in_order() const;   // whether the taps are all weights of the window, one after the other
  bool dense_3x3() const;  // windows of 3x3 neighbours, in order or in reverse, with steps of 1; results side by side
  bool dense_output() const {
    return out_base == 0 && out_step[2] == 1 && out_step[1] == positions[2] &&
           out_step[0] == positions[1] * positions[2];
  }
};

// How the positions are cut into units of work: several images, or a band of one image along its first long dimension.
struct Units {
  int64_t images;  // in one unit
  int dimension;   // that bands lie along
  int64_t band;    // positions along it
  int64_t image_units, bands;

  // Units of about `wanted` positions, whose patch of the input has at most `limit` items if that leaves enough of
  // them.
  Units(const Windows& windows, int64_t wanted, int64_t limit);
  int64_t count() const { return image_units * bands; }
};

// The part of the input that one unit reads, copied with its zero border.
struct Patch {
  Extents low, extents;  // of offsets; of one image's patch
  int64_t plane, image;  // items of one channel, of one image

  Patch(const Windows& windows, const Units& units);

  // For each k = (channel, tap), where its numbers lie from a position's own offset.
  std::vector<int64_t> tap_offsets(const Windows& windows) const;
};

// One unit's share: images [first, first + images), positions [begin, end) along the banded dimension.
struct Share {
  int64_t first, images, begin, end;
  Extents positions;

  Share(const Windows& windows, const Units& units, int64_t index);
  int64_t count() const { return images * volume(positions); }
  // Where each position's window begins in the patch.
  void position_offsets(const Windows& windows, const Patch& patch, int64_t* offsets) const;
};

// Copies channels [from, to) of a group of x for one share to `target`, zeros where the windows leave the image.
template <class T>
void copy_patch(const Windows& windows, const Units& units, const Patch& patch, const Share& share, int64_t group,
                int64_t from, int64_t to, const T* x, T* target);

}  // namespace rushlight::convolution
