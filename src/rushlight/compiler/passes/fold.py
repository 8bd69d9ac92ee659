"""Folding: what is known when the program is made isn't computed in each run, and what changes nothing goes.

Each rule takes a node and gives the value to read in the place of its result, or None. Rules only say what is exact,
with NaN, infinities and the sign of zero: x * 1 is x, but x + 0 is not, since -0.0 + 0 is 0.0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.compiler.layout import is_view
from rushlight.compiler.passes.epilogue import ACTIVATIONS, PRODUCTS
from rushlight.ops.declare import OPERATIONS, Operation
from rushlight.ops.movement import expanded_shape
from rushlight.ops.reduction import normalize_dims

_LARGEST = 65536  # bytes of a result that is computed when the program is made


def fold(graph: Graph) -> Graph:
    """Computes constants, and takes out of the graph what gives its input."""
    return _Folding(graph).run()


class _Folding:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.replaced: dict[Value, Value] = {}
        self.reads = Counter([value for node in graph.nodes for value in node.values()])
        self.reads.update(graph.results())
        self.line = ""

    def run(self) -> Graph:
        graph, replaced = self.graph, self.replaced
        for given in tuple(graph.inputs):
            if given.kind == "constant" and given.size > 1 and _is_uniform(given.array):
                replaced[given] = self.expand(self.constant(given.array.flat[0], given.dtype), given.shape)
        for node in graph.nodes:
            if replaced:
                node.substitute(replaced)
            self.line = node.line
            if self.constants(node):
                continue
            rule = _RULES.get(node.operation)
            result = None if rule is None else rule(self, node)
            if result is None and node.is_elementwise:
                result = self.elementwise(node)
            if result is None:
                self.nodes.append(node)
            else:
                replaced[node.outputs[0]] = result
        graph.nodes = self.nodes
        graph.substitute_results(replaced)
        return graph

    # Making values

    def emit(self, operation: str, inputs: Sequence[Any], options: dict[str, Any], spec: tuple[Any, Any]) -> Value:
        self.nodes.append(Node(operation, inputs, options, [spec], self.line))
        return self.nodes[-1].outputs[0]

    def constant(self, array: Any, dtype: np.dtype[Any]) -> Input:
        """A new constant."""
        array = np.array(array).astype(dtype, order="C")
        self.graph.inputs.append(Input("constant", array.shape, dtype, array))
        return self.graph.inputs[-1]

    def cast(self, value: Value, dtype: np.dtype[Any]) -> Value:
        if value.dtype == dtype:
            return value
        maker = value.node
        if maker is not None and maker.operation == "cast":  # there and back
            first: Value = maker.inputs[0]
            if first.dtype == dtype and _holds_all(value.dtype, dtype):
                return first
        return self.emit("cast", [value], {"dtype": dtypes.of_numpy(dtype)}, (value.shape, dtype))

    def reshape(self, value: Value, shape: tuple[int, ...]) -> Value:
        maker = value.node
        if maker is not None and maker.operation == "reshape":
            source: Value = maker.inputs[0]
            if self.reads[value] < 2 or _is_row_major(source):  # else a copy might be made twice
                return self.reshape(source, shape)
        return value if value.shape == shape else self.emit("reshape", [value], {"shape": shape}, (shape, value.dtype))

    def permute(self, value: Value, dims: tuple[int, ...]) -> Value:
        dims = tuple([d % value.ndim for d in dims])
        maker = value.node
        if maker is not None and maker.operation == "permute":
            first = maker.inputs[0]
            before = [d % first.ndim for d in maker.options["dims"]]
            return self.permute(first, tuple([before[d] for d in dims]))
        if maker is not None and maker.operation == "reshape" and self.reads[value] < 2:
            source = maker.inputs[0]
            groups = _merged(source.shape, value.shape)
            if groups is not None and source.node is not None and source.node.operation == "permute":
                moved_first = self.permute(source, tuple([at for d in dims for at in groups[d]]))
                return self.reshape(moved_first, tuple([value.shape[d] for d in dims]))
        if maker is not None and maker.operation == "matmul" and dims == _swapped(value.ndim) and self.reads[value] < 2:
            a, b = maker.inputs
            if a.ndim >= 2 and b.ndim >= 2:
                shape = (*value.shape[:-2], value.shape[-1], value.shape[-2])
                return self.emit("matmul", [self.transpose(b), self.transpose(a)], {}, (shape, value.dtype))
        shape = tuple([value.shape[d] for d in dims])
        source, order = _order(value)
        extents = [d for d in range(value.ndim) if value.shape[d] != 1]
        moved = [order[extents.index(d)] for d in dims if value.shape[d] != 1]
        if moved == sorted(moved):
            return self.reshape(source, shape)
        return self.emit("permute", [value], {"dims": dims}, (shape, value.dtype))

    def transpose(self, value: Value) -> Value:
        return self.permute(value, _swapped(value.ndim))

    def expand(self, value: Value, shape: tuple[int, ...]) -> Value:
        if value.shape == shape:
            return value
        if value.size == math.prod(shape):
            return self.reshape(value, shape)
        maker = value.node
        if maker is not None and maker.operation == "expand":
            return self.expand(maker.inputs[0], shape)
        return self.emit("expand", [value], {"shape": shape}, (shape, value.dtype))

    # Constants

    def constants(self, node: Node) -> bool:
        """Computes a node on constants alone, by the same kernels as eagerly."""
        operation = OPERATIONS.get(node.operation)
        values = node.values()
        if operation is None or operation.name == "expand" or not values:
            return False
        if not all(isinstance(v, Input) and v.kind == "constant" and v.array is not None for v in values):
            return False
        if sum([value.nbytes for value in node.outputs]) > _LARGEST:
            return False
        operands = [item.array if isinstance(item, Input) else item for item in node.inputs]
        results = _computed(operation, operands, node.options)
        for value, result in zip(node.outputs, results, strict=True):
            self.replaced[value] = self.constant(result, value.dtype)
        return True

    # Elementwise operations

    def elementwise(self, node: Node) -> Value | None:
        """Reads numbers where constants are, and values before they are expanded; drops what changes nothing."""
        result = node.outputs[0]
        operands = [
            v.node.inputs[0] if isinstance(v, Value) and v.node is not None and v.node.operation == "expand" else v
            for v in node.inputs
        ]
        shape = np.broadcast_shapes(*[v.shape for v in operands if isinstance(v, Value)])
        operands = [self._as_number(node, operands, place, shape) for place in range(len(operands))]
        same = self._unchanged(node, operands)
        if same is not None:
            return self.expand(same, result.shape)
        if shape != result.shape:
            return self.expand(self.emit(node.operation, operands, node.options, (shape, result.dtype)), result.shape)
        node.read(operands)
        return self._before_reshape(node) or self._at_product(node)

    def _as_number(self, node: Node, operands: list[Any], place: int, shape: tuple[int, ...]) -> Any:
        """A constant of one element as a number, where others give the result its shape and dtype."""
        value = operands[place]
        if not isinstance(value, Input) or value.kind != "constant" or value.size != 1 or value.array is None:
            return value
        first = 1 if OPERATIONS[node.operation].promotion == "where" else 0
        others = [v for at, v in enumerate(operands) if at >= first and at != place and isinstance(v, Value)]
        if place < first or all(v.dtype != value.dtype or v.shape != shape for v in others):
            return value
        operands[place] = value.array.item()
        return operands[place]

    def _unchanged(self, node: Node, operands: list[Any]) -> Value | None:
        """The operand that the result is equal to."""
        x = operands[0]
        number = operands[1] if len(operands) == 2 else None
        result: Value | None = None
        if node.operation == "negative" and isinstance(x, Value) and x.node and x.node.operation == "negative":
            result = x.node.inputs[0]
        elif isinstance(x, (int, float)) and isinstance(number, Value) and node.operation in ("multiply", "add"):
            x, number = number, x
        if isinstance(x, Value) and isinstance(number, (int, float)):
            negative_zero = math.copysign(1, number) < 0
            if (
                (number == 1 and node.operation in ("multiply", "divide", "power"))
                or (number == 0 and node.operation == "subtract" and not negative_zero)
                or (number == 0 and node.operation == "add" and (negative_zero or x.dtype.kind in "iu"))
            ):
                result = x
        return result if result is not None and result.dtype == node.outputs[0].dtype else None

    def _before_reshape(self, node: Node) -> Value | None:
        """The operation on elementwise results before they are reshaped, so that it is fused with what made them."""
        tensors = [v for v in node.inputs if isinstance(v, Value)]
        makers = [v.node for v in tensors]
        if any(maker is None or maker.operation != "reshape" for maker in makers):
            return None
        sources: list[Value] = [maker.inputs[0] for maker in makers if maker is not None]
        if len({source.shape for source in sources}) != 1 or not any(_is_elementwise(s) for s in sources):
            return None
        result = node.outputs[0]
        if sources[0].size != result.size:
            return None
        inner = iter(sources)
        inputs = [next(inner) if isinstance(item, Value) else item for item in node.inputs]
        return self.reshape(
            self.emit(node.operation, inputs, node.options, (sources[0].shape, result.dtype)), result.shape
        )

    def _at_product(self, node: Node) -> Value | None:
        """What the kernel of a product can do at its end, before the product is reshaped."""
        if node.operation != "add" and node.operation not in ACTIVATIONS:
            return None
        result = node.outputs[0]
        if any(not isinstance(item, Value) or item.shape != result.shape for item in node.inputs):
            return None
        for value in node.inputs:
            if value.node is None or value.node.operation != "reshape":
                continue
            product: Value = value.node.inputs[0]
            if product.node is None or product.node.operation not in PRODUCTS or product.dtype != result.dtype:
                continue
            others = [other for other in node.inputs if other is not value]
            if max(self.reads[value], self.reads[product]) < 2 and all(map(_is_row_major, others)):
                inputs = [product if item is value else self.reshape(item, product.shape) for item in node.inputs]
                spec = (product.shape, result.dtype)
                return self.reshape(self.emit(node.operation, inputs, node.options, spec), result.shape)
        return None

    # Rules for single operations

    def _same(self, node: Node) -> Value:
        value: Value = node.inputs[0]
        return value

    def _cast(self, node: Node) -> Value | None:
        return self._changed(node, lambda: self.cast(node.inputs[0], node.outputs[0].dtype))

    def _reshape(self, node: Node) -> Value | None:
        return self._changed(node, lambda: self.reshape(node.inputs[0], node.outputs[0].shape))

    def _permute(self, node: Node) -> Value | None:
        return self._changed(node, lambda: self.permute(node.inputs[0], tuple(node.options["dims"])))

    def _expand(self, node: Node) -> Value | None:
        value = node.inputs[0]
        return self._changed(node, lambda: self.expand(value, expanded_shape(value.shape, node.options["shape"])))

    def _changed(self, node: Node, make: Callable[[], Value]) -> Value | None:
        """The value that `make` makes; None where that is what the node is already."""
        before = len(self.nodes)
        value = make()
        if len(self.nodes) == before + 1 and value.node is self.nodes[-1]:
            made = self.nodes[-1]
            if (made.operation, made.inputs, made.options) == (node.operation, node.inputs, node.options):
                self.nodes.pop()
                return None
        return value

    def _slice(self, node: Node) -> Value | None:
        """All of it, or what was just written there."""
        value, index = node.inputs[0], node.options["index"]
        if value.size == node.outputs[0].size:
            return self.reshape(value, node.outputs[0].shape)
        if value.node is not None and value.node.operation == "view_scatter":
            written, views = value.node.inputs[1], value.node.options["views"]
            fits = isinstance(written, Value) and written.dtype == value.dtype
            if fits and len(views) == 1 and views[0] == (OPERATIONS["slice"], {"index": index}):
                return self.expand(written, node.outputs[0].shape)
        return None

    def _slice_gradient(self, node: Node) -> Value | None:
        """Of all of it."""
        value, result = node.inputs[0], node.outputs[0]
        return self.reshape(value, result.shape) if value.size == result.size else None

    def _reduction(self, node: Node) -> Value | None:
        """Over dimensions of size 1."""
        value, result = node.inputs[0], node.outputs[0]
        dims = normalize_dims(node.operation, node.options.get("dim"), value.ndim)
        if value.dtype != result.dtype or any(value.shape[dim] != 1 for dim in dims if value.ndim):
            return None
        return self.reshape(value, result.shape)

    def _matmul(self, node: Node) -> Value | None:
        """Of stacks of matrices whose dimensions were merged, by a copy: as they were before."""
        a, b = node.inputs
        if a.ndim < 3 or a.shape[:-2] != b.shape[:-2]:
            return None
        for value in (a, b):
            if value.node is None or value.node.operation != "reshape":
                continue
            source = value.node.inputs[0]
            if source.ndim <= value.ndim or source.shape[-2:] != value.shape[-2:] or _is_row_major(source):
                continue
            batch = source.shape[:-2]
            left, right = self._stacked(a, batch), self._stacked(b, batch)
            if left is not None and right is not None:
                spec = ((*batch, a.shape[-2], b.shape[-1]), node.outputs[0].dtype)
                return self.reshape(self.emit("matmul", [left, right], {}, spec), node.outputs[0].shape)
        return None

    def _stacked(self, value: Value, batch: tuple[int, ...]) -> Value | None:
        """A stack of matrices with the leading dimensions `batch`, without a copy; None where it can't be seen so."""
        shape, maker = (*batch, *value.shape[-2:]), value.node
        if maker is not None and maker.operation == "reshape" and maker.inputs[0].shape == shape:
            return maker.inputs[0]  # type: ignore[no-any-return]
        if maker is not None and maker.operation == "permute" and tuple(maker.options["dims"]) == _swapped(value.ndim):
            before = self._stacked(maker.inputs[0], batch)
            return None if before is None else self.transpose(before)
        return self.reshape(value, shape) if _is_row_major(value) else None

    def _joined(self, node: Node) -> Value | None:
        return self.reshape(node.inputs[0], node.outputs[0].shape) if len(node.inputs) == 1 else None

    def _assign(self, node: Node) -> Value:
        value, result = node.inputs[1], node.outputs[0]
        if not isinstance(value, Value):
            with np.errstate(all="ignore"):
                return self.expand(self.constant(np.asarray(value), result.dtype), result.shape)
        value = self.cast(value, result.dtype)
        if value.ndim > result.ndim:
            value = self.reshape(value, value.shape[value.ndim - result.ndim :])
        return self.expand(value, result.shape)

    def _masked_fill(self, node: Node) -> Value | None:
        """As `where`, which is fused."""
        x, mask, number = node.inputs
        known = isinstance(number, (int, float)) and (x.dtype.kind != "i" or type(number) is int)
        if mask.dtype != np.bool_ or x.dtype.kind not in "fi":
            return None
        if not known and not (isinstance(number, Value) and number.dtype == x.dtype):
            return None
        result = node.outputs[0]
        return self.emit("where", [mask, number, x], {}, (result.shape, result.dtype))

    def _view_scatter(self, node: Node) -> Value | None:
        """Of all elements: the values put back in the order that they have in x."""
        x, value = node.inputs
        shapes = [x.shape]
        for operation, options in node.options["views"]:
            if operation.name not in ("identity", "reshape", "permute"):
                return None
            shapes.append(tuple(operation.spec(np.broadcast_to(np.zeros((), x.dtype), shapes[-1]), **options).shape))
        if not isinstance(value, Value) or value.dtype != x.dtype or value.shape != shapes[-1]:
            return None
        for (operation, options), shape in reversed(list(zip(node.options["views"], shapes, strict=False))):
            if operation.name == "permute":
                order = [d % len(shape) for d in options["dims"]]
                value = self.permute(value, tuple([order.index(d) for d in range(len(order))]))
            else:
                value = self.reshape(value, shape)
        return value


def _swapped(ndim: int) -> tuple[int, ...]:
    """The dimensions with the last two in each other's place."""
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def _is_uniform(array: Any) -> bool:
    """Whether all elements are the same bits."""
    return array is not None and array.tobytes() == array.flat[:1].tobytes() * array.size


def _holds_all(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Whether `wide` has every value of `narrow`."""
    if narrow == np.bool_:
        return True
    floating = [dtypes.of_numpy(dtype).is_floating_point for dtype in (wide, narrow)]
    if floating == [True, True]:
        return wide.itemsize > narrow.itemsize
    return floating == [False, False] and wide.kind == narrow.kind and wide.itemsize >= narrow.itemsize


def _order(value: Value) -> tuple[Value, list[int]]:
    """The value that `value` is a permutation of, and in which order its dimensions come, sizes of 1 aside."""
    order = [d for d in range(value.ndim) if value.shape[d] != 1]
    maker = value.node
    if maker is None or maker.operation not in ("permute", "reshape"):
        return value, order
    before: Value = maker.inputs[0]
    if maker.operation == "reshape":
        if [n for n in before.shape if n != 1] != [n for n in value.shape if n != 1]:
            return value, order
        return _order(before)
    source, first = _order(before)
    extents = [d for d in range(before.ndim) if before.shape[d] != 1]
    dims = [d % value.ndim for d in maker.options["dims"]]
    return source, [first[extents.index(d)] for d in dims if before.shape[d] != 1]


def _merged(before: tuple[int, ...], after: tuple[int, ...]) -> list[list[int]] | None:
    """Of each dimension after a reshape, the dimensions before that it is made of; None where one was divided."""
    groups: list[list[int]] = []
    position = 0
    for extent in after:
        groups.append([])
        size = 1
        while size < extent and position < len(before):
            size *= before[position]
            groups[-1].append(position)
            position += 1
        if size != extent:
            return None
    return groups if position == len(before) and 0 not in before else None


def _is_row_major(value: Value) -> bool:
    """Whether the value surely lies in memory without gaps, so that reshaping it is a view."""
    if isinstance(value, Input):
        return value.kind != "state" or value.array is None or value.array.flags.c_contiguous
    assert value.node is not None
    if value.node.operation in ("reshape", "identity"):
        return _is_row_major(value.node.inputs[0])
    return not is_view(value.node)


def _is_elementwise(value: Value) -> bool:
    return value.node is not None and value.node.is_elementwise


def _computed(operation: Operation, operands: list[Any], options: dict[str, Any]) -> tuple[Any, ...]:
    result = NotImplemented
    if operation.kernel is not None and not operation.is_view:
        result = operation.kernel(*operands, **options)
    if result is NotImplemented:
        result = operation.reference(operands, options)
    return result if type(result) is tuple else (result,)


_RULES: dict[str, Callable[[_Folding, Node], Value | None]] = {
    "amax": _Folding._reduction,
    "amin": _Folding._reduction,
    "assign": _Folding._assign,
    "cast": _Folding._cast,
    "cat": _Folding._joined,
    "clone": _Folding._same,
    "expand": _Folding._expand,
    "identity": _Folding._same,
    "masked_fill": _Folding._masked_fill,
    "matmul": _Folding._matmul,
    "mean": _Folding._reduction,
    "permute": _Folding._permute,
    "prod": _Folding._reduction,
    "reshape": _Folding._reshape,
    "slice": _Folding._slice,
    "slice_gradient": _Folding._slice_gradient,
    "stack": _Folding._joined,
    "sum": _Folding._reduction,
    "view_scatter": _Folding._view_scatter,
}
