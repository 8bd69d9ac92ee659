"""Compiled modules: the module itself under a class whose call runs a program."""

from __future__ import annotations

import copy
from typing import Any

from rushlight.compiler.compiled import CacheInfo, Compiled
from rushlight.nn.modules.module import Module


def compile_module(module: Module, cache_size: int) -> Module:
    """`module` with a compiled call. The two share everything: parameters, buffers, submodules, the training flag."""
    kind = type(module)
    compiled = Compiled(module, cache_size)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        return compiled(*args, **options)

    def graph(self: Any) -> str:
        return compiled.graph()

    def profile(self: Any, runs: int = 3) -> Any:
        return compiled.profile(runs)

    def cache_info(self: Any) -> CacheInfo:
        return compiled.cache_info()

    def deepcopy(self: Any, memo: dict[int, Any]) -> Module:
        return compile_module(copy.deepcopy(module, memo), cache_size)

    def reduce(self: Any, protocol: Any) -> tuple[Any, ...]:
        return compile_module, (module, cache_size)

    members = {"__call__": call, "graph": graph, "profile": profile, "cache_info": cache_info, "_orig_mod": module}
    members |= {"__deepcopy__": deepcopy, "__reduce_ex__": reduce}
    members |= {"__doc__": kind.__doc__, "__module__": kind.__module__}
    result: Module = object.__new__(type(kind.__name__, (kind,), members))
    object.__setattr__(result, "__dict__", module.__dict__)
    return result
