"""Questions about tensors and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight import dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.tensor import conversion, legacy, storage
from rushlight.tensor import tensor as tensors

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, tensors.Tensor)


def is_storage(obj: Any) -> bool:
    """Whether `obj` is the memory of a tensor, from its `storage()` or `untyped_storage()`."""
    return isinstance(obj, (storage.TypedStorage, storage.UntypedStorage))


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex: never here."""
    return False


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.array.dtype.kind not in "ub"


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode and is closed to autograd: never here."""
    return False


def is_neg(input: Tensor) -> bool:
    """Whether the tensor is a view that negates: never here."""
    return False


def is_conj(input: Tensor) -> bool:
    """Whether the tensor is a view of conjugates: never here."""
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element isn't zero."""
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return bool(input.array.shape == other.array.shape)


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same memory in the same shape, with the same strides."""
    a, b = self.array, tensor.array
    place = "__array_interface__"
    return (a.shape, a.strides, getattr(a, place)["data"]) == (b.shape, b.strides, getattr(b, place)["data"])


def get_device(input: Tensor) -> int:
    """The number of the device: -1, which stands for the CPU."""
    return -1


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.array.size


def typename(obj: Any) -> str:
    """The name of a tensor's type, such as 'torch.FloatTensor', or of an object's class with its module."""
    if isinstance(obj, tensors.Tensor):
        return f"torch.{conversion.LEGACY_NAMES[obj.dtype]}"
    cls = obj if hasattr(obj, "__qualname__") else type(obj)
    module = "" if cls.__module__ in ("builtins", "__builtin__", None) else f"{cls.__module__}."
    return f"{module}{cls.__qualname__}"


def result_type(tensor1: Any, tensor2: Any) -> Dtype:
    """The dtype of an operation on two tensors or numbers, as PyTorch promotes them."""
    operands = [t.array if isinstance(t, tensors.Tensor) else t for t in (tensor1, tensor2)]
    return dtypes.of_numpy(dtypes.result_type(*operands))


def set_default_tensor_type(t: Any) -> None:
    """Sets the default dtype by a tensor type, such as `FloatTensor` or 'torch.DoubleTensor'."""
    if isinstance(t, str):
        t = getattr(legacy, t.removeprefix("torch."))
    dtypes.set_default_dtype(t.dtype)
