"""The eager interpreter: runs an operation at once, and records it on the tape where an input requires a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.autograd.modes import enable_grad, mode
from rushlight.autograd.tape import Node, OperationNode, edge_of
from rushlight.errors import DimensionError, DtypeError, InputError, OutOfMemoryError, ShapeError
from rushlight.ops import declare
from rushlight.ops.declare import Operation
from rushlight.ops.movement import assign
from rushlight.tensor.tensor import Tensor, bump_version, wrap

_PLAIN = frozenset([int, float, bool, type(None)])
_CONVERSIONS = {
    "ndarray": "torch.from_numpy() makes one of it",
    "list": "torch.tensor() makes one of numbers, torch.stack() of tensors",
    "SparseTensor": "a @ b, torch.sparse.mm(a, b) and torch.spmm(a, b) multiply by one, a.to_dense() makes one of it",
    "tuple": "take it out of the tuple, as in output, state = layer(x)",
}


def _not_a_tensor(operation: Operation, position: int, argument: Any) -> TypeError:
    kind = type(argument).__name__
    hint = f": {_CONVERSIONS[kind]}" if kind in _CONVERSIONS else ""
    return TypeError(f"{operation.name}(): argument {position + 1} must be Tensor, not {kind}{hint}")


def evaluate(operation: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The result of an operation on tensors; with `out`, written into that tensor."""
    if "out" in options:
        return evaluate_into(operation, args, options)
    arrays: list[Any] = []
    needs = 0  # a bit for each argument that requires a gradient
    bit = 1
    for argument in args:
        if isinstance(argument, Tensor):
            if argument._base is not None and argument._history != argument._base._history:
                refresh(argument)
            if argument._requires_grad:
                needs |= bit
            arrays.append(argument.array)
        else:
            if type(argument) not in _PLAIN and not isinstance(argument, (int, float)):
                raise _not_a_tensor(operation, len(arrays), argument)
            arrays.append(argument)
        bit += bit
    if needs and not mode.grad_enabled:
        needs = 0
    if operation.is_view:
        return evaluate_view(operation, args, arrays, options, needs)
    if operation.checks_first:
        operation.check(arrays, options)
    kernel = operation.kernel
    try:
        result = NotImplemented if kernel is None else kernel(*arrays, **options)
    except IndexError as error:  # an index out of range, which only the kernel has looked at
        operation.check_values(arrays, options)
        raise DimensionError(f"{operation.name}: {error}") from None
    except MemoryError:
        raise OutOfMemoryError(f"{operation.name}: can't allocate memory for its result") from None
    if result is NotImplemented:
        result = _reference(operation, arrays, options)
    if needs and operation.gradient_rule is None:
        return without_gradient(operation, args, result)
    if type(result) is not np.ndarray:
        if type(result) is tuple:
            outputs = tuple([wrap(r) for r in result])
            if needs:
                record(OperationNode(operation, args, options, needs, result), outputs)
            return outputs
        result = np.asarray(result)
    output = wrap(result)
    if needs and result.dtype.kind not in "iub":
        node = OperationNode(operation, args, options, needs, (result,))
        if node.plan.reads_result:
            node.keep_results((output,))
        output._node = node
        output._requires_grad = True
    return output


def evaluate_view(
    operation: Operation, args: tuple[Any, ...], arrays: list[Any], options: dict[str, Any], needs: int
) -> Tensor:
    """A view of the first argument, which knows its base and how it came about; a copy where that can't be."""
    try:
        result = operation.meaning(np, *arrays, **options)
    except (ValueError, TypeError, IndexError):
        result = _reference(operation, arrays, options)
    output = wrap(result)
    if needs and result.dtype.kind not in "iub":
        known = operation.gradient_rule is not None
        output._node = (
            OperationNode(operation, args, options, needs, (result,)) if known else NotDifferentiable(operation, args)
        )
        output._requires_grad = True
    array, base = arrays[0], result.base
    # A view made by its strides has NumPy's own object for its base.
    if base is not None and (base is array or base is array.base or np.may_share_memory(result, array)):
        source = args[0]
        base = source if source._base is None else source._base
        if base._counter is None:
            base._counter = [0]
        output._base = base
        output._views = (*source._views, (operation, options))
        output._counter = base._counter
        output._history = base._history
    return output


def without_gradient(operation: Operation, args: Sequence[Any], result: Any) -> Any:
    """Results that floating inputs which require gradients have no gradient through: `backward` says so."""
    outputs = tuple([wrap(r) for r in (result if type(result) is tuple else (result,))])
    for output in outputs:
        if output.array.dtype.kind not in "iub":
            output._node, output._requires_grad = NotDifferentiable(operation, args), True
    return outputs if type(result) is tuple else outputs[0]


def record(node: OperationNode, outputs: tuple[Tensor, ...]) -> None:
    """Makes `node` the one that made the outputs: the floating ones get their gradients through it."""
    if node.plan.reads_result:
        node.keep_results(outputs)
    for index, output in enumerate(outputs):
        if output.array.dtype.kind not in "iub":
            output._node, output._index, output._requires_grad = node, index, True


def _reference(operation: Operation, arrays: list[Any], options: dict[str, Any]) -> Any:
    """The operation's meaning; NumPy's complaints come out in the words of its shape rule, where that finds a fault."""
    try:
        return operation.reference(arrays, options)
    except InputError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        if operation.shape_rule is not None:
            operation.shape_rule(*arrays, **options)
        kind = DtypeError if isinstance(error, TypeError) else InputError
        raise kind(f"{operation.name}: {error}") from error


# Views. A view knows its base, the chain of operations that leads to it, and the state of the base's history that its
# own place in the graph was made from.


def alias(tensor: Tensor) -> Tensor:
    """Another Tensor for the same memory and the same place in the graph."""
    copy = wrap(tensor.array)
    if tensor._counter is None:
        tensor._counter = [0]
    copy._counter = tensor._counter
    copy._node, copy._index, copy._requires_grad = tensor._node, tensor._index, tensor._requires_grad
    return copy


def refresh(view: Tensor) -> None:
    """Gives a view its place in the graph anew, where its base was changed in place since it had the last one."""
    base = view._base
    if base is None or view._history == base._history:
        return
    current = alias(base)
    with enable_grad():
        for operation, options in view._views:
            current = operation(current, **options)
    _place(view, current._node, current._index, current._requires_grad)
    view._history = base._history


# In-place and out variants


def evaluate_into(
    operation: Operation,
    args: tuple[Any, ...],
    options: dict[str, Any],
    compute: Callable[..., None] | None = None,
    copy: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] = np.copy,
) -> Any:
    """Writes the result into `options["out"]`; in place where that is the first argument, which is recorded.

    compute, copy: what the computing itself is done by, where it isn't to be done at once.
    """
    options = dict(options)
    out = options.pop("out")
    if compute is None and args and args[0] is out and _writes_plainly(operation, args, options):
        return out
    if out is None:
        return operation(*args, **options)
    if isinstance(out, (tuple, list)):
        return _evaluate_into_several(operation, args, options, tuple(out))
    if not isinstance(out, Tensor):
        raise TypeError(f"{operation.name}: out= takes a Tensor, not {type(out).__name__}")
    inplace = bool(args) and args[0] is out
    needs = _needs(operation, args, out)
    if inplace:
        check_writable(operation.name, out)
    else:
        _check_out(operation.name, out, needs)
    node: Node | None = None
    if needs and out.array.dtype.kind not in "iub":
        node = OperationNode(operation, _before(operation, args, out, needs, copy), options, needs, (out.array,))
    elif inplace and out._requires_grad and mode.grad_enabled:
        node = Overwritten(operation.name, out)
    arrays = [a.array if isinstance(a, Tensor) else a for a in args]
    (compute or _compute_into)(operation, arrays, options, out, inplace)
    bump_version(out)
    if node is not None:
        if isinstance(node, OperationNode) and node.plan.reads_result:
            node.keep_results((out,))
        rebase(out, node)
    return out


def _writes_plainly(operation: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Does an operation in place where nothing is to be recorded; tells whether it has, else nothing has changed."""
    recording = mode.grad_enabled
    arrays = []
    for argument in args:
        if isinstance(argument, Tensor):
            base = argument._base
            if base is not None and (argument._history != base._history or (recording and base._requires_grad)):
                return False
            if recording and argument._requires_grad:
                return False
            arrays.append(argument.array)
        else:
            arrays.append(argument)
    target = arrays[0]
    if not target.flags.writeable:
        return False
    if operation.inplace_rule is not None:
        if operation.checks_first:
            operation.check(arrays, options)
        _overwrite(operation, arrays, options)
    elif not operation.elementwise or operation.checks_first or operation.kernel is None:
        return False
    elif operation.kernel(*arrays, out=target, **options) is not target:
        return False
    bump_version(args[0])
    return True


def _overwrite(operation: Operation, arrays: list[Any], options: dict[str, Any]) -> None:
    assert operation.inplace_rule is not None
    try:
        operation.inplace_rule(*arrays, **options)
    except IndexError as error:  # an index out of range, which only NumPy has looked at
        operation.check_values(arrays, options)
        raise DimensionError(f"{operation.name}: {error}") from None


def _compute_into(operation: Operation, arrays: list[Any], options: dict[str, Any], out: Tensor, inplace: bool) -> None:
    if operation.checks_first:
        operation.check(arrays, options)
    kernel = operation.kernel
    target = out.array
    result: Any = NotImplemented
    if inplace and operation.inplace_rule is not None:
        _overwrite(operation, arrays, options)
        result = target
    elif kernel is not None:
        result = kernel(*arrays, out=target, **options) if operation.elementwise else kernel(*arrays, **options)
    if result is NotImplemented:
        result = _reference(operation, arrays, options)
    if result is not target:
        fit_out(out, result.shape, result.dtype, inplace)
        np.copyto(out.array, result, casting="unsafe")


def _evaluate_into_several(
    operation: Operation, args: tuple[Any, ...], options: dict[str, Any], out: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    for target in out:
        _check_out(operation.name, target, _needs(operation, args, target))
    results = operation(*args, **options)
    for target, result in zip(out, results, strict=True):
        fit_out(target, result.array.shape, result.array.dtype, False)
        assign(target.detach(), result.detach(), out=target)
    return out


def _needs(operation: Operation, args: Sequence[Any], out: Tensor) -> int:
    refresh(out)
    needs = 0
    for position, argument in enumerate(args):
        if isinstance(argument, Tensor):
            refresh(argument)
            if argument._requires_grad:
                needs |= 1 << position
    return needs if mode.grad_enabled and operation.gradient_rule is not None else 0


def _before(
    operation: Operation, args: tuple[Any, ...], out: Tensor, needs: int, copy: Callable[..., Any]
) -> list[Any]:
    """The arguments as they are before `out` is overwritten: what the gradient reads of it is saved in a copy."""
    old = alias(out)
    reads = operation.gradient_plan(needs, len(args)).reads_inputs
    if any(read and a is out for a, read in zip(args, reads, strict=True)):
        old.array = copy(out.array)
        old._counter = None
    return [old if a is out else a for a in args]


def check_writable(name: str, tensor: Tensor) -> None:
    """Raises RuntimeError where `tensor` can't be changed in place: a leaf that requires grad, or shared elements."""
    refresh(tensor)
    base = tensor if tensor._base is None else tensor._base
    if mode.grad_enabled and base._requires_grad and base._node is None:
        if declare.routing.tracing is not None:
            declare.routing.tracing.changes_leaf(base)
        what = "a leaf Variable" if tensor._base is None else "a view of a leaf Variable"
        raise RuntimeError(
            f"{what} that requires grad is being used in an in-place operation. ({name}: do it under no_grad(), "
            "or on .data, or out of place)"
        )
    node = base._node
    if type(node) is OperationNode and node.results is not None and node.operation.result_stands_in:
        node.copy_result(base)
    if not tensor.array.flags.writeable:
        raise InputError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location (it was made by expand()), or its memory is read-only. Please clone() the tensor before "
            "performing the operation."
        )


def _check_out(name: str, out: Tensor, needs: int) -> None:
    if needs or (mode.grad_enabled and out._requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad. (detach() it, or do it under no_grad())"
        )
    if not out.array.flags.writeable:
        raise InputError(f"{name}: the memory of out= is read-only, or several of its elements share one place")


def fit_out(out: Tensor, shape: tuple[int, ...], dtype: np.dtype[Any], inplace: bool) -> None:
    """Raises ShapeError or DtypeError where a result doesn't go into `out`; an empty out= gets memory of its shape."""
    target = out.array
    if shape != target.shape:
        if inplace:
            raise ShapeError(
                f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(shape)}: "
                "an in-place operation can't change the tensor's shape"
            )
        if target.size or out._base is not None:
            raise ShapeError(f"out= has shape {tuple(target.shape)}, the result {tuple(shape)}")
        out.array = target = np.empty(shape, target.dtype)
    kinds = ["b", "iu", "fV"]
    rank = [next(i for i, k in enumerate(kinds) if d.kind in k) for d in (dtype, target.dtype)]
    if rank[0] > rank[1]:
        names = [dtypes.of_numpy(d).name for d in (dtype, target.dtype)]
        raise DtypeError(f"result type {names[0]} can't be cast to the desired output type {names[1]}")


class NotDifferentiable(Node):
    """The node of an operation for which no gradient is declared."""

    def __init__(self, operation: Operation, args: Sequence[Any]) -> None:
        super().__init__([edge_of(a) for a in args if isinstance(a, Tensor)], [None])
        self.operation = operation

    def name(self) -> str:
        return "NotImplemented"

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        raise RuntimeError(
            f"derivative for {self.operation.name} is not implemented. Use detach() on its arguments or its result if "
            "no gradient is to flow through it"
        )


class Overwritten(Node):
    """The node of a tensor that was overwritten in place by values that depend on nothing: there its gradient ends."""

    def __init__(self, name: str, tensor: Tensor) -> None:
        super().__init__([], [declare.Spec(tensor.array.shape, tensor.array.dtype)])
        self.operation_name = name

    def name(self) -> str:
        return self.operation_name.capitalize() + "Backward0"

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        return ()


def overwriting(name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
    """The memory of `tensor`, for values that depend on no tensor (random numbers, a constant): to be filled at once.

    Does what an in-place operation does beside writing: raises where that isn't allowed, raises the version, and ends
    the gradient there.
    """
    check_writable(name, tensor)
    bump_version(tensor)
    if tensor._requires_grad and mode.grad_enabled:
        rebase(tensor, Overwritten(name, tensor))
    return tensor.array


def rebase(tensor: Tensor, node: Node) -> None:
    """Makes `node` the one that made `tensor`, after a change in place; the base of a view is told."""
    _place(tensor, node, 0, True)
    base = tensor._base
    if base is None:
        tensor._history += 1
        return
    from rushlight.ops.movement import view_scatter

    before = alias(base)
    needs = 3 if base._requires_grad else 2
    options = {"views": tensor._views, "strides": base.array.strides}
    scatter = OperationNode(view_scatter, (before, tensor), options, needs, (base.array,))
    _place(base, scatter, 0, True)
    base._history += 1
    tensor._history = base._history


def _place(tensor: Tensor, node: Any, index: int, requires_grad: bool) -> None:
    """Moves a tensor to another place in the graph; a gradient that it retains is retained there."""
    old = tensor._node
    if old is not None and old.retained is not None and tensor._index in old.retained:
        reference = old.retained[tensor._index]
        if reference() is tensor and node is not None:
            del old.retained[tensor._index]
            node.retained = {**(node.retained or {}), index: reference}
    tensor._node, tensor._index, tensor._requires_grad = node, index, requires_grad


declare._Routing.interpreter = staticmethod(evaluate)
