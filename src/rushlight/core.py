"""Chooses the native core: one extension module for each instruction set, the best that this processor runs.

`RUSHLIGHT_ISA=baseline|avx2|avx512` asks for one; `RUSHLIGHT_CORE=off` for none, and every operation then runs on its
NumPy meaning, slower and right.
"""

import importlib
import os
from types import ModuleType
from typing import Any

import numpy as np

ISAS = ("avx512", "avx2", "baseline")


def _load() -> ModuleType | None:
    if os.environ.get("RUSHLIGHT_CORE", "").lower() == "off":
        return None
    wanted = os.environ.get("RUSHLIGHT_ISA", "").lower()
    if wanted and wanted not in ISAS:
        raise ImportError(f"RUSHLIGHT_ISA={wanted!r} is not known; it may be one of {', '.join(ISAS)}")
    for isa in (wanted,) if wanted else ISAS:
        try:
            probe = _module("baseline") or _module(isa)
            if probe is not None and not probe.supported(isa):
                if wanted:
                    raise ImportError(f"RUSHLIGHT_ISA={wanted!r}: this processor doesn't run {wanted} code")
                continue
            module = _module(isa)
        except OSError:
            module = None
        if module is not None:
            return module
        if wanted:
            raise ImportError(f"RUSHLIGHT_ISA={wanted!r}: this build of rushlight has no core for it")
    return None


def _module(isa: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"rushlight._core_{isa}")
    except ModuleNotFoundError:
        return None


native: ModuleType | None = _load()
"""The extension module that holds the kernels, or None where the NumPy meanings run instead."""


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised row-major array for a tensor: it begins at a cache line, as kernels like their operands to."""
    array = None if native is None else native.empty(shape, dtype)
    return np.empty(shape, dtype) if array is None else array


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """As `empty`, of zeros. Large ones take no memory before they are written to."""
    array = None if native is None else native.zeros(shape, dtype)
    return np.zeros(shape, dtype) if array is None else array


def built() -> tuple[str, ...]:
    """The instruction sets that this installation has a core for and that this processor runs."""
    probe = _module("baseline")
    return tuple(isa for isa in ISAS if (probe is None or probe.supported(isa)) and _module(isa) is not None)
