"""Dropout layers: active in training mode only."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rushlight.nn import functional as F
from rushlight.nn.functional.dropout import check_probability
from rushlight.nn.modules.module import Module
from rushlight.tensor.tensor import Tensor


class _Dropout(Module):
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, sets each element to zero with probability p, and scales the rest by 1 / (1 - p).

    Args:
        p: the probability, from 0 to 1; ValueError otherwise.
        inplace: overwrite the input.

    Shape:
        Any shape; output as the input.

    Paper: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.

    Example:
        >>> nn.Dropout(p=0.2)(torch.randn(20, 16)).shape == torch.randn(20, 16).shape
        True
    """

    _function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """In training, sets whole channels of 1-dimensional feature maps to zero with probability p.

    Args:
        p: the probability, from 0 to 1; ValueError otherwise.
        inplace: overwrite the input.

    Shape:
        (N, C, L) or (C, L); output as the input.

    Paper: Tompson et al., Efficient object localization using convolutional networks, 2015.

    Example:
        >>> nn.Dropout1d(p=0.2)(torch.randn(20, 16, 32)).shape == torch.randn(20, 16, 32).shape
        True
    """

    _function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """In training, sets whole channels of 2-dimensional feature maps to zero with probability p.

    Args:
        p: the probability, from 0 to 1; ValueError otherwise.
        inplace: overwrite the input.

    Shape:
        (N, C, H, W) or (N, C, L); output as the input.

    Paper: Tompson et al., Efficient object localization using convolutional networks, 2015.

    Example:
        >>> nn.Dropout2d(p=0.2)(torch.randn(20, 16, 32, 32)).shape == torch.randn(20, 16, 32, 32).shape
        True
    """

    _function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """In training, sets whole channels of 3-dimensional feature maps to zero with probability p.

    Args:
        p: the probability, from 0 to 1; ValueError otherwise.
        inplace: overwrite the input.

    Shape:
        (N, C, D, H, W) or (C, D, H, W); output as the input.

    Paper: Tompson et al., Efficient object localization using convolutional networks, 2015.

    Example:
        >>> nn.Dropout3d(p=0.2)(torch.randn(20, 16, 4, 8, 8)).shape == torch.randn(20, 16, 4, 8, 8).shape
        True
    """

    _function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1: dropped elements take the value of SELU at minus infinity.

    Args:
        p: the probability, from 0 to 1; ValueError otherwise.
        inplace: overwrite the input.

    Shape:
        Any shape; output as the input.

    Paper: Klambauer et al., Self-normalizing neural networks, 2017.

    Example:
        >>> nn.AlphaDropout(p=0.2)(torch.randn(20, 16)).shape == torch.randn(20, 16).shape
        True
    """

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels.

    Args:
        p: the probability, from 0 to 1; ValueError otherwise.
        inplace: overwrite the input.

    Shape:
        (N, C, ...); output as the input.

    Paper: Klambauer et al., Self-normalizing neural networks, 2017.

    Example:
        >>> nn.FeatureAlphaDropout(p=0.2)(torch.randn(20, 16, 4)).shape == torch.randn(20, 16, 4).shape
        True
    """

    _function = staticmethod(F.feature_alpha_dropout)
