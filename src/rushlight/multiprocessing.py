"""`rushlight.multiprocessing`: Python's own. Tensors are copied between processes, not shared."""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403 (this module is that one, under PyTorch's name)
from typing import Any


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted: nothing is shared."""


def get_sharing_strategy() -> str:
    """ "file_system", which limits nothing."""
    return "file_system"


def spawn(fn: Any, args: tuple[Any, ...] = (), nprocs: int = 1, join: bool = True, daemon: bool = False) -> Any:
    """Runs `fn(i, *args)` in `nprocs` new processes, and waits for them with `join`; raises where one failed."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in processes:
        process.start()
    if not join:
        return processes
    for process in processes:
        process.join()
    failed = [i for i, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"process {failed[0]} terminated with exit code {processes[failed[0]].exitcode}")
    return None
