"""The memory plan: values that don't live at the same time share one arena."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

ALIGNMENT = 64


def plan(intervals: Iterable[tuple[Any, int, int, int]]) -> tuple[dict[Any, int], int]:
    """Offsets in an arena, and its size in bytes.

    intervals: (key, bytes, first, last): alive from step `first` to step `last`, both included; sorted by `first`.
    The smallest gap that fits is taken, as in a best-fit allocator.
    """
    offsets: dict[Any, int] = {}
    ending: list[tuple[int, int, int]] = []  # (last, offset, bytes), sorted
    gaps: list[tuple[int, int]] = []  # (offset, bytes), sorted, none touching another
    top = 0
    for key, size, first, last in intervals:
        needed = max(-(-size // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        while ending and ending[0][0] < first:
            _, offset, released = ending.pop(0)
            _release(gaps, offset, released)
        fitting = [(length, start) for start, length in gaps if length >= needed]
        if fitting:
            length, offset = min(fitting)
            gaps.remove((offset, length))
            if length > needed:
                bisect.insort(gaps, (offset + needed, length - needed))
        else:
            offset = gaps.pop()[0] if gaps and sum(gaps[-1]) == top else top
            top = offset + needed
        offsets[key] = offset
        bisect.insort(ending, (last, offset, needed))
    return offsets, top


def _release(gaps: list[tuple[int, int]], offset: int, size: int) -> None:
    """Adds a gap, joined with its neighbours."""
    position = bisect.bisect(gaps, (offset, size))
    if position < len(gaps) and gaps[position][0] == offset + size:
        size += gaps.pop(position)[1]
    if position and sum(gaps[position - 1]) == offset:
        before = gaps.pop(position - 1)
        offset, size = before[0], before[1] + size
    bisect.insort(gaps, (offset, size))
