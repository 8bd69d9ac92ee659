"""Normalisation over the batch, over channels and groups of them, over the last dimensions, and across channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rushlight import dtypes
from rushlight.autograd.modes import no_grad
from rushlight.errors import DtypeError, ShapeError
from rushlight.nn.functional import padding, pooling
from rushlight.ops import elementwise
from rushlight.ops import normalization as ops
from rushlight.tensor import Tensor


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Normalises each channel of (N, C, *S) over the batch, or by the running statistics when not training.

    In training the running statistics, where given, take up `momentum` of the batch's. See `rushlight.nn.BatchNorm1d`.

    Raises:
        ShapeError: the input has no channels, a statistic or parameter isn't of size C, or there is one value per
            channel to train on.
        DtypeError: not training without running statistics.
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: expected an input (N, C, *S), got {tuple(input.shape)}")
    _check_channels("batch_norm", input.shape[1], running_mean, running_var, weight, bias)
    if not training:
        if running_mean is None or running_var is None:
            raise DtypeError("batch_norm: expected running_mean and running_var to be defined when training=False")
        result: Tensor = ops.batch_norm_inference(input, weight, bias, running_mean, running_var, eps=eps)
        return result
    count = input.numel() // max(input.shape[1], 1)
    if count == 1:
        raise ShapeError(
            f"batch_norm: Expected more than 1 value per channel when training, got input size {list(input.shape)}; "
            "use a larger batch (or drop_last=True in the DataLoader), or call eval() first"
        )
    result, mean, variance = ops.batch_norm(input, weight, bias, eps=eps)
    _track(running_mean, running_var, mean, variance, count, momentum)
    return result


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Normalises each channel of each sample of (N, C, *S), or by the running statistics.

    See `rushlight.nn.InstanceNorm1d`.

    Raises:
        ShapeError: the input has no spatial dimensions, or one value in them; a parameter isn't of size C.
        DtypeError: neither the input's statistics nor running ones are to be used.
    """
    if input.ndim < 3:
        raise ShapeError(f"instance_norm: expected an input (N, C, *S), got {tuple(input.shape)}")
    channels = input.shape[1]
    _check_channels("instance_norm", channels, running_mean, running_var, weight, bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise DtypeError(
                "instance_norm: expected running_mean and running_var to be defined when use_input_stats=False"
            )
        result: Tensor = ops.batch_norm_inference(input, weight, bias, running_mean, running_var, eps=eps)
        return result
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ShapeError(
            "instance_norm: Expected more than 1 spatial element when training, got input size "
            f"{list(input.shape)}: one value is always normalised to 0"
        )
    result, mean, variance = ops.group_norm(input, weight, bias, groups=max(channels, 1), eps=eps)
    if running_mean is not None or running_var is not None:
        _track(running_mean, running_var, mean.detach().mean(0), variance.detach().mean(0), count, momentum)
    return result


def _check_channels(name: str, channels: int, *vectors: Tensor | None) -> None:
    for what, vector in zip(("running_mean", "running_var", "weight", "bias"), vectors, strict=True):
        if vector is not None and tuple(vector.shape) != (channels,):
            raise ShapeError(
                f"{name}: the input has {channels} channels (its dimension 1), but {what} is for "
                f"{' x '.join(map(str, vector.shape))}: {what} should contain {channels} elements not {vector.numel()}"
            )


@no_grad()
def _track(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    count: int,
    momentum: float | Tensor,
) -> None:
    """Moves the running statistics by `momentum` towards those of the batch, its variance unbiased."""
    if running_mean is not None:
        elementwise.lerp(running_mean, mean, momentum, out=running_mean)
    if running_var is not None:
        unbiased = variance * (count / max(count - 1, 1))
        elementwise.lerp(running_var, unbiased, momentum, out=running_var)


def normalized_dimensions(name: str, input: Tensor, normalized_shape: Sequence[int], *parameters: Tensor | None) -> int:
    """How many of the input's last dimensions `normalized_shape` names; raises ShapeError unless it matches them."""
    shape = tuple(normalized_shape)
    if not shape:
        raise ShapeError(f"{name}: expected normalized_shape to be at least 1-dimensional, got ()")
    if tuple(input.shape[-len(shape) :]) != shape:
        star = "".join(f", {n}" for n in shape)
        raise ShapeError(
            f"{name}: given normalized_shape={list(shape)}, expected input with shape [*{star}], but got input of "
            f"size{list(input.shape)}"
        )
    for what, parameter in zip(("weight", "bias"), parameters, strict=False):
        if parameter is not None and tuple(parameter.shape) != shape:
            raise ShapeError(
                f"{name}: expected {what} to be of same shape as normalized_shape {list(shape)}, but got "
                f"{list(parameter.shape)}"
            )
    return len(shape)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """Normalises over the last dimensions, those of `normalized_shape`. See `rushlight.nn.LayerNorm`."""
    dimensions = normalized_dimensions("layer_norm", input, normalized_shape, weight, bias)
    result: Tensor = ops.layer_norm(input, weight, bias, dimensions=dimensions, eps=eps)[0]
    return result


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divides by the root mean square over the last dimensions, those of `normalized_shape`.

    `eps` is by default the smallest step from 1 of the input's dtype. See `rushlight.nn.RMSNorm`.
    """
    dimensions = normalized_dimensions("rms_norm", input, normalized_shape, weight)
    if eps is None:
        eps = _machine_epsilon[input.dtype]
    result: Tensor = ops.rms_norm(input, weight, dimensions=dimensions, eps=eps)[0]
    return result


_machine_epsilon = {
    # Of the dtype that the squares are averaged in: half precision is computed in float32.
    dtypes.float16: 2.0**-23,
    dtypes.bfloat16: 2.0**-23,
    dtypes.float32: 2.0**-23,
    dtypes.float64: 2.0**-52,
}


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-05
) -> Tensor:
    """Normalises each of `num_groups` groups of channels of each sample of (N, C, *S). See `rushlight.nn.GroupNorm`."""
    if input.ndim < 2:
        raise ShapeError(f"group_norm: expected at least 2 dimensions for input, (N, C, *S), got {tuple(input.shape)}")
    channels = input.shape[1]
    if num_groups < 1:
        raise ShapeError(f"group_norm: expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise ShapeError(
            "group_norm: expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    _check_channels("group_norm", channels, None, None, weight, bias)
    result: Tensor = ops.group_norm(input, weight, bias, groups=num_groups, eps=eps)[0]
    return result


def local_response_norm(input: Tensor, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divides by a power of the mean square over `size` neighbouring channels of (N, C, *S).

    See `rushlight.nn.LocalResponseNorm`.
    """
    if input.ndim < 3:
        raise ShapeError(
            f"local_response_norm: expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    if input.numel() == 0:
        return input
    batch, channels = input.shape[:2]
    squares = (input * input).reshape(batch, 1, channels, -1)
    squares = padding.pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = pooling.avg_pool2d(squares, (size, 1), stride=1).reshape(input.shape)
    result: Tensor = input / (mean * alpha + k) ** beta
    return result
