"""`rushlight.sparse`: matrices of which few entries are there, as graph networks multiply by.

A SparseTensor is two tensors, the places of its entries and their values, with the functions that such programs call,
composed of `gather` and `index_add`: gradients go to the values, and to what they are multiplied with. It is no Tensor:
other functions ask for `to_dense()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.tensor import creation, data
from rushlight.tensor import layout as layouts
from rushlight.tensor.size import Size
from rushlight.tensor.tensor import Tensor, wrap
from rushlight.tensor.unread import has_values

__all__ = ["SparseTensor", "addmm", "log_softmax", "mm", "softmax", "spdiags", "sum"]


class SparseTensor:
    """A tensor of which the entries at `indices` (sparse_dim, nnz) are `values` (nnz, ...), and all others zero.

    Entries that stand in one place add up; after `coalesce()` each place comes once, in order.
    """

    is_sparse = True
    layout = layouts.sparse_coo

    def __init__(self, indices: Tensor, values: Tensor, size: Sequence[int], is_coalesced: bool = False) -> None:
        self._places = indices
        self._entries = values
        self.shape = Size(size)
        self._coalesced = is_coalesced

    # What it is

    dtype = property(lambda self: self._entries.dtype)
    device = property(lambda self: self._entries.device)
    requires_grad = property(lambda self: self._entries.requires_grad)
    grad_fn = property(lambda self: self._entries.grad_fn)
    ndim = property(lambda self: len(self.shape))
    T = property(lambda self: self.t())

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """The number of entries, zeros included."""
        return math.prod(self.shape)

    def sparse_dim(self) -> int:
        """The number of dimensions that `indices` go over."""
        return int(self._places.shape[0])

    def dense_dim(self) -> int:
        """The number of dimensions of one value."""
        return self._entries.dim() - 1

    def is_coalesced(self) -> bool:
        """Whether each place is known to come once."""
        return self._coalesced

    def _nnz(self) -> int:
        return int(self._places.shape[1])

    def _indices(self) -> Tensor:
        return self._places

    def _values(self) -> Tensor:
        return self._entries

    def indices(self) -> Tensor:
        """The places, (sparse_dim, nnz). Raises RuntimeError before `coalesce()`."""
        return self._of_coalesced("indices")._places

    def values(self) -> Tensor:
        """The values, (nnz, ...). Raises RuntimeError before `coalesce()`."""
        return self._of_coalesced("values")._entries

    def _of_coalesced(self, what: str) -> SparseTensor:
        if not self._coalesced:
            raise RuntimeError(f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first")
        return self

    def __repr__(self) -> str:
        indices = "\n".join(" " * (7 if row else 0) + line for row, line in _numbered(f"indices={self._places!r}"))
        indent = " " * 7
        values = repr(self._entries.detach()).replace("\n", "\n" + indent)
        dtype = "" if "dtype" in values or self.dtype in (dtypes.get_default_dtype(), dtypes.int64) else self.dtype
        parts = [
            f"tensor({indices}",
            f"{indent}values={values}",
            f"{indent}size={tuple(self.shape)}, nnz={self._nnz()}{f', dtype={dtype}' if dtype else ''}, "
            "layout=torch.sparse_coo",
        ]
        if self.grad_fn is not None:
            parts.append(f"{indent}grad_fn=<{self.grad_fn.name()}>")
        elif self.requires_grad:
            parts[-1] += ", requires_grad=True"
        return ",\n".join(parts) + ")"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"SparseTensor has no {name}: call to_dense() first, or coalesce().values()")

    def __len__(self) -> int:
        return int(self.shape[0])

    # From one to another

    def _with(self, values: Tensor) -> SparseTensor:
        return SparseTensor(self._places, values, self.shape, self._coalesced)

    def coalesce(self) -> SparseTensor:
        """The same tensor with each place once, in order, and the values there added up."""
        if self._coalesced:
            return self
        flat, inverse = _flat(self._places, self.shape).unique(return_inverse=True)
        values = self._entries.new_zeros((flat.numel(), *self._entries.shape[1:])).index_add(0, inverse, self._entries)
        sizes = self.shape[: self.sparse_dim()]
        places = np.stack(np.unravel_index(flat.array, sizes)) if sizes else np.zeros((0, flat.numel()))
        return SparseTensor(wrap(places.astype(np.int64)), values, self.shape, True)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        """The tensor with its zeros."""
        count = math.prod(self.shape[: self.sparse_dim()])
        start = self._entries.new_zeros((count, *self._entries.shape[1:]))
        found = start.index_add(0, _flat(self._places, self.shape), self._entries).reshape(self.shape)
        return found if dtype is None else found.to(dtype)

    def to_sparse(self, *args: Any, **options: Any) -> SparseTensor:
        """Itself."""
        return self

    def t(self) -> SparseTensor:
        """The transposed matrix. Raises DimensionError for a tensor that is none."""
        return self.transpose(0, 1)

    def transpose(self, dim0: int, dim1: int) -> SparseTensor:
        """Two sparse dimensions exchanged."""
        count = self.sparse_dim()
        if count != self.dim() or not all(-count <= d < count for d in (dim0, dim1)):
            raise DimensionError(f"transpose: dimensions {dim0} and {dim1} aren't sparse ones of {tuple(self.shape)}")
        order = list(range(count))
        order[dim0], order[dim1] = order[dim1], order[dim0]
        return SparseTensor(self._places[order], self._entries, [self.shape[d] for d in order])

    def to(self, *args: Any, **options: Any) -> SparseTensor:
        """With values of another dtype."""
        return self._with(self._entries.to(*args, **options))

    def requires_grad_(self, requires_grad: bool = True) -> SparseTensor:
        """Whether the values require a gradient, in place."""
        self._entries.requires_grad_(requires_grad)
        return self

    # Arithmetic

    def __matmul__(self, other: Tensor) -> Tensor:
        return mm(self, other)

    matmul = mm = __matmul__

    def __rmatmul__(self, other: Tensor) -> Tensor:
        return mm(self.t(), other) if other.dim() == 1 else mm(self.t(), other.mT).mT

    def _scaled(self, other: Any, operation: Callable[[Tensor, Any], Tensor]) -> SparseTensor:
        if isinstance(other, SparseTensor) or (isinstance(other, Tensor) and other.dim()):
            if not isinstance(other, Tensor):
                raise DtypeError("a SparseTensor is multiplied by numbers and dense tensors: call to_dense() on one")
            other = other.expand(self.shape)[tuple(self._places)]
        return self._with(operation(self._entries, other))

    def __mul__(self, other: Any) -> SparseTensor:
        return self._scaled(other, lambda a, b: a * b)

    __rmul__ = mul = multiply = __mul__

    def __truediv__(self, other: Any) -> SparseTensor:
        return self._scaled(other, lambda a, b: a / b)

    div = __truediv__

    def __neg__(self) -> SparseTensor:
        return self._with(-self._entries)

    def __add__(self, other: SparseTensor) -> SparseTensor:
        if not isinstance(other, SparseTensor):
            raise DtypeError("add(sparse, dense) is not supported: call to_dense() first")
        if self.shape != other.shape:
            raise ShapeError(f"add: sparse tensors of shapes {tuple(self.shape)} and {tuple(other.shape)}")
        places = np.concatenate([self._places.array, other._places.array], 1)
        from rushlight.tensor.joining import cat

        return SparseTensor(wrap(places), cat([self._entries, other._entries]), self.shape)

    add = __add__

    def __sub__(self, other: SparseTensor) -> SparseTensor:
        return self + (-other)

    def sum(self, dim: Any = None) -> Any:
        """The sum of all entries, or over dimensions; see `sparse.sum`."""
        return sum(self, dim)


def _of_values(name: str) -> Any:
    def method(self: SparseTensor, *args: Any, **options: Any) -> SparseTensor:
        tensor = self.coalesce() if name in ("abs", "sqrt", "pow") else self
        return tensor._with(getattr(tensor._entries, name)(*args, **options))

    method.__name__ = name
    method.__doc__ = f"With `{name}` of the values."
    return method


for _name in ("abs", "sqrt", "pow", "clone", "detach", "float", "double", "half", "bfloat16", "long", "int", "cpu",
              "cuda"):  # fmt: skip
    setattr(SparseTensor, _name, _of_values(_name))


def _numbered(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.replace("\n", "\n        ").split("\n")))


def _flat(indices: Tensor, size: Sequence[int]) -> Tensor:
    """The places as numbers in row-major order."""
    flat = creation.zeros(indices.shape[1], dtype=dtypes.int64)
    for row, count in zip(indices, size, strict=False):
        flat = flat * count + row
    return flat


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A sparse tensor of the entries `values` (nnz, ...) at `indices` (sparse_dim, nnz), zero elsewhere.

    size: its shape; by default what holds all indices.

    Raises ShapeError where these don't go together, DimensionError for an index out of range.
    """
    if indices is None:
        size = tuple(size or ())
        indices = creation.zeros((len(size), 0), dtype=dtypes.int64)
        values = creation.zeros(0, dtype=dtype)
    places = data.as_tensor(indices).to(dtypes.int64)
    entries = data.as_tensor(values, dtype=dtype, device=device)
    if places.dim() != 2:
        raise ShapeError(f"indices must be sparse_dim x nnz, but got: {tuple(places.shape)}")
    entries = entries.expand(places.shape[1]) if entries.dim() == 0 else entries
    if entries.shape[0] != places.shape[1]:
        raise ShapeError(
            f"indices and values must have same nnz, but got nnz from indices: {places.shape[1]}, nnz from values: "
            f"{entries.shape[0]}"
        )
    if size is None:
        size = [int(row.max()) + 1 for row in places] + list(entries.shape[1:])
    if len(size) != places.shape[0] + entries.dim() - 1 or tuple(size[places.shape[0] :]) != tuple(entries.shape[1:]):
        raise ShapeError(
            f"size {tuple(size)} doesn't go with {places.shape[0]} rows of indices and values of shape "
            f"{tuple(entries.shape)}"
        )
    if has_values(places) and places.numel():
        for dim, (row, count) in enumerate(zip(places.array, size, strict=False)):
            if row.min() < 0 or row.max() >= count:
                raise DimensionError(
                    f"size is inconsistent with indices: for dim {dim}, size is {count} but found index "
                    f"{row.min() if row.min() < 0 else row.max()}"
                )
    if requires_grad:
        entries = entries.detach().clone().requires_grad_()
    return SparseTensor(places, entries, size, bool(is_coalesced))


def from_dense(tensor: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """See `Tensor.to_sparse`: the entries that aren't zero, over the first `sparse_dim` dimensions."""
    count = tensor.dim() if sparse_dim is None else sparse_dim
    there = tensor.detach() != 0
    if count < tensor.dim():
        there = there.flatten(count).any(-1)
    places = there.nonzero().t().contiguous()
    return SparseTensor(places, tensor[tuple(places)], tensor.shape, True)


def mm(mat1: SparseTensor, mat2: Tensor) -> Tensor:
    """The product of a sparse matrix (n, m) with a dense one (m, k), or a vector (m)."""
    if not isinstance(mat1, SparseTensor):
        return mat1 @ mat2
    if isinstance(mat2, SparseTensor):
        raise DtypeError("sparse.mm: the second matrix must be dense: call to_dense() on it")
    if mat1.dim() != 2 or mat1.sparse_dim() != 2 or mat2.dim() not in (1, 2):
        raise ShapeError(f"sparse.mm: matrices are multiplied, got {tuple(mat1.shape)} and {tuple(mat2.shape)}")
    if mat1.shape[1] != mat2.shape[0]:
        raise ShapeError(
            f"sparse.mm: mat1 and mat2 shapes cannot be multiplied ({mat1.shape[0]}x{mat1.shape[1]} and "
            f"{'x'.join(map(str, mat2.shape))})"
        )
    if mat1.dtype != mat2.dtype:
        raise DtypeError(f"sparse.mm: the matrices must have the same dtype, but got {mat1.dtype} and {mat2.dtype}")
    rows, columns = mat1._places.unbind(0)
    values = mat1._entries if mat2.dim() == 1 else mat1._entries.unsqueeze(-1)
    return mat2.new_zeros((mat1.shape[0], *mat2.shape[1:])).index_add(0, rows, values * mat2.index_select(0, columns))


def addmm(mat: Tensor, mat1: SparseTensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """`beta * mat + alpha * (mat1 @ mat2)`."""
    return beta * mat + alpha * mm(mat1, mat2)


def sum(input: SparseTensor, dim: Any = None, dtype: Any = None) -> Any:
    """The sum of all entries, or over dimensions: sparse, unless no sparse dimension is left."""
    tensor = input if dtype is None else input.to(dtype)
    if dim is None:
        return tensor._entries.sum()
    dims = {d % tensor.dim() for d in ((dim,) if isinstance(dim, int) else dim)}
    count = tensor.sparse_dim()
    values = tensor._entries
    for d in sorted((d for d in dims if d >= count), reverse=True):
        values = values.sum(d - count + 1)
    kept = [d for d in range(count) if d not in dims]
    if not kept:
        return values.sum(0)
    size = [n for d, n in enumerate(tensor.shape) if d not in dims]
    return SparseTensor(tensor._places[kept], values, size).coalesce()


def softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """Softmax over one dimension of a matrix, of the entries that are there."""
    return _over_rows(input, dim, dtype, lambda x, largest, total: (x - largest).exp() / total)


def log_softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """The logarithm of `softmax`."""
    return _over_rows(input, dim, dtype, lambda x, largest, total: x - largest - total.log())


def _over_rows(input: SparseTensor, dim: int, dtype: Any, finish: Callable[..., Tensor]) -> SparseTensor:
    tensor = (input if dtype is None else input.to(dtype)).coalesce()
    if tensor.dim() != 2 or tensor.sparse_dim() != 2:
        raise ShapeError(f"sparse.softmax: a matrix is needed, got {tuple(tensor.shape)}")
    group, values = tensor._places[1 - dim % 2], tensor._entries
    count = tensor.shape[1 - dim % 2]
    largest = values.detach().new_full((count,), -math.inf).scatter_reduce(0, group, values.detach(), "amax")[group]
    total = values.new_zeros(count).index_add(0, group, (values - largest).exp())
    return tensor._with(finish(values, largest, total[group]))


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Sequence[int], layout: Any = None) -> SparseTensor:
    """The matrix of `shape` with the rows of `diagonals` along its diagonals `offsets`."""
    rows, columns, values = [], [], []
    for diagonal, offset in zip(diagonals, offsets.tolist(), strict=True):
        first = max(offset, 0)
        last = min(shape[1], shape[0] + offset, diagonal.shape[0])
        at = np.arange(first, max(first, last))
        rows.append(at - offset)
        columns.append(at)
        values.append(diagonal[first : max(first, last)])
    from rushlight.tensor.joining import cat

    return SparseTensor(wrap(np.stack([np.concatenate(rows), np.concatenate(columns)])), cat(values), shape).coalesce()


class _Legacy:
    """`torch.sparse.FloatTensor(indices, values, size)`, as older programs make them."""

    def __init__(self, kind: Any) -> None:
        self._dtype = kind

    def __call__(self, *args: Any) -> SparseTensor:
        if len(args) < 2:
            return sparse_coo_tensor(size=args[0] if args else (0,), dtype=self._dtype)
        return sparse_coo_tensor(*args, dtype=self._dtype)


FloatTensor, DoubleTensor, LongTensor = _Legacy(dtypes.float32), _Legacy(dtypes.float64), _Legacy(dtypes.int64)
