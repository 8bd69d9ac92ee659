"""Operators: the other operand is a tensor, a number or a NumPy array; anything else is Python's to refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.ops.declare import Operation, routing
from rushlight.tensor import tensor as tensors

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

_NUMBERS = frozenset([int, float, bool])


def operand(value: Any) -> Any:
    """`value` as an operation takes it, or NotImplemented."""
    if isinstance(value, (tensors.Tensor, int, float)):
        return float(value) if isinstance(value, np.floating) else value
    if isinstance(value, np.ndarray):
        return tensors.wrap(value) if value.ndim else value.item()
    if isinstance(value, np.generic):
        return value.item()
    return NotImplemented


def binary(operation: Operation) -> Callable[[Tensor, Any], Tensor]:
    """The operator of an operation of two tensors."""

    def method(self: Tensor, other: Any) -> Any:
        if type(other) not in _NUMBERS and not isinstance(other, tensors.Tensor):
            other = operand(other)
            if other is NotImplemented:
                return NotImplemented
        return routing.interpreter(operation, (self, other), {})

    method.__doc__ = operation.__doc__
    return method


def reflected(operation: Operation) -> Callable[[Tensor, Any], Tensor]:
    """The operator of an operation of two tensors, of which this one is the second."""

    def method(self: Tensor, other: Any) -> Any:
        if type(other) not in _NUMBERS and not isinstance(other, tensors.Tensor):
            other = operand(other)
            if other is NotImplemented:
                return NotImplemented
        return routing.interpreter(operation, (other, self), {})

    method.__doc__ = operation.__doc__
    return method


def assigned(operation: Operation) -> Callable[[Tensor, Any], Tensor]:
    """The operator that writes its result into the tensor, such as `+=`."""

    def method(self: Tensor, other: Any) -> Any:
        if type(other) not in _NUMBERS and not isinstance(other, tensors.Tensor):
            other = operand(other)
            if other is NotImplemented:
                return NotImplemented
        return routing.interpreter(operation, (self, other), {"out": self})

    method.__doc__ = operation.__doc__
    return method


def inplace(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """The in-place twin of an operation or function that takes `out`: `x.exp_()` for `exp`."""

    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        return function(self, *args, out=self, **options)

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"In-place version of `{function.__name__}`."
    return method


def overwriting(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """The in-place twin of a function that takes no `out`: its result is copied into the tensor."""

    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        return self.copy_(function(self, *args, **options))

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"In-place version of `{function.__name__}`."
    return method
