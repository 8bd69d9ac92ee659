"""Distances between all pairs of two sets of points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.elementwise import where
from rushlight.ops.linear import check_dtypes, matmul, swap_last
from rushlight.ops.movement import reshape
from rushlight.ops.reduction import sum_, sum_to

_FEW = 25  # points, up to which the differences themselves are squared: more exact, and more memory


@operation()
def euclidean_distances(xp: Any, a: Any, b: Any) -> Any:
    """|a_i - b_j| for all rows i of a (..., p, m) and j of b (..., r, m) -> (..., p, r); leading sizes broadcast."""
    wide_a, wide_b = (x.astype(np.promote_types(x.dtype, np.float32)) for x in (a, b))
    if a.shape[-2] <= _FEW and b.shape[-2] <= _FEW:
        difference = wide_a[..., :, None, :] - wide_b[..., None, :, :]
        squares = xp.sum(difference * difference, axis=-1)
    else:
        squares = xp.sum(wide_a * wide_a, axis=-1)[..., :, None] + xp.sum(wide_b * wide_b, axis=-1)[..., None, :]
        squares = xp.maximum(squares - 2 * xp.matmul(wide_a, xp.swapaxes(wide_b, -1, -2)), 0)
    return xp.sqrt(squares).astype(a.dtype)


@euclidean_distances.shape
def _(a: Any, b: Any) -> Spec:
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ShapeError(f"cdist: needs at least 2 dimensions, got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    check_dtypes("cdist", a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: X1 and X2 must have the same number of columns. X1: {a.shape[-1]} X2: {b.shape[-1]}")
    try:
        batch = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    except ValueError:
        raise ShapeError(
            f"cdist: the batch dimensions of {tuple(a.shape)} and {tuple(b.shape)} don't broadcast"
        ) from None
    return Spec((*batch, a.shape[-2], b.shape[-2]), a.dtype)


@euclidean_distances.gradient
def _(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    pull = where(y == 0, 0.0, g / where(y == 0, 1.0, y))  # a distance of 0 has the gradient 0

    def towards(one: Any, other: Any, weights: Any) -> Any:
        total = reshape(sum_(weights, dim=(-1,)), shape=(*weights.shape[:-1], 1))
        return sum_to(one * total - matmul(weights, other), tuple(one.shape))

    return lambda: towards(a, b, pull), lambda: towards(b, a, swap_last(pull))


@euclidean_distances.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield Sample((make(2, 3, 4), make(2, 5, 4) + 3))
    yield Sample((make(2, 1, 3, 4), make(3, 2, 4) + 3))
    yield Sample((make(1, 30, 4), make(1, 2, 4) + 3))
    yield Sample((make(2, 0, 4), make(2, 3, 4)))
