"""Modules called with parameters and buffers that aren't their own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rushlight.nn.modules.module import Module
from rushlight.tensor.random import fork_rng
from rushlight.tensor.tensor import Tensor


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with these tensors in place of its parameters and buffers.

    Args:
        module: the module, which is left as it was.
        parameters_and_buffers: tensors by path, such as "0.weight", in one dict or several; the others stay.
        args: the arguments, or the one argument.
        kwargs: keyword arguments.
        tie_weights: where the module has one tensor at several paths, all of them take the tensor given for one.
        strict: whether every path of the module must be given.

    Raises RuntimeError for a path that the module doesn't have, or with `strict` for one that isn't given.
    """
    given: dict[str, Tensor] = {}
    dicts = [parameters_and_buffers] if isinstance(parameters_and_buffers, Mapping) else parameters_and_buffers
    for one in dicts:
        twice = given.keys() & one.keys()
        if twice:
            raise ValueError(f"functional_call: {sorted(twice)} appear in several of the dicts")
        given |= one
    places = _places(module)
    unknown = sorted(given.keys() - places.keys())
    missing = sorted(places.keys() - given.keys()) if strict else []
    if unknown or missing:
        raise RuntimeError(
            f"functional_call: unexpected key(s): {unknown}; missing key(s): {missing} in {type(module).__name__}"
        )
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(places, given, tie_weights):
        return module(*args, **(kwargs or {}))


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer stands: the dict that holds it, and its name there."""
    places: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for store in (part._parameters, part._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    places[f"{prefix}.{name}" if prefix else name] = (store, name)
    return places


@contextmanager
def _replaced(
    places: dict[str, tuple[dict[str, Any], str]], given: Mapping[str, Tensor], tie_weights: bool
) -> Iterator[None]:
    wanted = {path: given[path] for path in given}
    if tie_weights:
        by_identity = {id(places[path][0][places[path][1]]): tensor for path, tensor in given.items()}
        for path, (store, name) in places.items():
            if path not in wanted and id(store[name]) in by_identity:
                wanted[path] = by_identity[id(store[name])]
    before = [(*places[path], places[path][0][places[path][1]]) for path in wanted]
    try:
        for path, tensor in wanted.items():
            store, name = places[path]
            store[name] = tensor
        yield
    finally:
        for store, name, tensor in before:
            store[name] = tensor


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """`module_cls(*args, **kwargs)` that draws no random numbers from the generator; its parameters are to be filled.

    Raises RuntimeError for a class that isn't a Module's, or takes no `device`.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with fork_rng():
        return module_cls(*args, **kwargs)
