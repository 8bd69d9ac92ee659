"""Random training with random changes between its calls: a compiled twin does what the eager one does.

A machine of hypothesis draws a network, optimizers and a step, then calls and changes in any order. After each call all
that a user can see of the two is compared. RUSHLIGHT_FUZZ=N draws N such trainings instead of the usual number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from changing_training import CLASSES, FRONTS, LAYERS, OPTIMIZERS, WORDS, Training
from compiled_comparison import check_same, values
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from training_changes import CHANGES

import rushlight as rl

few = st.integers(0, 11)


def coarse(item: Any) -> Any:
    """Nested arrays in float32 where they are in float64: states of float32 parameters may be."""
    if isinstance(item, np.ndarray):
        return item.astype(np.float32) if item.dtype == np.float64 else item
    if isinstance(item, dict):
        return {key: coarse(entry) for key, entry in item.items()}
    return [coarse(entry) for entry in item] if isinstance(item, list) else item


class RandomChanges(RuleBasedStateMachine):
    """The eager training, and its compiled twin."""

    @initialize(
        front=st.sampled_from(list(FRONTS)),
        layers=st.lists(st.sampled_from(list(LAYERS)), max_size=3),
        optimizers=st.lists(st.sampled_from(list(OPTIMIZERS)), min_size=1, max_size=2),
        groups=st.integers(1, 2),
    )
    def make(self, front: str, layers: list[str], optimizers: list[str], groups: int) -> None:
        rl.set_default_dtype(rl.float64)
        self.twins = [Training(compiles, front, layers, optimizers, groups) for compiles in (False, True)]
        self.over = False

    def teardown(self) -> None:
        rl.set_default_dtype(rl.float32)
        rl.set_num_threads(2)

    def each(self, action: Callable[[Training], Any]) -> list[Any]:
        """Has both do something: what comes of it, or the error."""
        found = []
        for twin in self.twins:
            rl.set_rng_state(twin.random)
            try:
                found.append(action(twin))
            except Exception as error:
                found.append(error)
            twin.random = rl.get_rng_state()
        return found

    @rule(name=st.sampled_from(list(CHANGES)), number=few)
    def change(self, name: str, number: int) -> None:
        if not self.over:
            expected, found = self.each(lambda twin: CHANGES[name](twin, number))
            if isinstance(expected, Exception) or isinstance(found, Exception):
                if type(expected) is not type(found) and "copied" not in name:  # what forward has set may be no leaf
                    raise AssertionError(f"{name}: {expected!r} is {found!r} in the compiled twin")
                self.over = True

    @rule(name=st.sampled_from(list(CHANGES)), number=few, seed=few)
    def change_and_train(self, name: str, number: int, seed: int) -> None:
        self.change(name, number)
        self.train(seed, 4, 5)

    @rule(seed=few, size=st.sampled_from([4, 4, 3, 1]), length=st.sampled_from([5, 5, 3]))
    def train(self, seed: int, size: int, length: int) -> None:
        self.call(lambda t: t.called["train"](*t.inputs(seed, size, length)))

    @rule(seed=few, size=st.sampled_from([4, 3]))
    def evaluate(self, seed: int, size: int) -> None:
        self.call(lambda t: t.called["evaluate"](t.inputs(seed, size, 5)[0]))

    @rule(seed=few, size=st.sampled_from([4, 3]))
    def differentiate_outside(self, seed: int, size: int) -> None:
        self.call(lambda t: t.outside(*t.inputs(seed, size, 5)))

    @rule(seed=few, fault=st.sampled_from(["label", "word", "last label"]))
    def fail(self, seed: int, fault: str) -> None:
        def call(t: Training) -> Any:
            x, y = t.inputs(seed, 4, 5)
            if fault == "word" and not t.floating:
                x[1, 1] = WORDS
            else:
                y[3 if fault == "last label" else 0] = CLASSES
            return t.called["train"](x, y)

        self.call(call)

    def call(self, action: Callable[[Training], Any]) -> None:
        if self.over:
            return
        plain, compiled = self.twins
        before = compiled.state()
        expected, found = self.each(lambda twin: values(action(twin)))
        if isinstance(expected, Exception) or isinstance(found, Exception):
            if not (isinstance(expected, Exception) and isinstance(found, Exception)):
                error = found if isinstance(found, Exception) else expected
                raise AssertionError(f"{expected!r} is {found!r} in the compiled twin") from error
            self.failed(compiled, before)
            return
        pair = [(found, expected), (compiled.state(), plain.state())]
        for mine, other in [[coarse(a), coarse(b)] for a, b in pair] if plain.is_coarse else pair:
            check_same(mine, other)
        for mine, other in zip(compiled.tensors(), plain.tensors(), strict=True):
            np.copyto(mine.array, other.array)

    def failed(self, compiled: Training, before: Any) -> None:
        """A call that fails leaves parameters, buffers and optimizers as they were."""
        after = compiled.state()
        for holders in (before, after):
            for holder in holders[0][:2]:
                holder.pop("gradients", None)
        check_same(after[0], before[0], "after an error")
        self.over = True


RandomChanges.TestCase.settings = settings(
    max_examples=int(os.environ.get("RUSHLIGHT_FUZZ", "100")),
    stateful_step_count=24,
    deadline=None,
    derandomize="RUSHLIGHT_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
test_random_changes = RandomChanges.TestCase
