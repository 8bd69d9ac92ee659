"""Runs the same code eager and compiled, from the same seed, and compares all that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import rushlight as rl
from rushlight import nn
from rushlight.nn import functional as F
from rushlight.tensor.tensor import Tensor

TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1}


def numbers(*shape: int, seed: int = 0) -> rl.Tensor:
    return rl.randn(*shape, generator=rl.Generator().manual_seed(seed))


def classes(count: int, *shape: int, seed: int = 0) -> rl.Tensor:
    return rl.randint(0, count, shape, generator=rl.Generator().manual_seed(seed))


def batch(number: int, size: int = 6) -> tuple[rl.Tensor, rl.Tensor]:
    """Inputs and classes for `mlp`."""
    return numbers(size, 4, seed=number), classes(3, size, seed=number)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def step_of(
    net: nn.Module, optimizer: Any, loss: Callable[..., Any] = F.cross_entropy, max_norm: float | None = None
) -> Callable[..., Any]:
    """A training step as it is usually written; max_norm: its gradients are clipped to that."""

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        result = loss(net(x), y)
        result.backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(net.parameters(), max_norm)
        optimizer.step()
        return result

    return step


def bits_of(tensors: Iterable[rl.Tensor]) -> list[bytes]:
    """The memory of each of the tensors, which may be results of differentiable operations."""
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


def values(item: Any) -> Any:
    """A copy of nested results, with arrays in the place of tensors."""
    if isinstance(item, Tensor):
        return item.array.copy()
    if isinstance(item, (list, tuple)):
        return [values(entry) for entry in item]
    if isinstance(item, dict):
        return {key: values(entry) for key, entry in item.items()}
    return item


def state_of(holder: Any) -> Any:
    """Everything that a training step changes in a module, an optimizer or a tensor."""
    if isinstance(holder, nn.Module):
        gradients = {name: p.grad for name, p in holder.named_parameters()}
        return values({**holder.state_dict(), "gradients": gradients, "training": holder.training})
    if isinstance(holder, rl.optim.Optimizer):
        return values(holder.state_dict())
    if isinstance(holder, Tensor):
        return values([holder, holder.grad])
    return values(holder)


def check_same(found: Any, expected: Any, what: str = "result") -> None:
    """Asserts that two nested structures are equal, floating numbers to rounding."""
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray), what
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
        name = str(expected.dtype)
        if name in TOLERANCE:
            a, b = found.astype(np.float64), expected.astype(np.float64)
            finite = b[np.isfinite(b)]
            scale = float(np.abs(finite).max()) if finite.size else 1.0
            tolerance = TOLERANCE[name]
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1.0), err_msg=what)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=what)
    elif isinstance(expected, dict):
        assert list(found) == list(expected), what
        for key, entry in expected.items():
            check_same(found[key], entry, f"{what}[{key!r}]")
    elif isinstance(expected, list):
        assert len(found) == len(expected), what
        for position, entry in enumerate(expected):
            check_same(found[position], entry, f"{what}[{position}]")
    elif isinstance(expected, float):
        assert found == expected or abs(found - expected) <= 1e-5 * abs(expected), what
    else:
        assert type(found) is type(expected) and found == expected, what


def same_as_eager(
    build: Callable[..., Any],
    inputs: Callable[[int], tuple[Any, ...]] = lambda number: (),
    calls: int = 4,
    between: Callable[..., None] | None = None,
    traced: int | None = 1,
) -> Any:
    """Asserts that a function does the same compiled as eager, over several calls.

    build: makes everything anew and returns the function, followed by all that it changes.
    inputs: the arguments of the call with this number.
    between: is called after each call with its number and what `build` returned.
    traced: how often the function may be traced, where that is known.
    """
    runs = []
    for compiled in (False, True):
        rl.manual_seed(0)
        function, *holders = build()
        called = rl.compile(function) if compiled else function
        results = []
        for number in range(calls):
            results.append(values(called(*inputs(number))))
            results.append([state_of(holder) for holder in holders])
            if between is not None:
                between(number, function, *holders)
        runs.append([results, values(rl.get_rng_state())])
        if compiled:
            info = called.cache_info()
            assert info.hits + info.misses == calls
            assert traced is None or info.misses == traced, info
            if traced == 1:
                assert called.graph()
    check_same(runs[1], runs[0])
    return called
