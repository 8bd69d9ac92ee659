"""Pruning: weights set to zero by masks, which a module multiplies its original weights with before each call.

A pruned parameter `weight` becomes `weight_orig`, beside a buffer `weight_mask`; `weight` itself is their product.
`remove` makes the pruning permanent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn.modules.module import Module
from rushlight.nn.utils.vectors import parameters_to_vector
from rushlight.tensor import creation
from rushlight.tensor.random import rand
from rushlight.tensor.tensor import Tensor

# Methods


class BasePruningMethod:
    """A way of pruning. A subclass says its `PRUNING_TYPE` and defines `compute_mask(t, default_mask)`.

    PRUNING_TYPE is "unstructured" (single weights), "structured" (slices along a dimension) or "global".
    """

    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for `t`, of ones and zeros, from the one that there is."""
        raise NotImplementedError(f"{type(self).__name__} has no compute_mask()")

    def apply_mask(self, module: Module) -> Tensor:
        """The original weights times the mask."""
        mask = getattr(module, f"{self._tensor_name}_mask")
        original: Tensor = getattr(module, f"{self._tensor_name}_orig")
        return mask.to(original.dtype) * original

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> Any:
        """Prunes the parameter `name` of `module`, after whatever pruned it before; returns the method at work."""
        before = _hook_of(module, name)
        if before is not None:
            del module._forward_pre_hooks[before[0]]
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        if before is not None:
            container = before[1] if isinstance(before[1], PruningContainer) else PruningContainer(before[1])
            container.add_pruning_method(method)
            method = container
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise ShapeError(
                f"importance_scores should have the same shape as parameter {name} of {module}: {tuple(scores.shape)} "
                f"and {tuple(original.shape)}"
            )
        if before is None:
            parameter = module._parameters[name]
            del module._parameters[name]
            module.register_parameter(f"{name}_orig", parameter)
            default = creation.ones_like(original.detach())
        else:
            default = getattr(module, f"{name}_mask").detach().clone()
        try:
            mask = method.compute_mask(scores.detach(), default)
        except Exception:
            if before is None:
                module.register_parameter(name, module._parameters.pop(f"{name}_orig"))
            else:
                module.register_forward_pre_hook(before[1])
            raise
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A pruned copy of the tensor `t`."""
        scores = t if importance_scores is None else importance_scores
        default = creation.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default)

    def remove(self, module: Module) -> None:
        """Makes the pruning of `module` permanent: the parameter has its name again, and its zeros."""
        name = self._tensor_name
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(f"{name}_orig")
        assert original is not None
        original.data = pruned.data
        del module._buffers[f"{name}_mask"]
        module.register_parameter(name, original)


class PruningContainer(BasePruningMethod):
    """Several methods that prune one parameter, one after the other."""

    def __init__(self, *methods: Any) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        several = methods[0] if len(methods) == 1 and isinstance(methods[0], Iterable) else methods
        for method in several:
            if not self._pruning_methods:
                self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """Adds a method, which prunes what the former ones left."""
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None:
            if self._tensor_name != method._tensor_name:
                raise ValueError(
                    f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to this "
                    f"PruningContainer. Found '{method._tensor_name}'"
                )
            self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method: Any = self._pruning_methods[-1]
        mask = default_mask.to(t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            chosen: Any = mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.dim()
            others = tuple(d for d in range(t.dim()) if d != dim)
            kept = mask.sum(others) != 0
            chosen = (*(slice(None),) * dim, kept)
        elif method.PRUNING_TYPE == "global":
            chosen = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        result = mask.clone()
        result[chosen] = method.compute_mask(t[chosen], mask[chosen])
        return result


class Identity(BasePruningMethod):
    """Prunes nothing: makes the mask and the names."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Unstructured(BasePruningMethod):
    """Prunes weights, whatever their places: `amount` is their number, or a fraction."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        self.amount = _checked(amount)

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        """The places, in the flattened weights, of those that go."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = _count(self.amount, t.nelement())
        mask = default_mask.clone()
        if count:
            mask.view(-1)[self._chosen(t, count)] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes weights at random: `amount` is their number, or a fraction."""

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        return rand(t.shape).view(-1).topk(count)[1]


class L1Unstructured(_Unstructured):
    """Prunes the smallest weights: `amount` is their number, or a fraction."""

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        return t.abs().view(-1).topk(count, largest=False)[1]


class _Structured(BasePruningMethod):
    PRUNING_TYPE = "structured"
    amount: float
    dim: int

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.dim() < 2:
            raise ValueError(
                f"Structured pruning can only be applied to multidimensional tensors. Found tensor of shape {t.shape} "
                f"with {t.dim()} dims"
            )
        if self.dim >= t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        count = _count(self.amount, t.shape[self.dim])
        if not count:
            return default_mask
        kept = self._kept(t, t.shape[self.dim] - count)
        mask = creation.zeros_like(t)
        mask[(*(slice(None),) * (self.dim % t.dim()), kept)] = 1
        return mask * default_mask.to(mask.dtype)

    def _kept(self, t: Tensor, count: int) -> Tensor:
        raise NotImplementedError


class RandomStructured(_Structured):
    """Prunes slices along `dim` at random: `amount` is their number, or a fraction."""

    def __init__(self, amount: float, dim: int = -1) -> None:
        self.amount = _checked(amount)
        self.dim = dim

    def _kept(self, t: Tensor, count: int) -> Tensor:
        chances = rand(t.shape[self.dim])
        return chances.topk(count)[1]


class LnStructured(_Structured):
    """Prunes the slices along `dim` that are smallest in their n-norm: `amount` is their number, or a fraction."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        self.amount = _checked(amount)
        self.n = n
        self.dim = dim

    def _kept(self, t: Tensor, count: int) -> Tensor:
        others = tuple(d for d in range(t.dim()) if d != self.dim % t.dim())
        return t.norm(p=self.n, dim=others).topk(count)[1]


class CustomFromMask(BasePruningMethod):
    """Prunes by a mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(default_mask.dtype)


# Functions


def identity(module: Module, name: str) -> Module:
    """Makes the mask and the names of a pruning of `module.name` that prunes nothing."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prunes weights of `module.name` at random: `amount` is their number, or a fraction."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prunes the smallest weights of `module.name`: `amount` is their number, or a fraction."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prunes slices of `module.name` along `dim` at random: `amount` is their number, or a fraction."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prunes the slices of `module.name` along `dim` that are smallest in their n-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prunes `module.name` by a mask of ones and zeros."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prunes several parameters, given as (module, name), as if they were one: `amount` is of all together."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    parameters = list(parameters)
    scores = importance_scores or {}
    values = parameters_to_vector([scores.get((m, n), getattr(m, n)).detach() for m, n in parameters])
    masks = parameters_to_vector(
        [getattr(m, f"{n}_mask", creation.ones_like(getattr(m, n).detach())) for m, n in parameters]
    )
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if getattr(method, "PRUNING_TYPE", None) != "unstructured":
        raise TypeError(f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found {pruning_method}')
    container.add_pruning_method(method)
    final = container.compute_mask(values, masks)
    begin = 0
    for module, name in parameters:
        parameter = getattr(module, name)
        count = parameter.numel()
        custom_from_mask(module, name, final[begin : begin + count].view_as(parameter))
        begin += count


def remove(module: Module, name: str) -> Module:
    """Makes the pruning of `module.name` permanent. Raises ValueError where it isn't pruned."""
    found = _hook_of(module, name)
    if found is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    found[1].remove(module)
    del module._forward_pre_hooks[found[0]]
    return module


def is_pruned(module: Module) -> bool:
    """Whether anything in `module` is pruned."""
    return any(
        isinstance(hook, BasePruningMethod) for part in module.modules() for hook in part._forward_pre_hooks.values()
    )


def _hook_of(module: Module, name: str) -> tuple[int, BasePruningMethod] | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return key, hook
    return None


def _checked(amount: float) -> float:
    """An amount: a count, or a fraction from 0 to 1. Raises TypeError or ValueError for others."""
    if not isinstance(amount, (int, float)):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if (isinstance(amount, int) and amount < 0) or (isinstance(amount, float) and not 0.0 <= amount <= 1.0):
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
    return amount


def _count(amount: float, size: int) -> int:
    if isinstance(amount, int):
        if amount > size:
            raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
        return amount
    return round(amount * size)
