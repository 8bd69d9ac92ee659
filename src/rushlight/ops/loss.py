"""Losses: what a criterion computes for each element, and the negative log likelihood of classes."""

import math

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.ops import elementwise as e
from rushlight.ops.declare import Sample, Spec, differentiated, elementwise, operation

# Of two tensors, element by element


@elementwise()
def squared_error(xp, x, y):
    """(x - y)^2."""
    return (x - y) * (x - y)


@squared_error.gradient
def _(g, _y, a, b):
    return lambda: 2 * g * (a - b), lambda: 2 * g * (b - a)


@elementwise()
def absolute_error(xp, x, y):
    """|x - y|."""
    return xp.abs(x - y)


@absolute_error.gradient
def _(g, _y, a, b):
    return lambda: g * e.sign(a - b), lambda: g * e.sign(b - a)


@elementwise()
def smooth_l1_error(xp, x, y, beta):
    """(x - y)^2 / (2 beta) where |x - y| < beta, |x - y| - beta / 2 elsewhere."""
    error = xp.abs(x - y)
    return xp.where(error < beta, 0.5 * error * error / beta, error - 0.5 * beta)


@smooth_l1_error.gradient
def _(g, _y, a, b, beta):
    def slope():
        return g * e.where(e.absolute(a - b) < beta, (a - b) / beta, e.sign(a - b))

    return slope, lambda: -slope(), None


@elementwise()
def huber_error(xp, x, y, delta):
    """(x - y)^2 / 2 where |x - y| < delta, delta (|x - y| - delta / 2) elsewhere."""
    error = xp.abs(x - y)
    return xp.where(error < delta, 0.5 * error * error, delta * (error - 0.5 * delta))


@huber_error.gradient
def _(g, _y, a, b, delta):
    def slope():
        return g * e.where(e.absolute(a - b) < delta, a - b, delta * e.sign(a - b))

    return slope, lambda: -slope(), None


@elementwise(domain=(0.05, 0.95))
def binary_cross_entropy(xp, x, target):
    """-(target log x + (1 - target) log(1 - x)), with logarithms of at least -100."""
    return (target - 1) * xp.maximum(xp.log1p(-x), -100) - target * xp.maximum(xp.log(x), -100)


@binary_cross_entropy.gradient
def _(g, _y, x, target):
    def of_input():
        spread = (1 - x) * x
        return g * (x - target) / e.where(spread > 1e-12, spread, 1e-12)

    def of_target():
        yes, no = e.log(x), e.log1p(-x)
        return g * (e.where(no > -100, no, -100.0) - e.where(yes > -100, yes, -100.0))

    return of_input, of_target


@elementwise(promotion="float")
def binary_cross_entropy_with_logits(xp, x, target, positive_weight):
    """-(positive_weight target log s + (1 - target) log(1 - s)), where s is the sigmoid of x."""
    weight = 1 + (positive_weight - 1) * target
    return (1 - target) * x + weight * (xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(-x, 0))


@binary_cross_entropy_with_logits.gradient
def _(g, _y, x, target, positive_weight):
    def softplus_of_negative():
        return e.log1p(e.exp(-e.absolute(x))) + e.where(x < 0, -x, 0.0)

    return (
        lambda: g * ((1 + (positive_weight - 1) * target) * e.sigmoid(x) - positive_weight * target),
        lambda: g * ((positive_weight - 1) * softplus_of_negative() - x),
        lambda: g * target * softplus_of_negative(),
    )


@elementwise(domain=(0.1, 2.0))
def relative_entropy(xp, x, target):
    """target (log target - x), the pointwise Kullback-Leibler divergence of a log-probability x; 0 where target is."""
    return xp.where(target > 0, target * xp.log(target), xp.where(target < 0, math.nan, 0.0)) - target * x


@relative_entropy.gradient
def _(g, _y, x, target):
    return lambda: -g * target, lambda: g * (e.log(target) + 1 - x)


# Classes: x is (N, C, *S), or (C,) with a target of ()


def _class_dim(x):
    return 1 if len(x.shape) > 1 else 0


def _hint(shape, of_input, expected):
    if tuple(shape) == tuple(of_input):
        return "; for probabilities of the classes, or one-hot, call .float() on it"
    ones = [dim for dim, n in enumerate(shape) if n == 1 and (*shape[:dim], *shape[dim + 1 :]) == expected]
    return f"; call .squeeze({ones[-1]}) on it" if ones else ""


def _check_classes(name, x, target, weight):
    """Raises where `target` and `weight` don't go with `x`."""
    if len(x.shape) == 0:
        raise ShapeError(f"{name}: the input must be (N, C, ...) or (C,), it has no dimensions")
    dim = _class_dim(x)
    expected = (*x.shape[:dim], *x.shape[dim + 1 :])
    if tuple(target.shape) != expected:
        raise ShapeError(
            f"{name}: for an input of shape {tuple(x.shape)} the target of class indices must have shape {expected}, "
            f"got {tuple(target.shape)}{_hint(target.shape, x.shape, expected)}"
        )
    if target.dtype not in (np.int64, np.uint8):
        found = dtypes.of_numpy(target.dtype).name
        raise DtypeError(f"{name}: expected scalar type Long but found {found} in the target; call .long() on it")
    if weight is not None and (tuple(weight.shape) != (x.shape[dim],) or weight.dtype != x.dtype):
        raise ShapeError(
            f"{name}: weight tensor should be defined either for all {x.shape[dim]} classes or no classes, in the "
            f"input's dtype, but got weight tensor of shape: {list(weight.shape)} and dtype {weight.dtype}"
        )


def _chosen(xp, x, target, weight, ignore_index):
    """The targets with a dimension for the class, and the weight that each target's class has, 0 for ignored ones."""
    dim = _class_dim(x)
    classes = x.shape[dim]
    valid = target != ignore_index
    index = xp.where(valid, target, 0).astype(np.int64)
    if xp is np and index.size:
        wrong = index[(index < 0) | (index >= classes)]
        if wrong.size:
            raise DimensionError(
                f"Target {wrong.flat[0]} is out of bounds: there are {classes} classes, so targets are 0 to "
                f"{classes - 1}, or ignore_index={ignore_index}"
            )
    weights = valid.astype(x.dtype) if weight is None else xp.where(valid, weight[index], 0).astype(x.dtype)
    return xp.expand_dims(index, dim), weights


def _reduced(xp, losses, weights, reduction, dtype):
    if reduction != "none":
        losses = xp.sum(losses)
        if reduction == "mean":
            losses = losses / xp.sum(weights)
    return xp.asarray(losses).astype(dtype)


def _loss_spec(name):
    def rule(x, target, weight, *, ignore_index, reduction, **_):
        _check_classes(name, x, target, weight)
        return Spec(tuple(target.shape) if reduction == "none" else (), x.dtype)

    return rule


_TARGET = np.array([0, 2, 1, 2], np.int64)


def _class_samples(make, **options):
    weight = make(3, low=0.5, high=2.0)
    for reduction in ("none", "sum", "mean"):
        yield Sample((make(4, 3), _TARGET, weight), {"ignore_index": 1, "reduction": reduction, **options})
    targets = np.stack([_TARGET, _TARGET[::-1]], 1)
    yield Sample((make(4, 3, 2), targets, None), {"ignore_index": -100, "reduction": "mean", **options})
    yield Sample((make(3), _TARGET[1], None), {"ignore_index": -100, "reduction": "none", **options})


@operation(kernel="nll_loss")
def nll_loss(xp, x, target, weight, *, ignore_index, reduction):
    """-weight[target] x[n, target]: each, summed, or weighted mean; a target of ignore_index doesn't count."""
    dim = _class_dim(x)
    index, weights = _chosen(xp, x, target, weight, ignore_index)
    picked = xp.squeeze(xp.take_along_axis(x, index, axis=dim), dim) if x.size else xp.zeros(target.shape, x.dtype)
    return _reduced(xp, xp.where(weights == 0, 0, -picked * weights), weights, reduction, x.dtype)


nll_loss.shape(_loss_spec("nll_loss"))
nll_loss.samples(_class_samples)


@nll_loss.gradient
def _(g, _y, x, target, weight, *, ignore_index, reduction):
    return nll_loss_gradient(g, x, target, weight, ignore_index=ignore_index, reduction=reduction), None, None


@operation(kernel="nll_loss_gradient")
def nll_loss_gradient(xp, g, x, target, weight, *, ignore_index, reduction):
    """The gradient of nll_loss: -weight g at the class that the target chooses, 0 elsewhere. Only x's shape is used."""
    dim = _class_dim(x)
    index, weights = _chosen(xp, x, target, weight, ignore_index)
    if reduction == "mean":
        weights = weights / xp.sum(weights)
    classes = xp.arange(x.shape[dim]).reshape((1,) * dim + (-1,) + (1,) * (x.ndim - 1 - dim))
    return xp.where(index == classes, xp.expand_dims(-g * weights, dim), 0).astype(x.dtype)


nll_loss_gradient.shape(lambda g, x, target, weight, **_: Spec(tuple(x.shape), x.dtype))


@nll_loss_gradient.gradient
def _(g, _y, _g, _x, target, weight, *, ignore_index, reduction):
    return nll_loss(g, target, weight, ignore_index=ignore_index, reduction=reduction), None, None, None


@nll_loss_gradient.samples
def _(make):
    for sample in _class_samples(make):
        g = make(*sample.args[1].shape) if sample.options["reduction"] == "none" else make()
        yield Sample((g, *sample.args), sample.options)


@operation(kernel="cross_entropy")
def cross_entropy(xp, x, target, weight, *, ignore_index, reduction, label_smoothing):
    """nll_loss of log_softmax(x), with label_smoothing of it spread over all classes; and log(sum(exp(x)))."""
    dim = _class_dim(x)
    index, weights = _chosen(xp, x, target, weight, ignore_index)
    wide = x.astype(xp.float32) if x.dtype.itemsize == 2 else x
    top = xp.max(wide, axis=dim, keepdims=True, initial=-xp.inf)
    log_sum = top + xp.log(xp.sum(xp.exp(wide - top), axis=dim, keepdims=True))
    missing = log_sum - wide
    losses = (1 - label_smoothing) * weights * xp.squeeze(xp.take_along_axis(missing, index, axis=dim), dim)
    if label_smoothing:
        if weight is not None:
            missing = missing * weight.reshape((1,) * dim + (-1,) + (1,) * (x.ndim - 1 - dim))
        losses = losses + label_smoothing / x.shape[dim] * xp.sum(missing, axis=dim)
    losses = xp.where(target == ignore_index, 0, losses)
    return _reduced(xp, losses, weights, reduction, x.dtype), xp.squeeze(log_sum, dim).astype(x.dtype)


@cross_entropy.shape
def _(x, target, weight, *, ignore_index, reduction, label_smoothing):
    loss = _loss_spec("cross_entropy")(x, target, weight, ignore_index=ignore_index, reduction=reduction)
    return loss, Spec(tuple(target.shape), x.dtype)


@cross_entropy.samples
def _(make):
    yield from _class_samples(make, label_smoothing=0.0)
    yield from _class_samples(make, label_smoothing=0.2)


@cross_entropy.gradient
def _(g, y, x, target, weight, *, ignore_index, reduction, label_smoothing):
    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    gradient = None
    if g[0] is not None:
        gradient = cross_entropy_gradient(g[0], x, target, weight, y[1], **options)
    if g[1] is not None:
        dim = _class_dim(x)
        of_log_sum = g[1].unsqueeze(dim) * e.exp(x - y[1].unsqueeze(dim))
        gradient = of_log_sum if gradient is None else gradient + of_log_sum
    return gradient, None, None


@operation(kernel="cross_entropy_gradient")
def cross_entropy_gradient(xp, g, x, target, weight, log_sum, *, ignore_index, reduction, label_smoothing):
    """The gradient of cross_entropy with respect to x, which only reads the log_sum that cross_entropy returned."""
    dim = _class_dim(x)
    options = {"ignore_index": ignore_index, "reduction": reduction}
    of_logs = (1 - label_smoothing) * nll_loss_gradient.meaning(xp, g, x, target, weight, **options)
    if label_smoothing:
        _, weights = _chosen(xp, x, target, weight, ignore_index)
        share = xp.where(target == ignore_index, 0, g / xp.sum(weights) if reduction == "mean" else g)
        spread = xp.expand_dims(-label_smoothing / x.shape[dim] * share, dim)
        if weight is not None:
            spread = spread * weight.reshape((1,) * dim + (-1,) + (1,) * (x.ndim - 1 - dim))
        of_logs = of_logs + spread
    total = xp.sum(of_logs, axis=dim, keepdims=True)
    return (of_logs - xp.exp(x - xp.expand_dims(log_sum, dim)) * total).astype(x.dtype)


cross_entropy_gradient.shape(lambda g, x, target, weight, log_sum, **_: Spec(tuple(x.shape), x.dtype))


def _cross_entropy_gradient(g, x, target, weight, log_sum, *, ignore_index, reduction, label_smoothing):
    """cross_entropy_gradient composed of other operations."""
    dim = _class_dim(x)
    of_logs = (1 - label_smoothing) * nll_loss_gradient(
        g, x, target, weight, ignore_index=ignore_index, reduction=reduction
    )
    if label_smoothing:
        valid = e.where(target != ignore_index, 1.0, 0.0).to(x.dtype)
        share = g * valid
        if reduction == "mean":
            ones = e.multiply(x, 0.0) - 1.0
            options = {"ignore_index": ignore_index, "reduction": "sum"}
            share = share / nll_loss(ones.detach(), target, weight, **options)
        spread = (share * (-label_smoothing / x.shape[dim])).unsqueeze(dim)
        if weight is not None:  # class weights have no gradient
            spread = spread * weight.detach().reshape((1,) * dim + (-1,) + (1,) * (len(x.shape) - 1 - dim))
        of_logs = of_logs + spread
    return of_logs - e.exp(x - log_sum.unsqueeze(dim)) * of_logs.sum(dim, keepdim=True)


cross_entropy_gradient.gradient(differentiated(_cross_entropy_gradient))


@cross_entropy_gradient.samples
def _(make):
    for smoothing in (0.0, 0.2):
        for sample in _class_samples(make, label_smoothing=smoothing):
            x, target, _ = sample.args
            g = make(*target.shape) if sample.options["reduction"] == "none" else make()
            log_sum = np.log(np.exp(x).sum(1 if x.ndim > 1 else 0)).astype(x.dtype)
            yield Sample((g, *sample.args, np.asarray(log_sum)), sample.options)
