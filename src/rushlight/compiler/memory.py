"""The memory plan: values that don't live at the same time share one arena."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

ALIGNMENT = 64
_MOST_SORTED = 400  # values; planning takes time with the square of their number

Interval = tuple[Any, int, int, int]


def plan(intervals: Iterable[Interval]) -> tuple[dict[Any, int], int]:
    """Offsets in an arena, and its size in bytes.

    intervals: (key, bytes, first, last): alive from step `first` to step `last`, both included; sorted by `first`.
    """
    aligned = [(key, max(-(-size // ALIGNMENT), 1) * ALIGNMENT, first, last) for key, size, first, last in intervals]
    return _by_size(aligned) if len(aligned) <= _MOST_SORTED else _by_time(aligned)


def _by_size(intervals: list[Interval]) -> tuple[dict[Any, int], int]:
    """The largest values first, each in the smallest gap between those that live at the same time.

    Hardly ever larger than what lives at one time.
    """
    offsets: dict[Any, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # (offset, bytes, first, last), sorted
    top = 0
    for key, size, first, last in sorted(intervals, key=lambda interval: -interval[1]):
        end = 0
        offset, smallest = -1, 0
        for start, length, begins, ends in placed:
            if begins <= last and first <= ends:
                gap = start - end
                if gap >= size and (offset < 0 or gap < smallest):
                    offset, smallest = end, gap
                end = max(end, start + length)
        if offset < 0:
            offset = end
        bisect.insort(placed, (offset, size, first, last))
        offsets[key] = offset
        top = max(top, offset + size)
    return offsets, top


def _by_time(intervals: list[Interval]) -> tuple[dict[Any, int], int]:
    """One after the other as they come to life, each in the smallest gap that fits: for many values."""
    offsets: dict[Any, int] = {}
    ending: list[tuple[int, int, int]] = []  # (last, offset, bytes), sorted
    gaps: list[tuple[int, int]] = []  # (offset, bytes), sorted, none touching another
    top = 0
    for key, needed, first, last in intervals:
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
