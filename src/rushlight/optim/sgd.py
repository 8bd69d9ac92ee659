"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from rushlight.ops.optimizer import sgd_update
from rushlight.optim.optimizer import Optimizer, Parameters, gradients_of, refuse_negative
from rushlight.tensor import Tensor


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum as in Sutskever et al., "On the importance of initialization and
    momentum in deep learning" (2013).

    With the gradient g (plus weight_decay times the parameter), the buffer becomes
    :math:`b = momentum \cdot b + (1 - dampening) g` (at first g), and the parameter moves by -lr times b, with
    `nesterov` by -lr times (g + momentum b).

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        momentum, dampening, weight_decay, nesterov, maximize: as above; `maximize` goes up instead of down.
        foreach, differentiable, fused: taken for compatibility; all parameters are always moved in one call.

    Raises ValueError for negative settings, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        settings = {
            "lr": float(group["lr"]),
            "momentum": float(group["momentum"]),
            "dampening": float(group["dampening"]),
            "weight_decay": float(group["weight_decay"]),
            "nesterov": group["nesterov"],
            "maximize": group["maximize"],
        }
        if not settings["momentum"]:
            sgd_update(parameters, gradients_of(parameters), None, **settings, first=False)
            return
        new = [p for p in parameters if self.state[p].get("momentum_buffer") is None]
        for p in new:
            self.state[p]["momentum_buffer"] = p.detach().new_zeros(p.shape)
        known = {id(p) for p in new}
        for first, chosen in ((True, new), (False, [p for p in parameters if id(p) not in known])):
            if chosen:
                buffers = [self.state[p]["momentum_buffer"] for p in chosen]
                sgd_update(chosen, gradients_of(chosen), buffers, **settings, first=first)
