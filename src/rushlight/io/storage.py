"""Storages: the flat memory that tensors in a PyTorch file are views of, and the way there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rushlight import dtypes
from rushlight.errors import LoadError

Array: TypeAlias = NDArray[Any]

# PyTorch's storage classes, which name the dtype in a file.
_BY_CLASS = {
    "DoubleStorage": dtypes.float64,
    "FloatStorage": dtypes.float32,
    "HalfStorage": dtypes.float16,
    "BFloat16Storage": dtypes.bfloat16,
    "LongStorage": dtypes.int64,
    "IntStorage": dtypes.int32,
    "ShortStorage": dtypes.int16,
    "CharStorage": dtypes.int8,
    "ByteStorage": dtypes.uint8,
    "BoolStorage": dtypes.bool_,
}
CLASS_OF = {d: name for name, d in _BY_CLASS.items()}


class StorageType(NamedTuple):
    """A storage class as a pickle names it; untyped storages count bytes, and their tensors bring the dtype."""

    dtype: dtypes.dtype | None

    @property
    def itemsize(self) -> int:
        return 1 if self.dtype is None else self.dtype.itemsize


STORAGE_TYPES = {name: StorageType(d) for name, d in _BY_CLASS.items()} | {"UntypedStorage": StorageType(None)}


class Storage:
    """Memory that came from a file; every tensor that the file builds on it shares it."""

    def __init__(self, data: NDArray[np.uint8], type_: StorageType, swapped: bool = False) -> None:
        self.data = data
        self.type = type_
        self._swapped = swapped  # the file's byte order is not this machine's, and has yet to be turned round
        if type_.dtype is not None:
            self._settle(type_.dtype)

    def fill(self, data: bytes, swapped: bool) -> None:
        """Gives a storage that was made beforehand its values."""
        self.data[:] = np.frombuffer(data, np.uint8)
        self._swapped = swapped
        if self.type.dtype is not None:
            self._settle(self.type.dtype)

    def _settle(self, dtype: dtypes.dtype) -> None:
        if self._swapped and dtype.itemsize > 1:
            self.data.view(f"u{dtype.itemsize}").byteswap(inplace=True)
        self._swapped = False
        if dtype is dtypes.bool_:
            np.not_equal(self.data, 0, out=self.data, casting="unsafe")  # any other byte would be a third truth value

    def view(self, offset: Any, size: Any, stride: Any, dtype: dtypes.dtype | None) -> Array:
        """The tensor of this storage that begins at element `offset`; raises LoadError where it would leave it."""
        dtype = dtype or self.type.dtype
        if dtype is None:
            raise LoadError("a tensor on an untyped storage has no dtype")
        if self.type.dtype is None:
            self._settle(dtype)
        size, stride = _integers("size", size), _integers("stride", stride)
        (offset,) = _integers("storage offset", (offset,))
        if len(size) != len(stride):
            raise LoadError(f"a tensor has size {size} but stride {stride}")
        count, itemsize = self.data.size // dtype.itemsize, dtype.itemsize
        if 0 in size:
            return np.empty(size, dtype.numpy)
        end = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True)) + 1
        if end > count:
            raise LoadError(f"a tensor reaches to element {end} of a storage of {count}")
        strides = tuple(step * itemsize for step in stride)
        try:
            array: Array = np.ndarray(size, dtype.numpy, self.data, offset * itemsize, strides)
        except (ValueError, TypeError, OverflowError) as error:
            raise LoadError(f"a tensor of size {size} and stride {stride} can't be made: {error}") from None
        if any(extent > 1 and step == 0 for extent, step in zip(size, stride, strict=True)):
            array.flags.writeable = False  # expanded: several elements share one place
        return array


def _integers(what: str, values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > 64:
        raise LoadError(f"a tensor's {what} isn't a short tuple of integers")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**63:
            raise LoadError(f"a tensor's {what} has {value!r:.40} where an integer from 0 to 2**63 - 1 belongs")
    return tuple(values)


class Placement(NamedTuple):
    """Where a tensor lies in a file: storage number, its dtype and size, then the tensor's offset and strides."""

    key: int
    dtype: dtypes.dtype
    elements: int
    offset: int
    stride: tuple[int, ...]


class Placer:
    """Lays arrays out in storages: arrays of one dtype whose memory overlaps share one, so they still do when loaded.

    A storage holds no more than the stretch of memory that the arrays saved span: a row of a large table is saved
    without the table.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._kept = [_savable(a) for a in arrays]
        self._by_id = {id(a): kept for a, kept in zip(arrays, self._kept, strict=True)}
        self._sources = list(arrays)  # the ids above hold as long as these do
        stretches = sorted(
            (kept.dtype.name, *_bounds(kept), position) for position, kept in enumerate(self._kept) if kept.size
        )
        self._place: dict[int, tuple[int, int, int]] = {}  # id of a kept array -> (storage, begin, end)
        groups: list[tuple[str, int, int, list[int]]] = []
        for name, begin, end, position in stretches:
            if groups and groups[-1][0] == name and begin < groups[-1][2]:
                known = groups[-1]
                groups[-1] = (name, known[1], max(known[2], end), [*known[3], position])
                aligned = (begin - known[1]) % self._kept[position].itemsize == 0
                if aligned:
                    continue
                groups[-1] = known
            groups.append((name, begin, end, [position]))
        groups.sort(key=lambda group: min(group[3]))
        for key, (_, begin, end, positions) in enumerate(groups):
            for position in positions:
                self._place[id(self._kept[position])] = (key, begin, end)
        self.storages = [self._memory(self._kept[p[0]], begin, end) for _, begin, end, p in groups]
        for kept in self._kept:
            if not kept.size and id(kept) not in self._place:
                self._place[id(kept)] = (len(self.storages), 0, 0)
                self.storages.append(np.empty(0, np.uint8))

    @staticmethod
    def _memory(owner: Array, begin: int, end: int) -> NDArray[np.uint8]:
        return np.asarray(_Memory(owner, begin, end - begin))

    def __call__(self, array: Array) -> Placement:
        kept = self._by_id[id(array)]
        key, begin, end = self._place[id(kept)]
        itemsize = kept.itemsize
        offset = (kept.__array_interface__["data"][0] - begin) // itemsize if kept.size else 0
        if kept.size:
            stride = tuple(step // itemsize for step in kept.strides)
        else:
            stride = tuple(int(np.prod([max(n, 1) for n in kept.shape[i + 1 :]])) for i in range(kept.ndim))
        return Placement(key, dtypes.of_numpy(kept.dtype), (end - begin) // itemsize, offset, stride)


class _Memory:
    """A stretch of memory under an array, in NumPy's array interface; keeps the array alive."""

    def __init__(self, owner: Array, begin: int, length: int) -> None:
        self._owner = owner
        self.__array_interface__ = {"data": (begin, True), "shape": (length,), "typestr": "|u1", "version": 3}


def _bounds(array: Array) -> tuple[int, int]:
    begin = int(array.__array_interface__["data"][0])
    last = sum((extent - 1) * step for extent, step in zip(array.shape, array.strides, strict=True))
    return begin, begin + last + array.itemsize


def _savable(array: Array) -> Array:
    """The array, or a copy where PyTorch's strides (whole elements, not negative) can't express it."""
    steps = [step for extent, step in zip(array.shape, array.strides, strict=True) if extent > 1]
    if any(step < 0 or step % array.itemsize for step in steps) or not array.dtype.isnative:
        return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(array.shape)
    return array
