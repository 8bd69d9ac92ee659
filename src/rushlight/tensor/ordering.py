"""Sorting, ranks, distinct elements, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import ShapeError
from rushlight.ops import sorting
from rushlight.tensor import arguments, results
from rushlight.tensor import tensor as tensors
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


@arguments.numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None
) -> tuple[Tensor, Tensor]:
    """The elements in order along `dim`, and their indices. Always stable."""
    return results.sort(*sorting.sort(input, dim=dim, descending=descending, **_out(out)))  # type: ignore[no-any-return]


def _out(out: Any) -> dict[str, Any]:
    return {} if out is None else {"out": out}


@arguments.numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that put the elements in order along `dim`."""
    return sorting.sort(input.detach(), dim=dim, descending=descending)[1]  # type: ignore[no-any-return]


def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dimension."""
    return sort(input, 0)[0]


@arguments.numpy_names
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None
) -> tuple[Tensor, Tensor]:
    """The `k` largest (or smallest) elements along `dim`, in order, and their indices."""
    return results.topk(*sorting.topk(input, k=int(k), dim=dim, largest=largest, **_out(out)))  # type: ignore[no-any-return]


@arguments.numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The `k`-th smallest element along `dim`, and its index."""
    return results.kthvalue(*sorting.kthvalue(input, k=k, dim=dim, keepdim=keepdim))  # type: ignore[no-any-return]


@arguments.numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median (the lower of two): of all elements, or along `dim` with the index."""
    if dim is None:
        if not input.array.size:
            return tensors.wrap(np.full((), np.nan if input.is_floating_point() else 0, input.array.dtype))
        return sorting.median_along(input.reshape(-1), dim=0)[0]
    return results.median(*sorting.median_along(input, dim=dim, keepdim=keepdim))


@arguments.numpy_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """As `median`, without the NaNs."""
    if dim is None:
        return sorting.median_along(input.reshape(-1), dim=0, ignore_nan=True)[0]
    return results.nanmedian(*sorting.median_along(input, dim=dim, keepdim=keepdim, ignore_nan=True))


@arguments.numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent element along `dim` (the smallest of several), and an index of it."""
    return results.mode(*sorting.mode_along(input, dim=dim, keepdim=keepdim))  # type: ignore[no-any-return]


@arguments.numpy_names
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The `q`-th quantiles (a number or a vector of them, in front), interpolated between neighbours."""
    return _quantile(input, q, dim, keepdim, interpolation, ignore_nan=False)


@arguments.numpy_names
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """As `quantile`, without the NaNs."""
    return _quantile(input, q, dim, keepdim, interpolation, ignore_nan=True)


def _quantile(input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool) -> Tensor:
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ShapeError(
            "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    ranks = values_of(q, "quantile").astype(np.float64) if isinstance(q, tensors.Tensor) else np.asarray(q, np.float64)
    if ranks.size and not ((ranks >= 0) & (ranks <= 1)).all():
        raise ShapeError("quantile() q values must be in the range [0, 1]")
    ndim = input.ndim
    rows = input.reshape(-1) if dim is None or not ndim else input.movedim(dim, -1)
    ordered = sort(rows, -1)[0]
    nans = np.isnan(values_of(ordered, "quantile")).sum(-1, keepdims=True)
    length = ordered.array.shape[-1]
    count = np.maximum(length - nans, 1) if ignore_nan else np.full_like(nans, length)
    position = ranks.reshape(-1) * (count - 1)
    low, high = np.floor(position), np.ceil(position)
    if interpolation == "lower":
        high = low
    elif interpolation == "higher":
        low = high
    elif interpolation == "nearest":
        low = high = np.rint(position)
    weight = np.full(position.shape, 0.5) if interpolation == "midpoint" else position - low
    if not ignore_nan:
        broken = np.broadcast_to(nans > 0, low.shape)
        low, high = np.where(broken, length - 1, low), np.where(broken, length - 1, high)
    lower = ordered.gather(-1, tensors.wrap(low.astype(np.int64)))
    upper = ordered.gather(-1, tensors.wrap(high.astype(np.int64)))
    found = lower + (upper - lower) * tensors.wrap(weight.astype(input.array.dtype))
    result: Tensor = found.movedim(-1, 0) if ranks.ndim else found.squeeze(-1)
    if keepdim:
        lead = int(bool(ranks.ndim))
        if dim is None or not ndim:
            result = result.reshape(*result.shape[:lead], *(1,) * ndim)
        else:
            result = result.unsqueeze(dim % ndim + lead)
    return result


# Distinct elements


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in order (or slices along `dim`), with where each element went and how often it came."""
    if dim is not None and not input.array.shape[dim]:
        raise ShapeError("unique(): there are no slices along a dimension of size 0")
    if not return_inverse and not return_counts:
        return tensors.wrap(np.unique(values_of(input, "unique"), axis=dim, equal_nan=False))
    values, inverse, counts = np.unique(
        values_of(input, "unique"), return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    inverse = inverse.reshape(input.array.shape if dim is None else -1).astype(np.int64)
    return _distinct(values, inverse, counts, return_inverse, return_counts)


def _distinct(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    found = [tensors.wrap(values)]
    if return_inverse:
        found.append(tensors.wrap(inverse))
    if return_counts:
        found.append(tensors.wrap(counts.astype(np.int64)))
    return found[0] if len(found) == 1 else tuple(found)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (or slices along `dim`) without those that equal their predecessor."""
    array = values_of(input, "unique_consecutive")
    rows = array.reshape(-1) if dim is None else np.moveaxis(array, dim, 0)
    length = rows.shape[0]
    if length:
        changed = np.concatenate([[True], (rows[1:] != rows[:-1]).any(tuple(range(1, rows.ndim)))])
    else:
        changed = np.zeros(0, bool)
    values = rows[changed] if dim is None else np.moveaxis(rows[changed], 0, dim)
    inverse = np.cumsum(changed) - 1
    counts = np.diff(np.append(np.nonzero(changed)[0], length))
    if dim is None:
        inverse = inverse.reshape(input.array.shape)
    return _distinct(np.ascontiguousarray(values), inverse, counts, return_inverse, return_counts)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among `test_elements`."""
    a, b = (values_of(x, "isin") if isinstance(x, tensors.Tensor) else np.asarray(x) for x in (elements, test_elements))
    return tensors.wrap(np.isin(a, b, assume_unique=assume_unique, invert=invert))


# Counts


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on comes, or the sum of the weights where it does."""
    if weights is None:
        return sorting.bincount(input, minlength=minlength)  # type: ignore[no-any-return]
    sorting.bincount.shape_rule(input.array, minlength=minlength)  # type: ignore[misc]
    if weights.array.shape != input.array.shape:
        raise ShapeError("weights should be 1-d and have the same length as input")
    found = np.bincount(values_of(input, "bincount"), values_of(weights, "bincount").astype(np.float64), minlength)
    return tensors.wrap(found.astype(weights.array.dtype if weights.is_floating_point() else np.float64))


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` equal parts of [min, max], by default of the whole range."""
    if bins <= 0:
        raise ShapeError("histc(): bins must be > 0")
    values = values_of(input, "histc").reshape(-1)
    if min == max and values.size:
        min, max = float(values.min()), float(values.max())
    if min == max:
        min, max = min - 1, max + 1
    if not min < max:
        raise ShapeError("histc(): max must be larger than min")
    values = values[(values >= min) & (values <= max)]
    place = ((values - min) * bins / (max - min)).astype(np.int64)
    place[place == bins] = bins - 1
    return tensors.wrap(np.bincount(place, minlength=bins).astype(input.array.dtype))


def histogram(
    input: Tensor,
    bins: Any = 100,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """(hist, bin_edges): how many elements, or how much of `weight`, falls into each bin; the last has both its edges.

    bins: their number, equal parts of `range` (by default of the whole range of `input`), or a tensor of edges.
    density: the counts divided by their sum and the widths of the bins.
    """
    values = values_of(input, "histogram").reshape(-1)
    edges = values_of(bins, "histogram") if isinstance(bins, tensors.Tensor) else bins
    weights = None if weight is None else values_of(weight, "histogram").reshape(-1)
    counts, found = np.histogram(values, edges, range, density, weights)
    dtype = input.array.dtype
    return results.histogram(tensors.wrap(counts.astype(dtype)), tensors.wrap(found.astype(dtype)))


def searchsorted(
    sorted_sequence: Tensor,
    values: Any = None,
    *,
    input: Any = None,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where in the sorted rows each value would be put in: before its equals, or with `right` behind them.

    sorter: the order that sorts rows which aren't sorted.
    """
    values = input if values is None else values
    values = values if isinstance(values, tensors.Tensor) else tensors.wrap(np.asarray(values))
    if sorter is not None:
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    found = sorting.searchsorted(sorted_sequence, values, right=right or side == "right")
    return found.to(dtypes.int32) if out_int32 else found  # type: ignore[no-any-return]


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the interval between `boundaries` that each value falls into."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
