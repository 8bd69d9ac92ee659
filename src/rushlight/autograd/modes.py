"""Whether operations are recorded for gradients: `no_grad`, `enable_grad`, `inference_mode`, `set_grad_enabled`."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Mode(threading.local):
    grad_enabled = True
    inference = False


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return mode.grad_enabled


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on in this thread."""
    return mode.inference


class _GradMode:
    """A mode for the length of a `with` block, or of the calls of a function that it decorates."""

    _enabled = True

    def __init__(self) -> None:
        self._before: list[bool] = []

    def _new(self) -> _GradMode:
        return type(self)()

    def __enter__(self) -> None:
        self._before.append(mode.grad_enabled)
        mode.grad_enabled = self._enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        mode.grad_enabled = self._before.pop()

    def __call__(self, function: _Function) -> _Function:
        """Decorates a function, or a generator function: the mode holds while its body runs."""
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                running = function(*args, **kwargs)
                sent = None
                try:
                    while True:
                        with self._new():
                            value = running.send(sent)
                        sent = yield value
                except StopIteration as stop:
                    return stop.value
                finally:
                    running.close()

            return cast(_Function, generator)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._new():
                return function(*args, **kwargs)

        return cast(_Function, wrapper)


class _NoArgumentMode(_GradMode):
    def __new__(cls, function: Any = None) -> Any:
        # `@no_grad` without parentheses decorates, as it does in PyTorch.
        instance = super().__new__(cls)
        if function is None:
            return instance
        instance.__init__()  # type: ignore[misc]
        return instance(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()


class no_grad(_NoArgumentMode):
    """Operations within aren't recorded: their results don't require gradients."""

    _enabled = False


class enable_grad(_NoArgumentMode):
    """Operations within are recorded, also inside `no_grad`."""

    _enabled = True


class set_grad_enabled(_GradMode):
    """Turns recording on or off: at once when called, and back at the end when used with `with`."""

    def __init__(self, mode_: bool) -> None:
        super().__init__()
        self._enabled = bool(mode_)
        self._before.append(mode.grad_enabled)
        mode.grad_enabled = self._enabled

    def _new(self) -> _GradMode:
        return type(self)(self._enabled)

    def __enter__(self) -> None:
        if not self._before:
            super().__enter__()
        mode.grad_enabled = self._enabled

    def __call__(self, function: _Function) -> _Function:
        if self._before:
            mode.grad_enabled = self._before.pop()
        return super().__call__(function)


class inference_mode(_GradMode):
    """As `no_grad`; tensors made within can't be used in recorded operations later in PyTorch, here they can."""

    def __new__(cls, mode: Any = True) -> Any:
        instance = super().__new__(cls)
        if callable(mode) and not isinstance(mode, bool):
            instance.__init__()  # type: ignore[misc]
            return instance(mode)
        return instance

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._on = mode
        self._enabled = not mode
        self._inference_before: list[bool] = []

    def _new(self) -> _GradMode:
        return type(self)(self._on)

    def __enter__(self) -> None:
        self._inference_before.append(mode.inference)
        mode.inference = self._on
        self._before.append(mode.grad_enabled)
        if self._on:
            mode.grad_enabled = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        mode.inference = self._inference_before.pop()
        super().__exit__(kind, error, traceback)
