"""`rushlight.distributed`: a group of one process, so that scripts for several run in the one that there is.

One process computes, on all the processors that it may use: what is summed up over a group of one, or sent to all of
it, stays as it is. A larger group is refused when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rushlight.autograd.modes import no_grad
from rushlight.errors import UnsupportedError
from rushlight.nn.modules.parallel import DistributedDataParallel as DistributedDataParallel
from rushlight.tensor.tensor import Tensor

__path__: list[str] = []  # so that an import of a part of it is asked for here, and refused in our words


class ReduceOp:
    """How `all_reduce` puts the tensors of a group together."""

    SUM, PRODUCT, MIN, MAX, AVG = "sum", "product", "min", "max", "avg"


class _Group:
    """Whether `init_process_group` has been called."""

    backend: str | None = None


def is_available() -> bool:
    """False: one process computes, on all its processors."""
    return False


def is_initialized() -> bool:
    """Whether there is a group: after `init_process_group`."""
    return _Group.backend is not None


def is_torchelastic_launched() -> bool:
    """False: there is no launcher."""
    return False


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    **options: Any,
) -> None:
    """Makes the group of this one process.

    Raises UnsupportedError where it is to be a larger one, by `world_size` or the environment's WORLD_SIZE.
    """
    size = world_size if world_size > 0 else int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        raise UnsupportedError(
            f"init_process_group: a group of {size} processes; training runs in one process here, on all processors "
            "that it may use. Start the script once, without a launcher"
        )
    _Group.backend = backend or "gloo"


def destroy_process_group(group: Any = None) -> None:
    """Forgets the group."""
    _Group.backend = None


def new_group(ranks: Sequence[int] | None = None, *args: Any, **options: Any) -> None:
    """None, which stands for the group of all."""


def get_backend(group: Any = None) -> str:
    """The name that `init_process_group` was given. Raises ValueError before."""
    if _Group.backend is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return _Group.backend


def get_rank(group: Any = None) -> int:
    """0: the only process."""
    return 0


def get_world_size(group: Any = None) -> int:
    """1: the only process."""
    return 1


def barrier(group: Any = None, **options: Any) -> None:
    """Nobody to wait for."""


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> None:
    """Leaves `tensor` as it is: there are no others to add."""


def reduce(tensor: Tensor, dst: int = 0, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> None:
    """Leaves `tensor` as it is: there are no others to add."""


def broadcast(tensor: Tensor, src: int = 0, group: Any = None, async_op: bool = False) -> None:
    """Leaves `tensor` as it is: it is this process's own."""


def broadcast_object_list(object_list: list[Any], src: int = 0, group: Any = None, device: Any = None) -> None:
    """Leaves the objects as they are: they are this process's own."""


@no_grad()
def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> None:
    """Copies `tensor` into the one tensor of `tensor_list`."""
    tensor_list[0].copy_(tensor)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Puts `obj` into the first place of `object_list`."""
    object_list[0] = obj


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"rushlight.distributed has no {name}: training runs in one process, on all processors that it may use; ask "
        "is_available() first"
    )
