"""The graph: what a traced function computes, as a list of nodes in the order in which they may run.

Values are immutable: what the user wrote in place has become a new value, and a write of the last one at the end. The
textual form is in `text.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Value:
    """One result of a node, or an input of the graph: known by shape and NumPy dtype. `node` is None for inputs."""

    __slots__ = ("dtype", "index", "node", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], node: Node | None = None, index: int = 0) -> None:
        self.shape = shape
        self.dtype = dtype
        self.node = node
        self.index = index

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize


class Input(Value):
    """A value from outside.

    kind:
        "argument": a tensor that the function is called with;
        "state": memory that the function closes over (parameters, buffers, optimizer state, gradients), found by
            identity: `array` is that memory;
        "constant": made while tracing, the same in every call: `array` holds it;
        "drawn": random numbers that the generator gives anew for each call, written into `array`;
        "number": a Python number that may change from call to call, such as a learning rate. Its shape is ().
    """

    __slots__ = ("array", "kind", "name")

    def __init__(
        self, kind: str, shape: tuple[int, ...], dtype: np.dtype[Any], array: Any = None, name: str = ""
    ) -> None:
        super().__init__(shape, dtype)
        self.kind = kind
        self.array = array
        self.name = name

    @property
    def is_gradient(self) -> bool:
        """Whether it is the memory of a `.grad` that the program makes: a state that is written, never read."""
        return self.kind == "state" and self.name == "gradient"


class Elementwise(NamedTuple):
    """A program of the core's elementwise engine, the option `program` of a node `fused`.

    instructions: (opcode, sources ...), where a source is the number of a value (the node's inputs first, then each
        instruction's result), or a number in a tuple of its own.
    outputs: the numbers of the values that the node returns.
    reduced: for each output "sum" or "mean" of all its elements, or of as many neighbours as make up the result's size,
        or "" for themselves; empty where none is reduced.
    """

    instructions: tuple[tuple[Any, ...], ...]
    outputs: tuple[int, ...]
    reduced: tuple[str, ...] = ()


class Node:
    """One operation.

    operation: the name of a declared operation, of an optimizer's update, or "fused".
    inputs: Values, None, Python numbers, or tuples of these (the lists of an update).
    options: by keyword; an entry may be a Value of kind "number".
    line: where the user wrote it, "file:line".
    """

    __slots__ = ("inputs", "line", "operation", "options", "outputs")

    def __init__(
        self,
        operation: str,
        inputs: Iterable[Any],
        options: dict[str, Any],
        specs: Iterable[tuple[tuple[int, ...], np.dtype[Any]]],
        line: str = "",
    ) -> None:
        self.operation = operation
        self.inputs = tuple(inputs)
        self.options = options
        self.outputs = tuple([Value(tuple(shape), dtype, self, i) for i, (shape, dtype) in enumerate(specs)])
        self.line = line

    def values(self) -> Iterator[Value]:
        """The values that it reads, with repetition."""
        yield from values_in(self.inputs)
        yield from values_in(self.options.values())

    def substitute(self, replacement: Callable[[Value], Value]) -> None:
        """Reads `replacement(value)` in the place of each value."""
        self.inputs = _substituted(self.inputs, replacement)
        self.options = {
            name: _substituted(option, replacement) if isinstance(option, (Value, tuple)) else option
            for name, option in self.options.items()
        }


def values_in(items: Iterable[Any]) -> Iterator[Value]:
    """The values in nested tuples."""
    for item in items:
        if isinstance(item, Value):
            yield item
        elif type(item) is tuple:
            yield from values_in(item)


def _substituted(item: Any, replacement: Callable[[Value], Value]) -> Any:
    if isinstance(item, Value):
        return replacement(item)
    if type(item) is tuple:
        return tuple([_substituted(entry, replacement) for entry in item])
    return item


class Graph:
    """Inputs, nodes in order, the values returned, and the values that are written to memory at the end.

    writes: (input, value): the argument or state whose memory takes the value.
    """

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.nodes: list[Node] = []
        self.outputs: tuple[Value, ...] = ()
        self.writes: list[tuple[Input, Value]] = []

    def results(self) -> Iterator[Value]:
        """The values that must be computed: those returned and those written."""
        yield from self.outputs
        for _, value in self.writes:
            yield value

    def substitute(self, replaced: dict[Value, Value]) -> None:
        """Puts other values in the place of those that are keys of `replaced`, wherever they are read."""

        def final(value: Value) -> Value:
            while value in replaced:
                value = replaced[value]
            return value

        for node in self.nodes:
            node.substitute(final)
        self.substitute_results(final)

    def substitute_results(self, replacement: Callable[[Value], Value]) -> None:
        """Returns and writes `replacement(value)` in the place of each value."""
        self.outputs = tuple([replacement(value) for value in self.outputs])
        self.writes = [(target, replacement(value)) for target, value in self.writes]

    def uses(self) -> dict[Value, list[Node]]:
        """For each value, the nodes that read it, once each, in order."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.values()):
                found.setdefault(value, []).append(node)
        return found

    def __str__(self) -> str:
        from rushlight.compiler.text import show

        return show(self)
