"""`rushlight.linalg`: norms, products, systems and decompositions of matrices; leading dimensions are a batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import LinAlgError as LinAlgError
from rushlight.errors import ShapeError
from rushlight.ops import decompositions
from rushlight.ops.decompositions import det as det
from rushlight.ops.decompositions import inv as inv
from rushlight.ops.linear import matmul as matmul
from rushlight.tensor import creation, reducing, results
from rushlight.tensor import tensor as tensors
from rushlight.tensor.pointwise import cross as cross
from rushlight.tensor.shaping import diagonal as diagonal
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh",
    "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul",
    "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

# Norms


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of order `ord` of all elements, or over `dim`."""
    return reducing.norm(x, ord, dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A norm of matrices: "fro", "nuc" (the sum of the singular values), the largest (2) or smallest (-2) of them, the
    largest (1) or smallest (-1) sum of a column, or of a row (inf, -inf).

    Raises ShapeError for other orders.
    """
    A = A if dtype is None else A.to(dtype)
    if ord == "fro":
        return reducing.norm(A, 2, dim, keepdim)
    rows, columns = (d % A.ndim for d in dim)
    if ord in ("nuc", 2, -2):
        values = svdvals(A.movedim((rows, columns), (-2, -1)))
        found = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
        for place in sorted((rows, columns)) if keepdim else ():
            found = found.unsqueeze(place)
        return found
    if ord not in (1, -1, math.inf, -math.inf):
        raise ShapeError(
            f"linalg.matrix_norm: order {ord!r} isn't supported; 'fro', 'nuc', 2, 1, inf and negatives are"
        )
    first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = A.abs().sum(first, keepdim=True)
    found = sums.amax(second, keepdim=True) if ord > 0 else sums.amin(second, keepdim=True)
    return found if keepdim else found.squeeze((rows, columns))  # type: ignore[no-any-return]


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The 2-norm of all elements; with `ord` the norm of vectors (one dim) or of matrices (two)."""
    if ord is None:
        return reducing.norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(dim, int) or (dim is None and A.ndim == 1):
        return vector_norm(A, ord, dim, keepdim, dtype=dtype)
    return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number in the norm `p` of `matrix_norm`; by default the ratio of the singular values' extremes."""
    if p in (None, 2, -2):
        values = svdvals(A)
        ratio = values.amax(-1) / values.amin(-1)
        return 1 / ratio if p == -2 else ratio
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


# Products


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The dot products of vectors along `dim`."""
    return (x * y).sum(dim)


def multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices, from left to right."""
    return functools.reduce(matmul, tensors)  # type: ignore[no-any-return]


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A square matrix multiplied with itself `n` times; a negative `n` multiplies its inverse."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"linalg.matrix_power: A must be batches of square matrices, but they are {tuple(A.shape)}")
    if n < 0:
        A, n = inv(A), -n
    result = creation.eye(A.shape[-1], dtype=A.dtype).expand(A.shape)
    while n:
        if n & 1:
            result = matmul(result, A)
        A, n = matmul(A, A), n >> 1
    return result


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices, the sum of A^n / n!."""
    return decompositions.matrix_exp(A)  # type: ignore[no-any-return]


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of reflections I - tau_i v_i v_i^T, v_i below the diagonal of column i of A.

    Shapes: A (..., m, n), tau (..., k), k at most n -> (..., m, n).
    """
    rows, columns = A.shape[-2:]
    vectors = A.tril(-1) + creation.eye(rows, columns, dtype=A.dtype)
    result = creation.eye(rows, columns, dtype=A.dtype).expand(A.shape)
    for i in range(tau.shape[-1] - 1, -1, -1):
        v = vectors[..., i : i + 1]
        result = result - tau[..., i, None, None] * matmul(v, matmul(v.mT, result))
    return result


# Systems


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X for which A X = B, or with `left=False` X A = B. B is a vector where it has one dimension less than A.

    Raises LinAlgError for a singular A.
    """
    if not left:
        return solve(A.mT, B.mT).mT  # type: ignore[no-any-return]
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and tuple(B.shape) == tuple(A.shape[:-1])):
        return decompositions.solve(A, B.unsqueeze(-1)).squeeze(-1)  # type: ignore[no-any-return]
    return decompositions.solve(A, B)  # type: ignore[no-any-return]


def _attempt(compute: Callable[[], Tensor], A: Tensor, like: Tensor, check_errors: bool) -> tuple[Tensor, Tensor]:
    """The result, or NaN in the shape of `like`, and int32 numbers, 0 where all went well, for the matrices A."""
    batch = tuple(A.shape[:-2])
    try:
        return compute(), creation.zeros(batch, dtype=dtypes.int32)
    except LinAlgError:
        if check_errors:
            raise
        return creation.full_like(like, math.nan), creation.ones(batch, dtype=dtypes.int32)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """`solve` as (result, info): where a matrix is singular, `info` isn't 0 and the result NaN, and nothing raises."""
    return results.linalg_solve_ex(*_attempt(lambda: solve(A, B, left=left), A, B, check_errors))


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """`inv` as (inverse, info): where a matrix is singular, `info` isn't 0 and the inverses NaN; nothing raises."""
    return results.linalg_inv_ex(*_attempt(lambda: inv(A), A, A, check_errors))


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """`cholesky` as (L, info): where a matrix isn't positive definite, `info` isn't 0 and L NaN; nothing raises."""
    return results.linalg_cholesky_ex(*_attempt(lambda: cholesky(A, upper=upper), A, A, check_errors))


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of `tensordot` with A, whose first `ind` dimensions have as many entries as the others."""
    if ind <= 0:
        raise ShapeError("Expected a strictly positive integer for 'ind'")
    rows = math.prod(A.shape[:ind])
    if rows * rows != A.numel():
        raise ShapeError(f"linalg.tensorinv: the first {ind} sizes of {tuple(A.shape)} and the others must go together")
    return inv(A.reshape(rows, rows)).reshape((*A.shape[ind:], *A.shape[:ind]))  # type: ignore[no-any-return]


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """The X for which tensordot(A, X, X.ndim) = B, the dimensions `dims` of A having been moved to its end."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape)


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """`solve` with the upper or lower triangle of A; unitriangular: the diagonal counts as ones."""
    triangle = A.triu(int(unitriangular)) if upper else A.tril(-int(unitriangular))
    if unitriangular:
        triangle = triangle + creation.eye(A.shape[-1], dtype=A.dtype)
    return decompositions.solve(triangle, B) if left else solve(triangle, B, left=False)


def pinv(A: Tensor, rtol: float | None = None, hermitian: bool = False, *, atol: float | None = None) -> Tensor:
    """The pseudoinverse: singular values up to max(atol, rtol * the largest) count as zero."""
    U, S, Vh = decompositions.svd(A)
    kept = S > _smallest_kept(A, S, rtol, atol)
    inverse = kept.to(S.dtype) / S.masked_fill(~kept, 1.0)
    return matmul(Vh.mT * inverse.unsqueeze(-2), U.mT)  # type: ignore[no-any-return]


def _smallest_kept(A: Tensor, S: Tensor, rtol: float | None, atol: float | None) -> Tensor:
    from rushlight.tensor.limits import finfo

    if rtol is None:
        rtol = 0.0 if atol else max(A.shape[-2:]) * finfo(A.dtype).eps
    return (S.detach().amax(-1, keepdim=True) * rtol).clamp(min=atol or 0.0)


def matrix_rank(A: Tensor, rtol: float | None = None, hermitian: bool = False, *, atol: float | None = None) -> Tensor:
    """The number of singular values above max(atol, rtol * the largest)."""
    S = svdvals(A.detach())
    return (S > _smallest_kept(A, S, rtol, atol)).sum(-1)


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """The X of least |A X - B|, as (solution, residuals, rank, singular_values); residuals where A has full rank and
    more rows than columns."""
    vector = B.ndim == 1 or B.ndim == A.ndim - 1
    columns = B.unsqueeze(-1) if vector else B
    solution = matmul(pinv(A, rcond), columns)
    rank, wanted = matrix_rank(A, rcond), A.shape[-1]
    residuals = creation.empty(0, dtype=A.dtype)
    if A.shape[-2] > wanted and bool((rank == wanted).all()):
        residuals = ((matmul(A, solution) - columns) ** 2).sum(-2)
    return results.linalg_lstsq(
        solution.squeeze(-1) if vector else solution,
        residuals,
        rank,
        svdvals(A) if driver in ("gelsd", "gelss") else creation.empty(0, dtype=A.dtype),
    )


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of each entry: (..., n) -> (..., n, N); N is n by default."""
    return x.unsqueeze(-1) ** creation.arange(x.shape[-1] if N is None else N)


# Decompositions


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Any:
    """U, S, V with A - M = U diag(S) V^T nearly, for the `q` largest singular values, from random products.

    By Halko, Martinsson and Tropp, "Finding structure with randomness", 2009, with `niter` iterations.
    """
    from rushlight.tensor.random import randn

    A = A if M is None else A - M
    wide = A.shape[-2] < A.shape[-1]
    A = A.mT if wide else A
    Q = decompositions.qr(matmul(A, randn(A.shape[-1], 6 if q is None else q, dtype=A.dtype)))[0]
    for _ in range(2 if niter is None else niter):
        Q = decompositions.qr(matmul(A.mT, Q))[0]
        Q = decompositions.qr(matmul(A, Q))[0]
    U, S, Vh = decompositions.svd(matmul(Q.mT, A))
    U, V = matmul(Q, U), Vh.mT
    return results.svd_lowrank(*((V, S, U) if wide else (U, S, V)))


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """`svd_lowrank` of A less its mean row: the columns of V are the first `q` principal directions, 6 by default.

    Raises ValueError for a `q` larger than A allows.
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return results.pca_lowrank(*svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter))


def slogdet(A: Tensor) -> Any:
    """The sign of the determinant and the logarithm of its absolute value, as (sign, logabsdet)."""
    return results.linalg_slogdet(*decompositions.slogdet(A))


def _from_triangle(A: Tensor, upper: bool) -> Tensor:
    """A with one triangle mirrored onto the other; the gradient is that of a symmetric A."""
    kept = A.detach().triu() if upper else A.detach().tril()
    mirrored: Tensor = kept + (kept.triu(1) if upper else kept.tril(-1)).mT
    return A + (mirrored - A.detach())


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with A = L L^T, or the upper one with A = U^T U; only that triangle of A is read.

    Raises LinAlgError where A isn't positive definite.
    """
    found = decompositions.cholesky(_from_triangle(A, upper))
    return found.mT if upper else found  # type: ignore[no-any-return]


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues in ascending order and eigenvectors (as columns) of a symmetric A, of which one triangle is read."""
    return results.linalg_eigh(*decompositions.eigh(_from_triangle(A, UPLO.upper() == "U")))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric A in ascending order."""
    return eigh(A, UPLO).eigenvalues  # type: ignore[no-any-return]


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """U, S, Vh with A = U diag(S) Vh, the singular values S in descending order."""
    return results.linalg_svd(*decompositions.svd(A, full_matrices=full_matrices))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values in descending order."""
    return decompositions.svd(A)[1]  # type: ignore[no-any-return]


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and upper triangular R, A = Q R; mode "complete" makes Q square, "r" leaves it out."""
    if mode not in ("reduced", "complete", "r"):
        raise ShapeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced', 'r', or 'complete'")
    Q, R = decompositions.qr(A, complete=mode == "complete")
    return results.linalg_qr(creation.empty(0, dtype=A.dtype) if mode == "r" else Q, R)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor` as (LU, pivots, info), `info` int32, not 0 where U has a zero on its diagonal."""
    _with_exchanges("lu_factor", pivot)
    packed, pivots, _ = decompositions.lu_factor(A)
    info = (packed.detach().diagonal(dim1=-2, dim2=-1) == 0).any(-1).to(dtypes.int32)
    if check_errors and bool(info.any()):
        raise LinAlgError("linalg.lu_factor: U has a zero on its diagonal, and using it to solve systems fails")
    return results.linalg_lu_factor_ex(packed, pivots, info)


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots) of A = P L U, for `lu_solve`: the triangles in one matrix, and the row exchanged in each step.

    Shapes: A (..., m, n) -> LU (..., m, n), pivots (..., min(m, n)) of int32, counted from 1.
    """
    _with_exchanges("lu_factor", pivot)
    return results.linalg_lu_factor(*decompositions.lu_factor(A)[:2])


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """P, L, U with A = P L U, a permutation, a lower triangle with ones on its diagonal, and an upper triangle.

    Shapes: A (..., m, n) -> P (..., m, m), L (..., m, k), U (..., k, n), k the smaller of m and n.
    """
    _with_exchanges("lu", pivot)
    packed, _, permutation = decompositions.lu_factor(A)
    return results.linalg_lu(permutation, *_triangles(packed))


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The X for which A X = B (or with `left=False` X A = B), A given by `lu_factor`; adjoint: for its transpose."""
    if not left:
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT  # type: ignore[no-any-return]
    permutation, (lower, upper) = _permutation(pivots, LU), _triangles(LU)
    if adjoint:
        return matmul(permutation, decompositions.solve(lower.mT, decompositions.solve(upper.mT, B)))  # type: ignore[no-any-return]
    return decompositions.solve(upper, decompositions.solve(lower, matmul(permutation.mT, B)))  # type: ignore[no-any-return]


def _with_exchanges(name: str, pivot: bool) -> None:
    if not pivot:
        raise LinAlgError(f"linalg.{name}: LU without pivoting is not implemented on the CPU")


def _triangles(packed: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = packed.shape[-2:]
    least = min(rows, columns)
    lower = packed[..., :, :least].tril(-1) + creation.eye(rows, least, dtype=packed.dtype)
    return lower, packed[..., :least, :].triu()


def _permutation(pivots: Tensor, like: Tensor) -> Tensor:
    """The matrix P of the row exchanges that `lu_factor` gives."""
    exchanges = values_of(pivots, "lu_unpack").reshape(-1, pivots.shape[-1])
    rows = like.shape[-2]
    made = np.zeros((len(exchanges), rows, rows), like.array.dtype)
    for matrix, steps in zip(made, exchanges, strict=True):
        order = list(range(rows))
        for step, other in enumerate(steps):
            order[step], order[other - 1] = order[other - 1], order[step]
        matrix[order, range(rows)] = 1
    return tensors.wrap(made.reshape(*pivots.shape[:-1], rows, rows))


# Under PyTorch's older names, which are functions of `rushlight` and methods of Tensor


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; nan where that is negative."""
    sign, logarithm = decompositions.slogdet(input)
    return logarithm + sign.log()  # type: ignore[no-any-return]


def older_slogdet(input: Tensor) -> Any:
    """The sign of the determinant and the logarithm of its absolute value, as (sign, logabsdet)."""
    return results.slogdet(*decompositions.slogdet(input))


def older_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S, V with input = U diag(S) V^T; some=False gives square U and V."""
    U, S, Vh = decompositions.svd(input, full_matrices=not some)
    return results.svd(U, S, Vh.mT)


def older_qr(input: Tensor, some: bool = True) -> Any:
    """Q with orthonormal columns and upper triangular R; some=False gives a square Q."""
    return results.qr(*decompositions.qr(input, complete=not some))


def older_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The lower triangular L with input = L L^T, or the upper one."""
    return cholesky(input, upper=upper)


def older_pinv(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudoinverse: singular values up to `rcond` times the largest count as zero."""
    return pinv(input, rcond)


def older_lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots) as `linalg.lu_factor`; with `get_infos` also what went wrong, 0 for nothing."""
    found = tuple(lu_factor_ex(A, pivot=pivot))
    return found if get_infos else found[:2]


def older_lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """The X for which A X = b, A given by its LU factors."""
    return lu_solve(LU_data, LU_pivots, b)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """P, L, U from what `lu_factor` gives; empty tensors for what isn't asked for."""
    nothing = creation.empty(0, dtype=LU_data.dtype)
    lower, upper = _triangles(LU_data) if unpack_data else (nothing, nothing)
    return results.lu_unpack(_permutation(LU_pivots, LU_data) if unpack_pivots else nothing, lower, upper)


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(solution, A): the X for which A X = b with the upper or lower triangle of A, or of its transpose."""
    triangle, up = (A.mT, not upper) if transpose else (A, upper)
    solution = solve_triangular(triangle, b, upper=up, unitriangular=unitriangular)
    return results.triangular_solve(solution, A.clone())


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, from left to right."""
    return multi_dot(matrices)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X for which A X = B, where A = L L^T (or L^T L with `upper`) is given by its Cholesky factor."""
    lower = L.mT if upper else L
    return decompositions.solve(lower.mT, decompositions.solve(lower, B))  # type: ignore[no-any-return]


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L L^T (or L^T L with `upper`), given by its Cholesky factor."""
    return cholesky_solve(creation.eye(L.shape[-1], dtype=L.dtype).expand(L.shape), L, upper)
