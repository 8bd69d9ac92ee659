"""L-BFGS, with the search along a line that meets the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.autograd.modes import enable_grad, no_grad
from rushlight.errors import TraceError
from rushlight.ops.declare import routing
from rushlight.optim.optimizer import Optimizer, Parameters, refuse_negative
from rushlight.tensor import Tensor
from rushlight.tensor.unread import user_line

_Point = tuple[float, float, Tensor, float]  # on a line: the step, the loss, the gradient, the slope along the line


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, "Numerical Optimization", 2006, chapters 3 and 7).

    `step(closure)` runs several iterations, each of which may call the closure more than once.

    Args:
        params: parameters; one group only.
        lr: length of the step, or with a line search its first guess.
        max_iter: iterations in a step.
        max_eval: calls of the closure in a step; 5/4 of max_iter by default.
        tolerance_grad: ends the step where no element of the gradient is larger.
        tolerance_change: ends it where parameters or loss change by less.
        history_size: how many changes are remembered.
        line_search_fn: "strong_wolfe", or None for steps of length lr.

    Raises ValueError for a negative lr or more than one group.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        refuse_negative(lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]  # type: ignore[no-any-return]

    # All parameters as one vector

    def _gradient(self) -> Tensor:
        from rushlight import cat

        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.detach().reshape(-1) for p in self._params]
        return cat(parts)

    def _move(self, start: list[Tensor], step: float, direction: Tensor) -> None:
        """Puts the parameters at start + step * direction."""
        offset = 0
        for p, origin in zip(self._params, start, strict=True):
            size = p.numel()
            p.copy_(origin + (direction[offset : offset + size] * step).reshape(p.shape))
            offset += size

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves the parameters. `closure` zeroes the gradients, computes the loss and its gradients, and returns it.

        The closure may be compiled; a function that takes the step may not (TraceError).
        """
        if routing.tracing is not None:
            raise TraceError(
                f"LBFGS.step() while a function is being compiled (at {user_line()}): it calls its closure as often as "
                "the losses ask for, which a program can't. Compile the closure instead: "
                "optimizer.step(compile(closure))"
            )
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        evaluate = enable_grad()(closure)
        group = self.param_groups[0]
        rate, most, line_search = float(group["lr"]), group["max_eval"], group["line_search_fn"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first = evaluate()
        loss = float(first)
        calls = 1
        state["func_evals"] += 1
        gradient = self._gradient()
        if float(gradient.abs().max()) <= group["tolerance_grad"]:
            return first
        direction, length = state.get("d"), state.get("t", rate)
        changes, moves = state.get("old_dirs", []), state.get("old_stps", [])  # of the gradient, of the parameters
        scale = state.get("H_diag", 1.0)
        before, loss_before = state.get("prev_flat_grad"), state.get("prev_loss")

        for iteration in range(group["max_iter"]):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                direction = -gradient
                changes, moves, scale = [], [], 1.0
            else:
                change, move = gradient - before, direction * length
                curvature = float(change.dot(move))
                if curvature > 1e-10:
                    if len(changes) == group["history_size"]:
                        changes.pop(0)
                        moves.pop(0)
                    changes.append(change)
                    moves.append(move)
                    scale = curvature / float(change.dot(change))
                direction = _towards_minimum(gradient, changes, moves, scale)
            before, loss_before = gradient.clone(), loss
            length = min(1.0, 1.0 / float(gradient.abs().sum())) * rate if state["n_iter"] == 1 else rate
            slope = float(gradient.dot(direction))
            if slope > -group["tolerance_change"]:
                break
            start = [p.detach().clone() for p in self._params]
            spent = 0
            if line_search is not None:

                def at(step: float, start: list[Tensor] = start, direction: Tensor = direction) -> _Point:
                    self._move(start, step, direction)
                    value = float(evaluate())
                    found = self._gradient()
                    return step, value, found, float(found.dot(direction))

                (length, loss, gradient, _), spent = strong_wolfe(
                    at, length, float(direction.abs().max()), (0.0, loss, gradient, slope), most=most - calls
                )
                self._move(start, length, direction)
            else:
                self._move(start, length, direction)
                if iteration != group["max_iter"] - 1:
                    loss = float(evaluate())
                    gradient = self._gradient()
                    spent = 1
            calls += spent
            state["func_evals"] += spent
            if (
                iteration == group["max_iter"] - 1
                or calls >= most
                or float(gradient.abs().max()) <= group["tolerance_grad"]
                or float((direction * length).abs().max()) <= group["tolerance_change"]
                or abs(loss - loss_before) < group["tolerance_change"]
            ):
                break
        state.update(d=direction, t=length, old_dirs=changes, old_stps=moves, H_diag=scale)
        state.update(prev_flat_grad=before, prev_loss=loss_before)
        return first


def _towards_minimum(gradient: Tensor, changes: list[Tensor], moves: list[Tensor], scale: float) -> Tensor:
    """Minus the inverse Hessian times the gradient, as the remembered changes tell it."""
    q: Tensor = -gradient
    weights = []
    for change, move in zip(reversed(changes), reversed(moves), strict=True):
        weight = float(move.dot(q)) / float(change.dot(move))
        weights.append(weight)
        q = q - change * weight
    result: Tensor = q * scale
    for change, move, weight in zip(changes, moves, reversed(weights), strict=True):
        result = result + move * (weight - float(change.dot(result)) / float(change.dot(move)))
    return result


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within bounds (by default the points')."""
    low, high = bounds if bounds is not None else (min(a[0], b[0]), max(a[0], b[0]))
    d1 = a[3] + b[3] - 3 * (a[1] - b[1]) / (a[0] - b[0])
    square = d1**2 - a[3] * b[3]
    if square < 0:
        return (low + high) / 2.0
    d2: float = square**0.5
    if a[0] > b[0]:
        a, b = b, a
    at: float = b[0] - (b[0] - a[0]) * ((b[3] + d2 - d1) / (b[3] - a[3] + 2 * d2))
    return min(max(at, low), high)


def strong_wolfe(
    at: Callable[[float], _Point],
    step: float,
    size: float,
    start: _Point,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    most: int = 25,
) -> tuple[_Point, int]:
    """A point on the line that meets the strong Wolfe conditions, and how often `at` was called.

    at: evaluates a step. size: the largest element of the direction. c1, c2: of the two conditions.
    """

    def too_high(point: _Point) -> bool:
        return point[1] > start[1] + c1 * point[0] * start[3]

    def flat(point: _Point) -> bool:
        return abs(point[3]) <= -c2 * start[3]

    # First steps that grow, until a minimum lies between two of them.
    previous, point = start, at(step)
    calls, found = 1, None
    bracket = [start, point]
    for growing in range(most):
        if too_high(point) or (growing > 1 and point[1] >= previous[1]):
            bracket = [previous, point]
            break
        if flat(point):
            found = point
            break
        if point[3] >= 0:
            bracket = [previous, point]
            break
        least = point[0] + 0.01 * (point[0] - previous[0])
        further = _cubic_minimum(previous, point, (least, point[0] * 10))
        previous, point = point, at(further)
        calls += 1
        bracket = [start, point]
    rounds = calls - 1
    if found is not None:
        return found, calls

    # Then smaller and smaller brackets around it.
    insufficient = False
    low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
    while rounds < most:
        rounds += 1
        width = abs(bracket[1][0] - bracket[0][0])
        if width * size < tolerance_change:
            break
        step = _cubic_minimum(bracket[0], bracket[1])
        edges = [p[0] for p in bracket]
        margin = 0.1 * (max(edges) - min(edges))
        if min(max(edges) - step, step - min(edges)) < margin:
            if insufficient or step >= max(edges) or step <= min(edges):
                near_high = abs(step - max(edges)) < abs(step - min(edges))
                step = max(edges) - margin if near_high else min(edges) + margin
                insufficient = False
            else:
                insufficient = True
        else:
            insufficient = False
        point = at(step)
        calls += 1
        if too_high(point) or point[1] >= bracket[low][1]:
            bracket[high] = point
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            done = flat(point)
            if not done and point[3] * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
            if done:
                break
    return bracket[low], calls
