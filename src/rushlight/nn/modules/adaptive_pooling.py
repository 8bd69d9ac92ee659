"""Pooling to a given size: adaptive average and maximum, and combinations of both."""

from __future__ import annotations

from typing import Any, ClassVar

from rushlight.errors import ShapeError
from rushlight.nn.functional import pooling as functional
from rushlight.nn.functional.pooling import OptionalSizes
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class _AdaptiveMaxPool(Module):
    dims: ClassVar[int]

    def __init__(self, output_size: OptionalSizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return functional.adaptive_max_pool(
            f"adaptive_max_pool{self.dims}d", self.dims, input, self.output_size, self.return_indices
        )

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(Module):
    dims: ClassVar[int]

    def __init__(self, output_size: OptionalSizes) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return functional.adaptive_avg_pool(f"adaptive_avg_pool{self.dims}d", self.dims, input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgMaxPool(Module):
    dims: ClassVar[int]

    def __init__(self, output_size: OptionalSizes = 1, mode: str = "add") -> None:
        super().__init__()
        if mode not in ("add", "cat"):
            raise ShapeError(f"{type(self).__name__}: mode must be 'add' or 'cat', got {mode!r}")
        self.output_size = output_size
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        return functional.avgmax_pool(self.dims, input, self.output_size, self.mode)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, mode={self.mode!r}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maximum over windows that cover a sequence evenly, as many as `output_size` says.

    Window i of S along a dimension of size n is [floor(i * n / S), ceil((i + 1) * n / S)).

    Args:
        output_size: the spatial size of the output.
        return_indices: whether the place of each maximum, counted through its channel, is returned too.

    Shape:
        input (N, C, L) or (C, L), output (N, C, S) or (C, S).

    Example:
        >>> nn.AdaptiveMaxPool1d(5)(torch.randn(1, 64, 8)).shape
        torch.Size([1, 64, 5])
    """

    dims = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maximum over windows that cover an image evenly, as many as `output_size` says.

    Window i of S along a dimension of size n is [floor(i * n / S), ceil((i + 1) * n / S)).

    Args:
        output_size: the spatial size of the output: an int, or for each dimension an int or None, which keeps
            that of the input.
        return_indices: whether the place of each maximum, counted through its channel, is returned too.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, S0, S1) or (C, S0, S1).

    Example:
        >>> nn.AdaptiveMaxPool2d((5, None))(torch.randn(1, 64, 10, 9)).shape
        torch.Size([1, 64, 5, 9])
    """

    dims = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maximum over windows that cover a volume evenly, as many as `output_size` says.

    Window i of S along a dimension of size n is [floor(i * n / S), ceil((i + 1) * n / S)).

    Args:
        output_size: the spatial size of the output: an int, or for each dimension an int or None, which keeps
            that of the input.
        return_indices: whether the place of each maximum, counted through its channel, is returned too.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, S0, S1, S2) or (C, S0, S1, S2).

    Example:
        >>> nn.AdaptiveMaxPool3d((2, None, 1))(torch.randn(1, 64, 8, 9, 10)).shape
        torch.Size([1, 64, 2, 9, 1])
    """

    dims = 3


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average over windows that cover a sequence evenly, as many as `output_size` says.

    Window i of S along a dimension of size n is [floor(i * n / S), ceil((i + 1) * n / S)).

    Args:
        output_size: the spatial size of the output.

    Shape:
        input (N, C, L) or (C, L), output (N, C, S) or (C, S).

    Example:
        >>> nn.AdaptiveAvgPool1d(5)(torch.randn(1, 64, 8)).shape
        torch.Size([1, 64, 5])
    """

    dims = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average over windows that cover an image evenly, as many as `output_size` says.

    Window i of S along a dimension of size n is [floor(i * n / S), ceil((i + 1) * n / S)).

    Args:
        output_size: the spatial size of the output: an int, or for each dimension an int or None, which keeps
            that of the input.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, S0, S1) or (C, S0, S1).

    Example:
        >>> nn.AdaptiveAvgPool2d((5, None))(torch.randn(1, 64, 10, 9)).shape
        torch.Size([1, 64, 5, 9])
    """

    dims = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average over windows that cover a volume evenly, as many as `output_size` says.

    Window i of S along a dimension of size n is [floor(i * n / S), ceil((i + 1) * n / S)).

    Args:
        output_size: the spatial size of the output: an int, or for each dimension an int or None, which keeps
            that of the input.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, S0, S1, S2) or (C, S0, S1, S2).

    Example:
        >>> nn.AdaptiveAvgPool3d((2, None, 1))(torch.randn(1, 64, 8, 9, 10)).shape
        torch.Size([1, 64, 2, 9, 1])
    """

    dims = 3


class AdaptiveAvgMaxPool1d(_AdaptiveAvgMaxPool):
    """Adaptive average and adaptive maximum of a sequence together.

    Args:
        output_size: the spatial size of the output.
        mode: "add" for the mean of both, "cat" for both as channels, the averages first.

    Shape:
        input (N, C, L) or (C, L), output (N, C', S) or (C', S); C' is C, or 2 * C for "cat".

    Example:
        >>> nn.AdaptiveAvgMaxPool1d(5, mode="cat")(torch.randn(1, 64, 8)).shape
        torch.Size([1, 128, 5])
    """

    dims = 1


class AdaptiveAvgMaxPool2d(_AdaptiveAvgMaxPool):
    """Adaptive average and adaptive maximum of an image together.

    Args:
        output_size: the spatial size of the output: an int, or for each dimension an int or None, which keeps
            that of the input.
        mode: "add" for the mean of both, "cat" for both as channels, the averages first.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C', S0, S1) or (C', S0, S1); C' is C, or 2 * C for "cat".

    Example:
        >>> nn.AdaptiveAvgMaxPool2d((5, None), mode="cat")(torch.randn(1, 64, 10, 9)).shape
        torch.Size([1, 128, 5, 9])
    """

    dims = 2


class AdaptiveAvgMaxPool3d(_AdaptiveAvgMaxPool):
    """Adaptive average and adaptive maximum of a volume together.

    Args:
        output_size: the spatial size of the output: an int, or for each dimension an int or None, which keeps
            that of the input.
        mode: "add" for the mean of both, "cat" for both as channels, the averages first.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C', S0, S1, S2) or
        (C', S0, S1, S2); C' is C, or 2 * C for "cat".

    Example:
        >>> nn.AdaptiveAvgMaxPool3d((2, None, 1), mode="cat")(torch.randn(1, 64, 8, 9, 10)).shape
        torch.Size([1, 128, 2, 9, 1])
    """

    dims = 3
