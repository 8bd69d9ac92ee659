"""Blocks of images as columns, channels as pixels, and the way back: each is the other's gradient."""

import itertools
import math

from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, operation


def block_counts(name, size, kernel_size, dilation, padding, stride):
    """How many blocks fit along each dimension; raises ShapeError where none does or an option is out of range."""
    dims = len(kernel_size)
    for option, values, least in (
        ("kernel_size", kernel_size, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        if len(values) != dims or any(v < least or v > 2**31 for v in values):
            kind = "greater than zero" if least else "non-negative"
            raise ShapeError(f"{name}: {option} should be {kind} in each of {dims} dimensions, but got {tuple(values)}")
    counts = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel_size, dilation, padding, stride, strict=True)
    )
    if any(n < 1 for n in counts):
        raise ShapeError(
            f"{name}: given spatial size {tuple(size)}, kernel_size={tuple(kernel_size)}, dilation={tuple(dilation)}, "
            f"padding={tuple(padding)} and stride={tuple(stride)}, the blocks along each dimension would number "
            f"{counts}: the kernel is larger than the padded input"
        )
    return counts


def _taps(counts, kernel_size, dilation, stride):
    """For each position in the kernel: that, and the slices of the padded image that it meets."""
    for position in itertools.product(*map(range, kernel_size)):
        yield (
            position,
            tuple(
                slice(i * d, i * d + (n - 1) * s + 1, s)
                for i, d, n, s in zip(position, dilation, counts, stride, strict=True)
            ),
        )


@operation()
def image_to_columns(xp, x, *, kernel_size, dilation, padding, stride):
    """The blocks of x (N, C, *S) as columns (N, C * prod(kernel_size), blocks)."""
    counts = block_counts("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    padded = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    columns = [padded[(..., *slices)] for _, slices in _taps(counts, kernel_size, dilation, stride)]
    stacked = xp.stack(columns, axis=2)
    return stacked.reshape(x.shape[0], x.shape[1] * math.prod(kernel_size), math.prod(counts))


@image_to_columns.shape
def _(x, *, kernel_size, dilation, padding, stride):
    if len(x.shape) != 2 + len(kernel_size):
        raise ShapeError(
            f"unfold: expected an input (N, C, *S) of {2 + len(kernel_size)} dimensions, got {tuple(x.shape)}"
        )
    counts = block_counts("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    return Spec((x.shape[0], x.shape[1] * math.prod(kernel_size), math.prod(counts)), x.dtype)


@image_to_columns.gradient
def _(g, _y, _x, **options):
    return columns_to_image(g, output_size=tuple(_x.shape[2:]), **options)


@image_to_columns.samples
def _(make):
    options = {"kernel_size": (2, 3), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
    yield Sample((make(2, 3, 5, 6),), options)
    yield Sample((make(1, 1, 2, 2),), {k: (1 if k != "padding" else 0,) * 2 for k in options})
    yield Sample((make(0, 2, 4, 5),), options)


@operation()
def columns_to_image(xp, x, *, output_size, kernel_size, dilation, padding, stride):
    """Columns (N, C * prod(kernel_size), blocks) added up where their blocks lie in an image (N, C, *output_size)."""
    counts = block_counts("fold", output_size, kernel_size, dilation, padding, stride)
    channels = x.shape[1] // math.prod(kernel_size)
    blocks = x.reshape(x.shape[0], channels, *kernel_size, *counts)
    padded = xp.zeros((x.shape[0], channels, *(n + 2 * p for n, p in zip(output_size, padding, strict=True))), x.dtype)
    for position, slices in _taps(counts, kernel_size, dilation, stride):
        block = blocks[(slice(None), slice(None), *position)]
        if hasattr(padded, "at"):
            padded = padded.at[(..., *slices)].add(block)
        else:
            padded[(..., *slices)] += block
    return padded[(..., *(slice(p, p + n) for n, p in zip(output_size, padding, strict=True)))]


@columns_to_image.shape
def _(x, *, output_size, kernel_size, dilation, padding, stride):
    if len(x.shape) != 3 or len(output_size) != len(kernel_size):
        raise ShapeError(
            f"fold: expected an input (N, C * prod(kernel_size), blocks) and an output_size of {len(kernel_size)} "
            f"dimensions, got {tuple(x.shape)} and output_size={tuple(output_size)}"
        )
    counts = block_counts("fold", output_size, kernel_size, dilation, padding, stride)
    block = math.prod(kernel_size)
    if x.shape[1] % block:
        raise ShapeError(
            f"fold: expected size of input's dimension 1 to be divisible by the product of kernel_size "
            f"{tuple(kernel_size)}, {block}, but got {x.shape[1]}"
        )
    if x.shape[2] != math.prod(counts):
        raise ShapeError(
            f"fold: output_size={tuple(output_size)} with kernel_size={tuple(kernel_size)}, dilation="
            f"{tuple(dilation)}, padding={tuple(padding)} and stride={tuple(stride)} has "
            f"{' * '.join(map(str, counts))} = {math.prod(counts)} blocks, but the input has {x.shape[2]} columns"
        )
    return Spec((x.shape[0], x.shape[1] // block, *output_size), x.dtype)


@columns_to_image.gradient
def _(g, _y, _x, *, output_size, **options):
    return image_to_columns(g, **options)


@columns_to_image.samples
def _(make):
    options = {"kernel_size": (2, 3), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
    yield Sample((make(2, 18, 6),), {"output_size": (5, 6), **options})
    yield Sample((make(1, 2, 4),), {"output_size": (2, 2), **{k: (1 if k != "padding" else 0,) * 2 for k in options}})


@operation(kernel="pixel_shuffle")
def pixel_shuffle(xp, x, *, factor):
    """x (*, C * r * r, H, W) as (*, C, H * r, W * r), for a factor r.

    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network" (2016).
    """
    *lead, channels, height, width = x.shape
    blocks = x.reshape(math.prod(lead) * channels // factor**2, factor, factor, height, width)
    return xp.transpose(blocks, (0, 3, 1, 4, 2)).reshape(*lead, channels // factor**2, height * factor, width * factor)


@pixel_shuffle.shape
def _(x, *, factor):
    if len(x.shape) < 3:
        raise ShapeError(f"pixel_shuffle: expected at least 3 dimensions (*, C, H, W), got {tuple(x.shape)}")
    if factor < 1:
        raise ShapeError(f"pixel_shuffle: expects a positive upscale_factor, but got {factor}")
    *lead, channels, height, width = x.shape
    if channels % factor**2:
        raise ShapeError(
            f"pixel_shuffle: expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {factor**2}"
        )
    return Spec((*lead, channels // factor**2, height * factor, width * factor), x.dtype)


@pixel_shuffle.gradient
def _(g, _y, _x, *, factor):
    return pixel_unshuffle(g, factor=factor)


@pixel_shuffle.samples
def _(make):
    yield Sample((make(2, 8, 3, 2),), {"factor": 2})
    yield Sample((make(9, 1, 5),), {"factor": 3})
    yield Sample((make(0, 4, 2, 2),), {"factor": 2})


@operation(kernel="pixel_unshuffle")
def pixel_unshuffle(xp, x, *, factor):
    """x (*, C, H * r, W * r) as (*, C * r * r, H, W), for a factor r."""
    *lead, channels, height, width = x.shape
    height, width = height // factor, width // factor
    blocks = x.reshape(math.prod(lead) * channels, height, factor, width, factor)
    return xp.transpose(blocks, (0, 2, 4, 1, 3)).reshape(*lead, channels * factor**2, height, width)


@pixel_unshuffle.shape
def _(x, *, factor):
    if len(x.shape) < 3:
        raise ShapeError(f"pixel_unshuffle: expected at least 3 dimensions (*, C, H, W), got {tuple(x.shape)}")
    if factor < 1:
        raise ShapeError(f"pixel_unshuffle: expects a positive downscale_factor, but got {factor}")
    *lead, channels, height, width = x.shape
    if height % factor or width % factor:
        raise ShapeError(
            f"pixel_unshuffle: expects height and width to be divisible by downscale_factor, but {height} x {width} "
            f"isn't divisible by {factor}"
        )
    return Spec((*lead, channels * factor**2, height // factor, width // factor), x.dtype)


@pixel_unshuffle.gradient
def _(g, _y, _x, *, factor):
    return pixel_shuffle(g, factor=factor)


@pixel_unshuffle.samples
def _(make):
    yield Sample((make(2, 3, 6, 4),), {"factor": 2})
    yield Sample((make(1, 3, 6),), {"factor": 3})
    yield Sample((make(0, 1, 2, 2),), {"factor": 2})
