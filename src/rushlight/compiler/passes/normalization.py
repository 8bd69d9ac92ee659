"""Batch normalisation: rectified in the same sweep in training, folded into its neighbours at inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.compiler.graph import Graph, Node, Value
from rushlight.ops.declare import OPERATIONS


def rectify_normalization(graph: Graph) -> Graph:
    """relu(batch_norm(x) + residual) becomes one node; so does batch_norm_gradient behind the gradient of a relu."""
    return _Rectifying(graph).rewrite()


class _Rectifying:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses = graph.uses()
        self.results = set(graph.results())
        self.positions = {node: position for position, node in enumerate(graph.nodes)}
        self.in_place_of: dict[Node, Node | None] = {}  # by what goes: what comes
        self.replaced: dict[Value, Value] = {}

    def rewrite(self) -> Graph:
        for node in self.graph.nodes:
            if node.operation == "relu":
                self._forward(node)
            elif node.operation == "batch_norm_gradient":
                self._backward(node)
        if self.in_place_of:
            nodes = [self.in_place_of.get(node, node) for node in self.graph.nodes]
            self.graph.nodes = [node for node in nodes if node is not None]
            self.graph.substitute(self.replaced)
        return self.graph

    def _forward(self, relu: Node) -> None:
        added = relu.inputs[0]
        norm, residual = self._normalized(added, relu), None
        if norm is None and self._read_by(added, relu) and added.node.operation == "add":
            for h, other in (added.node.inputs, reversed(added.node.inputs)):
                found = self._normalized(h, added.node)
                if found is not None and _alike(other, h) and self._exists_before(other, found):
                    norm, residual = found, other
                    break
        if norm is None:
            return
        specs = [(value.shape, value.dtype) for value in norm.outputs]
        fused = Node("batch_norm_relu", (*norm.inputs, residual), norm.options, specs, norm.line)
        self.in_place_of[norm], self.in_place_of[relu] = fused, None
        if residual is not None:
            self.in_place_of[added.node] = None
        self.replaced[relu.outputs[0]] = fused.outputs[0]
        self.replaced.update(zip(norm.outputs[1:], fused.outputs[1:], strict=True))

    def _normalized(self, value: Any, reader: Node) -> Node | None:
        """The batch_norm that `value` is the result of, where only `reader` reads it."""
        if self._read_by(value, reader) and value.node.operation == "batch_norm" and value.index == 0:
            return value.node  # type: ignore[no-any-return]
        return None

    def _read_by(self, value: Any, reader: Node) -> bool:
        """Whether it is computed for `reader` alone."""
        return (
            isinstance(value, Value)
            and value.node is not None
            and self.uses[value] == [reader]
            and value not in self.results
        )

    def _exists_before(self, value: Value | None, node: Node) -> bool:
        return value is None or value.node is None or self.positions[value.node] < self.positions[node]

    def _backward(self, norm: Node) -> None:
        behind, x, weight = norm.inputs
        where = behind.node
        if where is None or where.operation != "where" or where in self.in_place_of:
            return
        mask, nothing, g = where.inputs
        if not isinstance(nothing, (int, float)) or nothing != 0 or not _alike(g, behind):
            return
        y = _positive_of(mask)
        if y is None or not _alike(y, behind):
            return
        others = self.uses[behind] != [norm] or behind in self.results
        if others and not (self._exists_before(x, where) and self._exists_before(weight, where)):
            return
        specs = [(value.shape, value.dtype) for value in (*norm.outputs, *[behind] * others)]
        options = {"with_residual": others, **norm.options}
        fused = Node("batch_norm_relu_gradient", (g, y, x, weight), options, specs, norm.line)
        self.in_place_of[where], self.in_place_of[norm] = (fused, None) if others else (None, fused)
        self.replaced.update(zip((*norm.outputs, *[behind] * others), fused.outputs, strict=True))


def _alike(value: Any, other: Value) -> bool:
    return isinstance(value, Value) and value.shape == other.shape and value.dtype == other.dtype


def _positive_of(mask: Any) -> Value | None:
    """y where `mask` is y <= 0."""
    if not isinstance(mask, Value) or mask.node is None or mask.node.operation != "less_equal":
        return None
    y, bound = mask.node.inputs
    return y if isinstance(y, Value) and isinstance(bound, (int, float)) and bound == 0 else None


def fold_normalization(graph: Graph) -> Graph:
    """Normalisation with given statistics goes into the weights of the convolution or linear layer before it.

    Where they are more numbers than what is normalised, or another operation comes before, it becomes a scale and a
    shift of each channel, if elementwise operations follow, with which these are then fused.
    """
    uses = graph.uses()
    results = set(graph.results())
    nodes: list[Node] = []
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.operation != "batch_norm_inference" or not _same_floats(node.inputs):
            nodes.append(node)
            continue
        before, y = node.inputs[0].node, node.outputs[0]
        alone = before is not None and uses[node.inputs[0]] == [node] and node.inputs[0] not in results
        if alone and _takes_scale(before) and before.inputs[1].size <= y.size and _same_floats(before.inputs):
            nodes.remove(before)
            builder = _Builder(nodes, before.line)
            scale, shift = builder.scale_and_shift(node)
            weight, bias = before.inputs[1], before.inputs[2] if len(before.inputs) > 2 else None
            if bias is not None:
                shift = builder.elementwise("add", shift, builder.elementwise("multiply", bias, scale))
            scale = builder.reshape(scale, (-1, *[1] * (weight.ndim - 1)))
            weight = builder.elementwise("multiply", weight, scale)
            made = Node(before.operation, (before.inputs[0], weight, shift), before.options, [(y.shape, y.dtype)])
            made.line = before.line
            nodes.append(made)
            replaced[y] = made.outputs[0]
        elif y not in results and all(reader.is_elementwise for reader in uses.get(y, [])):
            builder = _Builder(nodes, node.line)
            channels = (-1, *[1] * (y.ndim - 2))
            scale, shift = [builder.reshape(vector, channels) for vector in builder.scale_and_shift(node)]
            scaled = builder.elementwise("multiply", node.inputs[0], scale)
            replaced[y] = builder.elementwise("add", scaled, shift)
        else:
            nodes.append(node)
    graph.nodes = nodes
    graph.substitute(replaced)
    return graph


def _same_floats(inputs: tuple[Any, ...]) -> bool:
    """Whether all are of one dtype, and wide enough to compute a scale in."""
    dtypes = {value.dtype for value in inputs if value is not None}
    return len(dtypes) == 1 and dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}


def _takes_scale(node: Node) -> bool:
    """Whether the node's channels, dimension 1 of its result, are dimension 0 of its weight."""
    return node.operation == "convolution" or (node.operation == "linear" and node.outputs[0].ndim == 2)


class _Builder:
    """Appends nodes to a list."""

    def __init__(self, nodes: list[Node], line: str) -> None:
        self.nodes = nodes
        self.line = line

    def elementwise(self, operation: str, *inputs: Any) -> Value:
        spec = OPERATIONS[operation].spec(*inputs)
        return self._append(Node(operation, inputs, {}, [(spec.shape, spec.dtype)], self.line))

    def reshape(self, vector: Value, shape: tuple[int, ...]) -> Value:
        shape = tuple([vector.size if extent == -1 else extent for extent in shape])
        return self._append(Node("reshape", (vector,), {"shape": shape}, [(shape, vector.dtype)], self.line))

    def scale_and_shift(self, norm: Node) -> tuple[Value, Value]:
        """Vectors of which the normalisation is x * scale + shift."""
        _, weight, bias, mean, variance = norm.inputs
        scale = self.elementwise("rsqrt", self.elementwise("add", variance, norm.options["eps"]))
        if weight is not None:
            scale = self.elementwise("multiply", scale, weight)
        moved = self.elementwise("multiply", mean, scale)
        return scale, self.elementwise("negative" if bias is None else "subtract", *[bias] * (bias is not None), moved)

    def _append(self, node: Node) -> Value:
        self.nodes.append(node)
        return node.outputs[0]
