"""Compiled steps and threads: the same bits for any number of them, calls from several, and after a fork."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any

import numpy as np
import pytest
from compiled_comparison import bits_of, step_of

import rushlight as rl
from rushlight import nn, optim


def training(steps: int = 3) -> list[bytes]:
    """A few steps of a network with most kinds of kernels; the bits of all that comes of them."""
    rl.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
        nn.Conv2d(16, 16, 3), nn.GroupNorm(4, 16), nn.GELU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        nn.Linear(144, 64), nn.LayerNorm(64), nn.SiLU(), nn.Linear(64, 10),
    )  # fmt: skip
    step = rl.compile(step_of(net, optim.AdamW(net.parameters(), lr=0.01), max_norm=1.0))
    losses = [step(rl.randn(24, 3, 18, 18), rl.randint(0, 10, (24,))) for _ in range(steps)]
    return bits_of([*losses, *net.state_dict().values()])


def test_the_same_bits_for_any_number_of_threads() -> None:
    before = rl.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3, 8, 1):
            rl.set_num_threads(count)
            found.append(training())
        assert all(bits == found[0] for bits in found)
    finally:
        rl.set_num_threads(before)


def test_calls_from_several_threads() -> None:
    weight = rl.full((4, 4), 0.5)

    @rl.compile
    def f(x: Any) -> Any:
        return (x @ weight).tanh().sum(0)

    faults: list[Any] = []

    def work(number: int) -> None:
        try:
            own = rl.compile(lambda x: x * number + 1)
            for size in range(1, 30):
                x = rl.full((size % 4 + 1, 4), float(number))
                expected = np.tanh(x.numpy() @ np.full((4, 4), 0.5, np.float32)).sum(0)
                np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-5)
                np.testing.assert_allclose(own(x).numpy(), x.numpy() * number + 1, rtol=1e-6)
        except BaseException as error:
            faults.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults
    assert f.cache_info().misses == 4


def test_one_thread_traces_while_another_computes() -> None:
    net = nn.Linear(8, 8)
    stop = threading.Event()
    faults: list[Any] = []

    def compute() -> None:
        try:
            while not stop.is_set():
                assert bool((net(rl.ones(2, 8)).detach() * 0 == 0).all())
        except BaseException as error:
            faults.append(error)

    worker = threading.Thread(target=compute)
    worker.start()
    try:
        for number in range(20):
            compiled = rl.compile(lambda x, n=number: net(x).detach() * n)
            compiled(rl.ones(2, 8))
    finally:
        stop.set()
        worker.join()
    assert not faults


def _in_child(sender: Any) -> None:
    sender.send([bits == expected for bits, expected in zip(training(2), EXPECTED, strict=True)])
    sender.close()


EXPECTED: list[bytes] = []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork() -> None:
    EXPECTED[:] = training(2)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(sender,))
    child.start()
    assert receiver.poll(60)
    assert all(receiver.recv())
    child.join()
