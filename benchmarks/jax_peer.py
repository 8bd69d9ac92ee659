"""The tiny network in JAX, a whole training step under `jax.jit`, for `python -m benchmarks --jax`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workloads import TINY, Builders, Workload, normal, workload

JAX: Builders = {}


class _Weights(dict[str, Any]):
    """Parameters by the names that they have in the other libraries."""

    def state_dict(self) -> dict[str, Any]:
        return {key: _Array(value) for key, value in self.items()}

    def load_state_dict(self, arrays: dict[str, Any]) -> None:
        self.update({key: jnp.asarray(value) for key, value in arrays.items()})


class _Array:
    """What the worker asks of tensors: `numpy()`, `detach()`, `float()`."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def numpy(self) -> Any:
        return np.asarray(self.value)

    def detach(self) -> _Array:
        return self

    def __float__(self) -> float:
        return float(self.value)


class Namespace:
    """What the worker and `workloads.normal` ask of a library."""

    from_numpy = staticmethod(jnp.asarray)


@workload(TINY, JAX)
def tiny(library: Any, channels_last: bool = False) -> Workload:
    """The step of workloads.tiny; the parameters are donated, and so updated in place."""
    x, y = normal(library, 32, 4), normal(library, 32, 1, seed=1)
    shapes = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,)}
    weights = _Weights({key: jnp.zeros(shape) for key, shape in shapes.items()})

    def loss_of(w: dict[str, Any], x: Any, y: Any) -> Any:
        hidden = jax.nn.relu(x @ w["0.weight"].T + w["0.bias"])
        return jnp.mean((hidden @ w["2.weight"].T + w["2.bias"] - y) ** 2)

    def update(w: dict[str, Any], x: Any, y: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(w, x, y)
        return loss, jax.tree.map(lambda p, g: p - 0.01 * g, w, gradient)

    compiled = jax.jit(update, donate_argnums=0)

    def step() -> Any:
        loss, new = compiled(dict(weights), x, y)
        weights.update(new)
        loss.block_until_ready()
        return _Array(loss)

    return Workload([weights], step)
