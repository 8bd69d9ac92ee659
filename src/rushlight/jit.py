"""`rushlight.jit`: TorchScript's decorators, which leave what they are given as it is.

`rushlight.compile` makes programs; a function or a module under `script` or `trace` runs as the Python that it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Code = TypeVar("Code")


def script(obj: Code, *args: Any, **kwargs: Any) -> Code:
    """`obj` itself."""
    return obj


def trace(func: Code, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Code:
    """`func` itself: its control flow isn't frozen to what the examples take."""
    return func


def freeze(mod: Code, *args: Any, **kwargs: Any) -> Code:
    """`mod` itself."""
    return mod


optimize_for_inference = freeze


def export(fn: Code) -> Code:
    """`fn` itself."""
    return fn


script_method = interface = export


class ScriptModule:
    """What nothing is an instance of: `script` leaves modules as they are."""


ScriptFunction = RecursiveScriptModule = ScriptModule


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator, with or without arguments, that returns the function itself."""
    return drop if callable(drop) else _unchanged


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


unused = export


def is_scripting() -> bool:
    """False."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


def __getattr__(name: str) -> Any:
    if name in ("save", "load"):
        raise AttributeError(
            f"rushlight.jit has no {name}: a file holds data, not programs. Save model.state_dict(), and load that "
            "into a new model with load_state_dict()"
        )
    raise AttributeError(f"rushlight.jit has no {name}: functions and modules run as the Python that they are")
