"""What all optimizers share: parameter groups, state, saving and loading."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import Any

from rushlight import core
from rushlight.autograd.hooks import Hooks, RemovableHandle, add_hook
from rushlight.autograd.modes import enable_grad, no_grad
from rushlight.ops.declare import routing
from rushlight.tensor import Tensor


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()
"""As a default, says that each group has to give this setting."""

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class Optimizer:
    """Holds parameters in groups, each with its own settings, and the state that belongs to each parameter.

    A subclass defines `_update(group, parameters)`, which moves the parameters that have a gradient.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with the key "params" and settings of that group.
        defaults: settings of groups that don't give their own.

    Raises TypeError or ValueError for parameters that aren't leaf tensors, that are in two groups, or that are none.
    """

    # Whether a step hands the kernels what the last one did, but for its count, unless settings or states have changed.
    _repeats = False
    _has_duplicates = False  # a group has a parameter twice

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor; "
                "put it in a list"
            )
        if hasattr(params, "parameters"):
            name = type(params).__name__
            raise TypeError(
                f"params argument given to the optimizer is a {name}, not parameters: call its parameters()"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._make_hooks()
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list: does the model have parameters, is it built?")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def _make_hooks(self) -> None:
        self._step_pre_hooks: Hooks = {}
        self._step_post_hooks: Hooks = {}
        self._state_dict_pre_hooks: Hooks = {}
        self._state_dict_post_hooks: Hooks = {}
        self._load_state_dict_pre_hooks: Hooks = {}
        self._load_state_dict_post_hooks: Hooks = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group: {"params": tensors, and settings that differ from the defaults}."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = dict(param_group)
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, not sets")
        params = list(params)
        if params and isinstance(params[0], tuple):
            group["param_names"] = [name for name, _ in params]
            params = [tensor for _, tensor in params]
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}")
            if not (param.is_leaf or param._requires_grad is False):
                raise ValueError("can't optimize a non-leaf Tensor: give the tensor that it was computed from")
        if len({id(p) for p in params}) != len(params):
            self._has_duplicates = True
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters: each step moves those several times",
                stacklevel=3,
            )
        known = {id(p) for existing in self.param_groups for p in existing["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        group["params"] = params
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            group.setdefault(name, default)
        self.param_groups.append(group)

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves the parameters by their gradients. `closure` computes the loss anew, and its value is returned."""
        args: tuple[Any, ...] = (self,) if closure is None else (self, closure)
        for hook in tuple(self._step_pre_hooks.values()):
            hook(self, args, {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        update = self._update if routing.tracing is None else routing.tracing.updating(self)
        if routing.timing is not None:
            update = partial(routing.timing, f"Optimizer.step#{type(self).__name__}.step", (), update)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for some in _apart(parameters) if self._has_duplicates else (parameters,):
                if some:
                    update(group, some)
        for hook in tuple(self._step_post_hooks.values()):
            hook(self, args, {})
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients, or with `set_to_none=False` fills them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad = param.grad.detach()
                    param.grad.zero_()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls hook(optimizer, args, kwargs) before each step; args are the optimizer and its closure, if any."""
        return add_hook(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls hook(optimizer, args, kwargs) after each step, as `register_step_pre_hook` does before."""
        return add_hook(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer) before `state_dict`; with `prepend` before the hooks that are there."""
        return add_hook(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer, state_dict) on what `state_dict` is to return; it may return another."""
        return add_hook(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer, state_dict) with a shallow copy of what is to be loaded; it may return another."""
        return add_hook(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer) after `load_state_dict`."""
        return add_hook(self._load_state_dict_post_hooks, hook, prepend)

    def state_dict(self) -> dict[str, Any]:
        """The state as data: {"state": {number: ...}, "param_groups": [...]}, parameters numbered in their order."""
        for hook in tuple(self._state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {(numbers[id(key)] if isinstance(key, Tensor) else key): value for key, value in self.state.items()}
        found = {"state": state, "param_groups": groups}
        for hook in tuple(self._state_dict_post_hooks.values()):
            replaced = hook(self, found)
            found = found if replaced is None else replaced
        return found

    @no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a state that `state_dict()` gave, here or in PyTorch. Nothing changes where it doesn't fit.

        Raises ValueError where the groups or the numbers of their parameters differ.
        """
        state_dict = dict(state_dict)
        for hook in tuple(self._load_state_dict_pre_hooks.values()):
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        groups = deepcopy(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has {len(groups)} parameter group(s), this optimizer {len(self.param_groups)}"
            )
        for position, (mine, theirs) in enumerate(zip(self.param_groups, groups, strict=True)):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {position} has {len(theirs['params'])} parameters there, {len(mine['params'])} here"
                )
        numbers = chain.from_iterable(group["params"] for group in groups)
        tensors = chain.from_iterable(group["params"] for group in self.param_groups)
        by_number = dict(zip(numbers, tensors, strict=True))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            param = by_number.get(key)
            state[key if param is None else param] = _fitted(value, param)
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            theirs["params"] = mine["params"]
            if "param_names" in mine:
                theirs.setdefault("param_names", mine["param_names"])
            for name, value in self.defaults.items():
                theirs.setdefault(name, value)
        self.state = state
        self.param_groups = groups
        for hook in tuple(self._load_state_dict_post_hooks.values()):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._has_duplicates = any(len(set(group["params"])) != len(group["params"]) for group in self.param_groups)
        self._make_hooks()

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for position, group in enumerate(self.param_groups):
            text += f"\nParameter Group {position}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"


def _apart(parameters: list[Tensor]) -> list[list[Tensor]]:
    """The parameters in lists in which none comes twice."""
    lists: list[dict[Tensor, None]] = []
    for parameter in parameters:
        fitting = next((known for known in lists if parameter not in known), None)
        if fitting is None:
            lists.append(fitting := {})
        fitting[parameter] = None
    return [list(known) for known in lists]


def _fitted(value: Any, param: Tensor | None, key: str | None = None) -> Any:
    """Loaded state with its tensors copied, in the parameter's dtype (but for step counts)."""
    if isinstance(value, Tensor):
        if param is not None and param.is_floating_point() and key != "step":
            return value.detach().to(param.dtype).clone()
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _fitted(item, param, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fitted(item, param) for item in value)
    return deepcopy(value)


def gradients_of(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients of parameters that have one."""
    return [p.grad for p in parameters if p.grad is not None]


def by_step(states: list[dict[str, Any]], parameters: list[Tensor]) -> list[tuple[int, list[int]]]:
    """Counts one step more in each state; returns the positions of parameters of one step count and one dtype."""
    found: dict[tuple[int, Any], list[int]] = {}
    steps = [state["step"] for state in states]
    in_tensors = all(isinstance(step, Tensor) for step in steps)
    together = count_step([step.array for step in steps]) if in_tensors else -1.0
    for position, (state, step, parameter) in enumerate(zip(states, steps, parameters, strict=True)):
        if together >= 0:
            count = int(together)
        elif isinstance(step, Tensor):
            step.array += 1
            count = int(step.array)
        else:
            count = state["step"] = int(step) + 1
        found.setdefault((count, parameter.array.dtype), []).append(position)
    return [(step, positions) for (step, _), positions in found.items()]


def by_values(
    states: list[dict[str, Any]], positions: list[int], *names: str
) -> list[tuple[tuple[float, ...], list[int]]]:
    """The numbers that states have under `names`, and the positions of those that have the same."""
    found: dict[tuple[float, ...], list[int]] = {}
    for position in positions:
        numbers = tuple([float(states[position][name].array) for name in names])
        found.setdefault(numbers, []).append(position)
    return list(found.items())


def count_step(steps: list[Any]) -> float:
    """Adds 1 to step counts, 0-d arrays, if they are equal and of one dtype: what they are then; -1 if they aren't."""
    if core.native is not None:
        return core.native.count_step(steps)  # type: ignore[no-any-return]
    kinds = {(step.shape, step.dtype) for step in steps}
    if len(kinds) != 1 or len({float(step) for step in steps}) != 1:
        return -1.0
    for step in steps:
        step += 1
    return float(steps[0])


def refuse_negative(**settings: float) -> None:
    """Raises ValueError, PyTorch's type for it, where a setting is negative (or not a number)."""
    names = {"lr": "learning rate", "eps": "epsilon value", "weight_decay": "weight_decay value"}
    for name, value in settings.items():
        if not (isinstance(value, Tensor) or value >= 0.0):
            raise ValueError(f"Invalid {names.get(name, name + ' value')}: {value}; it must be at least 0")
