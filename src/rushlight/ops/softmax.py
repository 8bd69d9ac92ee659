"""Softmax along a dimension, and its logarithm."""

from rushlight import dtypes
from rushlight.errors import DtypeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.movement import normalize_dim
from rushlight.ops.reduction import sum_


def _same(name):
    def rule(x, *, dim):
        normalize_dim(name, dim, len(x.shape))
        if not dtypes.of_numpy(x.dtype).is_floating_point:
            raise DtypeError(f"{name} isn't defined for {dtypes.of_numpy(x.dtype).name} tensors; call .float() first")
        return Spec(tuple(x.shape), x.dtype)

    return rule


def _samples(make):
    for shape, dim in (((3, 5), 1), ((4, 3, 2), 1), ((2, 7), -2), ((), 0), ((0, 3), 1)):
        yield Sample((make(*shape),), {"dim": dim})


def _pair_samples(make):
    for shape, dim in (((3, 5), 1), ((4, 3, 2), 1)):
        yield Sample((make(*shape), make(*shape, low=0.1, high=0.9)), {"dim": dim})


def _wide(xp, x):
    """x in a dtype to compute in: half precision in float32."""
    return x.astype(xp.float32) if x.dtype.itemsize == 2 else x


@operation(kernel="softmax")
def softmax(xp, x, *, dim):
    """exp(x) / sum(exp(x)), the sum along dim."""
    if x.ndim == 0:
        return xp.ones((), x.dtype)
    wide = _wide(xp, x)
    exponentials = xp.exp(wide - xp.max(wide, axis=dim, keepdims=True, initial=-xp.inf))
    return (exponentials / xp.sum(exponentials, axis=dim, keepdims=True)).astype(x.dtype)


softmax.shape(_same("softmax"))
softmax.samples(_samples)


@softmax.gradient
def _(g, y, _x, *, dim):
    return softmax_gradient(g, y, dim=dim)


@operation(kernel="softmax_gradient")
def softmax_gradient(xp, g, y, *, dim):
    """y (g - sum(g y)): the gradient of softmax, whose result is y."""
    if y.ndim == 0:
        return xp.zeros((), y.dtype)
    wide_g, wide_y = _wide(xp, g), _wide(xp, y)
    return (wide_y * (wide_g - xp.sum(wide_g * wide_y, axis=dim, keepdims=True))).astype(y.dtype)


softmax_gradient.shape(lambda g, y, *, dim: Spec(tuple(y.shape), y.dtype))
softmax_gradient.samples(_pair_samples)


@softmax_gradient.gradient
def _(gg, _y, g, y, *, dim):
    def of_y():
        inner = sum_(g * y, dim=dim, keepdim=True)
        outer = sum_(gg * y, dim=dim, keepdim=True)
        return gg * (g - inner) - g * outer

    return lambda: softmax_gradient(gg, y, dim=dim), of_y


@operation(kernel="log_softmax")
def log_softmax(xp, x, *, dim):
    """log(softmax(x)) along dim, without leaving the range of the dtype."""
    if x.ndim == 0:
        return xp.zeros((), x.dtype)
    wide = _wide(xp, x)
    shifted = wide - xp.max(wide, axis=dim, keepdims=True, initial=-xp.inf)
    return (shifted - xp.log(xp.sum(xp.exp(shifted), axis=dim, keepdims=True))).astype(x.dtype)


log_softmax.shape(_same("log_softmax"))
log_softmax.samples(_samples)


@log_softmax.gradient
def _(g, y, _x, *, dim):
    return log_softmax_gradient(g, y, dim=dim)


@operation(kernel="log_softmax_gradient")
def log_softmax_gradient(xp, g, y, *, dim):
    """g - exp(y) sum(g): the gradient of log_softmax, whose result is y."""
    if y.ndim == 0:
        return xp.zeros((), y.dtype)
    wide_g = _wide(xp, g)
    return (wide_g - xp.exp(_wide(xp, y)) * xp.sum(wide_g, axis=dim, keepdims=True)).astype(y.dtype)


log_softmax_gradient.shape(lambda g, y, *, dim: Spec(tuple(y.shape), y.dtype))
log_softmax_gradient.samples(_pair_samples)


@log_softmax_gradient.gradient
def _(gg, _y, g, y, *, dim):
    def of_g():
        return gg - sum_(gg * y.exp(), dim=dim, keepdim=True)

    def of_y():
        return -gg * y.exp() * sum_(g, dim=dim, keepdim=True)

    return of_g, of_y
