"""Reductions, with the arguments in PyTorch's order and under its names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops import elementwise, movement, reduction
from rushlight.ops.declare import Operation
from rushlight.tensor import arguments, results
from rushlight.tensor import tensor as tensors
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def _dims(function: str, dim: Any, axis: Any = None) -> Any:
    """`dim` as None, an int or a tuple of ints; NumPy's name for it is `axis`."""
    if axis is not None:
        dim = arguments.one_dim(function, dim, axis)
    if dim is None or type(dim) is int:
        return dim
    return arguments.integers(function, "dim", dim if isinstance(dim, (tuple, list)) else (dim,))


def _out(out: Any) -> dict[str, Any]:
    return {} if out is None else {"out": out}


def _check_floating(function: str, input: Tensor) -> None:
    if not dtypes.of_numpy(input.array.dtype).is_floating_point:
        raise DtypeError(
            f"{function}(): could not infer output dtype. Input dtype must be either a floating point or complex dtype."
            f" Got: {input.dtype.name.capitalize()}; convert it with .float()"
        )


# Sums, products, means


def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The sum of all elements or over `dim`; bools and integers are summed in int64."""
    if dtype is not None:
        input = input.to(dtype)
    keepdim = keepdim if keepdims is None else keepdims
    result: Tensor = reduction.sum_(input, dim=_dims("sum", dim, axis), keepdim=keepdim, **_out(out))
    return result if dtype is None else result.to(dtype)


@arguments.numpy_names
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """As `sum`, with NaN counted as 0."""
    return sum(elementwise.where(elementwise.isnan(input), 0, input), dim, keepdim, dtype=dtype)


def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The mean of all elements or over `dim`, of a floating tensor."""
    if dtype is not None:
        input = input.to(dtype)
    _check_floating("mean", input)
    keepdim = keepdim if keepdims is None else keepdims
    return reduction.mean(input, dim=_dims("mean", dim, axis), keepdim=keepdim, **_out(out))  # type: ignore[no-any-return]


@arguments.numpy_names
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that aren't NaN."""
    return nansum(input, dim, keepdim, dtype=dtype) / sum(elementwise.equal(input, input), dim, keepdim)


@arguments.numpy_names
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product of all elements or along `dim`; bools and integers are multiplied in int64."""
    if dtype is not None:
        input = input.to(dtype)
    result: Tensor = reduction.prod(input, dim=_dims("prod", dim), keepdim=keepdim)
    return result if dtype is None else result.to(dtype)


# Extremes


def _extreme(
    function: str, whole: Operation, along: Operation, pairwise: Operation, input: Tensor, args: Any, options: Any
) -> Any:
    """max and min: of all elements, along a dimension with indices, or of two tensors."""
    other = options.pop("other", args[0] if args and isinstance(args[0], tensors.Tensor) else None)
    if other is not None:
        return pairwise(input, other, **options)
    names = ("dim", "keepdim")
    given = {**dict(zip(names, args, strict=False)), **options}
    if "axis" in given:
        given["dim"] = given.pop("axis")
    if len(args) > 2 or not given.keys() <= {"dim", "keepdim", "out"}:
        raise TypeError(f"{function}() takes (dim, keepdim) or (other), got {args} and {options}")
    if given.get("dim") is None:
        return tensors.shown_as(f"{function.capitalize()}Backward1", whole(input, **_out(given.get("out"))))
    dim = arguments.integer(function, "dim", given["dim"])
    found = along(input, dim=dim, keepdim=given.get("keepdim", False), **_out(given.get("out")))
    return getattr(results, function)(*found)


def max(input: Tensor, *args: Any, **options: Any) -> Any:
    """max(input): the largest element. max(input, dim, keepdim=False): the largest along `dim`, and the index of the
    first of each, as (values, indices). max(input, other): the larger of each pair.
    """
    return _extreme(
        "max", reduction.amax, reduction.max_with_indices, elementwise.maximum, input, args, options
    )  # fmt: skip


def min(input: Tensor, *args: Any, **options: Any) -> Any:
    """min(input): the smallest element. min(input, dim, keepdim=False): the smallest along `dim`, and the index of the
    first of each, as (values, indices). min(input, other): the smaller of each pair.
    """
    return _extreme(
        "min", reduction.amin, reduction.min_with_indices, elementwise.minimum, input, args, options
    )  # fmt: skip


@arguments.numpy_names
def amax(input: Tensor, dim: Any = (), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The largest element of all or over `dim`; equal ones share the gradient."""
    return reduction.amax(input, dim=_dims("amax", dim), keepdim=keepdim, **_out(out))  # type: ignore[no-any-return]


@arguments.numpy_names
def amin(input: Tensor, dim: Any = (), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The smallest element of all or over `dim`; equal ones share the gradient."""
    return reduction.amin(input, dim=_dims("amin", dim), keepdim=keepdim, **_out(out))  # type: ignore[no-any-return]


@arguments.numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, of all or along `dim`, as (min, max)."""
    options = {"dim": _dims("aminmax", dim), "keepdim": keepdim}
    return results.aminmax(reduction.amin(input, **options), reduction.amax(input, **options))


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The index of the first largest element along `dim`, or in the flattened tensor."""
    return reduction.argmax(input, dim=_dims("argmax", dim, axis), keepdim=keepdim)  # type: ignore[no-any-return]


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The index of the first smallest element along `dim`, or in the flattened tensor."""
    return reduction.argmin(input, dim=_dims("argmin", dim, axis), keepdim=keepdim)  # type: ignore[no-any-return]


# Truth


def all(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """Whether no element of all, or over `dim`, is zero."""
    return _truth(reduction.all_(input, dim=_dims("all", dim, axis), keepdim=keepdim), input)


def any(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """Whether some element of all, or over `dim`, isn't zero."""
    return _truth(reduction.any_(input, dim=_dims("any", dim, axis), keepdim=keepdim), input)


def _truth(found: Tensor, input: Tensor) -> Tensor:
    """bool, but for uint8, which was PyTorch's bool before it had one, and stays uint8."""
    return found.to(dtypes.uint8) if input.array.dtype == np.uint8 else found


# Moments and norms


def _moment_options(function: str, input: Tensor, args: Any, options: Any) -> dict[str, Any]:
    """The options of var and std, which are called (dim, unbiased, keepdim), (unbiased) or (dim, *, correction)."""
    given = dict(options)
    if args and isinstance(args[0], bool):
        given["unbiased"], args = args[0], args[1:]
    given.update(zip(("dim", "unbiased", "keepdim"), args, strict=False))
    unbiased = given.pop("unbiased", True)
    correction = given.pop("correction", None)
    keepdim = given.pop("keepdim", given.pop("keepdims", False))
    dim = _dims(function, given.pop("dim", None), given.pop("axis", None))
    if given:
        raise TypeError(f"{function}() got an unexpected keyword argument {next(iter(given))!r}")
    if correction is None:
        correction = 1 if unbiased else 0
    if not dtypes.of_numpy(input.array.dtype).is_floating_point:
        raise DtypeError(f"{function} only support floating point and complex dtypes, got {input.dtype.name}")
    return {"dim": dim, "correction": correction, "keepdim": keepdim}


def var(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """var(input, dim=None, *, correction=1, keepdim=False): squared deviations from the mean / (count - correction).

    The older way: unbiased=True for correction 1, False for 0.
    """
    return reduction.var(input, **_moment_options("var", input, args, options))  # type: ignore[no-any-return]


def std(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """std(input, dim=None, *, correction=1, keepdim=False): the square root of `var`."""
    variance = reduction.var(input, **_moment_options("std", input, args, options))
    return tensors.shown_as("StdBackward0", elementwise.sqrt(variance))  # type: ignore[no-any-return]


def var_mean(input: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """Variance and mean from one pass; arguments as those of `var`."""
    return reduction.var_mean(input, **_moment_options("var_mean", input, args, options))  # type: ignore[no-any-return]


def std_mean(input: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean from one pass; arguments as those of `var`."""
    variance, center = reduction.var_mean(input, **_moment_options("std_mean", input, args, options))
    return elementwise.sqrt(variance), center


def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The p-norm of all elements or over `dim`; p is a number, also an infinite one, "fro" for 2, or "nuc"."""
    if dtype is not None:
        input = input.to(dtype)
    _check_floating("norm", input)
    options = {"dim": _dims("norm", dim), "keepdim": keepdim}
    if p == "nuc":
        from rushlight import linalg

        return linalg.matrix_norm(input, p, (-2, -1) if dim is None else dim, keepdim)
    order = 2.0 if p in ("fro", None) else float(p)
    if order == 2:
        return reduction.euclidean_norm(input, **options)  # type: ignore[no-any-return]
    size = elementwise.absolute(input)
    if order == math.inf:
        return reduction.amax(size, **options)  # type: ignore[no-any-return]
    if order == -math.inf:
        return reduction.amin(size, **options)  # type: ignore[no-any-return]
    if order == 0:
        return reduction.sum_(elementwise.not_equal(input, 0).to(input.dtype), **options)  # type: ignore[no-any-return]
    if order == 1:
        return reduction.sum_(size, **options)  # type: ignore[no-any-return]
    total = reduction.sum_(elementwise.power(size, order), **options)
    if order > 0:  # at zero the root has no slope, and that of the norm is taken as zero
        nothing = elementwise.equal(total, 0)
        root = elementwise.power(elementwise.where(nothing, 1.0, total), 1 / order)
        return elementwise.where(nothing, 0.0, root)  # type: ignore[no-any-return]
    return elementwise.power(total, 1 / order)  # type: ignore[no-any-return]


@arguments.numpy_names
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """log(sum(exp(input))) over `dim`, computed without leaving the range of the dtype; of integers in float."""
    input = input if input.is_floating_point() else input.to(dtypes.get_default_dtype())
    return reduction.logsumexp(input, dim=_dims("logsumexp", dim), keepdim=keepdim, **_out(out))  # type: ignore[no-any-return]


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions that broadcasting `size` to this tensor's shape would repeat."""
    sizes = arguments.integers("sum_to_size", "size", size)
    try:
        fits = np.broadcast_shapes(sizes, self.array.shape) == self.array.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"size {list(sizes)} is not expandable to size {list(self.array.shape)}.")
    return reduction.sum_to(self, sizes)  # type: ignore[no-any-return]


# Running sums, products and extremes


@arguments.numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
    """The sums of the elements so far along `dim`."""
    source = input if dtype is None else input.to(dtype)
    result: Tensor = reduction.cumsum(source, dim=arguments.integer("cumsum", "dim", dim), **_out(out))
    return result if dtype is None else result.to(dtype)


@arguments.numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
    """The products of the elements so far along `dim`."""
    source = input if dtype is None else input.to(dtype)
    result: Tensor = reduction.cumprod(source, dim=arguments.integer("cumprod", "dim", dim), **_out(out))
    return result if dtype is None else result.to(dtype)


def _running_extreme(function: str, input: Tensor, dim: int, compare: Any, extreme: Any) -> Any:
    array = values_of(input, function)
    axis = movement.normalize_dim(function, dim, array.ndim)
    if array.ndim == 0:
        return getattr(results, function)(input.clone(), tensors.wrap(np.zeros((), np.int64)))
    running = extreme.accumulate(array, axis=axis)
    places = np.arange(array.shape[axis]).reshape(-1, *(1,) * (array.ndim - axis - 1))
    reached = np.where(compare(array, running) | (array != array), places, 0)  # the last one that is as large
    indices = tensors.wrap(np.maximum.accumulate(reached, axis=axis))
    return getattr(results, function)(input.gather(axis, indices), indices)


@arguments.numpy_names
def cummax(input: Tensor, dim: int) -> Any:
    """The largest elements so far along `dim` and their indices, as (values, indices)."""
    return _running_extreme("cummax", input, dim, np.greater_equal, np.maximum)


@arguments.numpy_names
def cummin(input: Tensor, dim: int) -> Any:
    """The smallest elements so far along `dim` and their indices, as (values, indices)."""
    return _running_extreme("cummin", input, dim, np.less_equal, np.minimum)


@arguments.numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(input))) along `dim`, shifted by the largest element of each row."""
    _check_floating("logcumsumexp", input)
    with_dim = {"dim": movement.normalize_dim("logcumsumexp", dim, input.array.ndim)}
    largest = reduction.amax(input, **with_dim, keepdim=True).detach()
    largest = elementwise.where(elementwise.isfinite(largest), largest, 0.0)
    return elementwise.log(reduction.cumsum(elementwise.exp(input - largest), **with_dim)) + largest  # type: ignore[no-any-return]
