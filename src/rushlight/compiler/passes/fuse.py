"""Elementwise fusion: chains and neighbours of elementwise operations become one pass over memory.

Nodes of one shape and dtype that read each other's results, or the same large values, are joined to groups, as long as
the nodes can still be put in an order. Results that only the group reads then never exist in memory.

Each group, and each other node, has a place in the order; whatever is read is made at a smaller place. Views have none:
they are taken where they are needed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.compiler.graph import Graph, Node, Value
from rushlight.compiler.layout import is_view
from rushlight.compiler.passes.dead import remove_dead
from rushlight.compiler.passes.recipes import BOOL, Recorder, computed_in, is_cheap, record, size_of
from rushlight.ops.optimizer import UPDATES
from rushlight.ops.program import Builder

# What a program can take (the core's own limits are higher): its values in use at one time are to fit the L1 cache.
_MOST_INPUTS = 24
_MOST_OUTPUTS = 12
_MOST_INSTRUCTIONS = 128
_NEAR = 8  # nodes: for so long a value may be kept that would be free otherwise
_LARGE = 16384  # bytes: reading less again costs nothing


class _Group:
    """Nodes that become one."""

    __slots__ = ("dtype", "inputs", "instructions", "members", "place", "readers", "shape")

    def __init__(self, node: Node, dtype: np.dtype[Any], place: float) -> None:
        self.members = {node}
        self.shape = node.outputs[0].shape
        self.dtype = dtype  # BOOL: any
        self.inputs = set(node.values())
        self.instructions = size_of(node)
        self.place = place
        self.readers: dict[Node, list[Node]] = {}  # of members whose results are read outside: by whom


def fuse(graph: Graph) -> Graph:
    """Joins elementwise nodes to nodes `fused`. Who reads a value decides much, so that dead code goes first."""
    _Fusion(remove_dead(graph)).run()
    return graph


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.order: dict[Node, float] = {}  # the places that nodes have at first
        self.groups: dict[Node, _Group] = {}
        self.views = {node for node in graph.nodes if is_view(node)}
        self.results = set(graph.results())
        self.readers: dict[Value, list[Node]] = {}  # who reads a value, or views of it; views aside
        self.overwritten: dict[Value, float] = {}  # where updates change the memory of a value
        self.sources: dict[Value, Value] = {}  # of views: the value that isn't one
        for place, node in enumerate(graph.nodes):
            self.order[node] = place
            if node in self.views:
                self.sources[node.outputs[0]] = self.source(node.inputs[0])
                if node.outputs[0] in self.results:
                    self.results.add(self.source(node.inputs[0]))
                continue
            values = {self.source(value) for value in node.values()}
            for value in values:
                self.readers.setdefault(value, []).append(node)
            if node.operation in UPDATES:
                self.overwritten.update(dict.fromkeys(values, place))
            dtype = computed_in(node) if node.outputs[0].size else None
            if dtype is not None:
                self.groups[node] = _Group(node, dtype, place)

    def source(self, value: Value) -> Value:
        """The value that `value` is a view of."""
        return self.sources.get(value, value)

    def place(self, node: Node | None) -> float:
        """Where in the order the node stands; inputs come before all."""
        if node is None:
            return -1
        group = self.groups.get(node)
        return self.order[node] if group is None else group.place

    def run(self) -> None:
        self.copy_light()
        for node, group in self.groups.items():
            if self.readers.get(node.outputs[0]):
                group.readers = {node: self.readers[node.outputs[0]]}
        light = {node for node in self.groups if self.is_light(node)}
        for node in self.graph.nodes:
            if node in self.groups and node not in light:
                self.join_makers(node)
        for node in light:
            if len(self.groups[node].members) == 1:
                self.join_makers(node)
        for value, readers in self.readers.items():
            if value.nbytes >= _LARGE and len(readers) > 1:
                together = [reader for reader in readers if reader in self.groups]
                for first, second in zip(together, together[1:], strict=False):
                    self.join(self.groups[first], self.groups[second])
        self.rewrite()

    # Light nodes: so cheap that all that read them rather compute them than find them in memory.

    def is_light(self, node: Node) -> bool:
        """Whether the node goes with its readers: one cheap step from a value that is in memory then anyway."""
        result = node.outputs[0]
        readers = self.readers.get(result, ())
        if result in self.results or not readers or not is_cheap(node):
            return False
        if any(r not in self.groups or self.groups[r].shape != result.shape for r in readers):
            return False
        read = {self.source(value) for value in node.values()}
        if len(read) != 1:
            return False
        (value,) = read
        if value.node is None or value in self.results or value.nbytes <= result.nbytes:
            return True
        others = [self.place(reader) for reader in self.readers[value] if reader is not node]
        return max(others, default=-math.inf) + _NEAR >= max([self.place(reader) for reader in readers])

    def copy_light(self) -> None:
        """Gives each reader of a light node a copy of its own."""
        copies = False
        for node in reversed(self.graph.nodes):
            result = node.outputs[0]
            if node not in self.groups or len(self.readers.get(result, ())) < 2 or not self.is_light(node):
                continue
            copies = True
            (source,) = {self.source(value) for value in node.values()}
            first, *rest = self.readers[result]
            self.readers[result] = [first]
            for reader in rest:
                copy = Node(node.operation, node.inputs, node.options, [(result.shape, result.dtype)], node.line)
                new = copy.outputs[0]
                reader.substitute({result: new})
                self.order[copy] = (self.place(source.node) + self.place(reader)) / 2
                self.groups[copy] = _Group(copy, self.groups[node].dtype, self.order[copy])
                self.groups[reader].inputs = set(reader.values())
                self.readers[new] = [reader]
                self.readers[source].append(copy)
        if copies:
            self.graph.nodes = sorted(self.order, key=self.order.__getitem__)

    def join_makers(self, node: Node) -> None:
        """Joins a node's group with those that make what it reads, the nearest first."""
        tried: set[_Group] = set()
        while True:
            group = self.groups[node]
            makers = {self.groups[v.node] for v in group.inputs if v.node in self.groups} - tried
            if not makers:
                return
            maker = max(makers, key=lambda g: g.place)
            tried.add(maker)
            self.join(group, maker)

    # Which nodes go together

    def join(self, a: _Group, b: _Group) -> bool:
        """Makes one group of two, where that is possible."""
        if a is b or a.shape != b.shape or a.instructions + b.instructions > _MOST_INSTRUCTIONS:
            return False
        if a.dtype != b.dtype and BOOL not in (a.dtype, b.dtype):
            return False
        dtype = b.dtype if a.dtype == BOOL else a.dtype
        inputs = {value for value in a.inputs if value.node not in b.members}
        inputs.update([value for value in b.inputs if value.node not in a.members])
        if len(inputs) > _MOST_INPUTS or (dtype != BOOL and all(value.dtype != dtype for value in inputs)):
            return False
        sources = self.sources
        makers = {sources.get(value, value).node for value in inputs}
        if not (makers.isdisjoint(a.members) and makers.isdisjoint(b.members)):
            return False  # a member reads another one through a view
        earliest = max(map(self.place, makers), default=-1)
        readers = {m: left for m, found in a.readers.items() if (left := [r for r in found if r not in b.members])}
        readers |= {m: left for m, found in b.readers.items() if (left := [r for r in found if r not in a.members])}
        if len(readers) > _MOST_OUTPUTS:
            return False
        limits = [self.place(reader) for found in readers.values() for reader in found]
        if self.overwritten:
            changes = [(g, self.overwritten.get(self.source(value), -1)) for g in (a, b) for value in g.inputs]
            limits += [place for g, place in changes if place > g.place]
        latest = min(limits, default=math.inf)
        for place in (max(a.place, b.place), min(a.place, b.place), (earliest + latest) / 2):
            if earliest < place < latest:
                break
        else:
            return False
        if len(a.members) < len(b.members):
            a, b = b, a
        a.members |= b.members
        a.inputs, a.readers, a.dtype, a.place = inputs, readers, dtype, place
        a.instructions += b.instructions
        for node in b.members:
            self.groups[node] = a
        return True

    # Making programs of them

    def rewrite(self) -> None:
        """Puts the fused nodes in the place of their members, and all nodes in order."""
        order = self.order
        replaced: dict[Value, Value] = {}
        items: list[tuple[float, Node]] = []
        for node in self.graph.nodes:
            group = self.groups.get(node)
            if group is None or len(group.members) == 1:
                if node not in self.views:
                    items.append((self.place(node), node))
            elif node is min(group.members, key=order.__getitem__):
                members = sorted(group.members, key=order.__getitem__)
                outputs = [n.outputs[0] for n in members if self.read_elsewhere(n.outputs[0], group.members)]
                if outputs:
                    items.append((group.place, fused(members, outputs, group.dtype)))
                    replaced.update(zip(outputs, items[-1][1].outputs, strict=True))
        items.sort(key=lambda item: item[0])
        nodes: dict[Node, None] = {}

        def add(node: Node) -> None:
            if node in nodes:
                return
            if replaced:
                node.substitute(replaced)
            for value in node.values():
                if value.node in self.views:
                    add(value.node)
            nodes[node] = None

        for _, node in items:
            add(node)
        for node in self.graph.nodes:  # views that are results
            if node in self.views:
                add(node)
        self.graph.nodes = list(nodes)
        self.graph.substitute_results(replaced)

    def read_elsewhere(self, value: Value, members: set[Node]) -> bool:
        """Whether more than `members` need the value."""
        return value in self.results or any(reader not in members for reader in self.readers.get(value, ()))


def fused(members: list[Node], outputs: list[Value], dtype: np.dtype[Any]) -> Node:
    """One node that does what `members` do, in this order, and returns `outputs`."""
    inside = {node.outputs[0] for node in members}
    inputs = list(dict.fromkeys([v for node in members for v in node.values() if v not in inside]))
    builder = Builder(len(inputs))
    known: dict[Value, Any] = dict(zip(inputs, builder.inputs, strict=True))
    for value, expression in known.items():
        expression.boolean = value.dtype == BOOL
    emit = Recorder(builder, dtype)
    for node in members:
        sources = [known[v] if isinstance(v, Value) else emit.number(v) for v in node.inputs]
        known[node.outputs[0]] = record(node, sources, emit)
    program = emit.program([known[value] for value in outputs])
    specs = [(value.shape, value.dtype) for value in outputs]
    return Node("fused", inputs, {"program": program}, specs, members[-1].line)
