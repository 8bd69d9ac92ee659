"""Hooks of one module and of all: adding and calling them; full backward hooks are called by nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from rushlight.autograd.hooks import Hooks, RemovableHandle, add_hook
from rushlight.autograd.modes import is_grad_enabled
from rushlight.autograd.tape import Node, edge_of
from rushlight.ops.declare import Spec
from rushlight.tensor.tensor import Tensor, wrap


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

    def __init__(self, module: HookMethods, pre_hooks: Sequence[Any], hooks: Sequence[Any]) -> None:
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


class _Options(NamedTuple):
    """How a forward hook or pre-hook wants to be called."""

    with_kwargs: bool = False
    always_call: bool = False


class _GlobalHooks:
    """The hooks that run for every module."""

    def __init__(self) -> None:
        self.forward_pre: Hooks = {}
        self.forward: Hooks = {}
        self.backward_pre: Hooks = {}
        self.backward: Hooks = {}
        self.options: dict[int, _Options] = {}


global_hooks = _GlobalHooks()
_PLAIN = _Options()


class HookMethods:
    """The part of Module that adds its hooks, and that calls it where there are some."""

    _hooked: ClassVar[bool] = False  # True on an instance with hooks, and on the class once there are global ones
    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks
    _hook_options: dict[int, _Options]
    forward: Callable[..., Any]

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Adds `hook(module, args)`, called before `forward`; what it returns replaces the arguments.

        with_kwargs: the hook is called as `hook(module, args, kwargs)` and returns both.
        prepend: it runs before the hooks that are there already.
        """
        return self._add_hook(self._forward_pre_hooks, hook, prepend, _Options(with_kwargs))

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Adds `hook(module, args, output)`, called after `forward`; what it returns replaces the output.

        with_kwargs: the hook is called as `hook(module, args, kwargs, output)`.
        always_call: it is called even where `forward` raised, with output None.
        """
        return self._add_hook(self._forward_hooks, hook, prepend, _Options(with_kwargs, always_call))

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Adds `hook(module, grad_output)`, called when the gradients of the outputs are known; may replace them."""
        return self._add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Adds `hook(module, grad_input, grad_output)`, called when the gradients of the inputs are known.

        What it returns, if anything, replaces the gradients of the inputs.
        """
        return self._add_hook(self._backward_hooks, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def _add_hook(
        self, hooks: Hooks, hook: Callable[..., Any], prepend: bool, options: _Options | None = None
    ) -> RemovableHandle:
        self.__dict__["_hooked"] = True
        handle = add_hook(hooks, hook, prepend, self._hook_options)
        if options is not None:
            self._hook_options[handle.id] = options
        return handle

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        result: Any = None
        try:
            for key, hook in (*global_hooks.forward_pre.items(), *self._forward_pre_hooks.items()):
                if self._hook_options.get(key, _PLAIN).with_kwargs:
                    replaced = hook(self, args, kwargs)
                    if replaced is not None:
                        if not isinstance(replaced, tuple) or len(replaced) != 2:
                            raise RuntimeError(
                                "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                                f"but got {replaced}."
                            )
                        args, kwargs = replaced
                else:
                    replaced = hook(self, args)
                    if replaced is not None:
                        args = replaced if isinstance(replaced, tuple) else (replaced,)
            backward = None
            if self._backward_pre_hooks or self._backward_hooks or global_hooks.backward or global_hooks.backward_pre:
                backward = BackwardHooks(
                    self,
                    (*global_hooks.backward_pre.values(), *self._backward_pre_hooks.values()),
                    (*global_hooks.backward.values(), *self._backward_hooks.values()),
                )
                args = backward.around_inputs(args)
            result = self.forward(*args, **kwargs)
            for key, hook in self._all_forward_hooks():
                called.add(key)
                result = self._run_forward_hook(key, hook, args, kwargs, result)
            return result if backward is None else backward.around_outputs(result)
        except Exception:
            for key, hook in self._all_forward_hooks():
                if self._options_of(key).always_call and key not in called:
                    try:
                        result = self._run_forward_hook(key, hook, args, kwargs, result)
                    except Exception as error:  # the first error is the one to report
                        import warnings

                        warnings.warn(f"a forward hook with always_call=True failed: {error}", stacklevel=3)
            raise

    def _all_forward_hooks(self) -> tuple[tuple[int, Any], ...]:
        return (*global_hooks.forward.items(), *self._forward_hooks.items())

    def _options_of(self, key: int) -> _Options:
        found: _Options = self._hook_options.get(key) or global_hooks.options.get(key) or _PLAIN
        return found

    def _run_forward_hook(self, key: int, hook: Any, args: Any, kwargs: Any, result: Any) -> Any:
        replaced = hook(self, args, kwargs, result) if self._options_of(key).with_kwargs else hook(self, args, result)
        return result if replaced is None else replaced


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Adds a pre-hook `hook(module, args)` that runs for every module."""
    HookMethods._hooked = True
    return add_hook(global_hooks.forward_pre, hook, False)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Adds a hook `hook(module, args, output)` that runs for every module."""
    HookMethods._hooked = True
    handle = add_hook(global_hooks.forward, hook, False, global_hooks.options)
    global_hooks.options[handle.id] = _Options(with_kwargs, always_call)
    return handle


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Adds a backward pre-hook `hook(module, grad_output)` that runs for every module."""
    HookMethods._hooked = True
    return add_hook(global_hooks.backward_pre, hook, False)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Adds a backward hook `hook(module, grad_input, grad_output)` that runs for every module."""
    HookMethods._hooked = True
    return add_hook(global_hooks.backward, hook, False)
