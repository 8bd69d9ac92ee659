"""Whole tensors compared: equal, or close to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rushlight.errors import DtypeError
from rushlight.tensor import tensor as tensors
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements."""
    if not isinstance(other, tensors.Tensor):
        raise TypeError(f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    return bool(np.array_equal(values_of(input, "equal"), values_of(other, "equal")))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol |other|, elementwise."""
    if not isinstance(other, tensors.Tensor):
        raise TypeError(f"isclose(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    if input.array.dtype != other.array.dtype:
        raise DtypeError(f"{input.dtype} did not match {other.dtype}")
    a, b = values_of(input, "isclose"), values_of(other, "isclose")
    if a.dtype.kind not in "iubf" or a.dtype.itemsize < 4:
        a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        return tensors.wrap(np.isclose(a, b, rtol, atol, equal_nan))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether |input - other| <= atol + rtol |other| for all elements."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())
