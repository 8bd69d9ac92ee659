"""Distances between vectors, as layers."""

from __future__ import annotations

from rushlight.nn import functional as F
from rushlight.nn.modules.module import Module
from rushlight.tensor.tensor import Tensor


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension.

    Args:
        p: of the norm.
        eps: keeps the gradient finite at distance 0.
        keepdim: keep the last dimension, with size 1.

    Shape:
        Inputs (N, D) or (D,), output (N,) or (); (N, 1) or (1,) with keepdim.

    Example:
        >>> nn.PairwiseDistance()(torch.zeros(2, 3), torch.ones(2, 3)).size()
        torch.Size([2])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """x1 . x2 / (|x1| |x2|) along a dimension.

    Args:
        dim: the dimension.
        eps: the smallest norm to divide by.

    Shape:
        Inputs (..., D, ...), output (..., ...) without that dimension.

    Example:
        >>> nn.CosineSimilarity()(torch.ones(2, 4), torch.ones(2, 4)).size()
        torch.Size([2])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
