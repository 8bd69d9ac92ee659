"""Muon, for the matrices of hidden layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rushlight.ops.optimizer import muon_update
from rushlight.optim.optimizer import Optimizer, Parameters, gradients_of, refuse_negative
from rushlight.tensor import Tensor

_ADJUSTMENTS: dict[str, Callable[[int, int], float]] = {
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


class Muon(Optimizer):
    """Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).

    Args:
        params: matrices, or groups of them; biases, embeddings and the like are for another optimizer.
        lr: learning rate.
        weight_decay: how much of the parameter goes with each step, times lr.
        momentum: decay rate of the running average of the gradient.
        nesterov: Nesterov's momentum.
        ns_coefficients: of the polynomial that makes the average orthogonal.
        eps: the least norm that the average is divided by.
        ns_steps: how often the polynomial is applied, less than 100.
        adjust_lr_fn: "original" (the default) multiplies lr by sqrt(max(1, rows / columns)), "match_rms_adamw" by
            0.2 sqrt(max(rows, columns)), so that AdamW's settings serve.

    Raises ValueError for settings out of range and for parameters that aren't matrices.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        refuse_negative(lr=lr, weight_decay=weight_decay, momentum=momentum)
        if adjust_lr_fn is not None and adjust_lr_fn not in _ADJUSTMENTS:
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported: use one of {', '.join(_ADJUSTMENTS)}"
            )
        if ns_steps >= 100:
            raise ValueError(f"Number of steps must be less than 100, got ns_steps={ns_steps}")
        if len(ns_coefficients) != 3:
            raise ValueError(f"Coefficients must be a tuple of exactly 3 values, got {ns_coefficients}")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; ValueError where one of its parameters isn't a matrix."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {parameter.size()}; "
                    "give biases and the like to another optimizer, such as AdamW"
                )

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        lr = float(group["lr"])
        adjustment = _ADJUSTMENTS[group["adjust_lr_fn"] or "original"]
        settings = {
            "decay": lr * group["weight_decay"],
            "momentum": float(group["momentum"]),
            "nesterov": group["nesterov"],
            "coefficients": tuple(group["ns_coefficients"]),
            "steps": group["ns_steps"],
            "eps": float(group["eps"]),
        }
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = parameter.detach().new_zeros(parameter.shape)
            adjusted = lr * adjustment(*parameter.shape)
            muon_update(
                [parameter], gradients_of([parameter]), [state["momentum_buffer"]], lr=adjusted, **settings
            )  # fmt: skip
