"""Reductions at the end of programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graph_checks import arrays_for, check, close, named, random_graph, run

import rushlight as rl
from rushlight.compiler.graph import Graph, Node
from rushlight.compiler.passes import fuse, reduce_at_end, remove_dead
from rushlight.compiler.program import Program
from rushlight.compiler.text import parse


def test_elements_that_are_only_summed_up_are_no_result() -> None:
    check(
        reduce_at_end,
        """
    argument %0: f32[64,3]
    argument %1: f32[64,3]
    %2: f32[64,3] = fused(%0, %1) { c = subtract(a, b); d = multiply(c, c); return d }
    %3: f32[] = mean(%2)
    return %3
""",
        """
    argument %0: f32[64,3]
    argument %1: f32[64,3]
    %2: f32[] = fused(%0, %1) { c = subtract(a, b); d = multiply(c, c); return mean(d) }
    return %2
""",
    )


def test_elements_that_others_read_stay_a_result() -> None:
    check(
        reduce_at_end,
        """
    argument %0: f32[64,3]
    %1: f32[64,3], %2: f32[64,3] = fused(%0) { b = exp(a); c = tanh(b); return b, c }
    %3: f32[192] = reshape(%2, shape=(192,))
    %4: f32[1] = sum(%3, dim=(0,), keepdim=True)
    %5: f32[] = mean(%1, dim=(0, 1))
    %6: f32[] = sum(%1)
    %7: f32[3,64] = permute(%1, dims=(1, 0))
    %8: f32[3,3] = matmul(%7, %1)
    return %4, %5, %6, %8
""",
        """
    argument %0: f32[64,3]
    %1: f32[64,3], %2: f32[1], %3: f32[], %4: f32[] =
        fused(%0) { b = exp(a); c = tanh(b); return b, sum(c), mean(b), sum(b) }
    %7: f32[3,64] = permute(%1, dims=(1, 0))
    %8: f32[3,3] = matmul(%7, %1)
    return %2, %3, %4, %8
""".replace(" =\n       ", " ="),
    )


def test_a_single_operation_becomes_a_program() -> None:
    check(
        reduce_at_end,
        """
    argument %0: f64[5]
    %1: f64[5] = tanh(%0)
    %2: f64[] = sum(%1)
    return %2, %1
""",
        """
    argument %0: f64[5]
    %1: f64[5], %2: f64[] = fused(%0) { b = tanh(a); return b, sum(b) }
    return %2, %1
""",
    )


def test_rows_are_summed_up() -> None:
    check(
        reduce_at_end,
        """
    argument %0: f32[4,5,64]
    %1: f32[4,5,64] = tanh(%0)
    %2: f32[4,5] = sum(%1, dim=(-1,))
    %3: f32[20,64] = reshape(%1, shape=(20,64))
    %4: f32[20,1] = mean(%3, dim=1, keepdim=True)
    %5: f32[4] = sum(%1, dim=(1, 2))
    %6: f32[] = mean(%1)
    return %2, %4, %5, %6
""",
        """
    argument %0: f32[4,5,64]
    %1: f32[4,5,64], %2: f32[4,5], %3: f32[20,1], %4: f32[] =
        fused(%0) { b = tanh(a); return b, sum(b), mean(b), mean(b) }
    %5: f32[4] = sum(%1, dim=(1, 2))
    return %2, %3, %5, %4
""".replace(" =\n       ", " ="),
    )


LEFT = {
    "of a part": "%1: f32[4,3] = tanh(%0)\n%2: f32[4] = sum(%1, dim=(1,))",
    "of columns": "%3: f32[40,3] = expand(%0, shape=(40, 3))\n%1: f32[40,3] = tanh(%3)\n%2: f32[3] = sum(%1, dim=(0,))",
    "of what isn't computed": "%2: f32[] = sum(%0)",
    "of a product": "%1: f32[4,4] = matmul(%0, %0)\n%2: f32[] = sum(%1)",
    "of a product of doubles": "%3: f64[4,4] = cast(%0, dtype=f64)\n%1: f64[4,4] = matmul(%3, %3)\n%2: f64[] = sum(%1)",
    "of a part of the elements": "%1: f32[4,3] = tanh(%0)\n%3: f32[2,3] = slice(%1, index=(slice(0, 2, 1),))\n"
    "%2: f32[] = sum(%3)",
    "of integers": "%1: i64[4,3] = cast(%0, dtype=i64)\n%3: i64[4,3] = add(%1, 1)\n%2: i64[] = sum(%3)",
    "of half precision": "%1: bf16[4,3] = cast(%0, dtype=bf16)\n%3: bf16[4,3] = tanh(%1)\n%2: bf16[] = sum(%3)",
    "the largest": "%1: f32[4,3] = tanh(%0)\n%2: f32[] = amax(%1)",
}


@pytest.mark.parametrize("name", LEFT)
def test_others_are_left_alone(name: str) -> None:
    text = f"argument %0: f32[4,{4 if 'product' in name else 3}]\n{LEFT[name]}\nreturn %2"
    graph = parse(text)
    before = str(graph)
    assert str(reduce_at_end(graph)) == before


def summed_up(seed: int) -> Graph:
    """A random graph, and the sums and means of some of its values."""
    graph, random = random_graph(seed), np.random.default_rng(seed)
    for node in list(graph.nodes):
        value = node.outputs[0]
        if value.dtype == np.float32 and random.random() < 0.3:
            graph.nodes.append(Node(str(random.choice(["sum", "mean"])), [value], {}, [((), value.dtype)]))
            graph.outputs += graph.nodes[-1].outputs
    return graph


@pytest.mark.parametrize("before", [remove_dead, fuse])
def test_random_graphs_compute_the_same(before: Any) -> None:
    changed = 0
    for seed in range(100):
        given = arrays_for(random_graph(seed), seed)
        expected, _ = run(before(summed_up(seed)), given)
        graph = reduce_at_end(before(summed_up(seed)))
        changed += "return mean" in str(graph) or ", sum(" in str(graph)
        for x, y in zip(run(graph, given)[0], expected, strict=True):
            close(x, y)
    assert changed > 50


SHAPES = ["", "1", "3", "17,33", "1023", "1025", "3,70,1000", "700,1,900", "0,3"]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_double_precision(shape: str, dtype: str) -> None:
    text = f"""
    argument %0: {dtype}[{shape}]
    argument %1: {dtype}[]
    %2: {dtype}[], %3: {dtype}[{shape}], %4: {dtype}[], %5: {dtype}[] =
        fused(%0, %1) {{ c = multiply(a, b); d = tanh(c); return sum(c), d, mean(d), sum(a) }}
    return %2, %3, %4, %5
"""
    program = Program(named(text.replace(" =\n       ", " =")))
    x = np.asarray(np.random.default_rng(0).standard_normal(program.arguments[0].shape), program.arguments[0].dtype)
    results = program.run([x, np.array(0.5, x.dtype)], [])
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        means = np.tanh(wide * 0.5).sum() / np.float64(x.size)
    rounding = np.finfo(x.dtype).eps
    scale = max(float(np.abs(wide).sum()), 1.0)
    np.testing.assert_allclose(results[0], (wide * 0.5).sum(), rtol=0, atol=2 * rounding * scale)
    np.testing.assert_allclose(results[1], np.tanh(wide * 0.5), rtol=8 * rounding, atol=rounding)
    np.testing.assert_allclose(results[2], means, rtol=0, atol=4 * rounding)
    np.testing.assert_allclose(results[3], wide.sum(), rtol=0, atol=2 * rounding * scale)


ROWS = [(3, 33), (1, 32), (5, 1024), (700, 56), (40, 1000), (3, 70000), (2, 5, 64), (2000, 40)]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shape", ROWS)
def test_rows_of_any_length_and_any_number_of_threads(shape: tuple[int, ...], dtype: str) -> None:
    whole, kept = ",".join(map(str, shape)), ",".join(map(str, shape[:-1]))
    text = f"""
    argument %0: {dtype}[{whole}]
    argument %1: {dtype}[{kept},1]
    %2: {dtype}[{kept}], %3: {dtype}[{whole}], %4: {dtype}[{kept},1], %5: {dtype}[] =
        fused(%0, %1) {{ c = multiply(a, b); d = tanh(c); return sum(c), d, mean(d), sum(d) }}
    return %2, %3, %4, %5
"""
    program = Program(named(text.replace(" =\n       ", " =")))
    random = np.random.default_rng(0)
    x, y = (random.standard_normal(s).astype(program.arguments[0].dtype) for s in (shape, (*shape[:-1], 1)))
    before, found = rl.get_num_threads(), []
    try:
        for count in (1, 2, 3, 8):
            rl.set_num_threads(count)
            found.append([result.tobytes() for result in program.run([x, y], [])])
    finally:
        rl.set_num_threads(before)
    assert all(bits == found[0] for bits in found)
    product = x.astype(np.float64) * y
    tolerance = {"rtol": 0, "atol": 4 * float(np.finfo(x.dtype).eps) * float(np.abs(product).sum(-1).max())}
    results = program.run([x, y], [])
    np.testing.assert_allclose(results[0], product.sum(-1), **tolerance)
    np.testing.assert_allclose(results[2], np.tanh(product).mean(-1, keepdims=True), **tolerance)
    np.testing.assert_allclose(results[3], np.tanh(product).sum(), rtol=1e-4, atol=1e-3)


def test_rows_are_not_written_over_an_operand() -> None:
    program = Program(
        parse("""
    argument %0: f32[300,40]
    argument %1: f32[300,1]
    %2: f32[300,1] = tanh(%1)
    %3: f32[300,1] = fused(%0, %2) { c = multiply(a, b); return sum(c) }
    return %3
""")
    )
    random = np.random.default_rng(0)
    x, y = random.standard_normal((300, 40)).astype(np.float32), random.standard_normal((300, 1)).astype(np.float32)
    expected = (x * np.tanh(y.astype(np.float64))).sum(1, keepdims=True)
    np.testing.assert_allclose(program.run([x, y], [])[0], expected, rtol=0, atol=1e-4)


def test_an_operand_is_summed_up_before_a_result_takes_its_place() -> None:
    program = Program(
        parse("""
    argument %0: f32[50,100]
    %1: f32[50,100] = tanh(%0)
    %2: f32[50,100], %3: f32[] = fused(%1) { b = exp(a); return b, sum(a) }
    %4: f32[50] = sum(%2, dim=(1,))
    return %4, %3
""")
    )
    x = np.linspace(0, 2, 5000, dtype=np.float32).reshape(50, 100)
    assert program.arena_bytes < 2 * x.nbytes  # there is one place for both
    np.testing.assert_allclose(program.run([x], [])[1], np.tanh(x).sum(dtype=np.float64), rtol=1e-6)


def test_operands_of_any_layout_and_any_number_of_threads() -> None:
    text = """
    argument %0: f32[300,200]
    state %1: f32[300,200] "1"
    state %2: f32[200] "2"
    %3: f32[], %4: f32[300,200] = fused(%0, %1, %2) { d = multiply(a, b); e = add(d, c); return mean(e), e }
    return %3, %4
"""
    random = np.random.default_rng(0)
    graph = named(text)
    x, y, z = [random.standard_normal(shape).astype(np.float32) for shape in ((300, 200), (200, 300), (400,))]
    graph.inputs[1].array, graph.inputs[2].array = y.T, z[::2]
    program = Program(graph)
    before, found = rl.get_num_threads(), []
    try:
        for count in (1, 2, 3, 8):
            rl.set_num_threads(count)
            found.append([result.tobytes() for result in program.run([x], [])])
    finally:
        rl.set_num_threads(before)
    assert all(bits == found[0] for bits in found)
    expected = x * y.T + z[::2]
    np.testing.assert_allclose(program.run([x], [])[0], expected.astype(np.float64).mean(), rtol=1e-5)
