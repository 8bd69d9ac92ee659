"""Functions whose results the caller differentiates: a program for the results, and one for the way back.

While the function is traced, so is the backward pass from its results, with gradients that are arguments. The graph is
then cut in two: what the way back reads of the way there is returned beside the results and kept by a node of the tape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.tape import Node, OperationNode, edge_of
from rushlight.autograd.walk import Walk, anomaly
from rushlight.compiler import layout
from rushlight.compiler.graph import Graph, Input, Value
from rushlight.compiler.graph import Node as GraphNode
from rushlight.compiler.passes import simplify
from rushlight.compiler.program import Program
from rushlight.compiler.trace import NotNative, Trace
from rushlight.ops.declare import Spec
from rushlight.tensor.tensor import Tensor, wrap

Array = np.ndarray[Any, Any]


class _Walk(Walk):
    """A walk that ends at leaves without doing what the caller's own walk will do there.

    first: the sequence number from which on nodes belong to the traced function.
    """

    def __init__(self, roots: Sequence[Tensor], first: int) -> None:
        super().__init__(roots, retain_graph=False, create_graph=False)
        self.first = first

    def send(self, edge: Any, gradient: Tensor, slicing: OperationNode | None = None) -> None:
        if type(edge) is tuple and edge[0].sequence < self.first:
            raise NotNative("it reads a tensor from outside that is itself the result of differentiable operations")
        super().send(edge, gradient, slicing)

    def _run_leaf_hooks(self, leaf: Tensor) -> None:
        pass


class WayBack:
    """What is recorded of the way back from a function's results.

    places: of the results that require a gradient, among all results.
    ends: where gradients go: the positions of arguments, or leaves.
    """

    def __init__(self, trace: Trace, outputs: Sequence[Tensor], arguments: Sequence[Tensor]) -> None:
        """Walks back, while the trace is on. Raises NotNative where that can't be done in a program."""
        if anomaly.enabled:
            raise NotNative("anomalies are looked for")
        if trace.updates:
            raise NotNative("an optimizer takes a step in it")
        for tensor in (*arguments, *[tensor for tensor, _, _ in trace.met()]):
            if tensor._requires_grad and tensor._node is not None and tensor._node.sequence >= trace.first:
                raise NotNative("it changes a tensor from outside in place, and with it where its gradient goes")
        for tensor in outputs:
            trace.meet(tensor)
            trace.read(tensor.array)  # what views of the results need belongs to the way there
        self.length = len(trace.graph.nodes)
        self.places = [place for place, tensor in enumerate(outputs) if tensor._requires_grad]
        roots = [outputs[place] for place in self.places]
        self.specs = [Spec(root.array.shape, root.array.dtype) for root in roots]
        made = [trace.argument(spec.shape, spec.dtype) for spec in self.specs]
        self.given = [given for _, given in made]
        try:
            arrived = _Walk(roots, trace.first).run(roots, [wrap(array) for array, _ in made])
        except NotNative:
            raise
        except Exception as error:  # which an eager backward pass will raise when the caller asks for it
            raise NotNative(f"its backward pass can't be traced ({error})") from None
        positions = {id(tensor): position for position, tensor in reversed(list(enumerate(arguments)))}
        self.ends: list[int | Tensor] = []
        self.values: list[Value] = []
        for leaf, gradient in arrived.items():
            if id(leaf) not in positions and trace.is_made_here(leaf.array):
                if any(leaf is root for root in roots):
                    raise NotNative("it returns a leaf that it has made itself")
                continue
            self.ends.append(positions.get(id(leaf), leaf))
            self.values.append(trace.read(gradient.array))


class Differentiable:
    """The way back as a program, and what it needs of the way there."""

    def __init__(self, graph: Graph, back: WayBack, trace: Trace) -> None:
        """Cuts `graph`, which keeps the way there, and returns what is kept behind its results."""
        self.ends, self.places, self.specs = back.ends, back.places, back.specs
        self.results = len(graph.outputs)
        self.sources: list[tuple[bool, int]] = []  # of the program's arguments: kept?, and which result or argument
        way_back = self._cut(graph, back)
        reach = _reach(way_back, back.given)
        self.reach = [reach.get(value, 0) for value in way_back.outputs]
        read = {id(given.array) for given in way_back.inputs if given.kind == "state"}
        self._state = [(tensor, array) for tensor, array, _ in trace.met() if id(array) in read]
        simplify(way_back)
        self.program = Program(way_back)

    def _cut(self, graph: Graph, back: WayBack) -> Graph:
        there, here = graph.nodes[: back.length], graph.nodes[back.length :]
        made = {value for node in there for value in node.outputs}
        for _, value in graph.writes:
            if value.node is not None and value not in made:
                raise NotNative("its backward pass writes to tensors from outside")
        own = Graph()
        own.nodes = here
        own.outputs = tuple(back.values)
        wanted = set(own.outputs).union(*[node.values() for node in here])
        graph.nodes = there
        views = self._views(graph, wanted)
        written = {target for target, _ in graph.writes}
        arguments = [given for given in graph.inputs if given.kind == "argument" and given not in back.given]
        position = {given: place for place, given in enumerate(arguments)}
        kept: list[Value] = []
        brought: dict[Value, Value] = {}
        for value in [*graph.inputs, *[value for node in there for value in node.outputs]]:
            if value not in wanted or value in back.given or value.node in views:
                continue
            kind = value.kind if isinstance(value, Input) else "made"
            if kind == "number":
                raise NotNative("its gradient depends on a number that changes from call to call")
            if kind in ("state", "constant") and value not in written:
                assert isinstance(value, Input)
                brought[value] = Input(kind, value.shape, value.dtype, value.array, value.name)
            else:
                brought[value] = Input("argument", value.shape, value.dtype)
                plain = kind == "argument" and value not in written
                self.sources.append((False, position[value]) if plain else (True, len(kept)))  # type: ignore[index]
                if not plain:
                    kept.append(value)
            own.inputs.append(brought[value])  # type: ignore[arg-type]
        clones = []
        for node in views:
            clone = GraphNode(node.operation, node.inputs, node.options, [(v.shape, v.dtype) for v in node.outputs])
            clone.line = node.line
            brought.update(zip(node.outputs, clone.outputs, strict=True))
            clones.append(clone)
        own.nodes = [*clones, *here]
        own.inputs += back.given
        own.substitute(brought)
        graph.inputs = [given for given in graph.inputs if given not in back.given]
        graph.outputs = (*graph.outputs, *kept)
        return own

    @staticmethod
    def _views(graph: Graph, wanted: set[Value]) -> list[GraphNode]:
        """The nodes that only see memory in another way: what they see is kept, and `wanted` in their place."""
        places = layout.places(graph)
        found: list[GraphNode] = []
        for node in reversed(graph.nodes):
            value = node.outputs[0]
            if value in wanted and layout.is_view(node) and places[value].root is not value:
                wanted.remove(value)
                wanted.update(node.values())
                found.append(node)
        return found[::-1]

    def record(self, outputs: Sequence[Tensor], kept: Sequence[Array], arguments: Sequence[Tensor]) -> None:
        """Makes the results of a run those of a node of the tape."""
        edges = [edge_of(arguments[end] if isinstance(end, int) else end) for end in self.ends]
        read: list[Any] = []
        checks: list[tuple[Tensor, Array, int]] = [(t, array, _version(t)) for t, array in self._state]
        of_outputs = {id(tensor.array): tensor for tensor in outputs}
        for is_kept, place in self.sources:
            array = kept[place] if is_kept else arguments[place].array
            tensor = of_outputs.get(id(array)) if is_kept else arguments[place]
            read.append(array)
            if tensor is not None:
                if tensor._counter is None:
                    tensor._counter = [0]
                checks.append((tensor.detach() if is_kept else tensor, array, _version(tensor)))
        node = CompiledNode(self, edges, read, checks)
        for index, place in enumerate(self.places):
            output = outputs[place]
            output._node, output._index, output._requires_grad = node, index, True

    def run(self, kept: Sequence[Array], gradients: Sequence[Any]) -> list[Tensor | None]:
        """The gradients that arrive at the ends."""
        there = _present(gradients)
        given = [
            np.zeros(spec.shape, spec.dtype) if gradient is None else gradient.array
            for gradient, spec in zip(gradients, self.specs, strict=True)
        ]
        with self.program.lock:
            found = self.program.run([*kept, *given], ())
        return [
            wrap(array) if reach & there or not reach else None for array, reach in zip(found, self.reach, strict=True)
        ]


class CompiledNode(Node):
    """The node of a compiled function: its gradients by a program, from what the function has kept."""

    def __init__(self, differentiable: Differentiable, edges: list[Any], kept: list[Array], checks: list[Any]) -> None:
        super().__init__(edges, differentiable.specs)
        self._differentiable = differentiable
        self._kept = kept
        self._checks = checks
        self._going = self._gone = 0  # the results, as bits, whose gradients the walk brings, and has brought

    def name(self) -> str:
        return "CompiledFunctionBackward"

    def release(self) -> None:
        self._gone |= self._going
        if self._gone == (1 << len(self.outputs)) - 1:
            self._kept, self._checks = [], []

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        self._going = _present(gradients)
        if self._going & self._gone:
            raise RuntimeError(
                "Trying to backward through the graph a second time: what a compiled function kept for its gradient "
                "was freed by the first backward(). Pass retain_graph=True to the first, or run the forward again"
            )
        if create_graph:
            raise RuntimeError(
                "a compiled function can't be differentiated twice by its caller (create_graph=True). Put the whole "
                "step, with both backward passes, into the compiled function, or call it without compile()"
            )
        for tensor, array, version in self._checks:
            if tensor.array is not array or _version(tensor) != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"a tensor of shape {tuple(array.shape)} that a compiled function read or returned. Hint: use the "
                    "out-of-place form of the operation that came after it, or clone() first"
                )
        return self._differentiable.run(self._kept, gradients)


def _present(gradients: Sequence[Any]) -> int:
    return sum([1 << place for place, gradient in enumerate(gradients) if gradient is not None])


def _version(tensor: Tensor) -> int:
    return 0 if tensor._counter is None else tensor._counter[0]


def _reach(graph: Graph, given: Iterable[Input]) -> dict[Value, int]:
    """For each value, which of the given ones it depends on, as bits."""
    found: dict[Value, int] = {value: 1 << place for place, value in enumerate(given)}
    for node in graph.nodes:
        bits = 0
        for value in node.values():
            bits |= found.get(value, 0)
        for value in node.outputs:
            found[value] = bits
    return found


def detached(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors, with leaves in the place of results that gradients flow through: there a trace ends."""
    made: dict[int, Tensor] = {}
    for tensor in tensors:
        if tensor._requires_grad and tensor._node is not None and id(tensor) not in made:
            leaf = wrap(tensor.array)
            leaf._requires_grad = True
            made[id(tensor)] = leaf
    return [made.get(id(tensor), tensor) for tensor in tensors]
