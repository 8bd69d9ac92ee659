"""Forward-mode differentiation: tensors that carry a tangent, `torch.autograd.forward_ad`.

The tape is the one that backward passes walk over. A dual tensor is a node on it that knows its tangent, and the
tangent of a result is found when it is asked for, by differentiating the product of a vector with the Jacobian for
that vector, on which it depends linearly. So operations on dual tensors have to be recorded: under `no_grad` their
results have no tangent, and they require gradients.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, NamedTuple

from rushlight.autograd.modes import enable_grad
from rushlight.autograd.tape import Passing
from rushlight.errors import ShapeError
from rushlight.tensor.tensor import Tensor, wrap

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class _Level(threading.local):
    def __init__(self) -> None:
        self.entered = False
        self.duals: list[_Dual] = []


_level = _Level()


class UnpackedDualTensor(NamedTuple):
    """What a dual tensor consists of; the tangent is None where it has none."""

    primal: Tensor
    tangent: Tensor | None


class _Dual(Passing):
    """The node of a dual tensor."""

    def __init__(self, primal: Tensor, tangent: Tensor) -> None:
        super().__init__(primal)
        self.primal = primal
        self.tangent: Tensor | None = tangent


def is_active() -> bool:
    """Whether tensors may carry tangents now, in this thread."""
    return _level.entered


def enter_dual_level() -> int:
    """Begins a level, in which tensors may carry tangents. Raises RuntimeError within another one."""
    if _level.entered:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _level.entered = True
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level: its tensors have no tangents any more."""
    if not _level.entered:
        raise RuntimeError("Trying to exit a forward AD level that does not exist: enter_dual_level() begins one")
    _level.entered = False
    for dual in _level.duals:
        dual.tangent = None
    _level.duals.clear()


class dual_level:
    """Within it, tensors may carry tangents."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor of the same memory that carries `tangent`.

    Raises RuntimeError outside of `dual_level`, ValueError where a tensor isn't floating, and ShapeError where the
    shapes differ.
    """
    if not _level.entered:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for each in (tensor, tangent):
        if not each.is_floating_point():
            raise ValueError(f"Expected primal and tangent to be floating point, but got: {each.dtype}")
    if tensor.shape != tangent.shape:
        raise ShapeError(f"make_dual: the tangent has shape {tuple(tangent.shape)}, the tensor {tuple(tensor.shape)}")
    dual = tensor.detach()
    node = _Dual(tensor, tangent)
    _level.duals.append(node)
    dual._node, dual._requires_grad = node, True
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor and its tangent: that of a dual tensor, or of what was computed from such."""
    if not _level.entered:
        return UnpackedDualTensor(tensor, None)
    if type(tensor._node) is _Dual:
        return UnpackedDualTensor(tensor._node.primal, tensor._node.tangent)
    duals, others = _ancestors(tensor)
    if not duals:
        return UnpackedDualTensor(tensor, None)
    from rushlight.autograd.functional import jacobian_products

    keeps = others or any(dual.tangent is not None and dual.tangent.requires_grad for dual in duals)
    starts = []
    for dual in duals:
        start = wrap(dual.primal.array)
        start._node, start._requires_grad = dual, True
        starts.append(start)
    with enable_grad():
        (tangent,) = jacobian_products([tensor], starts, [dual.tangent for dual in duals], keeps, False)
    return UnpackedDualTensor(tensor if others else tensor.detach(), tangent if keeps else tangent.detach())


def _ancestors(tensor: Tensor) -> tuple[list[_Dual], bool]:
    """The dual tensors that `tensor` was computed from, and whether leaves that require gradients took part, too."""
    found: dict[_Dual, None] = {}
    seen = set()
    leaf = False
    stack: list[Any] = [tensor._node]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node) is _Dual and node.tangent is not None:
            found[node] = None
            leaf = leaf or node.primal.requires_grad
            continue
        for edge in node.edges:
            if type(edge) is tuple:
                stack.append(edge[0])
            elif edge is not None:
                leaf = True
    return list(found), leaf
