"""Convolution of one to three spatial dimensions, and its gradients, which are operations of the same family.

The three are the partial derivatives of one trilinear form, so each one's gradients are the other two, to any order.
The gradient with respect to the input is also the transposed convolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, differentiated, operation
from rushlight.ops.linear import activated, check_dtypes, check_residual, finished, in_wide_arithmetic
from rushlight.ops.reduction import sum_

Sizes = Sequence[int]


def _check_options(name: str, spatial: int, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> None:
    for option, values, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if len(values) != spatial:
            raise ShapeError(
                f"{name}: expected {option} to have {spatial} numbers, one for each spatial dimension, but got "
                f"{tuple(values)}"
            )
        if any(n < least for n in values):
            problem = f"negative {option} is" if least == 0 else f"non-positive {option} is"
            raise ShapeError(f"{name}: {problem} not supported, got {option}={tuple(values)}")
    if groups < 1:
        raise ShapeError(f"{name}: groups must be at least 1, but got {groups}")


def _check_weight(name: str, weight: Sizes, groups: int) -> int:
    """The number of spatial dimensions of a weight (O, C/groups, *K) that is right in itself."""
    spatial = len(weight) - 2
    if not 1 <= spatial <= 3:
        raise ShapeError(
            f"{name}: needs a weight (out_channels, in_channels / groups, *kernel_size) with 1 to 3 kernel sizes, "
            f"but got shape {tuple(weight)}"
        )
    if any(n < 1 for n in weight[2:]):
        raise ShapeError(f"{name}: kernel sizes must be at least 1, but got {tuple(weight[2:])}")
    if groups >= 1 and weight[0] % groups:
        raise ShapeError(
            f"{name}: Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size {list(weight)} instead"
        )
    return spatial


def output_size(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> tuple[int, ...]:
    """How many positions a window of `kernel` has along each spatial dimension; below 1 where it doesn't fit."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def channels_last_hint(x: Sizes, channels: int) -> str:
    """What to try where the last dimension has the size that the channels should have."""
    if x[-1] != channels:
        return ""
    order = (0, len(x) - 1, *range(1, len(x) - 1))
    return f"; the last dimension has {channels}: if those are the channels, call input.permute{order} first"


def _positions(
    name: str, x: Sizes, weight: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[int, ...]:
    """The spatial shape of the convolution of shapes x and weight; raises ShapeError where they don't fit."""
    spatial = _check_weight(name, weight, groups)
    _check_options(name, spatial, stride, padding, dilation, groups)
    axes = ("L", "H, W", "D, H, W")[spatial - 1]
    if len(x) != spatial + 2:
        raise ShapeError(
            f"{name}: expected a {spatial + 2}D input (N, C, {axes}) to go with a weight of shape {tuple(weight)}, but "
            f"got input of size {list(x)}"
        )
    if x[1] != weight[1] * groups:
        raise ShapeError(
            f"{name}: Given groups={groups}, weight of size {list(weight)}, expected input{list(x)} to have "
            f"{weight[1] * groups} channels, but got {x[1]} channels instead{channels_last_hint(x, weight[1] * groups)}"
        )
    positions = output_size(x[2:], weight[2:], stride, padding, dilation)
    if any(n < 1 for n in positions):
        padded = " x ".join(str(n + 2 * p) for n, p in zip(x[2:], padding, strict=True))
        kernel = " x ".join(str(d * (k - 1) + 1) for k, d in zip(weight[2:], dilation, strict=True))
        raise ShapeError(
            f"{name}: Calculated padded input size per channel: ({padded}). Kernel size: ({kernel}). Kernel size can't "
            f"be greater than actual input size; input {list(x)}, padding {tuple(padding)}, dilation {tuple(dilation)}"
        )
    return positions


def _windows(kernel: Sizes, positions: Sizes, stride: Sizes, dilation: Sizes) -> Iterator[tuple[Any, Any]]:
    """For each tap of the kernel: its index, and the slices of the padded input that it meets."""
    for tap in itertools.product(*(range(k) for k in kernel)):
        corner = [t * d for t, d in zip(tap, dilation, strict=True)]
        parts = [slice(c, c + (n - 1) * s + 1, s) for c, n, s in zip(corner, positions, stride, strict=True)]
        yield tap, (Ellipsis, *parts)


def _padded(xp: Any, x: Any, padding: Sizes) -> Any:
    return xp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)]) if any(padding) else x


def _in_groups(x: Any, groups: int, axis: int) -> Any:
    """`axis` of x split into (groups, the rest)."""
    return x.reshape((*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :]))


@operation(kernel="convolution")
def convolution(
    xp: Any, x: Any, weight: Any, bias: Any = None, *, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Any:
    """Cross-correlation of x (N, C, *S) with weight (O, C/groups, *K), plus bias (O) -> (N, O, *S').

    S' = (S + 2 padding - dilation (K - 1) - 1) // stride + 1, for one to three spatial dimensions.
    """
    positions = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)

    def compute(x: Any, weight: Any, *bias: Any) -> Any:
        padded = _in_groups(_padded(xp, x, padding), groups, 1)
        weights = _in_groups(weight, groups, 0)
        result: Any = xp.zeros((x.shape[0], groups, weight.shape[0] // groups, *positions), x.dtype)
        for tap, part in _windows(weight.shape[2:], positions, stride, dilation):
            result = result + xp.einsum("ngc...,goc->ngo...", padded[part], weights[(..., *tap)])
        result = result.reshape((x.shape[0], weight.shape[0], *positions))
        return result + bias[0].reshape((-1, *(1 for _ in positions))) if bias else result

    return in_wide_arithmetic(xp, compute, x, weight, *(() if bias is None else (bias,)))


@convolution.shape
def _(x: Any, weight: Any, bias: Any = None, *, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Spec:
    positions = _positions("convolution", x.shape, weight.shape, stride, padding, dilation, groups)
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ShapeError(
            f"convolution: Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with "
            f"{weight.shape[0]} elements, but got bias of size {list(bias.shape)} instead"
        )
    check_dtypes("convolution", x, weight, bias)
    return Spec((x.shape[0], weight.shape[0], *positions), x.dtype)


@convolution.gradient
def _(g: Any, _y: Any, x: Any, weight: Any, _bias: Any = None, **options: Any) -> tuple[Any, ...]:
    return (
        lambda: convolution_input_gradient(g, weight, size=tuple(x.shape), **options),
        lambda: convolution_weight_gradient(g, x, size=tuple(weight.shape), **options),
        lambda: sum_(g, dim=(0, *range(2, g.ndim))),
    )


@operation(kernel="convolution")
def convolution_activation(
    xp: Any, x: Any, weight: Any, bias: Any, residual: Any, *,
    stride: Sizes, padding: Sizes, dilation: Sizes, groups: int, activation: str,
) -> Any:  # fmt: skip
    """activation(convolution(x, weight, bias) + residual), in one sweep: what `compile` makes of these steps."""
    result = convolution.meaning(xp, x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return finished(xp, result, residual, activation)


@convolution_activation.shape
def _(x: Any, weight: Any, bias: Any, residual: Any, *, activation: str, **options: Any) -> Spec:
    spec: Spec = convolution.spec(x, weight, bias, **options)
    check_residual("convolution_activation", spec, residual)
    activated(activation, spec)
    return spec


@differentiated
def _composed(x: Any, weight: Any, bias: Any, residual: Any, *, activation: str, **options: Any) -> Any:
    result = convolution(x, weight, bias, **options)
    return activated(activation, result if residual is None else result + residual)


convolution_activation.gradient(_composed)


@convolution_activation.samples
def _(make: Any) -> Iterator[Sample]:
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    x, weight = (2, 3, 5, 6), (4, 3, 3, 3)
    yield Sample((make(*x), make(*weight), make(4), make(2, 4, 5, 6)), {**options, "activation": "none"})
    yield Sample((make(*x), make(*weight), None, make(2, 4, 5, 6)), {**options, "activation": "gelu"})
    yield Sample((make(*x), make(*weight), make(4), None), {**options, "activation": "tanh"})


@operation(kernel="convolution_input_gradient")
def convolution_input_gradient(
    xp: Any, g: Any, weight: Any, *, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Any:
    """Gradient of convolution with respect to its input, of shape `size` (N, C, *S), from g (N, O, *S').

    With weight (O, C/groups, *K) it is also the transposed convolution of g: from O channels to C. Where several S lead
    to the same S', `size` chooses (PyTorch's output_padding).
    """

    def compute(g: Any, weight: Any) -> Any:
        grouped, weights = _in_groups(g, groups, 1), _in_groups(weight, groups, 0)
        spread = [n + 2 * p for n, p in zip(size[2:], padding, strict=True)]
        result: Any = np.zeros((size[0], groups, weight.shape[1], *spread), g.dtype)
        for tap, part in _windows(weight.shape[2:], g.shape[2:], stride, dilation):
            result[part] += xp.einsum("ngo...,goc->ngc...", grouped, weights[(..., *tap)])
        inner = result[(..., *(slice(p, p + n) for p, n in zip(padding, size[2:], strict=True)))]
        return np.ascontiguousarray(inner).reshape(size)

    return in_wide_arithmetic(xp, compute, g, weight)


@convolution_input_gradient.shape
def _(g: Any, weight: Any, *, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Spec:
    name = "convolution_input_gradient"
    spatial = _check_weight(name, weight.shape, groups)
    if len(g.shape) != spatial + 2 or g.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"{name}: Given transposed=1, weight of size {list(weight.shape)}, expected input{list(g.shape)} to have "
            f"{spatial + 2} dimensions and {weight.shape[0]} channels"
        )
    if any(n < 0 for n in size):
        raise ShapeError(f"{name}: the result would have the size {tuple(size)}, with a negative number")
    positions = _positions(name, size, weight.shape, stride, padding, dilation, groups)
    if (size[0], *positions) != (g.shape[0], *g.shape[2:]):
        raise ShapeError(
            f"{name}: a result of size {tuple(size)} belongs to a gradient of "
            f"{(size[0], weight.shape[0], *positions)}, but got {tuple(g.shape)}"
        )
    check_dtypes(name, g, weight)
    return Spec(tuple(size), g.dtype)


@convolution_input_gradient.gradient
def _(g: Any, _y: Any, gy: Any, weight: Any, *, size: Sizes, **options: Any) -> tuple[Any, ...]:
    return (
        lambda: convolution(g, weight, None, **options),
        lambda: convolution_weight_gradient(gy, g, size=tuple(weight.shape), **options),
    )


@operation(kernel="convolution_weight_gradient")
def convolution_weight_gradient(
    xp: Any, g: Any, x: Any, *, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Any:
    """Gradient of convolution with respect to its weight, of shape `size` (O, C/groups, *K), from g (N, O, *S')."""

    def compute(g: Any, x: Any) -> Any:
        grouped, padded = _in_groups(g, groups, 1), _in_groups(_padded(xp, x, padding), groups, 1)
        rows = grouped.reshape((*grouped.shape[:3], math.prod(g.shape[2:])))
        taps = []
        for _, part in _windows(size[2:], g.shape[2:], stride, dilation):
            columns = padded[part].reshape((*padded.shape[:3], math.prod(g.shape[2:])))
            taps.append(xp.einsum("ngop,ngcp->goc", rows, columns).reshape(size[:2]))
        return xp.stack(taps, -1).reshape(size)

    return in_wide_arithmetic(xp, compute, g, x)


@convolution_weight_gradient.shape
def _(g: Any, x: Any, *, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Spec:
    name = "convolution_weight_gradient"
    positions = _positions(name, x.shape, size, stride, padding, dilation, groups)
    needed = (x.shape[0], size[0], *positions)
    if tuple(g.shape) != needed:
        raise ShapeError(f"{name}: expected a gradient of shape {needed}, but got {tuple(g.shape)}")
    check_dtypes(name, g, x)
    return Spec(tuple(size), g.dtype)


@convolution_weight_gradient.gradient
def _(g: Any, _y: Any, gy: Any, x: Any, *, size: Sizes, **options: Any) -> tuple[Any, ...]:
    return (
        lambda: convolution(x, g, None, **options),
        lambda: convolution_input_gradient(gy, g, size=tuple(x.shape), **options),
    )


_FORMS: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], ...] = (
    # x, weight, options
    ((2, 3, 7, 6), (4, 3, 3, 3), {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}),
    ((2, 4, 8, 9), (6, 2, 3, 2), {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 2}),
    ((1, 3, 6, 6), (3, 1, 3, 3), {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 3}),
    ((2, 5, 4, 4), (3, 5, 1, 1), {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}),
    ((1, 2, 5, 5), (2, 2, 4, 4), {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}),
    ((2, 2, 9), (3, 2, 3), {"stride": (3,), "padding": (1,), "dilation": (1,), "groups": 1}),
    ((1, 2, 4, 5, 4), (2, 2, 2, 3, 2), {"stride": (1, 2, 1), "padding": (1, 0, 0), "dilation": (1, 1, 2), "groups": 1}),
    ((0, 3, 5, 5), (2, 3, 3, 3), {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}),
)


@convolution.samples
def _(make: Any) -> Iterator[Sample]:
    for position, (x, weight, options) in enumerate(_FORMS):
        yield Sample((make(*x), make(*weight), make(weight[0]) if position % 2 == 0 else None), options)


@convolution_input_gradient.samples
def _(make: Any) -> Iterator[Sample]:
    for x, weight, options in _FORMS:
        positions = _positions("samples", x, weight, **options)
        yield Sample((make(x[0], weight[0], *positions), make(*weight)), {"size": x, **options})


@convolution_weight_gradient.samples
def _(make: Any) -> Iterator[Sample]:
    for x, weight, options in _FORMS:
        positions = _positions("samples", x, weight, **options)
        yield Sample((make(x[0], weight[0], *positions), make(*x)), {"size": weight, **options})
