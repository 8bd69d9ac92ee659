"""`rushlight.serialization`: `save` and `load`, and PyTorch's list of classes that any file may name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rushlight.io import load as load
from rushlight.io import save as save
from rushlight.io.serialization import safe_globals as _safe


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets files that are loaded with weights_only=True hold objects of these classes, and name these functions."""
    _safe.extend(safe_globals)


def clear_safe_globals() -> None:
    """Takes back what `add_safe_globals` added."""
    _safe.clear()


def get_safe_globals() -> list[Any]:
    """The classes and functions that were added."""
    return list(_safe)


@contextmanager
def safe_globals(safe_globals: list[Any]) -> Iterator[None]:
    """Within it, files that are loaded with weights_only=True may name these classes and functions."""
    before = list(_safe)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe[:] = before
