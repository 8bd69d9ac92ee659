"""Hooks of modules: the nodes of the graph that call full backward hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rushlight.autograd.modes import is_grad_enabled
from rushlight.autograd.tape import Node, edge_of
from rushlight.ops.declare import Spec
from rushlight.tensor.tensor import Tensor, wrap

if TYPE_CHECKING:
    from rushlight.nn.modules.module import Module


class _Boundary(Node):
    """Hands gradients through unchanged, except for what `watch` makes of them all together."""

    __slots__ = ("watch",)

    def __init__(self, tensors: Sequence[Tensor], watch: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
        specs = tuple([Spec(t.array.shape, t.array.dtype) for t in tensors])
        super().__init__([edge_of(t) for t in tensors], specs)
        self.watch = watch

    def name(self) -> str:
        return "BackwardHookFunctionBackward"

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        return self.watch(tuple(gradients))


def _through(values: Any, watch: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> tuple[Any, bool]:
    """`values` (a tensor, or a tuple or list with tensors) behind a boundary, and whether there was one to put."""
    items = list(values) if isinstance(values, (tuple, list)) else [values]
    places = [i for i, v in enumerate(items) if isinstance(v, Tensor) and v.requires_grad]
    if not places:
        return values, False
    count = len(items)
    tensor_places = [i for i, v in enumerate(items) if isinstance(v, Tensor)]

    def watch_all(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        spread: list[Any] = [None] * count
        for place, gradient in zip(places, gradients, strict=True):
            spread[place] = gradient
        watched = watch(tuple([spread[i] for i in tensor_places]))
        back = dict(zip(tensor_places, watched, strict=True))
        return tuple([back[i] for i in places])

    node = _Boundary([items[i] for i in places], watch_all)
    for index, place in enumerate(places):
        behind = wrap(items[place].array)
        behind._producer = items[place]._producer
        behind._node, behind._index, behind._requires_grad = node, index, True
        items[place] = behind
    if isinstance(values, tuple):
        return (type(values)(*items) if hasattr(values, "_fields") else tuple(items)), True
    return (items if isinstance(values, list) else items[0]), True


class BackwardHooks:
    """One call of a module with full backward hooks: gradients of its outputs come by, then those of its inputs."""

    def __init__(self, module: Module, pre_hooks: Sequence[Any], hooks: Sequence[Any]) -> None:
        self.module = module
        self.pre_hooks = pre_hooks
        self.hooks = hooks
        self.grad_outputs: tuple[Any, ...] = ()
        self.inputs_watched = False
        self.input_count = 0

    def around_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs, behind a boundary that calls the hooks with their gradients."""
        if not is_grad_enabled():
            return args
        self.input_count = sum(isinstance(a, Tensor) for a in args)
        result, self.inputs_watched = _through(args, self._of_inputs)
        return result

    def around_outputs(self, outputs: Any) -> Any:
        """The outputs, behind a boundary that calls the pre-hooks with their gradients."""
        return _through(outputs, self._of_outputs)[0] if is_grad_enabled() else outputs

    def _of_outputs(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.pre_hooks:
            gradients = self._replaced(gradients, hook(self.module, gradients), "backward pre-hook")
        self.grad_outputs = gradients
        if not self.inputs_watched:
            for hook in self.hooks:
                hook(self.module, (None,) * self.input_count, gradients)
        return gradients

    def _of_inputs(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            gradients = self._replaced(gradients, hook(self.module, gradients, self.grad_outputs), "backward hook")
        return gradients

    def _replaced(self, gradients: tuple[Any, ...], by: Any, what: str) -> tuple[Any, ...]:
        if by is None:
            return gradients
        by = by if isinstance(by, tuple) else (by,)
        if len(by) != len(gradients):
            raise RuntimeError(
                f"{what} of {type(self.module).__name__} returned {len(by)} gradients, {len(gradients)} were expected"
            )
        return by
