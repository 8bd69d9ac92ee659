"""Convolution layers and transposed convolution layers, over one, two or three spatial dimensions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from rushlight.errors import ShapeError
from rushlight.nn import init
from rushlight.nn.functional import convolution as functional
from rushlight.nn.functional.dimensions import Sizes, check_spatial, per_dimension
from rushlight.nn.functional.padding import pad
from rushlight.nn.modules import __getattr__ as __getattr__  # what PyTorch has in this file, too
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.tensor import Tensor, creation

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolution layers have in common: options, parameters and their initial values."""

    dims: ClassVar[int]

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    padding_mode: str
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if groups <= 0:
            raise ShapeError(f"{name}: groups must be a positive integer, got {groups}")
        for which, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels < 0:
                raise ShapeError(f"{name}: {which} can't be negative, got {channels}")
            if channels % groups:
                raise ShapeError(f"{name}: {which} must be divisible by groups, got {channels} and groups={groups}")
        if padding_mode not in PADDING_MODES:
            raise ShapeError(f"{name}: padding_mode must be one of {', '.join(PADDING_MODES)}, got {padding_mode!r}")
        for which, values, least in (
            ("kernel_size", kernel_size, 1),
            ("stride", stride, 1),
            ("dilation", dilation, 1),
            ("output_padding", output_padding, 0),
        ):
            if min(values) < least:
                raise ShapeError(f"{name}: {which} must be at least {least} in each dimension, got {values}")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ShapeError(f"{name}: padding must be 'same', 'valid' or sizes, but got {padding!r}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ShapeError(f"{name}: padding='same' is not supported for strided convolutions, stride={stride}")
        elif min(padding) < 0:
            raise ShapeError(f"{name}: negative padding is not supported, got {padding}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = Parameter(creation.empty(first, second // groups, *kernel_size, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(creation.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias uniformly from (-b, b), b = 1 / sqrt(inputs of an output)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None and fan_in:
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(self.bias, -bound, bound)

    def _attributes_in_pytorch(self) -> dict[str, Any]:
        """What PyTorch pads by where padding_mode isn't "zeros", the last dimension first."""
        if self.padding == "valid":
            sides = [(0, 0)] * self.dims
        elif self.padding == "same":
            totals = [step * (size - 1) for step, size in zip(self.dilation, self.kernel_size, strict=True)]
            sides = [(total // 2, total - total // 2) for total in totals]
        else:
            sides = [(int(size), int(size)) for size in self.padding]
        return {"_reversed_padding_repeated_twice": [side for pair in reversed(sides) for side in pair]}

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        zeros, ones = (0,) * self.dims, (1,) * self.dims
        if self.padding != zeros:
            parts.append(f"padding={self.padding}")
        if self.dilation != ones:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != zeros:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Convolution(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        name, dims = type(self).__name__, self.dims
        super().__init__(
            in_channels,
            out_channels,
            per_dimension(name, "kernel_size", kernel_size, dims),
            per_dimension(name, "stride", stride, dims),
            padding if isinstance(padding, str) else per_dimension(name, "padding", padding, dims),
            per_dimension(name, "dilation", dilation, dims),
            False,
            (0,) * dims,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self.dims
        return functional.convolve(
            f"conv{self.dims}d", self.dims, input, weight, bias, self.stride, padding, self.dilation, self.groups
        )

    @property
    def _reversed_padding_repeated_twice(self) -> list[int]:
        """The padding in the order in which `pad` takes it: (before, after) from the last dimension to the first."""
        if self.padding == "same":
            sides = functional.same_padding(self.kernel_size, self.dilation)
        elif isinstance(self.padding, str):
            sides = [(0, 0)] * self.dims
        else:
            sides = [(p, p) for p in self.padding]
        return [n for side in reversed(sides) for n in side]


class Conv1d(_Convolution):
    r"""Convolution over sequences: out[n, o] = bias[o] + sum over c of weight[o, c] ⋆ input[n, c].

    ⋆ is cross-correlation. The options and the initial values are those of `Conv2d`, in one dimension.

    Shape:
        input (N, C_in, L) or (C_in, L), output (N, C_out, L') or (C_out, L'), where
        L' = floor((L + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1.

    Example:
        >>> nn.Conv1d(16, 33, 3, stride=2)(torch.randn(20, 16, 50)).shape
        torch.Size([20, 33, 24])
    """

    dims = 1


class Conv2d(_Convolution):
    r"""Convolution over images: out[n, o] = bias[o] + sum over c of weight[o, c] ⋆ input[n, c].

    ⋆ is cross-correlation in two dimensions.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, each with its own kernel.
        kernel_size: size of the kernel; here and below an int, or one for each spatial dimension.
        stride: step of the kernel.
        padding: what is added to both ends of each dimension; "valid" is none, and "same" as much as keeps the size.
        dilation: distance between the input's items that meet neighbouring items of the kernel.
        groups: into how many groups the channels are split, each convolved by itself; divides both channel numbers.
            With groups = in_channels it is a depthwise convolution.
        bias: whether a learned number is added to each output channel.
        padding_mode: what is added: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the parameters.

    Attributes:
        weight: (out_channels, in_channels / groups, *kernel_size), and bias: (out_channels), both drawn from
            U(-b, b), b = 1 / sqrt(in_channels / groups * prod(kernel_size)).

    Shape:
        input (N, C_in, H, W) or (C_in, H, W), output (N, C_out, H', W') or (C_out, H', W'), where
        H' = floor((H + 2 * padding[0] - dilation[0] * (kernel_size[0] - 1) - 1) / stride[0]) + 1, and W' likewise.

    Raises:
        ShapeError: at construction for options out of range; when called for an input of other channels or dimensions,
            or one smaller, padded, than the kernel.

    Source: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989); Dumoulin and Visin,
    "A guide to convolution arithmetic for deep learning", https://arxiv.org/abs/1603.07285.

    Example:
        >>> layer = nn.Conv2d(5, 32, kernel_size=5, padding=2)
        >>> layer(torch.randn(16, 5, 3, 10)).shape
        torch.Size([16, 32, 3, 10])
        >>> layer
        Conv2d(5, 32, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    """

    dims = 2


class Conv3d(_Convolution):
    r"""Convolution over volumes: out[n, o] = bias[o] + sum over c of weight[o, c] ⋆ input[n, c].

    ⋆ is cross-correlation. The options and the initial values are those of `Conv2d`, in three dimensions.

    Shape:
        input (N, C_in, D, H, W) or (C_in, D, H, W), output (N, C_out, D', H', W') or (C_out, D', H', W'), where
        D' = floor((D + 2 * padding[0] - dilation[0] * (kernel_size[0] - 1) - 1) / stride[0]) + 1, H', W' likewise.

    Example:
        >>> nn.Conv3d(3, 4, (3, 1, 2))(torch.randn(2, 3, 6, 5, 4)).shape
        torch.Size([2, 4, 4, 5, 3])
    """

    dims = 3


class _TransposedConvolution(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        name, dims = type(self).__name__, self.dims
        if padding_mode != "zeros":
            raise ShapeError(f'{name}: only "zeros" padding mode is supported for {name}, got {padding_mode!r}')
        super().__init__(
            in_channels,
            out_channels,
            per_dimension(name, "kernel_size", kernel_size, dims),
            per_dimension(name, "stride", stride, dims),
            per_dimension(name, "padding", padding, dims),
            per_dimension(name, "dilation", dilation, dims),
            True,
            per_dimension(name, "output_padding", output_padding, dims),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: list[int] | tuple[int, ...] | None = None) -> Tensor:
        assert not isinstance(self.padding, str)
        name = f"conv_transpose{self.dims}d"
        output_padding = self.output_padding
        if output_size is not None:
            check_spatial(name, input, self.dims)
            output_padding = functional.output_padding_for(
                name, input, output_size, self.kernel_size, self.stride, self.padding, self.dilation
            )
        return functional.transposed_convolve(
            name,
            self.dims,
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_TransposedConvolution):
    r"""Transposed convolution over sequences: the gradient of a `Conv1d` with respect to its input, as a layer.

    The options and the initial values are those of `ConvTranspose2d`, in one dimension.

    Shape:
        input (N, C_in, L) or (C_in, L), output (N, C_out, L') or (C_out, L'), where
        L' = (L - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1.

    Example:
        >>> nn.ConvTranspose1d(4, 2, 3, stride=2)(torch.randn(8, 4, 10)).shape
        torch.Size([8, 2, 21])
    """

    dims = 1


class ConvTranspose2d(_TransposedConvolution):
    r"""Transposed convolution over images: the gradient of a `Conv2d` with respect to its input, as a layer.

    Each item of the input, times the kernel, is added to the output where that kernel lies.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel; here and below an int, or one for each spatial dimension.
        stride: distance in the output between neighbouring items of the input.
        padding: what is taken from both ends of each dimension of the output.
        output_padding: what is added to one end of each dimension, since several output sizes have the same input size
            in the convolution; smaller than stride or dilation.
        groups: into how many groups the channels are split.
        bias: whether a learned number is added to each output channel.
        dilation: distance in the output between neighbouring items of the kernel.
        padding_mode: "zeros", the only one.
        device, dtype: of the parameters.

    `forward(input, output_size=None)` takes the spatial size (or the whole size) of the output in place of
    `output_padding`.

    Attributes:
        weight: (in_channels, out_channels / groups, *kernel_size), and bias: (out_channels), both drawn from
            U(-b, b), b = 1 / sqrt(out_channels / groups * prod(kernel_size)).

    Shape:
        input (N, C_in, H, W) or (C_in, H, W), output (N, C_out, H', W') or (C_out, H', W'), where
        H' = (H - 1) * stride[0] - 2 * padding[0] + dilation[0] * (kernel_size[0] - 1) + output_padding[0] + 1, and W'
        likewise.

    Raises:
        ShapeError: at construction for options out of range; when called for an input of other channels or dimensions,
            or an `output_size` out of reach.

    Source: Zeiler et al., "Deconvolutional networks" (2010); Dumoulin and Visin, "A guide to convolution arithmetic for
    deep learning", https://arxiv.org/abs/1603.07285.

    Example:
        >>> down, up = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1)
        >>> image = torch.randn(1, 3, 12, 12)
        >>> up(down(image), output_size=image.size()).shape
        torch.Size([1, 3, 12, 12])
    """

    dims = 2


class ConvTranspose3d(_TransposedConvolution):
    r"""Transposed convolution over volumes: the gradient of a `Conv3d` with respect to its input, as a layer.

    The options and the initial values are those of `ConvTranspose2d`, in three dimensions.

    Shape:
        input (N, C_in, D, H, W) or (C_in, D, H, W), output (N, C_out, D', H', W') or (C_out, D', H', W'), where
        D' = (D - 1) * stride[0] - 2 * padding[0] + dilation[0] * (kernel_size[0] - 1) + output_padding[0] + 1, and H',
        W' likewise.

    Example:
        >>> nn.ConvTranspose3d(2, 1, 2, stride=2)(torch.randn(1, 2, 3, 4, 5)).shape
        torch.Size([1, 1, 6, 8, 10])
    """

    dims = 3
