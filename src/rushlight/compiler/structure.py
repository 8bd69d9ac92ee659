"""Nested structures: tensors are taken out and put back; what else there is belongs to a call's signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, NamedTuple

from rushlight.nn.modules.module import Module
from rushlight.tensor.tensor import Tensor

PLAIN = (bool, int, float, str, bytes, type(None))
_NOT_REBUILT = (Module, type, FunctionType, MethodType, ModuleType)


class _Leaf(NamedTuple):
    """The place of a tensor."""

    cls: type


class _Same:
    """An object that is told from others by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


class _Attributes(NamedTuple):
    """An object that is made anew, with these attributes."""

    cls: type
    entries: tuple[tuple[str, Any], ...]


class _Container(NamedTuple):
    """One of the containers that a function was called with."""

    place: int


TENSOR = _Leaf(Tensor)


def flatten(item: Any, tensors: list[Tensor]) -> Any:
    """The structure of arguments, hashable; the tensors in it are appended to `tensors`."""
    if isinstance(item, Tensor):
        tensors.append(item)
        return TENSOR
    kind = type(item)
    if kind is tuple or kind is list or (isinstance(item, tuple) and hasattr(item, "_fields")):
        return (kind, *[flatten(entry, tensors) for entry in item])
    if isinstance(item, dict):
        return (kind, tuple([(key, flatten(entry, tensors)) for key, entry in item.items()]))
    if isinstance(item, PLAIN):
        return (kind, item or repr(item))  # 0.0 isn't -0.0
    if is_data(item):
        count = len(tensors)
        entries = tuple([(name, flatten(entry, tensors)) for name, entry in attributes_of(item).items()])
        if len(tensors) > count:
            return _Attributes(kind, entries)
    return _Same(item)


class Packing:
    """Takes structures apart so that the same objects can be put together again, around other tensors.

    containers: those of the arguments, which stand for those in their places in later calls.
    made: whether an object is to be made anew, by its attributes, if there are tensors in it.
    """

    def __init__(self, made: Callable[[Any], bool], containers: Sequence[Any] = ()) -> None:
        self._made = made
        self._places = {id(container): place for place, container in enumerate(containers)}
        self._open: set[int] = set()  # objects that are being taken apart

    def take_apart(self, item: Any, tensors: list[Tensor]) -> Any:
        """The structure; the tensors in it are appended to `tensors`."""
        if isinstance(item, Tensor):
            tensors.append(item)
            return TENSOR
        place = self._places.get(id(item))
        return self.contents(item, tensors) if place is None else _Container(place)

    def contents(self, item: Any, tensors: list[Tensor]) -> Any:
        """The structure of something that isn't a tensor, even if it is a container of the arguments."""
        kind = type(item)
        if kind is tuple or kind is list or (isinstance(item, tuple) and hasattr(item, "_fields")):
            return (kind, *[self.take_apart(entry, tensors) for entry in item])
        if isinstance(item, dict):
            return (kind, tuple([(key, self.take_apart(entry, tensors)) for key, entry in item.items()]))
        if isinstance(item, PLAIN) or id(item) in self._open or not self._made(item):
            return _Same(item)
        count = len(tensors)
        self._open.add(id(item))
        entries = tuple([(name, self.take_apart(entry, tensors)) for name, entry in attributes_of(item).items()])
        self._open.remove(id(item))
        return _Attributes(kind, entries) if len(tensors) > count else _Same(item)


def rebuild(structure: Any, tensors: Iterator[Tensor], containers: Sequence[Any] = ()) -> Any:
    """What a structure says, with the next tensors in their places."""
    if structure is TENSOR:
        return next(tensors)
    if isinstance(structure, _Same):
        return structure.value
    if isinstance(structure, _Container):
        return containers[structure.place]
    if isinstance(structure, _Attributes):
        made: Any = object.__new__(structure.cls)
        _set(made, {name: rebuild(entry, tensors, containers) for name, entry in structure.entries})
        return made
    kind, *rest = structure
    if kind is tuple or kind is list:
        return kind([rebuild(entry, tensors, containers) for entry in rest])
    if isinstance(kind, type) and issubclass(kind, dict):
        items = [(key, rebuild(entry, tensors, containers)) for key, entry in rest[0]]
        return dict(items) if kind is dict else kind(items)
    return kind(*[rebuild(entry, tensors, containers) for entry in rest])


def containers_in(item: Any) -> list[Any]:
    """The lists, dictionaries and data objects in arguments, in an order that their structure decides."""
    found: list[Any] = []
    _find_containers(item, found)
    return found


def _find_containers(item: Any, found: list[Any]) -> None:
    if isinstance(item, (Tensor, *PLAIN)):
        return
    if isinstance(item, (list, dict)) or is_data(item):
        found.append(item)
    entries = entries_of(item)
    for entry in entries if isinstance(entries, list) else entries.values():
        _find_containers(entry, found)


def entries_of(container: Any) -> Any:
    """The entries of a tuple or list, those of a dictionary or data object by their names; of others none."""
    if isinstance(container, (tuple, list)):
        return list(container)
    if isinstance(container, dict):
        return dict(container)
    return attributes_of(container) if is_data(container) else []


def refill(container: Any, contents: Any) -> None:
    """Puts into a container of the arguments what stands in another of its kind."""
    if isinstance(container, list):
        container[:] = contents
    elif isinstance(container, dict):
        container.clear()
        container.update(contents)
    else:
        _set(container, attributes_of(contents))


def objects_in(structure: Any) -> Iterator[Any]:
    """The objects that a structure knows by identity."""
    if isinstance(structure, _Same):
        yield structure.value
    elif isinstance(structure, tuple):
        for entry in structure:
            yield from objects_in(entry)


def is_data(item: Any) -> bool:
    """Whether an object is one of a dataclass, with nothing but its fields."""
    fields = getattr(type(item), "__dataclass_fields__", {})
    return bool(fields) and _is_plain(item) and set(fields).issuperset(getattr(item, "__dict__", ()))


def can_be_made(item: Any) -> bool:
    """Whether an object is its attributes and nothing else."""
    return is_data(item) or (
        _is_plain(item) and type(getattr(item, "__dict__", None)) is dict and not hasattr(item, "__slots__")
    )


def _is_plain(item: Any) -> bool:
    """Whether an object is made as most are, and isn't known by its identity."""
    make: Any = type(item).__new__
    return make is object.__new__ and not isinstance(item, _NOT_REBUILT)


def attributes_of(item: Any) -> Mapping[str, Any]:
    if not dataclasses.is_dataclass(item):
        return MappingProxyType(vars(item))
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if hasattr(item, field.name)}


def _set(item: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        object.__setattr__(item, name, value)  # a frozen one, too
