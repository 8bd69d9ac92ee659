"""The state of a module as a dict, and back: state_dict, load_state_dict, and their hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight.autograd.hooks import RemovableHandle, add_hook
from rushlight.autograd.modes import no_grad
from rushlight.errors import InputError
from rushlight.nn.parameter import Parameter
from rushlight.tensor.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.modules.module import Module


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class _IncompatibleKeys(_Keys):
    """What load_state_dict found: keys that the module has and the dict lacks, and the other way round."""

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class StateMethods:
    """The part of Module that saves and loads its state."""

    _version = 1
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _state_hooks: dict[str, dict[int, Any]]

    # Saving

    def state_dict(self, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Any]:
        """Parameters and persistent buffers of this module and all below it, by their paths.

        The tensors share memory with the module's, and are detached unless `keep_vars`.
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # the modules' versions, as an attribute, where PyTorch has them
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._hooks_named("save_before"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._hooks_named("save_after"):
            replaced = hook(self, destination, prefix, local_metadata)
            destination = destination if replaced is None else replaced
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, tensor in self._local_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not StateMethods.get_extra_state:
            destination[prefix + "_extra_state"] = self.get_extra_state()

    def _local_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def get_extra_state(self) -> Any:
        """What else belongs into the state dict; override it together with `set_extra_state`."""
        raise RuntimeError("get_extra_state() is for modules that define it")

    def set_extra_state(self, state: Any) -> None:
        """Takes back what `get_extra_state` gave."""
        raise RuntimeError("set_extra_state() is for modules that define it")

    # Loading

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Copies the tensors of `state_dict` into this module's parameters and buffers.

        Args:
            state_dict: tensors by path, as `state_dict()` gives them.
            strict: whether missing and unexpected keys are errors.
            assign: take the tensors themselves instead of copying their values.

        Returns:
            A named tuple of `missing_keys` and `unexpected_keys`.

        Raises RuntimeError that lists everything that doesn't fit; nothing has been loaded then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        loads: list[Callable[[], None]] = []
        after: list[Module] = []
        metadata = getattr(state_dict, "_metadata", None) or {}
        state = OrderedDict(state_dict)
        state._metadata = metadata  # type: ignore[attr-defined]

        def visit(module: Module, prefix: str) -> None:
            local = dict(metadata.get(prefix[:-1], {}))
            local["assign_to_params_buffers"] = assign
            local["loads"] = loads
            module._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    visit(child, f"{prefix}{name}.")
            after.append(module)

        visit(self, "")  # type: ignore[arg-type]
        if not strict:
            problems = errors
        else:
            problems = list(errors)
            if unexpected:
                problems.insert(0, "Unexpected key(s) in state_dict: " + ", ".join(f'"{k}"' for k in unexpected) + ". ")
            if missing:
                problems.insert(0, "Missing key(s) in state_dict: " + ", ".join(f'"{k}"' for k in missing) + ". ")
        keys = _IncompatibleKeys(missing, unexpected)
        if problems and not self._forgiven_by_hooks(after, keys, errors):
            name = type(self).__name__
            raise InputError(f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(problems))
        with no_grad():
            for load in loads:
                load()
        if not problems:
            for module in after:
                for hook in module._hooks_named("load_after"):
                    hook(module, keys)
        return keys

    @staticmethod
    def _forgiven_by_hooks(modules: list[Module], keys: _IncompatibleKeys, errors: list[str]) -> bool:
        """Whether post-hooks, which may clear the lists of keys, leave nothing to complain about."""
        called = False
        for module in modules:
            for hook in module._hooks_named("load_after"):
                hook(module, keys)
                called = True
        return called and not (keys.missing_keys or keys.unexpected_keys or errors)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Checks the keys of this module alone, and queues the loading of those that fit in `local_metadata`.

        A subclass may override it to translate the keys of older files before it calls this one.
        """
        for hook, with_module in self._hooks_named("load_before"):
            first = (self,) if with_module else ()
            hook(*first, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        loads = local_metadata.get("loads")
        for name, tensor in self._local_state():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            value = state_dict[key]
            if not isinstance(value, Tensor):
                error_msgs.append(
                    f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(value)}"
                )
                continue
            if value.shape != tensor.shape and not (tuple(value.shape) == (1,) and tensor.ndim == 0):
                error_msgs.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, the shape in "
                    f"current model is {tensor.shape}."
                )
                continue
            if loads is None:
                with no_grad():
                    self._load(name, tensor, value, assign)
            else:
                loads.append(lambda n=name, t=tensor, v=value: self._load(n, t, v, assign))
        self._load_extra_state(state_dict, prefix, strict, missing_keys, unexpected_keys)
        if strict:
            known = dict(self._local_state())
            for key in state_dict:
                rest = key.removeprefix(prefix)
                if key.startswith(prefix) and rest != "_extra_state":
                    name, deeper, _ = rest.partition(".")
                    if name not in (self._modules if deeper else known):
                        unexpected_keys.append(key)

    def _load_extra_state(
        self, state_dict: Any, prefix: str, strict: bool, missing_keys: list[str], unexpected_keys: list[str]
    ) -> None:
        key = prefix + "_extra_state"
        if type(self).set_extra_state is not StateMethods.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif key in state_dict and strict:
            unexpected_keys.append(key)

    def _load(self, name: str, tensor: Tensor, value: Tensor, assign: bool) -> None:
        if assign:
            if isinstance(tensor, Parameter):
                if not isinstance(value, Parameter):
                    value = Parameter(value, requires_grad=tensor.requires_grad)
                elif value.requires_grad != tensor.requires_grad:
                    value = Parameter(value.detach(), requires_grad=tensor.requires_grad)
            setattr(self, name, value)
        else:
            tensor.copy_(value.reshape(tensor.shape))

    # Hooks

    def _hooks_named(self, name: str) -> tuple[Any, ...]:
        return tuple(self._state_hooks.get(name, {}).values())

    def _add_state_hook(self, name: str, hook: Any) -> RemovableHandle:
        return add_hook(self._state_hooks.setdefault(name, {}), hook, False)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Adds `hook(module, prefix, keep_vars)`, called before the state dict is made."""
        return self._add_state_hook("save_before", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Adds `hook(module, state_dict, prefix, local_metadata)`, called after it is made; changes it in place."""
        return self._add_state_hook("save_after", hook)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return self._add_state_hook("save_after", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Adds `hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)`.

        It is called before this module's keys are looked at, and may change the state dict.
        """
        return self._add_state_hook("load_before", (hook, True))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        return self._add_state_hook("load_before", (hook, with_module))

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Adds `hook(module, incompatible_keys)`, called after loading; it may clear the lists of keys."""
        return self._add_state_hook("load_after", hook)
