"""Optimizer steps: each declared for one parameter by what becomes of it and of its state, run over lists at once.

The meaning takes a parameter, its gradient and its states, and returns the new parameter and the new states. The core's
kernel of the same name does it in place for all parameters of a group in one call; where there is none, the meaning is
made an elementwise program, which does it for one parameter at a time. A state list may be None where the options don't
need it. `step` counts from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import core, dtypes
from rushlight.ops import program as programs
from rushlight.ops.declare import routing
from rushlight.tensor.tensor import Tensor, bump_version

UPDATES: dict[str, Update] = {}


class Update:
    """A declared optimizer step. Calling it changes the tensors of `parameters` and of the state lists in place."""

    def __init__(self, meaning: Callable[..., tuple[Any, ...]]) -> None:
        self.name = meaning.__name__
        self.meaning = meaning
        self.__doc__ = meaning.__doc__
        self.kernel: Callable[..., Any] | None = getattr(core.native, self.name, None)
        self._programs: dict[Any, Any] = {}  # by what they do, whatever the numbers
        UPDATES[self.name] = self

    def __call__(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *states: Sequence[Tensor] | None,
        **options: Any,
    ) -> None:
        if routing.updates is not None:
            routing.updates.append((self, (parameters, gradients, *states), options))
            return
        self.apply([None if s is None else [t.array for t in s] for s in (parameters, gradients, *states)], options)
        for tensors in (parameters, *states):
            for tensor in tensors or ():
                bump_version(tensor)

    def apply(self, lists: Sequence[Any], options: dict[str, Any]) -> None:
        """The step on lists of arrays (or None): parameters, gradients, states."""
        if self.kernel is not None and self.kernel(*lists, **options) is not NotImplemented:
            return
        run = None if core.native is None else self._program([arrays is not None for arrays in lists], options)
        for position in range(len(lists[0])):
            arrays = [None if arrays is None else arrays[position] for arrays in lists]
            if run is None or run(arrays) is NotImplemented:
                self._apply(arrays, options)

    def _program(self, given: Sequence[bool], options: dict[str, Any]) -> Callable[[list[Any]], Any] | None:
        """The step with these options as a program that changes arrays in place; None where it isn't elementwise.

        The numbers in it, which differ from step to step, are operands, so that steps of one form share a program.
        """
        form = programs.Form(sum(given))
        expressions = iter(form.inputs)
        sources = [next(expressions) if there else None for there in given]
        try:
            results = self.meaning(programs.recorder, *sources, **options)
        except (programs.NotElementwise, AttributeError):  # it asks for shapes, means, products
            return None
        targets = [position for position in range(len(given)) if position != 1 and given[position]]
        by_target = dict(zip((0, *range(2, len(given))), results, strict=True))
        outputs = [by_target[target].number for target in targets]
        key = (*form.instructions, *outputs)
        if key not in self._programs:
            self._programs[key] = form.program(outputs)
        program = self._programs[key]

        def run(arrays: list[Any]) -> Any:
            changed = [arrays[target] for target in targets]
            out = changed[0] if len(changed) == 1 else tuple(changed)
            return program(*[a for a in arrays if a is not None], *form.numbers, out=out)

        return run

    def _apply(self, arrays: list[Any], options: dict[str, Any]) -> None:
        half = dtypes.of_numpy(arrays[0].dtype) in (dtypes.float16, dtypes.bfloat16)
        given = [a.astype(np.float32) if half and a is not None else a for a in arrays]
        with np.errstate(all="ignore"):
            results = self.meaning(np, *given, **options)
        for target, value in zip((arrays[0], *arrays[2:]), results, strict=True):
            if target is not None:
                np.copyto(target, value, casting="unsafe")


def _prepared(gradient, parameter, weight_decay, maximize):
    """The gradient as the formulas take it: negated to maximise, with the parameter's decay added."""
    if maximize:
        gradient = -gradient
    return gradient + weight_decay * parameter if weight_decay else gradient


@Update
def sgd_update(xp, p, g, buffer, *, lr, momentum, dampening, weight_decay, nesterov, maximize, first):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013). `first`: the buffer becomes the gradient."""
    g = _prepared(g, p, weight_decay, maximize)
    if momentum:
        buffer = g if first else momentum * buffer + (1 - dampening) * g
        g = g + momentum * buffer if nesterov else buffer
    return p - lr * g, buffer


@Update
def adam_update(
    xp, p, g, average, square, largest, *, lr, beta1, beta2, eps, weight_decay, step, decoupled, maximize
):  # fmt: skip
    """Adam (Kingma and Ba 2015); `decoupled`: AdamW (Loshchilov and Hutter 2019); `largest`: AMSGrad (Reddi 2018)."""
    g = _prepared(g, p, 0 if decoupled else weight_decay, maximize)
    if decoupled:
        p = p * (1 - lr * weight_decay)
    average = beta1 * average + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * g * g
    bound = square if largest is None else xp.maximum(largest, square)
    denominator = xp.sqrt(bound) / (1 - beta2**step) ** 0.5 + eps
    return p - lr / (1 - beta1**step) * average / denominator, average, square, bound


@Update
def sparse_adam_update(xp, p, g, mean, square, *, lr, beta1, beta2, eps, step, maximize):
    """Adam's step for the slices p[i] that have a gradient, whose states alone change."""
    g = -g if maximize else g
    present = (g != 0).reshape(len(g), -1).any(1).reshape(-1, *[1] * (g.ndim - 1))
    mean = xp.where(present, mean + (1 - beta1) * (g - mean), mean)
    square = xp.where(present, square + (1 - beta2) * (g * g - square), square)
    size = lr * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
    return xp.where(present, p - size * mean / (xp.sqrt(square) + eps), p), mean, square


@Update
def rmsprop_update(xp, p, g, square, average, buffer, *, lr, alpha, eps, weight_decay, momentum, maximize):
    """RMSprop (Hinton 2012); with `average` centered (Graves 2013), with `buffer` momentum."""
    g = _prepared(g, p, weight_decay, maximize)
    square = alpha * square + (1 - alpha) * g * g
    spread = square
    if average is not None:
        average = alpha * average + (1 - alpha) * g
        spread = square - average * average
    move = g / (xp.sqrt(spread) + eps)
    if buffer is not None:
        buffer = momentum * buffer + move
        move = buffer
    return p - lr * move, square, average, buffer


@Update
def adagrad_update(xp, p, g, total, *, lr, lr_decay, eps, weight_decay, step, maximize):
    """Adagrad (Duchi, Hazan and Singer 2011)."""
    g = _prepared(g, p, weight_decay, maximize)
    total = total + g * g
    return p - lr / (1 + (step - 1) * lr_decay) * g / (xp.sqrt(total) + eps), total


@Update
def adadelta_update(xp, p, g, square, moved, *, lr, rho, eps, weight_decay, maximize):
    """Adadelta (Zeiler 2012)."""
    g = _prepared(g, p, weight_decay, maximize)
    square = rho * square + (1 - rho) * g * g
    move = xp.sqrt(moved + eps) / xp.sqrt(square + eps) * g
    return p - lr * move, square, rho * moved + (1 - rho) * move * move


@Update
def adamax_update(xp, p, g, average, largest, *, lr, beta1, beta2, eps, weight_decay, step, maximize):
    """Adamax (Kingma and Ba 2015, section 7.1)."""
    g = _prepared(g, p, weight_decay, maximize)
    average = beta1 * average + (1 - beta1) * g
    largest = xp.maximum(beta2 * largest, xp.abs(g) + eps)
    return p - lr / (1 - beta1**step) * average / largest, average, largest


@Update
def nadam_update(
    xp, p, g, average, square, *, lr, beta1, beta2, eps, weight_decay, step, mu, mu_next, product, decoupled, maximize
):  # fmt: skip
    """NAdam (Dozat 2016); `mu` of this step and of the next, `product` of all so far including this one."""
    g = _prepared(g, p, 0 if decoupled else weight_decay, maximize)
    if decoupled:
        p = p * (1 - lr * weight_decay)
    average = beta1 * average + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * g * g
    denominator = xp.sqrt(square / (1 - beta2**step)) + eps
    p = p - lr * (1 - mu) / (1 - product) * g / denominator
    return p - lr * mu_next / (1 - product * mu_next) * average / denominator, average, square


@Update
def radam_update(
    xp, p, g, average, square, *, lr, beta1, beta2, eps, weight_decay, step, decoupled, maximize
):  # fmt: skip
    """RAdam (Liu et al. 2020)."""
    g = _prepared(g, p, 0 if decoupled else weight_decay, maximize)
    if decoupled:
        p = p * (1 - lr * weight_decay)
    average = beta1 * average + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * g * g
    corrected = average / (1 - beta1**step)
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * step * beta2**step / (1 - beta2**step)
    if length <= 5.0:
        return p - lr * corrected, average, square
    rectify = ((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)) ** 0.5
    adaptive = (1 - beta2**step) ** 0.5 / (xp.sqrt(square) + eps)
    return p - lr * corrected * rectify * adaptive, average, square


@Update
def rprop_update(xp, p, g, previous, size, *, shrink, grow, smallest, largest, maximize):
    """Resilient backpropagation (Riedmiller and Braun 1993)."""
    g = _prepared(g, p, 0.0, maximize)
    agreement = g * previous
    size = xp.where(agreement > 0, size * grow, xp.where(agreement < 0, size * shrink, size))
    size = xp.minimum(xp.maximum(size, smallest), largest)
    g = xp.where(agreement < 0, 0, g)
    return p - xp.sign(g) * size, g, size


@Update
def asgd_update(xp, p, g, average, *, eta, mu, lambd, weight_decay, maximize):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992), with a step of eta, averaged by mu."""
    g = _prepared(g, p, weight_decay, maximize)
    p = p * (1 - lambd * eta) - eta * g
    return p, p if mu == 1 else average + (p - average) * mu


@Update
def adafactor_update(
    xp, p, g, row, column, square, *, lr, step, beta2_decay, eps, smallest, limit, weight_decay, maximize
):  # fmt: skip
    """Adafactor (Shazeer and Stern 2018): of a matrix, averages by `row` and `column` stand for those of squares.

    `smallest` bounds the root mean square of p from below, and with it the step; `limit` that of the move from above.
    """
    g = -g if maximize else g
    weight = step**beta2_decay
    size = max(smallest, _root_mean_square(xp, p)) * min(lr, step**-0.5)
    p = p * (1 - lr * weight_decay)
    if g.ndim > 1:
        row = row + weight * ((g * g).mean(-1, keepdims=True) - row)
        column = column + weight * ((g * g).mean(-2, keepdims=True) - column)
        spread = xp.matmul(row, column) / xp.maximum(row.mean(-2, keepdims=True), eps)
    else:
        square = square + weight * (g * g - square)
        spread = square
    move = g / xp.sqrt(xp.maximum(spread, eps * eps))
    return p - size / max(1.0, _root_mean_square(xp, move) / limit) * move, row, column, square


def _root_mean_square(xp, x):
    return float(xp.sqrt((x * x).mean()))


@Update
def muon_update(
    xp, p, g, average, *, lr, decay, momentum, nesterov, coefficients, steps, eps
):  # fmt: skip
    """Muon (Jordan 2024): the averaged gradient, a matrix, moved towards an orthogonal one by Newton's and Schulz's
    steps in bfloat16; `decay` is the learning rate times the weight decay."""
    average = average + (1 - momentum) * (g - average)
    move = g + momentum * (average - g) if nesterov else average
    return p * (1 - decay) - lr * _orthogonal(xp, move, coefficients, steps, eps), average


def _orthogonal(xp, matrix, coefficients, steps, eps):
    def rounded(x):
        return x.astype(dtypes.bfloat16.numpy).astype(np.float32)

    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = rounded(matrix.T if tall else matrix)
    x = rounded(x / xp.maximum(rounded(xp.sqrt((x * x).sum())), eps))
    for _ in range(int(steps)):  # a program has numbers in floating point
        gram = rounded(x @ x.T)
        x = rounded(a * x + rounded(b * gram + c * (gram @ gram)) @ x)
    return x.T if tall else x
