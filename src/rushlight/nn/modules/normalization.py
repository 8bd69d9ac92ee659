"""Normalisation within a sample: over its last dimensions, groups of channels, neighbouring channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn import functional, init
from rushlight.nn.functional.dimensions import per_dimension
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.tensor import Tensor, creation


def _shape(name: str, normalized_shape: Any) -> tuple[int, ...]:
    given = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    shape = per_dimension(name, "normalized_shape", given, len(given))
    if not shape or min(shape) < 0:
        raise ShapeError(f"{name}: normalized_shape must be one or more sizes, got {normalized_shape!r}")
    return shape


class LayerNorm(Module):
    r"""Layer normalisation, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Mean and (biased) variance are those of each sample over its last dimensions, the ones of `normalized_shape`. Over
    (C, *S) and without weights, `GroupNorm` with one group does the same.

    Args:
        normalized_shape: the sizes of the last dimensions; one int is the last one's.
        eps: is added to the variance.
        elementwise_affine: whether there are a learned weight (at first 1) and bias (at first 0).
        bias: False leaves out the bias alone.
        device, dtype: of the parameters.

    Attributes:
        weight, bias: of shape `normalized_shape`, or None.

    Shape:
        input and output (N, *), ending in `normalized_shape`.

    Raises:
        ShapeError: an input that doesn't end in `normalized_shape`.

    Source: Ba, Kiros and Hinton, "Layer Normalization" (2016), https://arxiv.org/abs/1607.06450.

    Example:
        >>> nn.LayerNorm([2, 4])(torch.randn(2, 2, 4)).shape
        torch.Size([2, 2, 4])
    """

    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-05,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, present in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            made = Parameter(creation.empty(*self.normalized_shape, device=device, dtype=dtype)) if present else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    r"""Root mean square layer normalisation, y = x / sqrt(mean of x * x + eps) * weight.

    The mean is taken over the last dimensions, the ones of `normalized_shape`.

    Args:
        normalized_shape: the sizes of the last dimensions; one int is the last one's.
        eps: is added to the mean square; by default the smallest step from 1 of the input's dtype.
        elementwise_affine: whether there is a learned weight, at first 1.
        device, dtype: of the parameters.

    Shape:
        input and output (N, *), ending in `normalized_shape`.

    Raises:
        ShapeError: an input that doesn't end in `normalized_shape`.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), https://arxiv.org/abs/1910.07467.

    Example:
        >>> nn.RMSNorm(2, elementwise_affine=False)(torch.tensor([1.0, 7.0]))
        tensor([0.2000, 1.4000])
    """

    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool
    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(creation.empty(*self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    r"""Group normalisation, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    The channels are put into groups; mean and (biased) variance are those of each group of each sample, over its
    channels and the spatial dimensions. Weight and bias belong to channels. One group makes it `LayerNorm` over
    (C, *S), and a group for each channel `InstanceNorm1d` and its kin.

    Args:
        num_groups: the number of groups.
        num_channels: C, the number of channels, which `num_groups` divides.
        eps: is added to the variance.
        affine: whether there are a learned weight (at first 1) and bias (at first 0).
        device, dtype: of the parameters.
        bias: False leaves out the bias alone.

    Attributes:
        weight, bias: (C), or None.

    Shape:
        input and output (N, C, *).

    Raises:
        ShapeError: `num_channels` isn't divisible by `num_groups`; an input of other channels.

    Source: Wu and He, "Group Normalization" (2018), https://arxiv.org/abs/1803.08494.

    Example:
        >>> nn.GroupNorm(3, 6)(torch.randn(20, 6, 10, 10)).shape
        torch.Size([20, 6, 10, 10])
    """

    num_groups: int
    num_channels: int
    eps: float
    affine: bool
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-05,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1:
            raise ShapeError(f"GroupNorm: num_groups must be at least 1, got {num_groups}")
        if num_channels < 0 or num_channels % num_groups:
            raise ShapeError(
                f"GroupNorm: num_channels ({num_channels}) must be divisible by num_groups ({num_groups}); "
                f"{_divisors(num_channels)}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        for name, present in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(creation.empty(num_channels, device=device, dtype=dtype)) if present else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


def _divisors(n: int) -> str:
    fitting = [str(d) for d in range(1, min(n, 10_000) + 1) if n % d == 0]
    shown = fitting if len(fitting) <= 12 else [*fitting[:6], "...", *fitting[-2:]]
    return f"{n} channels can be put into {', '.join(shown)} groups" if fitting else "give it some channels"


class LocalResponseNorm(Module):
    r"""Normalisation across neighbouring channels, y = x / (k + alpha * mean of x * x over `size` channels) ** beta.

    Args:
        size: how many neighbouring channels the mean is taken over; beyond the first and the last they count as 0.
        alpha, beta, k: the numbers of the formula.

    Shape:
        input and output (N, C, *), with one spatial dimension or more.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012).

    Example:
        >>> nn.LocalResponseNorm(2)(torch.randn(32, 5, 24, 24)).shape
        torch.Size([32, 5, 24, 24])
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
