"""Compiled modules: the module itself under a class whose call runs a program."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

from rushlight.compiler.compiled import CacheInfo, Compiled
from rushlight.nn.modules.module import Module


def compile_module(module: Module, cache_size: int, fullgraph: bool | None = None) -> Module:
    """`module` with a compiled call. The two share everything: parameters, buffers, submodules, the training flag."""
    return _twin(module, _compiled_class(module, cache_size, fullgraph))


def compile_in_place(module: Module, *, cache_size: int = 16, fullgraph: bool | None = None, **_options: Any) -> None:
    """Gives `module` itself a compiled call; once more changes nothing."""
    if not hasattr(type(module), "_orig_mod"):
        object.__setattr__(module, "__class__", _compiled_class(_twin(module, type(module)), cache_size, fullgraph))


def _twin(module: Module, kind: type) -> Module:
    """Another object for the same module, of the class `kind`."""
    twin: Module = object.__new__(kind)
    object.__setattr__(twin, "__dict__", module.__dict__)
    return twin


def _compiled_class(module: Module, cache_size: int, fullgraph: bool | None) -> type:
    """The class of `module`, with a call that runs `module` as a program."""
    kind = type(module)
    compiled = Compiled(module, cache_size, fullgraph)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        return compiled(*args, **options)

    def graph(self: Any) -> str:
        return compiled.graph()

    def profile(self: Any, runs: int = 3) -> Any:
        return compiled.profile(runs)

    def cache_info(self: Any) -> CacheInfo:
        return compiled.cache_info()

    def deepcopy(self: Any, memo: dict[int, Any]) -> Module:
        return compile_module(copy.deepcopy(module, memo), cache_size, compiled.fullgraph)

    def reduce(self: Any, protocol: Any) -> tuple[Any, ...]:
        return compile_module, (module, cache_size, compiled.fullgraph)

    def load_state_dict(self: Any, state_dict: Any, *args: Any, **options: Any) -> Any:
        return kind.load_state_dict(self, _of_the_module(state_dict), *args, **options)

    members = {"__call__": call, "graph": graph, "profile": profile, "cache_info": cache_info, "_orig_mod": module}
    members |= {"__deepcopy__": deepcopy, "__reduce_ex__": reduce, "load_state_dict": load_state_dict}
    members |= {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), members)


_PREFIX = "_orig_mod."


def _of_the_module(state: Any) -> Any:
    """A state dict without the prefix that the keys of compiled modules have in PyTorch."""
    if not isinstance(state, dict) or not all(str(key).startswith(_PREFIX) for key in state):
        return state
    plain = OrderedDict((key.removeprefix(_PREFIX), value) for key, value in state.items())
    metadata = getattr(state, "_metadata", None) or {}
    plain._metadata = {key.removeprefix(_PREFIX): value for key, value in metadata.items()}  # type: ignore[attr-defined]
    return plain
