"""The tape: the nodes that recorded operations leave. `walk.py` walks over them.

A node knows the operation that made a result, what its gradient rule reads, and for each input the edge that its
gradient takes: `(node, index)` of the result that the input was, or the leaf tensor, whose `.grad` it ends up in.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.autograd.hooks import Hooks, RemovableHandle, add_hook
from rushlight.autograd.modes import no_grad
from rushlight.autograd.names import printed_name
from rushlight.autograd.saving import Packed, are_hooks_in_force, ever_used, pack_kept, packed
from rushlight.ops.declare import Operation, Spec, routing
from rushlight.ops.derivatives import derivative
from rushlight.ops.elementwise.arithmetic import tied
from rushlight.ops.movement import clone
from rushlight.ops.reduction import sum_to
from rushlight.tensor.tensor import Tensor, wrap

_sequence = itertools.count()


def next_sequence() -> int:
    """A number that is greater than those of all nodes so far."""
    return next(_sequence)


_UNKNOWN = (None,)
_FREED = object()  # stands for kept values after the backward pass that used them up


class Node:
    """A recorded step: `edges` say where the gradients of its inputs go, `outputs` what its results look like."""

    hooks: dict[int, Hooks] | None = None  # of the tensors that it made, by the number of the result
    retained: dict[int, Any] | None = None  # weak references to those of them that retain their gradient
    pre_hooks: Hooks | None = None
    post_hooks: Hooks | None = None

    def __init__(self, edges: list[Any], outputs: Sequence[Spec | None]) -> None:
        self.edges = edges
        self.outputs = outputs
        self.sequence = next(_sequence)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that the gradients go to, with the number of their result; None for constants."""
        return tuple(
            [(None, 0) if e is None else e if type(e) is tuple else (AccumulateGrad(e), 0) for e in self._shown_edges()]
        )

    def _shown_edges(self) -> list[Any]:
        return self.edges

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for whatever the user wants to attach."""
        return self.__dict__.setdefault("_metadata", {})  # type: ignore[no-any-return]

    def name(self) -> str:
        """The name, such as `MulBackward0`."""
        raise NotImplementedError

    def name_of(self, result: int) -> str:
        """The name as a result prints it."""
        return self.name()

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Registers `hook(grad_inputs, grad_outputs)`, called when the gradients of the inputs are known.

        It may return other gradients of the inputs.
        """
        if self.post_hooks is None:
            self.post_hooks = {}
        return add_hook(self.post_hooks, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Registers `hook(grad_outputs)`, called before the node runs. It may return other gradients."""
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return add_hook(self.pre_hooks, hook)

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        """The gradients of the inputs, one for each edge, from those of the results."""
        raise NotImplementedError

    def release(self) -> None:
        """Forgets what was kept for `backward`."""


class AccumulateGrad:
    """Stands at the end of the graph for a leaf: its gradient is added to `variable.grad`."""

    next_functions = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)


class Passing(Node):
    """Hands the gradient on to a tensor that this node's result stands for."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__([edge_of(tensor)], [Spec(tensor.array.shape, tensor.array.dtype)])

    def name(self) -> str:
        return "AliasBackward0"

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        return gradients[:1]


def edge_of(tensor: Tensor) -> Any:
    """Where the gradient of `tensor` goes."""
    if not tensor._requires_grad:
        return None
    return tensor if tensor._node is None else (tensor._node, tensor._index)


class OperationNode(Node):
    """A node of a declared operation.

    Of each argument that is a tensor it keeps, where the gradient rule reads it, the tensor and the version that its
    memory had, `(tensor, version)`; else `(shape, dtype)`. Results are kept as arrays, so that a tensor and its node
    don't hold each other.
    """

    results: list[tuple[Any, list[int], int]] | None = None  # those kept: array, counter of versions, version
    shown: str | None = None  # the name of the function that it is a part of, where that has one in PyTorch

    def __init__(
        self, operation: Operation, args: Sequence[Any], options: dict[str, Any], needs: int, results: tuple[Any, ...]
    ) -> None:
        plan = operation.gradient_plans.get((needs, len(args))) or operation.gradient_plan(needs, len(args))
        edges: list[Any] = []
        kept: list[Any] = []
        for argument, read in zip(args, plan.reads_inputs):  # noqa: B905 (of one length; asking takes time)
            if isinstance(argument, Tensor):
                if argument._requires_grad:
                    node = argument._node
                    edges.append(argument if node is None else (node, argument._index))
                else:
                    edges.append(None)
                if read:
                    counter = argument._counter
                    kept.append((argument, 0 if counter is None else counter[0]))
                else:
                    array = argument.array
                    kept.append((array.shape, array.dtype))
            else:
                edges.append(None)
                kept.append(argument)
        self.edges = edges
        self.kept: Any = pack_kept(kept) if ever_used.any and are_hooks_in_force() else kept
        self.sequence = next(_sequence)
        self.operation = operation
        self.options = options
        self.plan = plan
        # The rules of elementwise operations don't ask what a result looks like that they don't read.
        self.outputs = _UNKNOWN if operation.elementwise else [Spec(r.shape, r.dtype) for r in results]

    def keep_results(self, tensors: Sequence[Tensor]) -> None:
        """Keeps the results too, where the rule reads them, with the versions that their memory has now."""
        self.results = []
        for tensor in tensors:
            if tensor._counter is None:
                tensor._counter = [0]
            kept = packed(tensor.detach()) if ever_used.any else tensor
            if type(kept) is Packed:
                self.results.append((kept, [0], 0))
            else:
                self.results.append((tensor.array, tensor._counter, tensor._counter[0]))

    def copy_result(self, tensor: Tensor) -> None:
        """Keeps a copy of a result that is about to be overwritten; see `Operation.result_stands_in`."""
        for index, (array, counter, version) in enumerate(self.results or ()):
            if array is tensor.array and counter[0] == version:
                assert self.results is not None
                with no_grad():
                    self.results[index] = (clone(tensor.detach()).array, [0], 0)

    # What the node keeps, by PyTorch's names, as far as its gradient reads it. (No __getattr__: that makes attributes
    # slow.)
    _saved_self = property(lambda self: self._saved(0))
    _saved_input = property(lambda self: self._saved(0))
    _saved_other = property(lambda self: self._saved(1))

    @property
    def _saved_result(self) -> Any:
        if self.kept is not _FREED and self.results is None:
            raise AttributeError(f"{self.name()} keeps no result")
        return self._saved(None)

    def _saved(self, place: int | None) -> Any:
        if self.kept is _FREED:
            raise RuntimeError(
                f"Trying to access what {self.operation.name} saved for its gradient after it was freed by backward(). "
                "Pass retain_graph=True"
            )
        if place is None:
            return self._result(0, True)
        if place >= len(self.kept) or not self.plan.reads_inputs[place]:
            raise AttributeError(f"{self.name()} doesn't keep its argument {place + 1}")
        return self._input(place)

    def name(self) -> str:
        """The name, such as `MulBackward0`."""
        return self.name_of(0)

    def name_of(self, result: int) -> str:
        """The name as a result prints it."""
        return self.shown or printed_name(self, result)

    def _shown_edges(self) -> list[Any]:
        """As PyTorch has them, where a function is one node there and two here: of both, those of the first."""
        edge = self.edges[0] if self.edges else None
        if self.shown is None or type(edge) is not tuple or type(edge[0]) is not OperationNode:
            return self.edges
        first = edge[0]
        return first.edges if first.shown is None and first.name() == self.shown else self.edges

    def release(self) -> None:
        if self.results is not None or True in self.plan.reads_inputs:
            self.kept = _FREED
            self.results = None

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        if self.kept is _FREED:
            raise RuntimeError(
                f"Trying to backward through the graph a second time: what {self.operation.name} kept for its gradient "
                "was freed by the first backward(). Pass retain_graph=True to the first, or run the forward again"
            )
        if self.plan.targets and routing.tracing is None:
            found = self._derived(gradients[0]) if create_graph else self._run_program(gradients[0])
            if found is not None:
                return found
        inputs = [self._input(position) for position in range(len(self.kept))]
        rule = self.operation.gradient_rule
        assert rule is not None
        y: Any
        if len(self.outputs) == 1:
            y = self._result(0, create_graph)
            entries = rule(gradients[0], y, *inputs, **self.options)
        else:
            y = _Results(self, create_graph)
            entries = rule(tuple(gradients), y, *inputs, **self.options)
        if type(entries) is not tuple:
            entries = (entries,)
        found = [None] * len(inputs)
        for position, (edge, entry) in enumerate(zip(self.edges, entries, strict=True)):
            if edge is not None:
                if callable(entry) and not isinstance(entry, Tensor):
                    entry = entry()
                if entry is not None:
                    found[position] = self._fit(entry, position)
        if create_graph and self.operation.piecewise_linear:
            return [_tied(entry, (*inputs, y)) for entry in found]
        return found

    def _run_program(self, gradient: Any) -> list[Tensor | None] | None:
        """The gradients by one fused program; None where it has no code for these arrays."""
        plan = self.plan
        kept = self.kept
        arrays: Any = None
        if plan.program is not None:
            operands = [gradient.array]
            if plan.reads_result:
                operands.append(self._result(0, False).array)
            for position in plan.operands:
                value = kept[position]
                operands.append(self._input(position).array if type(value) is tuple else value)
            arrays = plan.program(*operands)
            if arrays is NotImplemented:
                return None
        found: list[Tensor | None] = [None] * len(kept)
        for position, place in plan.targets:
            if place is None:
                entry = gradient
            else:
                entry = wrap(arrays[place] if type(arrays) is tuple else arrays)
            found[position] = self._fit(entry, position)
        return found

    def _derived(self, gradient: Any) -> list[Tensor | None] | None:
        """The gradients by operations that can be differentiated; None where the rule is to be run step by step."""
        count = len(self.kept)
        found: list[Tensor | None] = [None] * count
        for position, place in self.plan.targets:
            entry = gradient
            if place is not None:
                derived = derivative(self.operation, position, count)
                if derived is None:
                    return None
                operands = [
                    gradient if number == 0
                    else self._result(0, True) if number == 1
                    else self.kept[number - 2] if type(self.kept[number - 2]) is not tuple
                    else self._input(number - 2)
                    for number in derived.reads
                ]  # fmt: skip
                entry = derived.operation(*operands)
            found[position] = self._fit(entry, position)
        return found

    def _input(self, position: int) -> Any:
        """An argument as the rule takes it: the tensor if it was kept, else its Spec; or what isn't a tensor."""
        kept = self.kept[position]
        if type(kept) is float and self.operation.elementwise and routing.tracing is None:
            return wrap(np.asarray(kept))  # so that what the rule computes of numbers alone is computed in float64
        if type(kept) is not tuple:
            return kept
        if not self.plan.reads_inputs[position]:
            return Spec(*kept)
        tensor, version = kept
        counter = tensor._counter
        if counter is not None and counter[0] != version:
            raise self._overwritten(f"an input of shape {tuple(tensor.array.shape)}", counter[0] - version)
        return tensor if type(tensor) is not Packed else tensor.unpack()

    def _result(self, index: int, create_graph: bool) -> Any:
        """A result as a tensor with its place in the graph; its Spec where the rule doesn't read it."""
        if self.results is None:
            return self.outputs[index]
        array, counter, version = self.results[index]
        if counter[0] != version:
            raise self._overwritten(f"its result, of shape {array.shape}", counter[0] - version)
        tensor = wrap(array) if type(array) is not Packed else array.unpack().detach()
        array = tensor.array
        tensor._counter = counter
        if create_graph and array.dtype.kind not in "iub":
            tensor._node, tensor._index, tensor._requires_grad = self, index, True
        return tensor

    def _fit(self, gradient: Tensor, position: int) -> Tensor:
        """`gradient` summed to the input's shape, where that was broadcast, and in its dtype."""
        kept = self.kept[position]
        shape, dtype = kept
        if self.plan.reads_inputs[position]:
            shape, dtype = kept[0].array.shape, kept[0].array.dtype
        if gradient.array.shape != shape:
            if not self.operation.elementwise:
                raise AssertionError(
                    f"the gradient of {self.operation.name} has shape {gradient.array.shape}, its input {shape}"
                )
            gradient = sum_to(gradient, shape)
        if gradient.array.dtype != dtype:
            gradient = gradient.to(dtypes.of_numpy(dtype))
        return gradient

    def _overwritten(self, what: str, times: int) -> RuntimeError:
        return RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"{self.operation.name} kept {what}, which was overwritten {times} time(s) since. Hint: use the "
            "out-of-place form of the operation that came after it (x = x + 1 for x += 1, inplace=False), "
            "or clone() first"
        )


class _Results:
    """The results of a node as its rule takes several: one that was overwritten raises only if the rule reads it."""

    def __init__(self, node: OperationNode, create_graph: bool) -> None:
        self._node = node
        self._create_graph = create_graph

    def __len__(self) -> int:
        return len(self._node.outputs)

    def __getitem__(self, index: int) -> Any:
        return self._node._result(index, self._create_graph)


def _tied(gradient: Tensor | None, read: Sequence[Any]) -> Tensor | None:
    """`gradient`, from which zeros go to what its rule read, where it is itself differentiated."""
    shape = None if gradient is None else gradient.array.shape
    for value in read:
        if isinstance(value, Tensor) and value._requires_grad and value.array.shape == shape:
            return tied(gradient, value)  # type: ignore[no-any-return]
    return gradient


class _HooksOnLeaves:
    any = False  # whether a leaf has ever had one: without them, a backward pass needs no look at the graph beforehand
    places = 0  # leaves that were given a dictionary for theirs: while this stays, those without one have none

    def place(self) -> dict[int, Any]:
        """A dictionary for the hooks of a leaf, which keeps it."""
        self.places += 1
        return {}


hooks_on_leaves = _HooksOnLeaves()


# What the user attaches to tensors


def register_hook(tensor: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """See `Tensor.register_hook`."""
    if not tensor.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    node = tensor._node
    if node is None:
        hooks_on_leaves.any = True
        if tensor._hooks is None:
            tensor._hooks = hooks_on_leaves.place()
        return add_hook(tensor._hooks, hook)
    if node.hooks is None:
        node.hooks = {}
    return add_hook(node.hooks.setdefault(tensor._index, {}), hook)


def register_post_accumulate_grad_hook(tensor: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """See `Tensor.register_post_accumulate_grad_hook`."""
    if not tensor.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if tensor._node is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    if tensor._post_hooks is None:
        tensor._post_hooks = hooks_on_leaves.place()
    return add_hook(tensor._post_hooks, hook)


def retain_grad(tensor: Tensor) -> None:
    """See `Tensor.retain_grad`."""
    if not tensor.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    node = tensor._node
    if node is not None:
        if node.retained is None:
            node.retained = {}
        node.retained[tensor._index] = weakref.ref(tensor)
