"""Optimizer steps in compiled functions: before each run they are taken once more, up to the kernels.

So learning rates, step counts and whatever else an optimizer computes in Python for its kernels are numbers that the
program is given, by the optimizer's own code.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from rushlight.autograd import eager
from rushlight.compiler.graph import Input
from rushlight.ops.declare import interpreted_by, routing
from rushlight.ops.optimizer import Update
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
                if len(mine) != len(theirs) or not all(map(operator.is_, mine, theirs)):
                    return False
        return all(self.options[name] == other.options[name] for name in self.options if name not in self.numbers)


class UpdateCalls:
    """What an optimizer does for one of its groups in one step."""

    def __init__(self, optimizer: Any, group: dict[str, Any], parameters: list[Tensor]) -> None:
        self.optimizer = optimizer
        self.position = next(i for i, known in enumerate(optimizer.param_groups) if known is group)
        self.parameters = parameters
        self._new = [p for p in parameters if p not in optimizer.state]
        self._counters: list[tuple[Any, Any]] | None = None
        self._before = self._counts()
        self.recorded = self._take(group)
        self._counters = None

    def _counts(self) -> list[Any]:
        """Step counts and the like: what the optimizer's Python code changes of the parameters' states."""
        if self._counters is None:
            self._counters = []
            for parameter in self.parameters:
                state = self.optimizer.state.get(parameter, {})
                for key, value in state.items():
                    if isinstance(value, Tensor) and value.array.ndim == 0 and parameter.array.ndim:
                        self._counters.append((value.array, ()))
                    elif isinstance(value, (int, float)):
                        self._counters.append((state, key))
        return [container[key] for container, key in self._counters]

    def _take(self, group: dict[str, Any]) -> list[UpdateCall]:
        """One step, up to the kernels."""
        tracing, before = routing.tracing, routing.updates
        routing.tracing, routing.updates = None, []
        try:
            with interpreted_by(eager.evaluate):
                self.optimizer._update(group, self.parameters)
            return [UpdateCall(*call) for call in routing.updates]
        finally:
            routing.tracing, routing.updates = tracing, before

    def first_numbers(self) -> dict[Input, float]:
        """The numbers of the step that was recorded."""
        return {n: call.options[name] for call in self.recorded for name, n in call.numbers.items()}

    def numbers(self) -> dict[Input, float] | None:
        """Takes the next step; the numbers of the program, or None where it does something else than the first time."""
        groups = self.optimizer.param_groups
        self._new = []
        self._before = self._counts()
        if self.position >= len(groups):
            return None
        calls = self._take(groups[self.position])
        if len(calls) != len(self.recorded):
            return None
        found: dict[Input, float] = {}
        for known, call in zip(self.recorded, calls, strict=True):
            if not known.same_form(call):
                return None
            for name, number in known.numbers.items():
                found[number] = call.options[name]
        return found

    def step_back(self) -> None:
        """Undoes what the last step has changed in Python."""
        for (container, key), value in zip(self._counters or (), self._before, strict=False):
            container[key] = value
        for parameter in self._new:
            self.optimizer.state.pop(parameter, None)
