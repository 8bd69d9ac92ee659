"""PyTorch's older constructors: Tensor(2, 3), FloatTensor([1, 2])."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rushlight import core, dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.tensor import arguments
from rushlight.tensor import tensor as tensors
from rushlight.tensor.data import array_of
from rushlight.tensor.device import check_device
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def legacy_tensor(cls: type[Tensor], *size: Any, device: Any = None, dtype: Dtype | None = None) -> Tensor:
    """`Tensor(2, 3)`: uninitialised, of these sizes; `Tensor([1, 2])`: the data in the default dtype."""
    check_device(device)
    wanted = dtype or dtypes.get_default_dtype()
    array: np.ndarray[Any, Any]
    if len(size) == 1 and not isinstance(size[0], int):
        data = size[0]
        if isinstance(data, tensors.Tensor):
            array = data.array if data.dtype is wanted else values_of(data, "Tensor").astype(wanted.numpy)
        elif type(data).__name__ == "Size":
            array = core.empty(tuple(data), wanted.numpy)
        elif isinstance(data, (float, str)) or not (hasattr(data, "__len__") or hasattr(data, "__array__")):
            try:
                array = core.empty(arguments.size("new", size), wanted.numpy)
            except TypeError:
                raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})") from None
        else:
            array = np.array(array_of(data, wanted), order="C")
    elif not size:
        array = np.empty(0, wanted.numpy)
    else:
        array = core.empty(arguments.size("new", size), wanted.numpy)
    return tensors.wrap(array, cls)


def new(self: Tensor, *size: Any, device: Any = None) -> Tensor:
    """`Tensor(...)` in the dtype of this one."""
    return legacy_tensor(tensors.Tensor, *size, device=device, dtype=self.dtype)


class _LegacyType(type):
    """The metaclass of FloatTensor and its kin: `isinstance(x, FloatTensor)` goes by the dtype."""

    dtype: Dtype

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, tensors.Tensor) and instance.dtype is cls.dtype


def _legacy(name: str, dtype: Dtype) -> type:
    def new(cls: type, *size: Any, device: Any = None) -> Tensor:
        return legacy_tensor(tensors.Tensor, *size, device=device, dtype=cast(_LegacyType, cls).dtype)

    doc = f"`{name}(2, 3)` is an uninitialised {dtype.name} tensor, `{name}([1, 2])` one with this data."
    return _LegacyType(name, (), {"__new__": new, "dtype": dtype, "__doc__": doc, "__module__": "torch"})


FloatTensor = _legacy("FloatTensor", dtypes.float32)
DoubleTensor = _legacy("DoubleTensor", dtypes.float64)
HalfTensor = _legacy("HalfTensor", dtypes.float16)
BFloat16Tensor = _legacy("BFloat16Tensor", dtypes.bfloat16)
LongTensor = _legacy("LongTensor", dtypes.int64)
IntTensor = _legacy("IntTensor", dtypes.int32)
ShortTensor = _legacy("ShortTensor", dtypes.int16)
CharTensor = _legacy("CharTensor", dtypes.int8)
ByteTensor = _legacy("ByteTensor", dtypes.uint8)
BoolTensor = _legacy("BoolTensor", dtypes.bool_)
