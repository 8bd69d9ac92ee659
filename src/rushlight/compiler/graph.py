"""The graph: what a traced function computes, as a list of nodes in the order in which they may run.

Values are immutable: what the user wrote in place has become a new value, and a write of the last one at the end. The
textual form is in `text.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rushlight.ops.declare import OPERATIONS


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
    inputs: Values, None, Python numbers, or tuples of these (the lists of an update); changed by `read` alone.
    options: by keyword; an entry may be a Value of kind "number".
    line: where the user wrote it, "file:line".
    """

    __slots__ = ("_values", "inputs", "line", "operation", "options", "outputs")

    def __init__(
        self,
        operation: str,
        inputs: Iterable[Any],
        options: dict[str, Any],
        specs: Iterable[tuple[tuple[int, ...], np.dtype[Any]]],
        line: str = "",
    ) -> None:
        self.operation = operation
        self.options = options
        self.read(inputs)
        self.outputs = tuple([Value(tuple(shape), dtype, self, i) for i, (shape, dtype) in enumerate(specs)])
        self.line = line

    def read(self, inputs: Iterable[Any]) -> None:
        """Takes other inputs."""
        self.inputs = tuple(inputs)
        found = _values_in(self.inputs)
        self._values = (*found, *[option for option in self.options.values() if isinstance(option, Value)])

    @property
    def is_elementwise(self) -> bool:
        """Whether a declared operation computes each element of its result from those in its place alone."""
        declared = OPERATIONS.get(self.operation)
        return declared is not None and declared.elementwise

    def values(self) -> tuple[Value, ...]:
        """The values that it reads, with repetition."""
        return self._values

    def substitute(self, replaced: Mapping[Value, Value]) -> None:
        """Reads other values in the place of those that are keys of `replaced`."""
        if replaced.keys().isdisjoint(self._values):
            return
        self.options = {
            name: replaced.get(option, option) if isinstance(option, Value) else option
            for name, option in self.options.items()
        }
        self.read(_substituted(self.inputs, replaced))


def _values_in(items: tuple[Any, ...]) -> list[Value]:
    """The values in nested tuples."""
    found: list[Value] = []
    for item in items:
        if isinstance(item, Value):
            found.append(item)
        elif type(item) is tuple:
            found += _values_in(item)
    return found


def _substituted(items: tuple[Any, ...], replaced: Mapping[Value, Value]) -> tuple[Any, ...]:
    return tuple(
        [
            replaced.get(item, item)
            if isinstance(item, Value)
            else _substituted(item, replaced)
            if type(item) is tuple
            else item
            for item in items
        ]
    )


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

        final: dict[Value, Value] = {}
        for old, new in replaced.items():
            while new in replaced:
                new = replaced[new]
            final[old] = new
        for node in self.nodes:
            node.substitute(final)
        self.substitute_results(final)

    def substitute_results(self, replaced: dict[Value, Value]) -> None:
        """Returns and writes other values in the place of those that are keys of `replaced`."""
        self.outputs = tuple([replaced.get(value, value) for value in self.outputs])
        self.writes = [(target, replaced.get(value, value)) for target, value in self.writes]

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
