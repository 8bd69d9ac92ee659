"""`python -m benchmarks.roofline`: the core's kernels against the machine's two limits, as a table and a picture.

The limits are measured: multiply-adds per second from registers, and bytes per second through arrays that fit no cache
(a + b into c, which moves three arrays). A kernel that does `operations` on `bytes` can't be faster than either allows.
Bytes are those that must be moved: each operand and each result once.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rushlight import core

Run = Callable[[], Any]


class Point(NamedTuple):
    """One kernel on one shape. operations: floating-point ones; moved: bytes."""

    name: str
    operations: float
    moved: float
    seconds: float


def seconds(run: Run, turns: int) -> float:
    """The median time of a call."""
    run()
    start = time.perf_counter()
    run()
    calls = max(1, int(0.01 / max(time.perf_counter() - start, 1e-6)))
    found = []
    for _ in range(turns):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        found.append((time.perf_counter() - start) / calls)
    return statistics.median(found)


def random(*shape: int) -> Any:
    """Normal numbers in float32, always the same ones."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def size(*arrays: Any) -> float:
    """Bytes of the arrays."""
    return float(sum(a.nbytes for a in arrays))


def points(turns: int) -> list[Point]:
    """The kernels, measured."""
    import rushlight as torch
    import rushlight.nn.functional as F

    found: list[Point] = []

    def add(name: str, run: Run, operations: float, moved: float) -> None:
        found.append(Point(name, operations, moved, seconds(run, turns)))

    native = core.native
    assert native is not None
    for n in (256, 512, 1024, 2048):
        a, b = random(n, n), random(n, n)
        add(f"gemm {n}", lambda a=a, b=b: native.matmul(a, b), 2.0 * n**3, size(a, b, a))  # type: ignore[misc]
    options: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    for batch, channels, extent in ((32, 64, 32), (32, 128, 16), (32, 256, 8)):
        x, w = random(batch, channels, extent, extent), random(channels, channels, 3, 3)
        direct = 2.0 * x.size * channels * 9
        add(
            f"3x3 convolution, {channels} channels",
            lambda x=x, w=w: native.convolution(x, w, None, **options),  # type: ignore[misc]
            direct,
            size(x, w, x),
        )
        add(
            f"its weight gradient, {channels} channels",
            lambda x=x, w=w: native.convolution_weight_gradient(x, x, size=w.shape, **options),  # type: ignore[misc]
            direct,
            size(x, w, x),
        )
    image = torch.from_numpy(random(64, 64, 56, 56))
    channel = torch.ones(64)
    one = size(image.array)
    count = float(image.numel())
    with torch.no_grad():
        add("add", lambda: image + image, count, 3 * one)
        add("relu", lambda: F.relu(image), count, 2 * one)
        add("gelu", lambda: F.gelu(image), 20 * count, 2 * one)
        add("sum over channels", lambda: image.sum((0, 2, 3)), count, one)
        add("batch norm", lambda: F.batch_norm(image, None, None, channel, channel, training=True), 7 * count, 3 * one)
        add("layer norm", lambda: F.layer_norm(image, (56,)), 7 * count, 2 * one)
        add("softmax", lambda: F.softmax(image, -1), 10 * count, 2 * one)
        add("max pool 2x2", lambda: F.max_pool2d(image, 2), count, 1.25 * one)
        add("average pool 2x2", lambda: F.avg_pool2d(image, 2), count, 1.25 * one)
    return found


def limits() -> tuple[float, float]:
    """Operations per second, and bytes per second, at most."""
    native = core.native
    assert native is not None
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        rates.append(native.multiply_adds() / (time.perf_counter() - start))
    a, b = random(1 << 24), random(1 << 24)
    c = np.empty_like(a)
    from rushlight.ops.elementwise import add

    kernel = add.kernel
    assert kernel is not None
    kernel(a, b)
    spent = seconds(lambda: add.kernel(a, b, out=c), 9)  # type: ignore[misc]
    return max(rates), size(a, b, c) / spent


def draw(found: list[Point], peak: float, bandwidth: float, path: Path) -> None:
    """The picture: operations per second over operations per byte, under the roof of the two limits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    intensities = np.logspace(-1.5, 3, 200)
    axes.loglog(intensities, np.minimum(peak, bandwidth * intensities) / 1e9, color="#333333")
    for position, point in enumerate(found):
        x, y = point.operations / point.moved, point.operations / point.seconds / 1e9
        axes.plot(x, y, "o", color="#c98b2b")
        axes.annotate(point.name, (x, y), xytext=(5, -3 - 6 * (position % 2)), textcoords="offset points", fontsize=7)
    axes.set_xlabel("floating-point operations per byte moved")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--picture", type=Path, help="draw it there (needs matplotlib)")
    options = parser.parse_args()
    peak, bandwidth = limits()
    print(f"limits: {peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s\n")
    print("| kernel | GFLOP/s | of peak | GB/s | of bandwidth | of what the limits allow |")
    print("| --- | --- | --- | --- | --- | --- |")
    found = points(options.turns)
    for name, operations, moved, spent in found:
        rate, speed = operations / spent, moved / spent
        print(
            f"| {name} | {rate / 1e9:.1f} | {rate / peak:.0%} | {speed / 1e9:.1f} | {speed / bandwidth:.0%} | "
            f"{max(rate / peak, speed / bandwidth):.0%} |"
        )
    shares = [max(p.operations / peak, p.moved / bandwidth) / p.seconds for p in found]
    print(f"\ngeometric mean of the last column: {math.exp(statistics.fmean(map(math.log, shares))):.0%}")
    if options.picture is not None:
        draw(found, peak, bandwidth, options.picture)


if __name__ == "__main__":
    if core.native is None:
        raise SystemExit("benchmarks.roofline needs the native core")
    main()
