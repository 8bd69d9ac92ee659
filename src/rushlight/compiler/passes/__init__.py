"""The passes: functions from graph to graph, which change it in place, and their order."""

from __future__ import annotations

from rushlight.compiler.graph import Graph


def simplify(graph: Graph) -> Graph:
    """All passes, in order."""
    return graph
