"""A process that runs one workload with one library, at the word of the parent process."""

from __future__ import annotations

import re
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np


def resident_bytes(peak: bool) -> int:
    """The memory of this process, now or at its highest since it was reset (Linux)."""
    field = "VmHWM" if peak else "VmRSS"
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def serve(connection: Connection, library: str, name: str, channels_last: bool, compiled: bool, threads: int) -> None:
    """Builds the workload, then answers orders until ("end", None).

    They are ("weights", None or arrays), ("run", seconds), ("compile", None), ("memory", None).
    """
    if library == "torch":
        import torch
    else:
        import rushlight as torch  # type: ignore[no-redef]
    from benchmarks.workloads import BUILDERS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    (torch.ones(64, 64, requires_grad=True) @ torch.ones(64, 64)).sum().backward()  # what is loaded on first use
    reset_peak()
    before = resident_bytes(peak=False)
    workload = BUILDERS[name](torch, channels_last)
    step: Any = torch.compile(workload.step) if compiled else workload.step
    while True:
        order, argument = connection.recv()
        if order == "weights":
            states = [module.state_dict() for module in workload.modules]
            if argument is not None:
                for module, arrays in zip(workload.modules, argument, strict=True):
                    module.load_state_dict({key: torch.from_numpy(a) for key, a in arrays.items()})
            connection.send([{key: np.array(t.numpy()) for key, t in state.items()} for state in states])
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
