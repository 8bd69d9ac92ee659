"""Errors that leave a module's call name the module: its path from the outermost one, its settings, what it got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight.errors import InputError
from rushlight.tensor.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.modules.module import Module


class _Location:
    """Where an error was raised: the modules that were being called, innermost first, and the innermost's arguments."""

    def __init__(self, message: str, args: tuple[Any, ...]) -> None:
        self.message = message
        self.args = args
        self.modules: list[Module] = []
        self.note: str | None = None

    def text(self) -> str:
        lines = [f"in {self._named(self.modules[0])}"]
        if self.args:
            lines.append("called with " + "; ".join(self._described(a) for a in self.args))
        return "\n".join("  " + line for line in lines)

    def _named(self, module: Module) -> str:
        """Path of a module, and its settings where they fit in a line."""
        path = self._path(module)
        name = type(module).__name__
        settings = repr(module)
        if "\n" in settings:
            settings = f"a {name}"
        return path if path == name and settings == f"a {name}" else f"{path}: {settings}"

    def _path(self, module: Module) -> str:
        root = self.modules[-1]
        if module in self.modules:
            # Through the calls: a module that is registered in two places has the name by which it was called.
            parts = [type(root).__name__]
            index = next(i for i, m in enumerate(self.modules) if m is module)
            for parent, child in zip(self.modules[:index:-1], self.modules[-2::-1], strict=False):
                name = next((n for n, m in parent.named_modules() if m is child), None)
                parts.append(f"({type(child).__name__})" if not name else name)
            return ".".join(parts)
        name = next((n for n, m in root.named_modules() if m is module), None)
        return type(module).__name__ if not name else f"{type(root).__name__}.{name}"

    def _described(self, argument: Any) -> str:
        if argument is None or isinstance(argument, (bool, int, float, str)):
            return repr(argument)
        if not isinstance(argument, Tensor):
            return f"a {type(argument).__name__}"
        return self._described_tensor(argument)

    def _described_tensor(self, tensor: Tensor) -> str:
        what = f"a {tensor.dtype.name} tensor of shape {tuple(tensor.array.shape)}"
        producer = tensor._producer
        if producer is not None:
            return f"{what}, the output of {self._named(producer)}"
        if tensor._base is not None and tensor._base._producer is not None:
            steps = ", ".join(operation.name for operation, _ in tensor._views)
            return f"{what}, a view ({steps}) of the output of {self._named(tensor._base._producer)}"
        operation = getattr(tensor._node, "operation", None)
        return what if operation is None else f"{what}, the result of {operation.name}"


def _took_for_tensor(error: AttributeError, args: tuple[Any, ...]) -> bool:
    """Whether an argument that isn't a Tensor was asked for what Tensors have."""
    given = any(error.obj is argument for argument in args)
    return given and not isinstance(error.obj, Tensor) and hasattr(Tensor, error.name or "")


def locate(error: Exception, module: Module, args: tuple[Any, ...]) -> None:
    """Adds to `error`, which is leaving the call of `module`, where it was raised.

    An InputError's message is extended; other exceptions get a note. Called again at each module on the way out.
    """
    location: _Location | None = getattr(error, "_location", None)
    if location is None:
        if isinstance(error, AttributeError) and _took_for_tensor(error, args):
            error.args = (f"{error}: {type(module).__name__} takes Tensors, not a {type(error.obj).__name__}",)
        location = _Location(str(error), args)
        error._location = location  # type: ignore[attr-defined]
    location.modules.append(module)
    text = location.text()
    if isinstance(error, InputError):
        error.args = (f"{location.message}\n{text}", *error.args[1:])
        return
    notes = getattr(error, "__notes__", [])
    if location.note in notes:
        notes[notes.index(location.note)] = text
    else:
        error.add_note(text)
    location.note = text
