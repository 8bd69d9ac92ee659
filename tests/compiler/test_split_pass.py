"""Elementwise work on what is joined and sliced: done to the parts, and computed right where the parts lie."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from graph_checks import arrays_for, check, close, named, run

from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.compiler.passes import fold, join_slices, remove_dead, simplify, split
from rushlight.compiler.program import Program
from rushlight.ops.declare import OPERATIONS


def split_alone(graph: Graph) -> Graph:
    return remove_dead(split(graph))


def test_what_is_done_to_a_whole_is_done_to_its_parts() -> None:
    # A rotary embedding: x cos + cat(-b, a) sin.
    check(
        split_alone,
        """
    argument %0: f32[2,32,40]
    argument %1: f32[32,40]
    %2: f32[2,32,20] = slice(%0, index=(..., slice(None, 20, None)))
    %3: f32[2,32,20] = slice(%0, index=(..., slice(20, None, None)))
    %4: f32[2,32,20] = negative(%3)
    %5: f32[2,32,40] = cat(%4, %2, dim=-1)
    %6: f32[2,32,40] = multiply(%5, %1)
    %7: f32[2,32,40] = cos(%0)
    %8: f32[2,32,40] = add(%7, %6)
    return %8
""",
        """
    argument %0: f32[2,32,40]
    argument %1: f32[32,40]
    %2: f32[2,32,20] = slice(%0, index=(..., slice(None, 20, None)))
    %3: f32[2,32,20] = slice(%0, index=(..., slice(20, None, None)))
    %4: f32[2,32,20] = negative(%3)
    %5: f32[32,20] = slice(%1, index=(..., slice(0, 20, None)))
    %6: f32[2,32,20] = multiply(%4, %5)
    %7: f32[32,20] = slice(%1, index=(..., slice(20, 40, None)))
    %8: f32[2,32,20] = multiply(%2, %7)
    %9: f32[2,32,20] = cos(%2)
    %10: f32[2,32,20] = add(%9, %6)
    %11: f32[2,32,20] = cos(%3)
    %12: f32[2,32,20] = add(%11, %8)
    %13: f32[2,32,40] = cat(%10, %12, dim=2)
    return %13
""",
        exact=False,
    )


def test_what_is_only_sliced_is_computed_slice_by_slice() -> None:
    check(
        split_alone,
        """
    argument %0: f32[64,40]
    argument %1: f32[64,1]
    %2: f32[64,40] = multiply(%0, %1)
    %3: f32[64,40] = exp(%2)
    %4: f32[64,10] = slice(%3, index=(slice(None, None, None), slice(0, 10, None)))
    %5: f32[64,30] = slice(%3, index=(slice(None, None, None), slice(10, 40, None)))
    return %4, %5
""",
        """
    argument %0: f32[64,40]
    argument %1: f32[64,1]
    %2: f32[64,10] = slice(%0, index=(..., slice(0, 10, None)))
    %3: f32[64,10] = multiply(%2, %1)
    %4: f32[64,10] = exp(%3)
    %5: f32[64,30] = slice(%0, index=(..., slice(10, 40, None)))
    %6: f32[64,30] = multiply(%5, %1)
    %7: f32[64,30] = exp(%6)
    return %4, %7
""",
        exact=False,
    )


@pytest.mark.parametrize(
    "rest",
    [
        "%4: f32[64,40] = exp(%3)\n    return %3, %4",  # the whole is wanted
        "%4: f32[40,64] = permute(%3, dims=(1, 0))\n    %5: f32[64,40] = exp(%3)\n    return %4, %5",
        "%4: f32[2,64,40] = multiply(%3, %2)\n    return %4",  # by more elements than there are
    ],
)
def test_a_whole_that_is_needed_stays(rest: str) -> None:
    text = f"""
    argument %0: f32[64,20]
    argument %1: f32[64,20]
    argument %2: f32[2,1,1]
    %3: f32[64,40] = cat(%0, %1, dim=1)
    {rest}
"""
    check(split, text, text)


def test_overlapping_slices_are_computed_once() -> None:
    text = """
    argument %0: f32[64,40]
    %1: f32[64,40] = exp(%0)
    %2: f32[64,30] = slice(%1, index=(slice(None, None, None), slice(0, 30, None)))
    %3: f32[64,30] = slice(%1, index=(slice(None, None, None), slice(10, 40, None)))
    return %2, %3
"""
    check(split, text, text, exact=False)


def test_gradients_of_slices_are_joined_in_longer_sums() -> None:
    check(
        lambda graph: remove_dead(join_slices(graph)),
        """
    argument %0: f32[4,2]
    argument %1: f32[4,3]
    argument %2: f32[4,5]
    argument %3: f32[4,5]
    %4: f32[4,5] = slice_gradient(%0, shape=(4, 5), index=(..., slice(0, 2, None)))
    %5: f32[4,5] = add(%2, %4)
    %6: f32[4,5] = add(%5, %3)
    %7: f32[4,5] = slice_gradient(%1, shape=(4, 5), index=(..., slice(2, 5, None)))
    %8: f32[4,5] = add(%6, %7)
    return %8
""",
        """
    argument %0: f32[4,2]
    argument %1: f32[4,3]
    argument %2: f32[4,5]
    argument %3: f32[4,5]
    %4: f32[4,5] = cat(%0, %1, dim=1)
    %5: f32[4,5] = add(%2, %4)
    %6: f32[4,5] = add(%3, %5)
    return %6
""",
        exact=False,
    )


@pytest.mark.parametrize(
    ("joining", "view", "copies"),
    [
        ("f32[4,6,5] = cat(%2, %3, dim=1)", "", 0),
        ("f32[4,3,10] = cat(%2, %3, dim=-1)", "", 0),
        ("f32[8,3,5] = cat(%2, %3, dim=0)", "", 0),
        ("f32[4,2,3,5] = stack(%2, %3, dim=1)", "", 0),
        ("f32[3,8,5] = cat(%4, %5, dim=1)", "f32[3,4,5] = permute({}, dims=(1, 0, 2))", 0),
        ("f32[4,30] = cat(%4, %5, dim=1)", "f32[4,15] = reshape({}, shape=(4, 15))", 0),
        ("f32[4,15,2] = cat(%4, %5, dim=2)", "f32[4,15,1] = reshape({}, shape=(4, 15, 1))", 2),  # no whole lines
        ("f32[8,3,5] = cat(%2, %2, dim=0)", "", 1),
    ],
)
def test_parts_are_computed_where_they_lie(joining: str, view: str, copies: int) -> None:
    seen = f"%4: {view.format('%2')}\n    %5: {view.format('%3')}\n    " if view else ""
    text = f"""
    argument %0: f32[4,3,5]
    %2: f32[4,3,5], %3: f32[4,3,5] = fused(%0) {{ b = exp(a); c = negative(a); return b, c }}
    {seen}%9: {joining}
    return %9
"""
    graph = named(text)
    x = arrays_for(graph)["0"]
    program = Program(graph)
    assert [call.kind for call in program.calls] == ["elementwise", *["copy"] * copies]
    known = {"%2": np.exp(x), "%3": -x}
    for source, seen_as in (("%2", "%4"), ("%3", "%5")):
        known[seen_as] = known[source].transpose(1, 0, 2) if "permute" in view else known[source]
        if "reshape" in view:
            known[seen_as] = known[source].reshape((4, 15, 1) if copies else (4, 15))
    parts = [known[name] for name in ("%2", "%3", "%4", "%5") for _ in range(joining.count(name))]
    dim = int(joining.partition("dim=")[2].rstrip(")"))
    expected = np.stack(parts, dim) if "stack" in joining else np.concatenate(parts, dim)
    for _ in range(2):
        np.testing.assert_allclose(program.run([x], [])[0], expected, rtol=1e-6)


def test_a_reshape_copies_right_to_where_it_is_joined() -> None:
    graph = named(
        """
    argument %0: f32[4,3,5]
    argument %1: f32[4,5,6]
    argument %2: f32[3,24]
    %3: f32[4,3,6] = matmul(%0, %1)
    %4: f32[3,4,6] = permute(%3, dims=(1, 0, 2))
    %5: f32[3,24] = reshape(%4, shape=(3, 24))
    %6: f32[3,24] = negative(%2)
    %7: f32[3,48] = cat(%5, %6, dim=1)
    return %7
"""
    )
    a, b, c = (np.random.default_rng(k).random(given.shape, np.float32) for k, given in enumerate(graph.inputs))
    program = Program(graph)
    assert [call.kind for call in program.calls] == ["kernel", "copy", "elementwise"]
    expected = np.concatenate([(a @ b).transpose(1, 0, 2).reshape(3, 24), -c], 1)
    np.testing.assert_allclose(program.run([a, b, c], [])[0], expected, rtol=1e-6)


def test_a_permute_goes_before_a_reshape_that_merges() -> None:
    check(
        lambda graph: remove_dead(fold(graph)),
        """
    argument %0: f32[2,3,4,5]
    %1: f32[4,2,3,5] = permute(%0, dims=(2, 0, 1, 3))
    %2: f32[4,2,15] = reshape(%1, shape=(4, 2, 15))
    %3: f32[2,4,15] = permute(%2, dims=(1, 0, 2))
    return %3
""",
        """
    argument %0: f32[2,3,4,5]
    %1: f32[2,4,3,5] = permute(%0, dims=(0, 2, 1, 3))
    %2: f32[2,4,15] = reshape(%1, shape=(2, 4, 15))
    return %2
""",
    )


def test_slices_of_all_elements_and_their_gradients_are_reshapes() -> None:
    check(
        lambda graph: remove_dead(fold(graph)),
        """
    argument %0: f32[2,1,4]
    argument %1: f32[2,4]
    %2: f32[2,1,4,1] = slice(%0, index=(slice(None, None, None), slice(0, 1, None), slice(0, 4, 1), None))
    %3: f32[2,1,4] = slice_gradient(%1, shape=(2, 1, 4), index=(..., 0, slice(None, None, None)))
    return %2, %3
""",
        """
    argument %0: f32[2,1,4]
    argument %1: f32[2,4]
    %2: f32[2,1,4,1] = reshape(%0, shape=(2, 1, 4, 1))
    %3: f32[2,1,4] = reshape(%1, shape=(2, 1, 4))
    return %2, %3
""",
    )


def random_parts(seed: int) -> Graph:
    """A graph that joins, slices, permutes and computes, the same elements again and again."""
    random = np.random.default_rng(seed)
    graph = Graph()
    values: list[Value] = []
    for shape in [(4, 6), (4, 6), (4, 1), (6,)]:
        graph.inputs.append(Input("argument", shape, np.dtype(np.float32), None, str(len(values))))
        values.append(graph.inputs[-1])

    def emit(operation: str, inputs: list[Any], options: dict[str, Any]) -> None:
        spec = OPERATIONS[operation].spec(*inputs, **options)
        graph.nodes.append(Node(operation, inputs, options, [(spec.shape, spec.dtype)]))
        values.append(graph.nodes[-1].outputs[0])

    def pick(shape: tuple[int, ...] = (4, 6)) -> Value:
        fitting = [value for value in values if value.shape == shape]
        return fitting[int(random.integers(max(0, len(fitting) - 5), len(fitting)))]

    for _ in range(12):
        kind = random.random()
        cut = int(random.integers(1, 6))
        if kind < 0.4:
            emit("multiply", [pick(), [pick(), pick((4, 1)), pick((6,)), 0.5][int(random.integers(4))]], {})
            emit(str(random.choice(["tanh", "negative", "relu"])), [pick()], {})
        elif kind < 0.7:  # two parts, and the whole of them in another order
            whole, other = pick(), pick() if random.random() < 0.3 else None
            emit("slice", [whole], {"index": (slice(None), slice(cut, 6))})
            emit("slice", [other or whole], {"index": (Ellipsis, slice(0, cut))})
            parts = values[-2:]
            if random.random() < 0.5:
                emit("negative", [parts[0]], {})
                parts[0] = values[-1]
            emit("cat", parts, {"dim": -1})
            emit("add", [pick(), values[-1]], {})
        elif kind < 0.85:
            emit("stack", [pick(), pick()], {"dim": 1})
            emit("slice", [values[-1]], {"index": (slice(None), int(random.integers(2)))})
        else:
            emit("permute", [pick()], {"dims": (1, 0)})
            if random.random() < 0.5:
                emit("tanh", [values[-1]], {})
                emit("permute", [values[-1]], {"dims": (1, 0)})
            else:  # copies, after a product that programs don't compute
                emit("matmul", [values[-1], pick()], {})
                emit("permute", [values[-1]], {"dims": (1, 0)})
                emit("reshape", [values[-1]], {"shape": (9, 4)})
                emit("permute", [values[-1]], {"dims": (1, 0)})
                emit("slice", [pick((4, 6))], {"index": (slice(None), slice(0, 3))})
                emit("cat", [values[-1], values[-2], values[-1]], {"dim": 1})
                emit("slice", [values[-1]], {"index": (slice(None), slice(3, 9))})
    graph.outputs = (values[-1], pick(), pick())
    return graph


def by_meanings(graph: Graph, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the graph returns, node by node on NumPy."""
    known: dict[Value, Any] = {given: arrays[given.name] for given in graph.inputs}
    for node in graph.nodes:
        operands = [known[item] if isinstance(item, Value) else item for item in node.inputs]
        known[node.outputs[0]] = OPERATIONS[node.operation].meaning(np, *operands, **node.options)
    return [known[value] for value in graph.outputs]


@pytest.mark.parametrize("seed", range(60))
def test_random_parts_compute_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[split.__module__], "_LEAST", 0)
    graph = random_parts(seed)
    arrays = {name: np.nan_to_num(array, posinf=1) for name, array in arrays_for(graph, seed).items()}
    expected = by_meanings(graph, arrays)
    for prepare in (lambda g: g, split, simplify):
        found = run(prepare(random_parts(seed)), arrays)[0]
        for x, y in zip([*expected, *expected], found, strict=True):
            close(np.ascontiguousarray(x), y)
