"""Whether containers and objects still hold what they held: by identity, or by value where that is a plain number.

Looked at before every call, so the core compares identities; only where one has changed, Python looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rushlight import core

PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MISSING = object()
_MOST_BYTES = 1 << 20  # of a NumPy array that are compared


class Watch:
    """Lists, dictionaries, mappings and objects, and what they held when they were added."""

    def __init__(self, *others: Watch) -> None:
        """Watches what `others` do."""
        # Tuples of what is read, and a list of what was found.
        self._items: list[Any] = [entry for other in others for entry in other._items]
        self._entries: list[Any] = [entry for other in others for entry in other._entries]
        self._attributes: list[Any] = [entry for other in others for entry in other._attributes]
        self._ordered: list[Any] = [entry for other in others for entry in other._ordered]
        self._contents: list[tuple[Any, bytes]] = [entry for other in others for entry in other._contents]
        self._states = None if core.native is None else core.native.States()

    def items(self, container: Any) -> None:
        """Watches all items of a list, a set or a deque, or all values of a dictionary."""
        kind = type(container)
        as_usual = kind.__iter__ is list.__iter__ or getattr(kind, "values", None) is dict.values
        as_usual |= isinstance(container, dict) and not container
        (self._items if as_usual else self._ordered).append((container, _items(container)))

    def entries(self, mapping: Mapping[Any, Any], keys: Iterable[Any]) -> None:
        """Watches what stands under some keys of a mapping, or that nothing does."""
        known = list(keys)
        self._entries.append((mapping, known, _entries(mapping, known)))

    def attributes(self, item: Any, names: Iterable[str]) -> None:
        """Watches attributes of an object."""
        known = list(names)
        self._attributes.append((item, known, _attributes(item, known)))

    def contents(self, array: Any) -> None:
        """Watches the elements of a NumPy array; of a large one, some that are spread over it."""
        some = array.reshape(-1)[:: 1 + array.nbytes // _MOST_BYTES] if array.flags.c_contiguous else array
        self._contents.append((some, some.tobytes()))

    def same(self) -> bool:
        """Whether all is as it was."""
        if unchanged is None or not unchanged(self._items, self._entries, self._attributes, self._states):
            if not (
                all(_renewed(_items(container), was) for container, was in self._items)
                and all(_renewed(_entries(mapping, keys), was) for mapping, keys, was in self._entries)
                and all(_renewed(_attributes(item, names), was) for item, names, was in self._attributes)
            ):
                return False
        for container, was in self._ordered:
            if not _renewed(_items(container), was):
                return False
        for array, held in self._contents:
            if array.tobytes() != held:
                return False
        return True


def same_plain(a: Any, b: Any) -> bool:
    """Whether both are plain numbers, texts or the like, of one type and equal; 0.0 isn't -0.0."""
    return type(a) is type(b) and isinstance(a, PLAIN) and a == b and (bool(a) or repr(a) == repr(b))


def _renewed(found: list[Any], expected: list[Any]) -> bool:
    """Whether entries are equal to what they were, where they are plain; the new ones are expected from then on."""
    if len(found) != len(expected):
        return False
    for now, before in zip(found, expected, strict=True):
        if now is not before and not same_plain(now, before):
            return False
    expected[:] = found
    return True


def _items(container: Any) -> list[Any]:
    return list(container.values() if isinstance(container, dict) else container)


def _entries(mapping: Mapping[Any, Any], keys: list[Any]) -> list[Any]:
    return [mapping.get(key) for key in keys]


def _attributes(item: Any, names: list[str]) -> list[Any]:
    found = []
    for name in names:
        try:
            found.append(getattr(item, name))
        except (AttributeError, ValueError):  # ValueError: a variable that has no value yet
            found.append(_MISSING)
    return found


unchanged = getattr(core.native, "unchanged", None)
