"""How gamma and beta numbers move with their parameters, where what they were drawn from is held: dx / da.

By the distribution function F(x; a), which such a move leaves as it is: dx / da = -(dF / da) / (dF / dx). (Figurnov,
Mohamed and Mnih, Implicit reparameterization gradients, 2018.) F is the incomplete gamma or beta function, here by
its series and continued fraction, whose terms are differentiated one by one; in float64, to about 1e-8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.tensor.tensor import wrap

Array = np.ndarray[Any, Any]

_MOST = 20000  # terms
_CLOSE = 1e-10


def _digamma(x: Array) -> Array:
    found: Array = wrap(np.ascontiguousarray(x)).digamma().array
    return found


def gamma_slope(x: Array, a: Array) -> Array:
    """dx / da of a standard gamma number x > 0 of concentration a > 0; of one shape and dtype, as is the result."""
    x64, a64 = np.broadcast_arrays(x.astype(np.float64), a.astype(np.float64))
    x64 = np.maximum(x64, np.finfo(np.float64).tiny)
    found = np.empty(x64.shape)
    low = x64 < a64 + 1
    found[low] = _gamma_series(x64[low], a64[low])
    found[~low] = _gamma_fraction(x64[~low], a64[~low])
    return found.astype(x.dtype)


def _gamma_series(x: Array, a: Array) -> Array:
    """By P(a, x) = sum of e^-x x^(a + k) / Gamma(a + k + 1), for x below a + 1."""
    if not x.size:
        return x
    term, weight = x / a, np.log(x) - _digamma(a) - 1 / a
    total = term * weight
    for k in range(1, _MOST):
        term = term * (x / (a + k))
        weight = weight - 1 / (a + k)
        added = term * weight
        total += added
        if k % 8 == 0 and np.all(np.abs(added) <= _CLOSE * np.abs(total)):
            break
    return -total


def _gamma_fraction(x: Array, a: Array) -> Array:
    """By Q(a, x) = e^-x x^a / Gamma(a) / (x + 1 - a - (1 - a) / (x + 3 - a - ...)), for x above a + 1."""
    if not x.size:
        return x
    fraction, slope = np.zeros_like(x), np.zeros_like(x)
    for n in range(int(60 + 12 * np.sqrt(a.max())), -1, -1):
        # f_n = 1 / (x + 2n + 1 - a - (n + 1)(n + 1 - a) f_(n + 1))
        factor = (n + 1) * (n + 1 - a)
        below = x + 2 * n + 1 - a - factor * fraction
        slope = (1 - (n + 1) * fraction + factor * slope) / (below * below)
        fraction = 1 / below
    return x * (fraction * (np.log(x) - _digamma(a)) + slope)


def beta_slope(x: Array, a: Array, b: Array) -> Array:
    """dx / da of a beta number x of concentrations a and b, on (0, 1); of one shape and dtype, as is the result."""
    tiny = np.finfo(np.float64).tiny
    x64, a64, b64 = np.broadcast_arrays(*[array.astype(np.float64) for array in (x, a, b)])
    x64 = np.clip(x64, tiny, 1 - np.finfo(np.float64).eps)
    found = np.empty(x64.shape)
    low = x64 < (a64 + 1) / (a64 + b64 + 2)
    found[low] = -_beta_series(x64[low], a64[low], b64[low], False)
    found[~low] = _beta_series(1 - x64[~low], b64[~low], a64[~low], True)
    return found.astype(x.dtype)


def _beta_series(x: Array, a: Array, b: Array, of_second: bool) -> Array:
    """The derivative of I_x(a, b) for a, or for b, over the density.

    By I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) times the sum of (a + b)_n / (a + 1)_n x^n, for x at most about the mean.
    """
    if not x.size:
        return x
    term, weight = np.ones_like(x), np.zeros_like(x)
    total, slope = term.copy(), np.zeros_like(x)
    for n in range(1, _MOST):
        term = term * ((a + b + n - 1) / (a + n) * x)
        weight = weight + 1 / (a + b + n - 1) - (0 if of_second else 1 / (a + n))
        total += term
        added = term * weight
        slope += added
        if n % 8 == 0 and np.all(np.abs(added) + term <= _CLOSE * (np.abs(slope) + total)):
            break
    factor = np.log1p(-x) - _digamma(b) if of_second else np.log(x) - _digamma(a) - 1 / a
    return x * (1 - x) / a * (total * (factor + _digamma(a + b)) + slope)
