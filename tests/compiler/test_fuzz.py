"""Random programs, eager and compiled: results, gradients and what was written in place.

RUSHLIGHT_FUZZ=N runs N programs instead of the usual number; a seed that fails is one of the test's parameters.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest
from compiled_comparison import check_same, same_as_eager, values
from random_programs import Program
from random_training import Training

import rushlight as rl

COUNT = int(os.environ.get("RUSHLIGHT_FUZZ", "160"))
EACH = 8


@pytest.mark.parametrize("block", range(-(-COUNT // EACH)))
def test_random_programs(block: int) -> None:
    for seed in range(block * EACH, (block + 1) * EACH):
        check(seed)


def check(seed: int) -> None:
    program = Program(seed)
    state = program.state(0)
    eager_state = program.state(0)
    compiled = rl.compile(lambda *arguments: program.run(list(arguments), state))
    for number in range(3):
        found, expected = program.arguments(number), program.arguments(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                wanted = program.run(expected, eager_state)
            except RuntimeError as error:
                if type(error) is RuntimeError:  # a value that a gradient needs was overwritten, say
                    with pytest.raises(RuntimeError):
                        compiled(*found)
                return  # a matrix that can't be factored: a program leaves out what nobody asks for
            results = compiled(*found)
        what = f"seed {seed}, call {number}: {program}"
        check_same(gathered(results, found, state), gathered(wanted, expected, eager_state), what)
    assert compiled.cache_info().misses == 1, what


@pytest.mark.parametrize("block", range(-(-COUNT // EACH)))
def test_random_programs_differentiated_outside(block: int) -> None:
    native = [differentiated_outside(seed) for seed in range(block * EACH, (block + 1) * EACH)]
    assert any(native)


def differentiated_outside(seed: int) -> bool:
    """Whether the program ran natively."""
    program = Program(seed)
    state, eager_state = program.state(0), program.state(0)
    compiled = rl.compile(lambda *arguments: program.forward(list(arguments), state))
    for number in range(3):
        found, expected = program.arguments(number), program.arguments(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                wanted = program.forward(expected, eager_state)
            except RuntimeError:
                return False
            results = compiled(*found)
            faults = []
            for run in (wanted, results):
                try:
                    program.backward(run)
                except RuntimeError as error:
                    faults.append(type(error))
        what = f"seed {seed}, call {number}: {program}"
        if faults and faults[0] is not RuntimeError:
            return False  # a matrix that can't be factored: a program leaves out what nobody asks for
        if faults:  # a value that a gradient needs was overwritten, say
            assert len(faults) == 2 and faults[0] is faults[1], what
            return False
        check_same(gathered(results, found, state), gathered(wanted, expected, eager_state), what)
        for holder in (state, eager_state):
            holder.detach_()
            holder.array[...] = program.state(number).array
    try:
        return bool(compiled.graph())
    except RuntimeError:
        return False


@pytest.mark.parametrize("block", range(-(-COUNT // EACH)))
def test_random_training(block: int) -> None:
    for seed in range(block * EACH, (block + 1) * EACH):
        training = Training(seed)
        rl.set_default_dtype(rl.float64)  # steps of optimizers amplify roundings
        try:
            same_as_eager(training.build, training.inputs, calls=7, between=training.between, traced=None)
        except Exception as error:
            error.add_note(str(training))
            raise
        finally:
            rl.set_default_dtype(rl.float32)


def gathered(results: Any, arguments: Any, state: Any) -> Any:
    return [values(results), [values(t.grad) for t in arguments], values(state)]
