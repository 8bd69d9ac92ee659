"""`rushlight.distributed`: says that there is none, so that code which asks first runs in its one process."""

from __future__ import annotations

from typing import Any

__path__: list[str] = []  # so that an import of a part of it is asked for here, and refused in our words


def is_available() -> bool:
    """False: one process computes, on all its processors."""
    return False


def is_initialized() -> bool:
    """False: there is no group of processes."""
    return False


def is_torchelastic_launched() -> bool:
    """False: there is no launcher."""
    return False


def get_rank(group: Any = None) -> int:
    """0: the only process."""
    return 0


def get_world_size(group: Any = None) -> int:
    """1: the only process."""
    return 1


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"rushlight.distributed has no {name}: training runs in one process, on all processors that it may use; ask "
        "is_available() first"
    )
