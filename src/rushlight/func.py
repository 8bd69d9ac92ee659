"""`rushlight.func`: functions that make functions: gradients, Jacobians, batches, modules called with given parameters.

A function that `vmap` makes calls the original once for each element of the batch: the same results as a vectorized
one, gradients too, at the speed of a loop.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rushlight.autograd import functional
from rushlight.autograd.modes import enable_grad
from rushlight.autograd.walk import leads_beyond
from rushlight.errors import ShapeError
from rushlight.nn.modules.batchnorm import _BatchNorm
from rushlight.nn.utils.stateless import functional_call as functional_call
from rushlight.tensor.joining import stack
from rushlight.tensor.random import default_generator
from rushlight.tensor.tensor import Tensor

Function = Callable[..., Any]

__all__ = [
    "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
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


# Gradients. Results stay in the graph where something beside the arguments that are differentiated, at which gradients
# from outside arrive, took part in them: an argument of an outer transformation, or a parameter.


def grad_and_value(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradients of `func`, a scalar, for its arguments `argnums`, and its value.

    The arguments may be structures of tensors, such as a dict of parameters. With `has_aux`, `func` returns
    `(value, aux)`, and the new function `(gradients, (value, aux))`.
    """

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, args, kwargs, argnums, has_aux)
        value = call.outputs
        if not isinstance(value, Tensor) or value.dim() != 0:
            what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise RuntimeError(
                f"grad: the function must return a scalar tensor, but it returned {what}. vjp and jacrev "
                "differentiate functions that return others"
            )
        gradients = call.filled(call.products(None, call.joined))
        return gradients, (call.shown(value), call.shown(call.aux)) if has_aux else call.shown(value)

    return function


_finished: weakref.WeakSet[Tensor] = weakref.WeakSet()  # the leaves of calls that have returned


class _Call:
    """A call of a function with arguments that it is differentiated for, those of the numbers `argnums`."""

    def __init__(
        self, func: Function, args: Sequence[Any], kwargs: dict[str, Any], argnums: Any = None, has_aux: bool = False
    ) -> None:
        self.one = isinstance(argnums, int)
        numbers = range(len(args)) if argnums is None else (argnums,) if self.one else argnums
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise RuntimeError(f"Got argnum={number}, but only {len(args)} positional inputs")
        given = list(args)
        with enable_grad():
            for number in numbers:
                given[number] = _map(_tracked, given[number])
            result = func(*given, **kwargs)
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise RuntimeError("with has_aux=True the function must return (outputs, aux)")
        self.outputs: Any = result
        self.aux: Any = None
        if has_aux:
            self.outputs, self.aux = result
        self.inputs = [given[number] for number in numbers]
        self.leaves: list[Tensor] = [leaf for leaf in _leaves(self.inputs) if isinstance(leaf, Tensor)]
        self.results: list[Tensor] = _leaves(self.outputs)
        for output in self.results:
            if not isinstance(output, Tensor):
                raise RuntimeError(f"the function must only return Tensors, got {type(output).__name__}")
        self.joined = any(leaf._node is not None for leaf in self.leaves) or leads_beyond(
            self.results, {*self.leaves, *_finished}
        )
        _finished.update(self.leaves)

    def products(self, vectors: list[Tensor] | None, create_graph: bool) -> list[Tensor]:
        """Of vectors, one for each result, with the Jacobian: one for each leaf of the arguments."""
        return functional.vector_products(self.results, self.leaves, vectors, create_graph, False)

    def pushed(self, vectors: list[Tensor]) -> Any:
        """The product of the Jacobian with vectors, one for each leaf of the arguments."""
        joined = self.joined or any(vector.requires_grad for vector in vectors)
        with enable_grad():
            found = functional.jacobian_products(self.results, self.leaves, vectors, joined, False)
        kept = iter(found if joined else [vector.detach() for vector in found])
        return _map(lambda _: next(kept), self.outputs)

    def shown(self, outputs: Any) -> Any:
        """The outputs as the caller sees them."""
        return outputs if self.joined else _map(lambda o: o.detach() if isinstance(o, Tensor) else o, outputs)

    def filled(self, values: Sequence[Any]) -> Any:
        """The arguments with `values` in place of their leaves; of a single one that one."""
        kept = iter(values)
        found = [_map(lambda leaf: next(kept) if isinstance(leaf, Tensor) else leaf, each) for each in self.inputs]
        return found[0] if self.one else tuple(found)


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
    call = _Call(func, primals, {}, has_aux=has_aux)

    def function(cotangents: Any, *more: Any) -> Any:
        vectors = _leaves(cotangents if not more else (cotangents, *more))
        return call.filled(call.products(vectors, call.joined or any(vector.requires_grad for vector in vectors)))

    shown = call.shown(call.outputs)
    return (shown, function, call.shown(call.aux)) if has_aux else (shown, function)


def jvp(
    func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, strict: bool = False, has_aux: bool = False
) -> Any:
    """`(outputs, J tangents)`: the product of the Jacobian at `primals` with vectors. strict: taken for PyTorch's sake.

    Raises RuntimeError where `primals` and `tangents` aren't tuples of tensors, or structures of them, of one form.
    """
    if not (isinstance(primals, tuple) and isinstance(tangents, tuple)):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to be tuples of Tensors")
    call = _Call(func, primals, {}, has_aux=has_aux)
    product = call.pushed(_tangents(call, tangents))
    shown = call.shown(call.outputs)
    return (shown, product, call.shown(call.aux)) if has_aux else (shown, product)


def _tangents(call: _Call, tangents: Any) -> list[Tensor]:
    vectors = [leaf for leaf in _leaves(tangents) if isinstance(leaf, Tensor)]
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (vectors, call.leaves)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(f"tangents must have the shapes of the primals: got {shapes[0]}, needed {shapes[1]}")
    return vectors


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """`(outputs, function)`, where `function(*tangents)` gives the product of the Jacobian at `primals` with them."""
    call = _Call(func, primals, {})
    return call.shown(call.outputs), lambda *tangents: call.pushed(_tangents(call, tangents))


def jacrev(func: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, **options: Any) -> Function:
    """A function that returns the Jacobian of `func` for its arguments `argnums`, of shape (*output, *argument).

    Outputs and arguments may be structures of tensors: the form of the outputs with the form of the arguments in each.
    """

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, args, kwargs, argnums, has_aux)

        def rows(output: Tensor) -> Any:
            found = functional.jacobian_of(output, call.leaves, call.joined, False)
            return call.filled(found if call.joined else [part.detach() for part in found])

        found = _map(rows, call.outputs)
        return (found, call.shown(call.aux)) if has_aux else found

    return function


def jacfwd(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, **options: Any) -> Function:
    """As `jacrev`: there is one way of computing Jacobians here."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """A function that returns the Hessian of `func` for its arguments `argnums`: the Jacobian of its Jacobian."""
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func: Function, *, remove: str = "mutations") -> Function:
    """`func` itself: compiling takes functions that write in place as they are. remove: taken for PyTorch's sake."""
    return func


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
        randomness: with "same" all elements see the same random numbers, with "different" each draws its own; by
            default a function that draws any raises RuntimeError.
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
        state = default_generator.state_bytes()
        results = []
        for index in range(count):
            if index and randomness == "same":
                default_generator.restore_bytes(state)
            one = functools.partial(_one, index)
            chosen = [_map(one, d, a) for d, a in zip(spread, args, strict=True)]
            shared = _map(functools.partial(one, 0), kwargs)
            results.append(func(*chosen, **shared))
            if randomness == "error" and not np.array_equal(state, default_generator.state_bytes()):
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
                )
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


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Has all batch norm layers in `root` take the batch's own statistics and keep none, in place; returns `root`."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
