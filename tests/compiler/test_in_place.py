"""Results in the memory of inputs that are not read again, and in the memory that they are written to at the end."""

import numpy as np
import pytest
from graph_checks import arrays_for, close, named, random_graph, run

from rushlight.compiler.graph import Graph, Value
from rushlight.compiler.passes import simplify
from rushlight.compiler.program import Program
from rushlight.ops.declare import OPERATIONS


def by_meaning(graph: Graph, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What a graph returns, node by node, each value in memory of its own."""
    known: dict[Value, np.ndarray] = {given: np.array(arrays[given.name]) for given in graph.inputs}
    for node in graph.nodes:
        operands = [np.array(known[item]) if isinstance(item, Value) else item for item in node.inputs]
        result = OPERATIONS[node.operation].reference(operands, node.options)
        for value, array in zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=True):
            known[value] = np.array(array, value.dtype)
    memory = {target.name: known[value] for target, value in graph.writes}
    return [known[value] for value in graph.outputs] + list(memory.values())


def run_once(graph: Graph, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    for given in graph.inputs:
        if given.kind == "state":
            given.array = arrays[given.name].copy()
    program = Program(graph)
    returned = program.run([arrays[given.name].copy() for given in graph.inputs if given.kind == "argument"], [])
    return returned + [target.array for target, _ in graph.writes]


@pytest.mark.parametrize("simplified", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_compute_what_their_operations_mean(seed, simplified):
    arrays = arrays_for(random_graph(seed), seed)
    expected = by_meaning(random_graph(seed), arrays)
    graph = random_graph(seed)
    if simplified:
        simplify(graph)
    found, _ = run(graph, arrays)
    for x, y in zip([*expected, *expected], found, strict=True):
        close(x, y)


CHAIN = """
    argument %0: f32[100,100]
    %1: f32[100,100] = exp(%0)
    %2: f32[100,100] = multiply(%1, %0)
    %3: f32[100,100] = sigmoid(%2)
    %4: f32[100] = sum(%3, dim=(0,))
    return %4
    """


def test_a_chain_takes_the_memory_of_one_value():
    graph = named(CHAIN)
    arrays = arrays_for(graph)
    for x, y in zip(by_meaning(named(CHAIN), arrays), run_once(graph, arrays), strict=True):
        close(x, y)
    assert Program(graph).arena_bytes < 2 * 40000


def loop(kind: str, first: str) -> str:
    """Ten rows of a buffer written one after the other."""
    lines = [f"{kind} %0: f32[10,4000]", "argument %1: f32[4000]"]
    last = "%0"
    if first:
        lines.append(f"%2: f32[10,4000] = {first}")
        last = "%2"
    for row in range(10):
        lines.append(f"%{10 + row}: f32[4000] = multiply(%1, {row})")
        scatter = f"view_scatter({last}, %{10 + row}, views=((op.slice, {{'index': ({row},)}}),))"
        lines.append(f"%{30 + row}: f32[10,4000] = {scatter}")
        last = f"%{30 + row}"
    return "\n".join([*lines, f"%50: f32[10] = sum({last}, dim=(1,))", "return %50", "write %0 <- " + last])


@pytest.mark.parametrize("first", ["", "exp(%0)"])
def test_a_buffer_that_is_written_in_a_loop_is_not_copied(first):
    text = loop("state", first)
    graph = named(text)
    arrays = arrays_for(graph)
    for x, y in zip(by_meaning(named(text), arrays), run_once(graph, arrays), strict=True):
        close(x, y)
    program = Program(graph)
    assert program.arena_bytes < 160000
    assert not any(call.kind == "copy" and call.results[0].size == 40000 for call in program.calls)


def test_a_buffer_whose_first_values_are_read_later_is_copied():
    text = loop("state", "").replace("return %50", "%51: f32[10] = sum(%0, dim=(1,))\nreturn %50, %51")
    graph = named(text)
    arrays = arrays_for(graph)
    for x, y in zip(by_meaning(named(text), arrays), run_once(graph, arrays), strict=True):
        close(x, y)


@pytest.mark.parametrize(
    "line",
    [
        "multiply(%2, %3)",
        "view_scatter(%2, %6, views=((op.slice, {'index': (slice(1, 200, None),)}),))",
        "add(%2, %7)",
        "add(%2, %8)",
    ],
)
def test_overlapping_reads_keep_the_memory(line):
    """Results that are made from a value and from a view of it that lies in another order."""
    text = f"""
        argument %0: f32[200,200]
        %2: f32[200,200] = exp(%0)
        %3: f32[200,200] = permute(%2, dims=(1, 0))
        %6: f32[199,200] = slice(%2, index=(slice(0, 199, None),))
        %7: f32[200] = slice(%2, index=(3,))
        %8: f32[200,1] = slice(%2, index=(slice(None, None, None), slice(3, 4, None)))
        %9: f32[200,200] = {line}
        %10: f32[200] = sum(%9, dim=(0,))
        return %10
        """
    graph = named(text)
    arrays = arrays_for(graph)
    for x, y in zip(by_meaning(named(text), arrays), run_once(graph, arrays), strict=True):
        close(x, y)


def test_state_that_is_changed_element_by_element_is_changed_where_it_lies():
    text = """
        state %0: f32[200,200]
        argument %1: f32[200,200]
        %2: f32[200,200] = fused(%0, %1) { c = multiply(b, -0.1); d = add(a, c); return d }
        write %0 <- %2
        """
    graph = named(text)
    arrays = arrays_for(graph)
    with np.errstate(invalid="ignore"):
        expected = arrays["0"] + arrays["1"] * np.float32(-0.1)
    close(expected, run_once(graph, arrays)[0])
    program = Program(graph)
    assert program.arena_bytes == 0 and len(program.calls) == 1


def test_state_that_is_read_in_another_order_is_not():
    text = """
        state %0: f32[200,200]
        %1: f32[200,200] = permute(%0, dims=(1, 0))
        %2: f32[200,200] = add(%0, %1)
        write %0 <- %2
        """
    graph = named(text)
    arrays = arrays_for(graph)
    close(arrays["0"] + arrays["0"].T, run_once(graph, arrays)[0])
