"""The executor in Python, for where there is no native core: the same calls, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Slot:
    """Stands for a number that changes from run to run."""

    def __init__(self, index: int) -> None:
        self.index = index


class PythonExecutor:
    """Runs a list of calls over arrays that were made before."""

    def __init__(self) -> None:
        self._calls: list[Callable[[Sequence[float]], None]] = []
        self.failed = -1

    def add_call(self, call: Callable[[Sequence[float]], None]) -> int:
        """Adds a call, which is given the numbers of the run."""
        self._calls.append(call)
        return len(self._calls) - 1

    def add_copy(self, source: Array, target: Array) -> int:
        """Adds a copy."""
        return self.add_call(lambda _: np.copyto(target, source, casting="unsafe"))

    def run(self, numbers: Sequence[float]) -> None:
        """Makes all calls; on an exception, `failed` is the position of the call that raised it."""
        with np.errstate(all="ignore"):
            for position, call in enumerate(self._calls):
                self.failed = position
                call(numbers)
        self.failed = -1

    def profile(self, numbers: Sequence[float]) -> list[float]:
        """Runs; the seconds that each call took."""
        times = []
        for call in self._calls:
            start = time.perf_counter()
            call(numbers)
            times.append(time.perf_counter() - start)
        return times

    def __len__(self) -> int:
        return len(self._calls)
