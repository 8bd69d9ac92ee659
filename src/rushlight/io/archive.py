"""PyTorch's zip archives: one pickle of the object, one record of raw memory for each storage.

A record lies in the file as it is in memory, at a multiple of 64 bytes. When read, every size is held against the
bytes that are there before memory is taken, and each record against its checksum.
"""

from __future__ import annotations

import struct
import sys
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rushlight import dtypes
from rushlight.errors import LoadError
from rushlight.io.pickle_reader import Names, PickleReader
from rushlight.io.pickle_writer import PickleWriter
from rushlight.io.storage import Array, Placement, Placer, Storage, StorageType

_ALIGNMENT = 64


def write_archive(value: Any, file: IO[bytes], name: str = "archive") -> None:
    """Writes `value` into `file`, in a folder `name` within the archive. Raises SaveError for what isn't data."""
    arrays: list[Array] = []

    def note(array: Array) -> Placement:
        arrays.append(array)
        return Placement(0, dtypes.of_numpy(array.dtype), 0, 0, ())

    PickleWriter(note).write(value)  # finds the arrays, so that those that share memory are known beforehand
    placer = Placer(arrays)
    pickle = PickleWriter(placer).write(value)
    with zipfile.ZipFile(file, "w") as archive:
        _write_record(archive, f"{name}/data.pkl", pickle)
        _write_record(archive, f"{name}/byteorder", sys.byteorder.encode())
        for key, storage in enumerate(placer.storages):
            _write_record(archive, f"{name}/data/{key}", storage.data)
        _write_record(archive, f"{name}/version", b"3\n")


def _write_record(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    info = zipfile.ZipInfo(name)  # the date stays at 1980: the same object gives the same bytes
    info.file_size = len(data)
    encoded = len(name.encode())
    wide = len(data) * 1.05 > zipfile.ZIP64_LIMIT  # zipfile then writes an extra field of 20 bytes before ours
    assert archive.fp is not None
    begin = archive.fp.tell() + 30 + encoded + (20 if wide else 0) + 4
    info.extra = b"FB" + struct.pack("<H", -begin % _ALIGNMENT) + b"Z" * (-begin % _ALIGNMENT)
    with archive.open(info, "w") as record:
        record.write(data)


def read_archive(file: IO[bytes], size: int, names: Names) -> Any:
    """The object in an archive, `size` bytes long. Raises LoadError for one that is damaged or more than it may be."""
    try:
        return _Archive(file, size).read(names)
    except zipfile.BadZipFile as error:
        raise LoadError(f"the zip archive is damaged or cut short: {error}") from None


class _Archive:
    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        self._taken = 0
        self._storages: dict[str, Storage] = {}
        with zipfile.ZipFile(file) as directory:
            self._records = {info.filename: info for info in directory.infolist()}
        pickles = [n for n in self._records if n == "data.pkl" or (n.endswith("/data.pkl") and n.count("/") == 1)]
        if len(pickles) != 1:
            raise LoadError("the zip archive holds no data.pkl: it isn't one of PyTorch's")
        self._folder = pickles[0].removesuffix("data.pkl")
        if self._folder + "constants.pkl" in self._records:
            raise LoadError(
                "this is a TorchScript archive, a program rather than data; save its state_dict() in PyTorch"
            )
        order = self._content("byteorder") if self._folder + "byteorder" in self._records else b"little"
        if order not in (b"little", b"big"):
            raise LoadError(f"the byte order is {order!r:.40}")
        self._swapped = order.decode() != sys.byteorder

    def read(self, names: Names) -> Any:
        return PickleReader(self._content("data.pkl"), names, self._persistent).read()

    def _content(self, name: str) -> bytes:
        return self._record(name).tobytes()

    def _record(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a record, checked."""
        info = self._records.get(self._folder + name)
        if info is None:
            raise LoadError(f"the archive has no record {name!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise LoadError(f"record {name!r} is compressed or encrypted, which PyTorch's never are")
        self._file.seek(info.header_offset)
        header = self._file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise LoadError(f"record {name!r} has no header")
        begin = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        if begin + info.file_size > self._size:
            raise LoadError(f"record {name!r} has {info.file_size} bytes, more than are there")
        self._taken += info.file_size
        if self._taken > self._size:
            raise LoadError("the records have more bytes together than the file: they overlap")
        data = np.empty(info.file_size, np.uint8)
        self._file.seek(begin)
        read_into(self._file, data)
        # PyTorch can be told to write no checksums, and then writes 0.
        if info.CRC and zlib.crc32(data.data) != info.CRC:
            raise LoadError(f"record {name!r} is damaged: its checksum is wrong")
        return data

    def _persistent(self, identity: Any) -> Storage:
        match identity:
            case ("storage", StorageType() as kind, str(key), str(), int(count), *_):
                pass
            case _:
                raise LoadError("the pickle has a reference that isn't to a storage")
        storage = self._storages.get(key)
        if storage is None:
            storage = Storage(self._record(f"data/{key}"), kind, self._swapped)
            self._storages[key] = storage
        elif storage.type != kind:
            raise LoadError(f"storage {key} is of two dtypes")
        if count < 0 or count * kind.itemsize > storage.data.size:
            raise LoadError(f"storage {key} has {storage.data.size} bytes where {count} elements belong")
        return storage


def read_into(file: IO[bytes], data: NDArray[np.uint8]) -> None:
    """Fills `data` from the file; raises LoadError where it ends first."""
    target = data.data
    while target:
        if hasattr(file, "readinto"):
            count = file.readinto(target)
        else:
            piece = file.read(len(target))
            count = len(piece)
            target[:count] = piece
        if not count:
            raise LoadError("the file is cut short")
        target = target[count:]
