"""Recomputing: what is cheap to make is made again where it is read much later, instead of being kept over the peak.

Each step looks at the node at which most memory is alive, and makes one value that is only waiting there anew behind
it, where all that it is made of lives on anyway. Costs are bytes that are moved, arithmetic counting as such.
"""

from __future__ import annotations

from collections.abc import Iterator

from rushlight.compiler import layout
from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.compiler.passes.dead import remove_dead
from rushlight.compiler.passes.recipes import size_of
from rushlight.compiler.profile import operations_of
from rushlight.ops.declare import OPERATIONS

_LEAST = 16 << 20  # bytes at the peak of a graph that is worth it
_PARTS = 256  # a value that is less than this part of the peak isn't looked at
_SHARE = 0.01  # of the cost of the graph that may be spent
_MOST_STEPS = 64
_OPERATIONS_FOR_A_BYTE = 10
_CHEAP = frozenset(["batch_norm", "batch_norm_relu", "layer_norm", "group_norm", "rms_norm", "dropout", "fused"])


def recompute(graph: Graph) -> Graph:
    """Lowers the peak of memory by making values twice, as long as that costs little."""
    left = _SHARE * sum(map(_cost, graph.nodes))
    for _ in range(_MOST_STEPS):
        spent = _lower_peak(graph, left)
        if spent is None:
            break
        left -= spent
    return graph


def _lower_peak(graph: Graph, most: float) -> float | None:
    """Has one value made anew behind the peak; what that costs, or None where there is none to be had for `most`."""
    found = layout.places(graph)
    last = layout.readers(graph, found)
    peak, alive = _peak(graph, found, last)
    if alive < _LEAST:
        return None
    readers: dict[Value, list[int]] = {}  # of values and all views of them, but for the views themselves
    for position, node in enumerate(graph.nodes):
        if not _sees(node, found):
            for value in node.values():
                readers.setdefault(found[value].root, []).append(position)
    best: tuple[float, Value, int] | None = None
    for node, value in _made_before(graph, peak):
        at = readers.get(value, [])
        later = [position for position in at if position > peak]
        cost = _cost(node)
        if (
            value.nbytes * _PARTS < alive
            or not later
            or peak in at
            or last[value] != at[-1]
            or found[value].root is not value
            or cost > most
        ):
            continue
        behind = later[0]
        if all(isinstance(found[v].root, Input) or last[found[v].root] >= behind for v in node.values()):
            ratio = value.nbytes / cost
            if best is None or ratio > best[0]:
                best = (ratio, value, behind)
    if best is None:
        return None
    _, value, behind = best
    assert value.node is not None
    made = [_copy(value.node)]
    replaced = {value: made[0].outputs[value.index]}
    for view in graph.nodes[:behind]:
        if _sees(view, found) and view.inputs[0] in replaced:
            made.append(_copy(view))
            made[-1].substitute(lambda v: replaced.get(v, v))
            replaced[view.outputs[0]] = made[-1].outputs[0]
    for reader in graph.nodes[behind:]:
        reader.substitute(lambda v: replaced.get(v, v))
    graph.nodes[behind:behind] = made
    remove_dead(graph)  # views that nobody needs of the one or the other
    return _cost(made[0])


def _sees(node: Node, found: dict[Value, layout.Place]) -> bool:
    """Whether the node only sees memory in another way."""
    return layout.is_view(node) and found[node.outputs[0]].root is not node.outputs[0]


def _copy(node: Node) -> Node:
    return Node(node.operation, node.inputs, node.options, [(v.shape, v.dtype) for v in node.outputs], node.line)


def _made_before(graph: Graph, peak: int) -> Iterator[tuple[Node, Value]]:
    """The cheap nodes, and the largest value that each of them makes."""
    for node in graph.nodes[:peak]:
        operation = OPERATIONS.get(node.operation)
        if node.operation in _CHEAP or (operation is not None and operation.elementwise):
            yield node, max(node.outputs, key=lambda v: v.nbytes)


def _peak(graph: Graph, found: dict[Value, layout.Place], last: dict[Value, int]) -> tuple[int, int]:
    """The position of the node at which most memory is alive, and how many bytes that is."""
    changes = [0] * (len(graph.nodes) + 2)
    for position, node in enumerate(graph.nodes):
        for value in node.outputs:
            if found[value].root is value:
                changes[position] += value.nbytes
                changes[last[value] + 1] -= value.nbytes
    alive = most = peak = 0
    for position, change in enumerate(changes[: len(graph.nodes)]):
        alive += change
        if alive > most:
            most, peak = alive, position
    return peak, most


def _cost(node: Node) -> float:
    moved = sum(v.nbytes for v in dict.fromkeys(node.values())) + sum(v.nbytes for v in node.outputs)
    done = operations_of(node)
    operation = OPERATIONS.get(node.operation)
    if operation is not None and operation.elementwise:
        done = float(size_of(node) * node.outputs[0].size)
    return moved + done / _OPERATIONS_FOR_A_BYTE
