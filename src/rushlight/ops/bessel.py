"""The modified Bessel functions of the first kind, of orders 0 and 1."""

from __future__ import annotations

import numpy as np

from rushlight.errors import DtypeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.elementwise import divide, equal, sign, where


@operation()
def bessel(xp, x, *, order, scaled=False):
    """I_0 or I_1 of x; scaled: times e^-|x|."""
    wide = x.astype(np.float64)
    found = _scaled(wide, order)
    with np.errstate(over="ignore"):
        return (found if scaled else found * np.exp(np.abs(wide))).astype(x.dtype)


def _scaled(x, order):
    """By the series of positive terms up to 20, by the asymptotic one beyond."""
    size = np.abs(x)
    small = np.minimum(size, 20.0)
    term = (small / 2) ** order * np.exp(-small)
    series = term.copy()
    for k in range(1, 70):
        term = term * (small / 2) ** 2 / (k * (k + order))
        series += term
    large = np.maximum(size, 20.0)
    term = 1 / np.sqrt(2 * np.pi * large)
    asymptotic = term.copy()
    for k in range(1, 20):
        term = -term * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k * large)
        asymptotic += term
    found = np.where(size <= 20, series, asymptotic)
    return np.sign(x) * found if order else found


@bessel.shape
def _(x, *, order, scaled=False):
    if x.dtype.kind in "iub":
        raise DtypeError(f"special.i{order}: needs a floating tensor, got {x.dtype}")
    return Spec(tuple(x.shape), x.dtype)


@bessel.gradient
def _(g, y, x, *, order, scaled=False):
    other = bessel(x, order=1 - order, scaled=scaled)
    slope = other
    if order == 1:
        slope = other - where(equal(x, 0), 0.5, divide(y, where(equal(x, 0), 1.0, x)))
    return g * (slope - sign(x) * y if scaled else slope)


@bessel.samples
def _(make):
    yield Sample((make(3, 4),), {"order": 0})
    yield Sample((make(3, 4, low=0.3),), {"order": 1})
    yield Sample((make(5, low=0.3, high=4.0),), {"order": 0, "scaled": True})
    yield Sample((make(5, low=-4.0, high=-0.3),), {"order": 1, "scaled": True})
