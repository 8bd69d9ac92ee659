"""`rushlight.special`: the special functions under SciPy's names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rushlight import dtypes
from rushlight.ops.bessel import bessel
from rushlight.ops.elementwise import digamma as digamma
from rushlight.ops.elementwise import digamma as psi
from rushlight.ops.elementwise import erf as erf
from rushlight.ops.elementwise import erfc as erfc
from rushlight.ops.elementwise import erfinv as erfinv
from rushlight.ops.elementwise import exp2 as exp2
from rushlight.ops.elementwise import expm1 as expm1
from rushlight.ops.elementwise import lgamma as gammaln
from rushlight.ops.elementwise import log1p as log1p
from rushlight.ops.elementwise import sigmoid as expit
from rushlight.ops.elementwise import sinc as sinc
from rushlight.ops.elementwise import trigamma as trigamma
from rushlight.ops.elementwise import xlogy as xlogy
from rushlight.tensor.pointwise import log_softmax as log_softmax
from rushlight.tensor.pointwise import logit as logit
from rushlight.tensor.pointwise import round as round
from rushlight.tensor.pointwise import softmax as softmax
from rushlight.tensor.reducing import logsumexp as logsumexp

if TYPE_CHECKING:
    from rushlight.tensor import Tensor


def entr(input: Tensor) -> Tensor:
    """-x log(x), 0 at 0 and -inf below."""
    return (0 - xlogy(input, input)).masked_fill(input < 0, -math.inf)  # type: ignore[no-any-return]


def xlog1py(input: Tensor, other: Tensor) -> Tensor:
    """x log(1 + y), 0 where x is 0."""
    return xlogy(input, 1 + other)  # type: ignore[no-any-return]


def ndtr(input: Tensor) -> Tensor:
    """The probability that a standard normal number is at most x."""
    return erfc(input * -math.sqrt(0.5)) / 2  # type: ignore[no-any-return]


def ndtri(input: Tensor) -> Tensor:
    """The inverse of `ndtr`."""
    return math.sqrt(2) * erfinv(2 * input - 1)  # type: ignore[no-any-return]


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`; for n of 2 and more at positive x only, NaN elsewhere.

    Raises ValueError for a negative n.
    """
    if n < 0:
        raise ValueError(f"polygamma(n, x) does not support negative n, got {n}")
    if n < 2:
        return (digamma, trigamma)[n](input)  # type: ignore[no-any-return]
    # (-1)^(n+1) n! times Hurwitz's zeta function of n + 1: its first terms, and the rest by Euler and Maclaurin.
    x = input.masked_fill(input <= 0, math.nan)
    s, terms = n + 1, 12
    total = sum((x + k) ** -s for k in range(terms))
    z = x + terms
    rising, series = float(s), z ** (1 - s) / (s - 1) + 0.5 * z**-s
    for k, bernoulli in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)):
        series = series + bernoulli / math.factorial(2 * k + 2) * rising * z ** (-s - 2 * k - 1)
        rising *= (s + 2 * k + 1) * (s + 2 * k + 2)
    return (total + series) * float((-1) ** s * math.factorial(n))


def multigammaln(a: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of p dimensions, for a > (p - 1) / 2."""
    total: Tensor = sum(gammaln(a - 0.5 * i) for i in range(p))
    return total + p * (p - 1) / 4 * math.log(math.pi)


def _of_order(input: Tensor, order: int, scaled: bool) -> Tensor:
    x = input if input.is_floating_point() else input.to(dtypes.get_default_dtype())
    return bessel(x, order=order, scaled=scaled)  # type: ignore[no-any-return]


def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind, of order 0."""
    return _of_order(input, 0, False)


def i0e(input: Tensor) -> Tensor:
    """`i0` times e^-|x|."""
    return _of_order(input, 0, True)


def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind, of order 1."""
    return _of_order(input, 1, False)


def i1e(input: Tensor) -> Tensor:
    """`i1` times e^-|x|."""
    return _of_order(input, 1, True)


__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e",
    "log1p", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round",
    "sinc", "softmax", "xlog1py", "xlogy",
]  # fmt: skip
