"""Recomputing: what is cheap to make is made again where it is read much later, instead of being kept over the peak.

Each step looks at the node at which most memory is alive, and makes one value that is only waiting there anew behind
it, where all that it is made of lives on anyway. Costs are bytes that are moved, arithmetic counting as such.
"""

from __future__ import annotations

from rushlight.compiler import layout
from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.compiler.passes.recipes import size_of
from rushlight.compiler.profile import operations_of

_LEAST = 16 << 20  # bytes at the peak of a graph that is worth it
_PARTS = 256  # a value that is less than this part of the peak isn't looked at
_SHARE = 0.01  # of the cost of the graph that may be spent
_MOST_STEPS = 64
_OPERATIONS_FOR_A_BYTE = 10
_CHEAP = frozenset(["batch_norm", "batch_norm_relu", "layer_norm", "group_norm", "rms_norm", "dropout", "fused"])


def recompute(graph: Graph) -> Graph:
    """Lowers the peak of memory by making values twice, as long as that costs little."""
    if sum(value.nbytes for node in graph.nodes for value in node.outputs) < _LEAST:
        return graph
    costs = {node: _cost(node) for node in graph.nodes}
    left = _SHARE * sum(costs.values())
    plan = _Plan(graph, costs)
    for _ in range(_MOST_STEPS):
        spent = plan.lower_peak(left)
        if spent is None:
            break
        left -= spent
    return graph


class _Plan:
    """Where values lie and who reads them, kept up to date while nodes are added."""

    def __init__(self, graph: Graph, costs: dict[Node, float]) -> None:
        self.graph = graph
        self.places = layout.places(graph)
        self.uses = graph.uses()
        self.results = {self.places[value].root for value in graph.results()}
        self.views = {node for node in graph.nodes if self.only_sees(node)}
        self.roots = {node: self.roots_of(node) for node in graph.nodes}
        self.made = {node: [v for v in node.outputs if self.places[v].root is v] for node in graph.nodes}
        # Of the cheap nodes: the largest value, and the cost.
        self.cheap = {node: (max(node.outputs, key=_bytes_of), costs[node]) for node in graph.nodes if _is_cheap(node)}

    def only_sees(self, node: Node) -> bool:
        """Whether the node only sees memory in another way."""
        return layout.is_view(node) and self.places[node.outputs[0]].root is not node.outputs[0]

    def roots_of(self, node: Node) -> list[Value]:
        """The values in whose memory lies what the node reads."""
        return list(dict.fromkeys([self.places[value].root for value in node.values()]))

    def lower_peak(self, most: float) -> float | None:
        """Has one value made anew behind the peak; what that costs, or None if there is none to be had for `most`."""
        nodes = self.graph.nodes
        last: dict[Value, int] = {}
        readers: dict[Value, list[int]] = {}  # of values and all views of them, but for the views themselves
        for position, node in enumerate(nodes):
            seeing = node in self.views
            for root in self.roots[node]:
                last[root] = position
                if not seeing:
                    readers.setdefault(root, []).append(position)
            for value in self.made[node]:
                last.setdefault(value, position)
        last.update(dict.fromkeys(self.results, len(nodes)))
        peak, alive = _peak([self.made[node] for node in nodes], last)
        if alive < _LEAST:
            return None
        best: tuple[float, Node, Value, list[int]] | None = None
        for node in nodes[:peak]:
            if node not in self.cheap:
                continue
            value, cost = self.cheap[node]
            at = readers.get(value, [])
            later = [position for position in at if position > peak]
            if (
                value.nbytes * _PARTS < alive
                or not later
                or peak in at
                or last[value] != at[-1]
                or self.places[value].root is not value
                or cost > most
            ):
                continue
            if all(isinstance(root, Input) or last[root] >= later[0] for root in self.roots[node]):
                ratio = value.nbytes / cost
                if best is None or ratio > best[0]:
                    best = (ratio, node, value, later)
        if best is None:
            return None
        _, node, value, later = best
        self.make_again(node, value, [nodes[position] for position in later])
        return self.cheap[node][1]

    def make_again(self, node: Node, value: Value, readers: list[Node]) -> None:
        """Has `readers` of a value, and of its views, read a copy that is made before the first of them."""
        made = [self.add_copy(node)]
        replaced = {value: made[0].outputs[value.index]}

        def replacement(old: Value) -> Value:
            if old in replaced or self.places[old].root is not value:
                return replaced.get(old, old)
            assert old.node is not None
            seen = replacement(old.node.inputs[0])
            made.append(self.add_copy(old.node, {old.node.inputs[0]: seen}))
            replaced[old] = made[-1].outputs[0]
            return replaced[old]

        for reader in readers:
            for old in dict.fromkeys(reader.values()):
                new = replacement(old)
                if new is not old:
                    self.uses[old].remove(reader)
                    self.uses.setdefault(new, []).append(reader)
            reader.substitute(replaced)
            self.roots[reader] = self.roots_of(reader)
        nodes = self.graph.nodes
        behind = nodes.index(readers[0])
        nodes[behind:behind] = made
        for old in list(replaced):
            self.remove_unread(old)

    def add_copy(self, node: Node, replaced: dict[Value, Value] | None = None) -> Node:
        """The same node again, with other inputs."""
        copy = Node(node.operation, node.inputs, node.options, [(v.shape, v.dtype) for v in node.outputs], node.line)
        if replaced:
            copy.substitute(replaced)
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            root, strides, offset = self.places[old]
            self.places[new] = layout.Place(new if root is old else self.places[copy.inputs[0]].root, strides, offset)
        for value in dict.fromkeys(copy.values()):
            self.uses.setdefault(value, []).append(copy)
        if node in self.views:
            self.views.add(copy)
        self.roots[copy] = self.roots_of(copy)
        self.made[copy] = [value for value in copy.outputs if self.places[value].root is value]
        return copy

    def remove_unread(self, value: Value) -> None:
        """Removes the node of a view that nobody reads any more, and those of the views that it was taken of."""
        node = value.node
        if node in self.views and not self.uses.get(value) and node in self.graph.nodes:
            self.graph.nodes.remove(node)
            self.uses[node.inputs[0]].remove(node)
            self.remove_unread(node.inputs[0])


def _bytes_of(value: Value) -> int:
    return value.nbytes


def _is_cheap(node: Node) -> bool:
    return node.operation in _CHEAP or node.is_elementwise


def _peak(made: list[list[Value]], last: dict[Value, int]) -> tuple[int, int]:
    """The position of the node at which most memory is alive, and how many bytes that is.

    made: the values that each node makes; last: where they are read for the last time.
    """
    changes = [0] * (len(made) + 2)
    for position, values in enumerate(made):
        for value in values:
            size = value.nbytes
            changes[position] += size
            changes[last[value] + 1] -= size
    alive = most = peak = 0
    for position, change in enumerate(changes[: len(made)]):
        alive += change
        if alive > most:
            most, peak = alive, position
    return peak, most


def _cost(node: Node) -> float:
    moved = sum(v.nbytes for v in dict.fromkeys(node.values())) + sum(v.nbytes for v in node.outputs)
    done = operations_of(node)
    if node.is_elementwise:
        done = float(size_of(node) * node.outputs[0].size)
    return moved + done / _OPERATIONS_FOR_A_BYTE
