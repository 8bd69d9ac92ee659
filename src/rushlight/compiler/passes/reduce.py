"""Reductions at the end of programs: elements that are only summed up never go to memory.

A sum or mean of all elements of what an elementwise node computes, or over its last dimensions, becomes a further
result of that node, which adds up its blocks while they are in the L1 cache. Where nobody else reads the elements, they
are no result any more.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.compiler.graph import Graph, Node, Value
from rushlight.compiler.passes.dead import remove_dead
from rushlight.compiler.passes.fuse import fused
from rushlight.compiler.passes.recipes import computed_in
from rushlight.ops.reduction import normalize_dims

_REDUCTIONS = frozenset(["sum", "mean"])
_REORDERING = frozenset(["reshape", "permute"])  # views that have all elements of what they are views of, once each
_IN_ORDER = frozenset(["reshape"])  # those that keep the row-major order
_ROWS = range(32, 1 << 16)  # how many neighbours are worth adding up: a task has whole rows
_DTYPES = (np.float32, np.float64)
_MOST_OUTPUTS = 16


def reduce_at_end(graph: Graph) -> Graph:
    """Makes sums and means of all elements, or of rows, results of the programs that compute these."""
    chosen: dict[Node, list[tuple[Node, Value]]] = {}  # makers: the reductions, and what they are of
    for node in graph.nodes:
        source = _reduced(node)
        if source is None or source.node is None or not _can_reduce(source.node, source):
            continue
        found = chosen.setdefault(source.node, [])
        rows = {reduction.outputs[0].size for reduction, _ in (*found, (node, source))} - {1}
        if len(rows) <= 1:  # a program has rows of one length
            found.append((node, source))
    if not any(chosen.values()):
        return graph
    results, uses = set(graph.results()), graph.uses()
    gone = {reduction for found in chosen.values() for reduction, _ in found}

    def is_read(value: Value) -> bool:
        """Whether somebody else needs the elements."""
        if value in results:
            return True
        readers = [reader for reader in uses.get(value, ()) if reader not in gone]
        return any(reader.operation not in _REORDERING or is_read(reader.outputs[0]) for reader in readers)

    replaced: dict[Value, Value] = {}
    for place, node in enumerate(graph.nodes):
        if node in chosen and len(node.outputs) + len(chosen[node]) <= _MOST_OUTPUTS:
            graph.nodes[place] = made = _with_reductions(node, chosen[node], list(filter(is_read, node.outputs)))
            kept = [value for value in node.outputs if is_read(value)]
            old = [*kept, *[reduction.outputs[0] for reduction, _ in chosen[node]]]
            replaced.update(zip(old, made.outputs, strict=True))
    graph.substitute(replaced)
    return remove_dead(graph)


def _reduced(node: Node) -> Value | None:
    """The value whose elements the node adds up: all of them, or each of as many neighbours in row-major order."""
    if node.operation not in _REDUCTIONS:
        return None
    source = node.inputs[0]
    passed = _REORDERING
    if node.outputs[0].size != 1:
        ndim = len(source.shape)
        dims = normalize_dims(node.operation, node.options.get("dim"), ndim)
        if sorted(dims) != list(range(ndim - len(dims), ndim)) or math.prod(source.shape[-len(dims) :]) not in _ROWS:
            return None
        passed = _IN_ORDER
    while source.node is not None and source.node.operation in passed:
        source = source.node.inputs[0]
    dtypes = {source.dtype, node.outputs[0].dtype}
    return source if source.size > 1 and len(dtypes) == 1 and source.dtype in _DTYPES else None


def _can_reduce(node: Node, value: Value) -> bool:
    dtype = computed_in(node)
    return node.operation == "fused" or (dtype is not None and dtype == value.dtype)


def _with_reductions(node: Node, reductions: list[tuple[Node, Value]], kept: list[Value]) -> Node:
    """The node with these reductions as results, and of its own those that are kept."""
    if node.operation == "fused":
        program, own = node.options["program"], {value: value.index for value in node.outputs}
        known = program.reduced or ("",) * len(program.outputs)
    else:
        alone = fused([node], list(node.outputs), node.outputs[0].dtype)
        program, own, known = alone.options["program"], {node.outputs[0]: 0}, ("",)
        node = Node("fused", alone.inputs, {}, [(v.shape, v.dtype) for v in node.outputs], node.line)
    returned = [*kept, *[value for _, value in reductions]]
    ways = [*[known[own[value]] for value in kept], *[reduction.operation for reduction, _ in reductions]]
    specs = [(v.shape, v.dtype) for v in (*kept, *[reduction.outputs[0] for reduction, _ in reductions])]
    outputs = tuple([program.outputs[own[value]] for value in returned])
    options = {"program": program._replace(outputs=outputs, reduced=tuple(ways))}
    return Node("fused", node.inputs, options, specs, node.line)
