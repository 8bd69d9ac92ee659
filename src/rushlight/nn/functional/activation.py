"""Activation functions. `inplace=True` overwrites the input and returns it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from rushlight.autograd.modes import no_grad
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import InputError, ShapeError
from rushlight.ops import elementwise
from rushlight.ops import softmax as softmax_operations
from rushlight.tensor.tensor import Tensor, shown_as


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), elementwise."""
    return elementwise.relu(input, out=input) if inplace else elementwise.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6), elementwise."""
    return hardtanh(input, 0.0, 6.0, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, alpha (exp(x) - 1) elsewhere (Clevert et al., 2016)."""
    return elementwise.elu(input, alpha, out=input) if inplace else elementwise.elu(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale (max(x, 0) + min(alpha (exp(x) - 1), 0)), with the constants of Klambauer et al., 2017."""
    return elementwise.selu(input, out=input) if inplace else elementwise.selu(input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0) (Barron, 2017)."""
    if alpha == 0:
        raise ShapeError("celu: alpha can't be 0, x is divided by it")
    return elementwise.celu(input, alpha, out=input) if inplace else elementwise.celu(input, alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, negative_slope x elsewhere."""
    operation = elementwise.leaky_relu if negative_slope >= 0 else elementwise.prelu  # which keeps its input
    result = operation(input, negative_slope, out=input) if inplace else operation(input, negative_slope)
    return shown_as("LeakyReluBackward0", result)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, weight x elsewhere; `weight` holds one slope, or one for each channel (dimension 1).

    Raises ShapeError where the number of weights is neither 1 nor that of the channels. (He et al., 2015)
    """
    count = weight.numel()
    if count != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if input.ndim == 0 or count != channels:
            raise ShapeError(
                f"prelu: the number of weights must be 1 or that of the input's channels: got {count} weights for "
                f"{channels} channels, input of shape {tuple(input.shape)}"
            )
        weight = weight.reshape((-1,) + (1,) * (input.ndim - 2))
    elif weight.ndim and input.ndim == 0:
        weight = weight.reshape(())
    return shown_as("PreluKernelBackward0", elementwise.prelu(input, weight))


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU whose slope is drawn from U(lower, upper) for each element in training, and is their mean in use."""
    if lower > upper:
        raise InputError(f"rrelu: lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    slope: Any = (lower + upper) / 2
    if training:
        with no_grad():
            slope = input.detach().clone().uniform_(lower, upper)
    return elementwise.prelu(input, slope, out=input) if inplace else elementwise.prelu(input, slope)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function at x; with approximate="tanh", by tanh (Hendrycks and Gimpel, 2016)."""
    if approximate == "none":
        return elementwise.gelu(input)
    if approximate == "tanh":
        return elementwise.gelu_tanh(input)
    raise InputError(f"approximate argument must be either none or tanh, got {approximate!r}")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish."""
    return elementwise.silu(input, out=input) if inplace else elementwise.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra, 2019)."""
    return elementwise.mish(input, out=input) if inplace else elementwise.mish(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return elementwise.sigmoid(input)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x)))."""
    return elementwise.log_sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return elementwise.tanh(input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return elementwise.tanhshrink(input)


def _in_dtype_of(input: Tensor, *numbers: float) -> tuple[float, ...]:
    """Numbers as they are, cut to integers for an integer input, so that the result has the input's dtype."""
    return numbers if input.is_floating_point() else tuple(int(n) for n in numbers)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x, but at least min_val and at most max_val."""
    if min_val > max_val:
        raise ShapeError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    min_val, max_val = _in_dtype_of(input, min_val, max_val)
    if inplace:
        return elementwise.hardtanh(input, min_val, max_val, out=input)
    return elementwise.hardtanh(input, min_val, max_val)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""
    return elementwise.hardswish(input, out=input) if inplace else elementwise.hardswish(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return elementwise.hardsigmoid(input, out=input) if inplace else elementwise.hardsigmoid(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, 0 elsewhere."""
    return elementwise.hardshrink(input, lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd; 0 where |x| <= lambd."""
    if lambd < 0:
        raise InputError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return elementwise.softshrink(input, lambd)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    return elementwise.softplus(input, beta, threshold)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return elementwise.softsign(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, `value` elsewhere."""
    threshold, value = _in_dtype_of(input, threshold, value)
    if inplace:
        return elementwise.threshold(input, threshold, value, out=input)
    return elementwise.threshold(input, threshold, value)


def _inplace(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(input: Tensor, *args: Any, **options: Any) -> Tensor:
        return function(input, *args, **options, inplace=True)

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"`{function.__name__}` that overwrites its input."
    return method


relu_ = _inplace(relu)
elu_ = _inplace(elu)
selu_ = _inplace(selu)
celu_ = _inplace(celu)
leaky_relu_ = _inplace(leaky_relu)
hardtanh_ = _inplace(hardtanh)
rrelu_ = _inplace(rrelu)
threshold_ = _inplace(threshold)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim`, times the sigmoid of the second (Dauphin et al., 2017).

    Raises ShapeError where the size along `dim` is odd.
    """
    if input.ndim == 0:
        raise ShapeError("glu does not support 0-dimensional tensors")
    size = input.shape[dim]
    if size % 2:
        raise ShapeError(f"glu: Halving dimension must be even, but dimension {dim} is size {size}")
    first, second = input.chunk(2, dim)
    return shown_as("GluBackward0", first * elementwise.sigmoid(second))


# Over a dimension


def _implied_dim(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype | None = None) -> Tensor:
    """exp(x) / sum(exp(x)), the sum along `dim`.

    dtype: what the input is converted to first, if given.
    """
    if dim is None:
        dim = _implied_dim("softmax", input.ndim)
    return softmax_operations.softmax(input if dtype is None else input.to(dtype), dim=dim)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype | None = None) -> Tensor:
    """log(softmax(x)) along `dim`, computed without leaving the range of the dtype."""
    if dim is None:
        dim = _implied_dim("log_softmax", input.ndim)
    return softmax_operations.log_softmax(input if dtype is None else input.to(dtype), dim=dim)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype | None = None) -> Tensor:
    """softmax(-x) along `dim`."""
    if dim is None:
        dim = _implied_dim("softmin", input.ndim)
    return softmax_operations.softmax(-(input if dtype is None else input.to(dtype)), dim=dim)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the Gumbel-softmax distribution; with `hard`, one-hot, with the gradient of the soft sample.

    (Jang et al., 2017; Maddison et al., 2017)
    """
    with no_grad():
        gumbels = -logits.detach().clone().exponential_().log()
    soft = softmax_operations.softmax((logits + gumbels) / tau, dim=dim)
    if not hard:
        return soft
    with no_grad():
        index = soft.max(dim, keepdim=True)[1]
        one_hot = soft.detach().clone().zero_().scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
