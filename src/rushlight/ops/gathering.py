"""Operations that move elements along one dimension by a tensor of indices, and their inverses."""

import numpy as np

from rushlight import core, dtypes
from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.elementwise import divide, equal, multiply, where
from rushlight.ops.movement import normalize_dim, slice_gradient
from rushlight.ops.reduction import cumsum


def check_index(name, index, size, dim):
    """Raises unless `index` holds integers from 0 to `size` - 1."""
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{name}(): Expected dtype int64 for index, got {dtypes.of_numpy(index.dtype)}")
    if isinstance(index, np.ndarray) and index.size:
        low, high = index.min(), index.max()
        if low < 0 or high >= size:
            wrong = int(low if low < 0 else high)
            raise DimensionError(f"{name}: index {wrong} is out of bounds for dimension {dim} with size {size}")


def _extents(name, x, index, dim, source=None):
    """Raises unless `index` fits into x beside `dim`, and into the source everywhere; returns `dim` from the front."""
    ndim = len(x.shape)
    at = normalize_dim(name, dim, ndim)
    if max(len(index.shape), 1) != max(ndim, 1):
        raise ShapeError(
            f"{name}(): Index tensor must have the same number of dimensions as input tensor, got {len(index.shape)} "
            f"and {ndim}"
        )
    for d, n in enumerate(index.shape):
        if d != at and ndim and n > x.shape[d] and 0 not in index.shape:
            raise ShapeError(
                f"{name}(): Size does not match at dimension {d}: expected index {list(index.shape)} to be no larger "
                f"than self {list(x.shape)} apart from dimension {at}"
            )
    shape = getattr(source, "shape", None)
    if source is not None and shape is not None and index.shape and 0 not in index.shape:
        if len(shape) != len(index.shape) or any(n > m for n, m in zip(index.shape, shape, strict=True)):
            raise ShapeError(
                f"{name}(): expected index {list(index.shape)} to be no larger than src {list(shape)} in each dimension"
            )
    check_index(name, index, x.shape[at] if ndim else 1, at)
    return at


def _places(index, dim, ndim):
    """The NumPy index of the elements that `index` names along `dim`."""
    if not ndim:
        return ()
    index = index.reshape(index.shape or (1,))
    last = index.ndim - 1
    places = [np.arange(n).reshape((-1,) + (1,) * (last - d)) for d, n in enumerate(index.shape)]
    places[dim % ndim] = index
    return tuple(places)


def _in_core(name, x, index, source, **options):
    """Whether a kernel of this name has changed x; there is no code for numbers, nor for an index smaller than x."""
    if core.native is None or not isinstance(source, np.ndarray):
        return False
    return getattr(core.native, name)(x, index, source, **options) is not NotImplemented


def _part(source, index):
    """What of the source belongs to the index, which may be smaller."""
    if not isinstance(source, np.ndarray) or not source.ndim:
        return source
    return source[tuple(slice(n) for n in index.shape)]


# gather


@operation(kernel="gather", checks_indices=True)
def gather(xp, x, index, *, dim):
    """The elements of x at `index` along `dim`: out[i][j] = x[index[i][j]][j] for dim 0."""
    check_index("gather", index, x.shape[dim] if x.ndim else 1, dim)
    return np.asarray(x[_places(index, dim, x.ndim)]).reshape(index.shape)


@gather.shape
def _(x, index, *, dim):
    _extents("gather", x, index, dim)
    return Spec(tuple(index.shape), x.dtype)


@gather.gradient
def _(g, _y, _x, index, *, dim):
    return gather_gradient(g, index, shape=tuple(_x.shape), dim=dim), None


@gather.samples
def _(make):
    yield Sample((make(3, 4), np.array([[0, 2, 2], [1, 0, 0]])), {"dim": 0})
    yield Sample((make(3, 4), np.array([[0, 3, 3, 1, 1], [1, 0, 0, 0, 2]])), {"dim": -1})
    yield Sample((make(2, 4), np.array([[0, 3, 3, 1, 1], [1, 0, 0, 0, 2]])), {"dim": 1})


@operation(kernel="gather_gradient", checks_indices=True)
def gather_gradient(xp, g, index, *, shape, dim):
    """Zeros of `shape` to which g is added at `index` along `dim`."""
    result = np.zeros(shape, g.dtype)
    add_at(result, _places(index, dim, len(shape)), g)
    return result


def add_at(target, places, values):
    """target[places] += values, with every value for a place that comes several times."""
    if not target.ndim:
        target += np.sum(values, dtype=target.dtype)
    elif dtypes.of_numpy(target.dtype) in (dtypes.float16, dtypes.bfloat16):
        wide = target.astype(np.float32)
        np.add.at(wide, places, np.asarray(values, np.float32))
        target[...] = wide.astype(target.dtype)
    else:
        np.add.at(target, places, np.asarray(values).astype(target.dtype, copy=False))


@gather_gradient.shape
def _(g, index, *, shape, dim):
    return Spec(tuple(shape), g.dtype)


@gather_gradient.gradient
def _(g, _y, _g, index, *, shape, dim):
    return gather(g, index, dim=dim), None


@gather_gradient.samples
def _(make):
    yield Sample((make(2, 3), np.array([[0, 2, 2], [1, 0, 0]])), {"shape": (3, 4), "dim": 0})
    yield Sample((make(2, 3), np.array([[0, 2, 2], [1, 0, 0]])), {"shape": (2, 4), "dim": 1})


# scatter


@operation(kernel="scatter", checks_indices=True)
def scatter(xp, x, index, source, *, dim):
    """x with the elements of `source` (a tensor or a number) written at `index` along `dim`."""
    result = np.array(x)
    _scatter(result, index, source, dim=dim)
    return result


def _scatter(x, index, source, *, dim):
    check_index("scatter", index, x.shape[dim] if x.ndim else 1, dim)
    x[_places(index, dim, x.ndim)] = _part(source, index)


@scatter.inplace
def _(x, index, source, *, dim):
    if not _in_core("scatter_into", x, index, source, dim=dim):
        _scatter(x, index, source, dim=dim)


@scatter.shape
def _(x, index, source, *, dim):
    _extents("scatter", x, index, dim, source)
    _same_dtype("scatter", x, source)
    return Spec(tuple(x.shape), x.dtype)


def _same_dtype(name, x, source):
    if getattr(source, "shape", None) is not None and source.dtype != x.dtype:
        raise DtypeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, got {dtypes.of_numpy(x.dtype)} and "
            f"{dtypes.of_numpy(source.dtype)}"
        )


def _to_source(g, index, source, dim):
    """The gradient of a source that may be larger than the index."""
    taken = gather(g, index, dim=dim)
    if tuple(taken.shape) == tuple(source.shape):
        return taken
    return slice_gradient(taken, shape=tuple(source.shape), index=tuple(slice(n) for n in index.shape))


@scatter.gradient
def _(g, _y, _x, index, _source, *, dim):
    return lambda: scatter(g, index, 0.0, dim=dim), None, lambda: _to_source(g, index, _source, dim)


@scatter.samples
def _(make):
    yield Sample((make(3, 4), np.array([[0, 2, 1, 1]]), make(2, 4)), {"dim": 0})
    yield Sample((make(3, 4), np.array([[0, 2, 1, 1], [1, 0, 2, 0]]), make(2, 4)), {"dim": 0})
    yield Sample((make(3, 4), np.array([[0, 2], [3, 1]]), 1.5), {"dim": 1})


@operation(kernel="scatter_add", checks_indices=True)
def scatter_add(xp, x, index, source, *, dim):
    """x with the elements of `source` added at `index` along `dim`."""
    result = np.array(x)
    _scatter_add(result, index, source, dim=dim)
    return result


def _scatter_add(x, index, source, *, dim):
    check_index("scatter_add", index, x.shape[dim] if x.ndim else 1, dim)
    add_at(x, _places(index, dim, x.ndim), _part(source, index))


@scatter_add.inplace
def _(x, index, source, *, dim):
    if not _in_core("scatter_add_into", x, index, source, dim=dim):
        _scatter_add(x, index, source, dim=dim)


@scatter_add.shape
def _(x, index, source, *, dim):
    _extents("scatter_add", x, index, dim, source)
    _same_dtype("scatter_add", x, source)
    return Spec(tuple(x.shape), x.dtype)


@scatter_add.gradient
def _(g, _y, _x, index, _source, *, dim):
    return lambda: g, None, lambda: _to_source(g, index, _source, dim)


@scatter_add.samples
def _(make):
    yield Sample((make(3, 4), np.array([[0, 2, 0, 1], [0, 1, 1, 1]]), make(2, 4)), {"dim": 0})


_REDUCTIONS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}
_NEUTRAL = {"prod": lambda d: 1, "amax": lambda d: _limits(d)[0], "amin": lambda d: _limits(d)[1]}


def _limits(dtype):
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    return (False, True) if dtype.kind == "b" else (-np.inf, np.inf)


@operation(kernel="scatter_reduce", checks_indices=True)
def scatter_reduce(xp, x, index, source, *, dim, reduce, include_self=True):
    """x with the elements of `source` at `index` along `dim` combined by sum, mean, prod, amax or amin.

    include_self: whether the elements of x take part where something arrives.
    """
    check_index("scatter_reduce", index, x.shape[dim] if x.ndim else 1, dim)
    places = _places(index, dim, x.ndim)
    values = _part(source, index)
    result = np.array(x)
    if not include_self:
        result[places] = 0 if reduce in ("sum", "mean") else _NEUTRAL[reduce](x.dtype)
    if reduce in ("sum", "mean"):
        add_at(result, places, values)
        if reduce == "mean":
            count = np.full(x.shape, int(include_self))
            np.add.at(count, places, 1)
            count = np.maximum(count, 1)
            result = result // count if x.dtype.kind in "iu" else (result / count).astype(x.dtype)
    else:
        _REDUCTIONS[reduce].at(result, places, values)
    return result


@scatter_reduce.shape
def _(x, index, source, *, dim, reduce, include_self=True):
    if reduce not in ("sum", "mean", *_REDUCTIONS):
        raise ShapeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    _extents("scatter_reduce", x, index, dim, source)
    _same_dtype("scatter_reduce", x, source)
    return Spec(tuple(x.shape), x.dtype)


@scatter_reduce.gradient
def _(g, y, x, index, source, *, dim, reduce, include_self=True):
    ones = g.new_ones(tuple(source.shape))
    arrives = scatter_add(g.new_zeros(tuple(x.shape)), index, ones, dim=dim)
    own = where(equal(arrives, 0), 1.0, 1.0 if include_self else 0.0) + multiply(arrives, 0)  # in the dtype of x
    if reduce == "sum":
        return g * own, None, _to_source(g, index, source, dim)
    if reduce == "mean":
        share = divide(
            g,
            where(
                equal(arrives + own, 0), 1.0, arrives + own if include_self else where(equal(arrives, 0), 1.0, arrives)
            ),
        )
        return share * own, None, _to_source(share, index, source, dim)
    if reduce == "prod":
        return g * own * y / x, None, _to_source(g * y, index, source, dim) / source
    winners = equal(x, y) * own
    hits = equal(source, _to_source(y, index, source, dim))
    count = scatter_add(winners * 1.0, index, hits * ones, dim=dim).detach()
    share = divide(g, where(equal(count, 0), 1.0, count))
    return share * winners, None, _to_source(share, index, source, dim) * hits


@scatter_reduce.samples
def _(make):
    index = np.array([[0, 2, 0, 1], [0, 1, 1, 1]])
    yield Sample((make(3, 4), index, make(2, 4)), {"dim": 0, "reduce": "mean"})
    yield Sample((make(3, 4), index, make(2, 4)), {"dim": 0, "reduce": "amax", "include_self": False})
    yield Sample((make(3, 4, low=0.5), index, make(2, 4, low=0.5)), {"dim": 0, "reduce": "prod"})


# Whole slices


def _slices(index, dim, ndim):
    return (slice(None),) * (dim % max(ndim, 1)) + (index,)


def _check_vector(name, x, index, dim):
    at = normalize_dim(name, dim, len(x.shape))
    if len(index.shape) > 1:
        raise DimensionError(f"{name}(): Index is supposed to be a vector, but got {len(index.shape)} dimensions")
    check_index(name, index, x.shape[at] if x.shape else 1, at)
    return at


@operation(kernel="index_select", checks_indices=True)
def index_select(xp, x, index, *, dim):
    """The slices of x at `index` (1-dimensional) along `dim`."""
    check_index("index_select", index, x.shape[dim] if x.ndim else 1, dim)
    if not x.ndim:
        return np.array(x)
    return xp.take(x, index.reshape(-1), axis=dim)


@index_select.shape
def _(x, index, *, dim):
    at = _check_vector("index_select", x, index, dim)
    if not x.shape:
        return Spec((), x.dtype)
    count = index.shape[0] if index.shape else 1
    return Spec((*x.shape[:at], count, *x.shape[at + 1 :]), x.dtype)


@index_select.gradient
def _(g, _y, _x, index, *, dim):
    return index_select_gradient(g, index, shape=tuple(_x.shape), dim=dim), None


@index_select.samples
def _(make):
    yield Sample((make(4, 3), np.array([0, 2, 2])), {"dim": 0})
    yield Sample((make(2, 3), np.array([2, 0, 1, 1])), {"dim": 1})


@operation(kernel="index_select_gradient", checks_indices=True)
def index_select_gradient(xp, g, index, *, shape, dim):
    """Zeros of `shape` to which the slices of g are added at `index` along `dim`."""
    result = np.zeros(shape, g.dtype)
    add_at(result, _slices(index.reshape(-1), dim, len(shape)), g)
    return result


@index_select_gradient.shape
def _(g, index, *, shape, dim):
    return Spec(tuple(shape), g.dtype)


@index_select_gradient.gradient
def _(g, _y, _g, index, *, shape, dim):
    return index_select(g, index, dim=dim), None


@index_select_gradient.samples
def _(make):
    yield Sample((make(3, 3), np.array([0, 2, 2])), {"shape": (4, 3), "dim": 0})


def _check_source(name, x, index, source, dim):
    at = _check_vector(name, x, index, dim)
    if getattr(source, "shape", None) is None:
        return
    count = index.shape[0] if index.shape else 1
    wanted = (*x.shape[:at], count, *x.shape[at + 1 :]) if x.shape else ()
    if tuple(source.shape) != wanted and (x.shape and source.shape):
        raise ShapeError(f"{name}(): source has shape {tuple(source.shape)}, but index and dim {at} ask for {wanted}")
    if source.dtype != x.dtype:
        raise DtypeError(
            f"{name}(): self ({dtypes.of_numpy(x.dtype)}) and source ({dtypes.of_numpy(source.dtype)}) must have the "
            "same scalar type"
        )


@operation(kernel="index_add", checks_indices=True)
def index_add(xp, x, index, source, *, dim, alpha=1):
    """x with `alpha` times the slices of `source` added at `index` along `dim`."""
    result = np.array(x)
    _index_add(result, index, source, dim=dim, alpha=alpha)
    return result


def _index_add(x, index, source, *, dim, alpha):
    check_index("index_add", index, x.shape[dim] if x.ndim else 1, dim)
    add_at(x, _slices(index.reshape(-1), dim, x.ndim), source if alpha == 1 else source * x.dtype.type(alpha))


@index_add.inplace
def _(x, index, source, *, dim, alpha=1):
    if not _in_core("index_add_into", x, index, source, dim=dim, alpha=alpha):
        _index_add(x, index, source, dim=dim, alpha=alpha)


@index_add.shape
def _(x, index, source, *, dim, alpha=1):
    _check_source("index_add", x, index, source, dim)
    return Spec(tuple(x.shape), x.dtype)


@index_add.gradient
def _(g, _y, _x, index, _source, *, dim, alpha=1):
    return (
        lambda: g,
        None,
        lambda: (index_select(g, index, dim=dim) * alpha).reshape(tuple(_source.shape)),
    )


@index_add.samples
def _(make):
    yield Sample((make(4, 3), np.array([0, 2, 2]), make(3, 3)), {"dim": 0, "alpha": 2})


@operation()
def index_copy(xp, x, index, source, *, dim):
    """x with the slices of `source` (or a number) in the place of those at `index` along `dim`."""
    result = np.array(x)
    _index_copy(result, index, source, dim=dim)
    return result


@index_copy.inplace
def _index_copy(x, index, source, *, dim):
    if x.ndim:
        x[_slices(index.reshape(-1), dim, x.ndim)] = source
    elif index.size:
        x[...] = source if np.ndim(source) == 0 else source.reshape(-1)[-1]


@index_copy.shape
def _(x, index, source, *, dim):
    _check_source("index_copy", x, index, source, dim)
    return Spec(tuple(x.shape), x.dtype)


@index_copy.gradient
def _(g, _y, _x, index, _source, *, dim):
    def of_source():
        taken = index_select(g, index, dim=dim)
        return taken.reshape(tuple(_source.shape)) if len(_source.shape) else taken.sum()

    return lambda: index_copy(g, index, 0.0, dim=dim), None, of_source


@index_copy.samples
def _(make):
    yield Sample((make(4, 3), np.array([0, 2]), make(2, 3)), {"dim": 0})
    yield Sample((make(4, 3), np.array([0, 2]), 1.5), {"dim": 1})


# By one number for each place in the flat tensor


@operation()
def take(xp, x, index):
    """The elements of x, seen as flat, at `index`."""
    return np.asarray(x.reshape(-1)[index])


@take.shape
def _(x, index):
    size = int(np.prod(x.shape, dtype=np.int64))
    if index.dtype.kind not in "iu":
        raise DtypeError(f"take(): Expected a long tensor for index, but got {dtypes.of_numpy(index.dtype)}")
    if isinstance(index, np.ndarray) and index.size and not (-size <= index.min() and index.max() < size):
        raise DimensionError(f"take(): index out of range for {size} elements: {index.min()} to {index.max()}")
    return Spec(tuple(index.shape), x.dtype)


@take.gradient
def _(g, _y, _x, index):
    size = int(np.prod(_x.shape, dtype=np.int64))
    flat = where(index < 0, index + size, index).reshape(-1)
    return index_select_gradient(g.reshape(-1), flat, shape=(size,), dim=0).reshape(tuple(_x.shape)), None


@take.samples
def _(make):
    yield Sample((make(3, 4), np.array([[0, -1], [5, 5]])))


@operation()
def masked_scatter(xp, x, mask, source):
    """x with its elements where `mask` holds replaced by those of `source`, in their order."""
    mask = np.broadcast_to(mask, x.shape)
    result = np.array(x)
    result[mask] = source.reshape(-1)[: int(mask.sum())]
    return result


@masked_scatter.shape
def _(x, mask, source):
    if mask.dtype.kind != "b":
        raise DtypeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {dtypes.of_numpy(mask.dtype)}"
        )
    if isinstance(mask, np.ndarray):
        try:
            needed = int(np.broadcast_to(mask, x.shape).sum())
        except ValueError:
            raise ShapeError(
                f"masked_scatter: mask {tuple(mask.shape)} doesn't broadcast to {tuple(x.shape)}"
            ) from None
        if needed > source.size:
            raise ShapeError(f"masked_scatter: the source has {source.size} elements, the mask asks for {needed}")
    _same_dtype("masked_scatter", x, source)
    return Spec(tuple(x.shape), x.dtype)


@masked_scatter.gradient
def _(g, _y, _x, mask, _source):
    def of_source():
        size = int(np.prod(_source.shape, dtype=np.int64))
        taken = mask.expand(g.shape).reshape(-1)
        places = where(taken, cumsum(taken, dim=0) - 1, size)  # what isn't taken goes behind the end
        given = gather_gradient(g.reshape(-1), places, shape=(size + 1,), dim=0)
        return given[:size].reshape(tuple(_source.shape))

    return lambda: where(mask, 0.0, g), None, of_source


@masked_scatter.samples
def _(make):
    yield Sample((make(2, 3), np.array([[True, False, True], [False, False, True]]), make(5)))
