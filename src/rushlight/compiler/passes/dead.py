"""Dead code: what no result depends on."""

from __future__ import annotations

from rushlight.compiler.graph import Graph, Node


def remove_dead(graph: Graph) -> Graph:
    """Removes nodes none of whose outputs is used, writes of an input to itself, and inputs without a use.

    Arguments stay, since calls give them by position.
    """
    graph.writes = [(target, value) for target, value in graph.writes if value is not target]
    used = set(graph.results())
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not used.isdisjoint(node.outputs):
            used.update(node.values())
            kept.append(node)
    kept.reverse()
    graph.nodes = kept
    used.update([target for target, _ in graph.writes])
    graph.inputs = [given for given in graph.inputs if given.kind == "argument" or given in used]
    return graph
