"""Reads pickles of data, by our own interpreter: a closed set of opcodes, and a closed table of names.

Nothing is ever imported or called on a file's behalf: a name in the file is looked up in the names that the reader was
given (`names.py`; `modules.py` where the file may hold objects), and what "reduce" runs are our own functions. The
opcodes are those of Python's `pickle` (protocols 0 to 5) less the ones that data doesn't need.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from types import FunctionType
from typing import Any, Protocol

from rushlight.dtypes import dtype
from rushlight.errors import LoadError
from rushlight.tensor.device import device
from rushlight.tensor.tensor import Tensor

_MARK = object()


class Constructor:
    """What a name in a pickle stands for: our own function, that the reader calls with the pickle's arguments."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self.name = name
        self.build = build


class Unfinished:
    """An object that a later "build" makes whole: `finish(state)` returns the real one."""

    def finish(self, state: Any) -> Any:
        raise NotImplementedError


class Names(Protocol):
    """What global names in a pickle stand for, and the objects of the classes among them."""

    def find(self, module: str, name: str) -> Any:
        """A value, a Constructor, or a class whose objects the pickle may hold. Raises LoadError for other names."""

    def make(self, kind: type) -> Any:
        """An object of a class that `find` returned, without its attributes."""

    def fill(self, instance: Any, state: Any) -> None:
        """Gives an object that `make` returned its attributes."""


class PickleReader:
    """Reads one pickle out of `data`, from `position` on; afterwards `position` is where it ended.

    names: what global names stand for.
    persistent: makes the object of a persistent id, such as a storage.
    """

    def __init__(
        self,
        data: bytes,
        names: Names,
        persistent: Callable[[Any], Any],
        position: int = 0,
    ) -> None:
        self.position = position
        self._data = data
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._unfinished: dict[int, list[int]] = {}  # id of an Unfinished -> where the memo has it
        self._instances: dict[int, Any] = {}  # objects of classes that wait for their attributes, by their ids

    def read(self) -> Any:
        """The object. Raises LoadError for anything that is no pickle of data."""
        stack, opcodes = self._stack, _OPCODES
        while True:
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                value = self._pop()
                if stack:
                    raise LoadError("the pickle ends with values left over")
                if isinstance(value, Unfinished):
                    raise LoadError("the pickle ends with an unfinished object")
                return value
            opcode = opcodes.get(code)
            if opcode is None:
                raise LoadError(f"the pickle has opcode {bytes([code])!r}, which data doesn't need")
            opcode(self)

    # Input

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self._data):
            raise LoadError("the pickle is cut short")
        found = self._data[self.position : end]
        self.position = end
        return found

    def _number(self, layout: str) -> int:
        number: int = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return number

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + 4096)
        if end < 0:
            raise LoadError("the pickle has a line without end")
        line = self._data[self.position : end]
        self.position = end + 1
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise LoadError("the pickle has a line that isn't UTF-8") from None

    def _text(self, layout: str) -> None:
        data = self._take(self._number(layout))
        try:
            self._stack.append(str(data, "utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise LoadError("the pickle has a string that isn't UTF-8") from None

    # The stack

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise LoadError("the pickle takes a value that isn't there")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise LoadError("the pickle takes a value that isn't there")
        return self._stack[-1]

    def _to_mark(self) -> list[Any]:
        stack = self._stack
        for position in range(len(stack) - 1, -1, -1):
            if stack[position] is _MARK:
                items = stack[position + 1 :]
                del stack[position:]
                return items
        raise LoadError("the pickle has no mark where one belongs")

    # Opcodes

    def _protocol(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise LoadError(f"the pickle is of protocol {version}; known are 0 to 5")

    def _frame(self) -> None:
        self._take(8)

    def _decimal(self) -> None:
        line = self._line()
        if line in ("00", "01"):
            self._stack.append(line == "01")
        else:
            self._stack.append(self._parsed(int, line))

    def _decimal_long(self) -> None:
        self._stack.append(self._parsed(int, self._line().rstrip("L")))

    def _decimal_float(self) -> None:
        self._stack.append(self._parsed(float, self._line()))

    @staticmethod
    def _parsed(kind: Callable[[str], Any], text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise LoadError(f"the pickle has {text!r:.40} where a number belongs") from None

    def _long(self, layout: str) -> None:
        self._stack.append(int.from_bytes(self._take(self._number(layout)), "little", signed=True))

    def _binary_float(self) -> None:
        self._stack.append(struct.unpack(">d", self._take(8))[0])

    def _bytes(self, layout: str) -> None:
        self._stack.append(self._take(self._number(layout)))

    def _byte_array(self) -> None:
        self._stack.append(bytearray(self._take(self._number("<Q"))))

    def _byte_string(self, layout: str) -> None:
        # Strings of Python 2: text where they are ASCII, as names and keys are.
        data = self._take(self._number(layout))
        self._stack.append(data.decode("ascii") if data.isascii() else data)

    def _line_text(self) -> None:
        self._stack.append(self._line().encode("latin1", "replace").decode("raw-unicode-escape", "replace"))

    def _mark(self) -> None:
        self._stack.append(_MARK)

    def _pop_one(self) -> None:
        self._top()
        self._stack.pop()

    def _duplicate(self) -> None:
        value = self._pop()
        self._stack += [value, value]

    def _tuple(self) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _short_tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))

    def _list(self) -> None:
        self._stack.append(self._to_mark())

    def _append(self) -> None:
        item = self._pop()
        self._target(list).append(item)

    def _appends(self) -> None:
        items = self._to_mark()
        self._target(list).extend(items)

    def _dict(self) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._set_pairs(items)

    def _set_item(self) -> None:
        item = self._pop()
        key = self._pop()
        self._set_pairs([key, item])

    def _set_items(self) -> None:
        self._set_pairs(self._to_mark())

    def _set_pairs(self, items: list[Any]) -> None:
        target = self._target(dict, OrderedDict, defaultdict, Counter)
        if len(items) % 2:
            raise LoadError("the pickle has a dict with a key and no value")
        for position in range(0, len(items), 2):
            target[hashable(items[position])] = items[position + 1]

    def _add_items(self) -> None:
        items = self._to_mark()
        self._target(set).update(hashable(item) for item in items)

    def _frozen_set(self) -> None:
        self._stack.append(frozenset(hashable(item) for item in self._to_mark()))

    def _target(self, *kinds: type) -> Any:
        target = self._top()
        if type(target) not in kinds:
            raise LoadError(f"the pickle adds items to a {type(target).__name__}")
        return target

    def _put(self, index: int) -> None:
        value = self._top()
        if value is _MARK:
            raise LoadError("the pickle remembers a mark")
        self._memo[index] = value
        if isinstance(value, Unfinished):
            self._unfinished.setdefault(id(value), []).append(index)

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise LoadError(f"the pickle refers to object {index}, which it doesn't have")
        self._stack.append(self._memo[index])

    def _line_index(self) -> int:
        index: int = self._parsed(int, self._line())
        return index

    def _global(self) -> None:
        module = self._line()
        self._name(module, self._line())

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise LoadError("the pickle has a name that isn't text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        self._stack.append(self._names.find(module, name))

    def _reduce(self) -> None:
        arguments, constructor = self._pop(), self._pop()
        if not isinstance(constructor, Constructor):
            raise LoadError(f"the pickle calls a {type(constructor).__name__}")
        if type(arguments) is not tuple:
            raise LoadError(f"the pickle calls {constructor.name} with a {type(arguments).__name__}")
        try:
            self._stack.append(constructor.build(*arguments))
        except (TypeError, ValueError, OverflowError) as error:
            raise LoadError(f"the pickle calls {constructor.name} with what it doesn't take: {error}") from None

    def _new(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if not isinstance(kind, type):
            self._stack += [kind, arguments]
            self._reduce()
        elif arguments != ():
            raise LoadError(f"the pickle has a {kind.__module__}.{kind.__qualname__} that is made of more than a dict")
        else:
            instance = self._names.make(kind)
            self._instances[id(instance)] = instance
            self._stack.append(instance)

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if type(target) is OrderedDict:
            # The state_dict of a module carries the versions of its modules so; nothing else is taken over.
            if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
                target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        elif isinstance(target, Unfinished):
            finished = target.finish(state)
            self._stack[-1] = finished
            for index in self._unfinished.pop(id(target), []):
                self._memo[index] = finished
        elif self._instances.pop(id(target), None) is not None:
            self._names.fill(target, state)
        else:
            raise LoadError(f"the pickle sets the state of a {type(target).__name__}")

    def _persistent_id(self) -> None:
        self._stack.append(self._persistent(self._pop()))


_OPCODES: dict[int, Callable[[PickleReader], None]] = {
    ord(code): opcode
    for code, opcode in {
        "\x80": PickleReader._protocol,
        "\x95": PickleReader._frame,
        "N": lambda r: r._stack.append(None),
        "\x88": lambda r: r._stack.append(True),
        "\x89": lambda r: r._stack.append(False),
        "K": lambda r: r._stack.append(r._number("<B")),
        "M": lambda r: r._stack.append(r._number("<H")),
        "J": lambda r: r._stack.append(r._number("<i")),
        "I": PickleReader._decimal,
        "L": PickleReader._decimal_long,
        "F": PickleReader._decimal_float,
        "\x8a": lambda r: r._long("<B"),
        "\x8b": lambda r: r._long("<i"),
        "G": PickleReader._binary_float,
        "X": lambda r: r._text("<I"),
        "\x8c": lambda r: r._text("<B"),
        "\x8d": lambda r: r._text("<Q"),
        "V": PickleReader._line_text,
        "U": lambda r: r._byte_string("<B"),
        "T": lambda r: r._byte_string("<i"),
        "C": lambda r: r._bytes("<B"),
        "B": lambda r: r._bytes("<I"),
        "\x8e": lambda r: r._bytes("<Q"),
        "\x96": PickleReader._byte_array,
        "(": PickleReader._mark,
        "0": PickleReader._pop_one,
        "1": lambda r: r._to_mark() and None,
        "2": PickleReader._duplicate,
        ")": lambda r: r._stack.append(()),
        "\x85": lambda r: r._short_tuple(1),
        "\x86": lambda r: r._short_tuple(2),
        "\x87": lambda r: r._short_tuple(3),
        "t": PickleReader._tuple,
        "]": lambda r: r._stack.append([]),
        "l": PickleReader._list,
        "a": PickleReader._append,
        "e": PickleReader._appends,
        "}": lambda r: r._stack.append({}),
        "d": PickleReader._dict,
        "s": PickleReader._set_item,
        "u": PickleReader._set_items,
        "\x8f": lambda r: r._stack.append(set()),
        "\x90": PickleReader._add_items,
        "\x91": PickleReader._frozen_set,
        "q": lambda r: r._put(r._number("<B")),
        "r": lambda r: r._put(r._number("<I")),
        "p": lambda r: r._put(r._line_index()),
        "\x94": lambda r: r._put(len(r._memo)),
        "h": lambda r: r._get(r._number("<B")),
        "j": lambda r: r._get(r._number("<I")),
        "g": lambda r: r._get(r._line_index()),
        "c": PickleReader._global,
        "\x93": PickleReader._stack_global,
        "R": PickleReader._reduce,
        "\x81": PickleReader._new,
        "b": PickleReader._build,
        "Q": PickleReader._persistent_id,
    }.items()
}


def hashable(value: Any) -> Any:
    """`value`, checked to be a fit key: plain, or tuples of plain values, few and not deep.

    A tuple that refers to itself many times over takes little room in a file and for ever to hash.
    """
    waiting = [(value, 0)]
    seen = 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if isinstance(item, tuple | frozenset):
            if depth >= 20 or seen > 10_000:
                raise LoadError("the pickle has a key too large to be one")
            waiting.extend((inner, depth + 1) for inner in item)
        elif type(item).__hash__ is None or isinstance(item, Constructor | Unfinished) or item is _MARK:
            raise LoadError(f"the pickle has a key of type {type(item).__name__}")
        elif isinstance(type(item).__hash__, FunctionType) and not isinstance(item, Tensor | dtype | device):
            raise LoadError(f"the pickle has a key of type {type(item).__name__}, whose hash is code")
    return value
