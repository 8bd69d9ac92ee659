"""Module, the base class of all layers and networks: registration, traversal, conversion, hooks, state, printing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, Self

from rushlight.autograd.hooks import Hooks, RemovableHandle, add_hook
from rushlight.autograd.modes import no_grad
from rushlight.errors import DtypeError
from rushlight.nn.modules.hooks import BackwardHooks
from rushlight.nn.modules.location import locate
from rushlight.nn.modules.state import StateMethods
from rushlight.nn.parameter import Buffer, Parameter
from rushlight.tensor.tensor import Tensor


class _HookOptions(NamedTuple):
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
        self.options: dict[int, _HookOptions] = {}


global_hooks = _GlobalHooks()
_PLAIN = _HookOptions()


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Adds a pre-hook `hook(module, args)` that runs for every module."""
    Module._hooked = True
    return add_hook(global_hooks.forward_pre, hook, False)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Adds a hook `hook(module, args, output)` that runs for every module."""
    Module._hooked = True
    handle = add_hook(global_hooks.forward, hook, False, global_hooks.options)
    global_hooks.options[handle.id] = _HookOptions(with_kwargs, always_call)
    return handle


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Adds a backward pre-hook `hook(module, grad_output)` that runs for every module."""
    Module._hooked = True
    return add_hook(global_hooks.backward_pre, hook, False)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Adds a backward hook `hook(module, grad_input, grad_output)` that runs for every module."""
    Module._hooked = True
    return add_hook(global_hooks.backward, hook, False)


def _forward_missing(self: Module, *args: Any) -> Any:
    listed = ": call the modules that it holds, or put them in a Sequential" if hasattr(self, "__len__") else ""
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function{listed}')


class Module(StateMethods):
    """Base class of layers and networks.

    A subclass makes its parts in `__init__`, after `super().__init__()`, and computes in `forward`. Parameters,
    buffers and modules that are assigned to attributes are registered and found by `parameters()` and its kin.

    Example:
        >>> class Classifier(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = nn.Linear(4, 8)
        ...         self.output = nn.Linear(8, 3)
        ...
        ...     def forward(self, x):
        ...         return self.output(torch.relu(self.hidden(x)))
        >>> Classifier()
        Classifier(
          (hidden): Linear(in_features=4, out_features=8, bias=True)
          (output): Linear(in_features=8, out_features=3, bias=True)
        )
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _hooked: ClassVar[bool] = False  # True on an instance with hooks, and on the class once there are global ones

    # A class attribute, not a method, so that subclasses may choose their own arguments.
    forward: Callable[..., Any] = _forward_missing

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            given = f"{len(args)} positional" if args else f"keyword ({', '.join(kwargs)})"
            raise TypeError(f"{type(self).__name__}: Module.__init__() takes no arguments, {given} given")
        attributes = self.__dict__
        attributes["training"] = True
        attributes["_parameters"] = {}
        attributes["_buffers"] = {}
        attributes["_modules"] = {}
        attributes["_non_persistent_buffers_set"] = set()
        attributes["_forward_pre_hooks"] = {}
        attributes["_forward_hooks"] = {}
        attributes["_backward_pre_hooks"] = {}
        attributes["_backward_hooks"] = {}
        attributes["_hook_options"] = {}
        attributes["_state_hooks"] = {}

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = self._call_with_hooks(args, kwargs) if self._hooked else self.forward(*args, **kwargs)
        except Exception as error:
            locate(error, self, args)
            raise
        # The innermost module that made the tensor; a layer that works in place or hands it on takes it over.
        if type(result) is Tensor and (result._producer is None or not self._modules):
            result._producer = self
        return result

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

    def _options_of(self, key: int) -> _HookOptions:
        found: _HookOptions = self._hook_options.get(key) or global_hooks.options.get(key) or _PLAIN
        return found

    def _run_forward_hook(self, key: int, hook: Any, args: Any, kwargs: Any, result: Any) -> Any:
        replaced = hook(self, args, kwargs, result) if self._options_of(key).with_kwargs else hook(self, args, result)
        return result if replaced is None else replaced

    # Hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Adds `hook(module, args)`, called before `forward`; what it returns replaces the arguments.

        with_kwargs: the hook is called as `hook(module, args, kwargs)` and returns both.
        prepend: it runs before the hooks that are there already.
        """
        return self._add_hook(self._forward_pre_hooks, hook, prepend, _HookOptions(with_kwargs))

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
        return self._add_hook(self._forward_hooks, hook, prepend, _HookOptions(with_kwargs, always_call))

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
        self, hooks: Hooks, hook: Callable[..., Any], prepend: bool, options: _HookOptions | None = None
    ) -> RemovableHandle:
        self.__dict__["_hooked"] = True
        handle = add_hook(hooks, hook, prepend, self._hook_options)
        if options is not None:
            self._hook_options[handle.id] = options
        return handle

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Makes this module's call a native program, in place; the arguments are those of `rushlight.compile`."""
        from rushlight.compiler.module import compile_in_place

        compile_in_place(self, *args, **kwargs)

    # Registration

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        for store in ("_parameters", "_modules", "_buffers"):
            registered = attributes.get(store)
            if registered is not None and name in registered:
                return registered[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._forget(name, "_parameters", "parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, "_modules", "module")
            self._modules[name] = value
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers", "buffers")
            self.register_buffer(name, value, value.persistent)
        else:
            attributes = self.__dict__
            for store, what in (("_parameters", "parameter"), ("_modules", "child module"), ("_buffers", "buffer")):
                registered = attributes.get(store)
                if registered is not None and name in registered:
                    if value is not None and not (what == "buffer" and isinstance(value, Tensor)):
                        raise TypeError(
                            f"cannot assign '{type(value).__name__}' object as {what} '{name}' "
                            f"({_EXPECTED[what]} or None expected)"
                        )
                    registered[name] = value
                    return
            object.__setattr__(self, name, value)

    def _forget(self, name: str, store: str, what: str) -> None:
        """Takes `name` out of wherever it was before it is registered in `store`."""
        attributes = self.__dict__
        if store not in attributes:
            raise AttributeError(
                f"cannot assign {what} before Module.__init__() call: {type(self).__name__}.__init__ must call "
                f"super().__init__() before self.{name} = ..."
            )
        if name in attributes[store]:
            return
        attributes.pop(name, None)
        for other in ("_parameters", "_modules", "_buffers"):
            if other != store:
                attributes[other].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for store in (self._parameters, self._modules, self._buffers):
            if name in store:
                del store[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        attributes = self.__dict__
        names = {*dir(type(self)), *attributes}
        for store in ("_parameters", "_modules", "_buffers"):
            names.update(attributes.get(store, ()))
        return sorted(n for n in names if not n[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _attributes_in_pytorch(self) -> dict[str, Any]:
        """What PyTorch's class keeps in attributes and this one computes: files of whole modules have them."""
        return {}

    def _check_name(self, name: Any, what: str, store: str) -> None:
        if store not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in self.__dict__[store] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under `name`; None keeps the name for a parameter that isn't there."""
        self._check_name(name, "parameter", "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                    "(nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute it in forward()."
                )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that belongs to the state but isn't trained, such as a running mean.

        persistent: whether it is part of `state_dict()`.
        """
        self._check_name(name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child module under `name`."""
        self._check_name(name, "module", "_modules")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Alias of `add_module`."""
        self.add_module(name, module)

    # Access by path

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "layer1.0.conv"; "" is this module itself."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts `module` at a path; with `strict`, only where there is one already."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as "layer1.0.conv.weight"."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        found = getattr(module, name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as "bn1.running_mean"."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(module, name)

    # Traversal

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths; a module that is registered twice comes once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one, with their names."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self,
        members: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in members(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and, with `recurse`, of those below it, with their paths."""
        return self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, as optimizers want them."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers of this module and, with `recurse`, of those below it, with their paths."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Calls `fn` on every module below this one, and then on this one; for initialising, among other things."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Sets training mode, in which dropout drops and batch norm uses its batch, here and in all modules below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Sets evaluation mode; the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Sets `requires_grad` of all parameters, to freeze or to train them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or with `set_to_none=False` fills them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach()
                parameter.grad.zero_()

    def share_memory(self) -> Self:
        """Does nothing: tensors live in this process, and are inherited by processes that it forks."""
        return self

    # Conversion

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Converts every parameter, its gradient, and every buffer by `fn`. Parameters stay the same objects."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    parameter.data = fn(parameter.data)
                    if parameter.grad is not None:
                        parameter.grad = fn(parameter.grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Converts parameters and buffers: `to(device)`, `to(dtype)`, `to(device, dtype)` or `to(tensor)`.

        Only floating tensors change their dtype. Raises TypeError for a dtype that isn't floating.
        """
        from rushlight.dtypes import dtype as Dtype
        from rushlight.tensor.device import check_device

        dtype = None
        for wanted in (*args, *(kwargs.get(name) for name in ("device", "dtype", "tensor"))):
            if isinstance(wanted, Dtype):
                dtype = wanted
            elif isinstance(wanted, Tensor):
                dtype = wanted.dtype
            elif not isinstance(wanted, bool):  # non_blocking
                check_device(wanted)
        if dtype is None:
            return self
        if not dtype.is_floating_point:
            raise DtypeError(f"nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}")
        return self._cast(dtype)

    def _cast(self, dtype: Any) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def type(self, dst_type: Any) -> Self:
        """Converts all parameters and buffers, integer ones too, to `dst_type`."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Converts floating parameters and buffers to float32."""
        from rushlight.dtypes import float32

        return self._cast(float32)

    def double(self) -> Self:
        """Converts floating parameters and buffers to float64."""
        from rushlight.dtypes import float64

        return self._cast(float64)

    def half(self) -> Self:
        """Converts floating parameters and buffers to float16."""
        from rushlight.dtypes import float16

        return self._cast(float16)

    def bfloat16(self) -> Self:
        """Converts floating parameters and buffers to bfloat16."""
        from rushlight.dtypes import bfloat16

        return self._cast(bfloat16)

    def cpu(self) -> Self:
        """Nothing to do: all tensors live on the CPU."""
        return self

    def cuda(self, device: Any = None) -> Self:
        """Raises DeviceError: there is no CUDA device here, and the message says what can be done instead."""
        return self.to("cuda" if device is None else device)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Gives parameters and buffers fresh memory on `device`, without values."""
        from rushlight.tensor.creation import empty_like

        return self._apply(lambda t: empty_like(t, device=device), recurse)

    # Printing

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """The settings that `repr` shows in the parentheses; override it in a subclass."""
        return ""

    def __repr__(self) -> str:
        settings = self.extra_repr().splitlines()
        children = [f"({name}): " + indented(repr(module)) for name, module in self._modules.items()]
        return self._framed(settings, children)

    def _framed(self, settings: list[str], children: list[str]) -> str:
        name = self._get_name()
        if not settings and not children:
            return f"{name}()"
        if len(settings) == 1 and not children:
            return f"{name}({settings[0]})"
        return f"{name}(\n  " + "\n  ".join(settings + children) + "\n)"


_EXPECTED = {"parameter": "nn.Parameter", "child module": "nn.Module", "buffer": "Tensor"}


def indented(text: str) -> str:
    """`text` with all its lines but the first moved in by two spaces."""
    return text.replace("\n", "\n  ")
