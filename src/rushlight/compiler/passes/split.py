"""Splitting: what is done to each element of a whole is done to its parts.

An elementwise operation on the result of `cat` is done to what was joined; where only slices of an elementwise result
are read, it is computed slice by slice. So the whole need not be copied together between programs, and what comes of
the parts is computed right where it is to lie (`layout.parts`). Rotary embeddings and gates are of this kind.
"""

from __future__ import annotations

from typing import NamedTuple

from rushlight.compiler.graph import Graph, Node, Value
from rushlight.compiler.passes.join import part_of

_LEAST = 4096  # bytes of a whole: less isn't worth further calls
_MOST_PARTS = 4


class _Range(NamedTuple):
    """The positions `start` to `stop` of dimension `dim`, which is counted from the last one."""

    dim: int
    start: int
    stop: int


def split(graph: Graph) -> Graph:
    """Takes elementwise operations from wholes to their parts."""
    joined = any(node.operation in ("cat", "slice") for node in graph.nodes)
    return _Splitting(graph).run() if joined else graph


class _Splitting:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses = graph.uses()
        self.results = set(graph.results())
        self.nodes: list[Node] = []
        self.parts: dict[Value, dict[_Range, Value]] = {}  # of wholes that don't exist, unless they are in `wholes`
        self.wholes: dict[Value, Value] = {}
        self.made: dict[tuple[Value, _Range], Value] = {}  # what was computed or sliced

    def run(self) -> Graph:
        for node in self.graph.nodes:
            result = node.outputs[0]
            if node.operation == "cat" and self.goes_on(node):
                self.parts[result] = {part: self.whole(value) for part, value in _joined(node).items()}
            elif (part := _taken(node)) and ((node.inputs[0], part) in self.made or self.is_sliced(node.inputs[0])):
                self.wholes[result] = self.part(node.inputs[0], part)
            else:
                if part:
                    self.made[node.inputs[0], part] = result
                ranges = self.ranges(node)
                if ranges:
                    self.parts[result] = {part: self.computed(node, part) for part in ranges}
                else:
                    if self.parts or self.wholes:
                        node.substitute({value: self.whole(value) for value in node.values()})
                    self.nodes.append(node)
        self.graph.substitute_results({value: self.whole(value) for value in self.graph.results()})
        self.graph.nodes = self.nodes
        return self.graph

    def goes_on(self, node: Node) -> bool:
        """Whether nobody needs the result of `cat` but elementwise operations of its shape."""
        result = node.outputs[0]
        if result in self.results or result.nbytes < _LEAST or len(node.inputs) > _MOST_PARTS:
            return False
        if any(value.ndim != result.ndim for value in node.inputs):
            return False
        return all(r.is_elementwise and r.outputs[0].shape == result.shape for r in self.uses.get(result, ()))

    def is_sliced(self, value: Value) -> bool:
        """Whether the value is elementwise, and all that is read of it are a few slices, apart from each other."""
        readers = self.uses.get(value, [])
        if value.nbytes < _LEAST or value in self.results or not 0 < len(readers) <= _MOST_PARTS:
            return False
        if value not in self.parts and (value.node is None or not value.node.is_elementwise):
            return False
        parts = [_taken(reader) for reader in readers]
        return all(parts) and sum(reader.outputs[0].size for reader in readers) <= value.size

    def ranges(self, node: Node) -> list[_Range]:
        """The parts in which an elementwise node is computed: those of an operand of its shape."""
        if not node.is_elementwise:
            return []
        for value in node.values():
            if value in self.parts and value.shape == node.outputs[0].shape:
                return [*self.parts[value]]
        return []

    def computed(self, node: Node, part: _Range) -> Value:
        """What an elementwise node gives in a range."""
        result = node.outputs[0]
        if (result, part) not in self.made:
            inputs = [self.part(item, part) if isinstance(item, Value) else item for item in node.inputs]
            new = Node(node.operation, inputs, node.options, [(_cut(result.shape, part), result.dtype)], node.line)
            self.nodes.append(new)
            self.made[result, part] = new.outputs[0]
        return self.made[result, part]

    def part(self, value: Value, part: _Range) -> Value:
        """The elements of `value` in a range; itself where it is repeated along that dimension."""
        if value.ndim < -part.dim or value.shape[part.dim] == 1:
            return self.whole(value)
        if part in self.parts.get(value, ()):
            return self.parts[value][part]
        alone = len(self.uses.get(value, ())) == 1 and value not in self.results
        if value.node is not None and value.node.is_elementwise and (alone or self.is_sliced(value)):
            return self.computed(value.node, part)
        if (value, part) not in self.made:
            index = (Ellipsis, slice(part.start, part.stop), *[slice(None)] * (-part.dim - 1))
            new = Node("slice", [self.whole(value)], {"index": index}, [(_cut(value.shape, part), value.dtype)])
            self.nodes.append(new)
            self.made[value, part] = new.outputs[0]
        return self.made[value, part]

    def whole(self, value: Value) -> Value:
        """A value that takes the place of `value`: its parts are joined where they must."""
        if value in self.parts and value not in self.wholes:
            parts = sorted(self.parts[value].items(), key=lambda item: item[0].start)
            dim = parts[0][0].dim + value.ndim
            node = Node("cat", [part for _, part in parts], {"dim": dim}, [(value.shape, value.dtype)])
            self.nodes.append(node)
            self.wholes[value] = node.outputs[0]
        return self.wholes.get(value, value)


def _joined(node: Node) -> dict[_Range, Value]:
    """The parts of `cat`."""
    dim = node.options.get("dim", 0) % node.outputs[0].ndim
    found: dict[_Range, Value] = {}
    start = 0
    for value in node.inputs:
        found[_Range(dim - value.ndim, start, start + value.shape[dim])] = value
        start += value.shape[dim]
    return found


def _taken(node: Node) -> _Range | None:
    """The range that a slice takes, if it takes one."""
    part = part_of(node) if node.operation == "slice" else None
    if part is None or part.stride != 1 or part.value.ndim != node.inputs[0].ndim:
        return None
    return _Range(part.dim - part.value.ndim, part.start, part.stop)


def _cut(shape: tuple[int, ...], part: _Range) -> tuple[int, ...]:
    dim = len(shape) + part.dim
    return (*shape[:dim], part.stop - part.start, *shape[dim + 1 :])
