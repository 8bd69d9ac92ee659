"""Whole modules in files: which classes and functions a file may name, and an object's attributes as PyTorch has them.

A file names classes and functions; they are looked up among those that this process has already. Nothing is imported
for a file, and neither a function that it names nor any method of a class that it names is called to read it: an
object is made bare, and gets the attributes that the file has. What may be named is

- every class of modules (`nn.Module`), of this library, of an installed package or of the user,
- the user's own classes and functions, that is those of modules that aren't installed packages,
- functions on tensors: of `nn.functional`, of `nn.init`, `torch.relu` and its like,
- `argparse.Namespace` and `types.SimpleNamespace`.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections import OrderedDict
from typing import Any

import rushlight
from rushlight import nn
from rushlight.compiler.guards import of_user
from rushlight.errors import LoadError, SaveError
from rushlight.io.names import DataNames, refusal
from rushlight.io.pickle_reader import Constructor
from rushlight.nn.modules import linear
from rushlight.nn.modules.module import Module
from rushlight.ops.declare import Operation
from rushlight.submodules import PACKAGES, path_here, path_of_class
from rushlight.tensor.tensor import Tensor

_FUNCTIONS = (("torch.nn.functional", nn.functional), ("torch", rushlight), ("torch.nn.init", nn.init))
# Where PyTorch has functions that are written in C++, as a pickle names them.
_OTHER_PLACES = {"torch._C._nn": "torch.nn.functional"}
_OTHER_NAMES = {"log_sigmoid": "logsigmoid"}
_OWNER = "torch._C._VariableFunctionsClass"
_HOOKS = (
    "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_OUR_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks", "_state_hooks")
_OURS_ALONE = frozenset([*_OUR_HOOKS, "_hook_options", "_hooked"])
_STORES = {"_parameters": nn.Parameter, "_buffers": Tensor, "_modules": Module}


class ObjectNames(DataNames):
    """What names stand for in a file that may hold objects.

    allowed: the classes and functions that the file may name; None for all that are described above.
    """

    def __init__(self, allowed: list[Any] | None = None) -> None:
        self._allowed = allowed

    def find(self, module: str, name: str) -> Any:
        known = self.known(module, name)
        if known is not None:
            return known
        if (module, name) == ("builtins", "getattr"):
            return Constructor("builtins.getattr", self._attribute)
        if f"{module}.{name}" == _OWNER:
            return Constructor(_OWNER, _not_callable)
        if self._allowed is None:
            return _find(module, name)
        try:
            found = _find(module, name)
        except LoadError:
            raise LoadError(refusal(module, name)) from None
        if not any(found is item for item in self._allowed):
            raise LoadError(refusal(module, name))
        return found

    def _attribute(self, owner: Any, name: Any) -> Any:
        """`torch.relu` and its like, which PyTorch's pickles have as attributes of a class."""
        if not isinstance(owner, Constructor) or owner.name != _OWNER or not isinstance(name, str):
            raise LoadError("the pickle asks for an attribute of something else than PyTorch's functions")
        return self.find("torch", name)

    def make(self, kind: type) -> Any:
        why = why_not_made(kind)
        if why:
            raise LoadError(f"the file holds a {_full(kind)}, which load() doesn't make: {why}")
        instance: Any = object.__new__(kind)
        if isinstance(instance, Module):
            Module.__init__(instance)
        return instance

    def fill(self, instance: Any, state: Any) -> None:
        full = _full(type(instance))
        if not isinstance(state, dict) or not all(type(name) is str for name in state):
            raise LoadError(f"the attributes of a {full} are no dict of names")
        if isinstance(instance, Module):
            state = _attributes_here(type(instance), state)
        try:
            attributes = object.__getattribute__(instance, "__dict__")
        except AttributeError:
            raise LoadError(f"a {full} has no __dict__ to put its attributes in") from None
        attributes.update((sys.intern(name), value) for name, value in state.items())


def _not_callable(*_: Any) -> Any:
    raise LoadError("a class is called that only stands for its functions")


def _full(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


# Names


def _find(module: str, name: str) -> Any:
    """The class or function that a file means; raises LoadError where there is none, or none that it may name."""
    module = _OTHER_PLACES.get(module, module)
    package = module.partition(".")[0]
    if package in ("torch", "rushlight"):
        found = _find_here(module, _OTHER_NAMES.get(name, name))
        if found is None:
            raise LoadError(f"the file holds a {module}.{name}, which load() has no reading of")
        return found
    path = path_here(module)
    where = sys.modules.get(path)
    if where is None:
        raise LoadError(
            f"the file holds a {module}.{name}, and no module {module!r} is imported: load() runs no code and imports "
            f"nothing. Import {module!r}, or define the class in your script, before load()"
        )
    found = where.__dict__.get(name)
    if found is None:
        raise LoadError(
            f"the file holds a {module}.{name}, and {module!r} has no {name}: define it there, or import it, before "
            "load()"
        )
    why = why_not(found)
    if why:
        raise LoadError(f"the file holds a {module}.{name}, which load() doesn't take: {why}")
    return found


def _find_here(module: str, name: str) -> Any:
    """The class of modules, or the function on tensors, that PyTorch has under a name."""
    for path, space in _FUNCTIONS:
        if module == path and _on_tensors(found := vars(space).get(name)):
            return found
    if module.startswith("torch.nn."):
        found = vars(linear if name == "NonDynamicallyQuantizableLinear" else nn).get(name)
        if isinstance(found, type) and issubclass(found, Module):
            return found
    return None


def _on_tensors(item: Any) -> bool:
    if isinstance(item, types.FunctionType):
        return item.__module__.startswith(("rushlight.nn.", "rushlight.tensor."))
    return isinstance(item, Operation)


_CODE = (
    "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__del__",
    "__getattribute__", "__class__",
)  # fmt: skip


def _static(kind: type, name: str) -> Any:
    """What a class has under a name, as it stands there: getattr would call what is computed."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def why_not(item: Any) -> str:
    """Why a class or function of another package isn't one that a file may name; "" where it is."""
    if item is argparse.Namespace or item is types.SimpleNamespace:
        return ""
    if not isinstance(item, type | types.FunctionType):
        return "it is neither a class nor a function written in Python"
    if of_user(item) or (isinstance(item, type) and issubclass(item, Module)):
        return ""
    return "it is neither a module (nn.Module) nor of your own code"


def why_not_made(kind: type) -> str:
    """Why a file can't hold an object of a class: it couldn't be read without running code. "" where it can."""
    why = why_not(kind)
    if why or kind is argparse.Namespace or kind is types.SimpleNamespace:
        return why
    for method in _CODE:
        own = _static(kind, method)
        if own is not None and own is not _static(object, method) and own is not _static(Module, method):
            return f"its class defines {method}, which reading it would call"
    try:
        object.__new__(kind)
    except TypeError:
        return "it is more than its attributes"
    return ""


def spelled(item: Any) -> tuple[str, str] | None:
    """The module and name under which a file names a class or function; None for what it can't name.

    Raises SaveError for those that have no name by which they could be found.
    """
    if isinstance(item, Operation | types.FunctionType):
        name = item.name if isinstance(item, Operation) else item.__name__
        for path, space in _FUNCTIONS:
            if vars(space).get(name) is item:
                return path, name
    if not isinstance(item, type | types.FunctionType):
        return None
    module, name = item.__module__ or "", item.__qualname__
    if "<locals>" in name or "<lambda>" in name:
        what = f"local object '{name}'" if "<locals>" in name else f"{item!r}"
        raise SaveError(f"Can't pickle {what}: define it at the top of a module, by a name of its own")
    if isinstance(item, type) and issubclass(item, Module) and module.partition(".")[0] in PACKAGES:
        return path_of_class(item), name
    found = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    if found is not item:
        raise SaveError(f"Can't pickle {item!r}: it's not found as {module}.{name}, at the top of that module")
    why = why_not(item)
    if why:
        raise SaveError(f"Can't pickle {item!r}: {why}")
    return module, name


# Attributes


def attributes_of(instance: Any) -> dict[str, Any]:
    """The attributes of an object as a file has them: a module's are those that PyTorch's class has.

    Raises SaveError where load couldn't make the object from them.
    """
    kind = type(instance)
    attributes: dict[str, Any] = vars(instance)
    if not isinstance(instance, Module):
        return attributes
    if any(attributes[name] for name in _OUR_HOOKS):
        raise SaveError(f"can't save a {kind.__name__} with hooks: remove them, handle.remove(), or save state_dict()")
    if getattr(kind, "has_uninitialized_params", None) is not None:
        raise SaveError(f"can't save a {kind.__name__} before its first call, which gives its parameters their shapes")
    state = {name: attributes[name] for name in ("training", "_parameters", "_buffers", "_non_persistent_buffers_set")}
    state |= {name: OrderedDict() for name in _HOOKS} | {"_is_full_backward_hook": None}
    state |= {name: value for name, value in attributes.items() if name not in _OURS_ALONE}
    state |= instance._attributes_in_pytorch()
    return state


def _attributes_here(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a module, from those in a file, checked."""
    for name in _HOOKS:
        if state.get(name):
            raise LoadError(f"the file holds a {_full(kind)} with hooks, which are code")
    left_out = {*_HOOKS, "_is_full_backward_hook", *_OURS_ALONE}
    found = {
        name: value
        for name, value in state.items()
        if name not in left_out and not isinstance(_static(kind, name), property)
    }
    for store, wanted in _STORES.items():
        members = found.setdefault(store, {})
        if not isinstance(members, dict) or not all(
            type(name) is str and (member is None or isinstance(member, wanted)) for name, member in members.items()
        ):
            raise LoadError(f"the {store} of a {_full(kind)} aren't a dict of {wanted.__name__}s")
        found[store] = dict(members)
    if type(found.setdefault("training", True)) is not bool:
        raise LoadError(f"a {_full(kind)} is neither in training mode nor in evaluation mode")
    if not isinstance(found.setdefault("_non_persistent_buffers_set", set()), set):
        raise LoadError(f"a {_full(kind)} has something else than a set of buffers that aren't saved")
    return found
