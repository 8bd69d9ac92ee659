"""Normalisation by mean and variance: over the batch, over groups of channels, over the last dimensions.

All are one computation on the input seen in another shape, which a `_Layout` describes.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from rushlight import dtypes
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops.declare import Sample, Spec, differentiated, operation
from rushlight.ops.elementwise import where
from rushlight.ops.reduction import sum_


class _Layout(NamedTuple):
    shape: tuple[int, ...]  # the input's, to compute in
    axes: tuple[int, ...]  # the dimensions of it that share a mean and variance
    affine: tuple[int, ...]  # the shape of weight and bias there
    parameters: tuple[int, ...]  # and as they are given
    statistics: tuple[int, ...]  # the shape of the means and variances as they are returned

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(1 if axis in self.axes else n for axis, n in enumerate(self.shape))

    @property
    def items(self) -> int:
        return max(1, math.prod(self.shape[axis] for axis in self.axes))

    @property
    def affine_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, n in enumerate(self.affine) if n == 1)


def _batch(x: Any) -> _Layout:
    if len(x.shape) < 2:
        raise ShapeError(f"batch_norm: expected an input of shape (N, C, *S), got {tuple(x.shape)}")
    samples, channels, *rest = x.shape
    shape = (samples, channels, math.prod(rest))
    return _Layout(shape, (0, 2), (1, channels, 1), (channels,), (channels,))


def _groups(x: Any, groups: int) -> _Layout:
    if len(x.shape) < 2:
        raise ShapeError(f"group_norm: expected an input of shape (N, C, *S), got {tuple(x.shape)}")
    samples, channels, *rest = x.shape
    if groups < 1 or channels % groups:
        raise ShapeError(
            f"group_norm: the {channels} channels of an input of shape {tuple(x.shape)} can't be cut into {groups} "
            "groups: the number of channels must be divisible by the number of groups"
        )
    shape = (samples, groups, channels // groups, math.prod(rest))
    return _Layout(shape, (2, 3), (1, *shape[1:3], 1), (channels,), (samples, groups))


def _last(name: str, x: Any, dimensions: int) -> _Layout:
    if not 1 <= dimensions <= len(x.shape):
        raise ShapeError(f"{name}: can't normalise the last {dimensions} dimensions of shape {tuple(x.shape)}")
    lead, last = tuple(x.shape[:-dimensions]), tuple(x.shape[-dimensions:])
    shape = (math.prod(lead), math.prod(last))
    return _Layout(shape, (1,), (1, shape[1]), last, lead)


def _check(name: str, layout: _Layout, x: Any, *parameters: Any) -> None:
    if not dtypes.of_numpy(x.dtype).is_floating_point:
        raise DtypeError(f"{name}: expected a floating tensor, got {dtypes.of_numpy(x.dtype)}; call .float() first")
    for what, parameter in zip(("weight", "bias", "mean", "variance"), parameters, strict=False):
        if parameter is not None and tuple(parameter.shape) != layout.parameters:
            raise ShapeError(
                f"{name}: for an input of shape {tuple(x.shape)}, {what} must have shape {layout.parameters}, got "
                f"{tuple(parameter.shape)}"
            )


def _working(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the statistics, and of all arithmetic."""
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def _specs(layout: _Layout, x: Any, centered: bool = True) -> tuple[Spec, ...]:
    statistics = Spec(layout.statistics, _working(x.dtype))
    return (Spec(tuple(x.shape), x.dtype), *[statistics] * (2 if centered else 1))


def _gradient_specs(layout: _Layout, x: Any, centered: bool = True) -> tuple[Spec, ...]:
    parameters = Spec(layout.parameters, x.dtype)
    return (Spec(tuple(x.shape), x.dtype), *[parameters] * (2 if centered else 1))


def _wide(xp, array, shape):
    return array.reshape(shape).astype(_working(array.dtype))


def _normalized(xp, x, weight, bias, layout, eps, centered=True):
    """The meaning of them all: (y, mean, variance), or where it isn't centered (y, mean of squares)."""
    d = _wide(xp, x, layout.shape)
    mean = xp.sum(d, axis=layout.axes, keepdims=True) / layout.items
    if centered:
        d = d - mean
    variance = xp.sum(d * d, axis=layout.axes, keepdims=True) / layout.items
    y = d / xp.sqrt(variance + eps)
    if weight is not None:
        y = y * _wide(xp, weight, layout.affine)
    if bias is not None:
        y = y + _wide(xp, bias, layout.affine)
    y = y.reshape(x.shape).astype(x.dtype)
    statistics = (mean, variance) if centered else (variance,)
    return (y, *(s.reshape(layout.statistics).astype(d.dtype) for s in statistics))


def _gradients(total, g, x, weight, layout, eps, centered):
    """(gx, gweight, gbias) of arrays or of tensors; `total(x, axes)` sums and keeps the dimensions."""
    g, d = g.reshape(layout.shape), x.reshape(layout.shape)
    if centered:
        d = d - total(d, layout.axes) / layout.items
    inverse = (total(d * d, layout.axes) / layout.items + eps) ** -0.5
    hat = d * inverse
    weighted = g if weight is None else g * weight.reshape(layout.affine)
    gx = weighted - hat * (total(weighted * hat, layout.axes) / layout.items)
    if centered:
        gx = gx - total(weighted, layout.axes) / layout.items
    gx = (gx * inverse).reshape(tuple(x.shape))
    gweight = total(g * hat, layout.affine_axes).reshape(layout.parameters)
    if not centered:
        return gx, gweight
    return gx, gweight, total(g, layout.affine_axes).reshape(layout.parameters)


def _array_gradients(xp, g, x, weight, layout, eps, centered=True):
    g, wide, weight = (None if a is None else a.astype(_working(a.dtype)) for a in (g, x, weight))

    def total(array, axes):
        return xp.sum(array, axis=axes, keepdims=True)

    return tuple(r.astype(x.dtype) for r in _gradients(total, g, wide, weight, layout, eps, centered))


def _tensor_gradients(g, x, weight, layout, eps, centered=True):
    return _gradients(lambda t, axes: sum_(t, dim=axes, keepdim=True), g, x, weight, layout, eps, centered)


def _through_statistics(gx, gradients, x, layout, centered=True):
    """gx with what the returned mean and variance were used for, where they were."""
    g_mean, g_variance = gradients if centered else (None, *gradients)
    d = x.reshape(layout.shape)
    if g_variance is not None:
        deviation = d - sum_(d, dim=layout.axes, keepdim=True) / layout.items if centered else d
        part = deviation * g_variance.reshape(layout.kept) * (2 / layout.items)
        gx = part.reshape(tuple(x.shape)) if gx is None else gx + part.reshape(tuple(x.shape))
    if g_mean is not None:
        part = (g_mean.reshape(layout.kept) / layout.items).expand(layout.shape).reshape(tuple(x.shape))
        gx = part if gx is None else gx + part
    return gx


def _samples_of(make, *shapes, parameters, gradient=False, **options):
    for shape in shapes:
        x = make(*shape)
        size = parameters(shape)
        lead = (make(*shape), x) if gradient else (x,)
        rest = 1 if gradient else 2
        yield Sample((*lead, *(make(*size) for _ in range(rest))), {**options, "eps": 0.1})
        yield Sample((*lead, *[None] * rest), {**options, "eps": 0.1})


# Over the batch


@operation(kernel="batch_norm")
def batch_norm(xp, x, weight, bias, *, eps):
    """x (N, C, *S) normalised by each channel's mean and (biased) variance, which are returned as well.

    Source: Ioffe and Szegedy, "Batch normalization" (2015).
    """
    return _normalized(xp, x, weight, bias, _batch(x), eps)


@batch_norm.shape
def _(x, weight, bias, *, eps):
    layout = _batch(x)
    _check("batch_norm", layout, x, weight, bias)
    return _specs(layout, x)


@batch_norm.gradient
def _(g, _y, x, weight, _bias, *, eps):
    results = (None,) * 3 if g[0] is None else batch_norm_gradient(g[0], x, weight, eps=eps)
    return _through_statistics(results[0], g[1:], x, _batch(x)), results[1], results[2]


@batch_norm.samples
def _(make):
    yield from _samples_of(make, (4, 3), (3, 2, 5), (2, 3, 2, 3), parameters=lambda s: s[1:2])


@operation(kernel="batch_norm_gradient")
def batch_norm_gradient(xp, g, x, weight, *, eps):
    """The gradients of batch_norm with respect to x, weight and bias."""
    return _array_gradients(xp, g, x, weight, _batch(x), eps)


@batch_norm_gradient.shape
def _(g, x, weight, *, eps):
    layout = _batch(x)
    _check("batch_norm_gradient", layout, x, weight)
    return _gradient_specs(layout, x)


batch_norm_gradient.gradient(
    differentiated(lambda g, x, weight, *, eps: _tensor_gradients(g, x, weight, _batch(x), eps))
)


@batch_norm_gradient.samples
def _(make):
    yield from _samples_of(make, (4, 3), (3, 2, 5), parameters=lambda s: s[1:2], gradient=True)


# The same, rectified: what compiled programs put in the place of both


@operation(kernel="batch_norm_relu")
def batch_norm_relu(xp, x, weight, bias, residual, *, eps):
    """relu(batch_norm(x, weight, bias) + residual), with the means and variances; the residual may be None."""
    y, mean, variance = _normalized(xp, x, weight, bias, _batch(x), eps)
    return xp.maximum(y if residual is None else y + residual, 0).astype(x.dtype), mean, variance


@batch_norm_relu.shape
def _(x, weight, bias, residual, *, eps):
    layout = _batch(x)
    _check("batch_norm_relu", layout, x, weight, bias)
    if residual is not None and (tuple(residual.shape) != tuple(x.shape) or residual.dtype != x.dtype):
        raise ShapeError(
            f"batch_norm_relu: expected a residual like the input, {dtypes.of_numpy(x.dtype)} of shape "
            f"{tuple(x.shape)}, got {dtypes.of_numpy(residual.dtype)} of shape {tuple(residual.shape)}"
        )
    return _specs(layout, x)


@batch_norm_relu.gradient
def _(g, y, x, weight, _bias, residual, *, eps):
    added = residual is not None
    results = (None,) * 4
    if g[0] is not None:
        results = batch_norm_relu_gradient(g[0], y[0], x, weight, with_residual=added, eps=eps)
    gx = _through_statistics(results[0], g[1:], x, _batch(x))
    return gx, results[1], results[2], results[3] if added else None


@batch_norm_relu.samples
def _(make):
    for shape in ((4, 3), (3, 2, 5), (2, 3, 2, 3)):
        yield Sample((make(*shape), make(shape[1]), make(shape[1]), make(*shape)), {"eps": 0.1})
        yield Sample((make(*shape), None, None, None), {"eps": 0.1})


@operation(kernel="batch_norm_relu_gradient")
def batch_norm_relu_gradient(xp, g, y, x, weight, *, with_residual, eps):
    """The gradients of batch_norm_relu, whose result is y, with respect to x, weight, bias and, if asked, residual."""
    g = xp.where(y <= 0, xp.zeros_like(g), g)
    results = _array_gradients(xp, g, x, weight, _batch(x), eps)
    return (*results, g) if with_residual else results


@batch_norm_relu_gradient.shape
def _(g, y, x, weight, *, with_residual, eps):
    layout = _batch(x)
    _check("batch_norm_relu_gradient", layout, x, weight)
    specs = _gradient_specs(layout, x)
    return (*specs, specs[0]) if with_residual else specs


@differentiated
def _batch_norm_relu_gradient(g, y, x, weight, *, with_residual, eps):
    g = where(y <= 0, 0.0, g)
    results = _tensor_gradients(g, x, weight, _batch(x), eps)
    return (*results, g) if with_residual else results


batch_norm_relu_gradient.gradient(_batch_norm_relu_gradient)


@batch_norm_relu_gradient.samples
def _(make):
    for shape, with_residual in (((4, 3), True), ((3, 2, 5), False)):
        options = {"with_residual": with_residual, "eps": 0.1}
        yield Sample((make(*shape), make(*shape), make(*shape), make(shape[1])), options)
        yield Sample((make(*shape), make(*shape), make(*shape), None), options)


@operation(kernel="batch_norm_inference")
def batch_norm_inference(xp, x, weight, bias, mean, variance, *, eps):
    """x (N, C, *S) normalised by a mean and variance for each channel that are given."""
    layout = _batch(x)
    y = _wide(xp, x, layout.shape) - _wide(xp, mean, layout.affine)
    y = y / xp.sqrt(_wide(xp, variance, layout.affine) + eps)
    if weight is not None:
        y = y * _wide(xp, weight, layout.affine)
    if bias is not None:
        y = y + _wide(xp, bias, layout.affine)
    return y.reshape(x.shape).astype(x.dtype)


@batch_norm_inference.shape
def _(x, weight, bias, mean, variance, *, eps):
    layout = _batch(x)
    _check("batch_norm", layout, x, weight, bias, mean, variance)
    return Spec(tuple(x.shape), x.dtype)


@batch_norm_inference.gradient
def _(g, _y, x, weight, _bias, mean, variance, *, eps):
    inverse = (variance + eps) ** -0.5
    scale = inverse if weight is None else weight * inverse  # small: one for each channel
    sums = functools.cache(lambda: batch_norm_sums(g, x, mean))
    return (
        lambda: g * scale.reshape((-1, *[1] * (len(x.shape) - 2))),
        lambda: sums()[1] * inverse,
        lambda: sums()[0],
        lambda: -sums()[0] * scale,
        lambda: sums()[1] * (scale * inverse * inverse) * -0.5,
    )


@batch_norm_inference.samples
def _(make):
    for shape in ((4, 3), (2, 3, 5), (0, 3, 2)):
        vectors = [make(3), make(3), make(3), make(3, low=0.5, high=2.0)]
        yield Sample((make(*shape), *vectors), {"eps": 0.1})
        yield Sample((make(*shape), None, None, *vectors[2:]), {"eps": 0.1})


@operation(kernel="batch_norm_sums")
def batch_norm_sums(xp, g, x, mean):
    """For each channel the sums of g and of g * (x - mean): what batch_norm_inference's gradients are made of."""
    layout = _batch(x)
    g, d = _wide(xp, g, layout.shape), _wide(xp, x, layout.shape) - _wide(xp, mean, layout.affine)
    return tuple(xp.sum(t, axis=layout.axes).astype(x.dtype) for t in (g, g * d))


@batch_norm_sums.shape
def _(g, x, mean):
    layout = _batch(x)
    _check("batch_norm_sums", layout, x, mean)
    return (Spec(layout.parameters, x.dtype),) * 2


def _tensor_sums(g, x, mean):
    layout = _batch(x)
    g, d = g.reshape(layout.shape), x.reshape(layout.shape) - mean.reshape(layout.affine)
    return sum_(g, dim=layout.axes), sum_(g * d, dim=layout.axes)


batch_norm_sums.gradient(differentiated(_tensor_sums))


@batch_norm_sums.samples
def _(make):
    for shape in ((4, 3), (70, 35), (2, 3, 5), (0, 3, 2)):
        yield Sample((make(*shape), make(*shape), make(shape[1])))


# Over groups of channels


@operation(kernel="group_norm")
def group_norm(xp, x, weight, bias, *, groups, eps):
    """x (N, C, *S) normalised by the mean and variance of each of `groups` groups of channels of each sample.

    Also returns the means and (biased) variances, (N, groups). Source: Wu and He, "Group normalization" (2018).
    """
    return _normalized(xp, x, weight, bias, _groups(x, groups), eps)


@group_norm.shape
def _(x, weight, bias, *, groups, eps):
    layout = _groups(x, groups)
    _check("group_norm", layout, x, weight, bias)
    return _specs(layout, x)


@group_norm.gradient
def _(g, _y, x, weight, _bias, *, groups, eps):
    results = (None,) * 3 if g[0] is None else group_norm_gradient(g[0], x, weight, groups=groups, eps=eps)
    return _through_statistics(results[0], g[1:], x, _groups(x, groups)), results[1], results[2]


@group_norm.samples
def _(make):
    for groups in (1, 2, 4):
        yield from _samples_of(make, (3, 4, 3), (2, 4, 2, 2), parameters=lambda s: s[1:2], groups=groups)
    yield from _samples_of(make, (3, 6), parameters=lambda s: s[1:2], groups=2)


@operation(kernel="group_norm_gradient")
def group_norm_gradient(xp, g, x, weight, *, groups, eps):
    """The gradients of group_norm with respect to x, weight and bias."""
    return _array_gradients(xp, g, x, weight, _groups(x, groups), eps)


@group_norm_gradient.shape
def _(g, x, weight, *, groups, eps):
    layout = _groups(x, groups)
    _check("group_norm_gradient", layout, x, weight)
    return _gradient_specs(layout, x)


group_norm_gradient.gradient(
    differentiated(lambda g, x, weight, *, groups, eps: _tensor_gradients(g, x, weight, _groups(x, groups), eps))
)


@group_norm_gradient.samples
def _(make):
    yield from _samples_of(make, (3, 4, 3), (3, 6), parameters=lambda s: s[1:2], gradient=True, groups=2)


# Over the last dimensions


@operation(kernel="layer_norm")
def layer_norm(xp, x, weight, bias, *, dimensions, eps):
    """x normalised by the mean and variance over its last `dimensions` dimensions, which weight and bias have too.

    Also returns the means and (biased) variances. Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """
    return _normalized(xp, x, weight, bias, _last("layer_norm", x, dimensions), eps)


@layer_norm.shape
def _(x, weight, bias, *, dimensions, eps):
    layout = _last("layer_norm", x, dimensions)
    _check("layer_norm", layout, x, weight, bias)
    return _specs(layout, x)


@layer_norm.gradient
def _(g, _y, x, weight, _bias, *, dimensions, eps):
    options = {"dimensions": dimensions, "eps": eps}
    results = (None,) * 3 if g[0] is None else layer_norm_gradient(g[0], x, weight, **options)
    return _through_statistics(results[0], g[1:], x, _last("layer_norm", x, dimensions)), results[1], results[2]


@layer_norm.samples
def _(make):
    for dims in (1, 2):
        yield from _samples_of(make, (3, 5), (2, 3, 4), parameters=lambda s, n=dims: s[-n:], dimensions=dims)


@operation(kernel="layer_norm_gradient")
def layer_norm_gradient(xp, g, x, weight, *, dimensions, eps):
    """The gradients of layer_norm with respect to x, weight and bias."""
    return _array_gradients(xp, g, x, weight, _last("layer_norm", x, dimensions), eps)


@layer_norm_gradient.shape
def _(g, x, weight, *, dimensions, eps):
    layout = _last("layer_norm_gradient", x, dimensions)
    _check("layer_norm_gradient", layout, x, weight)
    return _gradient_specs(layout, x)


@differentiated
def _layer_norm_gradient(g, x, weight, *, dimensions, eps):
    return _tensor_gradients(g, x, weight, _last("layer_norm", x, dimensions), eps)


layer_norm_gradient.gradient(_layer_norm_gradient)


@layer_norm_gradient.samples
def _(make):
    yield from _samples_of(make, (3, 5), (2, 3, 4), parameters=lambda s: s[-1:], gradient=True, dimensions=1)


@operation(kernel="rms_norm")
def rms_norm(xp, x, weight, *, dimensions, eps):
    """x divided by the root of the mean square over its last `dimensions` dimensions; also returns the mean squares.

    Source: Zhang and Sennrich, "Root mean square layer normalization" (2019).
    """
    return _normalized(xp, x, weight, None, _last("rms_norm", x, dimensions), eps, centered=False)


@rms_norm.shape
def _(x, weight, *, dimensions, eps):
    layout = _last("rms_norm", x, dimensions)
    _check("rms_norm", layout, x, weight)
    return _specs(layout, x, centered=False)


@rms_norm.gradient
def _(g, _y, x, weight, *, dimensions, eps):
    options = {"dimensions": dimensions, "eps": eps}
    results = (None,) * 2 if g[0] is None else rms_norm_gradient(g[0], x, weight, **options)
    layout = _last("rms_norm", x, dimensions)
    return _through_statistics(results[0], g[1:], x, layout, centered=False), results[1]


@rms_norm.samples
def _(make):
    for dims in (1, 2):
        yield Sample((make(2, 3, 4), make(*(2, 3, 4)[-dims:])), {"dimensions": dims, "eps": 0.1})
    yield Sample((make(3, 5), None), {"dimensions": 1, "eps": 0.1})


@operation(kernel="rms_norm_gradient")
def rms_norm_gradient(xp, g, x, weight, *, dimensions, eps):
    """The gradients of rms_norm with respect to x and weight."""
    return _array_gradients(xp, g, x, weight, _last("rms_norm", x, dimensions), eps, centered=False)


@rms_norm_gradient.shape
def _(g, x, weight, *, dimensions, eps):
    layout = _last("rms_norm_gradient", x, dimensions)
    _check("rms_norm_gradient", layout, x, weight)
    return _gradient_specs(layout, x, centered=False)


@differentiated
def _rms_norm_gradient(g, x, weight, *, dimensions, eps):
    return _tensor_gradients(g, x, weight, _last("rms_norm", x, dimensions), eps, centered=False)


rms_norm_gradient.gradient(_rms_norm_gradient)


@rms_norm_gradient.samples
def _(make):
    yield Sample((make(3, 5), make(3, 5), make(5)), {"dimensions": 1, "eps": 0.1})
    yield Sample((make(2, 3, 4), make(2, 3, 4), None), {"dimensions": 2, "eps": 0.1})
