"""Resizing images, sliding blocks, channels into pixels, sampling on a grid."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.errors import DtypeError, ShapeError, UnsupportedError
from rushlight.nn.functional import pooling
from rushlight.nn.functional.dimensions import Sizes, per_dimension
from rushlight.ops import folding as ops
from rushlight.ops import grid_sampling as sampling
from rushlight.ops.resampling import resample
from rushlight.tensor import Tensor
from rushlight.tensor.creation import linspace
from rushlight.tensor.tensor import shown_as, wrap

_LINEAR = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact")


def interpolate(
    input: Tensor,
    size: Sizes | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resizes the spatial dimensions of (N, C, *S), one to three of them, to `size` or by `scale_factor`.

    Args:
        size: the new spatial size, an int or one for each dimension.
        scale_factor: in place of `size`, what to multiply the sizes with (and round down).
        mode: "nearest", "nearest-exact", "linear" (3D input), "bilinear" and "bicubic" (4D), "trilinear" (5D), "area".
        align_corners: for the linear and cubic modes, whether the centers of the corner pixels are aligned, rather
            than the corners of the corner pixels (the default).
        recompute_scale_factor: whether positions are computed from the sizes before and after, rather than from
            `scale_factor`.
        antialias: for "bilinear" and "bicubic", whether a filter as wide as the step is used when sizes shrink.

    Raises:
        ShapeError: both or neither of `size` and `scale_factor`, an unknown mode, one that doesn't go with the
            input's number of dimensions or with the other options, an empty output.

    Example:
        >>> import rushlight as torch
        >>> torch.nn.functional.interpolate(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
        tensor([[[1., 1., 2., 2.]]])
    """
    dims = input.ndim - 2
    if mode not in _MODES:
        raise ShapeError(f"interpolate: unknown mode {mode!r}; it may be one of {', '.join(_MODES)}")
    if mode in _LINEAR:
        align_corners = bool(align_corners)
    elif align_corners is not None:
        raise ShapeError(
            "interpolate: align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear"
        )
    if not 1 <= dims <= 3:
        raise ShapeError(
            f"interpolate: expected an input (N, C, *S) with one to three spatial dimensions, got {tuple(input.shape)}"
        )
    if _LINEAR.get(mode, dims) != dims:
        raise UnsupportedError(
            f"interpolate: got {input.ndim}D input, but mode {mode!r} needs {_LINEAR[mode] + 2}D input; "
            "the modes are linear for 3D, bilinear and bicubic for 4D, trilinear for 5D"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ShapeError("interpolate: antialias option is restricted to bilinear and bicubic modes")
    sizes, factors = _output_size(input, size, scale_factor, recompute_scale_factor)
    if min(input.shape[2:]) < 1 or min(sizes) < 1:
        raise ShapeError(
            f"interpolate: input and output sizes should be greater than 0, but got input {tuple(input.shape[2:])} and "
            f"output {sizes}"
        )
    if mode == "area":
        return pooling.adaptive_avg_pool("interpolate", dims, input, sizes)
    if mode in _LINEAR and not input.is_floating_point():
        raise DtypeError(f"interpolate: mode {mode!r} needs a floating tensor, got {input.dtype}; call .float() first")
    kind = "nearest" if mode == "nearest" else mode if mode == "nearest-exact" else "linear"
    if mode == "bicubic":
        kind = "cubic"
    if antialias:
        kind += "-antialias"
    result = input
    # The dimensions that shrink come first, then less is left to do for the others.
    for axis in sorted(range(dims), key=lambda axis: sizes[axis] / input.shape[2 + axis]):
        before, after, factor = input.shape[2 + axis], sizes[axis], factors[axis]
        if before != after or (factor is not None and factor != 1):
            result = resample(result, *_taps(kind, before, after, factor, bool(align_corners)), dim=2 + axis)
    name = {"nearest-exact": "NearestExact", "linear": "Linear"}.get(mode, mode.capitalize())
    return shown_as(f"Upsample{name}{dims}DBackward0", result if result is not input else input.clone())


def _output_size(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The new size, and the factors that positions are computed from, where they are."""
    dims = input.ndim - 2
    if (size is None) == (scale_factor is None):
        which = "either size or scale_factor should be defined" if size is None else (
            "only one of size or scale_factor should be defined"
        )  # fmt: skip
        raise ShapeError(f"interpolate: {which}")
    if size is not None:
        if recompute:
            raise ShapeError("interpolate: recompute_scale_factor is not meaningful with an explicit size")
        if isinstance(size, Sequence) and len(size) != dims:
            raise ShapeError(
                f"interpolate: input has {dims} spatial dimensions, {tuple(input.shape[2:])}, but size is {tuple(size)}"
            )
        return per_dimension("interpolate", "size", size, dims), (None,) * dims
    factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * dims
    if len(factors) != dims:
        raise ShapeError(
            f"interpolate: input has {dims} spatial dimensions, {tuple(input.shape[2:])}, but scale_factor is {factors}"
        )
    if not all(math.isfinite(f) and abs(f) < 2**31 for f in factors):
        raise ShapeError(f"interpolate: scale_factor must be finite, got {factors}")
    sizes = tuple(math.floor(n * f) for n, f in zip(input.shape[2:], factors, strict=True))
    return sizes, (None,) * dims if recompute else factors


@functools.lru_cache(maxsize=256)
def _taps(
    kind: str, before: int, after: int, factor: float | None, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The inputs that each output is made of, with their weights, and the same map transposed; see `resample`."""
    outputs = np.arange(after, dtype=np.float64)
    step = 1 / factor if factor else before / after
    if align_corners:
        step = (before - 1) / (after - 1) if after > 1 else 0.0
        centers = outputs * step
    else:
        centers = (outputs + 0.5) * step - 0.5
    if kind == "nearest":
        # In float32, as PyTorch computes it: which pixel is taken may hang on the last bit.
        index = np.floor(np.arange(after, dtype=np.float32) * np.float32(step))[:, None]
        if after == before:
            index = outputs[:, None]
        weight = np.ones_like(index)
    elif kind == "nearest-exact":
        index = np.floor((np.arange(after, dtype=np.float32) + np.float32(0.5)) * np.float32(step))[:, None]
        weight = np.ones_like(index)
    elif kind.endswith("antialias"):
        index, weight = _filtered(kind, before, outputs, step)
    elif kind == "linear":
        centers = np.maximum(centers, 0)
        first = np.minimum(np.floor(centers), before - 1)
        index = np.stack([first, first + 1], axis=1)
        fraction = np.clip(centers - first, 0, 1)
        weight = np.stack([1 - fraction, fraction], axis=1)
    else:
        first = np.floor(centers)
        index = first[:, None] + np.arange(-1, 3)
        weight = _cubic(centers[:, None] - index, -0.75)
    index = np.clip(index, 0, before - 1).astype(np.int64)
    return tuple(wrap(a) for a in (index, weight.astype(np.float64), *_transposed(index, weight, before)))  # type: ignore[return-value]


def _cubic(distance: Any, a: float) -> Any:
    """The kernel of cubic convolution: Keys, "Cubic convolution interpolation for digital image processing" (1981)."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _filtered(kind: str, before: int, outputs: Any, step: float) -> tuple[Any, Any]:
    """Taps of a triangle or cubic filter as wide as the step, weights adding up to one."""
    radius = (1 if kind.startswith("linear") else 2) * max(step, 1.0)
    centers = (outputs + 0.5) * step
    first = np.maximum(np.trunc(centers - radius + 0.5), 0)
    last = np.minimum(np.trunc(centers + radius + 0.5), before)
    index = first[:, None] + np.arange(int(np.max(last - first)))
    distance = (index - centers[:, None] + 0.5) / max(step, 1.0)
    weight = np.maximum(1 - np.abs(distance), 0) if kind.startswith("linear") else _cubic(distance, -0.5)
    weight = np.where(index < last[:, None], weight, 0)
    return index, weight / weight.sum(axis=1, keepdims=True)


def _transposed(index: Any, weight: Any, inputs: int) -> tuple[Any, Any]:
    """For each input, the outputs that it has a part in, with their weights; rows are filled up with weight 0."""
    used = weight != 0
    source, values = index[used], weight[used]
    outputs = np.broadcast_to(np.arange(len(index))[:, None], index.shape)[used]
    order = np.argsort(source, kind="stable")
    source, values, outputs = source[order], values[order], outputs[order]
    counts = np.bincount(source, minlength=inputs)
    taps = max(int(counts.max()), 1)
    position = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    back_index = np.zeros((inputs, taps), np.int64)
    back_weight = np.zeros((inputs, taps), np.float64)
    back_index[source, position] = outputs
    back_weight[source, position] = values
    return back_index, back_weight


def upsample(
    input: Tensor,
    size: Sizes | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` by its old name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: Sizes | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` with mode "nearest", by its old name."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(
    input: Tensor, size: Sizes | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` with mode "bilinear" and aligned corners, by its old name."""
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


# Sliding blocks


def unfold(input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Tensor:
    """The sliding blocks of (N, C, H, W) as columns (N, C * KH * KW, blocks). See `rushlight.nn.Unfold`."""
    if input.ndim == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    if input.ndim != 4:
        raise ShapeError(f"unfold: expected 3D or 4D (batch mode) input, (N, C, H, W), but got {tuple(input.shape)}")
    result: Tensor = ops.image_to_columns(
        input,
        kernel_size=per_dimension("unfold", "kernel_size", kernel_size, 2),
        dilation=per_dimension("unfold", "dilation", dilation, 2),
        padding=per_dimension("unfold", "padding", padding, 2),
        stride=per_dimension("unfold", "stride", stride, 2),
    )
    return result


def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Adds columns (N, C * KH * KW, blocks) up to an image (N, C, *output_size). See `rushlight.nn.Fold`."""
    if input.ndim == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    if input.ndim != 3:
        raise ShapeError(f"fold: expected 2D or 3D (batch mode) input, (N, C * KH * KW, L), got {tuple(input.shape)}")
    result: Tensor = ops.columns_to_image(
        input,
        output_size=per_dimension("fold", "output_size", output_size, 2),
        kernel_size=per_dimension("fold", "kernel_size", kernel_size, 2),
        dilation=per_dimension("fold", "dilation", dilation, 2),
        padding=per_dimension("fold", "padding", padding, 2),
        stride=per_dimension("fold", "stride", stride, 2),
    )
    return result


# Channels and pixels


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Rearranges (*, C * r * r, H, W) to (*, C, H * r, W * r). See `rushlight.nn.PixelShuffle`."""
    return ops.pixel_shuffle(input, factor=upscale_factor)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Rearranges (*, C, H * r, W * r) to (*, C * r * r, H, W). See `rushlight.nn.PixelUnshuffle`."""
    return ops.pixel_unshuffle(input, factor=downscale_factor)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Takes the channels of (N, C, *S) one from each of `groups` groups in turn. See `rushlight.nn.ChannelShuffle`."""
    if input.ndim < 3:
        raise ShapeError(
            f"channel_shuffle: expects an input with more than 2 dims (N, C, *S), got {tuple(input.shape)}"
        )
    if groups < 1:
        raise ShapeError(f"channel_shuffle: number of groups to divide channels in must be positive, got {groups}")
    batch, channels, *size = input.shape
    if channels % groups:
        raise ShapeError(
            f"channel_shuffle: number of channels must be divisible by groups. Got {channels} channels and {groups} "
            "groups"
        )
    return input.reshape(batch, groups, channels // groups, *size).transpose(1, 2).reshape(input.shape)


# Sampling on a grid


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid of (x, y) or (x, y, z) at which an affine map of matrices `theta` samples an image of `size`.

    Args:
        theta: (N, 2, 3) for a size (N, C, H, W), or (N, 3, 4) for (N, C, D, H, W).
        align_corners: whether -1 and 1 are the centers of the corner pixels, rather than the image's edges (default).

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3), for `grid_sample`.

    Source: Jaderberg et al., "Spatial Transformer Networks" (2015), https://arxiv.org/abs/1506.02025.
    """
    dims = len(size) - 2
    if dims not in (2, 3) or theta.ndim != 3 or tuple(theta.shape) != (size[0], dims, dims + 1):
        raise ShapeError(
            "affine_grid: expected a batch of 2D affine matrices of shape Nx2x3 for size (N, C, H, W), or of 3D ones "
            f"of shape Nx3x4 for (N, C, D, H, W): got theta {tuple(theta.shape)} and size {tuple(size)}"
        )
    if not theta.is_floating_point():
        raise DtypeError(f"affine_grid: expected theta to have floating point type, but got {theta.dtype}")
    if min(size) < 1:
        raise ShapeError(f"affine_grid: expected non-zero, positive output size, got {tuple(size)}")
    spatial = tuple(size[2:])
    axes = []
    for n in spatial:
        # In PyTorch's arithmetic: an identity map hits pixels exactly, where the last bit decides on the neighbours.
        axis = linspace(-1, 1, n, dtype=theta.dtype).array if n > 1 else np.zeros(1, theta.array.dtype)
        axes.append(axis if align_corners else axis * (n - 1) / n)
    columns = [*reversed(np.meshgrid(*axes, indexing="ij")), np.ones(spatial)]
    base = wrap(np.stack(columns, axis=-1).reshape(1, -1, dims + 1).astype(theta.array.dtype))
    return (base @ theta.transpose(1, 2)).reshape(size[0], *spatial, dims)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Samples (N, C, H, W) at the points of `grid` (N, H', W', 2), or (N, C, D, H, W) at (N, D', H', W', 3).

    Args:
        grid: coordinates (x, y) or (x, y, z), from -1 to 1 over the image; x runs along the last dimension.
        mode: "bilinear" (trilinear for 5D input), "nearest", or for 4D input "bicubic".
        padding_mode: what lies outside the image: "zeros", "border" (the nearest pixel), "reflection".
        align_corners: whether -1 and 1 are the centers of the corner pixels, rather than the image's edges (default).

    Returns:
        (N, C, H', W') or (N, C, D', H', W').

    Source: Jaderberg et al., "Spatial Transformer Networks" (2015), https://arxiv.org/abs/1506.02025.
    """
    dims = input.ndim - 2
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ShapeError(f"grid_sample: expected mode to be 'bilinear', 'nearest' or 'bicubic', but got {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ShapeError(
            f"grid_sample: expected padding_mode to be 'zeros', 'border', or 'reflection', but got {padding_mode!r}"
        )
    if align_corners is None:
        warnings.warn("grid_sample: align_corners is not given, and False by default; say which you mean", stacklevel=2)
    if dims not in (2, 3) or grid.ndim != input.ndim or grid.shape[0] != input.shape[0] or grid.shape[-1] != dims:
        raise ShapeError(
            "grid_sample: expected an input (N, C, H, W) with a grid (N, H', W', 2), or (N, C, D, H, W) with "
            f"(N, D', H', W', 3): got {tuple(input.shape)} and {tuple(grid.shape)}"
        )
    if mode == "bicubic" and dims == 3:
        raise ShapeError("grid_sample: mode 'bicubic' needs a 4D input")
    if input.dtype != grid.dtype:
        raise DtypeError(f"grid_sample: input and grid must have the same dtype, got {input.dtype} and {grid.dtype}")
    if min(input.shape[2:]) < 1:
        raise ShapeError(f"grid_sample: expected input to have non-empty spatial dimensions, got {tuple(input.shape)}")
    operation = sampling.composed if mode == "bicubic" else sampling.grid_sample
    return operation(input, grid, mode=mode, padding_mode=padding_mode, align_corners=bool(align_corners))
