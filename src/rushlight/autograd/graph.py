"""What a program may do with the graph of the backward pass: `torch.autograd.graph`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rushlight.autograd.hooks import RemovableHandle
from rushlight.autograd.saving import disable_saved_tensors_hooks as disable_saved_tensors_hooks
from rushlight.autograd.saving import save_on_cpu as save_on_cpu
from rushlight.autograd.saving import saved_tensors_hooks as saved_tensors_hooks
from rushlight.autograd.tape import AccumulateGrad, Node, edge_of, register_hook
from rushlight.tensor.tensor import Tensor, bump_version

__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version",
    "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor goes: a node, and the number of the result that the tensor is."""

    node: Node | AccumulateGrad
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge along which the gradient of `tensor` goes. Raises RuntimeError where it requires none."""
    edge = edge_of(tensor)
    if edge is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*edge) if type(edge) is tuple else GradientEdge(AccumulateGrad(edge), 0)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Says that tensors were changed in place by something that the library doesn't see, such as NumPy."""
    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        bump_version(each)


class _Handles(RemovableHandle):
    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        super().__init__({})
        self._handles = tuple(handles)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all"
) -> RemovableHandle:
    """Calls `fn` when the gradients of several tensors are known.

    mode: "all" calls `fn(gradients)` in a backward pass in which each of the tensors has received its gradient; "any"
        calls `fn(gradient)` at the first one of each backward pass.

    Raises ValueError for another mode.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    found: dict[int, Tensor] = {}
    lock = threading.Lock()

    def hook_of(position: int) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            with lock:
                if position in found:  # another pass has begun
                    found.clear()
                found[position] = gradient
                count = len(found)
            if mode == "any" and count == 1:
                fn(gradient)
            if count == len(tensors):
                gradients = [found[place] for place in range(count)]
                found.clear()
                if mode == "all":
                    fn(gradients)

        return hook

    return _Handles([register_hook(tensor, hook_of(position)) for position, tensor in enumerate(tensors)])
