"""From a tensor to something else: another dtype or layout, Python numbers, NumPy arrays, copies, pickles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import DtypeError, InputError, ShapeError
from rushlight.ops import movement
from rushlight.ops.declare import routing
from rushlight.tensor import arguments
from rushlight.tensor import device as devices
from rushlight.tensor import layout as layouts
from rushlight.tensor import tensor as tensors
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

# Dtypes and devices


def to(
    self: Tensor,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    other: Tensor | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """The tensor in another dtype or on another device, given in any order or as another tensor; itself if it fits.

    Raises DeviceError for a device that isn't there.
    """
    for argument in args:
        if isinstance(argument, Dtype):
            dtype = argument
        elif isinstance(argument, tensors.Tensor):
            other = argument
        elif isinstance(argument, (str, devices.device)) or type(argument) is int:
            device = argument
        elif argument is float or argument is bool or argument is int:
            dtype = argument
        elif argument is not None and not isinstance(argument, bool):
            raise TypeError(f"to() received an invalid argument of type {type(argument).__name__}")
    if device is not None:
        devices.check_device(device)
    wanted = self.array.dtype
    if other is not None:
        wanted = other.array.dtype
    if dtype is not None:
        wanted = arguments.numpy_dtype(dtype)
    if wanted != self.array.dtype:
        return movement.cast(self, dtype=dtypes.of_numpy(wanted))  # type: ignore[no-any-return]
    return self.clone() if copy else self


def _cast(name: str, dtype: Dtype) -> Any:
    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        return self if self.array.dtype == dtype.numpy else movement.cast(self, dtype=dtype)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The tensor as {dtype.name}; itself if it is that already."
    return method


float_ = _cast("float", dtypes.float32)
double = _cast("double", dtypes.float64)
half = _cast("half", dtypes.float16)
bfloat16 = _cast("bfloat16", dtypes.bfloat16)
long = _cast("long", dtypes.int64)
int_ = _cast("int", dtypes.int32)
short = _cast("short", dtypes.int16)
char = _cast("char", dtypes.int8)
byte = _cast("byte", dtypes.uint8)
bool_ = _cast("bool", dtypes.bool_)

LEGACY_NAMES = {
    dtypes.float32: "FloatTensor", dtypes.float64: "DoubleTensor", dtypes.float16: "HalfTensor",
    dtypes.bfloat16: "BFloat16Tensor", dtypes.int64: "LongTensor", dtypes.int32: "IntTensor",
    dtypes.int16: "ShortTensor", dtypes.int8: "CharTensor", dtypes.uint8: "ByteTensor", dtypes.bool_: "BoolTensor",
}  # fmt: skip


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Without an argument the name of the tensor's type, 'torch.FloatTensor'; else the tensor in that dtype."""
    if dtype is None:
        return f"torch.{LEGACY_NAMES[self.dtype]}"
    if isinstance(dtype, str):
        name = dtype.removeprefix("torch.")
        if name.startswith("cuda."):
            devices.check_device("cuda")
        for candidate, legacy in LEGACY_NAMES.items():
            if name == legacy:
                return self.to(candidate)
        raise ValueError(f"invalid type: '{dtype}'")
    legacy_dtype = getattr(dtype, "dtype", None)
    return self.to(legacy_dtype if isinstance(legacy_dtype, Dtype) else dtype)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of `other`."""
    return self.to(other.dtype)


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself: it is on the CPU."""
    return self


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """Raises DeviceError, which says what can be done instead."""
    devices.check_device("cuda" if device is None else device)
    return self


def is_never(self: Tensor, *args: Any) -> bool:
    """False: tensors are in ordinary memory."""
    return False


# Copies


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy, through which gradients flow.

    It has the strides of `input` where that has no gaps, else, and where memory_format is contiguous_format, its
    elements lie in order.
    """
    if memory_format is layouts.contiguous_format or 0 in input.array.strides:
        return movement.clone(input, row_major=True)  # type: ignore[no-any-return]
    return movement.clone(input)  # type: ignore[no-any-return]


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself where its elements lie in order and without gaps, else a copy of which that is true."""
    return self if self.array.flags.c_contiguous else movement.clone(self, row_major=True)


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in order and without gaps."""
    return bool(self.array.flags.c_contiguous)


# Python numbers and NumPy arrays


def item(self: Tensor) -> Any:
    """The value of a tensor of one element, as a Python number; raises RuntimeError for more elements."""
    array = values_of(self, "item")
    if array.size != 1:
        raise ShapeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
    return tolist(self.reshape(())) if array.dtype == _bfloat16() else array.item()


def _bfloat16() -> Any:
    """The NumPy dtype of bfloat16; as long as no tensor is of that, one that no tensor is of."""
    return dtypes.bfloat16._numpy or _NO_DTYPE  # a NumPy float64 equals None


_NO_DTYPE = np.dtype(object)


def tolist(self: Tensor) -> Any:
    """The values as nested lists of Python numbers; a number for a 0-d tensor."""
    array = values_of(self, "tolist")
    return (array.astype(np.float32) if array.dtype == _bfloat16() else array).tolist()


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray[Any, Any]:
    """A NumPy array that shares the tensor's memory; raises RuntimeError where a gradient is required.

    force: detach first.
    """
    if self.requires_grad and not force:
        raise InputError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self.array.dtype == _bfloat16():
        raise DtypeError("numpy(): NumPy has no bfloat16 of its own; use tensor.float().numpy() instead")
    return values_of(self, "numpy")


def array_protocol(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
    """`numpy.asarray(tensor)` shares the memory."""
    if self.requires_grad:
        raise InputError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    array = values_of(self, "numpy.asarray")
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError("this dtype can't be had without a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def array_wrap(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """NumPy's functions of a tensor give a tensor."""
    return tensors.wrap(np.asarray(array))


def dlpack(self: Tensor, **options: Any) -> Any:
    """The tensor's memory for another library."""
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    array = values_of(self, "__dlpack__")
    return array.__dlpack__(**options)


def dlpack_device(self: Tensor) -> tuple[Any, int]:
    """The CPU, in DLPack's numbers."""
    return self.array.__dlpack_device__()


def truth(self: Tensor) -> bool:
    """Whether the one element isn't zero; raises RuntimeError for other sizes."""
    if self.array.size != 1:
        if self.array.size == 0:
            raise InputError("Boolean value of Tensor with no values is ambiguous")
        raise InputError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(values_of(self, "bool").item())


def to_float(self: Tensor) -> float:
    """The one element as a float."""
    return float(item(self))


def to_int(self: Tensor) -> int:
    """The one element as an int."""
    return int(item(self))


def to_complex(self: Tensor) -> complex:
    """The one element as a complex number."""
    return complex(item(self))


def to_index(self: Tensor) -> int:
    """The one element of an integer tensor, to index Python sequences with."""
    if self.array.size != 1 or self.array.dtype.kind not in "iub":
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(values_of(self, "int").item())


# copy and pickle


def deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A copy with memory of its own; raises RuntimeError for a tensor inside the graph."""
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
            "Use clone() or detach() first"
        )
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    memo[id(self)] = result = tensors.wrap(values_of(self, "deepcopy").copy("K"), type(self))
    result._requires_grad = self._requires_grad
    if self.grad is not None:
        result.grad = deepcopy(self.grad, memo)
    _copy_attributes(self, result, memo)
    return result


_FIELDS = frozenset(["_hooks", "_post_hooks"])


def _copy_attributes(source: Tensor, target: Tensor, memo: dict[int, Any]) -> None:
    """What the user, or a subclass, added to the tensor."""
    import copy

    for name, value in source.__dict__.items():
        if name not in _FIELDS:
            target.__dict__[name] = copy.deepcopy(value, memo)


def reduce(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    """Tensors are pickled by their values, `requires_grad` and what was added to them."""
    added = {k: v for k, v in self.__dict__.items() if k not in _FIELDS}
    array = values_of(self, "pickle")
    bits = array.view(np.uint16) if array.dtype == _bfloat16() and array.ndim else None
    array = np.ascontiguousarray(array).reshape(array.shape) if bits is None else array
    return rebuild, (type(self), array, self.requires_grad, added)


def rebuild(cls: type[Tensor], array: np.ndarray[Any, Any], requires_grad: bool, added: dict[str, Any]) -> Tensor:
    """The tensor that `reduce` took apart."""
    result = tensors.wrap(array, cls)
    result._requires_grad = requires_grad
    result.__dict__.update(added)
    return result


# Overwriting all elements


def to_dense(self: Tensor, dtype: Dtype | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself; see `SparseTensor.to_dense`."""
    return self if dtype is None else self.to(dtype)


def to_sparse(self: Tensor, sparse_dim: int | None = None, *, layout: Any = None) -> Any:
    """The entries that aren't zero, a `sparse.SparseTensor`; over the first `sparse_dim` dimensions."""
    from rushlight.sparse import from_dense

    return from_dense(self, sparse_dim)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Overwritten by `src`, which is broadcast and cast to fit."""
    return movement.assign(self, src if isinstance(src, tensors.Tensor) else tensors.wrap(src), out=self)  # type: ignore[no-any-return]


def fill_(self: Tensor, value: Any) -> Tensor:
    """All elements set to `value`."""
    if isinstance(value, tensors.Tensor) and value.array.ndim:
        raise InputError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
    return _filled("fill_", self, value)


def zero_(self: Tensor) -> Tensor:
    """All elements set to 0."""
    return _filled("zero_", self, 0)


def _filled(name: str, tensor: Tensor, value: Any) -> Tensor:
    if type(value) not in (int, float) or tensor._base is not None or tensor._requires_grad or routing.tracing:
        return movement.assign(tensor, value, out=tensor)  # type: ignore[no-any-return]
    from rushlight.autograd.eager import overwriting

    array = overwriting(name, tensor)  # nothing to record
    movement.assign.inplace_rule(array, value)  # type: ignore[misc]
    return tensor


def apply_(self: Tensor, callable: Any) -> Tensor:
    """Every element replaced by `callable(element)`; slow, and without gradients."""
    values = [callable(value) for value in self.array.reshape(-1).tolist()]
    self.data.copy_(tensors.wrap(np.asarray(values, self.array.dtype).reshape(self.array.shape)))
    return self


def map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Every element replaced by `callable(element, element of tensor)`; slow, and without gradients."""
    other = np.broadcast_to(tensor.array, self.array.shape)
    pairs = zip(self.array.reshape(-1).tolist(), other.reshape(-1).tolist(), strict=True)
    values = [callable(a, b) for a, b in pairs]
    self.data.copy_(tensors.wrap(np.asarray(values, self.array.dtype).reshape(self.array.shape)))
    return self


def set_(self: Tensor, source: Tensor | None = None) -> Tensor:
    """The tensor itself with the memory of another one, or none."""
    self.array = np.empty(0, self.array.dtype) if source is None else source.array
    return self


def detach(input: Tensor) -> Tensor:
    """The same memory, outside the graph."""
    return input.detach()
