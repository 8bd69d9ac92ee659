"""Memory whose values aren't known yet: what tensors hold while a function is traced.

Shapes, dtypes, strides and views are NumPy's own; whatever would read or write a value raises TraceError.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NoReturn

import numpy as np

from rushlight.errors import TraceError
from rushlight.ops.declare import routing

_OF_SHAPES = frozenset(
    [np.shape, np.ndim, np.size, np.may_share_memory, np.shares_memory, np.broadcast_to, np.moveaxis, np.swapaxes,
     np.transpose, np.expand_dims, np.squeeze, np.reshape, np.diagonal, np.flip, np.split, np.array_split,
     np.atleast_1d, np.atleast_2d, np.atleast_3d, np.rollaxis, np.ravel, np.result_type,
     np.lib.stride_tricks.sliding_window_view]
)  # fmt: skip
_LIKE = frozenset([np.empty_like, np.zeros_like, np.ones_like, np.full_like])


def user_line() -> str:
    """Where the user's code stands, "file:line": the innermost frame outside this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


@functools.cache
def _is_inside(module: str) -> bool:
    """Whether a module is part of this package."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def refuse(what: str) -> NoReturn:
    """Raises TraceError: `what` isn't possible while a function is traced."""
    raise TraceError(
        f"{what} while the function is being compiled (at {user_line()}): the values aren't known yet, the program "
        "that computes them is still being recorded. Return the tensor from the function and read it outside; choose "
        "between values with torch.where, not with if"
    )


def refuse_effect(what: str) -> NoReturn:
    """Raises TraceError: `what` would be done once, when the function is traced, and not by its program."""
    raise TraceError(
        f"{what} while the function is being compiled (at {user_line()}): a program does only what is done to the "
        "values of tensors. Do it outside the compiled function"
    )


def has_values(tensor: Any) -> bool:
    """Whether the values of a tensor can be looked at: a traced function knows only constants."""
    return routing.tracing is None or routing.tracing.is_constant(tensor.array)


def values_of(tensor: Any, what: str) -> np.ndarray[Any, Any]:
    """The array of a tensor whose values `what` is about to read; raises TraceError where a trace doesn't know them.

    Whoever reads values beside the operations gets them here: a program would do so only once, when it is recorded.
    """
    return tensor.array if routing.tracing is None else routing.tracing.values(tensor.array, what)  # type: ignore[no-any-return]


class Unread(np.ndarray[Any, Any]):
    """An array that has a shape, a dtype and views, and no values yet."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        refuse(f"numpy.{ufunc.__name__} reads a tensor's values")

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function in _OF_SHAPES:
            return super().__array_function__(function, types, args, options)
        if function in _LIKE:
            return super().__array_function__(function, types, args, {**options, "subok": False})
        refuse(f"numpy.{function.__name__} reads a tensor's values")

    def __getitem__(self, index: Any) -> Any:
        result = super().__getitem__(index)
        if not isinstance(result, Unread) or (result.size and not np.may_share_memory(result, self)):
            refuse("indexing reads a tensor's values")
        return result

    def __setitem__(self, index: Any, value: Any) -> None:
        refuse("this writes into memory that isn't there")


def _refusing(name: str) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        refuse(f"{name}() reads a tensor's values")

    method.__name__ = name
    return method


for _name in (
    "item", "tolist", "tobytes", "copy", "astype", "min", "max", "sum", "prod", "mean", "std", "var", "any", "all",
    "argmin", "argmax", "argsort", "sort", "nonzero", "take", "dot", "cumsum", "cumprod", "round", "clip", "repeat",
    "fill", "put", "tofile", "dump", "dumps", "searchsorted", "choose", "compress", "partition", "argpartition",
    "trace", "__bool__", "__float__", "__int__", "__index__", "__complex__", "__iter__", "__contains__", "__repr__",
    "__str__", "__dlpack__", "__reduce__", "__reduce_ex__", "__deepcopy__", "__copy__", "__format__",
):  # fmt: skip
    setattr(Unread, _name, _refusing(_name))
