"""Names for a program's state: those of parameters, buffers, optimizer states and variables in the user's code."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

from rushlight.nn.modules.module import Module
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor.tensor import Tensor


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
