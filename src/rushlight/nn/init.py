"""Initial values of parameters, in place, without gradients. With the same seed they are PyTorch's numbers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rushlight.autograd.modes import no_grad
from rushlight.errors import ShapeError
from rushlight.tensor.tensor import Tensor, wrap

_LINEAR = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"
)  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that a nonlinearity asks for: 1, tanh 5/3, relu sqrt(2), leaky_relu sqrt(2 / (1 + slope^2)), selu 3/4.

    param: the slope of leaky_relu, 0.01 by default.
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _fans(tensor: Tensor) -> tuple[int, int]:
    """The number of inputs and of outputs of each unit of a weight."""
    shape = tensor.array.shape
    if len(shape) < 2:
        raise ShapeError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions; "
            f"this one has shape {tuple(shape)}"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    return _fans(tensor)


def _fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[mode == "fan_out"]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fills with draws from U(a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fills with draws from N(mean, std^2)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fills with draws from N(mean, std^2) restricted to [a, b].

    By rejection: of normal draws, all are drawn anew until those outside have been replaced; where less than 0.3 of the
    distribution lies inside, of uniform draws, kept with the density as their probability.
    """

    def distribution(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )
    low, high = tensor.array.dtype.type(a), tensor.array.dtype.type(b)
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def draw(fill: str, *bounds: float) -> np.ndarray[Any, Any]:
        return getattr(tensor.new_empty(tensor.shape), fill)(*bounds, generator=generator).array

    with no_grad():
        if distribution((b - mean) / std) - distribution((a - mean) / std) > 0.3:
            values = draw("normal_", mean, std)
            while (outside := (values < low) | (values > high)).any():
                values = np.where(outside, draw("normal_", mean, std), values)
        else:
            values = np.empty(tensor.array.shape, tensor.array.dtype)
            pending = np.ones(tensor.array.shape, bool)
            while pending.any():
                candidates = draw("uniform_", a, b)
                values = np.where(pending, candidates, values)
                with np.errstate(divide="ignore"):
                    pending &= np.log(draw("uniform_")) > -0.5 * ((candidates - mean) / std) ** 2 - peak
        return _put(tensor, values)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with a value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fills with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with zeros."""
    return constant_(tensor, 0.0)


def _put(tensor: Tensor, values: np.ndarray[Any, Any]) -> Tensor:
    """Writes an array's values, as an operation in place (views and versions are kept right)."""
    with no_grad():
        return tensor.copy_(wrap(values))


def eye_(tensor: Tensor) -> Tensor:
    """Fills a matrix with the identity; raises ShapeError for another number of dimensions."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    return _put(tensor, np.eye(*tensor.array.shape, dtype=np.float32))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fills the weight of a convolution so that it hands its input channels through.

    groups: of the convolution; each group hands its own channels through.
    """
    shape = tensor.array.shape
    if len(shape) not in (3, 4, 5):
        raise ShapeError(f"dirac_: Only tensors with 3, 4, or 5 dimensions are supported, got shape {tuple(shape)}")
    if groups < 1 or shape[0] % groups:
        raise ShapeError(f"dirac_: dim 0 ({shape[0]}) must be divisible by groups ({groups})")
    each = shape[0] // groups
    values = np.zeros(shape, np.float32)
    center = tuple(n // 2 for n in shape[2:])
    for group in range(groups):
        for channel in range(min(each, shape[1])):
            values[(group * each + channel, channel, *center)] = 1
    return _put(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draws from U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / float(sum(_fans(tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draws from N(0, std^2) with std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(sum(_fans(tensor)))), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Draws from U(-bound, bound) with bound = gain sqrt(3 / fan) (He et al., 2015).

    a: the slope of leaky_relu. mode: "fan_in" keeps the variance forward, "fan_out" backward.
    """
    if 0 in tensor.array.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Draws from N(0, std^2) with std = gain / sqrt(fan) (He et al., 2015).

    a: the slope of leaky_relu. mode: "fan_in" keeps the variance forward, "fan_out" backward.
    """
    if 0 in tensor.array.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fills with a (semi) orthogonal matrix, the dimensions behind the first taken together (Saxe et al., 2014)."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"orthogonal_: Only tensors with 2 or more dimensions are supported, got {tuple(tensor.shape)}"
        )
    if tensor.array.size == 0:
        return tensor
    rows = tensor.array.shape[0]
    columns = tensor.array.size // rows
    with no_grad():
        draws = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator).array
    if rows < columns:
        draws = draws.T
    q, r = np.linalg.qr(draws)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform
    if rows < columns:
        q = q.T
    _put(tensor, np.ascontiguousarray(q).reshape(tensor.array.shape))
    with no_grad():
        return tensor.mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Draws a matrix from N(0, std^2), and sets a fraction `sparsity` of each column to zero (Martens, 2010)."""
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    from rushlight.tensor.random import randperm

    rows, columns = tensor.array.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            chosen = randperm(rows)[:zeros]
            tensor[chosen, column] = 0
    return tensor


def _deprecated(name: str) -> Any:
    function = globals()[f"{name}_"]

    def old(*args: Any, **options: Any) -> Any:
        warnings.warn(f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning, stacklevel=2)
        return function(*args, **options)

    old.__name__ = name
    old.__doc__ = f"Older name of `{name}_`."
    return old


uniform = _deprecated("uniform")
normal = _deprecated("normal")
constant = _deprecated("constant")
eye = _deprecated("eye")
dirac = _deprecated("dirac")
xavier_uniform = _deprecated("xavier_uniform")
xavier_normal = _deprecated("xavier_normal")
kaiming_uniform = _deprecated("kaiming_uniform")
kaiming_normal = _deprecated("kaiming_normal")
orthogonal = _deprecated("orthogonal")
sparse = _deprecated("sparse")
