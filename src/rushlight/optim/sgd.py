"""Stochastic gradient descent, and its average."""

from __future__ import annotations

from typing import Any

from rushlight.ops.optimizer import asgd_update, sgd_update
from rushlight.optim.optimizer import Optimizer, Parameters, by_step, by_values, gradients_of, refuse_negative
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

    _repeats = True

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


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992).

    The step lr / (1 + lambd lr t)^alpha shrinks; `state[parameter]["ax"]` is the average of the parameter since step
    t0.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        lambd, alpha: how the step shrinks.
        t0: the step that the average begins at.
        weight_decay: L2 penalty.
        foreach, differentiable, capturable: taken for compatibility.
        maximize: goes up instead of down.

    Raises ValueError for negative settings.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        refuse_negative(lr=lr, weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        from rushlight import tensor

        lr, lambd, alpha, t0 = (float(group[name]) for name in ("lr", "lambd", "alpha", "t0"))
        for p in parameters:
            if not self.state[p]:
                zero = {"step": tensor(0.0), "eta": tensor(lr), "mu": tensor(1.0)}
                self.state[p].update(zero, ax=p.detach().new_zeros(p.shape))
        states = [self.state[p] for p in parameters]
        for step, positions in by_step(states, parameters):
            for (eta, mu), alike in by_values(states, positions, "eta", "mu"):
                chosen = [parameters[i] for i in alike]
                asgd_update(
                    chosen,
                    gradients_of(chosen),
                    [states[i]["ax"] for i in alike],
                    eta=eta,
                    mu=mu,
                    lambd=lambd,
                    weight_decay=float(group["weight_decay"]),
                    maximize=group["maximize"],
                )
            for i in positions:
                state = states[i]
                state["eta"].array[...] = lr / (1 + lambd * lr * step) ** alpha
                state["mu"].array[...] = 1 / max(1.0, step - t0)
