"""Instance normalisation: each channel of each sample by its own mean and variance."""

from __future__ import annotations

import warnings
from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn import functional
from rushlight.nn.modules.batchnorm import _NormBase
from rushlight.tensor import Tensor


class _InstanceNorm(_NormBase):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        unbatched = input.ndim == self.allowed_dims[0]
        channels = input.shape[0 if unbatched else 1]
        if channels != self.num_features:
            message = (
                f"{type(self).__name__}: expected input's size at dim={0 if unbatched else 1} to match num_features "
                f"({self.num_features}), but got: {channels}"
            )
            if self.affine or self.track_running_stats:
                raise ShapeError(f"{message}, in an input of shape {tuple(input.shape)}")
            warnings.warn(f"{message}. num_features isn't used without affine=True, so it can be ignored", stacklevel=3)
        result = functional.instance_norm(
            input.unsqueeze(0) if unbatched else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )
        return result.squeeze(0) if unbatched else result


class InstanceNorm1d(_InstanceNorm):
    r"""Instance normalisation of sequences, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Mean and (biased) variance are those of each channel of each sample, over its spatial dimension. With as many
    groups as channels, `GroupNorm` does the same.

    Args:
        num_features: C, the number of channels.
        eps: is added to the variance.
        momentum: the share of each new batch in the running statistics, if they are kept.
        affine: whether there are a learned weight (at first 1) and bias (at first 0).
        track_running_stats: whether running statistics are kept, and used after `eval()`.
        device, dtype: of the parameters and statistics.
        bias: False leaves out the bias alone.

    Shape:
        input and output (N, C, L) or (C, L).

    Raises:
        ShapeError: an input of other dimensions, or of other channels for a layer that has parameters or statistics; in
            training, one spatial element.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization"
    (2016), https://arxiv.org/abs/1607.08022.

    Example:
        >>> nn.InstanceNorm1d(100)(torch.randn(20, 100, 40)).shape
        torch.Size([20, 100, 40])
    """

    allowed_dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    r"""Instance normalisation of images, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Mean and (biased) variance are those of each channel of each sample, over its spatial dimensions. With as many
    groups as channels, `GroupNorm` does the same.

    Args:
        num_features: C, the number of channels.
        eps: is added to the variance.
        momentum: the share of each new batch in the running statistics, if they are kept.
        affine: whether there are a learned weight (at first 1) and bias (at first 0).
        track_running_stats: whether running statistics are kept, and used after `eval()`.
        device, dtype: of the parameters and statistics.
        bias: False leaves out the bias alone.

    Shape:
        input and output (N, C, H, W) or (C, H, W).

    Raises:
        ShapeError: an input of other dimensions, or of other channels for a layer that has parameters or statistics; in
            training, one spatial element.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization"
    (2016), https://arxiv.org/abs/1607.08022.

    Example:
        >>> nn.InstanceNorm2d(100)(torch.randn(20, 100, 35, 45)).shape
        torch.Size([20, 100, 35, 45])
    """

    allowed_dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    r"""Instance normalisation of volumes, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Mean and (biased) variance are those of each channel of each sample, over its spatial dimensions. With as many
    groups as channels, `GroupNorm` does the same.

    Args:
        num_features: C, the number of channels.
        eps: is added to the variance.
        momentum: the share of each new batch in the running statistics, if they are kept.
        affine: whether there are a learned weight (at first 1) and bias (at first 0).
        track_running_stats: whether running statistics are kept, and used after `eval()`.
        device, dtype: of the parameters and statistics.
        bias: False leaves out the bias alone.

    Shape:
        input and output (N, C, D, H, W) or (C, D, H, W).

    Raises:
        ShapeError: an input of other dimensions, or of other channels for a layer that has parameters or statistics; in
            training, one spatial element.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization"
    (2016), https://arxiv.org/abs/1607.08022.

    Example:
        >>> nn.InstanceNorm3d(10)(torch.randn(2, 10, 5, 4, 6)).shape
        torch.Size([2, 10, 5, 4, 6])
    """

    allowed_dims = (4, 5)
