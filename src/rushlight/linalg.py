"""`rushlight.linalg`: norms and products. Decompositions and solvers aren't here yet."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from rushlight.errors import ShapeError
from rushlight.ops.linear import matmul as matmul
from rushlight.tensor import creation, reducing
from rushlight.tensor.shaping import diagonal as diagonal

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

__all__ = ["diagonal", "matmul", "matrix_norm", "matrix_power", "multi_dot", "norm", "vector_norm"]


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The norm of order `ord` of all elements, or over `dim`."""
    return reducing.norm(x, ord, dim, keepdim)


def matrix_norm(A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """A norm of matrices: "fro", the largest sum of a column (1) or of a row (inf).

    Raises ShapeError for the orders that need singular values.
    """
    if ord == "fro":
        return reducing.norm(A, 2, dim, keepdim)
    if ord not in (1, float("inf")):
        raise ShapeError(f"linalg.matrix_norm: order {ord!r} isn't supported; 'fro', 1 and inf are")
    rows, columns = (d % A.ndim for d in dim)
    first, second = (rows, columns) if ord == 1 else (columns, rows)
    found = A.abs().sum(first, keepdim=True).amax(second, keepdim=True)
    return found if keepdim else found.squeeze((rows, columns))  # type: ignore[no-any-return]


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The 2-norm of all elements; with `ord` the norm of vectors (one dim) or of matrices (two)."""
    if ord is None:
        return reducing.norm(A, 2, dim, keepdim)
    if isinstance(dim, int) or (dim is None and A.ndim == 1):
        return vector_norm(A, ord, dim, keepdim)
    return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim)


def multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices, from left to right."""
    return functools.reduce(matmul, tensors)  # type: ignore[no-any-return]


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A square matrix multiplied with itself `n` times; raises ShapeError for a negative `n`."""
    if n < 0:
        raise ShapeError("linalg.matrix_power: negative powers need the inverse, which isn't here yet")
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"linalg.matrix_power: A must be batches of square matrices, but they are {tuple(A.shape)}")
    result = creation.eye(A.shape[-1], dtype=A.dtype).expand(A.shape)
    while n:
        if n & 1:
            result = matmul(result, A)
        A, n = matmul(A, A), n >> 1
    return result
