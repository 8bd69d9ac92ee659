"""Options that are given once for all spatial dimensions, or once for each, and inputs with or without a batch."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rushlight.errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

Sizes = int | Sequence[int]


def per_dimension(name: str, option: str, value: Any, dims: int) -> tuple[int, ...]:
    """`value`, an int or one int for each spatial dimension, as a tuple of `dims` ints.

    Raises ShapeError where there are too many or too few of them, DtypeError where they aren't integers.
    """
    if type(value) is int:
        return (value,) * dims
    if type(value) is tuple and len(value) == dims and all(type(v) is int for v in value):
        return value
    try:
        values = tuple(operator.index(v) for v in value) if hasattr(value, "__iter__") else (operator.index(value),)
    except TypeError:
        raise DtypeError(f"{name}: {option} must be an int, or {dims} of them, but got {value!r}") from None
    if len(values) == 1:
        return values * dims
    if len(values) != dims:
        raise ShapeError(f"{name}: {option} must be one int, or one for each of {dims} dimensions, but got {value!r}")
    return values


def check_spatial(name: str, input: Tensor, dims: int) -> None:
    """Raises ShapeError unless `input` is (N, C, *S) or (C, *S) with `dims` spatial dimensions."""
    if input.ndim not in (dims + 1, dims + 2):
        spatial = ("L",), ("H", "W"), ("D", "H", "W")
        axes = ", ".join(spatial[dims - 1])
        raise ShapeError(
            f"{name}: expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input, (C, {axes}) or (N, C, {axes}), "
            f"but got {input.ndim}D input of size: {list(input.shape)}"
        )
