"""Calls of kernels over memory that was made before, and their execution: by the core, or in Python without one.

With a core, `core/executor.h` runs the list without Python. What a kernel turns out to have no code for is done by
NumPy from then on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import core
from rushlight.compiler.graph import Node

Array = np.ndarray[Any, Any]


class Number:
    """Stands in the options of a call for a number that changes from run to run."""

    def __init__(self, index: int, kind: Callable[[Any], Any]) -> None:
        self.index = index
        self.kind = kind


class Call:
    """One instruction.

    kind: "kernel" (`function` is the core's, called with operands and options), "elementwise" (`function` is a program
        of the elementwise engine), or "copy" (of the operand to the result).
    fallback: the same by NumPy, where the kernel has no code for the operands: gives the results.
    in_place: the kernel writes into its operands.
    """

    def __init__(
        self,
        node: Node | None,
        kind: str,
        function: Any,
        operands: Sequence[Any],
        options: dict[str, Any],
        results: Sequence[Array],
        fallback: Callable[..., Any],
        in_place: bool = False,
    ) -> None:
        self.node = node
        self.kind = kind
        self.function = function
        self.operands = tuple(operands)
        self.options = options
        self.results = tuple(results)
        self.fallback = fallback
        self.in_place = in_place

    def run(self, numbers: Sequence[Any]) -> None:
        """Runs in Python, by NumPy."""
        with np.errstate(all="ignore"):
            if self.kind == "copy":
                np.copyto(self.results[0], self.operands[0], casting="unsafe")
                return
            options = {k: v.kind(numbers[v.index]) if isinstance(v, Number) else v for k, v in self.options.items()}
            found = self.fallback(*self.operands, **options)
            if self.in_place:
                return
            for result, value in zip(self.results, found if type(found) is tuple else (found,), strict=True):
                np.copyto(result, value, casting="unsafe")


class PythonExecutor:
    """Runs calls one after the other.

    homes: the memory that the calls know for what comes with each run; changed: the positions of that which they write.
    """

    def __init__(self, calls: Sequence[Call], homes: Sequence[Array], changed: Sequence[int]) -> None:
        self._calls = calls
        self._homes = homes
        self._changed = changed
        self.failed = -1

    def run(self, bases: Sequence[Array], numbers: Sequence[Any]) -> None:
        """Makes all calls; on an exception, `failed` is the position of the call that raised it."""
        self.profile(bases, numbers)

    def profile(self, bases: Sequence[Array], numbers: Sequence[Any]) -> list[float]:
        """Runs; the seconds that each call took."""
        for home, base in zip(self._homes, bases, strict=True):
            np.copyto(home, base)
        times = []
        for position, call in enumerate(self._calls):
            self.failed = position
            start = time.perf_counter()
            call.run(numbers)
            times.append(time.perf_counter() - start)
        self.failed = -1
        for position in self._changed:
            np.copyto(bases[position], self._homes[position])
        return times

    def release(self) -> None:
        """Nothing: what comes with a run is copied."""


class NativeExecutor:
    """The core's executor.

    moving: (array, base, offset): memory that lies in another place in each run, `offset` bytes into that base.
    """

    def __init__(self, calls: Sequence[Call], moving: Sequence[tuple[Array, int, int]]) -> None:
        self._numbers: list[Any] = []  # of the run that goes on, for calls that fall back on NumPy
        self._executor = executor = core.native.Executor()  # type: ignore[union-attr]
        for array, base, offset in moving:
            executor.relocate(array, base, offset)
        for call in calls:
            by_numpy = functools.partial(call.run, self._numbers)
            if call.kind == "copy":
                executor.add_copy(call.operands[0], call.results[0])
            elif call.function is None:
                executor.add_call(by_numpy)
            elif call.kind == "elementwise":
                executor.add_elementwise(call.function, call.operands, call.results, by_numpy)
            else:
                options = {
                    k: core.native.Slot(v.index) if isinstance(v, Number) else v  # type: ignore[union-attr]
                    for k, v in call.options.items()
                }
                results = () if call.in_place else call.results
                executor.add(call.function.__name__, call.operands, options, results, by_numpy)

    def run(self, bases: Sequence[Array], numbers: Sequence[Any]) -> None:
        """As PythonExecutor.run, with the GIL released."""
        self._numbers[:] = numbers
        self._executor.run(bases, numbers)

    def release(self) -> None:
        """Lets go of what came with the last run."""
        self._executor.release()

    def profile(self, bases: Sequence[Array], numbers: Sequence[Any]) -> list[float]:
        """Runs; the seconds that each call took."""
        self._numbers[:] = numbers
        times: list[float] = self._executor.profile(bases, numbers)
        return times

    @property
    def failed(self) -> int:
        """The position of the call that raised in the last run, or -1."""
        failed = self._executor.failed
        return -1 if failed is None else int(failed)
