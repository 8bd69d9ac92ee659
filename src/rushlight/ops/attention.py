"""Attention without the matrix of all scores in memory. Tensors are (N, tokens, heads, features)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rushlight import dtypes
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops.declare import Sample, Spec, differentiated, operation
from rushlight.ops.elementwise import exp, log, where
from rushlight.ops.linear import matmul
from rushlight.ops.movement import permute
from rushlight.ops.reduction import amax, sum_


def _check(name: str, q: Any, k: Any, v: Any, mask: Any) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
        raise ShapeError(f"{name}: expected q, k and v of 4 dimensions (N, tokens, heads, features), got {shapes}")
    if k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0] or q.shape[2:] != k.shape[2:]:
        raise ShapeError(f"{name}: expected q (N, L, H, E), k (N, S, H, E) and v (N, S, H, D), got {shapes}")
    if not q.dtype == k.dtype == v.dtype or not dtypes.of_numpy(q.dtype).is_floating_point:
        found = ", ".join(dtypes.of_numpy(t.dtype).name for t in (q, k, v))
        raise DtypeError(f"{name}: expected q, k and v of one floating dtype, got {found}")
    if mask is None:
        return
    full = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    if len(mask.shape) != 4 or any(m not in (1, n) for m, n in zip(mask.shape, full, strict=True)):
        raise ShapeError(f"{name}: expected a mask that broadcasts to (N, H, L, S) = {full}, got {tuple(mask.shape)}")
    if mask.dtype not in (dtypes.bool_.numpy, q.dtype):
        raise DtypeError(
            f"{name}: expected a mask of bool or {dtypes.of_numpy(q.dtype)}, got {dtypes.of_numpy(mask.dtype)}"
        )


def _causal(xp: Any, queries: int, keys: int) -> Any:
    return xp.arange(queries)[:, None] >= xp.arange(keys)


def _scores(xp: Any, q: Any, k: Any, mask: Any, causal: bool, scale: float) -> Any:
    """(N, H, L, S), minus infinity where attention may not go."""
    scores = xp.matmul(q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1)) * scale
    if mask is not None:
        scores = xp.where(mask, scores, -xp.inf) if mask.dtype == bool else scores + mask
    return xp.where(_causal(xp, *scores.shape[2:]), scores, -xp.inf) if causal else scores


def _wide(xp: Any, *arrays: Any) -> list[Any]:
    """Half precision in float32; bools and None as they are."""
    return [a if a is None or a.dtype.itemsize != 2 else a.astype(xp.float32) for a in arrays]


@operation(kernel="attention")
def attention(xp: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> Any:
    """softmax(q k^T scale + mask) v of each head: (N, L, H, D); and the logarithms of the softmax's sums, (N, H, L).

    q (N, L, H, E), k (N, S, H, E), v (N, S, H, D). mask, broadcast to (N, H, L, S): booleans, True where attention may
    go, or numbers to add; or None. causal: a query sees no key behind it. One that sees nothing gets 0.
    Source: Vaswani et al., "Attention is all you need" (2017).
    """
    dtype = q.dtype
    q, k, v, mask = _wide(xp, q, k, v, mask)
    scores = _scores(xp, q, k, mask, causal, scale)
    top = xp.max(scores, axis=-1, keepdims=True, initial=-xp.inf)
    weights = xp.exp(scores - xp.where(top == -xp.inf, 0, top).astype(top.dtype))
    total = xp.sum(weights, axis=-1, keepdims=True)
    y = xp.matmul(weights / xp.where(total == 0, 1, total).astype(total.dtype), v.transpose(0, 2, 1, 3))
    log_sums = (top + xp.log(total))[..., 0]
    return xp.ascontiguousarray(y.transpose(0, 2, 1, 3)).astype(dtype), log_sums.astype(dtype)


@attention.shape
def _(q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> tuple[Spec, Spec]:
    _check("attention", q, k, v, mask)
    n, length, heads, _ = q.shape
    return Spec((n, length, heads, v.shape[3]), q.dtype), Spec((n, heads, length), q.dtype)


@attention.gradient
def _(g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> Any:
    if g[1] is not None:
        return _composed_rule(g, y, q, k, v, mask, causal=causal, scale=scale)
    results = attention_gradient(g[0], y[0], y[1], q, k, v, mask, causal=causal, scale=scale)
    return *results, lambda: _composed_rule(g, y, q, k, v, mask, causal=causal, scale=scale)[3]


@attention.samples
def _(make: Any) -> Iterator[Sample]:
    for q, k, v, mask in _operands(make):
        yield Sample((q, k, v, mask), {"causal": mask is None, "scale": 0.5})
    yield Sample((make(1, 3, 2, 4), make(1, 2, 2, 4), make(1, 2, 2, 4), None), {"causal": True, "scale": 1.0})


@operation(kernel="attention_gradient")
def attention_gradient(
    xp: Any, g: Any, y: Any, log_sums: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float
) -> Any:
    """The gradients of attention, whose results are y and log_sums, with respect to q, k and v."""
    dtype = q.dtype
    g, y, log_sums, q, k, v, mask = _wide(xp, g, y, log_sums, q, k, v, mask)
    scores = _scores(xp, q, k, mask, causal, scale)
    weights = xp.exp(scores - xp.where(log_sums == -xp.inf, 0, log_sums).astype(scores.dtype)[..., None])
    q, k, v, g, y = (t.transpose(0, 2, 1, 3) for t in (q, k, v, g, y))
    products = xp.matmul(g, v.transpose(0, 1, 3, 2)) - xp.sum(g * y, axis=-1, keepdims=True)
    products = weights * products * scale
    turned = products.transpose(0, 1, 3, 2)
    results = xp.matmul(products, k), xp.matmul(turned, q), xp.matmul(weights.transpose(0, 1, 3, 2), g)
    return tuple(result.transpose(0, 2, 1, 3).astype(dtype) for result in results)


@attention_gradient.shape
def _(
    g: Any, y: Any, log_sums: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float
) -> tuple[Spec, ...]:
    _check("attention_gradient", q, k, v, mask)
    wanted = attention.spec(q, k, v, mask, causal=causal, scale=scale)
    for what, found, (shape, dtype) in zip(("g", "y", "log_sums"), (g, y, log_sums), (wanted[0], *wanted), strict=True):
        if tuple(found.shape) != shape or found.dtype != dtype:
            raise ShapeError(
                f"attention_gradient: expected {what} of {dtypes.of_numpy(dtype)} and shape {shape}, got "
                f"{dtypes.of_numpy(found.dtype)} and {tuple(found.shape)}"
            )
    return tuple(Spec(tuple(t.shape), t.dtype) for t in (q, k, v))


@attention_gradient.samples
def _(make: Any) -> Iterator[Sample]:
    for q, k, v, mask in _operands(make):
        n, length, heads, _ = q.shape
        y = make(n, length, heads, v.shape[3])
        results = make(*y.shape), y, make(n, heads, length, low=2.0, high=4.0)
        yield Sample((*results, q, k, v, mask), {"causal": mask is None, "scale": 0.5})


def _operands(make: Any) -> Iterator[tuple[Any, ...]]:
    yield make(2, 5, 2, 4), make(2, 5, 2, 4), make(2, 5, 2, 3), None
    yield make(1, 3, 2, 4), make(1, 6, 2, 4), make(1, 6, 2, 4), make(3, 6).reshape(1, 1, 3, 6)
    yield make(2, 3, 1, 2), make(2, 4, 1, 2), make(2, 4, 1, 2), make(2, 4, dtype="bool").reshape(2, 1, 1, 4)
    yield make(1, 0, 2, 3), make(1, 4, 2, 3), make(1, 4, 2, 3), None


# The same composed of other operations, for gradients of gradients and of masks.


def _tensor_scores(q: Any, k: Any, mask: Any, causal: bool, scale: float) -> Any:
    scores = matmul(permute(q, dims=(0, 2, 1, 3)), permute(k, dims=(0, 2, 3, 1))) * scale
    if mask is not None:
        scores = where(mask, scores, -math.inf) if mask.array.dtype == bool else scores + mask
    if causal:
        from rushlight.tensor.creation import arange

        scores = where(arange(q.shape[1]).unsqueeze(1) >= arange(k.shape[1]), scores, -math.inf)
    return scores


def _composed(q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> Any:
    scores = _tensor_scores(q, k, mask, causal, scale)
    top = amax(scores.detach(), dim=(-1,), keepdim=True)
    weights = exp(scores - where(top == -math.inf, 0.0, top))
    total = sum_(weights, dim=(-1,), keepdim=True)
    y = matmul(weights / where(total == 0, 1.0, total), permute(v, dims=(0, 2, 1, 3)))
    return permute(y, dims=(0, 2, 1, 3)), (top + log(total)).squeeze(-1)


_composed_rule = differentiated(_composed)


def _composed_gradient(
    g: Any, y: Any, log_sums: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float
) -> Any:
    scores = _tensor_scores(q, k, mask, causal, scale)
    weights = exp(scores - where(log_sums == -math.inf, 0.0, log_sums).unsqueeze(-1))
    q, k, v, g, y = (permute(t, dims=(0, 2, 1, 3)) for t in (q, k, v, g, y))
    products = weights * (matmul(g, permute(v, dims=(0, 1, 3, 2))) - sum_(g * y, dim=(-1,), keepdim=True)) * scale
    turned = permute(products, dims=(0, 1, 3, 2))
    results = matmul(products, k), matmul(turned, q), matmul(permute(weights, dims=(0, 1, 3, 2)), g)
    return tuple(permute(result, dims=(0, 2, 1, 3)) for result in results)


attention_gradient.gradient(differentiated(_composed_gradient))
