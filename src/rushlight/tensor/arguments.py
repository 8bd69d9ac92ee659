"""How PyTorch's functions take their arguments: sizes as numbers or as one sequence, axis for dim, dtypes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from rushlight import dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import DtypeError, ShapeError
from rushlight.tensor import tensor as tensors_

Function = TypeVar("Function", bound=Callable[..., Any])


def integer(function: str, name: str, value: Any) -> int:
    """`value` as an int; raises TypeError for what isn't one (a float index, a str)."""
    if type(value) is int:
        return value
    try:
        return operator.index(value)
    except (TypeError, RuntimeError):
        raise TypeError(f"{function}(): argument '{name}' must be int, not {type(value).__name__}") from None


def integers(function: str, name: str, values: Any) -> tuple[int, ...]:
    """Several ints, given as one sequence or as varargs that hold one sequence; raises TypeError for others."""
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = values[0]
    for value in values:
        if type(value) is not int:
            break
    else:
        return tuple(values)
    result = []
    for position, value in enumerate(values):
        try:
            result.append(operator.index(value))
        except (TypeError, RuntimeError):
            raise TypeError(
                f"{function}(): argument '{name}' must be tuple of ints, but found element of type "
                f"{type(value).__name__} at pos {position}"
            ) from None
    return tuple(result)


def size(function: str, values: tuple[Any, ...]) -> tuple[int, ...]:
    """The size of a new tensor; raises ShapeError where one is negative."""
    if not values:
        raise TypeError(f'{function}() missing 1 required positional arguments: "size"')
    if len(values) == 1 and hasattr(values[0], "shape") and values[0].shape and not isinstance(values[0], (int, float)):
        values = tuple(values[0].tolist())
    sizes = integers(function, "size", values)
    if any(n < 0 for n in sizes):
        raise ShapeError(f"{function}: Dimension size must be non-negative, got {sizes}")
    return sizes


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """The NumPy dtype of a `dtype` argument; raises TypeError for what isn't one."""
    if isinstance(dtype, Dtype):
        return dtype.numpy
    if dtype is None:
        return dtypes.get_default_dtype().numpy
    try:
        return dtypes.as_numpy(dtype)
    except (TypeError, DtypeError):
        raise DtypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}") from None


def one_dim(function: str, dim: Any, axis: Any) -> Any:
    """`dim`, for which NumPy's name `axis` may stand."""
    if axis is None:
        return dim
    if dim is not None:
        raise TypeError(f"{function}() got both 'dim' and 'axis'")
    return axis


def numpy_names(function: Function) -> Function:
    """Decorates a function of `dim` (and `keepdim`), for which NumPy's names `axis` and `keepdims` may stand."""

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        if "axis" in options or "keepdims" in options:
            for name, ours in (("axis", "dim"), ("keepdims", "keepdim")):
                if name in options:
                    if ours in options:
                        raise TypeError(f"{function.__name__}() got both '{ours}' and '{name}'")
                    options[ours] = options.pop(name)
        return function(*args, **options)

    return cast(Function, wrapper)


def tensors(function: str, values: Any) -> Sequence[Any]:
    """A sequence of tensors; raises TypeError for what isn't one."""
    if isinstance(values, tensors_.Tensor):
        return values.unbind(0)
    if not isinstance(values, (tuple, list)):
        raise TypeError(
            f"{function}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(values).__name__}"
        )
    for position, value in enumerate(values):
        if not isinstance(value, tensors_.Tensor):
            raise TypeError(
                f"expected Tensor as element {position} in argument 0 of {function}(), but got {type(value).__name__}"
            )
    return values
