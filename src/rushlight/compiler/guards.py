"""What a program depends on beside its arguments: if any of it has changed, the function is traced anew.

A trace sees the values that a function's closure, globals, modules and objects have then: `if self.use_bias`,
`net.eval()`, a layer that was replaced. `Surroundings` takes them down: the entries of containers, by identity or,
where they are plain numbers and the like, by value. It looks where the function's code, and the code that this calls,
can look: at the names that occur in it.
"""

from __future__ import annotations

import argparse
import collections
import dis
import functools
import itertools
import operator
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rushlight.autograd.tape import hooks_on_leaves
from rushlight.compiler.attributes import Attribute, set_while_tracing
from rushlight.compiler.streams import NAMES_OF_CLOCKS, Randomness, refuse_iterator
from rushlight.compiler.trace import REPLACED, Trace
from rushlight.compiler.watch import PLAIN, Watch, same_plain
from rushlight.nn.modules.hooks import global_hooks
from rushlight.nn.modules.module import Module
from rushlight.optim.optimizer import Optimizer
from rushlight.submodules import PACKAGES
from rushlight.tensor.tensor import Tensor

_MOST = 1024  # entries of a list or dictionary that are looked at
_INSTALLED = tuple({os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "purelib", "platlib")})
_MISSING = object()


class _Named:
    """Some entries of a mapping."""

    def __init__(self, mapping: Mapping[str, Any], names: list[str]) -> None:
        self.mapping = mapping
        self.names = names

    def __iter__(self) -> Iterator[Any]:
        return iter([self.mapping.get(name, _MISSING) for name in self.names])

    def put(self, values: list[Any]) -> None:
        if isinstance(self.mapping, dict):
            for name, value in zip(self.names, values, strict=True):
                if value is _MISSING:
                    self.mapping.pop(name, None)
                elif self.mapping.get(name, _MISSING) is not value:
                    self.mapping[name] = value


class _Slots(Mapping[str, Any]):
    """The attributes of an object that stand in slots."""

    def __init__(self, item: Any) -> None:
        self._item = item
        named = [base.__dict__.get("__slots__", ()) for base in type(item).__mro__]
        self._names = {name for names in named for name in ((names,) if isinstance(names, str) else names)}

    def __getitem__(self, name: str) -> Any:
        value = getattr(self._item, name, _MISSING) if name in self._names else _MISSING
        if value is _MISSING:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._names if hasattr(self._item, name)])

    def __len__(self) -> int:
        return len(self._names)


class _Variables:
    """The variables of an enclosing function."""

    def __init__(self, cells: tuple[Any, ...]) -> None:
        self.cells = cells
        self.names = list(range(len(cells)))

    def __iter__(self) -> Iterator[Any]:
        return iter([_content(cell) for cell in self.cells])

    def put(self, values: list[Any]) -> None:
        for cell, value in zip(self.cells, values, strict=True):
            if value is not _MISSING and _content(cell) is not value:
                cell.cell_contents = value


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


class Surroundings:
    """All that a function can see, as it is now. `arguments`: the objects among those that it is called with."""

    def __init__(self, function: Any, arguments: Iterable[Any] = ()) -> None:
        self.watch = Watch()
        self._restorable: list[tuple[Any, Any, list[Any]]] = []  # containers, their keys, their values
        self.seen: set[int] = set()
        self._holding: list[Any] = []  # keeps what was seen alive, so that identities stay theirs
        self._names: set[str] = set()  # all names that occur in the code
        self._codes: list[types.CodeType] = []
        self._assigned: set[str] = set()  # those of attributes that it sets, which may not be there yet
        self._computes_names = False  # whether it computes names of attributes, so that any may be meant
        # What has attributes, those looked at, and the names in its class, which may come to stand there too.
        self._objects: list[tuple[Mapping[str, Any], set[str], frozenset[str]]] = []
        self._randomness = Randomness()
        self._attributes: list[tuple[dict[Any, Any], dict[Any, Any]]] = []  # those of objects, and what they were
        self.tensors: dict[int, Tensor] = {}
        self.occurrences: collections.Counter[Tensor] = collections.Counter()  # in how many places these are
        self.arrays: list[np.ndarray[Any, Any]] = []
        self._look_at(function)
        for argument in arguments:
            self._look_at(argument)
        while self._look_at_attributes():
            pass
        for mapping, names, inherited in self._objects:
            found = names | (self._names & inherited)
            if not isinstance(mapping, types.MappingProxyType):
                found |= self._assigned
            self._watch_names(mapping, sorted(found))
            if self._computes_names and type(mapping) is dict:
                self.watch.items(mapping)

    @property
    def may_read_clocks(self) -> bool:
        """Whether names of clocks occur in the code."""
        return not NAMES_OF_CLOCKS.isdisjoint(self._names)

    def changes(self) -> list[str]:
        """What is something else now than it was, by name."""
        found = self._randomness.changes()
        for container, keys, values in self._restorable:
            now = list(container if not isinstance(container, dict) else container.values())
            names = keys if keys is not None else range(len(values))
            if len(now) != len(values):
                found.append(f"the size of a {type(container).__name__}")
            else:
                for name, is_now, was in zip(names, now, values, strict=True):
                    if is_now is not was and not same_plain(is_now, was):
                        numbers = f" from {was!r} to {is_now!r}" if isinstance(was, PLAIN) else ""
                        found.append(f"{name!r}{numbers}{self.where(name)}")
        return found

    def where(self, name: Any) -> str:
        """Where in the code a variable, an attribute or an entry of that name is set; "" where that can't be told."""
        lines = [line for code in self._codes for line in _lines_that_set(code, name)]
        return f" (at {lines[0]})" if lines else ""

    def set_attributes(self, trace: Trace) -> dict[Attribute, Tensor]:
        """The attributes, and entries of dictionaries, that hold tensors which the trace has computed."""
        return set_while_tracing(self._attributes, trace.is_computed)

    def put_back(self) -> None:
        """Makes all that was seen what it was."""
        self._randomness.put_back()
        for container, keys, values in self._restorable:
            if isinstance(container, (_Named, _Variables)):
                container.put(values)
            elif isinstance(container, list):
                if not (len(container) == len(values) and all(map(operator.is_, container, values))):
                    container[:] = values
            elif list(container) != keys or not all(map(operator.is_, container.values(), values)):
                container.clear()
                container.update(zip(keys, values, strict=True))

    # Looking

    def _watch_names(self, mapping: Mapping[str, Any], names: list[str]) -> None:
        if names:
            self.watch.entries(mapping, names)
            self._put_back_later(_Named(mapping, names))

    def _put_back_later(self, entries: _Named | _Variables) -> None:
        self._restorable.append((entries, entries.names, list(entries)))

    def _watch_dictionary(self, entries: dict[Any, Any]) -> None:
        self.watch.items(entries)
        self._restorable.append((entries, list(entries), list(entries.values())))

    def _look_at(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._look_at_tensor(value)
            return
        if isinstance(value, PLAIN) or id(value) in self.seen:
            return
        self.seen.add(id(value))
        self._holding.append(value)
        if isinstance(value, Module):
            self._look_at_module(value)
        elif isinstance(value, types.FunctionType):
            self._look_at_function(value)
        elif isinstance(value, types.MethodType):
            self._look_at(value.__self__)
            self._look_at(value.__func__)
        elif isinstance(value, (staticmethod, classmethod, functools.partial)):
            self._look_at(value.__func__ if not isinstance(value, functools.partial) else value.func)
            if isinstance(value, functools.partial):
                self._look_at(value.args)
                self._look_at(value.keywords)
        elif isinstance(value, property):
            self._look_at(value.fget)
        elif isinstance(value, Optimizer):
            self._look_at_optimizer(value)
        elif isinstance(value, (list, tuple)):
            if isinstance(value, list):
                self.watch.items(value)
                self._restorable.append((value, None, list(value)))
            for entry in value[:_MOST]:
                self._look_at(entry)
        elif isinstance(value, dict):
            self._watch_dictionary(value)
            self._attributes.append((value, dict(value)))
            for key in list(value)[:_MOST]:
                self._look_at(value[key])
        elif isinstance(value, (set, collections.deque)):
            self.watch.items(value)
        elif isinstance(value, np.ndarray):
            self.arrays.append(value)
        elif isinstance(value, types.ModuleType):
            if not _in_library(value.__name__) and _written_by_user(getattr(value, "__file__", None)):
                self._objects.append((vars(value), set(), frozenset()))
        elif isinstance(value, type):
            self._look_at_class(value)
        else:
            self._look_at_object(value)

    def _look_at_tensor(self, tensor: Tensor) -> None:
        self.occurrences[tensor] += 1
        if id(tensor) not in self.tensors:
            self.tensors[id(tensor)] = tensor
            attributes = vars(tensor)
            if any(name != "array" and not name.startswith("_") for name in attributes):  # the user's
                self._objects.append((attributes, set(), frozenset()))

    def _look_at_attributes(self) -> bool:
        """Looks at the attributes of objects that the code names; whether there were new ones."""
        found = False
        for mapping, names, _ in tuple(self._objects):
            every = self._computes_names and not isinstance(mapping, types.MappingProxyType)
            for name in (set(mapping) if every else self._names & mapping.keys()) - names:
                found = True
                names.add(name)
                self._look_at(mapping[name])
        return found

    def _look_at_object(self, value: Any) -> None:
        kind = type(value)
        users = isinstance(value, (argparse.Namespace, types.SimpleNamespace)) or of_user(kind)
        if not (users and isinstance(getattr(kind, "__next__", None), types.FunctionType)):
            refuse_iterator(value)  # of which nothing can be seen
        if users:
            attributes = getattr(value, "__dict__", None)
            if type(attributes) is dict:
                self._objects.append((attributes, set(), _names_in_class(kind)))
                self._attributes.append((attributes, dict(attributes)))
            slots = _Slots(value)
            if len(slots):
                self._objects.append((slots, set(), frozenset()))
        else:
            self._randomness.add(value)
        self._look_at(kind)
        if hasattr(value, "__wrapped__"):
            self._look_at(value.__wrapped__)

    def _look_at_class(self, kind: type) -> None:
        for base in kind.__mro__:
            if of_user(base):
                called: set[str] = set()
                self._objects.append((vars(base), called, frozenset()))
                for name, entry in vars(base).items():
                    # Methods that Python or a Module calls, without their name in the code.
                    if isinstance(entry, types.FunctionType) and (name == "forward" or name.startswith("__")):
                        if name not in ("__init__", "__new__"):
                            called.add(name)
                            self._look_at(entry)

    def _look_at_function(self, function: types.FunctionType) -> None:
        if not of_user(function):
            return
        self.watch.attributes(function, ("__code__", "__defaults__", "__kwdefaults__"))
        if function.__closure__:
            variables = _Variables(function.__closure__)
            for cell in function.__closure__:
                self.watch.attributes(cell, ["cell_contents"])
            self._put_back_later(variables)
            for content in variables:
                self._look_at(content)
        if function.__defaults__:
            self._look_at(function.__defaults__)
        if function.__kwdefaults__:
            self._look_at(function.__kwdefaults__)
        if hasattr(function, "__wrapped__"):
            self._look_at(function.__wrapped__)
        self._codes.append(function.__code__)
        self._names |= _names(function.__code__)
        self._assigned |= _assigned_names(function.__code__)
        self._computes_names |= _computes_names(function.__code__)
        variables_of_module = function.__globals__
        names = [name for name in _global_names(function.__code__) if name in variables_of_module]
        self._watch_names(variables_of_module, names)
        for name in names:
            self._look_at(variables_of_module[name])

    def _look_at_module(self, module: Module) -> None:
        self._look_at_hooks_of_all_modules()
        attributes = module.__dict__
        self._attributes.append((attributes, dict(attributes)))
        without_hooks = "_hooked" not in attributes  # which the attributes tell
        for name, entries in attributes.items():
            if name.startswith("_") and isinstance(entries, dict):  # parameters, buffers, submodules, hooks
                if entries:
                    self._look_at(entries)
                elif not (without_hooks and name.endswith(("_hooks", "_hook_options"))):
                    self.watch.items(entries)
        if of_user(type(module)):
            self._objects.append((attributes, {"forward", "training", "_hooked"}, _names_in_class(type(module))))
            self._look_at(type(module))
        else:
            self._watch_dictionary(attributes)
            for name, entry in attributes.items():
                if not name.startswith("_"):
                    self._look_at(entry)

    def _look_at_hooks_of_all_modules(self) -> None:
        if id(global_hooks) not in self.seen:
            self.seen.add(id(global_hooks))
            for hooks in vars(global_hooks).values():
                self.watch.items(hooks)
                for hook in hooks.values():
                    self._look_at(hook)

    def _look_at_optimizer(self, optimizer: Optimizer) -> None:
        self._watch_names(optimizer.__dict__, ["param_groups"])
        for hooks in (optimizer._step_pre_hooks, optimizer._step_post_hooks):
            self.watch.items(hooks)
            for hook in hooks.values():
                self._look_at(hook)
        for group in optimizer.param_groups:
            self._look_at(group["params"])
            self._restorable.append((group, list(group), list(group.values())))
        if of_user(type(optimizer)):
            self._look_at(type(optimizer))
            for state in optimizer.state.values():
                self._restorable.append((state, list(state), list(state.values())))
        self.watch.items(optimizer.param_groups)


class Guards:
    """The checks of one program: its function's surroundings, and the tensors that it met."""

    def __init__(self, surroundings: Surroundings, trace: Trace) -> None:
        self._surroundings = surroundings
        gradients = {id(grad) for _, grad in trace.gradients.values()}  # known by their memory
        self._tensors = [
            (tensor, array, requires_grad, _hooks(tensor))
            for tensor, array, requires_grad in trace.met()
            if id(tensor) not in gradients
        ]
        self._gradients = [
            (leaf, None if grad is None else grad.array)
            for leaf, grad in trace.gradients.values()
            if grad is not REPLACED
        ]
        for array in surroundings.arrays:
            surroundings.watch.contents(array)  # which may have become constants
        self._watch: Watch | None = None  # all of it, once it has been found to be right

    def hold(self) -> bool:
        """Whether all that the trace saw is as it was."""
        if self._watch is None or not self._watch.same():
            for tensor, array, requires_grad, hooks in self._tensors:
                if tensor.array is not array or tensor._requires_grad is not requires_grad or _hooks(tensor) != hooks:
                    return False
            if not self._surroundings.watch.same():
                return False
            self._watch = self._watch_all()
        for leaf, memory in self._gradients:
            grad = leaf._grad
            if (None if grad is None else grad.array) is not memory:
                return False
        return True

    def know(self, memory: np.ndarray[Any, Any]) -> bool:
        """Whether the program is right only as long as a gradient has this memory."""
        return any(array is memory for _, array in self._gradients)

    def _watch_all(self) -> Watch:
        watch = Watch(self._surroundings.watch)
        watch.attributes(hooks_on_leaves, ("places",))
        for tensor, *_ in self._tensors:
            watch.attributes(tensor, ("array", "_requires_grad"))
            for hooks in (tensor._hooks, tensor._post_hooks):
                if hooks is not None:
                    watch.items(hooks)
        return watch


def _hooks(tensor: Tensor) -> list[Any]:
    return [*(tensor._hooks or {}).values(), *(tensor._post_hooks or {}).values()]


def _names_in_class(kind: type) -> frozenset[str]:
    return frozenset([name for base in kind.__mro__ if of_user(base) for name in vars(base)])


@functools.cache
def _names(code: types.CodeType) -> frozenset[str]:
    """The names that occur in code."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            names.add(constant)  # getattr(self, "name")
    return frozenset(names)


@functools.cache
def _assigned_names(code: types.CodeType) -> frozenset[str]:
    """The names of attributes that code sets."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR"}
    return frozenset(names).union(*[_assigned_names(inner) for inner in _inner(code)])


def _lines_that_set(code: types.CodeType, name: Any) -> Iterator[str]:
    """The lines of code, "file:line", that set a variable, an attribute or an entry of that name."""
    before: Any = None
    for step in dis.get_instructions(code):
        named = step.opname in ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF") and step.argval == name
        entry = step.opname == "STORE_SUBSCR" and before == name and type(before) is type(name)
        if (named or entry) and step.positions is not None:
            yield f"{code.co_filename}:{step.positions.lineno}"
        if step.opname == "LOAD_CONST":
            before = step.argval
    for inner in _inner(code):
        yield from _lines_that_set(inner, name)


@functools.cache
def _computes_names(code: types.CodeType) -> bool:
    """Whether code looks for attributes by names that don't stand in it."""
    if not {"vars", "dir", "__dict__"}.isdisjoint(code.co_names) or any(map(_computes_names, _inner(code))):
        return True
    steps = list(dis.get_instructions(code))
    for place, step in enumerate(steps):
        if step.argval in ("getattr", "setattr", "hasattr") and step.opname.startswith("LOAD_"):
            call = itertools.takewhile(
                lambda later: later.opname not in ("PRECALL", "CALL", "CALL_KW"), steps[place + 1 :]
            )
            given = list(call)
            constant = any(isinstance(later.argval, str) and later.opname == "LOAD_CONST" for later in given)
            if not constant or any(later.opname in ("BUILD_STRING", "BINARY_OP") for later in given):
                return True
    return False


def _inner(code: types.CodeType) -> list[types.CodeType]:
    """The code of functions in it."""
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


@functools.cache
def _global_names(code: types.CodeType) -> frozenset[str]:
    """The names that code looks for among the variables of its module; `loss`, but not for `self.loss`."""
    if "globals" in code.co_names:
        return _names(code)
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return frozenset(names)


def _in_library(name: str) -> bool:
    return name.partition(".")[0] in (*PACKAGES, "builtins", "numpy")


def of_user(item: Any) -> bool:
    """Whether a class or function is neither this library's nor an installed one."""
    name = getattr(item, "__module__", None) or ""
    if _in_library(name):
        return False
    if isinstance(item, types.FunctionType):
        return _written_by_user(item.__code__.co_filename)
    return _written_by_user(getattr(sys.modules.get(name), "__file__", "<string>"))


@functools.cache
def _written_by_user(path: str | None) -> bool:
    """Whether a source file isn't among the installed packages; code without one is the user's."""
    return path is not None and not os.path.realpath(path).startswith(_INSTALLED)
