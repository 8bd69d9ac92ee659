"""Resilient backpropagation."""

from __future__ import annotations

from typing import Any

from rushlight.ops.optimizer import rprop_update
from rushlight.optim.optimizer import Optimizer, Parameters, by_step, gradients_of, refuse_negative
from rushlight.tensor import Tensor


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller and Braun, 1993): each element has its own step, of the gradient's sign.

    The step grows by etas[1] where the sign of the gradient stayed, and shrinks by etas[0] where it changed.

    Args:
        params: parameters, or groups of them.
        lr: the first step.
        etas: the factors.
        step_sizes: the smallest and the largest step.
        capturable, foreach, differentiable: taken for compatibility.
        maximize: goes up instead of down.

    Raises ValueError for factors that aren't below and above 1.
    """

    _repeats = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        refuse_negative(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _create(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
        from rushlight import tensor

        state = self.state[parameter]
        state["step"] = tensor(0.0)
        state["prev"] = parameter.detach().new_zeros(parameter.shape)
        state["step_size"] = parameter.detach().new_full(parameter.shape, float(group["lr"]))
        return state

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        states = [self.state[p] or self._create(group, p) for p in parameters]
        settings = {
            "shrink": float(group["etas"][0]),
            "grow": float(group["etas"][1]),
            "smallest": float(group["step_sizes"][0]),
            "largest": float(group["step_sizes"][1]),
            "maximize": group["maximize"],
        }
        for _, positions in by_step(states, parameters):
            chosen = [parameters[i] for i in positions]
            previous, sizes = ([states[i][name] for i in positions] for name in ("prev", "step_size"))
            rprop_update(chosen, gradients_of(chosen), previous, sizes, **settings)
