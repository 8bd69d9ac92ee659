"""Names for a program's inputs: of parameters, buffers, optimizer states, variables, and of what it is called with."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rushlight.compiler.graph import Graph, Input
from rushlight.compiler.structure import entries_of
from rushlight.nn.modules.module import Module
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor.tensor import Tensor


def argument_names(function: Any, args: Any, options: Any, tensors: Sequence[Tensor]) -> list[str]:
    """Names for the tensors in a call's arguments: "x", "batch.image", "states.0", and "x.grad" for gradients."""
    called = function.forward if isinstance(function, Module) else function
    try:
        bound = inspect.signature(called).bind(*args, **options).arguments
    except (TypeError, ValueError):  # none of Python's own functions tells
        bound = {**{str(place): entry for place, entry in enumerate(args)}, **options}
    of_tensors: dict[int, str] = {}
    for name, item in bound.items():
        _name_parts(name, item, of_tensors)
    for tensor in tensors:
        if tensor._grad is not None:
            of_tensors.setdefault(id(tensor._grad), f"{of_tensors.get(id(tensor), '')}.grad")
    return [of_tensors.get(id(tensor), "") for tensor in tensors]


def _name_parts(name: str, item: Any, found: dict[int, str]) -> None:
    if isinstance(item, Tensor):
        found.setdefault(id(item), name)
        return
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        parts: Any = zip(item._fields, item, strict=True)
    else:
        entries = entries_of(item)
        parts = enumerate(entries) if isinstance(entries, list) else entries.items()
    for key, entry in parts:
        _name_parts(f"{name}.{key}", entry, found)


def labels_of(graph: Graph, states: Mapping[int, str], arguments: Sequence[str]) -> dict[Input, str]:
    """The names of a graph's inputs. states: by the identity of their arrays. arguments: in their order."""
    found = {given: states[id(given.array)] for given in graph.inputs if id(given.array) in states}
    for given in graph.inputs:
        if given.kind == "argument" and given.name:
            found[given] = arguments[int(given.name)]
    return found


def state_names(function: Any) -> dict[int, str]:
    """Names for the memory of tensors that `function` sees, by the identity of their arrays.

    "0.weight" is a parameter of the only module that is seen; where there are several, their names come in front.
    "0.weight.grad" is its gradient, "0.weight.exp_avg" an optimizer's state for it, "x" a variable.
    """
    found: dict[int, str] = {}
    seen = list(_seen_by(function))
    modules = [(name, thing) for name, thing in seen if isinstance(thing, Module)]
    for name, module in modules:
        prefix = f"{name}." if len({id(thing) for _, thing in modules}) > 1 else ""
        for path, tensor in (*module.named_parameters(), *module.named_buffers()):
            _add(found, prefix + path, tensor)
    for name, thing in seen:
        entries = thing if isinstance(thing, (list, tuple)) else ()
        for path, entry in ((name, thing), *[(f"{name}.{place}", entry) for place, entry in enumerate(entries)]):
            if isinstance(entry, Tensor):
                _add(found, path, entry)
    for name, optimizer in seen:
        if isinstance(optimizer, Optimizer):
            for parameter, state in optimizer.state.items():
                for key, entry in state.items():
                    if isinstance(entry, Tensor):
                        found.setdefault(id(entry.array), f"{found.get(id(parameter.array), name)}.{key}")
    return found


def _add(found: dict[int, str], name: str, tensor: Tensor) -> None:
    found.setdefault(id(tensor.array), name)
    if tensor._grad is not None:
        found.setdefault(id(tensor._grad.array), f"{name}.grad")


def _seen_by(function: Any) -> Iterator[tuple[str, Any]]:
    """The variables and attributes that a function can read, with their names."""
    if isinstance(function, functools.partial):
        yield from _seen_by(function.func)
    elif isinstance(function, Module):
        yield "", function
    elif isinstance(function, types.MethodType):
        owner = function.__self__
        yield from ([("", owner)] if isinstance(owner, Module) else getattr(owner, "__dict__", {}).items())
        yield from _seen_by(function.__func__)
    elif isinstance(function, types.FunctionType):
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        for name in code.co_names:
            if name in function.__globals__:
                yield name, function.__globals__[name]
