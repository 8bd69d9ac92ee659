"""A process that runs one workload with one library, at the word of the parent process."""

from __future__ import annotations

import ctypes
import gc
import re
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import BUILDERS, Builders


def resident_bytes(peak: bool) -> int:
    """The memory of this process, now or at its highest since it was reset (Linux)."""
    field = "VmHWM" if peak else "VmRSS"
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def reset_peak() -> None:
    """Gives back what is free, and forgets the highest that memory has been (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def exchange_weights(torch: Any, workload: Any, given: list[dict[str, np.ndarray]] | None) -> list[Any]:
    """Loads the weights that are given, if any, and returns the workload's own as arrays."""
    for module, arrays in zip(workload.modules, given or [], strict=given is not None):
        module.load_state_dict({key: torch.from_numpy(a) for key, a in arrays.items()})
    return [{key: np.array(t.numpy()) for key, t in module.state_dict().items()} for module in workload.modules]


def load(library: str, threads: int) -> tuple[Any, Builders]:
    """The library's namespace, and the workloads that there are for it."""
    if library == "jax":
        from benchmarks.jax_peer import JAX, Namespace

        return Namespace, JAX
    if library == "torch":
        import torch
    else:
        import rushlight as torch  # type: ignore[no-redef]
    from benchmarks.further import FURTHER

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    # What is loaded on first use belongs to the library, not to the workload.
    layer = torch.nn.Linear(64, 64)
    torch.nn.functional.cross_entropy(layer(torch.ones(2, 64)), torch.tensor([0, 1])).backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    np.random.default_rng(0)
    return torch, BUILDERS | FURTHER


def compile_for_torch(torch: Any, build: Any, weights: list[dict[str, np.ndarray]]) -> Any:
    """The step of a workload with these weights, compiled as a whole, or where PyTorch can't do that each network."""

    def built() -> Any:
        workload = build()
        exchange_weights(torch, workload, weights)
        return workload

    try:
        torch.compile(built().step)()
    except RuntimeError:
        workload = built()
        for module in workload.modules:
            module.compile()
        return workload.step
    return torch.compile(built().step)


def serve(connection: Connection, library: str, name: str, channels_last: bool, compiled: bool, threads: int) -> None:
    """Builds the workload, then answers orders until ("end", None).

    They are ("weights", None or arrays), ("run", seconds), ("compile", None), ("memory", None).
    """
    namespace, builders = load(library, threads)
    reset_peak()
    before = resident_bytes(peak=False)
    build = partial(builders[name], namespace, channels_last)
    workload = build()
    step: Any = namespace.compile(workload.step) if compiled else workload.step
    while True:
        order, argument = connection.recv()
        if order == "weights":
            connection.send(exchange_weights(namespace, workload, argument))
            if compiled and library == "torch" and argument is not None:
                step = compile_for_torch(namespace, build, argument)
            argument = None
            reset_peak()
        elif order == "run":
            losses, times = [], []
            end = time.perf_counter() + argument
            while True:
                start = time.perf_counter()
                loss = step()
                now = time.perf_counter()
                times.append(now - start)
                losses.append(float(loss.detach()))
                if now >= end:
                    break
            connection.send((times, losses))
        elif order == "compile":  # seconds
            connection.send(step.cache_info().seconds)
        elif order == "memory":
            connection.send(resident_bytes(peak=True) - before)
        else:
            return
