"""The backward walk over the nodes of the tape, and the leaves' `.grad` where it ends."""

from __future__ import annotations

import heapq
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rushlight import core
from rushlight.autograd.hooks import run_hooks
from rushlight.autograd.modes import enable_grad, mode, set_grad_enabled
from rushlight.autograd.tape import Node, OperationNode, edge_of, hooks_on_leaves
from rushlight.ops.declare import routing
from rushlight.ops.elementwise import add
from rushlight.ops.movement import clone, slice_
from rushlight.tensor.tensor import Tensor, wrap


class Walk:
    """One backward pass from `roots`, over the nodes from the latest to the earliest.

    A node's sequence number is greater than those of the nodes that made its inputs, so that each node has received
    all its gradients when its turn comes. What arrives at the ends is in `arrived`, by edge: at the leaves, or at the
    edges that are `wanted`.
    """

    def __init__(
        self, roots: Sequence[Tensor], retain_graph: bool, create_graph: bool, wanted: set[Any] | None = None
    ) -> None:
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.wanted = wanted
        self.useful = None if wanted is None else _leading_to(wanted, roots)
        self.arrived: dict[Any, Tensor] = {}
        self.pending: dict[Node, list[Tensor | None]] = {}
        self.queue: list[tuple[int, Node]] = []
        # Gradients at these edges were made by `send`, and are added to in place.
        self.plain = not create_graph and routing.tracing is None
        self.timing = routing.timing
        self.sums: set[Any] = set()

    def send(self, edge: Any, gradient: Tensor, slicing: OperationNode | None = None) -> None:
        """Adds `gradient` to what has come along `edge`; to a slice of it, where it comes from a node of slice_."""
        place: Any
        if type(edge) is tuple:
            node, key = edge
            place = self.pending.get(node)
            if place is None:
                if self.useful is not None and node not in self.useful:
                    return
                place = self.pending[node] = [None] * len(node.outputs)
                heapq.heappush(self.queue, (-node.sequence, node))
            known = place[key]
        elif self.wanted is None or edge in self.wanted:
            place, key = self.arrived, edge
            known = place.get(edge)
        else:
            return
        if known is not None and edge in self.sums and known.array.dtype == gradient.array.dtype:
            target = known if slicing is None else slice_(known, **slicing.options)
            add(target, gradient, out=target)
            return
        if slicing is not None:
            part, gradient = gradient, wrap(core.empty(slicing.kept[0][0], gradient.array.dtype))
            gradient.zero_()
            slice_(gradient, **slicing.options).copy_(part)
        place[key] = gradient if known is None else known + gradient
        if self.plain and (known is not None or slicing is not None):
            self.sums.add(edge)

    def run(self, roots: Sequence[Tensor], gradients: Iterable[Tensor]) -> dict[Any, Tensor]:
        """Walks; returns the gradients by edge."""
        with set_grad_enabled(self.create_graph):
            for root, gradient in zip(roots, gradients, strict=True):
                self.send(edge_of(root), gradient)
            del gradient
            completes = _completing(roots) if hooks_on_leaves.any else {}
            for leaf in completes.get(None, ()):
                self._run_leaf_hooks(leaf)
            while self.queue:
                node = heapq.heappop(self.queue)[1]
                self._visit(node, self.pending.pop(node))
                for leaf in completes.get(node, ()):
                    self._run_leaf_hooks(leaf)
        return self.arrived

    def _visit(self, node: Node, slots: list[Tensor | None]) -> None:
        if node.pre_hooks is not None or node.hooks is not None or node.retained is not None:
            slots = self._before(node, slots)
        if self.useful is not None and not self._passes(node, slots):
            return
        if self.plain and type(node) is OperationNode and node.operation is slice_ and node.post_hooks is None:
            edge, gradient = node.edges[0], slots[0]
            if edge is not None and gradient is not None and not anomaly.enabled:
                slots.clear()
                return self.send(edge, gradient, node)
        if self.timing is None:
            grads = node.backward(slots, self.create_graph)
        else:
            grads = self.timing(node.name(), slots, node.backward, slots, self.create_graph)
        if anomaly.enabled:
            _check_finite(node, grads)
        if node.post_hooks is not None:
            for hook in tuple(node.post_hooks.values()):
                replaced = hook(tuple(grads), tuple(slots))
                if replaced is not None:
                    grads = replaced if isinstance(replaced, (tuple, list)) else (replaced,)
        slots.clear()
        if not self.retain_graph:
            node.release()
        for edge, grad in zip(node.edges, grads, strict=True):
            if edge is not None and grad is not None:
                self.send(edge, grad)

    def _before(self, node: Node, slots: list[Tensor | None]) -> list[Tensor | None]:
        """Runs what the user attached to the node's results and to the node."""
        if node.hooks is not None:
            for index, hooks in node.hooks.items():
                if slots[index] is not None:
                    slots[index] = run_hooks(hooks, slots[index])
        if node.pre_hooks is not None:
            for hook in tuple(node.pre_hooks.values()):
                replaced = hook(tuple(slots))
                if replaced is not None:
                    slots = list(replaced) if isinstance(replaced, (tuple, list)) else [replaced]
        if node.retained is not None and self.wanted is None:
            for index, reference in node.retained.items():
                tensor, gradient = reference(), slots[index]
                if tensor is not None and gradient is not None:
                    _retain(tensor, gradient, self.create_graph)
        return slots

    def _run_leaf_hooks(self, leaf: Tensor) -> None:
        if leaf in self.arrived:
            self.arrived[leaf] = run_hooks(leaf._hooks, self.arrived[leaf])

    def _passes(self, node: Node, slots: list[Tensor | None]) -> bool:
        """Takes down wanted gradients; tells whether others are to be found beyond this node."""
        assert self.wanted is not None and self.useful is not None
        for index, gradient in enumerate(slots):
            if gradient is not None and (node, index) in self.wanted:
                self.arrived[node, index] = gradient
        return _continues(node, self.useful, self.wanted)


def _leading_to(wanted: set[Any], roots: Sequence[Tensor]) -> set[Node]:
    """The nodes from which a wanted edge can be reached, and the nodes of wanted edges."""
    seen: dict[int, Node] = {}
    stack = [t._node for t in roots if t._node is not None]
    while stack:
        node = stack.pop()
        if node.sequence not in seen:
            seen[node.sequence] = node
            stack.extend([e[0] for e in node.edges if type(e) is tuple])
    useful: set[Node] = {edge[0] for edge in wanted if type(edge) is tuple}
    for sequence in sorted(seen):
        node = seen[sequence]
        if _continues(node, useful, wanted):
            useful.add(node)
    return useful


def leads_beyond(roots: Iterable[Tensor], ends: set[Tensor]) -> bool:
    """Whether gradients of `roots` arrive at leaves that aren't among `ends`."""
    seen: set[Node] = set()
    edges = [edge_of(root) for root in roots]
    while edges:
        edge = edges.pop()
        if type(edge) is tuple:
            if edge[0] not in seen:
                seen.add(edge[0])
                edges.extend(edge[0].edges)
        elif edge is not None and edge not in ends:
            return True
    return False


def _continues(node: Node, useful: set[Node], wanted: set[Any]) -> bool:
    return any((e[0] in useful if type(e) is tuple else e in wanted) for e in node.edges if e is not None)


def _completing(roots: Sequence[Tensor]) -> dict[Node | None, list[Tensor]]:
    """The leaves that have hooks, by the node after which nothing more can arrive at them; None for mere roots."""
    last: dict[Tensor, Node | None] = {t: None for t in roots if t._node is None and t._hooks}
    seen: set[Node] = set()
    stack = [t._node for t in roots if t._node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for edge in node.edges:
            if type(edge) is tuple:
                stack.append(edge[0])
            elif edge is not None and edge._hooks:
                known = last.get(edge)
                if known is None or node.sequence < known.sequence:
                    last[edge] = node
    completes: dict[Node | None, list[Tensor]] = {}
    for leaf, node_or_none in last.items():
        completes.setdefault(node_or_none, []).append(leaf)
    return completes


class _Anomaly:
    enabled = False


anomaly = _Anomaly()


def _check_finite(node: Node, grads: Sequence[Tensor | None]) -> None:
    for index, grad in enumerate(grads):
        if grad is not None and np.isnan(grad.array).any():
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {index}th output.")


# Where gradients end


_accumulating = threading.RLock()  # two threads may run backward passes that end at the same leaves


def accumulate_all(arrived: dict[Any, Tensor], create_graph: bool) -> None:
    """Adds the gradients to the `.grad` of their leaves. All hooks have run: one that raised has changed no `.grad`."""
    if routing.tracing is not None:
        routing.tracing.walked = True
    with _accumulating, set_grad_enabled(create_graph):
        while arrived:
            leaf = next(iter(arrived))
            _accumulate(leaf, arrived.pop(leaf), create_graph)


def _accumulate(leaf: Tensor, gradient: Tensor, create_graph: bool) -> None:
    if routing.tracing is not None:
        routing.tracing.reads_gradient(leaf)
    known = leaf._grad
    if known is None:
        leaf._grad = gradient if _references(gradient) == _SOLE and _owned(gradient) else _copy(gradient, create_graph)
    elif create_graph or known._requires_grad:
        leaf._grad = known + gradient
    else:
        known.add_(gradient)
    if leaf._post_hooks:
        for hook in tuple(leaf._post_hooks.values()):
            hook(leaf)


def _retain(tensor: Tensor, gradient: Tensor, create_graph: bool) -> None:
    known = tensor._grad
    tensor._grad = _copy(gradient, create_graph) if known is None else known + gradient


# Nobody else may hold the memory of a `.grad`, since it is added to and zeroed in place. A gradient that just came out
# of a kernel is taken as it is, and known by its reference counts; any other is copied.


def _references(gradient: Tensor) -> tuple[int, int]:
    return sys.getrefcount(gradient), sys.getrefcount(gradient.array)


def _references_of_sole(gradient: Tensor) -> tuple[int, int]:
    return _references(gradient)


_SOLE = _references_of_sole(wrap(np.zeros(1)))  # counted, since interpreters differ in what they count


def _owned(gradient: Tensor) -> bool:
    array = gradient.array
    return (
        gradient._base is None
        and not isinstance(array.base, np.ndarray)
        and array.flags.c_contiguous
        and array.flags.writeable
    )


def _copy(gradient: Tensor, create_graph: bool) -> Tensor:
    return clone(gradient if create_graph and gradient._requires_grad else gradient.detach(), row_major=True)  # type: ignore[no-any-return]


def differentiate_composite(
    composite: Callable[..., Any], g: Any, inputs: Sequence[Any], options: dict[str, Any]
) -> tuple[Tensor | None, ...]:
    """The gradient of `composite` at `inputs`, see `declare.differentiated`."""
    from rushlight.ops.movement import identity

    create_graph = mode.grad_enabled
    copies = []
    for value in inputs:
        if isinstance(value, Tensor) and value.is_floating_point():
            value = identity(value) if create_graph and value._requires_grad else value.detach()
            value._requires_grad = True
        copies.append(value)
    with enable_grad():
        results = composite(*copies, **options)
    results = results if isinstance(results, tuple) else (results,)
    gradients = g if isinstance(g, tuple) else (g,)
    pairs = [
        (r, h) for r, h in zip(results, gradients, strict=True)
        if h is not None and r is not None and r._requires_grad
    ]  # fmt: skip
    roots = [r for r, _ in pairs]
    edges = [edge_of(c) if isinstance(c, Tensor) else None for c in copies]
    walk = Walk(roots, create_graph, create_graph, {e for e in edges if e is not None})
    found = walk.run(roots, [h for _, h in pairs])
    return tuple([None if e is None else found.get(e) for e in edges])
