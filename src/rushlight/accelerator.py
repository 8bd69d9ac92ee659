"""`rushlight.accelerator`: says that there is none."""

from __future__ import annotations

from rushlight.tensor.device import device


def is_available() -> bool:
    """False: this build computes on the CPU."""
    return False


def current_accelerator(check_available: bool = False) -> device | None:
    """None: there is no accelerator."""
    return None


def device_count() -> int:
    """0."""
    return 0
