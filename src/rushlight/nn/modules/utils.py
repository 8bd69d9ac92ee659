"""What layers written for PyTorch import: one int for all dimensions made one for each, and prefixes of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _ntuple(count: int, name: str) -> Callable[[Any], tuple[Any, ...]]:
    def repeated(value: Any) -> tuple[Any, ...]:
        return tuple(value) if hasattr(value, "__iter__") else (value,) * count

    repeated.__name__ = name
    repeated.__doc__ = f"`value` {count} times, or the tuple of what it has; PyTorch's layers call it so."
    return repeated


_single, _pair, _triple = _ntuple(1, "_single"), _ntuple(2, "_pair"), _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def consume_prefix_in_state_dict_if_present(state_dict: dict[str, Any], prefix: str) -> None:
    """Takes `prefix` off the keys that begin with it, in place: "module." of DataParallel, say."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[key.removeprefix(prefix)] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is not None:
        for key in [key for key in metadata if key.startswith(prefix.removesuffix("."))]:
            metadata[key.removeprefix(prefix.removesuffix(".")).removeprefix(".")] = metadata.pop(key)
