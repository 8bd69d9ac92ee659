"""`backward` and `grad`: the gradients of tensors with respect to leaves, or to chosen tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from rushlight import dtypes
from rushlight.autograd import eager
from rushlight.autograd.tape import edge_of
from rushlight.autograd.walk import Walk, accumulate_all, anomaly
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops.declare import routing
from rushlight.tensor.tensor import Tensor, wrap

Tensors = Tensor | Sequence[Tensor]
Gradients = Tensor | Sequence[Tensor | None] | None


def backward(
    tensors: Tensors,
    grad_tensors: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Gradients = None,
    inputs: Tensors | None = None,
) -> None:
    """Computes the gradients of `tensors` and adds them to the `.grad` of the leaves that they were made from.

    Args:
        tensors: one tensor or several; each requires grad.
        grad_tensors: for each, the gradient of the final value with respect to it, of its shape. None for scalars: 1.
        retain_graph: keep what the graph needs for another backward pass; by default the value of `create_graph`.
        create_graph: record the backward pass too, so that gradients can be differentiated again.
        inputs: add to the `.grad` of these tensors only.

    Raises:
        RuntimeError: a tensor doesn't require grad, isn't a scalar and came without a gradient, or a value that the
            gradient needs was overwritten or freed.
    """
    if grad_variables is not None:
        grad_tensors = grad_variables
    roots = _as_tuple(tensors)
    gradients = _initial_gradients(roots, grad_tensors, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        accumulate_all(Walk(roots, retain, create_graph).run(roots, gradients), create_graph)
        return
    wanted = _as_tuple(inputs)
    if not wanted:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    edges = _edges(wanted)
    found = Walk(roots, retain, create_graph, set(edges)).run(roots, gradients)
    accumulate_all({t: found.pop(e) for t, e in zip(wanted, edges, strict=True) if e in found}, create_graph)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of `outputs` with respect to `inputs`, summed over the outputs. Changes no `.grad`.

    Args:
        outputs: one tensor or several.
        inputs: the tensors to differentiate with respect to: leaves or results.
        grad_outputs: for each output, the gradient of the final value with respect to it. None for scalars: 1.
        retain_graph: keep what the graph needs for another backward pass; by default the value of `create_graph`.
        create_graph: record the backward pass too, so that the gradients can be differentiated again.
        only_inputs: True; there is nothing else.
        allow_unused: give None for an input that no output depends on, instead of raising.
        is_grads_batched: the first dimension of each gradient in `grad_outputs` is a batch; so is that of the results.
        materialize_grads: give zeros for an input that no output depends on.

    Returns:
        One gradient for each input, of its shape and dtype.

    Raises:
        RuntimeError: as `backward`; also for an input that doesn't require grad or wasn't used.
    """
    if not only_inputs:
        raise ValueError("only_inputs=False is no longer supported: use backward() to accumulate into .grad")
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True")
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, create_graph, allow_unused, materialize_grads)
    roots, wanted = _as_tuple(outputs), _as_tuple(inputs)
    if not wanted:
        raise ValueError("grad requires non-empty inputs.")
    gradients = _initial_gradients(roots, grad_outputs, create_graph)
    edges = _edges(wanted)
    retain = create_graph if retain_graph is None else retain_graph
    found = Walk(roots, retain, create_graph, set(edges)).run(roots, gradients)
    results: list[Tensor | None] = []
    for tensor, edge in zip(wanted, edges, strict=True):
        gradient = found.get(edge)
        if gradient is None and materialize_grads:
            gradient = wrap(np.zeros_like(tensor.array))
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True "
                f"if this is the desired behavior. (It is inputs[{len(results)}], of shape {tuple(tensor.shape)}.)"
            )
        results.append(gradient)
    return cast(tuple[Tensor, ...], tuple(results))


def _batched_grad(outputs: Tensors, inputs: Tensors, grad_outputs: Gradients, *options: Any) -> tuple[Tensor, ...]:
    from rushlight import stack

    create_graph, allow_unused, materialize_grads = options
    batches = cast(Sequence[Tensor], _as_tuple(grad_outputs))
    rows = [
        grad(outputs, inputs, [b[i] for b in batches], True, create_graph, True, allow_unused, False, materialize_grads)
        for i in range(batches[0].shape[0])
    ]
    columns = [None if column[0] is None else stack(column) for column in zip(*rows, strict=True)]
    return cast(tuple[Tensor, ...], tuple(columns))


def _as_tuple(tensors: Any) -> tuple[Any, ...]:
    return (tensors,) if isinstance(tensors, Tensor) or not isinstance(tensors, Iterable) else tuple(tensors)


def _edges(wanted: Iterable[Tensor]) -> list[Any]:
    edges: list[Any] = []
    for tensor in wanted:
        eager.refresh(tensor)
        if not tensor._requires_grad:
            raise RuntimeError(
                f"One of the differentiated Tensors does not require grad (inputs[{len(edges)}], of shape "
                f"{tuple(tensor.shape)}): call requires_grad_() on it before it is used"
            )
        edges.append(edge_of(tensor))
    return edges


def _initial_gradients(roots: tuple[Tensor, ...], given: Gradients, create_graph: bool) -> list[Tensor]:
    gradients = (None,) * len(roots) if given is None else _as_tuple(given)
    if len(gradients) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(gradients)} gradients")
    return [
        _initial_gradient(position, root, gradient, create_graph)
        for position, (root, gradient) in enumerate(zip(roots, gradients, strict=True))
    ]


def _initial_gradient(position: int, root: Tensor, gradient: Any, create_graph: bool) -> Tensor:
    if not isinstance(root, Tensor):
        raise TypeError(f"backward and grad differentiate Tensors, not {type(root).__name__}")
    eager.refresh(root)
    if not root._requires_grad:
        raise RuntimeError(
            f"element {position} of tensors does not require grad and does not have a grad_fn: no parameter takes part "
            "in it, or it was made under no_grad(), or it was cut off by detach(), .data, .item() or .numpy()"
        )
    array = root.array
    if gradient is None:
        if array.size != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs: this one has the shape {tuple(array.shape)}. "
                "Reduce it with .sum() or .mean(), or pass a gradient of its shape"
            )
        one = np.empty(array.shape, array.dtype)
        one.fill(1)
        if routing.tracing is not None:
            routing.tracing.constant(one)
        return wrap(one)
    if not isinstance(gradient, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
    if gradient.array.shape != array.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[{position}] has a shape of {gradient.shape} and output[{position}] has a "
            f"shape of {root.shape}."
        )
    if not gradient.is_floating_point():
        raise DtypeError(f"grad_output[{position}] is of dtype {gradient.dtype}; gradients are floating point")
    if gradient.array.dtype != array.dtype:
        gradient = gradient.to(dtypes.of_numpy(array.dtype))
    return cast(Tensor, gradient if create_graph else gradient.detach())


class _VariableMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """Tensors and variables are the same thing since long ago: `Variable(data)` gives a tensor of the same memory.

    Every Tensor is an instance of Variable.
    """

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)


def is_anomaly_enabled() -> bool:
    """Whether `backward` looks for NaN in gradients; see `set_detect_anomaly`."""
    return anomaly.enabled


class set_detect_anomaly:
    """Turns the search for NaN in gradients on or off: `backward` then raises and names the operation.

    At once when called, and back at the end when used with `with`.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = anomaly.enabled
        anomaly.enabled = bool(mode) and check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        anomaly.enabled = self._before


class detect_anomaly(set_detect_anomaly):
    """Within it, `backward` raises where an operation's gradient is NaN, and names the operation."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)
