"""Linear systems and decompositions of matrices (..., m, n), by NumPy's LAPACK; leading dimensions are a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rushlight.errors import DtypeError, LinAlgError, ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.joining import cat, tril, triu
from rushlight.ops.linear import matmul, swap_last
from rushlight.ops.movement import reshape, slice_
from rushlight.ops.reduction import cumprod, sum_to


def _solved(name: str, function: Callable[..., Any], *matrices: Any, **options: Any) -> Any:
    """What NumPy finds; raises LinAlgError where there is no solution."""
    try:
        return function(*matrices, **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{name}: {error}") from None


def _check(name: str, *matrices: Any, square: bool = True) -> None:
    for a in matrices:
        if a.dtype not in (np.float32, np.float64):
            raise DtypeError(f"linalg.{name}: needs a tensor of float32 or float64, got {a.dtype}")
        if len(a.shape) < 2:
            raise ShapeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    a = matrices[0]
    if square and a.shape[-1] != a.shape[-2]:
        raise ShapeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )


def _constant(array: Any, like: Any) -> Any:
    from rushlight.tensor.tensor import wrap

    return wrap(np.asarray(array, like.array.dtype))


def _identity(like: Any) -> Any:
    return _constant(np.eye(like.shape[-1]), like)


def _column(x: Any) -> Any:
    return reshape(x, shape=(*x.shape, 1))


def _row(x: Any) -> Any:
    return reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def _symmetric(xp: Any, a: Any) -> Any:
    return (a + xp.swapaxes(a, -1, -2)) / 2


def _well_conditioned(make: Callable[..., Any], *shape: int) -> Any:
    a = make(*shape, low=-0.6, high=0.6)
    return a + np.eye(*shape[-2:], dtype=a.dtype) * np.arange(2, 2 + shape[-1], dtype=a.dtype)


def _square_samples(make: Callable[..., Any]) -> Iterator[Sample]:
    yield Sample((_well_conditioned(make, 2, 3, 3),))
    yield Sample((_well_conditioned(make, 2, 1, 4, 4),))


def _positive_samples(make: Callable[..., Any]) -> Iterator[Sample]:
    for sample in _square_samples(make):
        yield Sample((_symmetric(np, sample.args[0]),))


# Systems


@operation()
def inv(xp: Any, a: Any) -> Any:
    """The inverse of square matrices."""
    return _solved("inv", xp.linalg.inv, a)


@inv.shape
def _(a: Any) -> Spec:
    _check("inv", a)
    return Spec(tuple(a.shape), a.dtype)


@inv.gradient
def _(g: Any, y: Any, _a: Any) -> Any:
    back = swap_last(y)
    return -matmul(matmul(back, g), back)


inv.samples(_square_samples)


@operation()
def solve(xp: Any, a: Any, b: Any) -> Any:
    """The x for which a x = b: a (..., n, n), b (..., n, k) -> (..., n, k), leading dimensions broadcast."""
    return _solved("solve", xp.linalg.solve, a, b)


@solve.shape
def _(a: Any, b: Any) -> Spec:
    _check("solve", a, b)
    if b.shape[-2] != a.shape[-1]:
        raise ShapeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation AX = B: {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        )
    try:
        batch = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    except ValueError:
        raise ShapeError(
            f"linalg.solve: the batch dimensions of {tuple(a.shape)} and {tuple(b.shape)} don't broadcast"
        ) from None
    return Spec((*batch, *b.shape[-2:]), a.dtype)


@solve.gradient
def _(g: Any, y: Any, a: Any, _b: Any) -> tuple[Any, Any]:
    def of_b() -> Any:
        return sum_to(solve(swap_last(a), g), tuple(_b.shape))

    def of_a() -> Any:
        return sum_to(-matmul(solve(swap_last(a), g), swap_last(y)), tuple(a.shape))

    return of_a, of_b


@solve.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield Sample((_well_conditioned(make, 2, 3, 3), make(2, 3, 2)))
    yield Sample((_well_conditioned(make, 2, 1, 3, 3), make(4, 3, 1)))


# Determinants


@operation()
def matrix_exp(xp: Any, a: Any) -> Any:
    """The exponential of square matrices, the sum of a^n / n!."""
    # exp(a) = exp(a / 2^s)^(2^s), where the series for the small a / 2^s is short.
    largest = float(xp.abs(a).sum(-1).max()) if a.size else 0.0
    halvings = max(0, math.ceil(math.log2(largest)) + 1) if 0 < largest < math.inf else 0
    small = a / a.dtype.type(2**halvings)
    identity = xp.broadcast_to(xp.eye(a.shape[-1], dtype=a.dtype), a.shape)
    result = identity
    for n in range(14, 0, -1):
        result = identity + small @ result / a.dtype.type(n)
    for _ in range(halvings):
        result = result @ result
    return result


@matrix_exp.shape
def _(a: Any) -> Spec:
    _check("matrix_exp", a)
    return Spec(tuple(a.shape), a.dtype)


@matrix_exp.gradient
def _(g: Any, _y: Any, a: Any) -> Any:
    """The derivative at the transposed matrix in direction g, a block of the exponential of one of twice the size."""
    n, turned = a.shape[-1], swap_last(a)
    upper = cat(turned, g, dim=-1)
    lower = cat(g.new_zeros(tuple(g.shape)), turned, dim=-1)
    index = (Ellipsis, slice(0, n), slice(n, 2 * n))
    return slice_(matrix_exp(cat(upper, lower, dim=-2)), index=index)


@matrix_exp.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield Sample((make(3, 3),), {})
    yield Sample((make(2, 4, 4),), {})


@operation()
def det(xp: Any, a: Any) -> Any:
    """The determinant of square matrices."""
    return xp.asarray(xp.linalg.det(a))


@det.shape
def _(a: Any) -> Spec:
    _check("det", a)
    return Spec(tuple(a.shape[:-2]), a.dtype)


@det.gradient
def _(g: Any, _y: Any, a: Any) -> Any:
    # The matrix of cofactors, by the singular values, so that singular matrices have theirs too.
    u, s, vh = svd(a)
    ones = _constant(np.ones((*s.shape[:-1], 1)), s)
    before = _joined(ones, cumprod(_first(s), dim=-1)) if s.shape[-1] > 1 else ones
    after = _joined(cumprod(_last(s), dim=-1, reverse=True), ones) if s.shape[-1] > 1 else ones
    sign = slogdet(u)[0] * slogdet(vh)[0]
    return matmul(u * _row(before * after), vh) * _column(_column(g * sign))


def _first(s: Any) -> Any:
    return slice_(s, index=(Ellipsis, slice(0, -1)))


def _last(s: Any) -> Any:
    return slice_(s, index=(Ellipsis, slice(1, None)))


def _joined(left: Any, right: Any) -> Any:
    return cat(left, right, dim=-1)


@det.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield from _square_samples(make)
    yield Sample((make(2, 1, 1),))


@operation()
def slogdet(xp: Any, a: Any) -> Any:
    """The sign of the determinant, and the logarithm of its absolute value."""
    sign, logarithm = xp.linalg.slogdet(a)
    return xp.asarray(sign), xp.asarray(logarithm)


@slogdet.shape
def _(a: Any) -> tuple[Spec, Spec]:
    _check("slogdet", a)
    spec = Spec(tuple(a.shape[:-2]), a.dtype)
    return spec, spec


@slogdet.gradient
def _(g: Any, _y: Any, a: Any) -> Any:
    if g[1] is None:
        return a * 0  # the sign is constant
    return swap_last(inv(a)) * _column(_column(g[1]))


slogdet.samples(_square_samples)


# Decompositions


@operation()
def cholesky(xp: Any, a: Any) -> Any:
    """The lower triangular L with a = L L^T, of positive definite a; where a isn't symmetric, of its symmetric part."""
    return _solved("cholesky", xp.linalg.cholesky, _symmetric(xp, a))


@cholesky.shape
def _(a: Any) -> Spec:
    _check("cholesky", a)
    return Spec(tuple(a.shape), a.dtype)


@cholesky.gradient
def _(g: Any, y: Any, _a: Any) -> Any:
    inner = tril(matmul(swap_last(y), g))
    inner = inner - inner * _identity(y) * 0.5
    half = swap_last(solve(swap_last(y), swap_last(solve(swap_last(y), inner))))
    return (half + swap_last(half)) * 0.5


cholesky.samples(_positive_samples)


@operation()
def eigh(xp: Any, a: Any) -> Any:
    """Eigenvalues of a's symmetric part in ascending order, and the eigenvectors as the columns of a matrix."""
    values, vectors = _solved("eigh", xp.linalg.eigh, _symmetric(xp, a))
    return values, vectors


@eigh.shape
def _(a: Any) -> tuple[Spec, Spec]:
    _check("eigh", a)
    return Spec(tuple(a.shape[:-1]), a.dtype), Spec(tuple(a.shape), a.dtype)


@eigh.gradient
def _(g: Any, y: Any, _a: Any) -> Any:
    values, vectors = y
    identity = _identity(vectors)
    inner = None if g[0] is None else identity * _row(g[0])
    if g[1] is not None:
        gaps = _row(values) - _column(values) + identity
        turned = matmul(swap_last(vectors), g[1]) * (1 - identity) / gaps
        inner = turned if inner is None else inner + turned
    whole = matmul(matmul(vectors, inner), swap_last(vectors))
    return (whole + swap_last(whole)) * 0.5


eigh.samples(_positive_samples)


@operation()
def svd(xp: Any, a: Any, *, full_matrices: bool = False) -> Any:
    """U (..., m, k), S (..., k) in descending order, V^T (..., k, n) with a = U diag(S) V^T, k = min(m, n).

    full_matrices: U (..., m, m) and V^T (..., n, n); what is beyond k has no gradient.
    """
    return tuple(_solved("svd", xp.linalg.svd, a, full_matrices=full_matrices))


@svd.shape
def _(a: Any, *, full_matrices: bool = False) -> tuple[Spec, Spec, Spec]:
    _check("svd", a, square=False)
    *batch, m, n = a.shape
    k = min(m, n)
    left, right = (m, n) if full_matrices else (k, k)
    return Spec((*batch, m, left), a.dtype), Spec((*batch, k), a.dtype), Spec((*batch, right, n), a.dtype)


@svd.gradient
def _(g: Any, y: Any, _a: Any, *, full_matrices: bool = False) -> Any:
    u, s, vh = y
    of_u, of_s, of_vh = g
    if full_matrices:
        k = s.shape[-1]
        u, of_u = (None if x is None else slice_(x, index=(Ellipsis, slice(0, k))) for x in (u, of_u))
        vh, of_vh = (None if x is None else slice_(x, index=(Ellipsis, slice(0, k), slice(None))) for x in (vh, of_vh))
    identity = _identity(_row(s))
    squares = s * s
    gaps = _row(squares) - _column(squares)
    factors = (1 - identity) / (gaps + identity)
    inner = identity * 0 if of_s is None else identity * _row(of_s)
    outside = None
    if of_u is not None:
        turned = factors * matmul(swap_last(u), of_u)
        inner = inner + (turned + swap_last(turned)) * _row(s)
        if u.shape[-2] > u.shape[-1]:
            rest = of_u - matmul(u, matmul(swap_last(u), of_u))
            outside = matmul(rest / _row(s), vh)
    if of_vh is not None:
        turned = factors * matmul(vh, swap_last(of_vh))
        inner = inner + _column(s) * (turned + swap_last(turned))
        if vh.shape[-1] > vh.shape[-2]:
            rest = of_vh - matmul(matmul(of_vh, swap_last(vh)), vh)
            more = matmul(u, rest / _column(s))
            outside = more if outside is None else outside + more
    whole = matmul(matmul(u, inner), vh)
    return whole if outside is None else whole + outside


@svd.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield from _square_samples(make)
    yield Sample((_well_conditioned(make, 2, 4, 2),))
    yield Sample((_well_conditioned(make, 2, 2, 3),))


@operation()
def qr(xp: Any, a: Any, *, complete: bool = False) -> Any:
    """Q (..., m, k) with orthonormal columns and upper triangular R (..., k, n), a = Q R, k = min(m, n).

    complete: Q (..., m, m) and R (..., m, n).
    """
    return tuple(_solved("qr", xp.linalg.qr, a, mode="complete" if complete else "reduced"))


@qr.shape
def _(a: Any, *, complete: bool = False) -> tuple[Spec, Spec]:
    _check("qr", a, square=False)
    *batch, m, n = a.shape
    k = m if complete else min(m, n)
    return Spec((*batch, m, k), a.dtype), Spec((*batch, k, n), a.dtype)


@qr.gradient
def _(g: Any, y: Any, a: Any, *, complete: bool = False) -> Any:
    q, r = y
    of_q, of_r = g
    rows, columns = a.shape[-2:]
    if complete and rows > columns:
        raise LinAlgError("linalg.qr: the gradient of mode='complete' is not implemented for more rows than columns")
    of_q = q * 0 if of_q is None else of_q
    of_r = r * 0 if of_r is None else of_r
    if columns <= rows:
        return _qr_gradient(of_q, of_r, q, r)
    # The further columns of R are Q^T times those of a.
    beyond = slice_(a, index=(Ellipsis, slice(rows, None)))
    of_beyond = slice_(of_r, index=(Ellipsis, slice(rows, None)))
    square = (Ellipsis, slice(0, rows))
    whole_q = of_q + matmul(beyond, swap_last(of_beyond))
    first = _qr_gradient(whole_q, slice_(of_r, index=square), q, slice_(r, index=square))
    return _joined(first, matmul(q, of_beyond))


def _qr_gradient(of_q: Any, of_r: Any, q: Any, r: Any) -> Any:
    inner = matmul(r, swap_last(of_r)) - matmul(swap_last(of_q), q)
    lower = tril(inner, diagonal=-1)
    mirrored = tril(inner) + swap_last(lower)
    return swap_last(solve(r, swap_last(of_q + matmul(q, mirrored))))


@qr.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield from _square_samples(make)
    yield Sample((_well_conditioned(make, 2, 4, 2),))
    yield Sample((_well_conditioned(make, 2, 2, 3),))


@operation()
def lu_factor(xp: Any, a: Any) -> Any:
    """Gaussian elimination with row exchanges, A = P L U: L and U in one matrix, the exchanges (from 1), and P."""
    rows, columns = a.shape[-2:]
    packed = np.array(a).reshape(-1, rows, columns)
    matrices = np.arange(len(packed))
    order = np.tile(np.arange(rows), (len(packed), 1))
    pivots = np.zeros((len(packed), min(rows, columns)), np.int32)
    for step in range(min(rows, columns)):
        largest = np.abs(packed[:, step:, step]).argmax(1) + step
        pivots[:, step] = largest + 1
        for kept in (packed, order):
            kept[matrices, step], kept[matrices, largest] = kept[matrices, largest], kept[matrices, step].copy()
        divisor = packed[:, step, step, None]
        packed[:, step + 1 :, step] /= np.where(divisor == 0, 1, divisor)
        packed[:, step + 1 :, step + 1 :] -= packed[:, step + 1 :, step, None] * packed[:, step, None, step + 1 :]
    permutation = np.zeros((len(packed), rows, rows), a.dtype)
    permutation[matrices[:, None], order, np.arange(rows)] = 1
    batch = a.shape[:-2]
    return packed.reshape(a.shape), pivots.reshape(*batch, -1), permutation.reshape(*batch, rows, rows)


@lu_factor.shape
def _(a: Any) -> tuple[Spec, Spec, Spec]:
    _check("lu_factor", a, square=False)
    *batch, rows, columns = a.shape
    return (
        Spec(tuple(a.shape), a.dtype),
        Spec((*batch, min(rows, columns)), np.dtype(np.int32)),
        Spec((*batch, rows, rows), a.dtype),
    )


@lu_factor.gradient
def _(g: Any, y: Any, a: Any) -> Any:
    packed, _, permutation = y
    if a.shape[-1] != a.shape[-2]:
        raise LinAlgError("linalg.lu: the gradient is implemented for square matrices only")
    of_lower, of_upper = tril(g[0], diagonal=-1), triu(g[0])
    lower, upper = tril(packed, diagonal=-1) + _identity(packed), triu(packed)
    inner = tril(matmul(swap_last(lower), of_lower), diagonal=-1) + triu(matmul(of_upper, swap_last(upper)))
    left = solve(swap_last(lower), inner)
    return matmul(permutation, swap_last(solve(upper, swap_last(left))))


@lu_factor.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield from _square_samples(make)
