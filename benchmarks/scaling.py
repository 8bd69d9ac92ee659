"""`python -m benchmarks.scaling`: how compile time grows with the network, and a step with threads and the batch.

Without PyTorch: rushlight's own times, medians. `--write docs/performance.md` puts the tables between their markers.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import rushlight as rl
from benchmarks.workloads import BUILDERS, labels, normal
from rushlight import nn
from rushlight.nn import functional as F

LAYERS = (10, 100, 1000)
BATCHES = (1, 4, 16, 64, 256)
THREADED = ("ResNet-18 for 32x32, batch 32, SGD", "4 transformer blocks, d 256, 16 x 128 tokens, AdamW")


def median_of(step: Callable[[], Any], seconds: float) -> float:
    """The median time of a step, in seconds, over at least three of them."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compiled_step(net: nn.Module, x: Any, y: Any, loss_of: Any) -> Any:
    optimizer = rl.optim.SGD(net.parameters(), lr=1e-6)

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return rl.compile(step)


def layers(seconds: float) -> list[str]:
    lines = ["| Linear(64, 64) + ReLU layers | compiled in, ms | step ms |", "| --- | --- | --- |"]
    for count in LAYERS:
        found = []
        for _ in range(3):
            rl.manual_seed(0)
            net = nn.Sequential(*[module for _ in range(count) for module in (nn.Linear(64, 64), nn.ReLU())])
            for layer in net[::2]:
                nn.init.eye_(layer.weight)  # so that values neither vanish nor explode on their way
            step = compiled_step(net, normal(rl, 16, 64), normal(rl, 16, 64, seed=1), F.mse_loss)
            step()
            found.append(step.cache_info().seconds)
        lines.append(f"| {count} | {1000 * min(found):.1f} | {1000 * median_of(step, seconds):.3f} |")
    return lines


def threads(seconds: float) -> list[str]:
    """One thread and two take turns, since machines are noisy."""
    lines = ["| workload | 1 thread, ms | 2 threads, ms | speed-up |", "| --- | --- | --- | --- |"]
    for name in THREADED:
        rl.manual_seed(0)
        step = rl.compile(BUILDERS[name](rl).step)
        found: dict[int, list[float]] = {1: [], 2: []}
        step()
        for _ in range(3):
            for count, times in found.items():
                rl.set_num_threads(count)
                times.append(median_of(step, seconds / 3))
        one, two = [1000 * statistics.median(times) for times in found.values()]
        lines.append(f"| {name} | {one:.1f} | {two:.1f} | {one / two:.2f} |")
    return lines


def batches(seconds: float) -> list[str]:
    lines = ["| batch of an MLP 784-512-512-10 | step ms | microseconds for each sample |", "| --- | --- | --- |"]
    for size in BATCHES:
        rl.manual_seed(0)
        net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
        step = compiled_step(net, normal(rl, size, 784), labels(rl, size, 10), F.cross_entropy)
        step()
        spent = median_of(step, seconds / 3)
        lines.append(f"| {size} | {1000 * spent:.3f} | {1e6 * spent / size:.1f} |")
    return lines


def write(path: Path, kind: str, lines: Iterable[str]) -> None:
    """Puts a table into `path`, between the marker lines of its kind."""
    begin, end = f"<!-- {kind}: begin -->", f"<!-- {kind}: end -->"
    head, rest = path.read_text().split(begin)
    path.write_text(head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    for kind, table in (("layers", layers), ("threads", threads), ("batches", batches)):
        rl.set_num_threads(options.threads)
        lines = [f"{options.threads} threads, {platform.machine()}.", "", *table(options.seconds)]
        print("\n".join(lines), end="\n\n", flush=True)
        if options.write is not None:
            write(options.write, kind, lines)


if __name__ == "__main__":
    main()
