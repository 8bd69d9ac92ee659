"""Distances and norms of vectors."""

from __future__ import annotations

from typing import Any

from rushlight.ops import elementwise
from rushlight.tensor.joining import broadcast_tensors
from rushlight.tensor.tensor import Tensor


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along `dim`; norms are taken as at least eps."""
    if x1.array.shape != x2.array.shape:
        x1, x2 = broadcast_tensors(x1, x2)
    first, second = x1.norm(2, dim, True), x2.norm(2, dim, True)
    return ((x1 / first.clamp(min=eps)) * (x2 / second.clamp(min=eps))).sum(dim)


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x divided by its p-norm along `dim`, or by eps where that is larger."""
    norm = input.norm(p, dim, True).clamp(min=eps)
    return elementwise.divide(input, norm) if out is None else elementwise.divide(input, norm, out=out)
