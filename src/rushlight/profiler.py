"""`rushlight.profiler`: where a program spends its time, in steps of which some are recorded.

What can be recorded is the CPU's: operations, gradients, optimizers' updates, calls of compiled functions (whose
kernels `compiled.profile()` times one by one).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from enum import Enum
from types import TracebackType
from typing import Any, Self

from rushlight.autograd import profiler as _profiler
from rushlight.autograd.profiler import EventList
from rushlight.autograd.profiler import record_function as record_function


class ProfilerActivity(Enum):
    """What is to be recorded; CPU is what can be."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3


class ProfilerAction(Enum):
    """What is done in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Which steps to record: after `skip_first` steps, cycles of `wait`, `warmup` and `active` ones.

    Args:
        wait: steps at the beginning of a cycle in which nothing is done.
        warmup: steps after these, in which nothing is done either.
        active: steps that are recorded.
        repeat: how many cycles there are; 0 for no end.
        skip_first: steps before the first cycle.
        skip_first_wait: whether the first cycle has no `wait`.

    Raises ValueError for numbers that are negative, and for no active steps.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise ValueError(
            f"Invalid profiler schedule arguments: wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, "
            f"skip_first={skip_first}; none may be negative, and active must be at least 1"
        )
    length = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        if repeat and step >= repeat * length:
            return ProfilerAction.NONE
        place = step % length
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if place < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def supported_activities() -> set[ProfilerActivity]:
    """The CPU's."""
    return {ProfilerActivity.CPU}


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For `on_trace_ready`: writes what was recorded into a file in `dir_name`, as PyTorch names it."""

    def handle(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        prof.export_chrome_trace(os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json"))

    return handle


class profile(_profiler.profile):  # noqa: N801 (PyTorch's name)
    """Takes down the operations that run within, all of them or those of the steps that `schedule` says.

    Args:
        activities: accepted; the CPU's are recorded.
        schedule: which steps are recorded, as `schedule()` makes it; all by default.
        on_trace_ready: called with this object when steps have been recorded.
        record_shapes: also the shapes of the inputs.
        profile_memory: also the bytes of the results.
        options: others of PyTorch's (with_stack, with_flops ...), accepted.

    Example:
        >>> with torch.profiler.profile() as prof:
        ...     with torch.profiler.record_function("forward"):
        ...         y = nn.Linear(4, 3)(torch.ones(2, 4))
        >>> sorted(event.key for event in prof.key_averages() if event.key in ("forward", "linear"))
        ['forward', 'linear']
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], None] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(record_shapes=record_shapes, profile_memory=profile_memory)
        self._schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self._on_trace_ready = on_trace_ready
        self.step_num = 0
        self._action = ProfilerAction.NONE

    def start(self) -> None:
        """Begins with the first step; `with` does it."""
        self._go_on(self._schedule(self.step_num))

    def stop(self) -> None:
        """Ends recording, and hands what was recorded to `on_trace_ready`; `with` does it."""
        self._go_on(ProfilerAction.NONE)

    def step(self) -> None:
        """Begins the next step."""
        self.step_num += 1
        self._go_on(self._schedule(self.step_num))

    def _go_on(self, action: ProfilerAction) -> None:
        before, self._action = self._action, action
        ends = before is ProfilerAction.RECORD_AND_SAVE or (before in _RECORDING and action not in _RECORDING)
        if ends:
            self._recorder.stop()
            if self._on_trace_ready is not None:
                self._on_trace_ready(self)
        if action in _RECORDING and (ends or before not in _RECORDING):
            self._start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def events(self) -> EventList:
        """The calls, in order."""
        return self.function_events
