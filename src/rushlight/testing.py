"""`rushlight.testing`: `assert_close`, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.tensor import data
from rushlight.tensor.tensor import Tensor

# Relative and absolute tolerances, by dtype; integers and bools must be equal.
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Raises AssertionError where |actual - expected| > atol + rtol |expected| somewhere.

    Args:
        actual, expected: tensors, arrays, numbers, or dicts and sequences of them.
        rtol, atol: the tolerances; both or none, by default those of the wider dtype.
        equal_nan: whether NaN equals NaN.
        check_dtype, check_stride: whether the dtypes and the strides must agree, too.
        msg: the message, or a function that makes it of the usual one.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or unspecified, but got rtol={rtol} and atol={atol}"
        )
    problem = _difference(actual, expected, rtol, atol, equal_nan, check_dtype, check_stride, "")
    if problem is not None:
        raise AssertionError(msg(problem) if callable(msg) else msg or problem)


def _difference(
    actual: Any, expected: Any, rtol: Any, atol: Any, equal_nan: bool, check_dtype: bool, check_stride: bool, where: str
) -> str | None:
    options = (rtol, atol, equal_nan, check_dtype, check_stride)
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            return f"The keys of the mappings do not match: {sorted(actual)} and {sorted(expected)}{where}"
        pairs: Any = [(key, actual[key], expected[key]) for key in actual]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}{where}"
        pairs = [(i, a, e) for i, (a, e) in enumerate(zip(actual, expected, strict=True))]
    else:
        return _tensors(actual, expected, *options, where)
    for key, a, e in pairs:
        problem = _difference(a, e, *options, f"{where}\n\nThe failure occurred for item [{key!r}]")
        if problem is not None:
            return problem
    return None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, Tensor))


def _tensors(
    actual: Any, expected: Any, rtol: Any, atol: Any, equal_nan: bool, check_dtype: bool, check_stride: bool, where: str
) -> str | None:
    numbers = not isinstance(actual, (Tensor, np.ndarray)) and not isinstance(expected, (Tensor, np.ndarray))
    if actual is None or expected is None:
        return None if actual is expected else f"None mismatch: {actual} is not {expected}{where}"
    a, e = (
        value.detach()
        if isinstance(value, Tensor)
        else data.tensor(value, dtype=dtypes.float64 if isinstance(value, float) else None)
        for value in (actual, expected)
    )
    if a.shape != e.shape:
        return f"The values for attribute 'shape' do not match: {a.shape} != {e.shape}.{where}"
    if check_dtype and a.dtype is not e.dtype and not numbers:
        return f"The values for attribute 'dtype' do not match: {a.dtype} != {e.dtype}.{where}"
    if check_stride and a.stride() != e.stride():
        return f"The values for attribute 'stride()' do not match: {a.stride()} != {e.stride()}.{where}"
    if rtol is None:
        found = [_TOLERANCES.get(t.dtype.name, (0.0, 0.0)) for t in (a, e)]
        rtol, atol = max(f[0] for f in found), max(f[1] for f in found)
    x, y = a.array.astype(np.float64), e.array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.where(x == y, 0.0, np.abs(x - y))
        close = (distance <= atol + rtol * np.abs(y)) & np.isfinite(distance)
    if equal_nan:
        close |= np.isnan(x) & np.isnan(y)
    if bool(close.all()):
        return None
    what = "Scalars" if x.ndim == 0 else "Tensor-likes"
    if x.ndim == 0:
        return (
            f"Scalars are not close!\n\nExpected {expected} but got {actual}.\nAbsolute difference: "
            f"{float(distance)} (up to {atol} allowed)\nRelative difference: {_relative(distance, y)} (up to {rtol} "
            f"allowed){where}"
        )
    wrong = int((~close).sum())
    measured = np.where(close, 0.0, np.nan_to_num(distance, nan=np.inf))
    at = tuple(int(i) for i in np.unravel_index(int(measured.argmax()), x.shape))
    return (
        f"{what} are not close!\n\nMismatched elements: {wrong} / {x.size} ({100 * wrong / x.size:.1f}%)\n"
        f"Greatest absolute difference: {float(distance[at])} at index {at} (up to {atol} allowed)\n"
        f"Greatest relative difference: {_relative(distance[at], y[at])} at index {at} (up to {rtol} allowed){where}"
    )


def _relative(distance: Any, expected: Any) -> float:
    return float(distance) / abs(float(expected)) if float(expected) else float("inf")
