"""New tensors: filled, ranges, and like another tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import core, dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import ShapeError
from rushlight.ops import movement
from rushlight.ops.declare import check_memory, routing
from rushlight.tensor import arguments
from rushlight.tensor import tensor as tensors
from rushlight.tensor.data import array_of, check_overflow, dtype_of, made
from rushlight.tensor.data import as_tensor as as_tensor
from rushlight.tensor.data import from_numpy as from_numpy
from rushlight.tensor.data import tensor as tensor

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

# Filled


def _filled_array(shape: tuple[int, ...], dtype: Any, value: Any) -> np.ndarray[Any, Any]:
    """`value` in an array of its own; None leaves it as it is found."""
    if type(value) is int and value == 0:
        return core.zeros(shape, dtype)
    array = core.empty(shape, dtype)
    if value is not None:
        array.fill(value)
    return array


def _filled(name: str, value: int | None, doc: str) -> Callable[..., Tensor]:
    def function(
        *size: Any,
        out: Tensor | None = None,
        dtype: Dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
        **named: Any,
    ) -> Tensor:
        if "size" in named:
            size = (named.pop("size"),)
        if named:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
        shape, wanted = arguments.size(name, size), arguments.numpy_dtype(dtype if out is None else out.dtype)
        check_memory(name, shape, wanted)
        array = _filled_array(shape, wanted, value)
        if out is not None:
            return into(out, array)
        return made(array, requires_grad, device)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def into(out: Tensor, array: np.ndarray[Any, Any]) -> Tensor:
    """`out`, with these new values."""
    if routing.tracing is not None:
        return movement.assign(out.detach(), tensors.wrap(array), out=out.detach())  # type: ignore[no-any-return]
    if out.array.shape != array.shape:
        out.array = array.astype(out.array.dtype, copy=False)
    else:
        out.array[...] = array
    return out


zeros = _filled("zeros", 0, "A tensor of zeros; the sizes as numbers or as one sequence.")
ones = _filled("ones", 1, "A tensor of ones; the sizes as numbers or as one sequence.")
empty = _filled("empty", None, "An uninitialised tensor; the sizes as numbers or as one sequence.")


def full(
    size: Any,
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of `size` filled with `fill_value`, whose type decides the dtype unless it is given."""
    if isinstance(fill_value, tensors.Tensor):
        dtype = dtype or fill_value.dtype
        fill_value = fill_value.item()
    wanted = dtypes.of_numpy(array_of(fill_value).dtype) if dtype is None else dtype_of(dtype)
    assert wanted is not None
    sizes = arguments.size("full", (size,))
    array = _filled_array(sizes, wanted.numpy, _fit(fill_value, wanted))
    return made(array, requires_grad, device) if out is None else into(out, array)


def _fit(value: Any, dtype: Dtype) -> Any:
    check_overflow(value, dtype)
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(dtype.numpy)


def empty_strided(
    size: Any, stride: Any, *, dtype: Dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """An uninitialised tensor with the given strides (in elements)."""
    sizes, strides = tuple(size), tuple(stride)
    d = arguments.numpy_dtype(dtype)
    length = 1 + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) if all(sizes) else 0
    memory = np.empty(length, d)
    return made(
        np.lib.stride_tricks.as_strided(memory, sizes, tuple(s * d.itemsize for s in strides)), requires_grad, device
    )


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The identity matrix, n x m."""
    rows = arguments.size("eye", (n,))[0]
    columns = rows if m is None else arguments.size("eye", (m,))[0]
    array = np.eye(rows, columns, dtype=arguments.numpy_dtype(dtype))
    return made(array, requires_grad, device) if out is None else into(out, array)


# Ranges


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, (tensors.Tensor, np.generic)) else value


def arange(
    *bounds: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`start, start + step, ...` up to but without `end`: int64 for ints, the default dtype where one is a float."""
    values = [_number(b) for b in bounds]
    if len(values) > 3:
        raise TypeError(f"arange() takes at most 3 positional arguments, got {len(values)}")
    if end is not None and start is None:
        values = [*values[:1], _number(end), *values[1:]] if values else [_number(end)]
    elif start is not None:
        values = [_number(start), *([_number(end)] if end is not None else []), *values]
    if step is not None:
        values = [0, values[0]] if len(values) == 1 else values[:2]
        values.append(_number(step))
    if len(values) == 1:
        values = [0, values[0], 1]
    elif len(values) == 2:
        values.append(1)
    if not values:
        raise TypeError("arange() missing 1 required positional argument: 'end'")
    first, last, by = values
    for value in values:
        if not isinstance(value, (int, float)):
            raise TypeError(f"arange(): bounds must be numbers, not {type(value).__name__}")
    if by == 0:
        raise ShapeError("arange(): step must be nonzero")
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ShapeError(f"arange(): unsupported range: {first} -> {last}")
    if (last - first) * by < 0:
        raise ShapeError("arange(): upper bound and lower bound inconsistent with step sign")
    wanted = dtype_of(dtype)
    if wanted is None:
        floating = any(isinstance(v, float) for v in values)
        wanted = dtypes.get_default_dtype() if floating else dtypes.int64
    if not wanted.is_floating_point and int(by):
        first, last, by = int(first), int(last), int(by)
    if all(isinstance(v, int) for v in (first, last, by)):
        array = np.arange(first, last, by)
    else:
        # Each element from its index, as PyTorch computes them, and not by adding the step up.
        array = first + np.arange(math.ceil((last - first) / by)) * by
    array = array.astype(wanted.numpy, copy=False)
    return made(array, requires_grad, device) if out is None else into(out, array)


def inclusive_range(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Dtype | None = None, **options: Any
) -> Tensor:
    """`start, start + step, ...` up to and with `end`; `arange` is the usual one."""
    if end is None:
        start, end = 0, start
    count = math.floor((end - start) / step) + 1
    numbers: Tensor = arange(count, **options).to(dtype or dtypes.get_default_dtype())
    return numbers * step + start  # type: ignore[no-any-return]


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced values from `start` to `end`, both included."""
    count = arguments.integer("linspace", "steps", steps)
    if count < 0:
        raise ShapeError("number of steps must be non-negative")
    d = arguments.numpy_dtype(dtype)
    first, last = _number(start), _number(end)
    wanted = dtypes.of_numpy(d)
    if not wanted.is_floating_point:
        values = np.linspace(int(first), int(last), count)
        array = np.trunc(values + np.copysign(1e-9, values)).astype(d)
        return made(array, requires_grad, device) if out is None else into(out, array)
    working = np.dtype(np.float64) if d == np.float64 else np.dtype(np.float32)
    array = _symmetric_range(first, last, count, working).astype(d, copy=False)
    return made(array, requires_grad, device) if out is None else into(out, array)


def _symmetric_range(first: float, last: float, count: int, d: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Evenly spaced values, each half counted from its own end, so that rounding is symmetric."""
    if count == 1:
        return np.full(1, first, d)
    low, high = d.type(first), d.type(last)
    step = d.type((high - low) / d.type(max(count - 1, 1)))
    index = np.arange(count)
    ahead, behind = index.astype(d), (count - 1 - index).astype(d)
    values = np.where(index < count // 2, low + step * ahead, high - step * behind)
    return np.asarray(values, d)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`base` to the power of `steps` evenly spaced values from `start` to `end`."""
    d = arguments.numpy_dtype(dtype)
    first, last = _number(start), _number(end)
    if not dtypes.of_numpy(d).is_floating_point:
        first, last = int(first), int(last)
    exponents = _symmetric_range(first, last, arguments.integer("logspace", "steps", steps), np.dtype(np.float64))
    array = np.power(float(base), exponents).astype(d)
    return made(array, requires_grad, device) if out is None else into(out, array)


# Like another tensor


def _like(name: str, value: int | None, doc: str) -> Callable[..., Tensor]:
    def function(
        input: Tensor,
        *,
        dtype: Dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        if not isinstance(input, tensors.Tensor):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        d = input.array.dtype if dtype is None else arguments.numpy_dtype(dtype)
        return made(_filled_array(input.array.shape, d, value), requires_grad, device)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


zeros_like = _like("zeros_like", 0, "Zeros in the shape and dtype of `input`.")
ones_like = _like("ones_like", 1, "Ones in the shape and dtype of `input`.")
empty_like = _like("empty_like", None, "An uninitialised tensor in the shape and dtype of `input`.")


def full_like(input: Tensor, fill_value: Any, *, dtype: Dtype | None = None, **options: Any) -> Tensor:
    """`fill_value` in the shape and dtype of `input`."""
    options.pop("memory_format", None)
    return full(tuple(input.array.shape), fill_value, dtype=dtype or input.dtype, **options)


def new_zeros(self: Tensor, *size: Any, dtype: Dtype | None = None, **options: Any) -> Tensor:
    """Zeros of `size` in the dtype of this tensor unless given."""
    return zeros(*size, dtype=dtype or self.dtype, **options)


def new_ones(self: Tensor, *size: Any, dtype: Dtype | None = None, **options: Any) -> Tensor:
    """Ones of `size` in the dtype of this tensor unless given."""
    return ones(*size, dtype=dtype or self.dtype, **options)


def new_empty(self: Tensor, *size: Any, dtype: Dtype | None = None, **options: Any) -> Tensor:
    """An uninitialised tensor of `size` in the dtype of this tensor unless given."""
    return empty(*size, dtype=dtype or self.dtype, **options)


def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Dtype | None = None, **options: Any) -> Tensor:
    """`fill_value` in a tensor of `size`, in the dtype of this tensor unless given."""
    return full(size, fill_value, dtype=dtype or self.dtype, **options)
