"""Optimizers whose steps adapt to the gradients seen so far."""

from __future__ import annotations

from typing import Any

from rushlight.ops import optimizer as operations
from rushlight.ops.optimizer import Update
from rushlight.optim.optimizer import Optimizer, Parameters, by_step, by_values, gradients_of, refuse_negative
from rushlight.tensor import Tensor


class _Adaptive(Optimizer):
    """What these share: states made at the first step, a step count for each parameter, one update for all.

    A subclass names its `_operation`, its `_states` (in the operation's order) and what the operation takes: the
    settings that are its options as they stand, `_passed`, and whether it counts steps, `_counts`.
    """

    _operation: Update
    _states: tuple[str, ...]
    _passed: tuple[str, ...]
    _counts = False
    _repeats = True

    def __init__(self, params: Parameters, **defaults: Any) -> None:
        checked = (
            "lr", "alpha", "eps", "weight_decay", "momentum", "lr_decay", "momentum_decay", "initial_accumulator_value"
        )  # fmt: skip
        refuse_negative(**{name: defaults[name] for name in checked if name in defaults})
        for position, beta in enumerate(defaults.get("betas", ())):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {position}: {beta}; it must be in [0, 1)")
        super().__init__(params, defaults)

    def _used(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The states that the group's settings need."""
        return self._states

    def _initial(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """What a state is before the first step."""
        return parameter.detach().new_zeros(parameter.shape)

    def _options(self, group: dict[str, Any], step: int) -> dict[str, Any]:
        options: dict[str, Any] = {name: float(group[name]) for name in self._passed}
        if "betas" in group:
            options["beta1"], options["beta2"] = map(float, group["betas"])
        if "decoupled_weight_decay" in group:
            options["decoupled"] = group["decoupled_weight_decay"]
        if self._counts:
            options["step"] = step
        options["maximize"] = group["maximize"]
        return options

    def _create(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
        from rushlight import tensor

        state = self.state[parameter]
        state["step"] = tensor(0.0)
        for name in self._used(group):
            state[name] = self._initial(parameter, group)
        return state

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        used = self._used(group)
        states = [self.state[p] or self._create(group, p) for p in parameters]
        for step, positions in by_step(states, parameters):
            chosen = [parameters[i] for i in positions]
            lists = [[states[i][name] for i in positions] if name in used else None for name in self._states]
            self._operation(chosen, gradients_of(chosen), *lists, **self._options(group, step))


class Adam(_Adaptive):
    """Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015).

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        betas: decay rates of the running averages of the gradient and of its square.
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: keeps the largest running average of squares (Reddi et al., 2018).
        maximize: goes up instead of down.
        decoupled_weight_decay: AdamW's way of decay.
        foreach, capturable, differentiable, fused: taken for compatibility.

    Raises ValueError for settings out of range.
    """

    _operation = operations.adam_update
    _states = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _passed = ("lr", "eps", "weight_decay")
    _counts = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def _used(self, group: dict[str, Any]) -> tuple[str, ...]:
        return self._states if group["amsgrad"] else self._states[:2]


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): the parameter shrinks by lr * weight_decay.

    Args and errors as `Adam`.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )


class SparseAdam(_Adaptive):
    """Adam for embeddings: only the rows that were looked up move, and only their states change.

    Gradients are dense here, also those of `nn.Embedding(..., sparse=True)`: rows whose gradient is zero stay.

    Args:
        params: parameters, or groups of them.
        lr, betas, eps, maximize: as in `Adam`.

    Raises ValueError for settings out of range.
    """

    _operation = operations.sparse_adam_update
    _states = ("exp_avg", "exp_avg_sq")
    _passed = ("lr", "eps")
    _counts = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, maximize=maximize)


class RMSprop(_Adaptive):
    """RMSprop (Hinton, lecture 6 of "Neural Networks for Machine Learning", 2012); `centered` as in Graves (2013).

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        alpha: decay rate of the running average of squares.
        eps: added to the denominator.
        weight_decay: L2 penalty.
        momentum: of the steps.
        centered: divides by the variance's root instead of the second moment's.
        maximize: goes up instead of down.

    Raises ValueError for settings out of range.
    """

    _operation = operations.rmsprop_update
    _states = ("square_avg", "grad_avg", "momentum_buffer")
    _passed = ("lr", "alpha", "eps", "weight_decay", "momentum")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            alpha=alpha,
            eps=eps,
            centered=centered,
            weight_decay=weight_decay,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )

    def _used(self, group: dict[str, Any]) -> tuple[str, ...]:
        needed = {"square_avg": True, "grad_avg": group["centered"], "momentum_buffer": group["momentum"] > 0}
        return tuple(name for name in self._states if needed[name])


class Adagrad(_Adaptive):
    """Adagrad (Duchi, Hazan and Singer, "Adaptive Subgradient Methods", 2011).

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        lr_decay: the rate is divided by 1 + (step - 1) * lr_decay.
        weight_decay: L2 penalty.
        initial_accumulator_value: what the sum of squares starts from.
        eps: added to the denominator.
        maximize: goes up instead of down.

    Raises ValueError for settings out of range.
    """

    _operation = operations.adagrad_update
    _states = ("sum",)
    _passed = ("lr", "lr_decay", "eps", "weight_decay")
    _counts = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                self._create(group, parameter)

    def _initial(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        return parameter.detach().new_full(parameter.shape, group["initial_accumulator_value"])


class Adadelta(_Adaptive):
    """Adadelta (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012).

    Args:
        params: parameters, or groups of them.
        lr: factor of the step.
        rho: decay rate of the running averages of squares.
        eps: added under the roots.
        weight_decay: L2 penalty.
        maximize: goes up instead of down.

    Raises ValueError for settings out of range.
    """

    _operation = operations.adadelta_update
    _states = ("square_avg", "acc_delta")
    _passed = ("lr", "rho", "eps", "weight_decay")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}; it must be in [0, 1]")
        super().__init__(
            params,
            lr=lr,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            capturable=capturable,
            foreach=foreach,
            differentiable=differentiable,
        )


class Adamax(_Adaptive):
    """Adamax, Adam by the infinity norm (Kingma and Ba, 2015, section 7.1). Args and errors as `Adam`."""

    _operation = operations.adamax_update
    _states = ("exp_avg", "exp_inf")
    _passed = ("lr", "eps", "weight_decay")
    _counts = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )


class RAdam(_Adaptive):
    """RAdam (Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020). Args as `Adam`."""

    _operation = operations.radam_update
    _states = ("exp_avg", "exp_avg_sq")
    _passed = ("lr", "eps", "weight_decay")
    _counts = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            decoupled_weight_decay=decoupled_weight_decay,
            differentiable=differentiable,
        )


class NAdam(_Adaptive):
    """NAdam (Dozat, "Incorporating Nesterov Momentum into Adam", 2016). Args as `Adam`, and `momentum_decay`."""

    _operation = operations.nadam_update
    _states = ("exp_avg", "exp_avg_sq")
    _passed = ("lr", "eps", "weight_decay")
    _counts = True
    _repeats = False  # the product of momenta

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
        )

    def _create(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
        from rushlight import tensor

        state = super()._create(group, parameter)
        state["mu_product"] = tensor(1.0)
        return state

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        states = [self.state[p] or self._create(group, p) for p in parameters]
        beta1, decay = group["betas"][0], group["momentum_decay"]
        for step, positions in by_step(states, parameters):
            mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (n * decay)) for n in (step, step + 1))
            for i in positions:
                states[i]["mu_product"].array *= mu
            for (product,), alike in by_values(states, positions, "mu_product"):
                chosen = [parameters[i] for i in alike]
                lists = [[states[i][name] for i in alike] for name in self._states]
                options = {**self._options(group, step), "mu": mu, "mu_next": mu_next, "product": product}
                self._operation(chosen, gradients_of(chosen), *lists, **options)
