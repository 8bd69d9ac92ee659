"""Pooling layers over windows: maximum and its inverse, average, p-norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rushlight.nn.functional import pooling as functional
from rushlight.nn.functional.dimensions import Sizes, per_dimension
from rushlight.nn.modules import __getattr__ as __getattr__  # what PyTorch has in this file, too
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class _MaxPool(Module):
    dims: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return functional.max_pool(
            f"max_pool{self.dims}d",
            self.dims,
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Maximum over windows of a sequence. The options are those of `MaxPool2d`, in one dimension.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L') or (C, L'), where
        L' = floor((L + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1.

    Example:
        >>> nn.MaxPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 4.0]]))
        tensor([[3., 4.]])
    """

    dims = 1


class MaxPool2d(_MaxPool):
    """Maximum over windows of an image.

    Args:
        kernel_size: size of the window; here and below an int, or one for each spatial dimension.
        stride: step of the window, by default its size.
        padding: what is added to both ends of each dimension, at most half the window; it never is the maximum.
        dilation: distance between neighbouring items of a window.
        return_indices: whether the place of each maximum, counted through its channel, is returned too; `MaxUnpool2d`
            takes it.
        ceil_mode: whether a last window that reaches over the end counts (the size is rounded up).

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H', W') or (C, H', W'), where
        H' = floor((H + 2 * padding[0] - dilation[0] * (kernel_size[0] - 1) - 1) / stride[0]) + 1, and W' likewise.

    Raises:
        ShapeError: options out of range, or a window larger than the padded input.

    Example:
        >>> nn.MaxPool2d(3, 1, 0, 1)(torch.randn(16, 15, 15, 14)).shape
        torch.Size([16, 15, 13, 12])
    """

    dims = 2


class MaxPool3d(_MaxPool):
    """Maximum over windows of a volume. The options are those of `MaxPool2d`, in three dimensions.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D', H', W') or (C, D', H', W'), where
        D' = floor((D + 2 * padding[0] - dilation[0] * (kernel_size[0] - 1) - 1) / stride[0]) + 1, H', W' likewise.

    Example:
        >>> nn.MaxPool3d((3, 2, 2), stride=2)(torch.randn(20, 16, 5, 4, 6)).shape
        torch.Size([20, 16, 2, 2, 3])
    """

    dims = 3


class _MaxUnpool(Module):
    dims: ClassVar[int]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = per_dimension(name, "kernel_size", kernel_size, self.dims)
        self.stride = per_dimension(name, "stride", kernel_size if stride is None else stride, self.dims)
        self.padding = per_dimension(name, "padding", padding, self.dims)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return functional.max_unpool(
            f"max_unpool{self.dims}d",
            self.dims,
            input,
            indices,
            self.kernel_size,
            self.stride,
            self.padding,
            output_size,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The inverse of `MaxPool1d`, as far as there is one. The options are those of `MaxUnpool2d`, in one dimension.

    Shape:
        input and indices (N, C, L) or (C, L), output (N, C, L') or (C, L'), where
        L' = (L - 1) * stride - 2 * padding + kernel_size, or as `output_size` says.

    Example:
        >>> output, indices = nn.MaxPool1d(2, return_indices=True)(torch.tensor([[[1.0, 3.0, 4.0, 2.0]]]))
        >>> nn.MaxUnpool1d(2)(output, indices)
        tensor([[[0., 3., 4., 0.]]])
    """

    dims = 1


class MaxUnpool2d(_MaxUnpool):
    """The inverse of `MaxPool2d`, as far as there is one: the maxima go back to where they were, all else is zero.

    Args:
        kernel_size, stride, padding: of the pooling that is undone.

    `forward(input, indices, output_size=None)` takes the indices that the pooling returned, and the size of what was
    pooled where that doesn't follow from the options (several sizes are pooled to the same one).

    Shape:
        input and indices (N, C, H, W) or (C, H, W), output (N, C, H', W') or (C, H', W'), where
        H' = (H - 1) * stride[0] - 2 * padding[0] + kernel_size[0], and W' likewise, or as `output_size` says.

    Raises:
        ShapeError: indices of another shape than the input, or out of the output's range, or an `output_size` out of
            reach.

    Source: Zeiler, Taylor and Fergus, "Adaptive deconvolutional networks for mid and high level feature learning"
    (2011).

    Example:
        >>> pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        >>> output, indices = pool(torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
        >>> unpool(output, indices)
        tensor([[[[0., 0.],
                  [4., 0.]]]])
    """

    dims = 2


class MaxUnpool3d(_MaxUnpool):
    """The inverse of `MaxPool3d`, as far as there is one. The options are those of `MaxUnpool2d`, in three dimensions.

    Shape:
        input and indices (N, C, D, H, W) or (C, D, H, W), output (N, C, D', H', W') or (C, D', H', W'), where
        D' = (D - 1) * stride[0] - 2 * padding[0] + kernel_size[0], and H', W' likewise, or as `output_size` says.

    Example:
        >>> output, indices = nn.MaxPool3d(2, return_indices=True)(torch.randn(1, 2, 4, 4, 6))
        >>> nn.MaxUnpool3d(2)(output, indices).shape
        torch.Size([1, 2, 4, 4, 6])
    """

    dims = 3


class AvgPool1d(Module):
    """Average over windows of a sequence.

    Args:
        kernel_size, stride, padding, ceil_mode, count_include_pad: as of `AvgPool2d`, in one dimension.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L') or (C, L'), where
        L' = floor((L + 2 * padding - kernel_size) / stride) + 1.

    Example:
        >>> nn.AvgPool1d(3, stride=2)(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]))
        tensor([[2., 4., 6.]])
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = per_dimension("AvgPool1d", "kernel_size", kernel_size, 1)
        self.stride = per_dimension("AvgPool1d", "stride", kernel_size if stride is None else stride, 1)
        self.padding = per_dimension("AvgPool1d", "padding", padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return functional.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    dims: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return functional.avg_pool(
            f"avg_pool{self.dims}d",
            self.dims,
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """Average over windows of an image.

    Args:
        kernel_size: size of the window; here and below an int, or one for each spatial dimension.
        stride: step of the window, by default its size.
        padding: zeros that are added to both ends of each dimension, at most half the window.
        ceil_mode: whether a last window that reaches over the end counts (the size is rounded up).
        count_include_pad: whether the added zeros count in the number that the sum is divided by.
        divisor_override: the number to divide by in place of the window's.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H', W') or (C, H', W'), where
        H' = floor((H + 2 * padding[0] - kernel_size[0]) / stride[0]) + 1, and W' likewise.

    Raises:
        ShapeError: options out of range, or a window larger than the padded input.

    Example:
        >>> nn.AvgPool2d(2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[[3.]]])
    """

    dims = 2


class AvgPool3d(_AvgPool):
    """Average over windows of a volume. The options are those of `AvgPool2d`, in three dimensions.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D', H', W') or (C, D', H', W'), where
        D' = floor((D + 2 * padding[0] - kernel_size[0]) / stride[0]) + 1, and H', W' likewise.

    Example:
        >>> nn.AvgPool3d(2)(torch.randn(1, 2, 4, 4, 6)).shape
        torch.Size([1, 2, 2, 2, 3])
    """

    dims = 3


class _LPPool(Module):
    dims: ClassVar[int]

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return functional.lp_pool(
            f"lp_pool{self.dims}d",
            self.dims,
            input,
            float(self.norm_type),
            self.kernel_size,
            self.stride,
            self.ceil_mode,
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm over windows of a sequence, (sum over the window of x ** p) ** (1 / p).

    Args:
        norm_type: p. 1 makes a sum; the larger, the closer to the maximum.
        kernel_size: size of the window.
        stride: step of the window, by default its size.
        ceil_mode: whether a last window that reaches over the end counts (the size is rounded up).

    Shape:
        input (N, C, L) or (C, L), output (N, C, L') or (C, L'), where
        L' = floor((L - kernel_size) / stride) + 1.

    Example:
        >>> nn.LPPool1d(2, 2)(torch.tensor([[3.0, 4.0, 0.0, 1.0]]))
        tensor([[5., 1.]])
    """

    dims = 1


class LPPool2d(_LPPool):
    """The p-norm over windows of an image, (sum over the window of x ** p) ** (1 / p).

    Args:
        norm_type: p. 1 makes a sum; the larger, the closer to the maximum.
        kernel_size: size of the window, an int, or one for each spatial dimension.
        stride: step of the window, by default its size.
        ceil_mode: whether a last window that reaches over the end counts (the size is rounded up).

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H', W') or (C, H', W'), where
        H' = floor((H - kernel_size[0]) / stride[0]) + 1, and W' likewise.

    Example:
        >>> nn.LPPool2d(2, 2)(torch.tensor([[[1.0, 1.0], [1.0, 1.0]]]))
        tensor([[[2.]]])
    """

    dims = 2


class LPPool3d(_LPPool):
    """The p-norm over windows of a volume, (sum over the window of x ** p) ** (1 / p).

    Args:
        norm_type: p. 1 makes a sum; the larger, the closer to the maximum.
        kernel_size: size of the window, an int, or one for each spatial dimension.
        stride: step of the window, by default its size.
        ceil_mode: whether a last window that reaches over the end counts (the size is rounded up).

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D', H', W') or (C, D', H', W'), where
        D' = floor((D - kernel_size[0]) / stride[0]) + 1, and H', W' likewise.

    Example:
        >>> nn.LPPool3d(2, 2)(torch.randn(1, 2, 4, 4, 6)).shape
        torch.Size([1, 2, 2, 2, 3])
    """

    dims = 3
