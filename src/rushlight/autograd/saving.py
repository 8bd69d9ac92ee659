"""What nodes keep for the backward pass, packed by the user's hooks: `saved_tensors_hooks`.

Without hooks a node keeps the tensors themselves (`tape.py`, `function.py`); with them a `Packed` stands in each place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from rushlight.autograd.modes import no_grad
from rushlight.ops.declare import Spec
from rushlight.tensor.tensor import Tensor


class _Saving(threading.local):
    hooks: tuple[tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]], ...] = ()
    refused: str | None = None


class _EverUsed:
    any = False  # until hooks are first used, nodes needn't ask whether there are some in their thread


ever_used = _EverUsed()
_saving = _Saving()


class Packed:
    """A saved tensor that a hook has packed: what the hook returned, and what is known of the tensor without it."""

    _counter = None  # its memory is the user's affair

    def __init__(self, tensor: Tensor, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> None:
        self.array = Spec(tensor.array.shape, tensor.array.dtype)
        self._unpack = unpack
        self._place = (tensor._node, tensor._index, tensor._requires_grad)
        self._leaf = tensor if tensor._requires_grad and tensor._node is None else None
        with no_grad():
            self._kept = pack(tensor.detach())

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.array.shape

    def unpack(self) -> Tensor:
        """The tensor, in its place in the graph.

        Raises TypeError or RuntimeError where the hook gives something else than a tensor of its shape and dtype.
        """
        with no_grad():
            tensor = self._unpack(self._kept)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"unpack_hook must return a Tensor, but got {type(tensor).__name__}")
        if (tensor.array.shape, tensor.array.dtype) != (self.array.shape, self.array.dtype):
            raise RuntimeError(
                f"unpack_hook returned a tensor of shape {tuple(tensor.shape)} and dtype {tensor.dtype} for one of "
                f"shape {tuple(self.array.shape)} and dtype {self.array.dtype}"
            )
        if self._leaf is not None:
            from rushlight.autograd.tape import Passing

            tensor = tensor.detach()
            tensor._node, tensor._requires_grad = Passing(self._leaf), True
        elif self._place[2]:
            tensor = tensor.detach()
            tensor._node, tensor._index, tensor._requires_grad = self._place
        return tensor


def packed(tensor: Any) -> Any:
    """What a node keeps of `tensor`: itself, or where hooks are in force it packed by the innermost."""
    return Packed(tensor, *_saving.hooks[-1]) if _saving.hooks else tensor


def are_hooks_in_force() -> bool:
    """Whether tensors that nodes keep are packed, in this thread."""
    return bool(_saving.hooks)


class saved_tensors_hooks:
    """Within it, tensors that are saved for the backward pass are packed, and unpacked when that reads them.

    Args:
        pack_hook: a function of the tensor, called when it is saved; whatever it returns is kept instead.
        unpack_hook: a function of what `pack_hook` returned, which gives a tensor of the same content.

    Raises RuntimeError on entering, within `disable_saved_tensors_hooks`.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if _saving.refused is not None:
            raise RuntimeError(_saving.refused)
        ever_used.any = True
        _saving.hooks = (*_saving.hooks, (self.pack_hook, self.unpack_hook))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _saving.hooks = _saving.hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """Keeps saved tensors in the CPU's memory, where they are anyway: nothing is copied."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


class disable_saved_tensors_hooks:
    """Within it, `saved_tensors_hooks` raises RuntimeError with `error_message`."""

    def __init__(self, error_message: str) -> None:
        self._message = error_message
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        if _saving.hooks:
            raise RuntimeError(self._message)
        self._before.append(_saving.refused)
        _saving.refused = self._message

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _saving.refused = self._before.pop()


def pack_kept(kept: Sequence[Any]) -> list[Any]:
    """What a node kept of its arguments, the tensors among it packed."""
    return [(packed(entry[0]), 0) if type(entry) is tuple and isinstance(entry[0], Tensor) else entry for entry in kept]
