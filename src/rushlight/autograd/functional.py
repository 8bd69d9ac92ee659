"""Jacobians, Hessians and their products with vectors.

Inputs are taken out of their graphs first. `strict=True` raises where an output doesn't depend on an input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.autograd.gradients import grad
from rushlight.autograd.modes import enable_grad
from rushlight.tensor.tensor import Tensor, wrap


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(outputs, v^T J)`: the product of a vector with the Jacobian J of `func` at `inputs`."""
    arguments, one = _prepare(inputs, create_graph)
    with enable_grad():
        outputs, single = _call(func, arguments)
        vectors = _vectors(v, outputs, "outputs")
        found = vector_products(outputs, arguments, vectors, create_graph, strict)
    return _finish(outputs, single, create_graph), _finish(found, one, create_graph)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(outputs, J v)`: the product of the Jacobian J of `func` at `inputs` with a vector."""
    arguments, _ = _prepare(inputs, create_graph)
    vectors = _vectors(v, arguments, "inputs")
    with enable_grad():
        outputs, single = _call(func, arguments)
        found = jacobian_products(outputs, arguments, vectors, create_graph, strict)
    return _finish(outputs, single, create_graph), _finish(found, single, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func` at `inputs`: for each output and input a tensor of shape `(*output.shape, *input.shape)`.

    A single output or input gives no tuple at its level. `vectorize` and `strategy` are accepted and change nothing.
    """
    arguments, one = _prepare(inputs, create_graph)
    with enable_grad():
        outputs, single = _call(func, arguments)
        rows = [_finish(jacobian_of(o, arguments, create_graph, strict), one, create_graph) for o in outputs]
    return rows[0] if single else tuple(rows)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a scalar `func` at `inputs`: for each pair of inputs a tensor of shape `(*a.shape, *b.shape)`."""
    one = isinstance(inputs, Tensor)

    def gradient(*arguments: Tensor) -> Any:
        with enable_grad():
            output = func(*arguments)
        _scalar(output, "hessian")
        return tuple(vector_products([output], list(arguments), None, True, strict))

    found = jacobian(gradient, (inputs,) if one else inputs, create_graph, False)
    return found[0][0] if one else found


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(output, v^T H)`: the product of a vector with the Hessian H of a scalar `func` at `inputs`."""
    arguments, one = _prepare(inputs, create_graph)
    vectors = _vectors(v, arguments, "inputs")
    with enable_grad():
        outputs, single = _call(func, arguments)
        _scalar(outputs[0] if single else outputs, "vhp")
        first = vector_products(outputs, arguments, None, True, strict)
        found = vector_products(first, arguments, vectors, create_graph, strict)
    return _finish(outputs, single, create_graph), _finish(found, one, create_graph)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`(output, H v)`: the same as `vhp`, since a Hessian is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)


def _prepare(inputs: Any, create_graph: bool) -> tuple[list[Tensor], bool]:
    one = isinstance(inputs, Tensor)
    several = [inputs] if one else list(inputs)
    for value in several:
        if not isinstance(value, Tensor):
            raise TypeError(f"the inputs must be Tensors, not {type(value).__name__}")
    if create_graph:
        with enable_grad():
            return [v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for v in several], one
    return [v.detach().requires_grad_() for v in several], one


def _call(func: Callable[..., Any], arguments: list[Tensor]) -> tuple[list[Tensor], bool]:
    result = func(*arguments)
    single = isinstance(result, Tensor)
    outputs = [result] if single else list(result)
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(f"the function must return Tensors, not {type(output).__name__}")
    return outputs, single


def _vectors(v: Any, like: list[Tensor], what: str) -> list[Tensor]:
    if v is None:
        if len(like) != 1 or like[0].array.size != 1:
            raise RuntimeError(f"The vector v can only be None if the {what} are a single Tensor with a single element")
        return [wrap(np.ones_like(like[0].array))]
    vectors = [v] if isinstance(v, Tensor) else list(v)
    if len(vectors) != len(like) or any(a.shape != b.shape for a, b in zip(vectors, like, strict=True)):
        raise RuntimeError(
            f"v must have the structure of the {what}: got the shapes {[tuple(a.shape) for a in vectors]}, needed "
            f"{[tuple(b.shape) for b in like]}"
        )
    return vectors


def _scalar(output: Any, name: str) -> None:
    if not isinstance(output, Tensor) or output.array.size != 1:
        raise RuntimeError(f"The function given to {name} should return a single Tensor with a single element")


def vector_products(
    outputs: list[Tensor], inputs: list[Tensor], vectors: Any, create_graph: bool, strict: bool
) -> list[Tensor]:
    """The gradients for `inputs`; zeros, or with `strict` an error, where an output doesn't depend on an input."""
    places = [i for i, o in enumerate(outputs) if o.requires_grad]
    if strict and len(places) < len(outputs):
        raise RuntimeError("an output of the function is independent of the inputs; this isn't allowed in strict mode")
    if not places:
        return [wrap(np.zeros_like(i.array)) for i in inputs]
    found = grad(
        [outputs[i] for i in places],
        inputs,
        None if vectors is None else [vectors[i] for i in places],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
    )
    results = []
    for tensor, gradient in zip(inputs, found, strict=True):
        if gradient is None and strict:
            raise RuntimeError("the outputs are independent of an input; this isn't allowed in strict mode")
        results.append(wrap(np.zeros_like(tensor.array)) if gradient is None else gradient)
    return results


def jacobian_products(
    outputs: list[Tensor], inputs: list[Tensor], vectors: Any, create_graph: bool, strict: bool
) -> list[Tensor]:
    """The product of the Jacobian of `outputs` with vectors, one for each input; one for each output.

    By differentiating the product of a vector with the Jacobian for that vector, on which it depends linearly.
    """
    duals = [wrap(np.zeros_like(output.array)).requires_grad_() for output in outputs]
    products = vector_products(outputs, inputs, duals, True, strict)
    return vector_products(products, duals, vectors, create_graph, strict)


def jacobian_of(output: Tensor, arguments: list[Tensor], create_graph: bool, strict: bool) -> list[Tensor]:
    """The Jacobian of one output for each of its arguments."""
    from rushlight import stack

    rows = []
    for position in range(output.array.size):
        start = np.zeros(output.array.size, output.array.dtype)
        start[position] = 1
        rows.append(
            vector_products([output], arguments, [wrap(start.reshape(output.array.shape))], create_graph, strict)
        )
    return [
        stack(column).reshape((*output.shape, *a.shape)) if column else wrap(np.zeros((*output.shape, *a.shape)))
        for a, column in zip(arguments, zip(*rows, strict=True) if rows else [()] * len(arguments), strict=True)
    ]


def _finish(tensors: list[Tensor], single: bool, create_graph: bool) -> Any:
    results = tuple(tensors if create_graph else [t.detach() for t in tensors])
    return results[0] if single else results
