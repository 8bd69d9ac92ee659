"""Parts put together at once: the gradients of slices that make up a whole are joined, not padded and added."""

from __future__ import annotations

from typing import Any, NamedTuple

from rushlight.compiler.graph import Graph, Node, Value


class Part(NamedTuple):
    """`value` at the positions `start` to `stop` of dimension `dim`, every `stride`-th."""

    dim: int
    stride: int
    start: int
    stop: int
    value: Value


def join_slices(graph: Graph) -> Graph:
    """Sums of slice_gradients that leave nothing open become `cat`, whose parts are permuted where its result is.

    What else is in such a sum is added to the whole. Those of every second element, or of every n-th, become `stack`.
    """
    if not any(node.operation == "slice_gradient" for node in graph.nodes):
        return graph
    uses = graph.uses()
    results = set(graph.results())
    parts: dict[Value, list[Part]] = {}
    beside: dict[Value, list[Value]] = {}  # what else is in a sum with parts
    joined: dict[Value, Node] = {}
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []

    def alone(value: Any) -> bool:
        return len(uses.get(value, ())) == 1 and value not in results

    def emit(operation: str, inputs: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> Value:
        nodes.append(Node(operation, inputs, options, [(shape, inputs[0].dtype)], node.line))
        return nodes[-1].outputs[0]

    def add_beside(result: Value) -> None:
        for value in beside[result]:
            replaced[result] = emit("add", (value, replaced[result]), {}, result.shape)

    for node in graph.nodes:
        if replaced:
            node.substitute(replaced)
        nodes.append(node)
        result = node.outputs[0]
        if node.operation == "slice_gradient":
            part = part_of(node)
            if part is not None:
                parts[result] = [part]
        elif node.operation == "add" and any(v in parts for v in node.inputs if isinstance(v, Value)):
            known = [v for v in node.values() if v in parts]
            if not all(alone(v) for v in known) or any(v.shape != result.shape for v in node.values()):
                continue
            if len(node.values()) < 2 or len({parts[v][0][:2] for v in known}) > 1:
                continue
            dim, stride = parts[known[0]][0][:2]
            parts[result] = sorted([part for v in known for part in parts[v]], key=lambda part: part.start)
            beside[result] = [
                v for given in node.inputs for v in (beside.get(given, []) if given in parts else [given])
            ]
            ends = [0, *[part.stop for part in parts[result]]]
            if stride > 1:
                values = [part.value for part in parts[result]]
                whole = all(stride * value.shape[dim] == result.shape[dim] for value in values)
                if [part.start for part in parts[result]] == list(range(stride)) and whole:
                    del parts[result]
                    nodes.pop()
                    shape = (*values[0].shape[: dim + 1], stride, *values[0].shape[dim + 1 :])
                    stacked = emit("stack", tuple(values), {"dim": dim + 1}, shape)
                    replaced[result] = emit("reshape", (stacked,), {"shape": result.shape}, result.shape)
                    add_beside(result)
            elif [part.start for part in parts[result]] == ends[:-1] and ends[-1] == result.shape[dim]:
                nodes.pop()
                values = []
                for _, _, start, stop, value in parts.pop(result):
                    shape = (*result.shape[:dim], stop - start, *result.shape[dim + 1 :])
                    values.append(value if value.shape == shape else emit("reshape", (value,), {"shape": shape}, shape))
                replaced[result] = emit("cat", tuple(values), {"dim": dim}, result.shape)
                if alone(result) and not beside[result]:
                    joined[replaced[result]] = nodes[-1]
                add_beside(result)
        elif node.operation == "permute" and node.inputs[0] in joined:
            cat = joined[node.inputs[0]]
            dims = tuple([d % result.ndim for d in node.options["dims"]])
            nodes.pop()
            nodes.remove(cat)
            values = [
                emit("permute", (value,), {"dims": dims}, tuple([value.shape[d] for d in dims])) for value in cat.inputs
            ]
            replaced[result] = emit("cat", tuple(values), {"dim": dims.index(cat.options["dim"])}, result.shape)
    graph.nodes = nodes
    graph.substitute(replaced)
    return graph


def part_of(node: Node) -> Part | None:
    """What a slice takes, or where a slice_gradient puts it, if that is one range of one dimension."""
    source, result, index = node.inputs[0], node.outputs[0], node.options["index"]
    value, shape = (result, source.shape) if node.operation == "slice" else (source, result.shape)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (len(shape) - len(index) + 1), *index[at + 1 :])
    if None in index or Ellipsis in index:
        return None
    cut = [(dim, step) for dim, step in enumerate(index) if step != slice(None)]
    if len(cut) != 1:
        return None
    dim, step = cut[0]
    if isinstance(step, slice):
        start, stop, stride = step.indices(shape[dim])
        return Part(dim, stride, start, stop, value) if stride > 0 and start < stop else None
    start = step % shape[dim]
    return Part(dim, 1, start, start + 1, value)
