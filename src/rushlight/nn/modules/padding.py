"""Padding layers: constants, reflection, replication, and wrapping around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rushlight.nn.functional.dimensions import per_dimension
from rushlight.nn.functional.padding import pad
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor

Padding = int | Sequence[int]


class _Pad(Module):
    dims: ClassVar[int]
    mode: ClassVar[str]
    padding: tuple[int, ...]

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding = per_dimension(type(self).__name__, "padding", padding, 2 * self.dims)

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"
    value: float

    def __init__(self, padding: Padding, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Padding) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """Adds `value` to both ends of the last dimension.

    Args:
        padding: an int for all ends, or (left, right). A negative one takes away.
        value: what is added.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L + left + right),
        or both without N.

    Example:
        >>> nn.ConstantPad1d((1, 2), 7.0)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[7., 1., 2., 3., 7., 7.]])
    """

    dims = 1


class ConstantPad2d(_ConstantPad):
    """Adds `value` to both ends of the last two dimensions.

    Args:
        padding: an int for all ends, or (left, right, top, bottom). A negative one takes away.
        value: what is added.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ConstantPad2d((1, 1, 2, 0), 7.0)(torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 3, 6, 6])
    """

    dims = 2


class ConstantPad3d(_ConstantPad):
    """Adds `value` to both ends of the last three dimensions.

    Args:
        padding: an int for all ends, or (left, right, top, bottom, front, back). A negative one takes away.
        value: what is added.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D + front + back, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ConstantPad3d((1, 1, 2, 0, 0, 1), 7.0)(torch.randn(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 5, 6, 6])
    """

    dims = 3


class ZeroPad1d(_ZeroPad):
    """Adds zeros to both ends of the last dimension.

    Args:
        padding: an int for all ends, or (left, right). A negative one takes away.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L + left + right),
        or both without N.

    Example:
        >>> nn.ZeroPad1d((1, 2))(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 1., 2., 3., 0., 0.]])
    """

    dims = 1


class ZeroPad2d(_ZeroPad):
    """Adds zeros to both ends of the last two dimensions.

    Args:
        padding: an int for all ends, or (left, right, top, bottom). A negative one takes away.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ZeroPad2d((1, 1, 2, 0))(torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 3, 6, 6])
    """

    dims = 2


class ZeroPad3d(_ZeroPad):
    """Adds zeros to both ends of the last three dimensions.

    Args:
        padding: an int for all ends, or (left, right, top, bottom, front, back). A negative one takes away.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D + front + back, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ZeroPad3d((1, 1, 2, 0, 0, 1))(torch.randn(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 5, 6, 6])
    """

    dims = 3


class _ReflectionPad(_Pad):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Mirrors the last dimension about both ends; the items at the ends aren't repeated.

    Args:
        padding: an int for all ends, or (left, right). Each less than the size of its dimension.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L + left + right),
        or both without N.

    Example:
        >>> nn.ReflectionPad1d((1, 2))(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[2., 1., 2., 3., 2., 1.]])
    """

    dims = 1


class ReflectionPad2d(_ReflectionPad):
    """Mirrors the last two dimensions about both ends; the items at the ends aren't repeated.

    Args:
        padding: an int for all ends, or (left, right, top, bottom). Each less than the size of its dimension.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ReflectionPad2d((1, 1, 2, 0))(torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 3, 6, 6])
    """

    dims = 2


class ReflectionPad3d(_ReflectionPad):
    """Mirrors the last three dimensions about both ends; the items at the ends aren't repeated.

    Args:
        padding: an int for all ends, or (left, right, top, bottom, front, back).
            Each less than the size of its dimension.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D + front + back, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ReflectionPad3d((1, 1, 2, 0, 0, 1))(torch.randn(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 5, 6, 6])
    """

    dims = 3


class _ReplicationPad(_Pad):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Repeats the first and the last item of the last dimension.

    Args:
        padding: an int for all ends, or (left, right). A negative one takes away.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L + left + right),
        or both without N.

    Example:
        >>> nn.ReplicationPad1d((1, 2))(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 1., 2., 3., 3., 3.]])
    """

    dims = 1


class ReplicationPad2d(_ReplicationPad):
    """Repeats the first and the last item of the last two dimensions.

    Args:
        padding: an int for all ends, or (left, right, top, bottom). A negative one takes away.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ReplicationPad2d((1, 1, 2, 0))(torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 3, 6, 6])
    """

    dims = 2


class ReplicationPad3d(_ReplicationPad):
    """Repeats the first and the last item of the last three dimensions.

    Args:
        padding: an int for all ends, or (left, right, top, bottom, front, back). A negative one takes away.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D + front + back, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.ReplicationPad3d((1, 1, 2, 0, 0, 1))(torch.randn(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 5, 6, 6])
    """

    dims = 3


class _CircularPad(_Pad):
    mode = "circular"


class CircularPad1d(_CircularPad):
    """Continues the last dimension at both ends with what is at the other end.

    Args:
        padding: an int for all ends, or (left, right). Each at most the size of its dimension.

    Shape:
        input (N, C, L) or (C, L), output (N, C, L + left + right),
        or both without N.

    Example:
        >>> nn.CircularPad1d((1, 2))(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 1., 2., 3., 1., 2.]])
    """

    dims = 1


class CircularPad2d(_CircularPad):
    """Continues the last two dimensions at both ends with what is at the other end.

    Args:
        padding: an int for all ends, or (left, right, top, bottom). Each at most the size of its dimension.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.CircularPad2d((1, 1, 2, 0))(torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 3, 6, 6])
    """

    dims = 2


class CircularPad3d(_CircularPad):
    """Continues the last three dimensions at both ends with what is at the other end.

    Args:
        padding: an int for all ends, or (left, right, top, bottom, front, back).
            Each at most the size of its dimension.

    Shape:
        input (N, C, D, H, W) or (C, D, H, W), output (N, C, D + front + back, H + top + bottom, W + left + right),
        or both without N.

    Example:
        >>> nn.CircularPad3d((1, 1, 2, 0, 0, 1))(torch.randn(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 5, 6, 6])
    """

    dims = 3
