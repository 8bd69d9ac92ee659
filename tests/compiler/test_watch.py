"""What guards compare: changes of every kind are seen, by the core and without one, and equal numbers are none."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rushlight.compiler import watch as watching
from rushlight.compiler.watch import Watch


@pytest.fixture(params=["core", "Python"])
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(watching, "unchanged", None)
    elif watching.unchanged is None:
        pytest.skip("no native core")


class Kind:
    def method(self) -> None: ...


def variable() -> Any:
    content = object()

    def function() -> Any:
        return content

    return function.__closure__[0]  # type: ignore[index]


def removed(attribute: str) -> Callable[[Any], None]:
    return lambda item: delattr(item, attribute)


ITEMS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "list: another item": (lambda: [Kind(), Kind()], lambda c: c.__setitem__(1, Kind())),
    "list: one more": (lambda: [Kind()], lambda c: c.append(c[0])),
    "list: none left": (lambda: [Kind()], lambda c: c.clear()),
    "list: another order": (lambda: [Kind(), Kind()], lambda c: c.reverse()),
    "list: another number": (lambda: [1.5, 2], lambda c: c.__setitem__(0, 2.5)),
    "list: True for 1": (lambda: [1], lambda c: c.__setitem__(0, True)),
    "dict: another value": (lambda: {"a": Kind(), "b": Kind()}, lambda c: c.update(b=Kind())),
    "dict: the first": (lambda: {}, lambda c: c.update(a=None)),
    "dict: one less": (lambda: {"a": Kind()}, lambda c: c.pop("a")),
    "defaultdict": (lambda: defaultdict(dict, a=Kind()), lambda c: c["b"]),
    "OrderedDict: the first": (OrderedDict, lambda c: c.update(a=1)),
    "OrderedDict: another order": (lambda: OrderedDict(a=Kind(), b=Kind()), lambda c: c.move_to_end("a")),
}


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize("name", ITEMS)
def test_items(name: str) -> None:
    make, change = ITEMS[name]
    container = make()
    watch = Watch()
    watch.items([Kind()])
    watch.items(container)
    assert watch.same() and watch.same()
    change(container)
    assert not watch.same() and not watch.same()


ENTRIES: dict[str, tuple[Callable[[], Any], list[str], Callable[[Any], Any]]] = {
    "another value": (lambda: {"a": Kind(), "b": Kind()}, ["a", "b"], lambda c: c.update(b=Kind())),
    "it has come": (lambda: {"a": Kind()}, ["a", "missing"], lambda c: c.update(missing=1)),
    "it has gone": (lambda: {"a": Kind()}, ["a"], lambda c: c.pop("a")),
}


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize("name", ENTRIES)
def test_entries(name: str) -> None:
    make, keys, change = ENTRIES[name]
    mapping = make()
    watch = Watch()
    watch.entries(mapping, keys)
    mapping["another"] = 1  # which nobody looks at
    assert watch.same() and watch.same()
    change(mapping)
    assert not watch.same() and not watch.same()


@pytest.mark.usefixtures("compared")
def test_entries_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    watch.entries(vars(Kind), ["method", "missing"])
    assert watch.same()
    monkeypatch.setattr(Kind, "missing", 1, raising=False)
    assert not watch.same()
    monkeypatch.undo()
    assert watch.same()
    monkeypatch.setattr(Kind, "method", lambda self: None)
    assert not watch.same()


ATTRIBUTES: dict[str, tuple[Callable[[], Any], list[str], Callable[[Any], Any]]] = {
    "another value": (lambda: SimpleNamespace(a=Kind(), b=Kind()), ["a", "b"], lambda i: setattr(i, "b", Kind())),
    "it has gone": (lambda: SimpleNamespace(a=Kind()), ["a"], removed("a")),
    "a variable": (variable, ["cell_contents"], lambda cell: setattr(cell, "cell_contents", Kind())),
    "a variable without a value": (variable, ["cell_contents"], removed("cell_contents")),
}


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes(name: str) -> None:
    make, names, change = ATTRIBUTES[name]
    item = make()
    watch = Watch()
    watch.attributes(item, names)
    assert watch.same() and watch.same()
    change(item)
    assert not watch.same() and not watch.same()


@pytest.mark.usefixtures("compared")
def test_equal_numbers_are_no_change() -> None:
    numbers, named, item = [1.25, "text"], {"a": 0.5}, SimpleNamespace(a=1.75)
    watch = Watch()
    watch.items(numbers)
    watch.entries(named, ["a"])
    watch.attributes(item, ["a"])
    numbers[:], named["a"], item.a = [float("1.25"), "".join(["te", "xt"])], float("0.5"), float("1.75")
    both = Watch(watch)
    assert both.same() and watch.same()
    named["a"] = 0.75
    assert not both.same() and not watch.same()


@pytest.mark.usefixtures("compared")
def test_what_has_come_back_is_no_change() -> None:
    first, second = Kind(), Kind()
    values, named = {"a": first}, {"a": first, "b": second}
    watch = Watch()
    watch.items(values)
    watch.entries(named, ["a"])
    assert watch.same()
    values["a"] = named["a"] = second
    assert not watch.same()
    values["a"] = named["a"] = first
    assert watch.same()
    named["b"] = first  # which nobody looks at
    assert watch.same()
    named["a"] = second
    assert not watch.same()


@pytest.mark.usefixtures("compared")
def test_attributes_of_a_dictionary() -> None:
    class Named(dict[str, Any]):
        attribute: Any = None

    item = Named(a=1)
    watch = Watch()
    watch.attributes(item, ["attribute"])
    assert watch.same() and watch.same()
    item.attribute = Kind()
    assert not watch.same()
