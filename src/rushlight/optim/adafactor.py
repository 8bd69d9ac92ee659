"""Adafactor, which keeps a row and a column for each matrix where others keep matrices."""

from __future__ import annotations

from typing import Any

from rushlight import dtypes
from rushlight.ops.optimizer import adafactor_update
from rushlight.optim.optimizer import Optimizer, Parameters, by_step, gradients_of, refuse_negative
from rushlight.tensor import Tensor
from rushlight.tensor.limits import finfo


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018).

    Args:
        params: parameters, or groups of them.
        lr: the largest size of a step in proportion to its parameter, which is min(lr, 1 / sqrt(step)); and the factor
            of the weight decay.
        beta2_decay: the running averages of squares forget by step**beta2_decay.
        eps: what the averages are at least, None for the dtype's own eps; and the root mean square of a parameter that
            its step is in proportion to at least.
        d: the root mean square above which a step is scaled down.
        weight_decay: how much of the parameter goes with each step, times lr.
        foreach: taken for compatibility.
        maximize: goes up instead of down.

    Raises ValueError for settings out of range.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        refuse_negative(lr=lr, weight_decay=weight_decay, epsilon1=eps[0] or 0.0, epsilon2=eps[1])
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _create(self, parameter: Tensor) -> dict[str, Any]:
        from rushlight import tensor

        state = self.state[parameter]
        state["step"] = tensor(0.0)
        shape = tuple(parameter.shape)
        if parameter.ndim > 1:
            state["row_var"] = parameter.detach().new_zeros((*shape[:-1], 1))
            state["col_var"] = parameter.detach().new_zeros((*shape[:-2], 1, shape[-1]))
        else:
            state["variance"] = parameter.detach().new_zeros(shape)
        return state

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        states = [self.state[p] or self._create(p) for p in parameters]
        settings = {name: float(group[name]) for name in ("lr", "beta2_decay", "weight_decay")}
        settings |= {"smallest": float(group["eps"][1]), "limit": float(group["d"]), "maximize": group["maximize"]}
        for step, positions in by_step(states, parameters):
            for matrices in (True, False):
                chosen = [i for i in positions if (parameters[i].ndim > 1) is matrices]
                if not chosen:
                    continue
                some = [parameters[i] for i in chosen]
                rows, columns, squares = (
                    [states[i][name] for i in chosen] if name in states[chosen[0]] else None
                    for name in ("row_var", "col_var", "variance")
                )
                eps = group["eps"][0]
                eps = finfo(dtypes.of_numpy(some[0].array.dtype)).eps if eps is None else float(eps)
                adafactor_update(some, gradients_of(some), rows, columns, squares, step=step, eps=eps, **settings)
