"""Parametrizations of weights: by norm and direction, by the largest singular value, as orthogonal matrices."""

from __future__ import annotations

from typing import TypeVar

from rushlight import linalg
from rushlight.autograd.modes import no_grad
from rushlight.errors import ShapeError
from rushlight.nn.functional.distance import normalize
from rushlight.nn.modules.module import Module
from rushlight.nn.utils.normalization import WeightNorm
from rushlight.nn.utils.parametrize import register_parametrization
from rushlight.ops.linear import matmul
from rushlight.tensor.creation import eye, zeros
from rushlight.tensor.joining import cat
from rushlight.tensor.random import randn
from rushlight.tensor.tensor import Tensor

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self._norm = WeightNorm("weight", None if dim == -1 else dim).norm

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / self._norm(weight_v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norm(weight), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """The parameter `name` by its norms for each index of `dim` (`original0`) and its direction (`original1`).

    dim: None for one norm of the whole. (Salimans and Kingma, Weight normalization, 2016)
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise ShapeError(f"spectral_norm: dim {dim} out of range for a weight of {weight.ndim} dimensions")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            with no_grad():
                u = normalize(randn(matrix.shape[0], dtype=weight.dtype), dim=0, eps=eps)
                v = normalize(randn(matrix.shape[1], dtype=weight.dtype), dim=0, eps=eps)
                self.register_buffer("_u", u)
                self.register_buffer("_v", v)
                self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _iterate(self, matrix: Tensor, times: int) -> None:
        for _ in range(times):
            self._u.copy_(normalize(matmul(matrix, self._v), dim=0, eps=self.eps))
            self._v.copy_(normalize(matmul(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            with no_grad():
                self._iterate(matrix, self.n_power_iterations)
        # The backward pass keeps the vectors of this call; the next one overwrites the buffers.
        u, v = self._u.clone(), self._v.clone()
        return weight / (u * matmul(matrix, v)).sum()

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """The parameter `name` divided by its largest singular value, found by power iteration in training.

    dim: the dimension of the outputs; 0, and 1 for transposed convolutions. (Miyato et al., 2018)
    """
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(module, name, _SpectralNorm(getattr(module, name), n_power_iterations, dim, eps))


class _Orthogonal(Module):
    base: Tensor

    def __init__(self, orthogonal_map: str) -> None:
        super().__init__()
        self.orthogonal_map = orthogonal_map

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        tall: Tensor = X.mT if wide else X
        rows, columns = tall.shape[-2:]
        if self.orthogonal_map == "householder":
            A = tall.tril(-1)
            tau = 2.0 / (1.0 + (A * A).sum(-2))
            Q = linalg.householder_product(A, tau) * tall.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            A = tall.tril()
            if rows != columns:
                A = cat([A, zeros((*A.shape[:-1], rows - columns), dtype=A.dtype)], -1)
            A = A - A.mT
            if self.orthogonal_map == "matrix_exp":
                Q = linalg.matrix_exp(A)
            else:
                identity = eye(rows, dtype=A.dtype)
                Q = linalg.solve(identity - A * 0.5, identity + A * 0.5)
            Q = Q[..., :columns]
        if "base" in self._buffers:
            Q = matmul(self.base, Q)
        return Q.mT if wide else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        """Takes the orthogonal matrix nearest by QR as the base, from which the parametrization starts."""
        wide = Q.shape[-2] < Q.shape[-1]
        tall: Tensor = Q.mT if wide else Q
        rows, columns = tall.shape[-2:]
        square = tall
        if rows != columns:
            square = cat([tall, randn((*tall.shape[:-1], rows - columns), dtype=tall.dtype)], -1)
        found, triangle = linalg.qr(square)
        self.register_buffer("base", found * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2))
        start = Q * 0
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def orthogonal(module: M, name: str = "weight", orthogonal_map: str | None = None) -> M:
    """The parameter `name` as a matrix with orthonormal columns (or rows, where it has more columns).

    orthogonal_map: "matrix_exp" (for square matrices by default), "cayley" or "householder" (for others). (Lezcano,
    Trivializations for gradient-based optimization on manifolds, 2019)
    """
    weight = getattr(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    return register_parametrization(module, name, _Orthogonal(orthogonal_map), unsafe=True)
