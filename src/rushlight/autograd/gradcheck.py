"""`gradcheck` and `gradgradcheck`: gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.forward_ad import dual_level, make_dual, unpack_dual
from rushlight.autograd.gradients import grad
from rushlight.tensor.tensor import Tensor, wrap


class GradcheckError(RuntimeError):
    """A gradient differs from the finite differences."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compares the gradients of `func(*inputs)` with central differences of step `eps`.

    Args:
        func: takes tensors, returns a tensor or a tuple of them. The inputs that require grad should be float64.
        inputs: its arguments.
        eps: the step of the finite differences.
        atol, rtol: the tolerances, absolute and relative to the finite differences.
        raise_exception: raise GradcheckError instead of returning False.
        nondet_tol: how far the gradients of two runs may be apart.
        check_forward_ad, check_backward_ad: whether to compare what `autograd.forward_ad` finds, and what backward
            passes find.
        check_undefined_grad, check_grad_dtypes, check_batched_grad, check_batched_forward_grad, fast_mode: accepted as
            PyTorch's; the whole Jacobian is always compared.

    Returns:
        True where all agree.

    Raises:
        GradcheckError: where they don't, with both Jacobians.
        ValueError: where no input requires grad.
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]
    if not places:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them does")
    try:
        for number, output in enumerate(_differentiable(func(*arguments))):
            found = []
            if check_backward_ad:
                found.append(_backward(func, arguments, places, number, output, nondet_tol))
            if check_forward_ad:
                found.append([_forward(func, arguments, place, number, output) for place in places])
            _check_output(func, arguments, places, number, found, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Compares the gradients of the gradients of `func(*inputs)` with central differences; see `gradcheck`.

    grad_outputs: the gradients of the outputs to start from; random ones by default.
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None:
        random = np.random.default_rng(0)
        starts = []
        for output in _differentiable(func(*arguments)):
            start = wrap(random.standard_normal(output.shape).astype(output.array.dtype))
            starts.append(start.requires_grad_())
    else:
        starts = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]

    def gradients(*values: Any) -> tuple[Any, ...]:
        own, outer = values[: len(arguments)], values[len(arguments) :]
        outputs = _differentiable(func(*own))
        found = grad(outputs, [own[i] for i in places], list(outer), create_graph=True, allow_unused=True)
        return tuple([g for g in found if g is not None and g.requires_grad])

    return gradcheck(
        gradients,
        (*arguments, *starts),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
    )


def _differentiable(result: Any) -> list[Tensor]:
    several = result if isinstance(result, (tuple, list)) else (result,)
    return [r for r in several if isinstance(r, Tensor) and r.is_floating_point()]


def _check_output(
    func: Callable[..., Any], arguments: tuple[Any, ...], places: list[int], number: int,
    jacobians: list[list[np.ndarray[Any, Any]]], eps: float, atol: float, rtol: float,
) -> None:  # fmt: skip
    for place, *several in zip(places, *jacobians, strict=True):
        if not several or several[0].size == 0:
            continue
        expected = _numerical(func, arguments, place, number, eps)
        for found in several:
            if not np.allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {place},\n"
                    f"numerical:{expected}\nanalytical:{found}\n"
                )


def _backward(
    func: Callable[..., Any], arguments: tuple[Any, ...], places: list[int], number: int, output: Tensor,
    nondet_tol: float,
) -> list[np.ndarray[Any, Any]]:  # fmt: skip
    """The Jacobians for the inputs at `places` by backward passes, which must give the same twice."""
    tensors = [arguments[i] for i in places]
    analytical = _analytical(output, tensors)
    if output.requires_grad:
        repeated = _analytical(_differentiable(func(*arguments))[number], tensors)
        for first, second in zip(analytical, repeated, strict=True):
            if not np.allclose(first, second, rtol=0, atol=nondet_tol, equal_nan=True):
                raise GradcheckError("Backward is not reentrant: two runs on the same inputs gave different gradients")
    return analytical


def _forward(
    func: Callable[..., Any], arguments: tuple[Any, ...], place: int, number: int, output: Tensor
) -> np.ndarray[Any, Any]:
    """The Jacobian for the input at `place` from the tangents of its elements, one after the other."""
    tensor = arguments[place]
    jacobian = np.zeros((tensor.array.size, output.array.size))
    for row in range(tensor.array.size):
        direction = np.zeros(tensor.array.size, tensor.array.dtype)
        direction[row] = 1
        with dual_level():
            dual = make_dual(tensor.detach(), wrap(direction.reshape(tensor.array.shape)))
            result = _differentiable(func(*arguments[:place], dual, *arguments[place + 1 :]))[number]
            tangent = unpack_dual(result).tangent
        if tangent is not None:
            jacobian[row] = tangent.array.reshape(-1)
    return jacobian


def _analytical(output: Tensor, tensors: list[Tensor]) -> list[np.ndarray[Any, Any]]:
    """For each tensor the Jacobian, (elements of the tensor) x (elements of the output)."""
    jacobians = [np.zeros((t.array.size, output.array.size)) for t in tensors]
    if output.requires_grad:
        for column in range(output.array.size):
            start = np.zeros(output.array.size, output.array.dtype)
            start[column] = 1
            start = start.reshape(output.array.shape)
            for jacobian, g in zip(
                jacobians, grad(output, tensors, wrap(start), retain_graph=True, allow_unused=True), strict=True
            ):
                if g is not None:
                    jacobian[:, column] = g.array.reshape(-1)
    return jacobians


def _numerical(
    func: Callable[..., Any], arguments: tuple[Any, ...], place: int, number: int, eps: float
) -> np.ndarray[Any, Any]:
    values = np.array(arguments[place].array, order="C")
    rows = []
    for position in range(values.size):
        ends = []
        for step in (eps, -eps):
            moved = values.copy()
            moved.reshape(-1)[position] += step
            tensor = wrap(moved).requires_grad_()
            output = _differentiable(func(*arguments[:place], tensor, *arguments[place + 1 :]))[number]
            ends.append(output.array.astype(np.float64).reshape(-1))
        rows.append((ends[0] - ends[1]) / (2 * eps))
    return np.stack(rows)
