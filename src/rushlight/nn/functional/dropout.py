"""Dropout: zeros at random in training, nothing otherwise (Hinton et al., 2012; Srivastava et al., 2014)."""

from __future__ import annotations

import warnings

from rushlight.errors import ShapeError
from rushlight.ops import random
from rushlight.tensor.random import draw_key
from rushlight.tensor.tensor import Tensor


def check_probability(p: float) -> None:
    """Raises ValueError (a ShapeError) where p isn't a probability."""
    if not 0.0 <= p <= 1.0:
        raise ShapeError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element is zero with probability p, and divided by 1 - p otherwise."""
    check_probability(p)
    if not training or p == 0.0:
        return input
    return random.dropout(input, draw_key(), p=p, out=input) if inplace else random.dropout(input, draw_key(), p=p)


def _channels(input: Tensor, p: float, training: bool, inplace: bool, spatial: int) -> Tensor:
    """Dropout of whole channels: the same for all elements behind the channel dimension."""
    check_probability(p)
    if not training or p == 0.0:
        return input
    shape = (*input.shape[: input.ndim - spatial], *(1,) * spatial)
    mask = random.dropout_mask(draw_key(), shape=shape, p=p).to(input.dtype) * (1 / (1 - p) if p < 1 else 0.0)
    return input.mul_(mask) if inplace else input * mask


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    if input.ndim not in (2, 3):
        raise ShapeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs)."
        )
    return _channels(input, p, training, inplace, 1)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, H, W) or (N, C, L) (Tompson et al., 2015)."""
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead.",
            stacklevel=3,
        )
    # Dimensions 0 and 1 are batch and channels even for (C, H, W), as in PyTorch.
    return _channels(input, p, training, inplace, max(input.ndim - 2, 0))


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead.",
            stacklevel=3,
        )
    return _channels(input, p, training, inplace, 3 if input.ndim == 4 else max(input.ndim - 2, 0))


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, whole_features: bool) -> Tensor:
    check_probability(p)
    if not training or p == 0.0:
        return input
    result: Tensor = random.alpha_dropout(input, draw_key(), p=p, whole_features=whole_features)
    return input.copy_(result) if inplace else result


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps the mean and variance of normalised inputs, for SELU networks (Klambauer et al., 2017)."""
    return _alpha(input, p, training, inplace, False)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels (dimension 1)."""
    return _alpha(input, p, training, inplace, True)
