"""`autograd.Function`: operations whose forward and backward the user writes."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from rushlight import dtypes
from rushlight.autograd import eager, forward_ad
from rushlight.autograd.modes import mode, no_grad, set_grad_enabled
from rushlight.autograd.saving import Packed, packed
from rushlight.autograd.tape import Node, edge_of
from rushlight.ops.declare import Spec
from rushlight.ops.reduction import sum_to
from rushlight.tensor.tensor import Tensor, bump_version, wrap


class FunctionCtx:
    """What `forward` and `backward` of a Function share (`ctx`). Any other attribute is the user's own."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self, node: FunctionNode) -> None:
        self._node = weakref.ref(node)  # which holds this context
        self._name = node.name()
        self._to_save: tuple[Tensor | None, ...] | None = None
        self._saved: list[Any] | None = None
        self._released = False
        self._dirty: tuple[Tensor, ...] = ()
        self._non_differentiable: tuple[Tensor, ...] = ()
        self._materialize = True
        self.needs_input_grad = tuple([e is not None for e in node.edges])

    # For forward and setup_context

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps inputs or results for `backward`, where they are `ctx.saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(tensor).__name__}: "
                    "keep anything else as an attribute of ctx"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keeps inputs or results for `jvp`, where they are `ctx.saved_tensors`."""
        if self._to_save is None:
            self.save_for_backward(*tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says which inputs `forward` changes in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says which results have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` receives zeros (the default) or None for a result that wasn't used."""
        self._materialize = value

    # For backward

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept. Raises RuntimeError where it was overwritten or freed since."""
        if self._released:
            raise RuntimeError(
                f"Trying to backward through the graph a second time (or access {self._name}'s saved tensors after "
                "they have been freed). Pass retain_graph=True to the first backward()"
            )
        if self._saved is None:
            return self._to_save or ()
        return tuple([None if s is None else self._unpack(*s) for s in self._saved])

    def _unpack(self, tensor: Any, index: int | None, counter: list[int], version: int) -> Tensor:
        if counter[0] != version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"{self._name} saved a tensor of shape {tuple(tensor.shape)}, which was overwritten "
                f"{counter[0] - version} time(s) since"
            )
        if type(tensor) is Packed:
            tensor = tensor.unpack() if index is None else tensor.unpack().array
        if index is None:
            return tensor  # type: ignore[no-any-return]
        result = wrap(tensor)
        result._counter = counter
        result._node, result._index, result._requires_grad = self._node(), index, True
        return result


class FunctionNode(Node):
    """The node of a call on the tape, `y.grad_fn`; it has the attributes of the call's context, too."""

    def __init__(self, function: type[Function], args: tuple[Any, ...]) -> None:
        for argument in args:
            if isinstance(argument, Tensor):
                eager.refresh(argument)
        super().__init__([edge_of(a) if isinstance(a, Tensor) else None for a in args], [])
        self._function = function
        self._inputs: list[Any] = [Spec(a.array.shape, a.array.dtype) if isinstance(a, Tensor) else None for a in args]
        self._ctx = FunctionCtx(self)

    def __getattr__(self, name: str) -> Any:
        if name == "_ctx":  # not there yet
            raise AttributeError(name)
        return getattr(self._ctx, name)

    def name(self) -> str:
        return f"{self._function.__name__}Backward"

    def finish(self, args: tuple[Any, ...], outputs: tuple[Any, ...], recorded: bool) -> list[Any]:
        """The results with their place in the graph, from what `forward` returned."""
        ctx = self._ctx
        dirty = {id(t) for t in ctx._dirty}
        fixed = {id(t) for t in ctx._non_differentiable}
        inputs = {id(a) for a in args if isinstance(a, Tensor)}
        for tensor in ctx._dirty:
            if id(tensor) not in inputs:
                raise RuntimeError(f"{self.name()}: a tensor passed to mark_dirty is not an input of forward")
            if recorded:
                eager.check_writable(self.name(), tensor)
            bump_version(tensor)
        finished: list[Any] = []
        places: dict[int, int] = {}
        for index, output in enumerate(outputs):
            if not isinstance(output, Tensor):
                self.outputs = [*self.outputs, Spec((), dtypes.get_default_dtype().numpy)]
                finished.append(output)
                continue
            array = output.array
            self.outputs = [*self.outputs, Spec(array.shape, array.dtype)]
            result = output
            if id(output) in inputs and id(output) not in dirty:
                result = output.detach()
            elif recorded and output._base is not None and id(output) not in dirty:
                result = output.detach()  # no longer a view: its gradient is what backward says
            if recorded and id(output) not in fixed and array.dtype.kind not in "iub":
                places[id(output)] = index
                if id(output) in dirty:
                    eager.rebase(result, self)
                result._node, result._index, result._requires_grad = self, index, True
            finished.append(result)
        if recorded:
            ctx._saved = [None if t is None else self._pack(t, places, inputs) for t in ctx._to_save or ()]
            ctx._to_save = None
        return finished

    def _pack(self, tensor: Tensor, places: dict[int, int], inputs: set[int]) -> tuple[Any, ...]:
        if tensor._counter is None:
            tensor._counter = [0]
        kept = packed(tensor.detach() if id(tensor) in places else tensor)
        if type(kept) is Packed:
            return kept, places.get(id(tensor)), [0], 0
        if id(tensor) in places:  # a result holds this node, which mustn't hold the result
            return tensor.array, places[id(tensor)], tensor._counter, tensor._counter[0]
        return tensor, None, tensor._counter, tensor._counter[0]

    def release(self) -> None:
        if self._ctx._saved:
            self._ctx._saved = None
            self._ctx._released = True

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        if self._ctx._materialize:
            gradients = [
                wrap(np.zeros(s.shape, s.dtype)) if g is None and s is not None and s.dtype.kind not in "iub" else g
                for g, s in zip(gradients, self.outputs, strict=True)
            ]
        function = self._function
        if function.vjp is not Function.vjp and function.backward is not Function.backward:
            raise RuntimeError(
                f"{self.name()}: implementing both 'backward' and 'vjp' for a custom Function is not allowed"
            )
        rule = function.backward if function.vjp is Function.vjp else function.vjp
        entries = rule(self._ctx, *gradients)
        entries = tuple(entries) if isinstance(entries, (tuple, list)) else (entries,)
        count = len(self.edges)
        if len(entries) > count and all(e is None for e in entries[count:]):
            entries = entries[:count]
        if len(entries) != count:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, got "
                f"{len(entries)}): one for each argument of forward, None where there is none"
            )
        return [self._checked(i, entry) if self.edges[i] is not None else None for i, entry in enumerate(entries)]

    def _checked(self, index: int, gradient: Any) -> Tensor | None:
        if gradient is None:
            return None
        if not isinstance(gradient, Tensor):
            raise TypeError(
                f"function {self.name()} returned a {type(gradient).__name__} as gradient at index {index}: a Tensor "
                "or None was expected"
            )
        shape, dtype = self._inputs[index]
        if gradient.array.shape != shape:
            try:
                compatible = np.broadcast_shapes(shape, gradient.array.shape) == gradient.array.shape
            except ValueError:
                compatible = False
            if not compatible:
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {index} - got "
                    f"{list(gradient.array.shape)} but expected shape compatible with {list(shape)}"
                )
            gradient = sum_to(gradient, shape)
        if gradient.array.dtype != dtype:
            gradient = gradient.to(dtypes.of_numpy(dtype))
        return cast(Tensor, gradient)


class Function:
    """An operation of your own: define `forward` and `backward` as static methods and call `apply`.

    Example:
        >>> class Exp(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         y = x.exp()
        ...         ctx.save_for_backward(y)
        ...         return y
        ...
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         (y,) = ctx.saved_tensors
        ...         return grad * y
        >>> y = Exp.apply(x)

    `forward(*args)` may go without `ctx` where `setup_context(ctx, inputs, output)` does the saving. Operations in
    `forward` aren't recorded; those in `backward` are, when the gradient is itself to be differentiated.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the result: `forward(ctx, *args)`, or `forward(*args)` beside `setup_context`."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Saves what `backward` needs, where `forward` doesn't take `ctx`."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradient for each argument of `forward`, from those of its results; None where there is none."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the results, from those of the arguments of `forward`; None where one has none."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Define forward and backward as "
            f"static methods, and call {type(self).__name__}.apply(...)"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Calls `forward` and records the call on the tape."""
        if not isinstance(cls.__dict__.get("forward", cls.forward), staticmethod) and _needs_instance(cls):
            raise RuntimeError(f"{cls.__name__}: forward and backward have to be static methods (@staticmethod)")
        node = FunctionNode(cls, args)
        ctx = node._ctx
        recorded = mode.grad_enabled and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args, **kwargs)
            else:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
        outputs = result if isinstance(result, tuple) else (result,)
        found = None
        if forward_ad.is_active() and cls.jvp is not Function.jvp:
            duals = [forward_ad.unpack_dual(a) if isinstance(a, Tensor) else (None, None) for a in args]
            if any(tangent is not None for _, tangent in duals):
                differentiable = any(primal is not None and primal.requires_grad for primal, _ in duals)
                with set_grad_enabled(mode.grad_enabled and differentiable):
                    found = cls.jvp(ctx, *[tangent for _, tangent in duals])
                found = found if isinstance(found, tuple) else (found,)
        finished = node.finish(args, outputs, recorded)
        if found is not None:
            finished = [r if t is None else forward_ad.make_dual(r, t) for r, t in zip(finished, found, strict=True)]
        return tuple(finished) if isinstance(result, tuple) else finished[0]


def _needs_instance(cls: type[Function]) -> bool:
    for base in cls.__mro__:
        if "forward" in base.__dict__:
            return not isinstance(base.__dict__["forward"], (staticmethod, classmethod))
    return False


class _NotAgain(Node):
    """Takes the place of a gradient's own gradient where `once_differentiable` says that there is none."""

    def name(self) -> str:
        return "NotDifferentiableBackward"

    def backward(self, gradients: list[Tensor | None], create_graph: bool) -> Sequence[Tensor | None]:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a `backward` that can't be differentiated itself: double backward through it then raises."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with set_grad_enabled(False):
            results = backward(ctx, *gradients)
        tensors = [g for g in gradients if isinstance(g, Tensor)]
        if not mode.grad_enabled or not (any(t.requires_grad for t in tensors) or any(ctx.needs_input_grad)):
            return results
        several = results if isinstance(results, tuple) else (results,)
        marked = []
        for result in several:
            if isinstance(result, Tensor):
                node = _NotAgain([edge_of(t) for t in tensors], [Spec(result.array.shape, result.array.dtype)])
                result = result.detach()
                result._node, result._requires_grad = node, True
            marked.append(result)
        return tuple(marked) if isinstance(results, tuple) else marked[0]

    return wrapper
