"""Distances between points, covariances, integrals and slopes of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rushlight.errors import ShapeError
from rushlight.ops import distances, movement
from rushlight.tensor import arguments, joining

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm distances of all rows of x1 (..., P, M) from all rows of x2 (..., R, M) -> (..., P, R)."""
    if p < 0:
        raise ShapeError(f"cdist: only supports non-negative p values, got {p}")
    if p == 2:
        return distances.euclidean_distances(x1, x2)  # type: ignore[no-any-return]
    distances.euclidean_distances.spec(x1.array, x2.array)
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows of (N, M), in the order (0, 1), (0, 2), ... -> (N (N - 1) / 2)."""
    if input.ndim != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    first, second = joining.triu_indices(input.shape[0], input.shape[0], 1)
    return (input.index_select(0, first) - input.index_select(0, second)).norm(p, -1)


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables (rows), from their observations (columns).

    fweights: how often each observation counts, integers; aweights: the observations' importance.
    """
    if input.ndim > 2:
        raise ShapeError(f"cov(): expected input to have two or fewer dimensions but got {input.ndim} dimensions")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = x if x.is_floating_point() else x.float()
    weights = None
    for given in (fweights, aweights):
        if given is not None:
            weights = given.to(x.dtype) if weights is None else weights * given
    if weights is None:
        total: Any = x.shape[1]
        centred = x - x.mean(1, keepdim=True)
        product = centred @ centred.t()
        freedom = total - correction
    else:
        total = weights.sum()
        centred = x - (x * weights).sum(1, keepdim=True) / total
        product = (centred * weights) @ centred.t()
        scale = 1 if aweights is None else (weights * aweights).sum() / total
        freedom = total - correction * scale
    result = product / freedom
    return result.squeeze() if result.numel() == 1 else result  # type: ignore[no-any-return]


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables (rows), from their observations (columns)."""
    found = cov(input)
    if found.ndim == 0:
        return found / found
    deviation: Tensor = found.diagonal().sqrt()
    return (found / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1, 1)


def _pieces(y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    """The areas between neighbouring samples along the last dimension, which `dim` is moved to."""
    y = y.movedim(dim, -1)
    heights = y[..., 1:] + y[..., :-1]
    if x is None:
        return heights * (dx / 2)
    steps = (x if x.ndim == 1 else x.movedim(dim, -1)).diff()
    return heights * steps / 2


@arguments.numpy_names
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of samples y along `dim` by the trapezoidal rule, at the points x or `dx` apart."""
    return _pieces(y, x, dx, dim).sum(-1)


@arguments.numpy_names
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integrals up to each sample but the first; see `trapezoid`."""
    return _pieces(y, x, dx, dim).cumsum(-1).movedim(-1, dim)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """The slices along `dim` whose p-norm is greater than `maxnorm` scaled down to it."""
    at = movement.normalize_dim("renorm", dim, input.ndim)
    norms = input.norm(p, tuple(d for d in range(input.ndim) if d != at), True)
    return input * (maxnorm / (norms + 1e-7)).masked_fill(norms <= maxnorm, 1.0)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates, in an array of `shape`, of indices into its elements in row-major order."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple((indices // math.prod(sizes[d + 1 :])) % sizes[d] for d in range(len(sizes)))


def gradient(
    input: Tensor, *, spacing: Any = None, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The slopes of a function along each of `dim` (all dimensions by default), from its samples on a grid.

    Central differences within; at the edges, differences of first or second order.

    Args:
        input: the samples.
        spacing: the distance of neighbours, 1 by default; one for each dimension; or for each a vector of the samples'
            coordinates.
        dim: the dimensions.
        edge_order: 1 or 2.

    Raises ShapeError for a dimension with less than edge_order + 1 samples, or spacings that don't go with `dim`.
    """
    if edge_order not in (1, 2):
        raise ShapeError(f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    places = [movement.normalize_dim("gradient", d, input.ndim) for d in dims]
    spacing = 1 if spacing is None else spacing
    spacings = [spacing] * len(places) if isinstance(spacing, (int, float)) else list(spacing)
    if len(spacings) != len(places):
        raise ShapeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of {len(places)} arguments, "
            f"got {len(spacings)}"
        )
    x = input if input.is_floating_point() else input.float()
    return tuple([_slope(x, at, each, edge_order) for at, each in zip(places, spacings, strict=True)])


def _slope(x: Tensor, dim: int, spacing: Any, edge_order: int) -> Tensor:
    count = x.shape[dim]
    if count < edge_order + 1:
        raise ShapeError(
            f"torch.gradient expected each dimension size to be at least edge_order+1: dimension {dim} has size {count}"
        )
    steps: Any = spacing
    if getattr(spacing, "ndim", 0):
        if tuple(spacing.shape) != (count,):
            raise ShapeError(
                f"torch.gradient expected {count} coordinates for dimension {dim}, got shape {tuple(spacing.shape)}"
            )
        steps = (spacing[1:] - spacing[:-1]).reshape((-1,) + (1,) * (x.ndim - 1 - dim))
    slopes = (x.narrow(dim, 1, count - 1) - x.narrow(dim, 0, count - 1)) / steps
    last = count - 2

    def step(at: int) -> Any:
        return steps[at] if getattr(steps, "ndim", 0) else steps

    def edge(at: int, beside: int) -> Tensor:
        outer = slopes.narrow(dim, at, 1)
        if edge_order == 1:
            return outer  # type: ignore[no-any-return]
        inner = slopes.narrow(dim, beside, 1)
        return outer + (outer - inner) * (step(at) / (step(at) + step(beside)))  # type: ignore[no-any-return]

    parts = [edge(0, 1), edge(last, last - 1)]
    if last:
        # Each slope weighs by the length of the other side's step.
        before, after = (steps[:-1], steps[1:]) if getattr(steps, "ndim", 0) else (1, 1)
        left, right = slopes.narrow(dim, 0, last), slopes.narrow(dim, 1, last)
        parts.insert(1, (left * after + right * before) / (before + after))
    return joining.cat(parts, dim)
