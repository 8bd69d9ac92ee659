"""Elements chosen, replaced and counted by indices and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.ops import elementwise, gathering, indexing, movement
from rushlight.ops.declare import routing
from rushlight.tensor import arguments, data
from rushlight.tensor import tensor as tensors
from rushlight.tensor.subscript import places_of
from rushlight.tensor.unread import has_values, values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def _out(out: Tensor | None) -> dict[str, Any]:
    return {} if out is None else {"out": out}


# By indices along a dimension


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """The elements at `index` along `dim`: out[i][j] = input[index[i][j]][j] for dim 0."""
    return gathering.gather(input, index, dim=dim, **_out(out))  # type: ignore[no-any-return]


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, with the other dimensions broadcast; without `dim` from the flat tensor."""
    if dim is None:
        return gathering.gather(input.reshape(-1), indices.reshape(-1), dim=0)  # type: ignore[no-any-return]
    at = movement.normalize_dim("take_along_dim", dim, input.array.ndim)
    sizes = list(np.broadcast_shapes(
        input.array.shape[:at] + (1,) + input.array.shape[at + 1 :],
        indices.array.shape[:at] + (1,) + indices.array.shape[at + 1 :],
    ))  # fmt: skip
    sizes[at] = -1
    index = indices.expand(sizes)
    if not has_values(index) or (index.array.size and index.array.min() < 0):
        index = elementwise.where(index < 0, index + input.array.shape[at], index)
    return gathering.gather(input.expand(sizes), index, dim=at)  # type: ignore[no-any-return]


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`input` with the elements of `src` (or the number `value`) written at `index` along `dim`.

    reduce: "add" or "multiply" combines them with what is there.
    """
    source = value if src is None else src
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ShapeError(f"reduce argument must be either add or multiply, got {reduce}")
        if not isinstance(source, tensors.Tensor):
            source = tensors.wrap(np.full(index.array.shape, source, input.array.dtype))
        how = {"add": "sum", "multiply": "prod"}[reduce]
        return gathering.scatter_reduce(input, index, source, dim=dim, reduce=how, **_out(out))  # type: ignore[no-any-return]
    return gathering.scatter(input, index, source, dim=dim, **_out(out))  # type: ignore[no-any-return]


def scatter_(
    self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """In-place version of `scatter`."""
    return scatter(self, dim, index, src, value=value, reduce=reduce, out=self)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input` with the elements of `src` added at `index` along `dim`."""
    if routing.tracing is None and _chooses_slices(input, dim, index, src):
        rows = tensors.wrap(index.array[tuple(slice(None) if d == dim % input.ndim else 0 for d in range(input.ndim))])
        result = gathering.index_add(input, rows, src, dim=dim, alpha=1, **_out(out))
        return tensors.shown_as("ScatterAddBackward0", result)  # type: ignore[no-any-return]
    return gathering.scatter_add(input, index, src, dim=dim, **_out(out))  # type: ignore[no-any-return]


def _chooses_slices(input: Tensor, dim: int, index: Tensor, src: Tensor) -> bool:
    """Whether an index is the same all along the slices of `dim`, as an expanded one is: whole slices are added."""
    if not (isinstance(index, tensors.Tensor) and isinstance(src, tensors.Tensor)) or input.ndim < 2:
        return False
    if index.array.shape != src.array.shape or index.ndim != input.ndim or index.array.dtype.kind != "i":
        return False
    if input.array.dtype != src.array.dtype or not -input.ndim <= dim < input.ndim:
        return False
    others = [d for d in range(input.ndim) if d != dim % input.ndim]
    return all(index.array.strides[d] == 0 and index.shape[d] == input.shape[d] > 1 for d in others)


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place version of `scatter_add`."""
    return scatter_add(self, dim, index, src, out=self)


def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """`input` combined with the elements of `src` at `index` along `dim` by sum, mean, prod, amax or amin."""
    return gathering.scatter_reduce(  # type: ignore[no-any-return]
        input, index, src, dim=dim, reduce=reduce, include_self=include_self, **_out(out)
    )


def scatter_reduce_(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place version of `scatter_reduce`."""
    return scatter_reduce(self, dim, index, src, reduce, include_self=include_self, out=self)


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices at `index` (1-dimensional) along `dim`."""
    return gathering.index_select(input, index, dim=dim, **_out(out))  # type: ignore[no-any-return]


def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1, out: Tensor | None = None
) -> Tensor:
    """`input` with `alpha` times the slices of `source` added at `index` along `dim`."""
    return gathering.index_add(input, index, source, dim=dim, alpha=alpha, **_out(out))  # type: ignore[no-any-return]


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """In-place version of `index_add`."""
    return index_add(self, dim, index, source, alpha=alpha, out=self)


def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """`input` combined with the slices of `source` at `index` along `dim` by prod, mean, amax or amin."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise ShapeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    at = movement.normalize_dim("index_reduce", dim, source.array.ndim)
    if index.array.ndim != 1 or index.array.shape[0] != source.array.shape[at]:
        raise ShapeError(
            f"index_reduce(): index must be 1-dimensional, with an entry for each of the {source.array.shape[at]} "
            f"slices of source, but its shape is {tuple(index.shape)}"
        )
    places = index.reshape((-1,) + (1,) * (source.array.ndim - 1 - at)).expand(source.array.shape)
    return scatter_reduce(input, dim, places, source, reduce, include_self=include_self, out=out)


def index_reduce_(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place version of `index_reduce`."""
    return index_reduce(self, dim, index, source, reduce, include_self=include_self, out=self)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input` with the slices of `source` in the place of those at `index` along `dim`."""
    return gathering.index_copy(input, index, source, dim=dim, **_out(out))  # type: ignore[no-any-return]


def index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """In-place version of `index_copy`."""
    return index_copy(self, dim, index, source, out=self)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any, *, out: Tensor | None = None) -> Tensor:
    """`input` with the slices at `index` along `dim` filled with `value`."""
    if isinstance(value, tensors.Tensor):
        if value.array.ndim:
            raise ShapeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got one with {value.ndim} dimension(s)."
            )
        if value.requires_grad:
            chosen = index_fill(tensors.wrap(np.zeros(input.array.shape, bool)), dim, index, True)
            return indexing.masked_fill(input, chosen, value.to(input.dtype), **_out(out))  # type: ignore[no-any-return]
        value = value.item()
    return gathering.index_copy(input, index, value, dim=dim, **_out(out))  # type: ignore[no-any-return]


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """In-place version of `index_fill`."""
    return index_fill(self, dim, index, value, out=self)


def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with `values` at [indices], or added there."""
    return index_put_(input.clone(), indices, values, accumulate)


def index_put_(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place version of `index_put`."""
    from rushlight.tensor import subscript

    items = tuple(slice(None) if i is None else i for i in indices)
    view, places, dims = subscript.resolve(self, items)
    indexing.index_put(view, values, *places, dims=dims, accumulate=accumulate, out=view)
    return self


# By places in the flat tensor


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flat tensor at `index`."""
    return gathering.take(input, index)  # type: ignore[no-any-return]


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with the elements of `source` at the places `index` of the flat tensor, or added there."""
    flat = input.reshape(-1)
    result = indexing.index_put(flat, source.reshape(-1), index.reshape(-1), dims=(0,), accumulate=accumulate)
    return result.reshape(input.array.shape)  # type: ignore[no-any-return]


def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """In-place version of `put`."""
    return self.copy_(put(self, index, source, accumulate))


# By masks


def _check_mask(name: str, mask: Any) -> None:
    if not isinstance(mask, tensors.Tensor):
        raise TypeError(f"{name}(): argument 'mask' must be Tensor, not {type(mask).__name__}")
    if mask.array.dtype.kind != "b":
        raise DtypeError(f"{name} only supports boolean masks, but got mask with dtype {mask.dtype}")


def _fill_number(name: str, input: Tensor, value: Any) -> Any:
    if isinstance(value, tensors.Tensor):
        if value.array.ndim:
            raise ShapeError(
                f"{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
            )
        return value.to(input.dtype)
    if input.array.dtype.kind == "b":
        return bool(value)
    if input.array.dtype.kind in "iu":
        data.check_overflow(value, input.dtype)
        return int(value)
    return value


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where `mask` holds, the elements of `input` elsewhere."""
    _check_mask("masked_fill", mask)
    filled = elementwise.where(mask, _fill_number("masked_fill", input, value), input)
    return tensors.shown_as("MaskedFillBackward0", filled)  # type: ignore[no-any-return]


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place version of `masked_fill`."""
    _check_mask("masked_fill_", mask)
    return indexing.masked_fill(self, mask, _fill_number("masked_fill_", self, value), out=self)  # type: ignore[no-any-return]


def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where `mask` holds, as a vector."""
    _check_mask("masked_select", mask)
    from rushlight.tensor import joining

    elements, chosen = joining.broadcast_tensors(input, mask)
    return elements[chosen]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`input` with its elements where `mask` holds replaced by those of `source`, in their order."""
    from rushlight.tensor import joining

    input, mask = joining.broadcast_tensors(input, mask)
    return gathering.masked_scatter(input, mask, source)  # type: ignore[no-any-return]


def masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """In-place version of `masked_scatter`."""
    return gathering.masked_scatter(self, mask, source, out=self)  # type: ignore[no-any-return]


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """`input` where `condition` holds, `other` elsewhere; without them the places where it holds."""
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if not isinstance(condition, tensors.Tensor):
        raise TypeError(f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}")
    if condition.array.dtype.kind != "b":
        if condition.dtype is not dtypes.uint8:
            raise DtypeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype}"
            )
        condition = condition.bool()
    if not isinstance(input, tensors.Tensor) and not isinstance(other, tensors.Tensor):
        # Both are numbers: the result has the dtype that a tensor of them would have.
        dtype = dtypes.result_type(input, other)
        input = tensors.wrap(np.asarray(input, dtype))
    return elementwise.where(condition, input, other, **_out(out))


def where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The elements where `condition` holds, `other` elsewhere."""
    return where(condition, self, other)  # type: ignore[no-any-return]


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The places of the elements that aren't zero: rows of a matrix, or one tensor for each dimension."""
    array = values_of(input, "nonzero")
    if as_tuple:
        if not array.ndim:
            return (tensors.wrap(np.zeros(int(bool(array)), np.int64)),)
        return tuple(tensors.wrap(p) for p in places_of(array))
    return tensors.wrap(places_of(array, as_rows=True))


def argwhere(input: Tensor) -> Tensor:
    """The places of the elements that aren't zero, as rows."""
    return nonzero(input)  # type: ignore[no-any-return]


@arguments.numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements aren't zero."""
    return (input != 0).sum(dim)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """`input` with `src` in the place of its slice at `index` along `dim`."""
    result = input.clone()
    result.select(dim, index).copy_(src)
    return result


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """`input` with `src` in the place of a slice along `dim`."""
    result = input.clone()
    at = movement.normalize_dim("slice_scatter", dim, input.array.ndim)
    movement.slice_(result, index=(slice(None),) * at + (slice(start, end, step),)).copy_(src)
    return result


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """`input` with `src` on its diagonal."""
    result = input.clone()
    result.diagonal(offset, dim1, dim2).copy_(src)
    return result


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """The diagonal of a matrix filled with a number."""
    if self.array.ndim < 2:
        raise DimensionError("dimensions must larger than 1")
    if self.array.ndim == 2 and not wrap:
        self.diagonal().fill_(fill_value)
        return self
    filled = values_of(self, "fill_diagonal_").copy()
    np.fill_diagonal(filled, fill_value, wrap)
    return self.copy_(tensors.wrap(filled))
