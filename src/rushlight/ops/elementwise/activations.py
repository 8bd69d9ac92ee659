"""Activation functions. Their parameters are numbers given by position, such as the slope of leaky_relu."""

import math

from rushlight.ops.declare import Sample, elementwise
from rushlight.ops.elementwise.comparison import where
from rushlight.ops.elementwise.functions import exp, normal_cdf, sigmoid, tanh
from rushlight.ops.special import special


def _with_parameters(operation, *parameters):
    """Samples with these parameters."""

    @operation.samples
    def _(make):
        yield Sample((make(3, 5, low=-4.0, high=4.0), *parameters))
        yield Sample((make(2, 1, 17, low=-4.0, high=4.0), *parameters))


# Rectifiers


@elementwise(piecewise_linear=True)
def relu(xp, x):
    """Rectified linear unit, max(x, 0)."""
    return xp.maximum(x, 0)


@relu.gradient
def _(g, y, _x):
    return where(y <= 0, 0.0, g)


@elementwise(promotion="float", piecewise_linear=True)
def leaky_relu(xp, x, slope):
    """x where x > 0, slope x elsewhere; the slope is a number that isn't negative, so that the result has x's sign."""
    return xp.where(x > 0, x, x * slope)


@leaky_relu.gradient
def _(g, y, _x, slope):
    return where(y > 0, g, g * slope), None


leaky_relu.result_stands_in = True
_with_parameters(leaky_relu, 0.2)


@elementwise(promotion="float", piecewise_linear=True)
def prelu(xp, x, slope):
    """x where x > 0, slope x elsewhere, for slopes of any sign (He et al., 2015)."""
    return xp.where(x > 0, x, x * slope)


@prelu.gradient
def _(g, _y, x, slope):
    return lambda: where(x > 0, g, g * slope), lambda: where(x > 0, 0.0, g * x)


@elementwise(piecewise_linear=True)
def threshold(xp, x, threshold, value):
    """x where x > threshold, value elsewhere."""
    return xp.where(x <= threshold, value, x)


@threshold.gradient
def _(g, _y, x, threshold, _value):
    return where(x <= threshold, 0.0, g), None, None


_with_parameters(threshold, 0.3, -7.0)


@elementwise(piecewise_linear=True)
def hardtanh(xp, x, min, max):
    """x, but at least min and at most max; ReLU6 with 0 and 6."""
    return xp.minimum(xp.maximum(x, min), max)


@hardtanh.gradient
def _(g, _y, x, min, max):
    return where((x > min) & (x < max), g, 0.0), None, None


_with_parameters(hardtanh, -1.0, 1.5)


@elementwise(promotion="float", piecewise_linear=True)
def hardsigmoid(xp, x):
    """min(max(x + 3, 0), 6) / 6."""
    return xp.minimum(xp.maximum(x + 3.0, 0.0), 6.0) * (1 / 6)


@hardsigmoid.gradient
def _(g, _y, x):
    return where((x > -3.0) & (x < 3.0), g * (1 / 6), 0.0)


@elementwise(promotion="float")
def hardswish(xp, x):
    """x min(max(x + 3, 0), 6) / 6 (Howard et al., "Searching for MobileNetV3", 2019)."""
    return x * xp.minimum(xp.maximum(x + 3.0, 0.0), 6.0) * (1 / 6)


@hardswish.gradient
def _(g, _y, x):
    return where(x <= -3.0, 0.0, where(x >= 3.0, g, g * (x * (1 / 3) + 0.5)))


@elementwise(piecewise_linear=True)
def hardshrink(xp, x, limit):
    """x where |x| > limit, 0 elsewhere."""
    return xp.where(xp.abs(x) <= limit, 0, x)


@hardshrink.gradient
def _(g, _y, x, limit):
    return where((x >= -limit) & (x <= limit), 0.0, g), None


_with_parameters(hardshrink, 0.5)


@elementwise(piecewise_linear=True)
def softshrink(xp, x, limit):
    """x moved towards 0 by limit; 0 where |x| <= limit."""
    return xp.where(x > limit, x - limit, xp.where(x < -limit, x + limit, x * 0))


@softshrink.gradient
def _(g, _y, x, limit):
    return where((x >= -limit) & (x <= limit), 0.0, g), None


_with_parameters(softshrink, 0.5)


# Exponential units


@elementwise(promotion="float")
def elu(xp, x, alpha):
    """x where x > 0, alpha (exp(x) - 1) elsewhere (Clevert et al., 2016)."""
    return xp.where(x > 0, x, alpha * xp.expm1(x))


@elu.gradient
def _(g, _y, x, alpha):
    return where(x > 0, g, g * (alpha * exp(x))), None


_with_parameters(elu, 1.3)

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@elementwise(promotion="float")
def selu(xp, x):
    """scale x where x > 0, scale alpha (exp(x) - 1) elsewhere: keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return SELU_SCALE * xp.where(x > 0, x, SELU_ALPHA * xp.expm1(x))


@selu.gradient
def _(g, _y, x):
    return g * (SELU_SCALE * where(x > 0, 1.0, SELU_ALPHA * exp(x)))


@elementwise(promotion="float")
def celu(xp, x, alpha):
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0) (Barron, 2017)."""
    return xp.where(x > 0, x, alpha * xp.expm1(x / alpha))


@celu.gradient
def _(g, _y, x, alpha):
    return where(x > 0, g, g * exp(x / alpha)), None


_with_parameters(celu, 1.3)


@elementwise(promotion="float")
def softplus(xp, x, beta, threshold):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    scaled = x * beta
    return xp.where(scaled > threshold, x, xp.log1p(xp.exp(scaled)) / beta)


@softplus.gradient
def _(g, _y, x, beta, threshold):
    return where(x * beta > threshold, g, g * sigmoid(x * beta)), None, None


_with_parameters(softplus, 1.5, 5.0)


# Sigmoids


@elementwise(promotion="float")
def log_sigmoid(xp, x):
    """log(sigmoid(x)) without underflow on the way."""
    return xp.minimum(x, 0.0) - xp.log1p(xp.exp(-xp.abs(x)))


@log_sigmoid.gradient
def _(g, _y, x):
    return g * sigmoid(-x)


@elementwise(promotion="float")
def softsign(xp, x):
    """x / (1 + |x|)."""
    return x / (1 + xp.abs(x))


@softsign.gradient
def _(g, _y, x):
    size = 1 + where(x < 0, -x, x)
    return g / (size * size)


@elementwise(promotion="float")
def tanhshrink(xp, x):
    """x - tanh(x)."""
    return x - xp.tanh(x)


@tanhshrink.gradient
def _(g, _y, x):
    t = tanh(x)
    return g * (t * t)


# Gated units


@elementwise(promotion="float")
def gelu(xp, x):
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016)."""
    return x * special(xp, "normal_cdf")(x)


@gelu.gradient
def _(g, _y, x):
    density = exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))
    return g * (normal_cdf(x) + x * density)


_GELU_SCALE = math.sqrt(2 / math.pi)


@elementwise(promotion="float")
def gelu_tanh(xp, x):
    """The approximation x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 of GELU (Hendrycks and Gimpel, 2016)."""
    return x * (0.5 * (1 + xp.tanh(x * (_GELU_SCALE + (_GELU_SCALE * 0.044715) * (x * x)))))


@gelu_tanh.gradient
def _(g, _y, x):
    square = x * x
    t = tanh(x * (_GELU_SCALE + (_GELU_SCALE * 0.044715) * square))
    slope = (1 - t * t) * (_GELU_SCALE + (_GELU_SCALE * 0.134145) * square)
    return g * (0.5 * ((1 + t) + x * slope))


@elementwise(promotion="float")
def silu(xp, x):
    """x sigmoid(x), also called swish (Elfwing et al., 2018)."""
    return x * special(xp, "sigmoid")(x)


@silu.gradient
def _(g, _y, x):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


@elementwise(promotion="float")
def mish(xp, x):
    """x tanh(softplus(x)) (Misra, 2019)."""
    return x * xp.tanh(xp.where(x > 20.0, x, xp.log1p(xp.exp(x))))


@mish.gradient
def _(g, _y, x):
    t = tanh(softplus(x, 1.0, 20.0))
    return g * (t + x * ((1 - t * t) * sigmoid(x)))
