"""Epilogues: what is done to each element of a product or convolution is done while it is still in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.compiler.graph import Graph, Node, Value
from rushlight.compiler.passes.dead import remove_dead

ACTIVATIONS = frozenset(["relu", "gelu", "gelu_tanh", "sigmoid", "tanh", "silu"])
_ACTIVATED = {
    "matmul": "linear_activation",
    "linear": "linear_activation",
    "linear_activation": "linear_activation",
    "convolution": "convolution_activation",
    "convolution_activation": "convolution_activation",
}
PRODUCTS = frozenset(_ACTIVATED)
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def attach_epilogues(graph: Graph) -> Graph:
    """A bias, a residual and an activation become part of the linear layer, matmul or convolution they alone read.

    So does the gradient of a relu, which is told from the relu's result, of linear layers and matmuls. Who reads a
    value decides much, so that dead code goes first.
    """
    uses = remove_dead(graph).uses()
    results = set(graph.results())
    gone: set[Node] = set()
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []

    def product(value: Any) -> Node | None:
        """The product that `value` is, if nobody else reads it and nothing was done to its sum yet."""
        if not isinstance(value, Value) or value.node is None or value.dtype not in _FLOATS:
            return None
        before = original.get(value, value)
        if before in results or uses.get(before) != [reader]:
            return None
        if value.node.operation == "matmul":
            a, b = value.node.inputs
            free = a.ndim >= 2 and b.ndim == 2
        else:
            free = value.node.operation in _ACTIVATED and value.node.options.get("activation", "none") == "none"
        return value.node if free else None

    original: dict[Value, Value] = {}  # of new values: those that they stand for
    for reader in graph.nodes:
        if replaced:
            reader.substitute(replaced)
        made = None
        if reader.operation in ACTIVATIONS:
            made = _activated(product(reader.inputs[0]), reader)
        elif reader.operation == "add":
            for position in (1, 0):
                made = made or _added(product(reader.inputs[position]), reader.inputs[1 - position], reader)
        elif reader.operation == "where":
            made = _rectified(product(reader.inputs[2]), reader)
        if made is None:
            nodes.append(reader)
            continue
        before, node = made
        gone.add(before)
        if before.operation == "matmul":
            x, weight, *rest = node.inputs
            if weight.node is not None and weight.node.operation == "permute":
                weight = weight.node.inputs[0]
            else:
                nodes.append(Node("permute", (weight,), {"dims": (1, 0)}, [(weight.shape[::-1], weight.dtype)]))
                weight = nodes[-1].outputs[0]
            node.read((x, weight, *rest))
        nodes.append(node)
        replaced[reader.outputs[0]] = node.outputs[0]
        original[node.outputs[0]] = reader.outputs[0]
    graph.nodes = [node for node in nodes if node not in gone]
    graph.substitute_results(replaced)
    return remove_dead(graph)


def _parts(product: Node) -> tuple[Any, Any, Any, Any]:
    """x, weight, bias and residual of a product."""
    x, weight, bias, residual, *_ = (*product.inputs, None, None)
    return x, weight, bias, residual


def _activated(product: Node | None, reader: Node) -> tuple[Node, Node] | None:
    if product is None:
        return None
    return product, _node(product, _parts(product), reader.operation, reader)


def _added(product: Node | None, other: Any, reader: Node) -> tuple[Node, Node] | None:
    result = reader.outputs[0]
    if product is None or not isinstance(other, Value) or other.dtype != result.dtype:
        return None
    x, weight, bias, residual = _parts(product)
    if residual is not None or product.outputs[0].shape != result.shape:
        return None
    if other.shape == result.shape and other is not product.outputs[0]:
        return product, _node(product, (x, weight, bias, other), "none", reader)
    if bias is None and other.shape == result.shape[-1:] and product.operation in ("matmul", "linear"):
        return product, Node("linear", (x, weight, other), {}, [(result.shape, result.dtype)], reader.line)
    return None


def _rectified(product: Node | None, reader: Node) -> tuple[Node, Node] | None:
    """where(y <= 0, 0, product), the gradient of a relu whose result is y."""
    condition, zero, _ = reader.inputs
    compared = condition.node if isinstance(condition, Value) else None
    if product is None or product.operation not in ("matmul", "linear") or zero != 0:
        return None
    if compared is None or compared.operation != "less_equal" or compared.inputs[1] != 0:
        return None
    x, weight, bias, _ = _parts(product)
    y, result = compared.inputs[0], reader.outputs[0]
    specs = {(value.shape, value.dtype) for value in (y, result, product.outputs[0]) if isinstance(value, Value)}
    if bias is not None or not isinstance(y, Value) or len(specs) > 1:
        return None
    return product, Node("linear_relu_gradient", (x, weight, y), {}, [(result.shape, result.dtype)], reader.line)


def _node(product: Node, inputs: tuple[Any, ...], activation: str, reader: Node) -> Node:
    result = reader.outputs[0]
    options = {**product.options, "activation": activation}
    return Node(_ACTIVATED[product.operation], inputs, options, [(result.shape, result.dtype)], reader.line)
