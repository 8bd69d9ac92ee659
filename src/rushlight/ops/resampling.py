"""Resampling along a dimension: what interpolation is made of, one dimension at a time."""

from rushlight import dtypes
from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.movement import normalize_dim


@operation(kernel="resample")
def resample(xp, x, index, weight, back_index, back_weight, *, dim):
    """Output o along `dim` is the sum over taps t of weight[o, t] * x[index[o, t]]; taps of weight 0 aren't read.

    `index` (int64) and `weight` (float64) have shape (outputs, taps). `back_index` and `back_weight` are the same map
    transposed, (inputs, taps): what the gradient runs on.
    """
    moved = xp.moveaxis(x, dim, -1)
    working = "float32" if x.dtype.itemsize < 4 and dtypes.of_numpy(x.dtype).is_floating_point else x.dtype
    terms = xp.where(weight != 0, moved[..., index] * weight.astype(working), xp.zeros((), working))
    return xp.moveaxis(terms.sum(-1).astype(x.dtype), -1, dim)


@resample.shape
def _(x, index, weight, back_index, back_weight, *, dim):
    dim = normalize_dim("resample", dim, len(x.shape))
    if index.shape != weight.shape or back_index.shape != back_weight.shape or back_index.shape[0] != x.shape[dim]:
        raise ShapeError(
            f"resample: taps of shapes {index.shape}, {weight.shape} and back {back_index.shape}, {back_weight.shape} "
            f"don't fit dimension {dim} of {tuple(x.shape)}"
        )
    return Spec((*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :]), x.dtype)


@resample.gradient
def _(g, _y, _x, index, weight, back_index, back_weight, *, dim):
    return lambda: resample(g, back_index, back_weight, index, weight, dim=dim), None, None, None, None


@resample.samples
def _(make):
    import numpy as np

    index, weight = np.array([[0, 1], [2, 1], [2, 2]]), np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.25]])
    back_index, back_weight = np.array([[0, 0], [0, 0], [1, 2]]), np.array([[0.25, 0.0], [0.75, 0.0], [1.0, 0.75]])
    taps = (index, weight, back_index, back_weight)
    yield Sample((make(2, 3, 5), *taps), {"dim": 1})
    yield Sample((make(4, 3), *taps), {"dim": -1})
    yield Sample((make(3), *taps), {"dim": 0})
    yield Sample((make(0, 3), *taps), {"dim": 1})
