"""Time for memory: what a function computed is forgotten, and computed again when its gradient is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rushlight.autograd import Function, backward
from rushlight.autograd.modes import enable_grad, no_grad
from rushlight.tensor.creation import zeros
from rushlight.tensor.random import get_rng_state, set_rng_state
from rushlight.tensor.tensor import Tensor


class _Recomputed(Function):
    """`function(*args, **kwargs)`; `anchor` makes it part of the graph where only parameters require gradients."""

    @staticmethod
    def forward(ctx: Any, function: Any, kwargs: Any, preserve_rng_state: bool, anchor: Tensor, *args: Any) -> Any:
        ctx.function, ctx.kwargs, ctx.args = function, kwargs, args
        ctx.random = get_rng_state() if preserve_rng_state else None
        with no_grad():
            return function(*args, **kwargs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inputs = [a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in ctx.args]
        now = get_rng_state()
        if ctx.random is not None:
            set_rng_state(ctx.random)
        with enable_grad():
            results = ctx.function(*inputs, **ctx.kwargs)
        if ctx.random is not None:
            set_rng_state(now)
        results = results if isinstance(results, tuple) else (results,)
        pairs = [
            (r, g)
            for r, g in zip(results, gradients, strict=True)
            if isinstance(r, Tensor) and r.requires_grad and g is not None
        ]
        if pairs:
            backward([r for r, _ in pairs], [g for _, g in pairs])
        return (None,) * 4 + tuple(i.grad if isinstance(i, Tensor) else None for i in inputs)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, keeping for the backward pass only `args`: the rest is computed again there.

    preserve_rng_state: dropout drops the same elements both times. use_reentrant: taken for compatibility.
    """
    anchor = zeros(()).requires_grad_()
    return _Recomputed.apply(function, kwargs, preserve_rng_state, anchor, *args)


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]], segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions, one after the other, in `segments` checkpoints of about the same number; the last runs plainly."""
    steps = list(functions)
    size = len(steps) // segments

    def run(part: list[Callable[..., Any]]) -> Callable[[Any], Any]:
        def chained(value: Any) -> Any:
            for step in part:
                value = step(value)
            return value

        return chained

    for start in range(0, size * (segments - 1), size or 1):
        input = checkpoint(run(steps[start : start + size]), input, use_reentrant=use_reentrant, **kwargs)
    return run(steps[size * (segments - 1) :])(input)
