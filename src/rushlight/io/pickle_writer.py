"""Writes pickles, by our own code: data in the protocol 2 that `torch.load(weights_only=True)` reads, and modules."""

from __future__ import annotations

import collections
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import SaveError
from rushlight.io.storage import CLASS_OF, Array, Placement
from rushlight.tensor.device import device
from rushlight.tensor.size import Size
from rushlight.tensor.tensor import Tensor

_FACTORIES = {dict: "dict", list: "list", set: "set", int: "int", float: "float", tuple: "tuple", str: "str"}


class PickleWriter:
    """Writes one object as a pickle. `place` says where in the file the memory of an array lies."""

    def __init__(self, place: Callable[[Array], Placement]) -> None:
        self._place = place
        self._out = bytearray()
        self._memo: dict[Any, int] = {}
        self._kept: list[Any] = []  # objects in the memo are known by their ids, so they must live
        self._path: list[str] = []

    def write(self, value: Any) -> bytes:
        """The pickle of `value`; raises SaveError for an object that isn't data."""
        self._out += b"\x80\x02"
        try:
            self._save(value)
        except RecursionError:
            raise SaveError("can't save: the object is nested too deeply, or a tuple contains itself") from None
        self._out += b"."
        return bytes(self._out)

    def _save(self, value: Any) -> None:
        if self._get(id(value)):
            return
        handler = _HANDLERS.get(type(value))
        if handler is not None:
            handler(self, value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.generic):
            self._numpy_scalar(value)
        elif isinstance(value, np.ndarray):
            self._numpy_array(value)
        elif isinstance(value, device):
            self._call("torch", "device", (str(value),))
        elif (name := self._spelled(value)) is not None:
            self._global(*name)
        else:
            self._object(value)

    def _spelled(self, value: Any) -> tuple[str, str] | None:
        from rushlight.io.modules import spelled

        try:
            return spelled(value)
        except SaveError as error:
            raise SaveError(f"can't save {self._where()}: {error}") from None

    def _where(self) -> str:
        """The way to what is being saved, as one writes it: obj.layer1.callback."""
        return re.sub(r"\._(?:modules|parameters|buffers)\['(\w+)'\]", r".\1", "obj" + "".join(self._path))

    def _refusal(self, value: Any, why: str) -> SaveError:
        kind = type(value)
        if callable(getattr(value, "state_dict", None)):
            hint = "Save its state_dict() and load that into a new one with load_state_dict()"
        else:
            hint = "Save what it is made of: dicts, lists, tuples, sets, tensors, arrays, numbers, strings, bytes, None"
        return SaveError(f"can't save {self._where()}, a {kind.__module__}.{kind.__qualname__}: {why}. {hint}")

    # The memo: what was written once is referred to from then on, so shared objects stay shared.

    def _get(self, key: Any) -> bool:
        index = self._memo.get(key)
        if index is None:
            return False
        self._out += b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index)
        return True

    def _put(self, key: Any, value: Any = None) -> None:
        index = len(self._memo)
        self._memo[key] = index
        self._kept.append(value)
        self._out += b"q" + bytes([index]) if index < 256 else b"r" + struct.pack("<I", index)

    # Plain values

    def _none(self, _: None) -> None:
        self._out += b"N"

    def _boolean(self, value: bool) -> None:
        self._out += b"\x88" if value else b"\x89"

    def _integer(self, value: int) -> None:
        if 0 <= value < 2**8:
            self._out += b"K" + bytes([value])
        elif 0 <= value < 2**16:
            self._out += b"M" + struct.pack("<H", value)
        elif -(2**31) <= value < 2**31:
            self._out += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(data) < 256:
                self._out += b"\x8a" + bytes([len(data)]) + data
            else:
                self._out += b"\x8b" + struct.pack("<i", len(data)) + data

    def _float(self, value: float) -> None:
        self._out += b"G" + struct.pack(">d", value)

    def _complex(self, value: complex) -> None:
        self._call("__builtin__", "complex", (value.real, value.imag))

    def _string(self, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        if len(data) >= 2**32:
            raise SaveError("can't save: a string of 4 GiB or more")
        self._out += b"X" + struct.pack("<I", len(data)) + data
        self._put(id(value), value)

    def _bytes(self, value: bytes) -> None:
        self._encoded(value)
        self._put(id(value), value)

    def _bytearray(self, value: bytearray) -> None:
        self._call("__builtin__", "bytearray", (bytes(value),))
        self._put(id(value), value)

    def _encoded(self, value: bytes) -> None:
        """Bytes as protocol 2 has them: the text of which they are the Latin-1 encoding."""
        self._call("_codecs", "encode", (value.decode("latin1"), "latin1"))

    # Containers

    def _tuple(self, value: tuple[Any, ...]) -> None:
        if len(value) > 3:
            self._out += b"("
        for position, item in enumerate(value):
            self._item(f"[{position}]", item)
        self._out += (b")", b"\x85", b"\x86", b"\x87")[len(value)] if len(value) <= 3 else b"t"
        if value:
            self._put(id(value), value)

    def _list(self, value: list[Any]) -> None:
        self._out += b"]"
        self._put(id(value), value)
        if value:
            self._out += b"("
            for position, item in enumerate(value):
                self._item(f"[{position}]", item)
            self._out += b"e"

    def _dict(self, value: dict[Any, Any]) -> None:
        self._out += b"}"
        self._put(id(value), value)
        self._items(value)

    def _items(self, value: dict[Any, Any], step: str = "[{!r:.60}]") -> None:
        """The entries of a dict; `step`: how one of them is called in errors, by its key."""
        if value:
            self._out += b"("
            for key, item in value.items():
                self._save(key)
                self._item(step.format(key), item)
            self._out += b"u"

    def _item(self, step: str, item: Any) -> None:
        self._path.append(step)
        self._save(item)
        self._path.pop()

    def _ordered_dict(self, value: collections.OrderedDict[Any, Any]) -> None:
        self._call("collections", "OrderedDict", ())
        self._put(id(value), value)
        self._items(value)
        metadata = getattr(value, "_metadata", None)
        if metadata is not None:  # a module's state_dict carries the versions of its modules so
            self._save({"_metadata": metadata})
            self._out += b"b"

    def _counter(self, value: collections.Counter[Any]) -> None:
        self._call("collections", "Counter", (dict(value),))
        self._put(id(value), value)

    def _default_dict(self, value: collections.defaultdict[Any, Any]) -> None:
        factory = value.default_factory
        self._global("collections", "defaultdict")
        if factory is None:
            self._out += b")"
        elif factory is collections.OrderedDict:
            self._global("collections", "OrderedDict")
            self._out += b"\x85"
        elif isinstance(factory, type) and factory in _FACTORIES:
            self._global("__builtin__", _FACTORIES[factory])
            self._out += b"\x85"
        else:
            raise self._refusal(value, "its default is made by a function")
        self._out += b"R"
        self._put(id(value), value)
        self._items(value)

    def _set(self, value: set[Any]) -> None:
        self._call("__builtin__", "set", (list(value),))
        self._put(id(value), value)

    def _frozen_set(self, value: frozenset[Any]) -> None:
        self._call("__builtin__", "frozenset", (list(value),))
        self._put(id(value), value)

    def _size(self, value: Size) -> None:
        self._call("torch", "Size", (tuple(value),))
        self._put(id(value), value)

    def _dtype(self, value: dtypes.dtype) -> None:
        self._global("torch", value.name)

    # Tensors

    def _tensor(self, value: Tensor) -> None:
        parameter = isinstance(value, _parameter_class())
        if parameter:
            self._global("torch._utils", "_rebuild_parameter")
        self._global("torch._utils", "_rebuild_tensor_v2")
        place = self._place(value.array)
        self._out += b"(("
        self._save("storage")
        self._global("torch", CLASS_OF[place.dtype])
        self._save(str(place.key))
        self._save("cpu")
        self._integer(place.elements)
        self._out += b"tQ"
        self._integer(place.offset)
        self._tuple(tuple(value.array.shape))
        self._tuple(place.stride)
        self._boolean(value.requires_grad and not parameter)
        self._call("collections", "OrderedDict", ())
        self._out += b"tR"
        if parameter:
            self._boolean(value.requires_grad)
            self._call("collections", "OrderedDict", ())
            self._out += b"\x87R"
        self._put(id(value), value)

    # Objects

    def _object(self, value: Any) -> None:
        """An object by its class and its attributes."""
        from rushlight.io.modules import attributes_of, why_not_made

        compiled_from = getattr(type(value), "_orig_mod", None)
        if compiled_from is not None:
            return self._save(compiled_from)
        why = why_not_made(type(value))
        if why:
            raise self._refusal(value, why)
        name = self._spelled(type(value))
        assert name is not None
        try:
            attributes = attributes_of(value)
        except SaveError as error:
            raise SaveError(f"can't save {self._where()}: {error}") from None
        self._global(*name)
        self._out += b")\x81"
        self._put(id(value), value)
        self._out += b"}"
        self._items(attributes, ".{}")
        self._out += b"b"

    # NumPy's own

    def _numpy_dtype(self, value: np.dtype[Any]) -> None:
        if value.kind not in "biufcSU" or value.name == "bfloat16":
            raise SaveError(f"can't save obj{''.join(self._path)}: a NumPy array of dtype {value}")
        if self._get(("dtype", value)):
            return
        order = "|" if value.byteorder == "|" else "<" if value.newbyteorder("<") == value else ">"
        self._call("numpy", "dtype", (value.str[1:], False, True))
        flexible = value.kind in "SU"
        width, alignment = (value.itemsize, value.alignment) if flexible else (-1, -1)
        self._tuple((3, order, None, None, None, width, alignment, 8 if value.kind == "U" else 0))
        self._out += b"b"
        self._put(("dtype", value), value)

    def _numpy_scalar(self, value: np.generic) -> None:
        self._global("numpy.core.multiarray", "scalar")
        self._numpy_dtype(value.dtype)
        self._encoded(value.tobytes())
        self._out += b"\x86R"
        self._put(id(value), value)

    def _numpy_array(self, value: Array) -> None:
        self._global("numpy.core.multiarray", "_reconstruct")
        self._global("numpy", "ndarray")
        self._tuple((0,))
        self._encoded(b"b")
        self._out += b"\x87R"
        self._put(id(value), value)
        self._out += b"("
        self._integer(1)
        self._tuple(tuple(value.shape))
        self._numpy_dtype(value.dtype)
        self._boolean(False)
        self._encoded(value.tobytes())
        self._out += b"tb"

    # Names

    def _global(self, module: str, name: str) -> None:
        if not self._get((module, name)):
            self._out += f"c{module}\n{name}\n".encode()
            self._put((module, name))

    def _call(self, module: str, name: str, arguments: tuple[Any, ...]) -> None:
        self._global(module, name)
        if len(arguments) > 3:
            self._out += b"("
        for argument in arguments:
            self._save(argument)
        self._out += (b")", b"\x85", b"\x86", b"\x87")[len(arguments)] if len(arguments) <= 3 else b"t"
        self._out += b"R"


_HANDLERS: dict[type, Callable[[PickleWriter, Any], None]] = {
    type(None): PickleWriter._none,
    bool: PickleWriter._boolean,
    int: PickleWriter._integer,
    float: PickleWriter._float,
    complex: PickleWriter._complex,
    str: PickleWriter._string,
    bytes: PickleWriter._bytes,
    bytearray: PickleWriter._bytearray,
    tuple: PickleWriter._tuple,
    list: PickleWriter._list,
    dict: PickleWriter._dict,
    set: PickleWriter._set,
    frozenset: PickleWriter._frozen_set,
    collections.OrderedDict: PickleWriter._ordered_dict,
    collections.Counter: PickleWriter._counter,
    collections.defaultdict: PickleWriter._default_dict,
    Size: PickleWriter._size,
    dtypes.dtype: PickleWriter._dtype,
}


def _parameter_class() -> type:
    from rushlight.nn import Parameter

    return Parameter
