"""Tensors that a module registers when they are assigned to one of its attributes: Parameter and Buffer."""

from __future__ import annotations

import copy
from typing import Any, Self, cast

from rushlight.autograd.modes import no_grad
from rushlight.tensor.tensor import Tensor, wrap


def _sharing(cls: type[Tensor], data: Tensor | None) -> Any:
    """A tensor of class `cls` over the memory of `data`, outside its graph."""
    if data is None:
        from rushlight.tensor.creation import empty

        return wrap(empty(0).array, cls)
    if not isinstance(data, Tensor):
        raise TypeError(f"{cls.__name__}: data must be a Tensor, not {type(data).__name__}; see rushlight.tensor()")
    source = data.detach()
    instance = wrap(source.array, cls)
    instance._counter = source._counter
    return instance


def _rebuild(cls: type[Tensor], data: Tensor, requires_grad: bool, attributes: dict[str, Any]) -> Tensor:
    instance = cls(data, requires_grad) if issubclass(cls, Parameter) else cls(data)
    instance.__dict__.update(attributes)
    return instance


class Parameter(Tensor):
    """A tensor that a module trains: assigned to an attribute of a module, it appears in its `parameters()`.

    Args:
        data: the initial values; the memory is shared, not copied.
        requires_grad: whether gradients are computed for it.

    Example:
        >>> weight = nn.Parameter(torch.ones(2, 3))
        >>> weight.requires_grad
        True
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Self:
        instance = cast(Self, _sharing(cls, data))
        instance.requires_grad = requires_grad
        return instance

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass

    def __repr__(self, *args: Any, **options: Any) -> str:
        return "Parameter containing:\n" + super().__repr__(*args, **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return cast(Parameter, memo[id(self)])
        with no_grad():
            result = type(self)(self.detach().clone(), self._requires_grad)
        memo[id(self)] = result
        if self.grad is not None:
            result.grad = copy.deepcopy(self.grad, memo)
        result.__dict__.update(copy.deepcopy(_own_attributes(self), memo))
        return result

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.detach(), self._requires_grad, _own_attributes(self))


class UninitializedParameter(Parameter):
    """A parameter without a shape as yet: a lazy module gives it one, and the object is a `Parameter` from then on."""

    @property
    def shape(self) -> Any:
        """Raises RuntimeError: there is no shape before the module's first call."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Makes this a Parameter of `shape`, without values."""
        from rushlight.tensor.creation import empty

        self.array = empty(tuple(shape), device=device, dtype=dtype or self.dtype).array
        self.__class__ = Parameter  # type: ignore[assignment]

    def __repr__(self, *args: Any, **options: Any) -> str:
        return "<UninitializedParameter>"


def is_lazy(parameter: Any) -> bool:
    """Whether `parameter` waits for its shape."""
    return isinstance(parameter, UninitializedParameter)


class Buffer(Tensor):
    """A tensor that belongs to a module's state and isn't trained: assigned to an attribute, it becomes a buffer.

    Args:
        data: the initial values; the memory is shared, not copied.
        persistent: whether it is part of the module's `state_dict`.
    """

    persistent: bool = True

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Self:
        instance = cast(Self, _sharing(cls, data))
        instance.persistent = persistent
        return instance

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), persistent=self.persistent)
        return cast(Buffer, memo[id(self)])

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.detach(), False, {"persistent": self.persistent})


def _own_attributes(tensor: Tensor) -> dict[str, Any]:
    """The attributes that the user put on a tensor: what isn't part of every Tensor."""
    known = Tensor.__dict__.keys() | Tensor.__annotations__.keys()
    return {name: value for name, value in tensor.__dict__.items() if name not in known}
