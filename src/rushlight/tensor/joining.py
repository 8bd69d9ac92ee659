"""Tensors joined, repeated and turned around."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.ops import gathering, joining, movement, striding
from rushlight.ops.declare import routing
from rushlight.tensor import arguments, shaping
from rushlight.tensor import tensor as tensors_
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

# Joining


def cat(tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None) -> Tensor:
    """The tensors joined along `dim`; raises ShapeError that names the one whose other sizes differ."""
    parts = arguments.tensors("cat", tensors)
    if not parts:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    dim = dim if axis is None else axis
    full = [p for p in parts if p.array.shape != (0,)]
    parts = _of_one_dtype(full or parts, parts)
    options = {"dim": dim} if out is None else {"dim": dim, "out": out}
    return routing.interpreter(joining.cat, tuple(parts), options)  # type: ignore[no-any-return]


def _of_one_dtype(parts: Any, deciding: Any) -> Sequence[Tensor]:
    first = deciding[0].array.dtype
    for part in deciding:
        if part.array.dtype is not first and part.array.dtype != first:
            break
    else:
        return parts  # type: ignore[no-any-return]
    dtype = dtypes.of_numpy(dtypes.result_type(*[p.array for p in deciding]))
    return [p.to(dtype) for p in parts]


def stack(tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    parts = arguments.tensors("stack", tensors)
    if not parts:
        raise ShapeError("stack expects a non-empty TensorList")
    options: dict[str, Any] = {"dim": dim if axis is None else axis}
    if out is not None:
        options["out"] = out
    return joining.stack(*_of_one_dtype(parts, parts), **options)  # type: ignore[no-any-return]


def hstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Joined along the columns; vectors along their only dimension."""
    parts = shaping.atleast_1d(tuple(arguments.tensors("hstack", tensors)))
    return cat(parts, 0 if parts[0].ndim == 1 else 1, out=out)


def vstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Joined along the rows; vectors count as one row each."""
    return cat(shaping.atleast_2d(tuple(arguments.tensors("vstack", tensors))), 0, out=out)


def dstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Joined along the third dimension."""
    return cat(shaping.atleast_3d(tuple(arguments.tensors("dstack", tensors))), 2, out=out)


def column_stack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Joined along the columns; vectors count as one column each."""
    parts = arguments.tensors("column_stack", tensors)
    return cat([p.reshape(-1, 1) if p.ndim <= 1 else p for p in parts], 1, out=out)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones along its diagonal and zeros elsewhere."""
    blocks = [shaping.atleast_2d(x) for x in tensors]
    rows, columns = sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks)
    padded, row, column = [], 0, 0
    for block in _of_one_dtype(blocks, blocks):
        n, m = block.shape
        where = (slice(row, row + n), slice(column, column + m))
        padded.append(movement.slice_gradient(block, shape=(rows, columns), index=where))
        row, column = row + n, column + m
    result = padded[0]
    for more in padded[1:]:
        result = result + more
    return result  # type: ignore[no-any-return]


# Broadcasting


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that tensors of these shapes broadcast to; raises ShapeError where they don't."""
    from rushlight.tensor.size import Size

    sizes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    try:
        return Size(np.broadcast_shapes(*sizes))
    except ValueError:
        raise ShapeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {', '.join(map(str, sizes))}"
        ) from None


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape."""
    parts = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    shape = tuple(broadcast_shapes(*[p.array.shape for p in parts]))
    return tuple(shaping.expand(p, shape) for p in parts)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid over vectors: one tensor for each, constant along the other dimensions.

    indexing: "ij" for matrix order, "xy" for the first two swapped.
    """
    if indexing not in ("ij", "xy"):
        raise ShapeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    parts = list(tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors)
    for part in parts:
        if part.ndim > 1:
            raise ShapeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {part.shape}")
    if len({p.array.dtype for p in parts}) > 1:
        raise DtypeError("meshgrid expects all tensors to have the same dtype")
    parts = [p.reshape(-1) for p in parts]
    swapped = indexing == "xy" and len(parts) > 1
    if swapped:
        parts[0], parts[1] = parts[1], parts[0]
    shape = tuple(p.numel() for p in parts)
    grids = [
        shaping.expand(p.reshape((1,) * i + (-1,) + (1,) * (len(parts) - 1 - i)), shape) for i, p in enumerate(parts)
    ]
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one entry from each vector, as rows."""
    if len(tensors) == 1:
        return tensors[0]  # type: ignore[no-any-return]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` entries of a vector, as rows."""
    if input.ndim != 1:
        raise ShapeError(f"Expect a 1D vector, but got shape {list(input.array.shape)}")
    if r < 0:
        raise ShapeError(f"Expect a non-negative number, but got {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return input[tensors_.wrap(places)]


# Repeating


def repeat(self: Tensor, *counts: Any, repeats: Any = None) -> Tensor:
    """Laid out `repeats` times along each dimension; further ones in front."""
    counts = arguments.integers("repeat", "repeats", counts if repeats is None else (repeats,))
    return joining.repeat(self, repeats=counts)  # type: ignore[no-any-return]


def tile(input: Tensor, *counts: Any, dims: Any = None) -> Tensor:
    """As `repeat`, where missing counts in front are 1."""
    counts = arguments.integers("tile", "dims", counts if dims is None else (dims,))
    counts = (1,) * (input.array.ndim - len(counts)) + counts
    return joining.repeat(input, repeats=counts)  # type: ignore[no-any-return]


@arguments.numpy_names
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each entry along `dim` (of the flat tensor without it) repeated, all equally often or each by its own count."""
    if repeats is None:
        return tensors_.wrap(np.repeat(np.arange(input.numel()), values_of(input, "repeat_interleave")))
    if dim is None:
        input, dim = input.reshape(-1), 0
    at = movement.normalize_dim("repeat_interleave", dim, input.array.ndim)
    counts = values_of(repeats, "repeat_interleave") if isinstance(repeats, tensors_.Tensor) else np.asarray(repeats)
    if counts.dtype.kind not in "iu":
        raise TypeError("repeats has to be Long or Int tensor")
    if (counts < 0).any():
        raise ShapeError("repeats can not be negative")
    if counts.size not in (1, input.array.shape[at]):
        raise ShapeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.size} and "
            f"input.size({at}) = {input.array.shape[at]}"
        )
    places = np.repeat(np.arange(input.array.shape[at]), counts.reshape(-1))
    return gathering.index_select(input, tensors_.wrap(places), dim=at)  # type: ignore[no-any-return]


# Turning around


def flip(input: Tensor, *along: Any, dims: Any = None) -> Tensor:
    """The entries along `dims` in reverse order."""
    return joining.flip(input, dims=arguments.integers("flip", "dims", along if dims is None else (dims,)))  # type: ignore[no-any-return]


def fliplr(input: Tensor) -> Tensor:
    """The columns in reverse order."""
    if input.ndim < 2:
        raise ShapeError("Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The rows in reverse order."""
    if input.ndim < 1:
        raise ShapeError("Input must be >= 1-d.")
    return flip(input, 0)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The entries moved along, those that leave at one end entering at the other; of the flat tensor without `dims`."""
    by = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or dims == ():
        if len(by) != 1:
            raise ShapeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:0")
        rolled = joining.roll(input.reshape(-1), shifts=by, dims=(0,)).reshape(input.array.shape)
        return tensors_.shown_as("RollBackward0", rolled)  # type: ignore[no-any-return]
    along = (dims,) if isinstance(dims, int) else tuple(dims)
    return joining.roll(input, shifts=by, dims=along)  # type: ignore[no-any-return]


def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Turned by 90 degrees `k` times in the plane of `dims`, from the first towards the second."""
    first, second = (movement.normalize_dim("rot90", d, input.array.ndim) for d in dims)
    if first == second:
        raise ShapeError(f"expected rotation dims to be different, but got dim0 = {first} and dim1 = {second}")
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return flip(input, first, second)
    if k == 1:
        return shaping.transpose(flip(input, second), first, second)
    return flip(shaping.transpose(input, first, second), second)


# Matrices


def tril(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The lower triangle of the matrices, zeros above its `diagonal`-th diagonal."""
    return joining.tril(input, diagonal=diagonal, **({} if out is None else {"out": out}))  # type: ignore[no-any-return]


def triu(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The upper triangle of the matrices, zeros below its `diagonal`-th diagonal."""
    return joining.triu(input, diagonal=diagonal, **({} if out is None else {"out": out}))  # type: ignore[no-any-return]


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None) -> Tensor:
    """The places of the lower triangle of a matrix, 2 x n."""
    return tensors_.wrap(np.stack(np.tril_indices(row, offset, col)).astype(dtype.numpy))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None) -> Tensor:
    """The places of the upper triangle of a matrix, 2 x n."""
    return tensors_.wrap(np.stack(np.triu_indices(row, offset, col)).astype(dtype.numpy))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return movement.clone(shaping.diagonal(input, diagonal))  # type: ignore[no-any-return]


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension on their diagonals and zeros elsewhere."""
    ndim = input.array.ndim + 1
    a, b = (movement.normalize_dim("diag_embed", d, ndim) for d in (dim1, dim2))
    if a == b:
        raise ShapeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if not input.array.ndim:
        raise DimensionError("diag_embed needs a tensor of at least 1 dimension")
    n = input.array.shape[-1] + abs(offset)
    rest = iter(input.array.shape[:-1])
    shape = tuple(n if d in (a, b) else next(rest) for d in range(ndim))
    return striding.diagonal_scatter(input, shape=shape, offset=offset, dim1=a, dim2=b)  # type: ignore[no-any-return]


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements on its diagonal."""
    return diag_embed(input.reshape(-1), offset)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise ShapeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return shaping.diagonal(input).sum()


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers of a vector's entries."""
    n = x.numel() if N is None else N
    powers = np.arange(n) if increasing else np.arange(n)[::-1].copy()
    return x.unsqueeze(-1) ** tensors_.wrap(powers)
