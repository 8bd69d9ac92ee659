"""Batch normalisation, and what it has in common with instance normalisation."""

from __future__ import annotations

from typing import Any, ClassVar

from rushlight.errors import ShapeError
from rushlight.nn import functional, init
from rushlight.nn.modules import __getattr__ as __getattr__  # what PyTorch has in this file, too
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.convolution import channels_last_hint
from rushlight.tensor import Tensor, creation


class _NormBase(Module):
    """Parameters and running statistics of the normalisation of channels."""

    _version = 2
    allowed_dims: ClassVar[tuple[int, ...]]

    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_features < 0:
            raise ShapeError(f"{type(self).__name__}: num_features can't be negative, got {num_features}")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        options = {"device": device, "dtype": dtype}
        for name, present in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, Parameter(creation.empty(num_features, **options)) if present else None)
        if track_running_stats:
            self.register_buffer("running_mean", creation.zeros(num_features, **options))
            self.register_buffer("running_var", creation.ones(num_features, **options))
            self.register_buffer("num_batches_tracked", creation.tensor(0, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1 and the count of batches to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Sets the weight to 1, the bias to 0, and the running statistics to those of a standard normal input."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in self.allowed_dims:
            wanted = " or ".join(f"{n}D" for n in self.allowed_dims)
            raise ShapeError(f"{type(self).__name__}: expected {wanted} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        # Version 1 knew no num_batches_tracked.
        key = prefix + "num_batches_tracked"
        if (local_metadata.get("version") or 1) < 2 and self.num_batches_tracked is not None and key not in state_dict:
            state_dict[key] = self.num_batches_tracked.detach().clone()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class _BatchNorm(_NormBase):
    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        channels = input.shape[1]
        if channels != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expected {self.num_features} channels in dimension 1, but got {channels} in "
                f"an input of shape {tuple(input.shape)}{channels_last_hint(input.shape, self.num_features)}"
            )
        training = self.training
        tracking = training and self.track_running_stats
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        known = self.running_mean is not None and self.running_var is not None
        by_batch = training or not known
        if by_batch and input.numel() == channels:
            raise ShapeError(
                f"{type(self).__name__}: Expected more than 1 value per channel when training, got input size "
                f"{list(input.shape)}; use a larger batch (drop_last=True in the DataLoader leaves out a last batch of "
                "one sample), or call eval() first"
            )
        if tracking and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / self.num_batches_tracked  # the running average of all batches
        update = not training or self.track_running_stats
        return functional.batch_norm(
            input,
            self.running_mean if update else None,
            self.running_var if update else None,
            self.weight,
            self.bias,
            by_batch,
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    r"""Batch normalisation of features or sequences, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype, bias: as of `BatchNorm2d`.

    Shape:
        input and output (N, C) or (N, C, L), C = num_features.

    Raises:
        ShapeError: an input of other dimensions or channels; in training, one value per channel.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift" (2015), https://arxiv.org/abs/1502.03167.

    Example:
        >>> nn.BatchNorm1d(1)(torch.tensor([[1.0], [3.0]])).detach()
        tensor([[-1.0000],
                [ 1.0000]])
    """

    allowed_dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    r"""Batch normalisation of images, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Mean and (biased) variance are those of a channel, over the batch and the spatial dimensions, in training; after
    `eval()` they are running ones, which training has kept: running = (1 - momentum) * running + momentum * new, where
    the new variance is unbiased.

    Args:
        num_features: C, the number of channels.
        eps: is added to the variance.
        momentum: the share of each new batch in the running statistics; None for the average of all batches.
        affine: whether there are a learned weight (at first 1) and bias (at first 0).
        track_running_stats: whether running statistics are kept. Without them the batch's are used after `eval()` too.
        device, dtype: of the parameters and statistics.
        bias: False leaves out the bias alone.

    Attributes:
        weight, bias: (C), or None. running_mean, running_var: (C), and num_batches_tracked, buffers, or None.

    Shape:
        input and output (N, C, H, W).

    Raises:
        ShapeError: an input of other dimensions or channels; in training, one value per channel.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift" (2015), https://arxiv.org/abs/1502.03167.

    Example:
        >>> layer = nn.BatchNorm2d(5, affine=False)
        >>> layer(torch.randn(20, 5, 35, 45)).shape
        torch.Size([20, 5, 35, 45])
        >>> layer.num_batches_tracked
        tensor(1)
    """

    allowed_dims = (4,)


class BatchNorm3d(_BatchNorm):
    r"""Batch normalisation of volumes, y = (x - mean) / sqrt(variance + eps) * weight + bias.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype, bias: as of `BatchNorm2d`.

    Shape:
        input and output (N, C, D, H, W), C = num_features.

    Raises:
        ShapeError: an input of other dimensions or channels; in training, one value per channel.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift" (2015), https://arxiv.org/abs/1502.03167.

    Example:
        >>> nn.BatchNorm3d(2)(torch.randn(4, 2, 3, 4, 5)).shape
        torch.Size([4, 2, 3, 4, 5])
    """

    allowed_dims = (5,)
