"""Special functions that NumPy lacks, for meanings: `special(xp, "erf")(x)` is the namespace's own where it has one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def special(xp: Any, name: str) -> Callable[..., Any]:
    """The function `name` of the array namespace `xp`; the NumPy one of this module where `xp` has none."""
    found = getattr(xp, name, None)
    return _FUNCTIONS[name] if found is None else found


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _of_scalars(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """A function of floats as one of arrays, item by item; of integers, as NumPy's functions, it gives float64."""
    vectorized = np.vectorize(function, otypes=[np.float64])

    def of_arrays(x: Any) -> Any:
        x = np.asarray(x)
        return vectorized(x).astype(np.float64 if x.dtype.kind in "biu" else x.dtype)

    return of_arrays


def _lgamma(x: float) -> float:
    if not math.isfinite(x):
        return abs(x)
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x)


def _digamma(x: float) -> float:
    """By reflection, recurrence and the asymptotic series."""
    if x == 0:
        return math.copysign(math.inf, -x)
    if not math.isfinite(x):
        return x if x > 0 else math.nan
    result = 0.0
    if x < 0:
        if x == math.floor(x):
            return math.nan
        result, x = -math.pi / math.tan(math.pi * (x - math.floor(x))), 1 - x
    while x < 10:
        result -= 1 / x
        x += 1
    z = 1 / (x * x)
    tail = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * 691 / 32760)))))
    return result + math.log(x) - 0.5 / x - tail


def _erfinv(x: float) -> float:
    """S. Winitzki's closed form (2008), refined by Halley's steps."""
    size = abs(x)
    if not size < 1:
        return math.copysign(math.inf, x) if size == 1 else math.nan
    if x == 0:
        return x
    logarithm = math.log1p(-x * x)
    a = 2 / (0.147 * math.pi) + logarithm / 2
    y = math.sqrt(math.sqrt(a * a - logarithm / 0.147) - a)
    for _ in range(3):
        error = math.erf(y) - size if size < 0.5 else (1 - size) - math.erfc(y)
        step = error / (2 / math.sqrt(math.pi) * math.exp(-y * y))
        y -= step / (1 + y * step)
    return math.copysign(y, x)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": _sigmoid,
    "erf": _of_scalars(math.erf),
    "erfc": _of_scalars(math.erfc),
    "erfinv": _of_scalars(_erfinv),
    "normal_cdf": _of_scalars(lambda x: 0.5 * math.erfc(x * -math.sqrt(0.5))),
    "lgamma": _of_scalars(_lgamma),
    "digamma": _of_scalars(_digamma),
}
