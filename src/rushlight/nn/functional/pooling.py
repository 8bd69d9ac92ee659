"""Pooling over windows and to a given size, its inverse, and combinations of average and maximum.

Inputs are (N, C, *S) or (C, *S) with one, two or three spatial dimensions S. An option for the window is an int, or one
int for each spatial dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn.functional.dimensions import Sizes, check_spatial, per_dimension
from rushlight.ops import elementwise, joining
from rushlight.ops import pooling as ops
from rushlight.tensor import Tensor

OptionalSizes = int | None | Sequence[int | None]


# Maximum


def max_pool(
    name: str,
    dims: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """`max_pool1d`, `max_pool2d` and `max_pool3d`."""
    check_spatial(name, input, dims)
    kernel_size = per_dimension(name, "kernel_size", kernel_size, dims)
    operation = ops.max_pool_with_indices if return_indices else ops.max_pool
    return operation(
        input,
        kernel_size=kernel_size,
        stride=per_dimension(name, "stride", stride, dims) if stride or stride == 0 else kernel_size,
        padding=per_dimension(name, "padding", padding, dims),
        dilation=per_dimension(name, "dilation", dilation, dims),
        ceil_mode=ceil_mode,
    )


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (N, C, L) or (C, L); with `return_indices` also where each maximum is.

    See `rushlight.nn.MaxPool1d` for the options, shapes and errors.
    """
    return max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (N, C, H, W) or (C, H, W); with `return_indices` also where each maximum is.

    See `rushlight.nn.MaxPool2d` for the options, shapes and errors.
    """
    return max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (N, C, D, H, W) or (C, D, H, W); with `return_indices` also where each maximum is.

    See `rushlight.nn.MaxPool3d` for the options, shapes and errors.
    """
    return max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` with `return_indices=True`."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` with `return_indices=True`."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` with `return_indices=True`."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


# The way back from a maximum


def max_unpool(
    name: str,
    dims: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Sequence[int] | None,
) -> Tensor:
    """`max_unpool1d`, `max_unpool2d` and `max_unpool3d`."""
    check_spatial(name, input, dims)
    kernel_size = per_dimension(name, "kernel_size", kernel_size, dims)
    strides = per_dimension(name, "stride", stride, dims) if stride else kernel_size
    paddings = per_dimension(name, "padding", padding, dims)
    if tuple(indices.shape) != tuple(input.shape):
        raise ShapeError(
            f"{name}: expected shape of indices to be the same as that of the input {tuple(input.shape)}, but got "
            f"{tuple(indices.shape)}; pass the indices that the max pooling with return_indices=True gave"
        )
    size = tuple(
        (n - 1) * s + k - 2 * p for n, s, k, p in zip(input.shape[-dims:], strides, kernel_size, paddings, strict=True)
    )
    if output_size is not None:
        wanted = tuple(output_size)
        if len(wanted) == dims + 2:
            wanted = wanted[2:]
        if len(wanted) != dims:
            raise ShapeError(f"{name}: output_size should have {dims} or {dims + 2} sizes, but has {len(output_size)}")
        for dim, (have, default, step) in enumerate(zip(wanted, size, strides, strict=True)):
            if not default - step < have < default + step:
                raise ShapeError(
                    f"{name}: invalid output_size {wanted} (dim {dim} must be between {default - step} and "
                    f"{default + step}, both excluded)"
                )
        size = wanted
    if min(size) < 1:
        raise ShapeError(f"{name}: the output would have spatial size {size}, which is too small")
    result: Tensor = ops.max_unpool(input, indices, output_size=size)
    return result


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the values of `input` where `indices` says, into zeros. See `rushlight.nn.MaxUnpool1d`."""
    return max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the values of `input` where `indices` says, into zeros. See `rushlight.nn.MaxUnpool2d`."""
    return max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the values of `input` where `indices` says, into zeros. See `rushlight.nn.MaxUnpool3d`."""
    return max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


# Average


def avg_pool(
    name: str,
    dims: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """`avg_pool1d`, `avg_pool2d` and `avg_pool3d`."""
    check_spatial(name, input, dims)
    if divisor_override == 0:
        raise ShapeError(f"{name}: divisor must be not zero")
    kernel_size = per_dimension(name, "kernel_size", kernel_size, dims)
    result: Tensor = ops.avg_pool(
        input,
        kernel_size=kernel_size,
        stride=per_dimension(name, "stride", stride, dims) if stride or stride == 0 else kernel_size,
        padding=per_dimension(name, "padding", padding, dims),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    return result


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average over windows of (N, C, L) or (C, L). See `rushlight.nn.AvgPool1d`."""
    return avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average over windows of (N, C, H, W) or (C, H, W). See `rushlight.nn.AvgPool2d`."""
    return avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average over windows of (N, C, D, H, W) or (C, D, H, W). See `rushlight.nn.AvgPool3d`."""
    return avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# Power average


def lp_pool(
    name: str,
    dims: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
) -> Tensor:
    """`lp_pool1d`, `lp_pool2d` and `lp_pool3d`."""
    sizes = per_dimension(name, "kernel_size", kernel_size, dims)
    mean = avg_pool(name, dims, input**norm_type, sizes, stride, 0, ceil_mode, True, None)
    # The sum of odd powers may be negative; no root is taken of that.
    result: Tensor = (elementwise.relu(mean) * math.prod(sizes)) ** (1.0 / norm_type)
    return result


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The `norm_type`-norm over windows of (N, C, L) or (C, L). See `rushlight.nn.LPPool1d`."""
    return lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The `norm_type`-norm over windows of (N, C, H, W) or (C, H, W). See `rushlight.nn.LPPool2d`."""
    return lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The `norm_type`-norm over windows of (N, C, D, H, W) or (C, D, H, W). See `rushlight.nn.LPPool3d`."""
    return lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


# To a given size


def adaptive_size(name: str, input: Tensor, output_size: OptionalSizes, dims: int) -> tuple[int, ...]:
    """`output_size` with a size for each dimension; None stands for the input's."""
    check_spatial(name, input, dims)
    given: Any = output_size if hasattr(output_size, "__iter__") else (output_size,) * dims
    if len(given) == 1:
        given = tuple(given) * dims
    if len(given) != dims:
        raise ShapeError(f"{name}: output_size must have {dims} sizes, but got {output_size!r}")
    given = [have if want is None else want for want, have in zip(given, input.shape[-dims:], strict=True)]
    size = per_dimension(name, "output_size", given, dims)
    if min(size) < 0:
        raise ShapeError(f"{name}: elements of output_size must be greater than or equal to 0, but got {size}")
    return size


def adaptive_max_pool(name: str, dims: int, input: Tensor, output_size: OptionalSizes, return_indices: bool) -> Any:
    """`adaptive_max_pool1d`, `adaptive_max_pool2d` and `adaptive_max_pool3d`."""
    size = adaptive_size(name, input, output_size, dims)
    operation = ops.adaptive_max_pool_with_indices if return_indices else ops.adaptive_max_pool
    return operation(input, output_size=size)


def adaptive_max_pool1d(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Any:
    """Maxima of as many windows as `output_size` says, which cover (N, C, L) evenly."""
    return adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Any:
    """Maxima of as many windows as `output_size` says, which cover (N, C, H, W) evenly."""
    return adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Any:
    """Maxima of as many windows as `output_size` says, which cover (N, C, D, H, W) evenly."""
    return adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: OptionalSizes) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with `return_indices=True`."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: OptionalSizes) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with `return_indices=True`."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: OptionalSizes) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with `return_indices=True`."""
    return adaptive_max_pool3d(input, output_size, True)


def adaptive_avg_pool(name: str, dims: int, input: Tensor, output_size: OptionalSizes) -> Tensor:
    """`adaptive_avg_pool1d`, `adaptive_avg_pool2d` and `adaptive_avg_pool3d`."""
    result: Tensor = ops.adaptive_avg_pool(input, output_size=adaptive_size(name, input, output_size, dims))
    return result


def adaptive_avg_pool1d(input: Tensor, output_size: OptionalSizes) -> Tensor:
    """Averages of as many windows as `output_size` says, which cover (N, C, L) evenly."""
    return adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: OptionalSizes) -> Tensor:
    """Averages of as many windows as `output_size` says, which cover (N, C, H, W) evenly."""
    return adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: OptionalSizes) -> Tensor:
    """Averages of as many windows as `output_size` says, which cover (N, C, D, H, W) evenly."""
    return adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


# Average and maximum together


def avgmax_pool(dims: int, input: Tensor, output_size: OptionalSizes, mode: str) -> Tensor:
    """Adaptive average and adaptive maximum in one: their mean for mode "add", both as channels for mode "cat"."""
    average = adaptive_avg_pool(f"{mode}_avgmax_pool{dims}d", dims, input, output_size)
    maximum: Tensor = adaptive_max_pool(f"{mode}_avgmax_pool{dims}d", dims, input, output_size, False)
    if mode == "add":
        return 0.5 * (average + maximum)
    result: Tensor = joining.cat(average, maximum, dim=input.ndim - dims - 1)
    return result


def add_avgmax_pool1d(x: Tensor, output_size: OptionalSizes = 1) -> Tensor:
    """Mean of the adaptive average and the adaptive maximum of (N, C, L)."""
    return avgmax_pool(1, x, output_size, "add")


def add_avgmax_pool2d(x: Tensor, output_size: OptionalSizes = 1) -> Tensor:
    """Mean of the adaptive average and the adaptive maximum of (N, C, H, W)."""
    return avgmax_pool(2, x, output_size, "add")


def add_avgmax_pool3d(x: Tensor, output_size: OptionalSizes = 1) -> Tensor:
    """Mean of the adaptive average and the adaptive maximum of (N, C, D, H, W)."""
    return avgmax_pool(3, x, output_size, "add")


def cat_avgmax_pool1d(x: Tensor, output_size: OptionalSizes = 1) -> Tensor:
    """Adaptive average and adaptive maximum of (N, C, L) as 2 * C channels."""
    return avgmax_pool(1, x, output_size, "cat")


def cat_avgmax_pool2d(x: Tensor, output_size: OptionalSizes = 1) -> Tensor:
    """Adaptive average and adaptive maximum of (N, C, H, W) as 2 * C channels."""
    return avgmax_pool(2, x, output_size, "cat")


def cat_avgmax_pool3d(x: Tensor, output_size: OptionalSizes = 1) -> Tensor:
    """Adaptive average and adaptive maximum of (N, C, D, H, W) as 2 * C channels."""
    return avgmax_pool(3, x, output_size, "cat")
