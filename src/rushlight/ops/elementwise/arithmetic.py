"""Arithmetic, rounding, and the larger and smaller of two."""

import numpy as np

from rushlight.errors import InputError
from rushlight.ops.declare import Sample, Spec, broadcast_shapes, elementwise
from rushlight.ops.elementwise.comparison import where

# Arithmetic


@elementwise()
def add(xp, x, y):
    """x + y."""
    return x + y


@add.gradient
def _(g, _y, _a, _b):
    return lambda: g, lambda: g


@elementwise()
def subtract(xp, x, y):
    """x - y."""
    return x - y


@subtract.gradient
def _(g, _y, _a, _b):
    return lambda: g, lambda: -g


@elementwise()
def multiply(xp, x, y):
    """x * y."""
    return x * y


@multiply.gradient
def _(g, _y, a, b):
    return lambda: g * b, lambda: g * a


@elementwise(promotion="float", domain=(0.5, 3.0))
def divide(xp, x, y):
    """x / y; integers give a floating result."""
    return x / y


@divide.gradient
def _(g, _y, a, b):
    return lambda: g / b, lambda: -g * (a / b / b)


def _refuse_zero(operation):
    """Division of integers by zero raises, as in PyTorch; what is not known yet, in a trace, isn't looked at."""

    @operation.shape
    def _(x, y):
        spec = Spec(broadcast_shapes(operation.name, (x, y)), operation.result_dtype((x, y)))
        zero = not y.all() if isinstance(y, np.ndarray) else isinstance(y, int) and y == 0
        if zero and spec.dtype.kind in "iu":
            raise InputError(f"ZeroDivisionError: {operation.name} of integers by zero")
        return spec


@elementwise(domain=(0.5, 3.0))
def floor_divide(xp, x, y):
    """x / y rounded down."""
    return xp.floor_divide(x, y)


@elementwise(domain=(0.5, 3.0))
def trunc_divide(xp, x, y):
    """x / y rounded towards zero."""
    return xp.trunc(xp.divide(x, y))


@floor_divide.gradient
@trunc_divide.gradient
def _(g, _y, _a, _b):
    return lambda: g * 0.0, lambda: g * 0.0


@elementwise(domain=(0.5, 3.0))
def remainder(xp, x, y):
    """x - y floor(x / y), of the sign of y."""
    return xp.remainder(x, y)


@remainder.gradient
def _(g, _y, a, b):
    return lambda: g, lambda: -g * floor_divide(a, b)


@elementwise(domain=(0.5, 3.0))
def fmod(xp, x, y):
    """x - y trunc(x / y), of the sign of x."""
    return xp.fmod(x, y)


@fmod.gradient
def _(g, _y, a, b):
    return lambda: g, lambda: -g * trunc(a / b)


for _division in (floor_divide, trunc_divide, remainder, fmod):
    _refuse_zero(_division)


@elementwise()
def negative(xp, x):
    """-x."""
    return -x


@negative.gradient
def _(g, _y, _x):
    return -g


@elementwise(promotion="float", domain=(0.3, 3.0))
def reciprocal(xp, x):
    """1 / x."""
    return 1 / x


@reciprocal.gradient
def _(g, y, _x):
    return -g * (y * y)


@elementwise()
def absolute(xp, x):
    """|x|."""
    return xp.abs(x)


@absolute.gradient
def _(g, _y, x):
    return g * sign(x)


@elementwise()
def sign(xp, x):
    """-1, 0 or 1 by the sign of x; 0 for NaN."""
    return xp.where(x == x, xp.sign(x), 0)


@sign.gradient
def _(g, _y, _x):
    return g * 0.0


@elementwise(promotion="float")
def copysign(xp, x, y):
    """|x| with the sign of y."""
    return xp.copysign(x, y)


@copysign.gradient
def _(g, y, x, _sign):
    return lambda: where(x == 0, 0.0, g * (y / where(x == 0, 1.0, x))), lambda: g * 0.0


# Combinations


@elementwise()
def addcmul(xp, x, a, b, value):
    """x + value a b."""
    return x + value * (a * b)


@addcmul.gradient
def _(g, _y, _x, a, b, value):
    return lambda: g, lambda: g * (value * b), lambda: g * (value * a), None


@elementwise(promotion="float", domain=(0.5, 3.0))
def addcdiv(xp, x, a, b, value):
    """x + value a / b."""
    return x + value * (a / b)


@addcdiv.gradient
def _(g, _y, _x, a, b, value):
    return lambda: g, lambda: g * (value / b), lambda: -g * (value * a / (b * b)), None


for _combination in (addcmul, addcdiv):

    @_combination.samples
    def _(make):
        yield Sample((make(3, 4), make(3, 1), make(4, low=0.5), 0.7))


@elementwise(promotion="float")
def lerp(xp, x, end, weight):
    """x + weight (end - x)."""
    return xp.where(xp.abs(weight) < 0.5, x + weight * (end - x), end - (end - x) * (1 - weight))


@lerp.gradient
def _(g, _y, a, b, weight):
    return lambda: g * (1 - weight), lambda: g * weight, lambda: g * (b - a)


@elementwise()
def tied(xp, x, other):
    """x, whose gradient with respect to `other` is zero and not absent."""
    return xp.where(other == other, x, x)


@tied.gradient
def _(g, _y, _x, _other):
    return lambda: g, lambda: g * 0.0


# Rounding


@elementwise()
def floor(xp, x):
    """x rounded down."""
    return xp.floor(x)


@elementwise()
def ceil(xp, x):
    """x rounded up."""
    return xp.ceil(x)


@elementwise()
def trunc(xp, x):
    """x rounded towards zero."""
    return xp.trunc(x)


@elementwise()
def round_(xp, x):
    """x rounded to the nearest integer, halves to the even one."""
    return xp.rint(x)


for _rounding in (floor, ceil, trunc, round_):

    @_rounding.gradient
    def _(g, _y, _x):
        return g * 0.0


@elementwise()
def frac(xp, x):
    """x - trunc(x)."""
    return x - xp.trunc(x)


@frac.gradient
def _(g, _y, _x):
    return g


# Larger and smaller


@elementwise()
def maximum(xp, x, y):
    """The larger of x and y; NaN where either is."""
    return xp.maximum(x, y)


@maximum.gradient
def _(g, _y, a, b):
    return (
        lambda: g * where(a == b, 0.5, where(a < b, 0.0, 1.0)),
        lambda: g * where(a == b, 0.5, where(a > b, 0.0, 1.0)),
    )


@elementwise()
def minimum(xp, x, y):
    """The smaller of x and y; NaN where either is."""
    return xp.minimum(x, y)


@minimum.gradient
def _(g, _y, a, b):
    return (
        lambda: g * where(a == b, 0.5, where(a > b, 0.0, 1.0)),
        lambda: g * where(a == b, 0.5, where(a < b, 0.0, 1.0)),
    )


@elementwise()
def fmax(xp, x, y):
    """The larger of x and y; where one is NaN, the other."""
    return xp.where(xp.logical_or(x >= y, y != y), x, y)


@fmax.gradient
def _(g, _y, a, b):
    return lambda: where((a >= b) | (b != b), g, 0.0), lambda: where((a >= b) | (b != b), 0.0, g)


@elementwise()
def fmin(xp, x, y):
    """The smaller of x and y; where one is NaN, the other."""
    return xp.where(xp.logical_or(x <= y, y != y), x, y)


@fmin.gradient
def _(g, _y, a, b):
    return lambda: where((a <= b) | (b != b), g, 0.0), lambda: where((a <= b) | (b != b), 0.0, g)


@elementwise()
def clamp(xp, x, min, max):
    """x, but at least min, and then at most max."""
    return xp.minimum(xp.maximum(x, min), max)


@clamp.gradient
def _(g, _y, x, min, max):
    return (
        lambda: where((x >= min) & (x <= max), g, 0.0),
        lambda: where((x < min) & (min < max), g, 0.0),
        lambda: where((x > max) | (min > max), g, 0.0),
    )


@elementwise()
def clamp_min(xp, x, min):
    """x, but at least min."""
    return xp.maximum(x, min)


@clamp_min.gradient
def _(g, _y, x, min):
    return lambda: where(x >= min, g, 0.0), lambda: where(x < min, g, 0.0)


@elementwise()
def clamp_max(xp, x, max):
    """x, but at most max."""
    return xp.minimum(x, max)


@clamp_max.gradient
def _(g, _y, x, max):
    return lambda: where(x <= max, g, 0.0), lambda: where(x > max, g, 0.0)


@elementwise()
def nan_to_num(xp, x, nan, posinf, neginf):
    """x with NaN and the infinities replaced by numbers."""
    return xp.where(x != x, nan, xp.where(xp.isinf(x), xp.where(x > 0, posinf, neginf), x))


@nan_to_num.gradient
def _(g, _y, x, _nan, _posinf, _neginf):
    return where(x - x == 0, g, 0.0), None, None, None


@nan_to_num.samples
def _(make):
    x = make(3, 4)
    if x.dtype.kind not in "iu":
        x[0, 0], x[1, 1], x[2, 2] = float("nan"), float("inf"), -float("inf")
    yield Sample((x, 0.0, 7.0, -7.0))


@elementwise(differentiable=False)
def nextafter(xp, x, other):
    """The next number after x in the direction of `other`."""
    return xp.nextafter(x, other)


@elementwise(differentiable=False)
def heaviside(xp, x, values):
    """0 where x < 0, values where x = 0, 1 where x > 0; 0 for NaN."""
    return xp.where(x == 0, values, xp.where(x > 0, 1, 0))


@elementwise(differentiable=False)
def gcd(xp, x, y):
    """Greatest common divisor of integers."""
    return xp.gcd(x, y)


@elementwise(differentiable=False)
def lcm(xp, x, y):
    """Least common multiple of integers."""
    return xp.lcm(x, y)


for _integral in (gcd, lcm):

    @_integral.samples
    def _(make):
        yield Sample((make(3, 4, low=1, high=20, dtype="int64"), make(4, low=1, high=20, dtype="int64")))
