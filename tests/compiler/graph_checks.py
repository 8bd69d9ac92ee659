"""What the tests of passes share: running a graph given as text, and comparing what it computes."""

from collections.abc import Callable

import numpy as np

import rushlight.nn  # noqa: F401 (declares the operations)
from rushlight import float32
from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.compiler.program import Program
from rushlight.compiler.text import parse
from rushlight.ops.declare import OPERATIONS


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
    memory = {given.name: np.array(arrays[given.name]) for given in graph.inputs if given.kind in ("argument", "state")}
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


_UNARY = ["exp", "relu", "negative", "gelu", "sigmoid", "square", "tanh"]
_BINARY = ["add", "multiply", "subtract", "maximum", "divide"]


def random_graph(seed: int) -> Graph:
    """A graph of elementwise operations, views, sums and products of matrices on shapes that broadcast."""
    random = np.random.default_rng(seed)
    graph = Graph()
    values: list[Value] = []
    for shape in [(4, 4), (4, 4), (4,), (4, 1), ()]:
        dtype = np.dtype(np.bool_ if random.random() < 0.15 else np.float32)
        graph.inputs.append(Input("argument", shape, dtype, None, str(len(values))))
        values.append(graph.inputs[-1])

    def emit(operation: str, inputs: list, options: dict) -> None:
        spec = OPERATIONS[operation].spec(*inputs, **options)
        graph.nodes.append(Node(operation, inputs, options, [(spec.shape, spec.dtype)]))
        values.append(graph.nodes[-1].outputs[0])

    def pick(dtype: type = np.float32) -> Value:
        fitting = [value for value in values if value.dtype == dtype]
        return fitting[int(random.integers(max(0, len(fitting) - 8), len(fitting)))]

    emit("greater", [pick(), 0.25], {})
    for _ in range(25):
        kind = random.random()
        if kind < 0.3:
            emit(str(random.choice(_UNARY)), [pick()], {})
        elif kind < 0.55:
            emit(str(random.choice(_BINARY)), [pick(), pick() if random.random() < 0.8 else 0.5], {})
        elif kind < 0.65:
            emit(str(random.choice(["less", "greater_equal"])), [pick(), pick()], {})
        elif kind < 0.75:
            emit("where", [pick(np.bool_), pick(), pick()], {})
        elif kind < 0.8:
            emit("cast", [pick(np.bool_)], {"dtype": float32})
        elif kind < 0.85:
            emit(str(random.choice(["logical_and", "bitwise_xor"])), [pick(np.bool_), pick(np.bool_)], {})
        else:
            square = next(v for v in reversed(values) if v.shape == (4, 4) and v.dtype == np.float32)
            if kind < 0.9:
                emit("permute", [square], {"dims": (1, 0)})
            elif kind < 0.95:
                emit("sum", [square], {"dim": (0,)})
            else:
                emit("matmul", [square, square], {})
    graph.outputs = tuple([values[int(i)] for i in random.integers(len(values) - 12, len(values), 3)])
    return graph
