"""`rushlight.compile`: trace -> graph -> passes -> program. See README.md in this folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from rushlight.compiler.compiled import CacheInfo as CacheInfo
from rushlight.compiler.compiled import Compiled as Compiled
from rushlight.compiler.compiled import reset as reset
from rushlight.compiler.module import compile_module
from rushlight.errors import TraceError
from rushlight.nn.modules.module import Module
from rushlight.ops.declare import routing


def compile(  # noqa: A001 (PyTorch's name)
    model: Any = None, *, fullgraph: bool | None = None, cache_size: int = 16, **_options: Any
) -> Any:
    """Makes one native program of a function's tensor operations, backward passes and optimizer steps.

    `model` is a function, which then runs as a program, or a Module, which stays that module with a compiled call. It
    is traced once for each signature: the shapes and dtypes of its tensors, its other arguments, and whatever it read
    of modules and variables. Without `model`, a decorator with these settings.

    Args:
        model: the function or module.
        fullgraph: whether it is an error (TraceError, when called) where the function can't become a program: it
            reads a value of a tensor, decides on one, or keeps a tensor outside itself. With False such a call runs
            eagerly, as a whole, and a warning says why; compiled functions that it calls are programs still. True
            unless given, but for scripts under `rushlight run`, which are written for PyTorch.
        cache_size: how many programs are kept, the least recently used of them going first.

    Other options of torch.compile (backend, mode, dynamic ...) are taken and have no effect.
    """
    if model is None:
        return lambda function: compile(function, fullgraph=fullgraph, cache_size=cache_size)
    if isinstance(model, Module):
        return compile_module(model, cache_size, fullgraph)
    if not callable(model):
        raise TypeError(f"compile() takes a function or a Module, not {type(model).__name__}")
    return Compiled(model, cache_size, fullgraph)


Function = Callable[..., Any]


def is_compiling() -> bool:
    """Whether a compiled function is being recorded right now."""
    return routing.tracing is not None


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Marks a function, as a call or as a decorator, as one that is not to become part of a program.

    A program is one whole here and has no gaps for Python code: a compiled function that calls it raises
    TraceError, or with fullgraph=False runs eagerly.
    """
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)

    @functools.wraps(fn)
    def call(*args: Any, **options: Any) -> Any:
        if is_compiling():
            because = f" ({reason})" if reason else ""
            raise TraceError(
                f"{getattr(fn, '__name__', fn)} is marked with compiler.disable{because}, so that a compiled function "
                "can't call it: call it before or after the compiled one"
            )
        return fn(*args, **options)

    return call
