"""What a program depends on beside its arguments: if any of it has changed, the function is traced anew.

A trace sees the values that a function's closure, globals, modules and objects have then: `if self.use_bias`,
`net.eval()`, a layer that was replaced. Checks are lookups: that `container[key]` is still the same object, or an equal
number.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from rushlight.compiler.trace import REPLACED, Trace
from rushlight.nn.modules.module import Module
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor.tensor import Tensor

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MOST = 256  # entries of a list or dictionary that are looked at
_LIBRARY = __name__.partition(".")[0]


class _Cells:
    """The variables of an enclosing function, as a container."""

    def __init__(self, cells: tuple[Any, ...]) -> None:
        self._cells = cells

    def __getitem__(self, position: int) -> Any:
        try:
            return self._cells[position].cell_contents
        except ValueError:
            raise KeyError(position) from None


class Guards:
    """The checks of one program."""

    def __init__(self, function: Any, trace: Trace) -> None:
        self._checks: list[tuple[Any, Any, Any]] = []
        self._sizes: list[tuple[Any, int]] = []
        self._seen: set[int] = set()
        self._holding: list[Any] = []  # keeps what was seen alive, so that identities stay theirs
        self._look_at(function)
        self._tensors = [entry for entry in trace.tensors.values() if entry[0]() is not None]
        self._gradients = [(leaf, grad) for leaf, grad in trace.gradients.values() if grad is not REPLACED]

    def hold(self) -> bool:
        """Whether all that the trace saw is as it was."""
        try:
            for container, key, expected in self._checks:
                found = container[key]
                if found is not expected and not (
                    type(found) is type(expected) and isinstance(found, _PLAIN) and found == expected
                ):
                    return False
        except (KeyError, IndexError):
            return False
        for container, size in self._sizes:
            if len(container) != size:
                return False
        for reference, array, requires_grad in self._tensors:
            tensor = reference()
            if tensor is None or tensor.array is not array or tensor._requires_grad != requires_grad:
                return False
        return all(leaf._grad is grad for leaf, grad in self._gradients)

    def _check(self, container: Any, key: Any, value: Any) -> None:
        self._checks.append((container, key, value))
        self._look_at(value)

    def _look_at(self, value: Any) -> None:
        if isinstance(value, (*_PLAIN, Tensor, type, types.ModuleType, types.BuiltinFunctionType)):
            return
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._holding.append(value)
        if isinstance(value, types.MethodType):
            self._look_at(value.__self__)
            self._look_at(value.__func__)
        elif isinstance(value, types.FunctionType):
            self._look_at_function(value)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._look_at(part)
        elif isinstance(value, Module):
            self._look_at_module(value)
        elif isinstance(value, Optimizer):
            self._sizes.append((value.param_groups, len(value.param_groups)))
            for group in value.param_groups:
                self._sizes.append((group["params"], len(group["params"])))
        elif isinstance(value, (list, tuple)):
            self._sizes.append((value, len(value)))
            for position, entry in enumerate(value[:_MOST]):
                self._check(value, position, entry)
        elif isinstance(value, dict):
            self._sizes.append((value, len(value)))
            for key in list(value)[:_MOST]:
                self._check(value, key, value[key])
        elif not type(value).__module__.partition(".")[0] == _LIBRARY:
            attributes = getattr(value, "__dict__", None)
            if type(attributes) is dict and len(attributes) <= _MOST:
                for key, entry in attributes.items():
                    self._check(attributes, key, entry)

    def _look_at_function(self, function: types.FunctionType) -> None:
        if (function.__module__ or "").partition(".")[0] == _LIBRARY:
            return
        if function.__closure__:
            cells = _Cells(function.__closure__)
            for position in range(len(function.__closure__)):
                try:
                    self._check(cells, position, cells[position])
                except KeyError:
                    continue
        for name in _global_names(function.__code__):
            if name in function.__globals__:
                self._check(function.__globals__, name, function.__globals__[name])

    def _look_at_module(self, module: Module) -> None:
        attributes = module.__dict__
        for name in ("_parameters", "_buffers", "_modules"):
            entries = attributes[name]
            self._sizes.append((entries, len(entries)))
            for key, entry in entries.items():
                self._check(entries, key, entry)
        for key, entry in attributes.items():
            if key not in ("_parameters", "_buffers", "_modules"):
                if isinstance(entry, _PLAIN):
                    self._checks.append((attributes, key, entry))
                elif not key.startswith("_"):
                    self._check(attributes, key, entry)
                elif isinstance(entry, dict):
                    self._sizes.append((entry, len(entry)))  # hooks
        forward = type(module).forward
        self._look_at(forward)


def _global_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


Function = Callable[..., Any]
