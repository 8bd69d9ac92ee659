"""Tensors made from data: numbers, nested sequences, NumPy arrays, other tensors, memory."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import InputError
from rushlight.ops.declare import routing
from rushlight.tensor import arguments
from rushlight.tensor import tensor as tensors
from rushlight.tensor.device import check_device
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def made(array: np.ndarray[Any, Any], requires_grad: bool = False, device: Any = None) -> Tensor:
    if device is not None:
        check_device(device)
    if routing.tracing is not None:
        routing.tracing.constant(array)
    result = tensors.wrap(array)
    if requires_grad:
        result.requires_grad = True
    return result


def _first_leaf(data: Any) -> Any:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


def _promoted(data: Any) -> Dtype:
    """The dtype of nested numbers: Python's floats count as the default dtype, NumPy's and tensors' keep theirs."""
    if isinstance(data, (np.generic, np.ndarray)):
        return dtypes.of_numpy(data.dtype)
    if isinstance(data, (list, tuple)) and data:
        return functools.reduce(dtypes.promote_types, {_promoted(item) for item in data})
    return dtypes.int64 if isinstance(data, int) else dtypes.get_default_dtype()


def _plain(data: Any) -> Any:
    """Nested lists with the tensors in them as NumPy arrays."""
    if isinstance(data, tensors.Tensor):
        if data.array.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return values_of(data, "tensor").reshape(())[()]
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data


def _holds_tensors(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return any(_holds_tensors(item) for item in data) if data and not isinstance(data[0], (int, float)) else (
            any(isinstance(item, tensors.Tensor) for item in data)
        )  # fmt: skip
    return isinstance(data, tensors.Tensor)


def _ragged(data: Any) -> str | None:
    """What is uneven in nested sequences, in PyTorch's words."""

    def walk(item: Any, dim: int, sizes: list[int]) -> str | None:
        if not isinstance(item, (list, tuple, np.ndarray)):
            return None
        if dim == len(sizes):
            sizes.append(len(item))
        elif len(item) != sizes[dim]:
            return f"expected sequence of length {sizes[dim]} at dim {dim} (got {len(item)})"
        for inner in item:
            found = walk(inner, dim + 1, sizes)
            if found:
                return found
        return None

    return walk(data, 0, [])


def array_of(data: Any, dtype: Dtype | None = None) -> np.ndarray[Any, Any]:
    """`data` (numbers, nested sequences, NumPy arrays, tensors) as a NumPy array, by PyTorch's inference of dtypes.

    Python floats become the default dtype, ints int64; NumPy arrays and scalars keep theirs. Memory is shared where
    the data has memory of the right dtype already.
    """
    if isinstance(data, tensors.Tensor):
        array = values_of(data, "tensor")
    elif isinstance(data, np.ndarray):
        array = data
    elif isinstance(data, np.generic):
        array = np.asarray(data)
    elif hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
        array = _of_numbers(np.asarray(data), data)
    else:
        mixed = _holds_tensors(data)
        data = _numbers(data)
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(_ragged(data) or str(error)) from None
        except OverflowError as error:
            raise ValueError(f"Overflow when unpacking long long: {error}") from None
        array = _of_numbers(array, data)
        if dtype is None and array.dtype == np.float64:
            plain = not mixed and not _is_of_numpy(_first_leaf(data))
            array = array.astype((dtypes.get_default_dtype() if plain else _promoted(data)).numpy, copy=False)
    if dtype is None:
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        dtypes.of_numpy(array.dtype)
        return array
    if array.dtype == dtype.numpy:
        return array
    if array.dtype.kind not in "biuf" and array.dtype not in (dtypes.float16.numpy,) and array.dtype.kind != "V":
        dtypes.of_numpy(array.dtype)
    with np.errstate(all="ignore"):
        return array.astype(dtype.numpy)


def _numbers(data: Any) -> Any:
    """A number, or nested sequences of numbers, of what can be seen as such; raises TypeError or InputError."""
    if isinstance(data, (str, bytes)):
        raise TypeError("new(): invalid data type 'str'")
    if data is None:
        raise InputError("Could not infer dtype of NoneType")
    if not isinstance(data, (int, float, complex, list, tuple)):
        if not isinstance(data, dict) and hasattr(data, "__len__") and hasattr(data, "__getitem__"):
            data = list(data)
        elif hasattr(data, "__index__"):
            data = data.__index__()
        elif hasattr(data, "__float__"):
            data = float(data)
        else:
            raise InputError(f"Could not infer dtype of {type(data).__name__}")
    return _plain(data) if _holds_tensors(data) else data


def _of_numbers(array: np.ndarray[Any, Any], data: Any) -> np.ndarray[Any, Any]:
    """`array`, made of `data`, if it holds numbers; else raises in PyTorch's words."""
    if array.dtype.kind in "OUS":
        uneven = _ragged(data)
        if uneven:
            raise ValueError(uneven)
        leaf = _wrong_leaf(data)
        if isinstance(leaf, int):
            raise ValueError(f"Overflow when unpacking long long: {leaf}")
        if leaf is None:
            raise InputError("Could not infer dtype of NoneType")
        raise TypeError(f"new(): invalid data type '{type(leaf).__name__}'")
    if array.dtype == np.uint64 and not _is_of_numpy(_first_leaf(data)):
        raise ValueError("Overflow when unpacking long long: an int is beyond int64")
    return array


def _is_of_numpy(leaf: Any) -> bool:
    return isinstance(leaf, (np.generic, np.ndarray))


def _wrong_leaf(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        for item in data:
            found = _wrong_leaf(item)
            if found is not Ellipsis:
                return found
        return Ellipsis
    if isinstance(data, (bool, float)) or (isinstance(data, int) and -(2**63) <= data < 2**63):
        return Ellipsis
    return data


def dtype_of(dtype: Any) -> Dtype | None:
    return None if dtype is None else dtypes.of_numpy(arguments.numpy_dtype(dtype))


def tensor(
    data: Any, *, dtype: Dtype | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested sequences, NumPy arrays, tensors.

    Python floats give the default dtype, ints int64, bools bool; `dtype` asks for another. Raises ValueError for
    sequences of uneven lengths, TypeError for data that isn't numbers.
    """
    wanted = dtype_of(dtype)
    array = array_of(data, wanted)
    if isinstance(data, tensors.Tensor) or array is data or array.base is not None or not array.flags.owndata:
        array = np.array(array, order="C")
    check_overflow(data, wanted)
    return made(array, requires_grad, device)


def check_overflow(data: Any, dtype: Dtype | None) -> None:
    if dtype is None or dtype.is_floating_point or dtype is dtypes.bool_:
        return
    if isinstance(data, (bool, int, float)):
        if not math.isfinite(data):
            raise InputError(f"value cannot be converted to type {dtype.name} without overflow")
        limits = np.iinfo(dtype.numpy)
        if not limits.min <= int(data) <= limits.max and not (dtype is dtypes.uint8 and -256 < data < 0):
            raise InputError(f"value cannot be converted to type {dtype.name} without overflow")


def as_tensor(data: Any, dtype: Dtype | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory with a tensor or NumPy array that has the right dtype already."""
    if device is not None:
        check_device(device)
    wanted = dtype_of(dtype)
    if isinstance(data, tensors.Tensor):
        return data if wanted is None else data.to(wanted)
    return tensors.wrap(array_of(data, wanted))


def asarray(
    obj: Any, *, dtype: Dtype | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """As `as_tensor`; `copy=True` always copies, `copy=False` raises ValueError where a copy is needed."""
    result = as_tensor(obj, dtype, device)
    memory = obj.array if isinstance(obj, tensors.Tensor) else obj
    shares = isinstance(memory, np.ndarray) and np.may_share_memory(result.array, memory)
    if copy and shares:
        result = result.clone().detach()
    if copy is False and not shares:
        raise ValueError("asarray(): the data can't be shared, and copy=False forbids a copy")
    elif isinstance(obj, tensors.Tensor) and not requires_grad:
        result = result.detach()
    if requires_grad:
        result.requires_grad_()
    return result


def from_numpy(array: Any) -> Tensor:
    """A tensor that shares the memory of a NumPy array. Raises TypeError for anything else."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtypes.of_numpy(array.dtype)
    return tensors.wrap(array)


def frombuffer(buffer: Any, *, dtype: Dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-dimensional tensor that shares the memory of an object with a buffer."""
    return made(np.frombuffer(buffer, dtype.numpy, count, offset), requires_grad)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares the memory of an object with `__dlpack__`."""
    if isinstance(ext_tensor, tensors.Tensor):
        return ext_tensor.detach()
    return tensors.wrap(np.from_dlpack(ext_tensor))


def scalar_tensor(s: Any, *, dtype: Dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor, of the default dtype unless `dtype` is given."""
    return tensor(s, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


def new_tensor(
    self: Tensor, data: Any, *, dtype: Dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`, in the dtype of this one unless given."""
    return tensor(data, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)
