"""Common subexpressions: what is computed twice from the same values is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.ops.optimizer import UPDATES


def merge_common(graph: Graph) -> Graph:
    """Keeps the first of all nodes that do the same to the same values, and of equal constants."""
    replaced: dict[Value, Value] = {}
    constants: dict[Any, Input] = {}
    for given in graph.inputs:
        if given.kind == "constant":
            first = constants.setdefault((given.shape, given.dtype, given.array.tobytes()), given)
            if first is not given:
                replaced[given] = first
    known: dict[Any, Node] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if replaced:
            node.substitute(replaced)
        first_node = node if node.operation in UPDATES else known.setdefault(_identity(node), node)
        if first_node is node:
            nodes.append(node)
        else:
            replaced.update(zip(node.outputs, first_node.outputs, strict=True))
    graph.nodes = nodes
    graph.substitute_results(replaced)
    graph.inputs = [given for given in graph.inputs if given not in replaced]
    return graph


def _identity(node: Node) -> tuple[Any, ...]:
    """Equal for nodes that compute the same."""
    return (node.operation, _hashable(node.inputs), _hashable(node.options))


def _hashable(item: Any) -> Any:
    """Something to stand for `item` in a key: equal only where the items are the same in every respect."""
    kind = type(item)
    if kind is Value or kind is Input or kind is str or item is None:
        return item
    if kind is float:
        return (float, item.hex())  # 0.0 and -0.0 are equal, NaN isn't
    if isinstance(item, (tuple, list)):
        return (kind, *[_hashable(entry) for entry in item])
    if kind is dict:
        return (dict, *[(key, _hashable(entry)) for key, entry in sorted(item.items())])
    if kind is slice:
        return (slice, item.start, item.stop, item.step)
    if isinstance(item, (np.ndarray, np.generic)):
        return (kind, item.dtype, item.shape, item.tobytes())
    return (kind, item)  # 1, 1.0 and True are equal
