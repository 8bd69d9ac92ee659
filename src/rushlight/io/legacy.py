"""The format of PyTorch before 1.6: pickles one after another, then the storages. It is read, and not written."""

from __future__ import annotations

import struct
import sys
from typing import IO, Any

import numpy as np

from rushlight.errors import LoadError
from rushlight.io.pickle_reader import Names, PickleReader
from rushlight.io.storage import Storage, StorageType

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_legacy(file: IO[bytes], names: Names) -> Any:
    """The object in a file of the old format. Raises LoadError for one that is damaged or more than it may be."""
    return _Legacy(file.read(), names).read()


class _Legacy:
    def __init__(self, data: bytes, names: Names) -> None:
        self._data = data
        self._names = names
        self._position = 0
        self._storages: dict[str, tuple[Storage, int]] = {}
        self._taken = 0
        self._swapped = False

    def read(self) -> Any:
        try:
            magic = self._pickle()
        except LoadError:
            magic = None
        if magic != _MAGIC:
            raise LoadError("this is no file of PyTorch's (neither a zip archive nor the older format) nor safetensors")
        version = self._pickle()
        if version != _PROTOCOL:
            raise LoadError(f"the file is of version {version!r:.40}; known is {_PROTOCOL}")
        system = self._pickle()
        if isinstance(system, dict):
            self._swapped = system.get("little_endian", True) is not (sys.byteorder == "little")
        value = self._pickle()
        keys = self._pickle()
        if not isinstance(keys, list):
            raise LoadError("the file has no list of its storages")
        for key in keys:
            self._fill(key)
        if self._storages.keys() - set(keys):
            raise LoadError("the file lacks some of its storages")
        return value

    def _pickle(self) -> Any:
        reader = PickleReader(self._data, self._names, self._persistent, self._position)
        value = reader.read()
        self._position = reader.position
        return value

    def _persistent(self, identity: Any) -> Any:
        match identity:
            case ("storage", StorageType() as kind, str(key), str(), int(count), *rest) if kind.dtype is not None:
                pass
            case ("module", type() as kind, *_):  # a class of modules, its file and its source
                return kind
            case _:
                raise LoadError("the pickle has a reference that isn't to a storage")
        if rest and rest[0] is not None:
            raise LoadError("the file has a storage that is a view of another, as only very old files do")
        if key in self._storages:
            storage, known = self._storages[key]
            if storage.type != kind or known != count:
                raise LoadError(f"storage {key} is described in two ways")
            return storage
        # The memory follows the pickle: it is taken now, if that many bytes are there, and filled later.
        self._taken += count * kind.itemsize
        if count < 0 or self._taken > len(self._data):
            raise LoadError(f"storage {key} has {count} elements, more than the file")
        storage = Storage(np.zeros(count * kind.itemsize, np.uint8), kind)
        self._storages[key] = storage, count
        return storage

    def _fill(self, key: Any) -> None:
        if not isinstance(key, str) or key not in self._storages:
            raise LoadError("the file has a storage that nothing refers to")
        storage, count = self._storages[key]
        header, end = self._position + 8, self._position + 8 + storage.data.size
        if end > len(self._data):
            raise LoadError("the file is cut short")
        layout = "<q" if (sys.byteorder == "little") is not self._swapped else ">q"
        (written,) = struct.unpack(layout, self._data[header - 8 : header])
        if written != count:
            raise LoadError(f"storage {key} has {written} elements where {count} belong")
        storage.fill(self._data[header:end], self._swapped)
        self._position = end
