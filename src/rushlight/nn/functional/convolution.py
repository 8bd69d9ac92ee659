"""Convolution and transposed convolution over one, two or three spatial dimensions.

Inputs are (N, C, *S) or (C, *S). An option for the window is an int, or one int for each spatial dimension.
"""

from __future__ import annotations

from rushlight.errors import DtypeError, ShapeError
from rushlight.nn.functional import padding as padding_functions
from rushlight.nn.functional.dimensions import Sizes, check_spatial, per_dimension
from rushlight.ops import convolution as ops
from rushlight.tensor import Tensor


def same_padding(kernel_size: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """The (before, after) of each dimension that keeps the size at stride 1; an odd one goes after."""
    return [(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for k, d in zip(kernel_size, dilation, strict=True)]


def convolve(
    name: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    """`conv1d`, `conv2d` and `conv3d`."""
    check_spatial(name, input, dims)
    _check_weight(name, dims, weight)
    strides = per_dimension(name, "stride", stride, dims)
    dilations = per_dimension(name, "dilation", dilation, dims)
    if input.ndim == dims + 1:
        return convolve(name, dims, input.unsqueeze(0), weight, bias, strides, padding, dilations, groups).squeeze(0)
    if isinstance(padding, str):
        if padding == "valid":
            padding = 0
        elif padding == "same":
            if any(s != 1 for s in strides):
                raise ShapeError(f"{name}: padding='same' is not supported for strided convolutions")
            sides = same_padding(tuple(weight.shape[2:]), dilations)
            extra = [after - before for before, after in sides]
            if any(extra):
                input = padding_functions.pad(input, [n for e in reversed(extra) for n in (0, e)])
            padding = tuple(before for before, _ in sides)
        else:
            raise ShapeError(f"{name}: padding must be 'same', 'valid' or sizes, but got {padding!r}")
    result: Tensor = ops.convolution(
        input,
        weight,
        bias,
        stride=strides,
        padding=per_dimension(name, "padding", padding, dims),
        dilation=dilations,
        groups=groups,
    )
    return result


def _check_weight(name: str, dims: int, weight: Tensor) -> None:
    if weight.ndim != dims + 2:
        raise ShapeError(f"{name}: expected a weight of {dims + 2} dimensions, but got shape {tuple(weight.shape)}")


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolves (N, C_in, L) with weight (C_out, C_in / groups, K). See `rushlight.nn.Conv1d`."""
    return convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolves (N, C_in, H, W) with weight (C_out, C_in / groups, KH, KW). See `rushlight.nn.Conv2d`."""
    return convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolves (N, C_in, D, H, W) with weight (C_out, C_in / groups, KD, KH, KW). See `rushlight.nn.Conv3d`."""
    return convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def transposed_convolve(
    name: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    """`conv_transpose1d`, `conv_transpose2d` and `conv_transpose3d`: the gradient of a convolution as a layer."""
    check_spatial(name, input, dims)
    _check_weight(name, dims, weight)
    strides = per_dimension(name, "stride", stride, dims)
    paddings = per_dimension(name, "padding", padding, dims)
    extras = per_dimension(name, "output_padding", output_padding, dims)
    dilations = per_dimension(name, "dilation", dilation, dims)
    if input.ndim == dims + 1:
        batch = input.unsqueeze(0)
        return transposed_convolve(
            name, dims, batch, weight, bias, strides, paddings, extras, groups, dilations
        ).squeeze(0)
    _check_transposed(name, input, weight, bias, groups)
    for extra, s, d in zip(extras, strides, dilations, strict=True):
        if extra < 0 or (extra >= s and extra >= d):
            raise ShapeError(
                f"{name}: output padding must be smaller than either stride or dilation, but got output_padding="
                f"{extras}, stride={strides}, dilation={dilations}"
            )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, s, p, d, k, extra in zip(
            input.shape[2:], strides, paddings, dilations, weight.shape[2:], extras, strict=True
        )
    )
    if min(size) < 1:
        raise ShapeError(
            f"{name}: given input of spatial size {tuple(input.shape[2:])}, the output would have size {size}, "
            "which is too small"
        )
    # An output padding of a whole stride or more is beyond what a convolution could have read: it is added after.
    ends: list[int] = []
    if any(extra >= s for extra, s in zip(extras, strides, strict=True)):
        ends = [n for p, extra in zip(reversed(paddings), reversed(extras), strict=True) for n in (-p, extra - p)]
        size = tuple(n + 2 * p - extra for n, p, extra in zip(size, paddings, extras, strict=True))
        paddings = (0,) * dims
    result: Tensor = ops.convolution_input_gradient(
        input,
        weight,
        size=(input.shape[0], weight.shape[1] * groups, *size),
        stride=strides,
        padding=paddings,
        dilation=dilations,
        groups=groups,
    )
    if ends:
        result = padding_functions.pad(result, ends)
    return result if bias is None else result + bias.reshape(1, -1, *(1,) * dims)


def _check_transposed(name: str, input: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    channels = weight.shape[0]
    if groups < 1 or channels % groups:
        raise ShapeError(f"{name}: {channels} input channels aren't divisible by groups={groups}")
    if input.shape[1] != channels:
        raise ShapeError(
            f"{name}: given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to "
            f"have {channels} channels, but got {input.shape[1]} channels instead"
            f"{ops.channels_last_hint(input.shape, channels)}"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[1] * groups,):
        raise ShapeError(
            f"{name}: given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with "
            f"{weight.shape[1] * groups} elements, but got bias of size {list(bias.shape)} instead"
        )
    if input.dtype != weight.dtype:
        raise DtypeError(
            f"{name}: input and weight must have the same dtype, but the input is {input.dtype} and the weight "
            f"{weight.dtype}; convert one with .to()"
        )


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution of (N, C_in, L) with (C_in, C_out / groups, K). See `rushlight.nn.ConvTranspose1d`."""
    return transposed_convolve(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution of (N, C_in, H, W) with (C_in, C_out / groups, *K). See `rushlight.nn.ConvTranspose2d`."""
    return transposed_convolve(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution of (N, C_in, D, H, W), (C_in, C_out / groups, *K). See `rushlight.nn.ConvTranspose3d`."""
    return transposed_convolve(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def output_padding_for(
    name: str,
    input: Tensor,
    output_size: list[int] | tuple[int, ...],
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """The output_padding with which a transposed convolution of `input` has the spatial size `output_size`."""
    dims = len(kernel_size)
    leading = input.ndim - dims
    wanted = tuple(output_size)
    if len(wanted) == input.ndim:
        wanted = wanted[leading:]
    if len(wanted) != dims:
        raise ShapeError(
            f"{name}: for {input.ndim}D input, output_size must have {dims} or {input.ndim} elements "
            f"(got {len(wanted)})"
        )
    least = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, s, p, d, k in zip(input.shape[leading:], stride, padding, dilation, kernel_size, strict=True)
    )
    most = tuple(n + s - 1 for n, s in zip(least, stride, strict=True))
    if any(not low <= size <= high for low, size, high in zip(least, wanted, most, strict=True)):
        raise ShapeError(
            f"{name}: requested an output size of {wanted}, but valid sizes range from {least} to {most} (for an input "
            f"of {tuple(input.shape[leading:])})"
        )
    return tuple(size - low for size, low in zip(wanted, least, strict=True))
