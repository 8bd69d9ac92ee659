"""Parameters that are computed from others, by modules, whenever they are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rushlight.autograd.modes import no_grad
from rushlight.nn.modules.container import ModuleDict, ModuleList
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.tensor.tensor import Tensor

M = TypeVar("M", bound=Module)


class _Cache(threading.local):
    """What `cached()` keeps in this thread: values by the list of parametrizations that made them."""

    depth = 0
    values: dict[int, Tensor] | None = None


_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Within it, each parametrized tensor is computed once, however often it is read."""
    _cache.depth += 1
    if _cache.values is None:
        _cache.values = {}
    try:
        yield
    finally:
        _cache.depth -= 1
        if not _cache.depth:
            _cache.values = None


class ParametrizationList(ModuleList):
    """The modules that a tensor passes through one after the other, and the original that it begins with.

    Where the last module's `right_inverse` gives several tensors, the originals are `original0`, `original1` ...
    """

    def __init__(self, modules: list[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            start: Any = original
            for module in reversed(modules):
                if hasattr(module, "right_inverse"):
                    start = module.right_inverse(start)
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        for name, tensor in zip(self._names(), (start,) if self.is_tensor else start, strict=True):
            if tensor is original and isinstance(original, Parameter):
                self.register_parameter(name, original)
            elif isinstance(original, Parameter):
                self.register_parameter(name, Parameter(tensor, original.requires_grad))
            else:
                self.register_buffer(name, tensor)
        if not unsafe:
            with no_grad():
                made = self()
            if not isinstance(made, Tensor) or made.dtype is not original.dtype or made.shape != original.shape:
                raise ValueError(
                    "The parametrization should keep shape and dtype of the tensor, "
                    f"{tuple(original.shape)} and {original.dtype}; unsafe=True skips this check."
                )

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals so that the parametrization gives `value`; each module must have a `right_inverse`."""
        with no_grad():
            start: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                start = module.right_inverse(start)
            for name, tensor in zip(self._names(), (start,) if self.is_tensor else start, strict=True):
                getattr(self, name).data = tensor

    def forward(self) -> Tensor:
        originals = [getattr(self, name) for name in self._names()]
        value: Tensor = self[0](*originals)
        for module in list(self)[1:]:
            value = module(value)
        return value


def _parametrized_class(module: Module) -> None:
    """Gives `module` a class of its own, whose properties compute the parametrized tensors."""
    base = type(module)
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), {"__module__": base.__module__})


def _property(name: str) -> property:
    def read(self: Module) -> Tensor:
        steps: Any = self.parametrizations[name]
        if _cache.values is None:
            return steps()
        if id(steps) not in _cache.values:
            _cache.values[id(steps)] = steps()
        return _cache.values[id(steps)]

    def write(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether any tensor of `module`, or the one named, is parametrized."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def type_before_parametrizations(module: Module) -> type:
    """The class that `module` had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def register_parametrization(module: M, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> M:
    """Makes the parameter or buffer `tensor_name` of `module` the result of `parametrization(original)`.

    Called again, it adds a further step behind. A `right_inverse(value)` of the parametrization gives the original (or
    several) that it starts from, and makes the tensor assignable. unsafe: shape and dtype may change.

    Example:
        >>> class Symmetric(nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).mT
        >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
        >>> torch.equal(layer.weight, layer.weight.mT)
        True

    Raises ValueError for a name that is no parameter or buffer, or a result of another shape or dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        steps: Any = module.parametrizations[tensor_name]
        before = getattr(module, tensor_name)
        with no_grad():
            made = parametrization(before)
            if not unsafe and (made.shape != before.shape or made.dtype is not before.dtype):
                raise ValueError("The parametrization should keep shape and dtype of the tensor.")
        steps.append(parametrization)
        return module
    original = module._parameters.get(tensor_name)
    if original is None:
        original = module._buffers.get(tensor_name)  # type: ignore[assignment]
    if original is None:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized '{tensor_name}'")
    steps = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _parametrized_class(module)
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = steps
    return module


def remove_parametrizations(module: M, tensor_name: str, leave_parametrized: bool = True) -> M:
    """Makes `tensor_name` a plain parameter or buffer again: with the value that it has, or that of the original.

    Raises ValueError where it isn't parametrized, or where there are several originals to leave.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {type(module).__name__} does not have a parametrization on {tensor_name}")
    steps: Any = module.parametrizations[tensor_name]
    if not leave_parametrized and not steps.is_tensor:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    original = getattr(steps, steps._names()[0])
    value = original
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name)
        if steps.is_tensor:
            original.data = value.detach()
            value = original
        elif isinstance(original, Parameter):
            value = Parameter(value.detach(), original.requires_grad)
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if isinstance(value, Parameter):
        module.register_parameter(tensor_name, value)
    else:
        module.register_buffer(tensor_name, value)
    if not len(module.parametrizations):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module
