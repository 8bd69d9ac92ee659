"""Several threads at once, each with its own network or all with one: the bits of one thread alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from compiled_comparison import bits_of, step_of

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F

THREADS = 4


def at_once(work: Any) -> list[Any]:
    """What `work(number)` returns in each of several threads that start at the same moment."""
    results: list[Any] = [None] * THREADS
    faults: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            start.wait()
            results[number] = work(number)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return results


def network(seed: int) -> nn.Module:
    rl.manual_seed(seed)  # initial weights come from the generator that all threads share: made before they start
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(2),
        nn.TransformerEncoderLayer(64, 4, 96, 0.0, F.gelu, batch_first=True), nn.LayerNorm(64),
        nn.LSTM(64, 24, batch_first=True), Last(), nn.Linear(24, 5),
    )  # fmt: skip


class Last(nn.Module):
    def forward(self, sequence: tuple[Any, Any]) -> Any:
        return sequence[0][:, -1]


def batch(seed: int) -> tuple[Any, Any]:
    generator = rl.Generator().manual_seed(seed)
    return rl.randn(6, 3, 16, 16, generator=generator), rl.randint(0, 5, (6,), generator=generator)


def train(net: nn.Module, seed: int, compiled: bool) -> list[bytes]:
    step = step_of(net, optim.AdamW(net.parameters(), lr=0.01), max_norm=1.0)
    run = rl.compile(step) if compiled else step
    losses = [run(*batch(100 * seed + number)) for number in range(6)]
    return bits_of([*losses, *net.state_dict().values()])


@pytest.mark.parametrize("compiled", [False, True])
def test_each_trains_its_own_network(compiled: bool) -> None:
    alone = [train(network(seed), seed, compiled) for seed in range(THREADS)]
    networks = [network(seed) for seed in range(THREADS)]
    assert at_once(lambda number: train(networks[number], number, compiled)) == alone


def test_all_read_one_network() -> None:
    net = network(0).eval()

    def work(number: int) -> list[bytes]:
        found = []
        for turn in range(8):
            x, y = batch(10 * number + turn)
            with rl.no_grad():
                found.append(net(x))
            loss = F.cross_entropy(net(x.requires_grad_()), y)
            found += rl.autograd.grad(loss, [x, *net.parameters()])
        return bits_of(found)

    alone = [work(number) for number in range(THREADS)]
    assert at_once(work) == alone


def test_all_draw_from_one_generator() -> None:
    generator = rl.Generator().manual_seed(0)
    alone = rl.rand(THREADS * 50 * 64, generator=generator)
    generator.manual_seed(0)
    found = at_once(lambda _: [rl.rand(64, generator=generator) for _ in range(50)])
    drawn = rl.cat([part for parts in found for part in parts])
    assert drawn.sort().values.equal(alone.sort().values)  # each number to one thread
