"""Elementwise functions whose options PyTorch passes in another way than their operations take them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.errors import DtypeError, ShapeError
from rushlight.ops import elementwise
from rushlight.ops import softmax as softmaxes
from rushlight.ops.declare import routing
from rushlight.tensor import arguments, arithmetic, results
from rushlight.tensor import tensor as tensors
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def _out(out: Tensor | None) -> dict[str, Any]:
    return {} if out is None else {"out": out}


def _operand(function: str, name: str, value: Any) -> Any:
    if type(value) is tensors.Tensor:
        return value
    found = arithmetic.operand(value)
    if found is NotImplemented:
        raise TypeError(f"{function}(): argument '{name}' must be Tensor or number, not {type(value).__name__}")
    return found


def add(input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """`input + alpha other`."""
    input, other = _operand("add", "input", input), _operand("add", "other", other)
    return elementwise.add(input, other if alpha == 1 else other * alpha, **_out(out))  # type: ignore[no-any-return]


def sub(input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """`input - alpha other`."""
    input, other = _operand("sub", "input", input), _operand("sub", "other", other)
    return elementwise.subtract(input, other if alpha == 1 else other * alpha, **_out(out))  # type: ignore[no-any-return]


def rsub(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """`other - alpha input`."""
    return elementwise.subtract(other, input if alpha == 1 else input * alpha)  # type: ignore[no-any-return]


def mul(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """`input * other`."""
    return elementwise.multiply(_operand("mul", "input", input), _operand("mul", "other", other), **_out(out))  # type: ignore[no-any-return]


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """`input / other`, rounded towards zero ("trunc") or down ("floor") where asked for."""
    operations = {
        None: elementwise.divide, "trunc": elementwise.trunc_divide, "floor": elementwise.floor_divide
    }  # fmt: skip
    if rounding_mode not in operations:
        raise ShapeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '" + str(rounding_mode) + "'"
        )
    input, other = _operand("div", "input", input), _operand("div", "other", other)
    return operations[rounding_mode](input, other, **_out(out))  # type: ignore[no-any-return]


def pow(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """`input` to the power `exponent`."""
    return to_the_power(_operand("pow", "input", input), _operand("pow", "exponent", exponent), **_out(out))


def to_the_power(self: Any, exponent: Any, **options: Any) -> Tensor:
    """The operator `**`; raises where an integer is to get a negative integer for its exponent."""
    exponent = arithmetic.operand(exponent)
    if exponent is NotImplemented:
        return NotImplemented  # type: ignore[no-any-return]
    if type(exponent) is int and exponent < 0 and self.array.dtype.kind in "iu":
        raise ShapeError(
            f"Integers to negative integer powers are not allowed: {self.dtype} to the power {exponent}. Use a float "
            f"tensor, or {float(exponent)}"
        )
    return routing.interpreter(elementwise.power, (self, exponent), options)  # type: ignore[no-any-return]


def assigned_power(self: Tensor, exponent: Any) -> Tensor:
    """The operator `**=`."""
    return to_the_power(self, exponent, out=self)


def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """`input` to the power `exponent`, in float64."""
    if out is input and out.array.dtype != np.float64:
        raise DtypeError(f"float_power_: the result is float64, which doesn't go into a tensor of dtype {out.dtype}")
    base = input.double() if isinstance(input, tensors.Tensor) else float(input)
    exponent = exponent.double() if isinstance(exponent, tensors.Tensor) else float(exponent)
    return elementwise.power(base, exponent, **_out(out))  # type: ignore[no-any-return]


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1, out: Tensor | None = None) -> Tensor:
    """`input + value tensor1 tensor2`, where for integers `value` is cut to one."""
    if all(t.array.dtype.kind in "iu" for t in (input, tensor1, tensor2)):
        value = int(value)
    return elementwise.addcmul(input, tensor1, tensor2, value, **_out(out))  # type: ignore[no-any-return]


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1, out: Tensor | None = None) -> Tensor:
    """`input + value tensor1 / tensor2`."""
    return elementwise.addcdiv(input, tensor1, tensor2, value, **_out(out))  # type: ignore[no-any-return]


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """`input`, but at least `min` and at most `max`, which are numbers or tensors; either may be left out."""
    if min is None and max is None:
        raise ShapeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is None:
        return tensors.shown_as("ClampBackward1", elementwise.clamp_max(input, max, **_out(out)))  # type: ignore[no-any-return]
    if max is None:
        return tensors.shown_as("ClampBackward1", elementwise.clamp_min(input, min, **_out(out)))  # type: ignore[no-any-return]
    return elementwise.clamp(input, min, max, **_out(out))  # type: ignore[no-any-return]


def round(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
    """Rounded to the nearest integer, or to a number of decimals; halves to the even one."""
    if decimals == 0:
        return elementwise.round_(input, **_out(out))  # type: ignore[no-any-return]
    scale = 10.0 ** abs(decimals)
    scaled = input * scale if decimals > 0 else input / scale
    rounded = elementwise.round_(scaled)
    operation = elementwise.divide if decimals > 0 else elementwise.multiply
    return tensors.shown_as("RoundBackward1", operation(rounded, scale, **_out(out)))  # type: ignore[no-any-return]


def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """NaN replaced by `nan` (0), the infinities by numbers (the largest and the smallest of the dtype)."""
    if input.array.dtype.kind in "iub":
        return input.clone()
    limits = _limits(input)
    return elementwise.nan_to_num(  # type: ignore[no-any-return]
        input,
        0.0 if nan is None else nan,
        limits[1] if posinf is None else posinf,
        limits[0] if neginf is None else neginf,
        **_out(out),
    )


def _limits(input: Tensor) -> tuple[float, float]:
    from rushlight.tensor.limits import finfo

    info = finfo(input.dtype)
    return info.min, info.max


def logit(input: Tensor, eps: float | None = None, *, out: Tensor | None = None) -> Tensor:
    """log(x / (1 - x)), of `input` clamped to [eps, 1 - eps] where `eps` is given."""
    return elementwise.logit(input if eps is None else clamp(input, eps, 1 - eps), **_out(out))  # type: ignore[no-any-return]


def isreal(input: Tensor) -> Tensor:
    """Whether each element is a real number: always here."""
    return tensors.wrap(np.ones(input.array.shape, bool))


@arguments.numpy_names
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) over `dim`."""
    return softmaxes.softmax(input if dtype is None else input.to(dtype), dim=dim)  # type: ignore[no-any-return]


@arguments.numpy_names
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`."""
    return softmaxes.log_softmax(input if dtype is None else input.to(dtype), dim=dim)  # type: ignore[no-any-return]


def angle(input: Tensor) -> Tensor:
    """The angle of real numbers in the complex plane: pi for negative ones, else 0; NaN for NaN."""
    if not input.is_floating_point():
        return elementwise.where(input < 0, math.pi, 0.0)  # type: ignore[no-any-return]
    turned, none, unknown = (tensors.wrap(np.asarray(n, input.array.dtype)) for n in (math.pi, 0.0, math.nan))
    angles = elementwise.where(input == input, elementwise.where(input < 0, turned, none), unknown)
    return elementwise.tied(angles, input)  # type: ignore[no-any-return]


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of the shape and dtype of `input` full of `value`."""
    return input.clone().fill_(value)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, 0 elsewhere."""
    return elementwise.hardshrink(input, lambd)  # type: ignore[no-any-return]


def prelu(self: Tensor, weight: Tensor) -> Tensor:
    """See `nn.functional.prelu`."""
    from rushlight.nn import functional

    return functional.prelu(self, weight)


def polygamma(self: Tensor, n: int) -> Tensor:
    """See `special.polygamma`."""
    from rushlight import special

    return special.polygamma(n, self)


def mvlgamma(self: Tensor, p: int) -> Tensor:
    """See `special.multigammaln`."""
    from rushlight import special

    return special.multigammaln(self, p)


def frexp(input: Tensor) -> Any:
    """(mantissa, exponent): mantissas from 0.5 to 1 in size, exponents of 2, int32, that they are multiplied with."""
    mantissas, exponents = np.frexp(values_of(input, "frexp"))
    return results.frexp(tensors.wrap(mantissas), tensors.wrap(exponents))


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2**other."""
    return input * 2.0**other


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return (input - other).norm(p)


def positive(input: Tensor) -> Tensor:
    """The tensor itself."""
    if input.array.dtype.kind == "b":
        raise DtypeError("The `+` operator, on a bool tensor is not supported.")
    return input


@arguments.numpy_names
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The differences of neighbours along `dim`, taken `n` times."""
    from rushlight.tensor import joining

    if n == 0:
        return input
    parts = [part for part in (prepend, input, append) if part is not None]
    result = joining.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        length = result.shape[dim]
        if length <= 1:
            return result.narrow(dim, 0, 0)
        ahead, behind = result.narrow(dim, 1, length - 1), result.narrow(dim, 0, length - 1)
        result = ahead != behind if result.array.dtype.kind == "b" else ahead - behind
    return result


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors of 3 along `dim`, by default the first dimension of that size."""
    from rushlight.tensor import joining

    if dim is None:
        dim = next((d for d, size in enumerate(input.shape) if size == 3), -1)
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise ShapeError(f"cross: dimension {dim} must have size 3, got {input.shape[dim]} and {other.shape[dim]}")
    (a, b, c), (u, v, w) = input.unbind(dim), other.unbind(dim)
    return joining.stack([b * w - c * v, c * u - a * w, a * v - b * u], dim)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products over the last dimensions."""
    if not input.ndim or not other.ndim:
        return input * other
    from rushlight.ops import linear

    return linear.tensordot(input, other, dims=([-1], [-1]))  # type: ignore[no-any-return]


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of `input` times the whole of `other`."""
    ndim = max(input.ndim, other.ndim)
    left = (1,) * (ndim - input.ndim) + tuple(input.shape)
    right = (1,) * (ndim - other.ndim) + tuple(other.shape)
    a = input.reshape([n for size in left for n in (size, 1)])
    b = other.reshape([n for size in right for n in (1, size)])
    return (a * b).reshape([n * m for n, m in zip(left, right, strict=True)])
