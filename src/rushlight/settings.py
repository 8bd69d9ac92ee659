"""Settings of the whole library that PyTorch's programs touch: threads, determinism, precision."""

from __future__ import annotations

from rushlight import core
from rushlight.errors import ShapeError

_deterministic = False
_precision = "highest"
refusals_run_eagerly = False  # whether compile() takes fullgraph=False for granted, as PyTorch does: in its scripts


def get_num_threads() -> int:
    """How many threads kernels run on."""
    return 1 if core.native is None else int(core.native.get_num_threads())


def set_num_threads(threads: int) -> None:
    """Sets how many threads kernels run on; raises for less than one."""
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"set_num_threads expects an int, but got {type(threads).__name__}")
    if threads < 1:
        raise ShapeError("set_num_threads expects a positive integer")
    if core.native is not None:
        core.native.set_num_threads(threads)


def get_num_interop_threads() -> int:
    """How many operations run at once: one."""
    return 1


def set_num_interop_threads(threads: int) -> None:
    """Accepted: operations run one after another here."""


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: every operation is deterministic here, whatever the number of threads."""
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What was asked for with `use_deterministic_algorithms`."""
    return _deterministic


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: float32 products are always computed in float32 here."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise ShapeError(f"precision must be one of highest, high, medium, not {precision!r}")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What was asked for with `set_float32_matmul_precision`."""
    return _precision


def set_flush_denormal(mode: bool) -> bool:
    """Not supported: returns False, as PyTorch does where a processor can't."""
    return False
