"""`save` and `load`: checkpoints as data, and whole modules, in PyTorch's file format or as safetensors."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rushlight import dtypes
from rushlight.errors import DeviceError, LoadError, SaveError
from rushlight.tensor.tensor import Tensor, wrap

if TYPE_CHECKING:
    from rushlight.io.pickle_reader import Names

FileLike: TypeAlias = "str | os.PathLike[str] | IO[bytes]"

safe_globals: list[Any] = []
"""The classes and functions that files may name though they are loaded with weights_only=True."""


def save(
    obj: object,
    f: FileLike,
    pickle_module: object = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Writes an object to a file: state dicts, checkpoints, tensors, whole modules.

    A name that ends in `.safetensors` takes a flat dict of tensors in that format; any other file is PyTorch's zip
    format, which `torch.load` reads. Tensors that share memory still do when they are loaded (in safetensors each gets
    its own). The file appears whole or not at all: it is written beside its place, flushed, and renamed.

    Args:
        obj: tensors, parameters, numbers, strings, bytes, None, dtypes, sizes, NumPy arrays, modules, objects of
            classes of your own, and dicts, lists, tuples and sets of these, nested at will. Of modules and objects the
            file has the attributes, and the names of their classes and functions: no code.
        f: a path, or a file open for writing bytes.
        pickle_module: taken for PyTorch's sake; the writer is always our own.
        pickle_protocol: taken for PyTorch's sake; the protocol is always 2, PyTorch's default.
        _use_new_zipfile_serialization: taken for PyTorch's sake; it reads the zip format since version 1.4.

    Raises:
        SaveError: for what can't be read again without running code from the file, such as a lambda, or an object of
            a class that isn't at the top of a module; it says where in `obj` it is.
    """
    if not isinstance(f, str | os.PathLike):
        if not hasattr(f, "write"):
            raise TypeError(f"save: expected a path or a file open for writing, not {type(f).__name__}")
        _write_archive(obj, f, "archive")
        return
    path = os.fspath(f)
    if path.endswith(".safetensors"):
        tensors = _flat(obj)
        replace_file(path, lambda part: _write_safetensors(tensors, part))
    else:
        stem = os.path.splitext(os.path.basename(path))[0] or "archive"
        replace_file(path, lambda part: _write_archive(obj, part, stem))


def _write_archive(obj: object, target: str | IO[bytes], stem: str) -> None:
    from rushlight.io.archive import write_archive

    if isinstance(target, str):
        with open(target, "wb") as file:
            write_archive(obj, file, stem)
    else:
        write_archive(obj, target, stem)


def load(
    f: FileLike,
    map_location: object = None,
    pickle_module: object = None,
    *,
    weights_only: bool | None = True,
    mmap: bool | None = None,
    **pickle_load_args: object,
) -> Any:
    """Reads a file that `save` or `torch.save` wrote (since 1.6 or before), or a safetensors file.

    Nothing in a file is ever imported or called. What it holds beyond tensors and plain objects is refused, unless
    weights_only is False.

    Args:
        f: a path, or a file open for reading bytes.
        map_location: the CPU, which is where tensors go in any case, whatever device they were saved from.
        pickle_module: taken for PyTorch's sake; the reader is always our own.
        weights_only: False reads whole modules and objects of your own classes, too. Their classes are looked up by
            name in the modules that are imported, `__main__` included; none of their methods is called, they get the
            attributes that the file has. Besides, attributes may be classes of modules, functions of your own, and
            functions on tensors.
        mmap: taken for PyTorch's sake.
        pickle_load_args: taken for PyTorch's sake.

    Raises:
        LoadError: for a file that is damaged, cut short or hostile, that holds more than it may, or an object whose
            class isn't there; it names the file and the cause.
        OSError: where the file can't be opened or read.
    """
    _check_location(map_location)
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return _load(file, f"'{os.fspath(f)}'", weights_only is not False, os.fspath(f))
    if not hasattr(f, "read"):
        raise TypeError(f"load: expected a path or a file open for reading, not {type(f).__name__}")
    name = getattr(f, "name", None)
    if not (hasattr(f, "seek") and hasattr(f, "tell")):
        f = BytesIO(f.read())
    return _load(f, f"'{name}'" if isinstance(name, str) else "the file", weights_only is not False)


def _check_location(location: object) -> None:
    places = location.values() if isinstance(location, dict) else [location]
    for place in places:
        if place is not None and not isinstance(place, Callable) and str(place).split(":")[0] != "cpu":  # type: ignore[arg-type]
            raise DeviceError(f"load: map_location={place!r} isn't there; tensors are loaded to 'cpu', the only device")


def _load(file: IO[bytes], name: str, weights_only: bool, path: str | None = None) -> Any:
    try:
        begin = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(begin)
        head = file.read(9)
        file.seek(begin)
        if not head:
            raise LoadError("the file is empty")
        if head[:4] == b"PK\x03\x04":
            from rushlight.io.archive import read_archive

            return read_archive(file, size, _names(weights_only))
        if len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - begin - 8:
            return _read_safetensors(file, path)
        from rushlight.io.legacy import read_legacy

        return read_legacy(file, _names(weights_only))
    except LoadError as error:
        raise LoadError(f"can't load {name}: {error}") from None
    except OSError:
        raise
    except Exception as error:
        # Whatever a hostile file provokes in the libraries below is this one error.
        raise LoadError(f"can't load {name}, it is damaged: {type(error).__name__}: {error}") from error


def _names(weights_only: bool) -> Names:
    """What names in a file stand for."""
    if weights_only and not safe_globals:
        from rushlight.io.names import DataNames

        return DataNames()
    from rushlight.io.modules import ObjectNames

    return ObjectNames(safe_globals if weights_only else None)


# safetensors


def _flat(obj: object) -> dict[str, np.ndarray[Any, Any]]:
    if not isinstance(obj, dict):
        raise SaveError(f"save: a .safetensors file takes a flat dict of tensors, not a {type(obj).__name__}")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for key, value in obj.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise SaveError(
                f"save: a .safetensors file takes a flat dict from strings to tensors, but obj[{key!r:.60}] is a "
                f"{type(value).__name__}; a name that ends in .pt takes nested and other values"
            )
        arrays[key] = np.ascontiguousarray(value.array).reshape(value.array.shape)
    return arrays


def _write_safetensors(arrays: dict[str, np.ndarray[Any, Any]], path: str) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise SaveError(f"save: safetensors refuses: {error}") from None


def _read_safetensors(file: IO[bytes], path: str | None) -> dict[str, Tensor]:
    from safetensors import deserialize, safe_open

    if path is not None:
        with safe_open(path, framework="numpy") as tensors:
            arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 (it's no dict)
    else:
        arrays = {}
        for name, entry in deserialize(file.read()):  # type: ignore[no-untyped-call]
            if entry["dtype"] not in _SAFETENSORS_DTYPES:
                raise LoadError(f"tensor {name!r} is of dtype {entry['dtype']}, which there is none of here")
            dtype = _SAFETENSORS_DTYPES[entry["dtype"]].numpy
            arrays[name] = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    for array in arrays.values():
        dtypes.of_numpy(array.dtype)  # raises for those that tensors don't have
    return {name: wrap(array) for name, array in arrays.items()}


_SAFETENSORS_DTYPES = {
    "F64": dtypes.float64,
    "F32": dtypes.float32,
    "F16": dtypes.float16,
    "BF16": dtypes.bfloat16,
    "I64": dtypes.int64,
    "I32": dtypes.int32,
    "I16": dtypes.int16,
    "I8": dtypes.int8,
    "U8": dtypes.uint8,
    "BOOL": dtypes.bool_,
}


# Files that appear whole or not at all


def replace_file(path: str, write: Callable[[str], None]) -> None:
    """Calls `write` with the name of a new file that then takes the place of `path`; if it fails, the old one stays."""
    path = os.path.realpath(path)
    mode = _mode_of(path)
    if mode is not None and not stat.S_ISREG(mode):  # a device or a pipe: there is nothing to replace
        write(path)
        return
    directory, name = os.path.split(path)
    part = os.path.join(directory, f".{name[:100]}.{os.urandom(8).hex()}.part")
    try:
        write(part)
        _flush(part)
        if mode is not None:
            os.chmod(part, stat.S_IMODE(mode))
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    with suppress(OSError):  # makes the renaming last, where the system has directories that can be flushed
        _flush(directory)


def _flush(path: str) -> None:
    flags = os.O_RDWR if os.name == "nt" else os.O_RDONLY
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None
