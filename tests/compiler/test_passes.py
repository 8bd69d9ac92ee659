"""Each pass by itself: text in, text out, and the same values before and after."""

from collections.abc import Callable

import numpy as np
import pytest

import rushlight.nn  # noqa: F401 (declares the operations)
from rushlight.compiler.graph import Graph
from rushlight.compiler.passes import simplify
from rushlight.compiler.passes.common import merge_common
from rushlight.compiler.passes.dead import remove_dead
from rushlight.compiler.program import Program
from rushlight.compiler.text import parse


def arrays_for(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Values for a graph's inputs, by their names in its text, with the numbers among them that tell signs apart."""
    random = np.random.default_rng(seed)
    found = {}
    for position, given in enumerate(graph.inputs):
        values = random.normal(size=given.shape) * 3
        if given.dtype.kind == "f" and given.size > 4:
            values.flat[:4] = [0.0, -0.0, np.nan, np.inf]
        found[given.name or str(position)] = (values > 0 if given.dtype == np.bool_ else values).astype(given.dtype)
    return found


def run(graph: Graph, arrays: dict[str, np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """What a graph returns as a program, and its arguments and state after two runs. Inputs are known by name."""
    memory = {given.name: arrays[given.name].copy() for given in graph.inputs if given.kind in ("argument", "state")}
    for given in graph.inputs:
        if given.kind != "argument" and given.array is None:
            given.array = memory.get(given.name, arrays[given.name])
    program = Program(graph)
    arguments = [memory[given.name] for given in graph.inputs if given.kind == "argument"]
    numbers = [0.5 for given in graph.inputs if given.kind == "number"]
    first = program.run(arguments, numbers)
    second = program.run(arguments, numbers)
    return [*first, *second], memory


def named(text: str) -> Graph:
    """The graph of a text, its inputs named by their place."""
    graph = parse(text)
    for position, given in enumerate(graph.inputs):
        given.name = given.name or str(position)
    return graph


def same_bits(x: np.ndarray, y: np.ndarray) -> None:
    assert x.dtype == y.dtype and x.shape == y.shape
    np.testing.assert_array_equal(x, y)
    if x.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(x[~np.isnan(x)]), np.signbit(y[~np.isnan(y)]))


def close(x: np.ndarray, y: np.ndarray) -> None:
    assert x.dtype == y.dtype and x.shape == y.shape
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def check(run_pass: Callable[[Graph], Graph], before: str, after: str, exact: bool = True) -> None:
    """A pass turns the text `before` into `after` (up to the names of values), which computes the same."""
    graph = named(before)
    arrays = arrays_for(graph)
    expected, memory = run(named(before), arrays)
    run_pass(graph)
    found, memory_found = run(graph, arrays)
    compare = same_bits if exact else close
    for x, y in zip(expected, found, strict=True):
        compare(x, y)
    for name, after_run in memory.items():
        compare(after_run, memory_found.get(name, arrays[name]))
    for given in graph.inputs:
        given.name = ""
    assert str(graph).splitlines() == str(parse(after)).splitlines()


def test_dead_nodes_and_inputs():
    check(
        remove_dead,
        """
        argument %0: f32[3]
        argument %1: f32[3]
        state %2: f32[3]
        state %3: f32[3]
        number %4: f64[] "lr"
        %5: f32[3] = exp(%0)
        %6: f32[3] = exp(%3)
        %7: f32[3] = add(%6, %5)
        return %5
        write %2 <- %2
        """,
        """
        argument %0: f32[3]
        argument %1: f32[3]
        %5: f32[3] = exp(%0)
        return %5
        """,
    )


def test_dead_keeps_nodes_of_which_one_output_is_used():
    text = """
        argument %0: f32[3,4]
        %1: f32[3], %2: i64[3] = max_with_indices(%0, dim=1, keepdim=False)
        return %2
        """
    check(remove_dead, text, text)


def test_common():
    check(
        merge_common,
        """
        argument %0: f32[2,3]
        %1: f32[2,3] = add(%0, 1)
        %2: f32[2,3] = add(%0, 1)
        %3: f32[2,3] = exp(%1)
        %4: f32[2,3] = exp(%2)
        %5: f32[2] = slice(%3, index=(slice(0, 2, None), 1))
        %6: f32[2,3] = slice(%4, index=(slice(0, 2, None),))
        %7: f32[2,3] = slice(%4, index=(slice(0, 2, None),))
        return %5, %6, %7
        """,
        """
        argument %0: f32[2,3]
        %1: f32[2,3] = add(%0, 1)
        %3: f32[2,3] = exp(%1)
        %5: f32[2] = slice(%3, index=(slice(0, 2, None), 1))
        %6: f32[2,3] = slice(%3, index=(slice(0, 2, None),))
        return %5, %6, %6
        """,
    )


@pytest.mark.parametrize("numbers", [("0.0", "-0.0"), ("1", "1.0"), ("1", "True"), ("0.0", "1.0")])
def test_numbers_that_differ_in_any_way_are_not_common(numbers):
    text = f"""
        argument %0: f32[8]
        %1: f32[8] = multiply(%0, {numbers[0]})
        %2: f32[8] = multiply(%0, {numbers[1]})
        return %1, %2
        """
    check(merge_common, text, text)


def test_nan_is_common_with_itself():
    graph = named("argument %0: f32[4]\n%1: f32[4] = add(%0, nan)\n%2: f32[4] = add(%0, nan)\nreturn %1, %2")
    assert len(merge_common(graph).nodes) == 1


def test_equal_constants_are_common():
    check(
        merge_common,
        """
        argument %0: f32[2]
        constant %1: f32[2] = [1.0, 2.0]
        constant %2: f32[2] = [1.0, 2.0]
        constant %3: f32[2] = [1.0, -0.0]
        %4: f32[2] = add(%0, %1)
        %5: f32[2] = add(%0, %2)
        %6: f32[2] = add(%0, %3)
        return %4, %5, %6
        """,
        """
        argument %0: f32[2]
        constant %1: f32[2] = [1.0, 2.0]
        constant %3: f32[2] = [1.0, -0.0]
        %4: f32[2] = add(%0, %1)
        %6: f32[2] = add(%0, %3)
        return %4, %4, %6
        """,
    )


def test_updates_are_not_common():
    line = "= sgd_update((%0,), (%1,), None, lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=False, "
    text = f"""
        state %0: f32[3]
        argument %1: f32[3]
        %2: f32[3] {line} maximize=False, first=True)
        %3: f32[3] {line.replace("(%0,)", "(%2,)")} maximize=False, first=True)
        write %0 <- %3
        """
    check(merge_common, text, text)


def test_simplify_runs_all_passes():
    graph = named(
        "argument %0: f32[4]\n%1: f32[4] = exp(%0)\n%2: f32[4] = exp(%0)\n%3: f32[4] = sin(%0)\nreturn %1, %2"
    )
    assert len(simplify(graph).nodes) == 1
