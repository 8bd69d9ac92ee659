"""Data types with PyTorch's names, and its rules of type promotion."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from rushlight import core
from rushlight.errors import DtypeError


class dtype:
    """The type of a tensor's elements, such as `float32`; prints as PyTorch's do."""

    __slots__ = ("_numpy", "is_floating_point", "name", "rank")

    def __init__(self, name: str, rank: int, is_floating_point: bool = False) -> None:
        self.name = name
        self.rank = rank
        self.is_floating_point = is_floating_point
        self._numpy: np.dtype[Any] | None = None

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype; `bfloat16` comes from the package ml_dtypes, imported when it is first used."""
        if self._numpy is None:
            if self.name == "bfloat16":
                import ml_dtypes

                self._numpy = np.dtype(ml_dtypes.bfloat16)
                if core.native is not None:
                    core.native.register_bfloat16(self._numpy)
            else:
                self._numpy = np.dtype(self.name)
            _from_numpy[self._numpy] = self
        return self._numpy

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.numpy.itemsize

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self not in (uint8, bool_)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.name,)


_from_numpy: dict[np.dtype[Any], dtype] = {}

bool_ = dtype("bool", 0)
uint8 = dtype("uint8", 1)
int8 = dtype("int8", 1)
int16 = dtype("int16", 2)
int32 = dtype("int32", 3)
int64 = dtype("int64", 4)
float16 = dtype("float16", 5, True)
bfloat16 = dtype("bfloat16", 5, True)
float32 = dtype("float32", 6, True)
float64 = dtype("float64", 7, True)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
FLOATING = (float16, bfloat16, float32, float64)
for _dtype in ALL:
    if _dtype is not bfloat16:
        _dtype.numpy  # noqa: B018 (fills the table)

_named = {d.name: d for d in ALL}
_default = float32


def _by_name(name: str) -> dtype:
    return _named[name]


def of_numpy(numpy_dtype: np.dtype[Any]) -> dtype:
    """The dtype of a NumPy dtype; raises DtypeError for one that tensors don't have (object, str, complex ...)."""
    found = _from_numpy.get(numpy_dtype)
    if found is None:
        if numpy_dtype.name in _named:
            found = _named[numpy_dtype.name]
            if found.numpy == numpy_dtype:
                return found
        raise DtypeError(
            f"can't make a tensor of NumPy dtype {numpy_dtype}; the dtypes are " + ", ".join(d.name for d in ALL)
        )
    return found


def as_numpy(of: Any) -> np.dtype[Any]:
    """The NumPy dtype of a `dtype`, of a Python type (`float`, `int`, `bool`) or of anything that NumPy takes."""
    if isinstance(of, dtype):
        return of.numpy
    if of is float:
        return _default.numpy
    if of is int:
        return int64.numpy
    if of is bool:
        return bool_.numpy
    return of_numpy(np.dtype(of)).numpy


def get_default_dtype() -> dtype:
    """The dtype of new floating tensors made from Python numbers: float32 unless changed."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Changes the dtype of new floating tensors; raises TypeError for one that isn't floating."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise DtypeError(f"set_default_dtype takes a floating dtype, not {d}")
    _default = d


@functools.lru_cache(maxsize=256)
def _promote(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    if a == b:
        return a
    left, right = of_numpy(a), of_numpy(b)
    if left.is_floating_point != right.is_floating_point:
        return a if left.is_floating_point else b
    if left.is_floating_point:
        if left.rank == right.rank:
            return float32.numpy
        return a if left.rank > right.rank else b
    return np.promote_types(a, b)


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both fit, by PyTorch's rules (int64 with float16 gives float16)."""
    return of_numpy(_promote(a.numpy, b.numpy))


def _category(d: np.dtype[Any]) -> int:
    found = of_numpy(d)
    return 2 if found.is_floating_point else 0 if found is bool_ else 1


def result_type(*operands: Any) -> np.dtype[Any]:
    """The common NumPy dtype of arrays, Specs and Python numbers, as PyTorch promotes them.

    Arrays with dimensions decide; 0-d arrays and then numbers matter only where they are of a higher category
    (bool < integer < floating).
    """
    groups: list[np.dtype[Any] | None] = [None, None, None]
    for operand in operands:
        if isinstance(operand, bool):
            level, d = 2, bool_.numpy
        elif isinstance(operand, int):
            level, d = 2, int64.numpy
        elif isinstance(operand, float):
            level, d = 2, _default.numpy
        else:
            level, d = (0 if len(operand.shape) else 1), operand.dtype
        known = groups[level]
        groups[level] = d if known is None else _promote(known, d)
    result: np.dtype[Any] | None = None
    for d_or_none in reversed(groups):
        if d_or_none is None:
            continue
        if result is None or _category(d_or_none) >= _category(result):
            result = d_or_none
    assert result is not None
    return result


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch's promotion lets a result of one dtype be written into another: never to a lower category."""
    return _category(from_.numpy) <= _category(to.numpy)
