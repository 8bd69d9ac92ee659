"""The memory behind tensors, as PyTorch shows it: `x.storage()` and `x.untyped_storage()`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


def _memory(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array that owns the memory of `array`, as one dimension in the order of the memory."""
    owner = array
    while isinstance(owner.base, np.ndarray) and owner.base.dtype == array.dtype:
        owner = owner.base
    return owner.ravel(order="K")


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


class TypedStorage:
    """One-dimensional memory of elements of one dtype, which tensors are views of. Writing into it changes them."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._memory = _memory(array)

    @property
    def dtype(self) -> Any:
        """The dtype of the elements."""
        return dtypes.of_numpy(self._memory.dtype)

    def __len__(self) -> int:
        return int(self._memory.size)

    def size(self) -> int:
        """The number of elements."""
        return len(self)

    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self._memory.nbytes)

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.nbytes()

    def element_size(self) -> int:
        """The number of bytes of an element."""
        return int(self._memory.itemsize)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return _address(self._memory)

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._memory)

    def tolist(self) -> list[Any]:
        """The elements, as Python numbers."""
        elements: list[Any] = self._memory.tolist()
        return elements

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        found = self._memory[index]
        return TypedStorage(found) if isinstance(found, np.ndarray) else found.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        self._memory[index] = value

    def _check(self, index: Any) -> None:
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise DimensionError(f"index {index} out of range for storage of size {len(self)}")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __repr__(self) -> str:
        elements = "\n ".join(str(value) for value in self.tolist())
        kind = f"torch.storage.TypedStorage(dtype={self.dtype}, device=cpu)"
        return f" {elements}\n[{kind} of size {len(self)}]"


class UntypedStorage:
    """The bytes of memory that tensors are views of."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._bytes = _memory(array).view(np.uint8)

    def __len__(self) -> int:
        return int(self._bytes.size)

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.size()

    def size(self) -> int:
        """The number of bytes."""
        return len(self)

    nbytes = size

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return _address(self._bytes)

    def tolist(self) -> list[int]:
        """The bytes."""
        values: list[int] = self._bytes.tolist()
        return values

    def __getitem__(self, index: int) -> int:
        return int(self._bytes[index])

    def __repr__(self) -> str:
        elements = "\n ".join(str(value) for value in self.tolist())
        return f" {elements}\n[torch.storage.UntypedStorage(device=cpu) of size {len(self)}]"


def storage(self: Tensor) -> TypedStorage:
    """The memory that this tensor is a view of, element by element."""
    return TypedStorage(self.array)


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that this tensor is a view of, byte by byte."""
    return UntypedStorage(self.array)
