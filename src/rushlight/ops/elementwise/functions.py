"""Powers, exponentials, logarithms, trigonometric, hyperbolic and special functions."""

import math

from rushlight.ops.declare import elementwise
from rushlight.ops.elementwise.comparison import where
from rushlight.ops.special import special

# Powers


@elementwise(promotion="float", domain=(0.1, 4.0))
def sqrt(xp, x):
    """Square root."""
    return xp.sqrt(x)


@sqrt.gradient
def _(g, y, _x):
    return g / (2 * y)


@elementwise(promotion="float", domain=(0.1, 4.0))
def rsqrt(xp, x):
    """1 / sqrt(x)."""
    return 1 / xp.sqrt(x)


@rsqrt.gradient
def _(g, y, _x):
    return -0.5 * g * y * y * y


@elementwise()
def square(xp, x):
    """x squared."""
    return xp.square(x)


@square.gradient
def _(g, _y, x):
    return g * (2 * x)


@elementwise(domain=(0.3, 3.0))
def power(xp, x, exponent):
    """x to the power exponent."""
    return xp.power(x, exponent)


@power.gradient
def _(g, y, x, exponent):
    return (
        lambda: where(exponent == 0, 0.0, g * (exponent * power(x, exponent - 1))),
        lambda: g * where((x == 0) & (exponent >= 0), 0.0, y * log(x)),
    )


@elementwise(promotion="float")
def hypot(xp, x, y):
    """sqrt(x^2 + y^2) without overflow on the way."""
    return xp.hypot(x, y)


@hypot.gradient
def _(g, y, a, b):
    return lambda: g * (a / y), lambda: g * (b / y)


# Exponentials and logarithms


@elementwise(promotion="float")
def exp(xp, x):
    """e to the power x."""
    return xp.exp(x)


@exp.gradient
def _(g, y, _x):
    return g * y


@elementwise(promotion="float")
def exp2(xp, x):
    """2 to the power x."""
    return xp.exp2(x)


@exp2.gradient
def _(g, y, _x):
    return g * y * math.log(2)


@elementwise(promotion="float")
def expm1(xp, x):
    """exp(x) - 1, exact for small x."""
    return xp.expm1(x)


@expm1.gradient
def _(g, y, _x):
    return g * (y + 1)


@elementwise(promotion="float", domain=(0.1, 4.0))
def log(xp, x):
    """Natural logarithm."""
    return xp.log(x)


@log.gradient
def _(g, _y, x):
    return g / x


@elementwise(promotion="float", domain=(0.1, 4.0))
def log2(xp, x):
    """Logarithm of base 2."""
    return xp.log2(x)


@log2.gradient
def _(g, _y, x):
    return g / (x * math.log(2))


@elementwise(promotion="float", domain=(0.1, 4.0))
def log10(xp, x):
    """Logarithm of base 10."""
    return xp.log10(x)


@log10.gradient
def _(g, _y, x):
    return g / (x * math.log(10))


@elementwise(promotion="float", domain=(-0.8, 3.0))
def log1p(xp, x):
    """log(1 + x), exact for small x."""
    return xp.log1p(x)


@log1p.gradient
def _(g, _y, x):
    return g / (x + 1)


@elementwise(promotion="float")
def sigmoid(xp, x):
    """Logistic function, 1 / (1 + exp(-x))."""
    return special(xp, "sigmoid")(x)


@sigmoid.gradient
def _(g, y, _x):
    return g * (y * (1 - y))


@elementwise(promotion="float")
def logaddexp(xp, x, y):
    """log(exp(x) + exp(y)) without overflow on the way."""
    apart = xp.abs(x - y)
    return xp.maximum(x, y) + xp.where(apart == apart, xp.log1p(xp.exp(-apart)), 0.0)


@logaddexp.gradient
def _(g, _y, a, b):
    return lambda: g * sigmoid(a - b), lambda: g * sigmoid(b - a)


@elementwise(promotion="float")
def logaddexp2(xp, x, y):
    """log2(2^x + 2^y) without overflow on the way."""
    apart = xp.abs(x - y)
    return xp.maximum(x, y) + xp.where(apart == apart, xp.log1p(xp.exp2(-apart)) * (1 / math.log(2)), 0.0)


@logaddexp2.gradient
def _(g, _y, a, b):
    return lambda: g * sigmoid((a - b) * math.log(2)), lambda: g * sigmoid((b - a) * math.log(2))


@elementwise(promotion="float", domain=(0.1, 3.0))
def xlogy(xp, x, y):
    """x log(y); 0 where x is 0 and y isn't NaN."""
    return xp.where(xp.logical_and(x == 0, y == y), 0.0, x * xp.log(y))


@xlogy.gradient
def _(g, _y, a, b):
    return lambda: where((a == 0) & (b <= 0), 0.0, g * log(b)), lambda: g * a / b


@elementwise(promotion="float", domain=(0.05, 0.95))
def logit(xp, x):
    """log(x / (1 - x)), the inverse of the sigmoid."""
    return xp.log(x / (1 - x))


@logit.gradient
def _(g, _y, x):
    return where((x < 0) | (x > 1), math.nan, g / (x * (1 - x)))


# Trigonometric functions


@elementwise(promotion="float")
def sin(xp, x):
    """Sine."""
    return xp.sin(x)


@sin.gradient
def _(g, _y, x):
    return g * cos(x)


@elementwise(promotion="float")
def cos(xp, x):
    """Cosine."""
    return xp.cos(x)


@cos.gradient
def _(g, _y, x):
    return -g * sin(x)


@elementwise(promotion="float", domain=(-1.3, 1.3))
def tan(xp, x):
    """Tangent."""
    return xp.tan(x)


@tan.gradient
def _(g, y, _x):
    return g * (1 + y * y)


@elementwise(promotion="float", domain=(-0.9, 0.9))
def asin(xp, x):
    """Inverse sine."""
    return xp.arcsin(x)


@asin.gradient
def _(g, _y, x):
    return g * rsqrt(1 - x * x)


@elementwise(promotion="float", domain=(-0.9, 0.9))
def acos(xp, x):
    """Inverse cosine."""
    return xp.arccos(x)


@acos.gradient
def _(g, _y, x):
    return -g * rsqrt(1 - x * x)


@elementwise(promotion="float")
def atan(xp, x):
    """Inverse tangent."""
    return xp.arctan(x)


@atan.gradient
def _(g, _y, x):
    return g / (x * x + 1)


@elementwise(promotion="float", domain=(0.3, 3.0))
def atan2(xp, y, x):
    """Angle of the point (x, y), in (-pi, pi]."""
    return xp.arctan2(y, x)


@atan2.gradient
def _(g, _y, a, b):
    size = a * a + b * b
    scale = where(size == 0, 0.0, g / size)
    return lambda: scale * b, lambda: -scale * a


@elementwise(promotion="float", domain=(0.1, 3.0))
def sinc(xp, x):
    """sin(pi x) / (pi x); 1 at 0."""
    angle = math.pi * x
    return xp.where(x == 0, 1.0, xp.sin(angle) / xp.where(x == 0, 1.0, angle))


@sinc.gradient
def _(g, y, x):
    return g * where(x == 0, 0.0, (cos(math.pi * x) - y) / where(x == 0, 1.0, x))


sinc.result_stands_in = True


@elementwise(promotion="float")
def deg2rad(xp, x):
    """Degrees as radians."""
    return x * (math.pi / 180)


@deg2rad.gradient
def _(g, _y, _x):
    return g * (math.pi / 180)


@elementwise(promotion="float")
def rad2deg(xp, x):
    """Radians as degrees."""
    return x * (180 / math.pi)


@rad2deg.gradient
def _(g, _y, _x):
    return g * (180 / math.pi)


# Hyperbolic functions


@elementwise(promotion="float")
def sinh(xp, x):
    """Hyperbolic sine."""
    return xp.sinh(x)


@sinh.gradient
def _(g, _y, x):
    return g * cosh(x)


@elementwise(promotion="float")
def cosh(xp, x):
    """Hyperbolic cosine."""
    return xp.cosh(x)


@cosh.gradient
def _(g, _y, x):
    return g * sinh(x)


@elementwise(promotion="float")
def tanh(xp, x):
    """Hyperbolic tangent."""
    return xp.tanh(x)


@tanh.gradient
def _(g, y, _x):
    return g * (1 - y * y)


@elementwise(promotion="float")
def asinh(xp, x):
    """Inverse hyperbolic sine."""
    return xp.arcsinh(x)


@asinh.gradient
def _(g, _y, x):
    return g * rsqrt(x * x + 1)


@elementwise(promotion="float", domain=(1.2, 4.0))
def acosh(xp, x):
    """Inverse hyperbolic cosine."""
    return xp.arccosh(x)


@acosh.gradient
def _(g, _y, x):
    return g * rsqrt(x * x - 1)


@elementwise(promotion="float", domain=(-0.9, 0.9))
def atanh(xp, x):
    """Inverse hyperbolic tangent."""
    return xp.arctanh(x)


@atanh.gradient
def _(g, _y, x):
    return g / (1 - x * x)


# Special functions


@elementwise(promotion="float")
def erf(xp, x):
    """Error function."""
    return special(xp, "erf")(x)


@erf.gradient
def _(g, _y, x):
    return g * (exp(-x * x) * (2 / math.sqrt(math.pi)))


@elementwise(promotion="float")
def normal_cdf(xp, x):
    """The probability that a standard normal number is at most x; where that is tiny, within float's epsilon."""
    return special(xp, "normal_cdf")(x)


@normal_cdf.gradient
def _(g, _y, x):
    return g * (exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi)))


@elementwise(promotion="float")
def erfc(xp, x):
    """1 - erf(x), exact for large x."""
    return special(xp, "erfc")(x)


@erfc.gradient
def _(g, _y, x):
    return g * (exp(-x * x) * (-2 / math.sqrt(math.pi)))


@elementwise(promotion="float", domain=(-0.9, 0.9))
def erfinv(xp, x):
    """The inverse of erf."""
    return special(xp, "erfinv")(x)


@erfinv.gradient
def _(g, y, _x):
    return g * (exp(y * y) * (math.sqrt(math.pi) / 2))


erfinv.result_stands_in = True


@elementwise(promotion="float", domain=(0.3, 4.0))
def lgamma(xp, x):
    """Logarithm of the absolute value of the gamma function."""
    return special(xp, "lgamma")(x)


@lgamma.gradient
def _(g, _y, x):
    return g * digamma(x)


@elementwise(promotion="float", domain=(0.3, 4.0))
def digamma(xp, x):
    """The derivative of lgamma."""
    return special(xp, "digamma")(x)


@digamma.gradient
def _(g, _y, x):
    return g * trigamma(x)


@elementwise(promotion="float", domain=(0.3, 4.0), differentiable=False)
def trigamma(xp, x):
    """The derivative of digamma.

    By the reflection trigamma(x) = pi^2 / sin^2(pi x) - trigamma(1 - x), the recurrence trigamma(x) = trigamma(x + 1)
    + 1 / x^2 up to x + 8, and there the asymptotic series (Abramowitz and Stegun, 6.4.6, 6.4.7, 6.4.12).
    """
    z = xp.where(x < 0.5, 1 - x, x)
    total = 1 / (z * z)
    for k in range(1, 8):
        total = total + 1 / ((z + k) * (z + k))
    r = 1 / (z + 8)
    s = r * r
    series = r * (1 + s * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * (5 / 66)))))) + 0.5 * s
    sine = xp.sin(math.pi * (x - xp.rint(x)))
    return xp.where(x < 0.5, math.pi * math.pi / (sine * sine) - (total + series), total + series)
