"""Gamma, Poisson and binomial numbers as `core/rejection.cpp` draws them, for where the native core is off.

Sources: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables" (2000); W. Hoermann, "The
transformed rejection method for generating Poisson random variables" (1993) and "The generation of binomial random
variates" (1993); L. Devroye, "Non-Uniform Random Variate Generation" (1986), for the inversions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Uniform = Callable[[], float]

_THIRD = float(np.float32(1) / np.float32(3))  # constants in single precision decide what is accepted
_SQUEEZE = float(np.float32(0.0331))
_STIRLING = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip


class NormalPairs:
    """Standard normal numbers, by Box and Muller: the second of a pair waits for the next call."""

    def __init__(self, uniform: Uniform, waiting: float | None) -> None:
        self.uniform = uniform
        self.waiting = waiting

    def next(self) -> float:
        """The next number."""
        if self.waiting is not None:
            value, self.waiting = self.waiting, None
            return value
        angle = 2 * math.pi * self.uniform()
        radius = math.sqrt(-2 * math.log1p(-self.uniform()))
        self.waiting = radius * math.sin(angle)
        return radius * math.cos(angle)


def gamma(shape: float, normal: NormalPairs) -> float:
    """A gamma number of this shape and rate 1."""
    scale = 1.0
    if shape < 1:
        if shape == 0:
            return 0.0
        scale = (1 - normal.uniform()) ** (1 / shape)
        shape += 1
    d = shape - _THIRD
    c = 1 / math.sqrt(9 * d)
    while True:
        y = 0.0
        while y <= 0:
            x = normal.next()
            y = 1 + c * x
        v = y * y * y
        u = 1 - normal.uniform()
        square = x * x
        if u < 1 - _SQUEEZE * square * square or math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v


def poisson(rate: float, uniform: Uniform) -> float:
    """A count of Poisson's distribution."""
    if rate == 0:
        return 0
    if rate < 10:  # a product of uniform numbers, until it falls under exp(-rate)
        count, product, bound = 0, 1.0, math.exp(-rate)
        while True:
            product *= uniform()
            if product <= bound:
                return count
            count += 1
    root, logarithm = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    accepted = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = uniform() - 0.5, uniform()
        distance = 0.5 - abs(u)
        k = math.floor((2 * a / distance + b) * u + rate + 0.43) if distance > 0 else -1
        if distance >= 0.07 and v <= accepted:
            return k
        if k < 0 or (distance < 0.013 and v > distance) or v == 0:
            continue
        squeeze = math.log(v) + math.log(inverse_alpha) - math.log(a / (distance * distance) + b)
        if squeeze <= -rate + k * logarithm - math.lgamma(k + 1):
            return k


def binomial(count: Any, probability: Any, uniform: Uniform) -> Any:
    """The number of successes; both arguments are NumPy numbers of one dtype, which is the arithmetic's."""
    if count <= 0 or probability <= 0:
        return 0
    if probability >= 1:
        return count
    if probability <= 0.5:
        return _successes(count, probability, uniform)
    return count - _successes(count, 1 - probability, uniform)


def _successes(count: Any, probability: Any, uniform: Uniform) -> Any:
    """Successes of a probability up to one half: waiting times are summed where few are expected."""
    if not count * probability >= 10:
        logarithm, total, found = float(np.log1p(-probability)), 0.0, 0
        while True:
            u = uniform()
            total += math.ceil(math.log(u) / logarithm) if u > 0 else math.inf
            if total > count:
                return found
            found += 1
    deviation = float(np.sqrt(count * probability * (1 - probability)))
    odds, center = float(probability / (1 - probability)), float(count * probability) + 0.5
    m = float(np.floor((count + 1) * probability))
    n, p = float(count), float(probability)
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    accepted = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * deviation
    while True:
        u, v = uniform() - 0.5, uniform()
        distance = 0.5 - abs(u)
        k = math.floor((2 * a / distance + b) * u + center) if distance > 0 else -1
        if k < 0 or k > n:
            continue
        if distance >= 0.07 and v <= accepted:
            return k
        ratio = math.log(v * alpha / (a / (distance * distance) + b)) if v > 0 else -math.inf
        bound = (
            (m + 0.5) * math.log((m + 1) / (odds * (n - m + 1)))
            + (n + 1) * math.log((n - m + 1) / (n - k + 1))
            + (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
            + _stirling_tail(m)
            + _stirling_tail(n - m)
            - _stirling_tail(k)
            - _stirling_tail(n - k)
        )
        if ratio <= bound:
            return k


def _stirling_tail(k: float) -> float:
    """What Stirling's approximation of log k! leaves."""
    if k < len(_STIRLING):
        return _STIRLING[int(k)]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
