"""Weights that are computed from other parameters before each call: weight normalisation, spectral normalisation."""

from __future__ import annotations

from typing import Any, TypeVar

from rushlight.autograd.modes import no_grad
from rushlight.nn.functional.distance import normalize
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.linear import matmul
from rushlight.tensor.random import randn
from rushlight.tensor.tensor import Tensor

M = TypeVar("M", bound=Module)


class _Weight:
    """A forward pre-hook that computes the attribute `name` of its module."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = dim

    def __call__(self, module: Module, _: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def compute(self, module: Module) -> Tensor:
        raise NotImplementedError


def _attach(module: Module, hook: _Weight) -> None:
    for other in module._forward_pre_hooks.values():
        if isinstance(other, type(hook)) and other.name == hook.name:
            raise RuntimeError(f"Cannot register two {type(hook).__name__} hooks on the same parameter {hook.name}")
    module.register_forward_pre_hook(hook)


def _detach(module: Module, kind: type[_Weight], name: str) -> Any:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            del module._forward_pre_hooks[key]
            return hook
    raise ValueError(f"{kind.__name__} of '{name}' not found in {module}")


class WeightNorm(_Weight):
    """The hook of `weight_norm`."""

    def norm(self, v: Tensor) -> Tensor:
        """The norm of each slice along `dim`, with its dimensions kept; of the whole where dim is None."""
        if self.dim is None:
            return v.norm()
        dim = self.dim % v.ndim
        return v.norm(2, tuple(d for d in range(v.ndim) if d != dim), True)

    def compute(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / self.norm(v))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Replaces the parameter `name` by its direction `name_v` and its norm `name_g` for each index of `dim`.

    dim: None for one norm of the whole. (Salimans and Kingma, Weight normalization, 2016)
    """
    hook = WeightNorm(name, None if dim == -1 else dim)
    _attach(module, hook)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(hook.norm(weight).detach().clone()))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute(module))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Makes `name` a parameter again, with the value that it has now."""
    hook = _detach(module, WeightNorm, name)
    weight = hook.compute(module)
    for part in (name, f"{name}_g", f"{name}_v"):
        delattr(module, part)
    setattr(module, name, Parameter(weight.detach()))
    return module


class SpectralNorm(_Weight):
    """The hook of `spectral_norm`."""

    def __init__(self, name: str, dim: int, iterations: int, eps: float) -> None:
        super().__init__(name, dim)
        self.iterations = iterations
        self.eps = eps

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight with dimension `dim` as rows and all others as columns."""
        assert self.dim is not None
        return weight.movedim(self.dim, 0).reshape((weight.shape[self.dim], -1))

    def __call__(self, module: Module, _: Any) -> None:
        setattr(module, self.name, self.compute(module, iterate=module.training))

    def compute(self, module: Module, iterate: bool = False) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.matrix(weight)
        if iterate:
            with no_grad():
                for _ in range(self.iterations):
                    v.copy_(normalize(matmul(matrix.t(), u), dim=0, eps=self.eps))
                    u.copy_(normalize(matmul(matrix, v), dim=0, eps=self.eps))
                # The backward pass keeps the vectors of this call; the next one overwrites the buffers.
                u, v = u.clone(), v.clone()
        sigma = (u * matmul(matrix, v)).sum()
        return weight / sigma


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divides the parameter `name` by its largest singular value, found by power iteration in training.

    dim: the dimension of the outputs; 0, and 1 for transposed convolutions. (Miyato et al., Spectral normalization for
    generative adversarial networks, 2018)
    """
    if n_power_iterations <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    hook = SpectralNorm(name, dim, n_power_iterations, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    _attach(module, hook)
    matrix = hook.matrix(weight)
    with no_grad():
        u = normalize(randn(matrix.shape[0], dtype=weight.dtype), dim=0, eps=eps)
        v = normalize(randn(matrix.shape[1], dtype=weight.dtype), dim=0, eps=eps)
    del module._parameters[name]
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Makes `name` a parameter again, with the value that it has now."""
    hook = _detach(module, SpectralNorm, name)
    with no_grad():
        weight = hook.compute(module)
    for part in (name, f"{name}_u", f"{name}_v", f"{name}_orig"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight.detach()))
    return module
