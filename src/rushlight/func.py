"""`rushlight.func`: functions that make functions: gradients, Jacobians, batches, modules called with given parameters.

A function that `vmap` makes calls the original once for each element of the batch: the same results as a vectorized
one, gradients too, at the speed of a loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rushlight.autograd import functional
from rushlight.autograd.gradients import grad as _gradients
from rushlight.autograd.modes import enable_grad
from rushlight.errors import ShapeError
from rushlight.nn.utils.stateless import functional_call as functional_call
from rushlight.tensor import creation
from rushlight.tensor.joining import stack
from rushlight.tensor.tensor import Tensor

Function = Callable[..., Any]

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state", "vjp",
    "vmap",
]  # fmt: skip


# Structures: tensors in dicts, lists and tuples


def _map(function: Function, *structures: Any) -> Any:
    """`function` of the leaves that structures of one form have in one place."""
    first = structures[0]
    if isinstance(first, Mapping):
        return type(first)({key: _map(function, *[s[key] for s in structures]) for key in first})  # type: ignore[call-arg]
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*[_map(function, *items) for items in zip(*structures, strict=True)])
    if isinstance(first, (list, tuple)):
        return type(first)([_map(function, *items) for items in zip(*structures, strict=True)])
    return function(*structures)


def _leaves(structure: Any) -> list[Any]:
    found: list[Any] = []
    _map(found.append, structure)
    return found


def _spread(value: Any, structure: Any) -> Any:
    """`value` for each leaf of `structure`, unless it has that form already."""
    if isinstance(value, (dict, list, tuple)):
        return type(value)(
            {key: _spread(value[key], structure[key]) for key in structure}
            if isinstance(value, dict)
            else [_spread(v, s) for v, s in zip(value, structure, strict=True)]
        )
    return _map(lambda _: value, structure)


# Gradients


def grad_and_value(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradients of `func`, a scalar, for its arguments `argnums`, and its value.

    The arguments may be structures of tensors, such as a dict of parameters. With `has_aux`, `func` returns
    `(value, aux)`, and the new function `(gradients, (value, aux))`.
    """

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        given = list(args)
        with enable_grad():
            for number in numbers:
                given[number] = _map(_tracked, given[number])
            value = func(*given, **kwargs)
            value, aux = value if has_aux else (value, None)
            if not isinstance(value, Tensor) or value.dim() != 0:
                what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f"grad: the function must return a scalar tensor, but it returned {what}")
            leaves = [leaf for number in numbers for leaf in _leaves(given[number]) if isinstance(leaf, Tensor)]
            outer = any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in _leaves(list(args)))
            found: Any = _gradients(value, leaves, create_graph=True, allow_unused=True) if value.requires_grad else []
        kept = iter(found or [None] * len(leaves))

        def gradient(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            entry = next(kept)
            entry = creation.zeros_like(leaf) if entry is None else entry
            return entry if outer else entry.detach()

        results = [_map(gradient, given[number]) for number in numbers]
        gradients = results[0] if isinstance(argnums, int) else tuple(results)
        value = value if outer else value.detach()
        return gradients, (value, aux) if has_aux else value

    return function


def _tracked(value: Any) -> Any:
    """A tensor that a gradient can be taken for, joined to the graph that it comes from."""
    if not isinstance(value, Tensor):
        return value
    return value.view_as(value) if value.requires_grad else value.detach().requires_grad_()


def grad(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradients of `func`, a scalar, for its arguments `argnums`.

    Example:
        >>> grad(torch.sin)(torch.tensor(0.0))
        tensor(1.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return function


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """`(outputs, function)`, where `function(cotangents)` gives their products with the Jacobian, as `primals` are."""
    with enable_grad():
        inputs = _map(_tracked, primals)
        outputs = func(*inputs)
        outputs, aux = outputs if has_aux else (outputs, None)
    leaves = _leaves(inputs)

    def function(cotangents: Any, *more: Any) -> Any:
        several = cotangents if not more else (cotangents, *more)
        found = _gradients(
            _leaves(outputs), leaves, _leaves(several), retain_graph=True, create_graph=True, allow_unused=True
        )
        kept = iter(found)

        def gradient(leaf: Tensor) -> Tensor:
            entry = next(kept)
            return creation.zeros_like(leaf) if entry is None else entry.detach()

        return _map(gradient, inputs)

    shown = _map(lambda o: o.detach(), outputs)
    return (shown, function, aux) if has_aux else (shown, function)


def jvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """`(outputs, J tangents)`: the product of the Jacobian at `primals` with vectors."""
    return functional.jvp(func, tuple(primals), tuple(tangents))


def jacrev(func: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, **options: Any) -> Function:
    """A function that returns the Jacobian of `func` for its arguments `argnums`, of shape (*output, *argument)."""

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        kept: list[Any] = []

        def of_chosen(*chosen: Any) -> Any:
            given = list(args)
            for number, value in zip(numbers, chosen, strict=True):
                given[number] = value
            result = func(*given, **kwargs)
            if has_aux:
                kept.append(result[1])
                return result[0]
            return result

        outer = any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in _leaves(list(args)))
        inputs = tuple(args[number] for number in numbers)
        found = functional.jacobian(of_chosen, inputs, create_graph=outer)
        if isinstance(argnums, int):
            found = _map_rows(found)
        return (found, kept[0]) if has_aux else found

    return function


def _map_rows(found: Any) -> Any:
    """The Jacobian for one argument, which stands in a tuple of one for each output."""
    if isinstance(found[0], tuple):
        return tuple(row[0] for row in found)
    return found[0]


def jacfwd(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, **options: Any) -> Function:
    """As `jacrev`: there is one way of computing Jacobians here."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: int = 0) -> Function:
    """A function that returns the Hessian of `func`, a scalar, for its argument `argnums`."""

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        def of_chosen(value: Any) -> Any:
            return func(*args[:argnums], value, *args[argnums + 1 :], **kwargs)

        return functional.hessian(of_chosen, args[argnums])

    return function


# Batches


def vmap(
    func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Function:
    """A function of a batch: `func` of each element, with the results stacked.

    Args:
        func: a function of tensors, which it returns one or several of.
        in_dims: the dimension of the batch in each argument, None for an argument that all elements share; or one for
            all arguments.
        out_dims: the dimension of the batch in each result.
        randomness: with "same" all elements see the same random numbers; else each draws its own.
        chunk_size: taken for PyTorch's sake.

    Example:
        >>> vmap(torch.dot)(torch.ones(2, 3), torch.ones(2, 3))
        tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        dims = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
        if len(dims) != len(args):
            raise ValueError(f"vmap: in_dims has {len(dims)} entries for {len(args)} arguments")
        spread = [_spread(dim, arg) for dim, arg in zip(dims, args, strict=True)]
        count = _batch_size(spread, args, kwargs)
        state = None
        results = []
        for index in range(count):
            if randomness == "same":
                from rushlight.tensor.random import default_generator

                if state is None:
                    state = default_generator.state_bytes()
                else:
                    default_generator.restore_bytes(state)
            one = functools.partial(_one, index)
            chosen = [_map(one, d, a) for d, a in zip(spread, args, strict=True)]
            shared = _map(functools.partial(one, 0), kwargs)
            results.append(func(*chosen, **shared))
        return _map(_stacked, _spread(out_dims, results[0]), *results)

    return function


def _batch_size(dims: Sequence[Any], args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    sizes = set()
    for dim, leaf in zip(_leaves(list(dims)), _leaves(list(args)), strict=True):
        if dim is not None and isinstance(leaf, Tensor):
            if not -leaf.dim() <= dim < leaf.dim():
                raise ValueError(f"vmap: in_dim {dim} is out of range for an argument of {leaf.dim()} dimensions")
            sizes.add(leaf.shape[dim])
    sizes |= {leaf.shape[0] for leaf in _leaves(kwargs) if isinstance(leaf, Tensor) and leaf.dim()}
    if len(sizes) != 1:
        what = f"sizes {sorted(sizes)}" if sizes else "no tensor with a batch dimension"
        raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got {what}")
    (count,) = sizes
    if not count:
        raise ShapeError("vmap: the batch is empty")
    return int(count)


def _one(index: int, dim: Any, leaf: Any) -> Any:
    return leaf.select(dim, index) if dim is not None and isinstance(leaf, Tensor) else leaf


def _stacked(dim: Any, *items: Any) -> Any:
    if not isinstance(items[0], Tensor):
        raise ValueError(f"vmap: the function must only return Tensors, got {type(items[0]).__name__}")
    return items[0] if dim is None else stack(items, dim)


# Modules


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of modules of one kind, stacked, for `vmap` over `functional_call`."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: stack([p[name] for p in parameters]).detach().requires_grad_() for name in parameters[0]},
        {name: stack([b[name] for b in buffers]) for name in buffers[0]},
    )
