"""Optimizer steps in compiled functions: before each run they are taken once more, up to the kernels.

So learning rates, step counts and whatever else an optimizer computes in Python for its kernels are numbers that the
program is given, by the optimizer's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

from rushlight.autograd import eager
from rushlight.compiler.graph import Input
from rushlight.compiler.watch import Watch
from rushlight.ops.declare import interpreted_by, routing
from rushlight.ops.optimizer import Update
from rushlight.optim.optimizer import count_step
from rushlight.submodules import PACKAGES
from rushlight.tensor.tensor import Tensor


class UpdateCall:
    """One call of an update: the lists of tensors (parameters, gradients, states) and the options."""

    def __init__(self, update: Update, lists: Sequence[Any], options: dict[str, Any]) -> None:
        self.update = update
        self.lists = [None if tensors is None else list(tensors) for tensors in lists]
        self.options = options
        self.numbers: dict[str, Input] = {}  # the options that the program takes as inputs

    def same_form(self, other: UpdateCall) -> bool:
        """Whether the two differ in numbers only."""
        if self.update is not other.update or len(self.lists) != len(other.lists):
            return False
        for position, (mine, theirs) in enumerate(zip(self.lists, other.lists, strict=True)):
            if position == 1:
                continue  # gradients: made anew in each call
            if (mine is None) != (theirs is None):
                return False
            if mine is not None and theirs is not None:
                if len(mine) != len(theirs) or not all(map(is_, mine, theirs)):
                    return False
        return all(self.options[name] == other.options[name] for name in self.options if name not in self.numbers)


class UpdateCalls:
    """What an optimizer does for one of its groups in one step."""

    def __init__(self, optimizer: Any, group: dict[str, Any], parameters: list[Tensor]) -> None:
        self.optimizer = optimizer
        self.position = next(i for i, known in enumerate(optimizer.param_groups) if known is group)
        self.parameters = parameters
        self._made = [p for p in parameters if not optimizer.state.get(p)]  # whose state the first step makes
        self._states: list[tuple[Tensor, dict[str, Any], list[Any]]] = []  # the parameters' states: their values
        self._counters: list[tuple[Any, Any]] = []  # step counts and the like: container and key
        self._counts: list[Any] = []  # their values before the step
        self._repetition: _Repetition | None = None  # of the last step, where the next one may be just that
        self._take_down()
        self._counts = [_memory(container)[key] for container, key in self._counters]
        try:
            self.recorded = self._take_outside(group)
        except BaseException:
            self.step_back()
            raise

    def _take_down(self) -> None:
        known = self.optimizer.state
        self._states = [(p, known[p], list(known[p].values())) for p in self.parameters if p in known]
        self._counters = [
            (value, ()) if isinstance(value, Tensor) else (state, key)
            for _, state, values in self._states
            for key, value in zip(state, values, strict=True)
            if not isinstance(value, Tensor) or not value.array.ndim
        ]
        self._counts_numbers = any(isinstance(container, dict) for container, _ in self._counters)

    def _take(self, group: dict[str, Any]) -> list[UpdateCall]:
        """One step, up to the kernels."""
        before, routing.updates = routing.updates, []
        try:
            self.optimizer._update(group, self.parameters)
            return [UpdateCall(*call) for call in routing.updates]
        finally:
            routing.updates = before

    def _take_outside(self, group: dict[str, Any]) -> list[UpdateCall]:
        """The same while a function is traced, which isn't to see it."""
        tracing, routing.tracing = routing.tracing, None
        try:
            with interpreted_by(eager.evaluate):
                return self._take(group)
        finally:
            routing.tracing = tracing

    def first_numbers(self) -> dict[Input, float]:
        """The numbers of the step that was recorded."""
        return {n: call.options[name] for call in self.recorded for name, n in call.numbers.items()}

    def numbers(self) -> dict[Input, float] | None:
        """Takes the next step; the numbers of the program, or None where it does something else than the first time."""
        self._counts = []
        if self._repetition is not None:
            repeated = self._repetition.numbers()
            if repeated is not None:
                return repeated
            self._repetition = None
        groups = self.optimizer.param_groups
        if self._made:
            self._made = []
            self._take_down()
        known = self.optimizer.state
        for parameter, state, values in self._states:
            now = known.get(parameter)
            if now is not state or len(now) != len(values) or not all(map(is_, now.values(), values)):
                return None
        if self.position >= len(groups):
            return None
        group = groups[self.position]
        self._counts = [_memory(container)[key] for container, key in self._counters]
        self._made = [p for p in self.parameters if not known.get(p)]
        calls = self._take(group)
        if len(calls) != len(self.recorded):
            return None
        found: dict[Input, float] = {}
        for recorded, call in zip(self.recorded, calls, strict=True):
            if not recorded.same_form(call):
                return None
            for name, number in recorded.numbers.items():
                found[number] = call.options[name]
        if self._counts_numbers:
            self._take_down()
        elif not any(map(known.get, self._made)) and _Repetition.may_follow(self.optimizer, group, calls):
            self._repetition = _Repetition(self, group, found)
        self._made = []
        return found

    def step_back(self) -> None:
        """Undoes what the last step has changed in Python."""
        if self._repetition is not None:
            self._repetition.step_back()
        for (container, key), value in zip(self._counters, self._counts, strict=False):
            _memory(container)[key] = value
        self._counts = []
        for parameter in self._made:
            self.optimizer.state.pop(parameter, None)
        self._made = []


def _memory(container: Any) -> Any:
    """Where a step count stands: in a tensor's array, or in a dictionary."""
    return container.array if isinstance(container, Tensor) else container


class _Repetition:
    """A step with the settings and states of the last one: its numbers are the same, but for the count of steps."""

    @staticmethod
    def may_follow(optimizer: Any, group: dict[str, Any], calls: Sequence[UpdateCall]) -> bool:
        """Whether an optimizer that has made these calls makes them again if nothing is changed."""
        if (
            not optimizer._repeats
            or optimizer._has_duplicates
            or type(optimizer).__module__.partition(".")[0] not in PACKAGES
        ):
            return False
        return not any(isinstance(setting, Tensor) for setting in group.values()) and not any(
            call.options.get("first") for call in calls
        )

    def __init__(self, calls: UpdateCalls, group: dict[str, Any], found: dict[Input, float]) -> None:
        optimizer = calls.optimizer
        states = [optimizer.state[p] for p in calls.parameters if p in optimizer.state]
        self._found = found
        steps = [state["step"] for state in states if "step" in state]
        self._steps = [step.array for step in steps]
        self._step = [number for call in calls.recorded for name, number in call.numbers.items() if name == "step"]
        self._counted = False
        self._watch = Watch()
        self._watch.attributes(optimizer, ("state", "param_groups"))
        self._watch.items(optimizer.param_groups)
        self._watch.items(group)
        self._watch.entries(optimizer.state, calls.parameters)
        for state in states:
            self._watch.items(state)
        for step in steps:
            self._watch.attributes(step, ("array",))

    def numbers(self) -> dict[Input, float] | None:
        """Counts the step; the numbers, or None where something has changed, and nothing is done."""
        self._counted = False
        if not self._watch.same():
            return None
        if self._steps:
            count = count_step(self._steps)
            if count < 0:
                return None
            self._counted = True
            for number in self._step:
                self._found[number] = int(count)
        return self._found

    def step_back(self) -> None:
        """Takes back what `numbers` has counted."""
        if self._counted:
            for step in self._steps:
                step -= 1
        self._counted = False
