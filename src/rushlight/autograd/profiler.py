"""Where an eager program spends its time: operations, gradients, compiled calls, and what `record_function` names.

`rushlight.profiler` stands on this. What is recorded is what this thread does; on the GPU there is nothing to record.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator, contextmanager
from types import TracebackType
from typing import Any, Self

from rushlight.ops.declare import Interpreter, Operation, routing
from rushlight.tensor.tensor import Tensor

_NAME_WIDTH = 55


class FunctionEvent:
    """One call. Times are in microseconds, `start` on the clock of `time.perf_counter`; memory is in bytes."""

    device_time_total = self_device_time_total = 0.0

    def __init__(self, name: str, shapes: list[Any], start: float) -> None:
        self.name = self.key = name
        self.input_shapes = shapes
        self.start = start
        self.cpu_time_total = 0.0
        self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = 0
        self.self_cpu_memory_usage = 0
        self.count = 1

    @property
    def cpu_time(self) -> float:
        """The time of a call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    def _add(self, other: FunctionEvent) -> None:
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.cpu_memory_usage += other.cpu_memory_usage
        self.self_cpu_memory_usage += other.self_cpu_memory_usage


FunctionEventAvg = FunctionEvent  # the calls of one name together are one, with their `count`


class EventList(list[FunctionEvent]):
    """Calls, or sums of calls; prints as a table."""

    def __init__(self, events: Iterable[FunctionEvent] = (), with_memory: bool = False) -> None:
        super().__init__(events)
        self._with_memory = with_memory

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all, in microseconds."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """The calls of each name together; with `group_by_input_shape`, of each name and shapes."""
        sums: dict[Any, FunctionEvent] = {}
        for event in self:
            shapes = event.input_shapes if group_by_input_shape else []
            key = event.name, str(shapes)
            if key not in sums:
                sums[key] = FunctionEvent(event.name, shapes, event.start)
                sums[key].count = 0
            sums[key]._add(event)
        return EventList(sums.values(), self._with_memory)

    def total_average(self) -> FunctionEvent:
        """All together."""
        total = FunctionEvent("Total", [], 0.0)
        total.count = 0
        for event in self:
            total._add(event)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = _NAME_WIDTH,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """The calls, as text.

        sort_by: what they are in the order of, such as "cpu_time_total", "self_cpu_time_total", "cpu_memory_usage",
            "count"; the order in which they were made by default.
        row_limit: the most rows.

        Raises AttributeError for another sort_by.
        """
        rows = list(self)
        if sort_by is not None:
            field = sort_by.replace("cuda", "device").replace("xpu", "device")
            rows.sort(key=lambda event: -getattr(event, field))
        total = self.self_cpu_time_total
        titles = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
        titles += ["CPU Mem", "Self CPU Mem"] if self._with_memory else []
        titles.append("# of Calls")
        if any(event.input_shapes for event in rows):
            titles.append("Input Shapes")
        lines = []
        for event in rows[: row_limit if row_limit >= 0 else None]:
            cells = [
                _cut(event.name, max_name_column_width),
                _share(event.self_cpu_time_total, total),
                _duration(event.self_cpu_time_total),
                _share(event.cpu_time_total, total),
                _duration(event.cpu_time_total),
                _duration(event.cpu_time),
            ]
            if self._with_memory:
                cells += [_size(event.cpu_memory_usage), _size(event.self_cpu_memory_usage)]
            cells.append(str(event.count))
            if "Input Shapes" in titles:
                cells.append(_cut(str(event.input_shapes), max_shapes_column_width))
            lines.append(cells)
        widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
        rule = "  ".join("-" * width for width in widths)
        texts = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in lines]
        title = "  ".join(cell.rjust(width) for cell, width in zip(titles, widths, strict=True))
        top = [] if header is None else ["=" * len(rule), header]
        return "\n".join([*top, rule, title, rule, *texts, rule, f"Self CPU time total: {_duration(total)}", ""])

    __str__ = table
    __repr__ = table

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the calls for chrome://tracing and ui.perfetto.dev."""
        where = {"pid": os.getpid(), "tid": threading.get_native_id()}
        events = [
            {
                "ph": "X",
                "cat": "cpu_op",
                "name": event.name,
                "ts": event.start,
                "dur": event.cpu_time_total,
                "args": {"Input Dims": event.input_shapes},
                **where,
            }
            for event in self
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.2f}%"


def _duration(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.3f}us"


def _size(count: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


class _Recorder:
    """Takes down the calls of this thread between `start` and `stop`."""

    def __init__(self, shapes: bool, memory: bool) -> None:
        self.events: list[FunctionEvent] = []
        self._shapes = shapes
        self._memory = memory
        self._open: list[FunctionEvent] = []
        self._before: tuple[Any, Any] | None = None

    def start(self) -> None:
        self._before = routing.interpreter, routing.timing
        routing.interpreter = functools.partial(self._operation, routing.interpreter)
        routing.timing = self

    def stop(self) -> None:
        if self._before is not None:
            routing.interpreter, routing.timing = self._before
            self._before = None

    def _operation(self, interpreter: Interpreter, operation: Operation, args: Any, options: Any) -> Any:
        return self(operation.name, args, interpreter, operation, args, options)

    def __call__(self, name: str, inputs: Iterable[Any], function: Callable[..., Any], *args: Any) -> Any:
        """The result of `function(*args)`, taken down as a call of that name."""
        with self.calling(name, inputs) as event:
            result = function(*args)
            if self._memory:
                results = result if isinstance(result, tuple | list) else (result,)
                size = sum(r.array.nbytes for r in results if isinstance(r, Tensor) and r._base is None)
                event.self_cpu_memory_usage = max(0, size - event.cpu_memory_usage)  # less that of calls within
                event.cpu_memory_usage += event.self_cpu_memory_usage
        return result

    @contextmanager
    def calling(self, name: str, inputs: Iterable[Any] = ()) -> Any:
        """Takes down what is done within."""
        shapes = [list(i.array.shape) if isinstance(i, Tensor) else [] for i in inputs] if self._shapes else []
        event = FunctionEvent(name, shapes, 1e6 * time.perf_counter())
        self.events.append(event)
        self._open.append(event)
        try:
            yield event
        finally:
            event.cpu_time_total = 1e6 * time.perf_counter() - event.start
            event.self_cpu_time_total += event.cpu_time_total
            self._open.pop()
            if self._open:
                around = self._open[-1]
                around.self_cpu_time_total -= event.cpu_time_total
                around.cpu_memory_usage += event.cpu_memory_usage


class record_function(ContextDecorator):  # noqa: N801 (PyTorch's name)
    """Gives what is done within a name in the profile; costs next to nothing where there is none."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self._calling: Any = None

    def _recreate_cm(self) -> record_function:
        return record_function(self.name)

    def __enter__(self) -> Self:
        if routing.timing is not None:
            self._calling = routing.timing.calling(self.name)
            self._calling.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        calling, self._calling = self._calling, None
        if calling is not None:
            calling.__exit__(kind, error, traceback)


class profile:  # noqa: N801 (PyTorch's name)
    """Takes down the operations that run within.

    Args:
        enabled: whether it does anything.
        record_shapes: also the shapes of their inputs.
        profile_memory: also the bytes of their results.
        options: others of PyTorch's, accepted.

    Example:
        >>> with torch.autograd.profiler.profile() as prof:
        ...     y = torch.ones(3).exp()
        >>> [event.name for event in prof.function_events]
        ['exp']
    """

    def __init__(
        self, enabled: bool = True, *, record_shapes: bool = False, profile_memory: bool = False, **options: Any
    ) -> None:
        self.enabled = enabled
        self._settings = (record_shapes, profile_memory)
        self._recorder = _Recorder(*self._settings)

    def _start(self) -> None:
        self._recorder = _Recorder(*self._settings)
        self._recorder.start()

    def __enter__(self) -> Self:
        if self.enabled:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recorder.stop()

    @property
    def function_events(self) -> EventList:
        """The calls, in order."""
        return EventList(self._recorder.events, self._settings[1])

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all, in microseconds."""
        return self.function_events.self_cpu_time_total

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """The calls of each name together; with `group_by_input_shape`, of each name and shapes."""
        return self.function_events.key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self) -> FunctionEvent:
        """All calls together."""
        return self.function_events.total_average()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **options: Any) -> str:
        """The calls, as text; see `EventList.table`."""
        return self.function_events.table(sort_by, row_limit, **options)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the calls for chrome://tracing and ui.perfetto.dev."""
        self.function_events.export_chrome_trace(path)

    def __str__(self) -> str:
        return self.table()
