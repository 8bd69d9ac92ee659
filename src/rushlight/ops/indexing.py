"""Operations that choose elements by indices or masks, and their inverses."""

import numpy as np

from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.ops.declare import Sample, Spec, broadcast_shapes, operation
from rushlight.ops.elementwise import where
from rushlight.ops.gathering import add_at
from rushlight.ops.reduction import sum_to


def _places(indices, dims, ndim):
    """The NumPy index with each of `indices` at its dimension, everything elsewhere."""
    places = [slice(None)] * ndim
    for dim, index in zip(dims, indices, strict=True):
        places[dim] = index
    return tuple(places)


def _checked_indices(name, x, indices, dims):
    if any(d >= len(x.shape) for d in dims):
        raise DimensionError(f"too many indices for tensor of dimension {len(x.shape)}")
    # Where nothing is taken, a dimension beside the indices being empty, the indices aren't looked at.
    empty = 0 in [n for d, n in enumerate(x.shape) if d not in dims]
    for dim, index in zip(dims, indices, strict=True):
        if index.dtype.kind not in "iu":
            raise DtypeError(
                f"{name}: tensors used as indices must be long, int, byte or bool tensors, not {index.dtype}"
            )
        size = x.shape[dim]
        if isinstance(index, np.ndarray) and index.size and not empty:
            few = index.ravel().tolist() if index.size <= 16 else None  # NumPy's min() costs more than that
            low, high = (min(few), max(few)) if few else (index.min(), index.max())
            if low < -size or high >= size:
                wrong = int(low if low < -size else high)
                raise DimensionError(f"index {wrong} is out of bounds for dimension {dim} with size {size}")


def _indexed_shape(x, indices, dims):
    try:
        common = broadcast_shapes("indexing", indices)
    except ShapeError:
        shapes = ", ".join(str(list(i.shape)) for i in indices)
        raise DimensionError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    rest = [n for d, n in enumerate(x.shape) if d not in dims]
    together = list(dims) == list(range(dims[0], dims[0] + len(dims)))
    at = dims[0] if together else 0
    return (*rest[:at], *common, *rest[at:])


@operation(kernel="index", checks_indices=True)
def index(xp, x, *indices, dims):
    """x[..., indices, ...] with integer tensors at the dimensions `dims`, which are broadcast against each other."""
    if not x.size:
        return xp.empty(_indexed_shape(x, indices, dims), x.dtype)
    return x[_places(indices, dims, x.ndim)]


@index.shape
def _(x, *indices, dims):
    _checked_indices("index", x, indices, dims)
    return Spec(_indexed_shape(x, indices, dims), x.dtype)


@index.gradient
def _(g, _y, _x, *indices, dims):
    nothing = (None for _ in indices)
    if 0 in g.shape:  # then the indices weren't looked at either
        return (g.new_zeros(tuple(_x.shape)), *nothing)
    return (index_gradient(g, *indices, shape=tuple(_x.shape), dims=dims), *nothing)


@index.samples
def _(make):
    yield Sample((make(4, 5), np.array([0, -1, 0])), {"dims": (0,)})
    yield Sample((make(4, 5, 3), np.array([[0], [1]]), np.array([2, 0])), {"dims": (0, 2)})
    yield Sample((make(2, 4, 5, 3), np.array([[0], [-1]]), np.array([2, 0, -5])), {"dims": (1, 2)})
    yield Sample((make(4, 5), np.array([1, 1, 3]), np.array(2)), {"dims": (0, 1)})


def _checked_rows(index, rows):
    if index.dtype.kind not in "iu":
        raise DtypeError(f"embedding: indices must be integers (int64 or int32), got {index.dtype}; call .long()")
    if isinstance(index, np.ndarray) and index.size:
        low, high = index.min(), index.max()
        if low < 0 or high >= rows:
            wrong = int(low if low < 0 else high)
            raise DimensionError(
                f"embedding: index out of range: {wrong}, but there are {rows} rows, so indices are 0 to {rows - 1}"
            )


@operation(kernel="embedding", checks_indices=True)
def embedding(xp, x, index):
    """The slices x[i] for the integers i in `index`, none of them below zero."""
    _checked_rows(index, x.shape[0])
    return x[index]


@embedding.shape
def _(x, index):
    _checked_rows(index, x.shape[0])
    return Spec((*index.shape, *x.shape[1:]), x.dtype)


@embedding.gradient
def _(g, _y, _x, index):
    return embedding_gradient(g, index, rows=_x.shape[0]), None


@embedding.samples
def _(make):
    yield Sample((make(4, 5), np.array([[0, 3, 0], [1, 1, 2]])), {})


@operation(kernel="embedding_gradient", checks_indices=True)
def embedding_gradient(xp, g, index, *, rows):
    """Zeros, `rows` of them, to which the slices of g are added at `index`."""
    result = np.zeros((rows, *g.shape[index.ndim :]), g.dtype)
    _checked_rows(index, rows)
    add_at(result, index, g)
    return result


@embedding_gradient.shape
def _(g, index, *, rows):
    _checked_rows(index, rows)
    return Spec((rows, *g.shape[len(index.shape) :]), g.dtype)


@embedding_gradient.gradient
def _(g, _y, _g, index, *, rows):
    return embedding(g, index), None


@embedding_gradient.samples
def _(make):
    yield Sample((make(2, 3, 5), np.array([[0, 3, 0], [1, 1, 2]])), {"rows": 4})


@operation(kernel="index_gradient", checks_indices=True)
def index_gradient(xp, g, *indices, shape, dims):
    """Zeros of `shape` to which g is added at the indices; an index that comes twice receives both."""
    result = np.zeros(shape, g.dtype)
    if g.size:
        add_at(result, _places(indices, dims, len(shape)), g)
    return result


@index_gradient.shape
def _(g, *indices, shape, dims):
    x = Spec(tuple(shape), g.dtype)
    _checked_indices("index_gradient", x, indices, dims)
    taken = _indexed_shape(x, indices, dims)
    if tuple(g.shape) != taken:
        raise ShapeError(f"index_gradient: the gradient's shape {tuple(g.shape)} isn't that of what was taken, {taken}")
    return x


@index_gradient.gradient
def _(g, _y, _g, *indices, shape, dims):
    return (index(g, *indices, dims=dims), *(None for _ in indices))


@index_gradient.samples
def _(make):
    yield Sample((make(3, 5), np.array([0, -1, 0])), {"shape": (4, 5), "dims": (0,)})
    yield Sample((make(2, 2, 3), np.array([[0], [1]]), np.array([2, 2, -1])), {"shape": (2, 4, 3), "dims": (1, 2)})


@operation(checks_indices=True)
def index_put(xp, x, values, *indices, dims, accumulate=False):
    """x with `values` in the place of x[..., indices, ...], or added to it."""
    result = np.array(x)
    _put(result, values, *indices, dims=dims, accumulate=accumulate)
    return result


@index_put.inplace
def _put(x, values, *indices, dims, accumulate=False):
    places = _places(indices, dims, x.ndim)
    if not x.size:
        return
    if accumulate:
        add_at(x, places, values)
    else:
        with np.errstate(all="ignore"):
            x[places] = values


@index_put.shape
def _(x, values, *indices, dims, accumulate=False):
    _checked_indices("index_put", x, indices, dims)
    shape = _indexed_shape(x, indices, dims)
    have = tuple(getattr(values, "shape", ()))
    extra = max(len(have) - len(shape), 0)
    if any(n != 1 for n in have[:extra]) or any(a not in (1, b) for a, b in zip(have[::-1], shape[::-1], strict=False)):
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(have)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}"
        )
    return Spec(tuple(x.shape), x.dtype)


@index_put.gradient
def _(g, _y, _x, _values, *indices, dims, accumulate=False):
    def of_values():
        taken = index(g, *indices, dims=dims)
        shape = tuple(_values.shape)
        lead = max(len(shape) - taken.ndim, 0)
        return sum_to(taken, shape[lead:]).reshape(shape)

    def of_x():
        return g if accumulate else index_put(g, 0.0, *indices, dims=dims)

    return (of_x, of_values, *(None for _ in indices))


@index_put.samples
def _(make):
    yield Sample((make(4, 5), make(3, 5), np.array([0, 2, 1])), {"dims": (0,)})
    yield Sample((make(4, 5), make(5), np.array([0, 2, 0])), {"dims": (0,), "accumulate": True})


@operation()
def masked_fill(xp, x, mask, value):
    """`value` (a number or a 0-d tensor) where `mask` holds, x elsewhere."""
    with np.errstate(all="ignore"):
        return np.where(mask, np.asarray(value).astype(x.dtype), x)


@masked_fill.inplace
def _(x, mask, value):
    with np.errstate(all="ignore"):
        np.copyto(x, value, where=mask, casting="unsafe")


@masked_fill.shape
def _(x, mask, value):
    return Spec(broadcast_shapes("masked_fill", (x, mask)), x.dtype)


@masked_fill.gradient
def _(g, _y, _x, mask, _value):
    return lambda: sum_to(where(mask, 0.0, g), tuple(_x.shape)), None, lambda: where(mask, g, 0.0).sum()


@masked_fill.samples
def _(make):
    yield Sample((make(2, 3), np.array([True, False, True]), 1.5))
    yield Sample((make(2, 3), np.array([[True], [False]]), make()))
