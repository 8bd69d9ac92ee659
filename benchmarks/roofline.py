"""`python -m benchmarks.roofline`: the core's kernels against the machine's two limits, as a table and a picture.

The limits are measured, in turns with each kernel, for clocks swing: multiply-adds per second from registers, and bytes
per second through arrays that fit no cache (a + b into c, which moves three arrays). A kernel that does `operations` on
`bytes` can't be faster than either allows. Bytes are those that must be moved: each operand and each result once.
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
    """One kernel on one shape. operations: floating-point ones; moved: bytes; rate, speed: of these, for each second.

    peak, bandwidth: what the machine allowed at that time.
    """

    name: str
    operations: float
    moved: float
    rate: float
    speed: float
    peak: float
    bandwidth: float


def seconds(run: Run, calls: int) -> float:
    """The mean time of some calls."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def multiply_add_rate(clock: Callable[[], float] = time.perf_counter) -> float:
    """Operations per second of nothing but multiply-adds, on all threads, which a first turn wakes."""
    assert core.native is not None
    core.native.multiply_adds()
    start = clock()
    return float(core.native.multiply_adds() / (clock() - start))


def addition() -> tuple[Run, float]:
    """a + b into c, of arrays that fit no cache, and the bytes that it moves."""
    from rushlight.ops.elementwise import add

    a, b = random(1 << 24), random(1 << 24)
    c, kernel = np.empty_like(a), add.kernel
    assert kernel is not None
    return lambda: kernel(a, b, out=c), size(a, b, c)


def measure(name: str, run: Run, operations: float, moved: float, moving: tuple[Run, float], turns: int) -> Point:
    """Medians over turns of the kernel and both limits; moving: what `addition` returns."""
    run()
    calls = max(1, int(0.01 / max(seconds(run, 1), 1e-6)))
    add, added = moving
    found = [(multiply_add_rate(), added / seconds(add, 2), seconds(run, calls)) for _ in range(turns)]
    peak, bandwidth, spent = map(statistics.median, zip(*found, strict=True))
    return Point(name, operations, moved, operations / spent, moved / spent, peak, bandwidth)


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
    moving = addition()

    def add(name: str, run: Run, operations: float, moved: float) -> None:
        found.append(measure(name, run, operations, moved, moving, turns))

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
    other, channel = torch.ones_like(image), torch.ones(64)
    one = size(image.array)
    count = float(image.numel())
    with torch.no_grad():
        add("add", lambda: image + other, count, 3 * one)
        add("relu", lambda: F.relu(image), count, 2 * one)
        add("gelu", lambda: F.gelu(image), 20 * count, 2 * one)
        add("sum over channels", lambda: image.sum((0, 2, 3)), count, one)
        add("batch norm", lambda: F.batch_norm(image, None, None, channel, channel, training=True), 7 * count, 3 * one)
        add("layer norm", lambda: F.layer_norm(image, (56,)), 7 * count, 2 * one)
        add("softmax", lambda: F.softmax(image, -1), 10 * count, 2 * one)
        add("max pool 2x2", lambda: F.max_pool2d(image, 2), count, 1.25 * one)
        add("average pool 2x2", lambda: F.avg_pool2d(image, 2), count, 1.25 * one)
    return found


def draw(found: list[Point], peak: float, bandwidth: float, path: Path) -> None:
    """The picture: operations per second over operations per byte, under the roof of the two limits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    intensities = np.logspace(-1.5, 3, 200)
    axes.loglog(intensities, np.minimum(peak, bandwidth * intensities) / 1e9, color="#333333")
    for position, point in enumerate(found):
        x, y = point.operations / point.moved, point.rate / 1e9
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
    print("| kernel | GFLOP/s | of peak | GB/s | of bandwidth | of what the limits allow |")
    print("| --- | --- | --- | --- | --- | --- |")
    found = points(options.turns)
    shares = []
    for p in found:
        shares.append(max(p.rate / p.peak, p.speed / p.bandwidth))
        print(
            f"| {p.name} | {p.rate / 1e9:.1f} | {p.rate / p.peak:.0%} | {p.speed / 1e9:.1f} | "
            f"{p.speed / p.bandwidth:.0%} | {shares[-1]:.0%} |"
        )
    peak, bandwidth = (statistics.median(limits) for limits in zip(*[p[-2:] for p in found], strict=True))
    print(f"\nlimits: {peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s")
    print(f"geometric mean of the last column: {math.exp(statistics.fmean(map(math.log, shares))):.0%}")
    if options.picture is not None:
        draw(found, peak, bandwidth, options.picture)


if __name__ == "__main__":
    if core.native is None:
        raise SystemExit("benchmarks.roofline needs the native core")
    main()
