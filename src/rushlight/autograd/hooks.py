"""Hooks, kept by number in the order in which they are called, and the handles that remove them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Self

Hooks = dict[int, Callable[..., Any]]

_numbers = itertools.count()


class RemovableHandle:
    """Removes a hook: by `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, Any], *companions: dict[int, Any]) -> None:
        self.id = next(_numbers)
        self._dictionaries = (hooks, *companions)

    def remove(self) -> None:
        """Takes the hook away: it isn't called again. Harmless when it is gone already."""
        for dictionary in self._dictionaries:
            dictionary.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(hooks: dict[int, Any], hook: Any, prepend: bool = False, *companions: dict[int, Any]) -> RemovableHandle:
    """Adds `hook` at the end of `hooks`, or with `prepend` at their beginning."""
    handle = RemovableHandle(hooks, *companions)
    others = dict(hooks) if prepend else {}
    for number in others:
        del hooks[number]
    hooks[handle.id] = hook
    hooks.update(others)
    return handle


def run_hooks(hooks: Hooks, gradient: Any) -> Any:
    """Calls tensor hooks in the order of their registration; one that returns a tensor replaces the gradient."""
    for hook in tuple(hooks.values()):
        replaced = hook(gradient)
        if replaced is not None:
            gradient = replaced
    return gradient
