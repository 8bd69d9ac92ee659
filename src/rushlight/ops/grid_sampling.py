"""Images sampled at the points of a grid (Jaderberg et al., 2015), and the gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, differentiated, operation
from rushlight.ops.elementwise import absolute, clamp, floor, remainder, round_
from rushlight.ops.gathering import add_at
from rushlight.ops.linear import check_dtypes

# The grid's coordinates are those of the image's axes in reverse order: x, which runs along the last one, first. Each
# sample is a sum over corners, the combinations of a pixel along each axis, of their weights times the image.


def _position(xp: Any, coordinate: Any, n: int, padding_mode: str, align_corners: bool) -> tuple[Any, Any]:
    """Where a coordinate is along an axis of n pixels, in pixels, and how fast that moves with it."""
    scale = (n - 1) / 2 if align_corners else n / 2
    at = (coordinate + 1) * scale if align_corners else ((coordinate + 1) * n - 1) * 0.5
    slope = xp.full_like(at, scale)
    if padding_mode == "zeros":
        return at, slope
    if padding_mode == "reflection":
        low, span = (0.0, n - 1) if align_corners else (-0.5, n)
        if span == 0:
            return xp.zeros_like(at), xp.zeros_like(at)
        slope = xp.where(at < low, -slope, slope)
        away = xp.abs(at - low)
        turns = xp.floor(away / span)
        rest = away - turns * span
        odd = turns % 2 == 1
        at, slope = xp.where(odd, span - rest, rest) + low, xp.where(odd, -slope, slope)
    inside = (at > 0) & (at < n - 1)
    return xp.where(at > 0, xp.minimum(at, n - 1), 0).astype(at.dtype), xp.where(inside, slope, 0)


def _corners(xp: Any, grid: Any, size: Any, mode: str, padding_mode: str, align_corners: bool) -> Any:
    """For each corner: the flat index of its pixel, its weight, and the weight's slope for each axis; (N, points)."""
    corners: Any = [(0, 1, True, ())]
    for axis, n in enumerate(size):
        coordinate = grid[..., len(size) - 1 - axis].reshape(grid.shape[0], math.prod(grid.shape[1:-1]))
        at, slope = _position(xp, coordinate, n, padding_mode, align_corners)
        if mode == "nearest":
            pixels = [(xp.rint(at), xp.ones_like(at), xp.zeros_like(at))]
        else:
            first = xp.floor(at)
            pixels = [(first, 1 - (at - first), -slope), (first + 1, at - first, slope)]
        corners = [
            (
                index * n + xp.where((pixel >= 0) & (pixel <= n - 1), pixel, 0).astype(xp.int64),
                weight * share,
                inside & (pixel >= 0) & (pixel <= n - 1),
                (*(s * share for s in slopes), weight * moving),
            )
            for index, weight, inside, slopes in corners
            for pixel, share, moving in pixels
        ]
    return [(i, xp.where(inside, w, 0), [xp.where(inside, s, 0) for s in ss]) for i, w, inside, ss in corners]


def _wide(x: Any) -> Any:
    """x, in float32 where it has a half precision."""
    return x.astype(np.float32) if x.dtype.itemsize < 4 else x


def _flat(x: Any) -> Any:
    return _wide(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _taken(xp: Any, flat: Any, index: Any) -> Any:
    return xp.take_along_axis(flat, xp.broadcast_to(index[:, None], (*flat.shape[:2], index.shape[1])), 2)


@operation(kernel="grid_sample")
def grid_sample(xp: Any, x: Any, grid: Any, *, mode: str, padding_mode: str, align_corners: bool) -> Any:
    """x (N, C, H, W) at the points of grid (N, H', W', 2), or (N, C, D, H, W) at (N, D', H', W', 3).

    mode: "bilinear" or "nearest". padding_mode: "zeros", "border" or "reflection".
    """
    flat = _flat(x)
    result: Any = 0
    for index, weight, _ in _corners(xp, _wide(grid), x.shape[2:], mode, padding_mode, align_corners):
        result = result + _taken(xp, flat, index) * weight[:, None]
    return result.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(x.dtype)


@grid_sample.shape
def _(x: Any, grid: Any, *, mode: str, padding_mode: str, align_corners: bool) -> Spec:
    axes = len(x.shape) - 2
    if axes not in (2, 3) or len(grid.shape) != axes + 2 or grid.shape[-1] != axes or grid.shape[0] != x.shape[0]:
        raise ShapeError(f"grid_sample: a grid of shape {tuple(grid.shape)} doesn't fit the images {tuple(x.shape)}")
    check_dtypes("grid_sample", x, grid)
    return Spec((*x.shape[:2], *grid.shape[1:-1]), x.dtype)


@grid_sample.gradient
def _(g: Any, _y: Any, x: Any, grid: Any, **options: Any) -> tuple[Any, Any]:
    return grid_sample_gradient(g, x, grid, **options)  # type: ignore[no-any-return]


@grid_sample.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    for padding_mode in ("zeros", "border", "reflection"):
        for align_corners in (False, True):
            options = {"mode": "bilinear", "padding_mode": padding_mode, "align_corners": align_corners}
            yield Sample((make(2, 3, 4, 5), make(2, 3, 6, 2, low=-1.6, high=1.6)), options)
            yield Sample((make(1, 2, 3, 1, 4), make(1, 2, 2, 3, 3, low=-1.6, high=1.6)), options)
            yield Sample((make(2, 1, 4, 3), make(2, 2, 3, 2, low=-1.6, high=1.6)), {**options, "mode": "nearest"})
    yield Sample((make(1, 0, 4, 3), make(1, 2, 3, 2)), options)
    yield Sample((make(1, 2, 4, 3), make(1, 0, 3, 2)), options)


@operation(kernel="grid_sample_gradient")
def grid_sample_gradient(
    xp: Any, g: Any, x: Any, grid: Any, *, mode: str, padding_mode: str, align_corners: bool
) -> tuple[Any, Any]:
    """The gradients of `grid_sample` for x and grid, given that of its result."""
    batch, channels, *size = x.shape
    flat, rows = _flat(x), _flat(g)
    of_x = np.zeros_like(flat)
    moved: Any = 0
    images, planes = np.arange(batch)[:, None, None], np.arange(channels)[:, None]
    for index, weight, slopes in _corners(np, _wide(grid), size, mode, padding_mode, align_corners):
        add_at(of_x, (images, planes, index[:, None]), rows * weight[:, None])
        moved = moved + (rows * _taken(np, flat, index)).sum(1)[..., None] * np.stack(slopes[::-1], -1)
    return of_x.reshape(x.shape).astype(x.dtype), moved.reshape(grid.shape).astype(grid.dtype)


@grid_sample_gradient.shape
def _(g: Any, x: Any, grid: Any, **options: Any) -> tuple[Spec, Spec]:
    expected = grid_sample.spec(x, grid, **options)
    if tuple(g.shape) != expected.shape:
        raise ShapeError(f"grid_sample_gradient: got a gradient of shape {tuple(g.shape)}, needed {expected.shape}")
    return Spec(tuple(x.shape), x.dtype), Spec(tuple(grid.shape), grid.dtype)


@grid_sample_gradient.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    for sample in grid_sample.all_samples(make):
        x, grid = sample.args
        yield Sample((make(*x.shape[:2], *grid.shape[1:-1]), x, grid), sample.options)


def composed(input: Any, grid: Any, *, mode: str, padding_mode: str, align_corners: bool) -> Any:
    """`grid_sample` as operations on Tensors, which can be differentiated as often as one likes; also "bicubic"."""
    batch, channels, *size = input.shape
    positions = []
    for axis, n in enumerate(size):
        point = grid.select(-1, len(size) - 1 - axis)
        position = (point + 1) * ((n - 1) / 2) if align_corners else ((point + 1) * n - 1) * 0.5
        if mode != "bicubic":
            position = _inside(position, n, padding_mode, align_corners)
        positions.append(position)
    # For each axis: candidates (pixel, weight), of which every combination adds to the sample.
    candidates = [_neighbours(position, mode) for position in positions]
    flat = input.reshape(batch, channels, math.prod(size))
    points = math.prod(grid.shape[1:-1])
    result: Any = None
    for combination in _products(candidates):
        index: Any = 0
        factor: Any = None
        for (pixel, weight), n in zip(combination, size, strict=True):
            if mode == "bicubic":
                pixel = _inside(pixel, n, padding_mode, align_corners)
            known = pixel.detach()
            clipped = clamp(known, 0, n - 1)
            if padding_mode == "zeros":
                weight = weight * (known == clipped).to(input.dtype)
            index = index * n + clipped.to(dtypes.int64)
            factor = weight if factor is None else factor * weight
        gathered = flat.gather(2, index.reshape(batch, 1, points).expand(batch, channels, points))
        part = gathered.reshape(batch, channels, *grid.shape[1:-1]) * factor.unsqueeze(1)
        result = part if result is None else result + part
    return result


def _inside(position: Any, n: int, padding_mode: str, align_corners: bool) -> Any:
    """`position` moved into the image by "border" or "reflection"."""
    if padding_mode == "reflection":
        low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
        span = high - low
        if span == 0:
            return position * 0
        away = absolute(position - low)
        turns = floor((away / span).detach())
        rest = away - turns * span
        odd = remainder(turns, 2)
        position = (rest * (1 - odd) + (span - rest) * odd) + low
    return position if padding_mode == "zeros" else clamp(position, 0, n - 1)


def _neighbours(position: Any, mode: str) -> list[tuple[Any, Any]]:
    """The pixels around a position along one axis, with their weights."""
    if mode == "nearest":
        pixel = round_(position.detach())
        return [(pixel, position * 0 + 1)]
    first = floor(position.detach())
    fraction = position - first
    if mode == "bilinear":
        return [(first, 1 - fraction), (first + 1, fraction)]
    a = -0.75  # see _cubic
    near, far = [], []
    for d in (fraction, 1 - fraction):
        near.append(((a + 2) * d - (a + 3)) * d * d + 1)
        e = d + 1
        far.append(((a * e - 5 * a) * e + 8 * a) * e - 4 * a)
    return [(first - 1, far[0]), (first, near[0]), (first + 1, near[1]), (first + 2, far[1])]


def _products(candidates: list[list[tuple[Any, Any]]]) -> list[list[tuple[Any, Any]]]:
    combinations: list[list[tuple[Any, Any]]] = [[]]
    for axis in candidates:
        combinations = [[*combination, candidate] for combination in combinations for candidate in axis]
    return combinations


def _composed_gradient(g: Any, x: Any, grid: Any, **options: Any) -> Any:
    from rushlight.autograd.walk import differentiate_composite

    return differentiate_composite(composed, g, (x, grid), options)


grid_sample_gradient.gradient(differentiated(_composed_gradient))
