"""`torch.utils.benchmark`: timings of statements, repeated until they mean something, and compared in a table."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rushlight.settings import get_num_threads, set_num_threads

_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_LONG_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which `t` seconds are best written, and its length in seconds."""
    return next(((unit, size) for unit, size in _UNITS if t >= size), _UNITS[-1])


@dataclass
class TaskSpec:
    """What was timed."""

    stmt: str
    setup: str
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label, or the statement."""
        title = self.label or self.stmt
        return f"{title}: {self.sub_label}" if self.sub_label else title


class Measurement:
    """Timings of one task. `raw_times` are seconds of `number_per_run` runs each; `times` those of single runs."""

    def __init__(self, number_per_run: int, raw_times: Sequence[float], task_spec: TaskSpec) -> None:
        self.number_per_run = number_per_run
        self.raw_times = list(raw_times)
        self.task_spec = task_spec
        self.times = [t / number_per_run for t in self.raw_times]

    @property
    def mean(self) -> float:
        """The mean time of a run, in seconds."""
        return statistics.fmean(self.times)

    @property
    def median(self) -> float:
        """The median time of a run, in seconds."""
        return statistics.median(self.times)

    @property
    def iqr(self) -> float:
        """The distance between the quartiles of the times, in seconds."""
        if len(self.times) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.times, n=4, method="inclusive")
        return third - first

    @property
    def num_threads(self) -> int:
        """The number of threads that it ran on."""
        return self.task_spec.num_threads

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """Those of the same task put together."""
        groups: dict[str, list[Measurement]] = {}
        for measurement in measurements:
            groups.setdefault(repr(measurement.task_spec), []).append(measurement)
        return [Measurement(1, [t for m in group for t in m.times], group[0].task_spec) for group in groups.values()]

    def __repr__(self) -> str:
        count, spec = len(self.times), self.task_spec
        unit, size = select_unit(self.median)
        threads = f"{spec.num_threads} thread{'s' if spec.num_threads > 1 else ''}"
        lines = [f"<{type(self).__module__}.Measurement object at {id(self):#x}>", spec.title]
        if spec.description:
            lines.append(spec.description)
        if spec.setup != "pass":
            lines.append("setup: " + spec.setup.strip().replace("\n", "\n       "))
        if count == 1:
            runs = f"{self.number_per_run} run{'s' if self.number_per_run > 1 else ''} ,"
            lines += [f"  {self.median / size:.2f} {unit}", f"  1 measurement, {runs} {threads}"]
        else:
            low, high = min(self.times) / size, max(self.times) / size
            lines += [
                f"  Median: {self.median / size:.2f} {unit}",
                f"  IQR:    {self.iqr / size:.2f} {unit} ({low:.2f} to {high:.2f})",
                f"  {count} measurements, {self.number_per_run} runs per measurement, {threads}",
            ]
        return "\n".join(lines)


class Timer:
    """Times a statement.

    Args:
        stmt: the code to time, an expression or lines.
        setup: code that is run once before each measurement.
        timer: the clock.
        globals: the names that the code may use.
        label, sub_label, description, env: what `Measurement` and `Compare` call it.
        num_threads: the number of threads that it runs on; one by default, as in PyTorch.

    Example:
        >>> timer = torch.utils.benchmark.Timer("x + x", globals={"x": torch.ones(100)})
        >>> timer.timeit(10).number_per_run
        10
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timeit.default_timer,
        globals: dict[str, Any] | None = None,  # noqa: A002 (PyTorch's name)
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        if not isinstance(stmt, str):
            raise ValueError(f"Timer: stmt is the text of the code to time, not a {type(stmt).__name__}")
        if language not in ("python", "Python", 0):
            raise ValueError("Timer: only Python is timed")
        stmt, setup = _dedented(stmt), _dedented(setup)
        self._task_spec = TaskSpec(stmt, setup, label, sub_label, description, env, num_threads)
        self._timer = timeit.Timer(stmt, setup, timer, dict(globals or {}))

    def _time(self, number: int) -> float:
        before = get_num_threads()
        set_num_threads(self._task_spec.num_threads)
        try:
            return max(self._timer.timeit(number), 1e-9)
        finally:
            set_num_threads(before)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """The time of `number` runs after some to warm up."""
        self._time(max(number // 100, 2))
        return Measurement(number, [self._time(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> None:
        """Raises NotImplementedError, as in PyTorch: `timeit` and `blocked_autorange` are what there is."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    autorange = repeat

    def _block(self, least: float) -> int:
        """How many runs take `least` seconds together."""
        number = 1
        self._time(1)
        while (taken := self._time(number)) < least and number < 10**9:
            number = max(2 * number, min(10 * number, int(1.2 * number * least / taken)))
        return number

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Blocks of runs, each long enough for the clock, for `min_run_time` seconds altogether.

        callback: called with the number of runs and the seconds of each block.
        """
        number = self._block(min(1e-3, min_run_time))
        times: list[float] = []
        while not times or sum(times) < min_run_time:
            times.append(self._time(number))
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, self._task_spec)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """Blocks of runs until the distance between the quartiles is below `threshold` of the median."""
        number = self._block(min(1e-3, min_run_time))
        times: list[float] = []
        while sum(times) < max_run_time:
            times.append(self._time(number))
            if callback is not None:
                callback(number, times[-1])
            found = Measurement(number, times, self._task_spec)
            if len(times) > 3 and sum(times) >= min_run_time and found.iqr < threshold * found.median:
                break
        return Measurement(number, times, self._task_spec)


def _dedented(code: str) -> str:
    import textwrap

    return textwrap.dedent(code).strip() or "pass"


class Compare:
    """Measurements as a table: a row for each sub_label, a column for each description, a part for each threads."""

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results = list(results)
        self._digits: int | None = None

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Adds measurements."""
        self._results.extend(results)

    def trim_significant_figures(self) -> None:
        """Shows three significant digits."""
        self._digits = 3

    def colorize(self, rowwise: bool = False) -> None:
        """Accepted: the table has no colours."""

    def highlight_warnings(self) -> None:
        """Accepted: the table has no warnings."""

    def __str__(self) -> str:
        merged = Measurement.merge(self._results)
        labels = dict.fromkeys(m.task_spec.label or m.task_spec.stmt for m in merged)
        return "\n".join(
            self._table(label, [m for m in merged if (m.task_spec.label or m.task_spec.stmt) == label])
            for label in labels
        )

    def print(self) -> None:  # PyTorch's name
        """Prints the table."""
        print(self)

    def _table(self, label: str, results: list[Measurement]) -> str:
        unit, size = select_unit(min(m.median for m in results))
        rows = list(dict.fromkeys((m.num_threads, _row(m)) for m in results))
        columns = list(dict.fromkeys(m.task_spec.description or "" for m in results))
        cells = {
            ((m.num_threads, _row(m)), m.task_spec.description or ""): self._number(m.median / size) for m in results
        }
        left = max([len(name) for _, name in rows] + [16]) + 6
        width = max([len(text) for text in (*columns, *cells.values())] + [9]) + 2
        head = " " * left + "".join(f"|  {column:^{width - 2}}  " for column in columns)
        lines = [f"[{f' {label} ':-^{len(head) - 2}}]", head]
        for threads in dict.fromkeys(threads for threads, _ in rows):
            lines.append(f"{threads} threads: ".ljust(len(head), "-"))
            for row in rows:
                if row[0] == threads:
                    texts = "".join(f"|  {cells.get((row, column), ''):>{width - 2}}  " for column in columns)
                    lines.append(f"      {row[1]}".ljust(left) + texts)
        return "\n".join([*lines, "", f"Times are in {_LONG_UNITS[unit]} ({unit}).", ""])

    def _number(self, value: float) -> str:
        return f"{value:.1f}" if self._digits is None else f"{float(f'{value:.{self._digits}g}'):g}"


def _row(measurement: Measurement) -> str:
    spec = measurement.task_spec
    name = spec.sub_label or spec.stmt
    return f"({spec.env})  {name}" if spec.env else name
