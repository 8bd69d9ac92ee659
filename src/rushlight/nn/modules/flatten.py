"""Layers that change the shape: Flatten, Unflatten."""

from __future__ import annotations

from typing import Any

from rushlight.nn.modules.module import Module
from rushlight.tensor.tensor import Tensor


class Flatten(Module):
    """Flattens the dimensions from start_dim to end_dim into one; by default all but the first.

    Args:
        start_dim: the first dimension to flatten.
        end_dim: the last one.

    Shape:
        Input (*, S_start, ..., S_end, *), output (*, product of S_i, *).

    Example:
        >>> nn.Flatten()(torch.zeros(32, 1, 5, 5)).size()
        torch.Size([32, 25])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits a dimension into several.

    Args:
        dim: the dimension.
        unflattened_size: the sizes to split it into; one may be -1.

    Example:
        >>> nn.Unflatten(1, (2, 5, 5))(torch.zeros(3, 50)).size()
        torch.Size([3, 2, 5, 5])
    """

    def __init__(self, dim: int | str, unflattened_size: Any) -> None:
        super().__init__()
        if isinstance(dim, str):
            raise TypeError("Unflatten: dimensions have no names here, dim must be an int")
        if isinstance(unflattened_size, int) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(
                f"unflattened_size must be tuple of ints, but found {unflattened_size!r} of type "
                f"{type(unflattened_size).__name__}"
            )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, tuple(self.unflattened_size))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
