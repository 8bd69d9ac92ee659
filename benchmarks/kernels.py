"""`python -m benchmarks.kernels`: the core's matrix products and convolutions against PyTorch's, in alternation.

Prints for each shape the median time of both, their ratio, and the core's rate: GFLOP/s and percent of the
multiply-add peak that was measured in the same turns, for clocks swing (convolutions counted as direct ones). On a busy
machine `--threads 1 --clock cpu` compares processor
time, which other programs disturb less than they do the wall clock.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.roofline import multiply_add_rate
from rushlight import core

Run = Callable[[], Any]


class Case(NamedTuple):
    """One kernel on one shape, with both libraries."""

    name: str
    ours: Run
    theirs: Run
    operations: float


def random(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Normal numbers in float32, always the same ones."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def product(name: str, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Case:
    """a @ b."""
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    rows = a.size // a.shape[-1]
    return Case(name, lambda: native.matmul(a, b), lambda: left @ right, 2.0 * rows * a.shape[-1] * b.shape[-1])


def layer(name: str, batch: int, inputs: int, outputs: int) -> Case:
    """x @ w.T + b."""
    arrays = random(batch, inputs), random(outputs, inputs), random(outputs)
    tensors = [torch.from_numpy(a) for a in arrays]
    theirs = torch.nn.functional.linear
    return Case(name, lambda: native.linear(*arrays), lambda: theirs(*tensors), 2.0 * batch * inputs * outputs)


def convolution(
    name: str, x: tuple[int, ...], w: tuple[int, ...], stride: int = 1, padding: int = 0, groups: int = 1
) -> Iterator[Case]:
    """A convolution of square images and both its gradients."""
    spatial = len(x) - 2
    options: dict[str, Any] = {"dilation": (1,) * spatial, "groups": groups}
    options |= {"stride": (stride,) * spatial, "padding": (padding,) * spatial}
    image, weight = random(*x), random(*w) * np.float32(0.1)
    g = random(*native.convolution(image, weight, None, **options).shape)
    tensors = [torch.from_numpy(a) for a in (g, image, weight)]
    operations = 2.0 * g.size * int(np.prod(w[1:]))

    def backward(of_input: bool) -> Run:
        form = (options["stride"], options["padding"], options["dilation"], False, (0,) * spatial, groups)
        wanted = (of_input, not of_input, False)
        return lambda: torch.ops.aten.convolution_backward(*tensors, None, *form, wanted)

    forward = getattr(torch.nn.functional, f"conv{spatial}d")
    yield Case(
        f"{name} forward",
        lambda: native.convolution(image, weight, None, **options),
        lambda: forward(tensors[1], tensors[2], None, **options),
        operations,
    )
    yield Case(
        f"{name} input gradient",
        lambda: native.convolution_input_gradient(g, weight, size=x, **options),
        backward(True),
        operations,
    )
    yield Case(
        f"{name} weight gradient",
        lambda: native.convolution_weight_gradient(g, image, size=w, **options),
        backward(False),
        operations,
    )


def attention(name: str, batch: int, heads: int, length: int, features: int, causal: bool) -> Case:
    """Scaled dot products of heads that lie side by side; operations counted as if nothing were masked."""
    q, k, v = random(batch, length, 3, heads, features).transpose(2, 0, 1, 3, 4)
    tensors = [torch.from_numpy(a).transpose(1, 2) for a in (q, k, v)]
    scale = features**-0.5
    return Case(
        name,
        lambda: native.attention(q, k, v, None, causal=causal, scale=scale),
        lambda: torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=causal),
        4.0 * batch * heads * length * length * features,
    )


def cases() -> Iterator[Case]:
    """The shapes of the networks in benchmarks/workloads.py, and those that people measure by."""
    for n in (128, 256, 512, 1024):
        yield product(f"gemm {n}", random(n, n), random(n, n))
    yield product("gemm 1024, left transposed", random(1024, 1024).T, random(1024, 1024))
    yield product("gemm 1024, right transposed", random(1024, 1024), random(1024, 1024).T)
    yield layer("linear 64 x 784 -> 512", 64, 784, 512)
    yield layer("linear 64 x 512 -> 10", 64, 512, 10)
    yield layer("linear 1 x 784 -> 512", 1, 784, 512)
    yield layer("linear 32 x 4 -> 3", 32, 4, 3)
    yield layer("linear 2048 x 256 -> 1024", 2048, 256, 1024)
    yield product("weight gradient 512 x 64 x 784", random(64, 512).T, random(64, 784))
    yield product("input gradient 64 x 512 x 784", random(64, 512), random(512, 784))
    yield product("64 heads, scores", random(64, 128, 64), random(64, 128, 64).transpose(0, 2, 1))
    yield product("64 heads, values", random(64, 128, 128), random(64, 128, 64))
    yield attention("attention 16x4 heads, 128x64", 16, 4, 128, 64, causal=False)
    yield attention("attention 16x4 heads, 128x64, causal", 16, 4, 128, 64, causal=True)
    yield attention("attention 8 heads, 1024x64", 1, 8, 1024, 64, causal=False)
    for images, channels, size in ((32, 64, 32), (32, 128, 16), (32, 256, 8), (32, 512, 4), (1, 64, 56)):
        shape = (images, channels, size, size)
        yield from convolution(f"3x3 {images}x{channels}x{size}x{size}", shape, (channels, channels, 3, 3), padding=1)
    yield from convolution("3x3 stride 2, 32x64x32x32", (32, 64, 32, 32), (128, 64, 3, 3), stride=2, padding=1)
    yield from convolution("1x1 32x64x32x32", (32, 64, 32, 32), (256, 64, 1, 1))
    yield from convolution("1x1 stride 2, 32x64x32x32", (32, 64, 32, 32), (128, 64, 1, 1), stride=2)
    yield from convolution("5x5 64x1x28x28", (64, 1, 28, 28), (32, 1, 5, 5), padding=2)
    yield from convolution("5x5 64x32x14x14", (64, 32, 14, 14), (64, 32, 5, 5), padding=2)
    yield from convolution("7x7 stride 2, 1x3x224x224", (1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    yield from convolution("4x4 stride 2, 64x3x32x32", (64, 3, 32, 32), (64, 3, 4, 4), stride=2, padding=1)
    yield from convolution("4x4 stride 2, 64x64x32x32", (64, 64, 32, 32), (128, 64, 4, 4), stride=2, padding=1)
    yield from convolution("4x4 stride 2, 64x64x16x16", (64, 64, 16, 16), (128, 64, 4, 4), stride=2, padding=1)
    yield from convolution("4x4 stride 2, 64x128x8x8", (64, 128, 8, 8), (256, 128, 4, 4), stride=2, padding=1)
    yield from convolution("4x4 64x256x4x4", (64, 256, 4, 4), (64, 256, 4, 4))
    yield from convolution("depthwise 3x3 16x64x56x56", (16, 64, 56, 56), (64, 1, 3, 3), padding=1, groups=64)


def measure(case: Case, clock: Callable[[], float], turns: int) -> tuple[float, float, float]:
    """Median seconds of one call of ours and of theirs, and the median peak, in alternating turns.

    Everything begins after a rest, for the threads of the library that ran before spin for a while before they sleep;
    and with calls that aren't counted, for processors and threads take a while to wake.
    """
    times: tuple[list[float], list[float]] = ([], [])
    peaks, rest = [], 0.05
    for _ in range(turns):
        time.sleep(rest)
        peaks.append(multiply_add_rate(clock))
        for run, found in zip((case.ours, case.theirs), times, strict=True):
            time.sleep(rest)
            begin, calls = clock(), 0
            while calls < 2 or clock() - begin < 0.005:
                run()
                calls += 1
            start = clock()
            for _ in range(2 * calls):
                run()
            found.append((clock() - start) / (2 * calls))
    return statistics.median(times[0]), statistics.median(times[1]), statistics.median(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filter", nargs="?", default="", help="only cases whose name holds this")
    parser.add_argument("--threads", type=int, default=native.get_num_threads())
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    native.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    print(f"{options.threads} threads, core {native.isa}")
    for case in cases():
        if options.filter in case.name:
            ours, theirs, peak = measure(case, clock, options.turns)
            rate = case.operations / ours
            print(
                f"{case.name:44} {ours * 1e6:10.1f} us  PyTorch {theirs * 1e6:10.1f} us  ratio {ours / theirs:5.2f}  "
                f"{rate / 1e9:6.1f} GFLOP/s  {100 * rate / peak:3.0f}% of {peak / 1e9:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    if core.native is None:
        raise SystemExit("benchmarks.kernels needs the native core (RUSHLIGHT_CORE is off, or it wasn't built)")
    native = core.native
    main()
