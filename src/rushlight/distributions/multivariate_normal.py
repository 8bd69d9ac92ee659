"""The normal distribution of vectors."""

from __future__ import annotations

import math
from typing import Any

from rushlight import linalg
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution, lazy_property, standard_normal
from rushlight.ops.declare import broadcast_shapes
from rushlight.ops.linear import matmul
from rushlight.tensor import creation
from rushlight.tensor.tensor import Tensor


class MultivariateNormal(Distribution):
    """The normal distribution of vectors of mean `loc`, with one of three matrices for their spread.

    Args:
        loc: (..., D).
        covariance_matrix: (..., D, D), symmetric and positive definite.
        precision_matrix: its inverse.
        scale_tril: its Cholesky factor, a lower triangle with a positive diagonal.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix,
            "scale_tril": scale_tril,
            "precision_matrix": precision_matrix,
        }
        named = [(name, value) for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        name, matrix = named[0]
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = broadcast_shapes("MultivariateNormal", [matrix.array[..., 0, 0], loc.array[..., 0]])
        self.__dict__[name] = matrix.expand(*batch, -1, -1)
        self.loc = loc.expand(*batch, -1)
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        if scale_tril is not None:
            self._unbroadcasted_scale_tril = scale_tril
        elif covariance_matrix is not None:
            self._unbroadcasted_scale_tril = linalg.cholesky(covariance_matrix)
        else:
            self._unbroadcasted_scale_tril = _factor_of_inverse(matrix)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(*self._batch_shape, *self._event_shape, *self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariances."""
        factor = self._unbroadcasted_scale_tril
        return matmul(factor, factor.mT).expand(*self._batch_shape, *self._event_shape, *self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariances."""
        return linalg.inv(self.covariance_matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(*self._batch_shape, *self._event_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(
            self.loc.expand(*batch_shape, *self._event_shape),
            scale_tril=self.scale_tril.expand(*batch_shape, *self._event_shape, *self._event_shape),
            validate_args=False,
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + matmul(self._unbroadcasted_scale_tril, noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - half_log_det(
            self._unbroadcasted_scale_tril
        )

    def entropy(self) -> Tensor:
        size = self._event_shape[0]
        found = 0.5 * size * (1.0 + math.log(2 * math.pi)) + half_log_det(self._unbroadcasted_scale_tril)
        return found.expand(*self._batch_shape)


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors of covariance W W' + D, of a narrow matrix and a diagonal one.

    What would take D^3 operations takes D R^2.

    Args:
        loc: (..., D).
        cov_factor: W, (..., D, R).
        cov_diag: the diagonal of D, (..., D), positive.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        size = loc.shape[-1]
        if cov_factor.dim() < 2 or cov_factor.shape[-2] != size:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {size} x m")
        if cov_diag.shape[-1:] != (size,):
            raise ValueError(f"cov_diag must be a batch of vectors with shape {(size,)}")
        given = [loc.array[..., 0], cov_factor.array[..., 0, 0], cov_diag.array[..., 0]]
        batch = broadcast_shapes("LowRankMultivariateNormal", given)
        self.loc = loc.expand(*batch, -1)
        self.cov_factor = cov_factor.expand(*batch, -1, -1)
        self.cov_diag = cov_diag.expand(*batch, -1)
        # The Cholesky factor of the capacitance I + W' D^-1 W.
        weighted = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        identity = creation.eye(cov_factor.shape[-1], dtype=loc.dtype)
        self._capacitance = linalg.cholesky(matmul(weighted, self.cov_factor) + identity)
        super().__init__(batch, (size,), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(
            self.loc.expand(*batch_shape, -1),
            self.cov_factor.expand(*batch_shape, -1, -1),
            self.cov_diag.expand(*batch_shape, -1),
            validate_args=False,
        )

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariances."""
        from rushlight.tensor.joining import diag_embed

        return matmul(self.cov_factor, self.cov_factor.mT) + diag_embed(self.cov_diag)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariances."""
        return linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariances."""
        return linalg.inv(self.covariance_matrix)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        narrow = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc)
        wide = standard_normal(shape, self.loc)
        return self.loc + matmul(self.cov_factor, narrow.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * wide

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        difference = value - self.loc
        weighted = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        narrow = matmul(weighted, difference.unsqueeze(-1)).squeeze(-1)
        # By Woodbury's identity.
        distance = (difference.pow(2) / self.cov_diag).sum(-1) - mahalanobis(self._capacitance, narrow)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + distance)

    def _log_det(self) -> Tensor:
        return 2 * half_log_det(self._capacitance) + self.cov_diag.log().sum(-1)

    def entropy(self) -> Tensor:
        found = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return found.expand(*self._batch_shape)


def half_log_det(factor: Tensor) -> Tensor:
    """Half the logarithm of the determinant of L L'."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def mahalanobis(factor: Tensor, difference: Tensor) -> Tensor:
    """The squared length of L^-1 x."""
    solved = linalg.solve_triangular(factor, difference.unsqueeze(-1), upper=False)
    return solved.squeeze(-1).pow(2).sum(-1)


def _factor_of_inverse(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse: that of the matrix turned about both axes, turned back and inverted."""
    turned = linalg.cholesky(precision.flip((-2, -1))).flip((-2, -1)).mT
    identity = creation.eye(precision.shape[-1], dtype=precision.dtype)
    return linalg.solve_triangular(turned, identity, upper=False)
