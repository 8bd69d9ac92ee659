"""The declared operations, and arrays for their samples in every dtype and layout."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import numpy as np

import rushlight.ops
from rushlight import dtypes
from rushlight.ops.declare import OPERATIONS, Operation, Sample
from rushlight.tensor.tensor import Tensor, wrap

FLOATING = ("float64", "float32", "float16", "bfloat16")
INTEGER = ("int64", "int32", "uint8")


@functools.cache
def declared() -> dict[str, Operation]:
    for module in pkgutil.walk_packages(rushlight.ops.__path__, "rushlight.ops."):
        importlib.import_module(module.name)
    return OPERATIONS


class Maker:
    """Makes the arrays of samples: random, the same ones every time."""

    def __init__(self, dtype: str = "float64") -> None:
        self.dtype = dtype
        self.random = np.random.default_rng(20)

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0, dtype: Any = None) -> np.ndarray[Any, Any]:
        wanted = numpy_dtype(self.dtype if dtype is None else dtype)
        if wanted.kind == "b":
            return np.asarray(self.random.random(shape) < 0.5)
        if wanted.kind in "iu":
            low, high = int(np.ceil(low)), int(np.floor(high))
            low = max(low, 0) if wanted.kind == "u" else low
            return np.asarray(self.random.integers(low, max(high, low + 1), shape), wanted)
        return np.asarray(self.random.uniform(low, high, shape)).astype(wanted)


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    return getattr(dtypes, dtype if dtype != "bool" else "bool_").numpy if isinstance(dtype, str) else np.dtype(dtype)


def samples(operation: Operation, dtype: str = "float64") -> list[Sample]:
    return list(operation.all_samples(Maker(dtype)))


def is_floating(value: Any) -> bool:
    return isinstance(value, np.ndarray) and dtypes.of_numpy(value.dtype).is_floating_point


def tensors(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([wrap(a) if isinstance(a, (np.ndarray, np.generic)) else a for a in args])


def arrays_of(result: Any) -> list[np.ndarray[Any, Any]]:
    several = result if isinstance(result, (tuple, list)) else (result,)
    return [r.array if isinstance(r, Tensor) else np.asarray(r) for r in several]


def strided(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = np.repeat(array, 2, axis=-1)
    return wide[..., ::2]


def reversed_(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.flip(np.flip(array).copy())


def column_major(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(array, order="F")


def broadcast(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.broadcast_to(array[:1], array.shape) if array.shape[0] else array


LAYOUTS = {"strided": strided, "reversed": reversed_, "column_major": column_major, "broadcast": broadcast}


def laid_out(sample: Sample) -> Iterator[tuple[str, Sample]]:
    """The sample as it is and with its arrays in other layouts."""
    yield "contiguous", sample
    for name, layout in LAYOUTS.items():
        if name == "broadcast" and not all(is_floating(a) for a in sample.args if isinstance(a, np.ndarray)):
            continue  # indices and masks must stay what they are
        changed = [layout(a) if isinstance(a, np.ndarray) and a.ndim else a for a in sample.args]
        yield name, Sample(tuple(changed), sample.options)
