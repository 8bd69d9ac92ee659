"""What can't be compiled is refused by one clear error, and what fails leaves everything as it was."""

from __future__ import annotations

import datetime
import functools
import itertools
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from compiled_comparison import check_same, state_of, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.errors import TraceError
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader

part = functools.partial(rl.compile, fullgraph=False)

KEPT: list[Any] = []
COUNT = 0


def numbers(*shape: int, seed: int = 0) -> rl.Tensor:
    return rl.randn(*shape, generator=rl.Generator().manual_seed(seed))


def decide(loss: Any) -> None:
    if loss > 0:
        pass


def loop(loss: Any) -> None:
    while loss > 0:
        break


def insist(loss: Any) -> None:
    assert loss > 0


def count(loss: Any) -> None:
    global COUNT
    COUNT += 1


READS: dict[str, Any] = {
    "item": lambda loss: loss.item(),
    "float": lambda loss: float(loss),
    "int": lambda loss: int(loss),
    "if": decide,
    "while": loop,
    "assert": insist,
    "print": lambda loss: print(loss),
    "format": lambda loss: f"{loss:.3f}",
    "str": lambda loss: str(loss),
    "numpy": lambda loss: loss.detach().numpy(),
    "asarray": lambda loss: np.asarray(loss.detach()),
    "numpy function": lambda loss: np.exp(loss.detach().array),
    "tolist": lambda loss: loss.tolist(),
    "max": lambda loss: max(loss, loss * 2),
    "range": lambda loss: range(loss.long()),
    "nonzero": lambda loss: rl.nonzero(loss),
    "masked_select": lambda loss: rl.masked_select(loss, loss > 0),
    "unique": lambda loss: loss.unique(),
    "equal": lambda loss: rl.equal(loss, loss),
    "allclose": lambda loss: rl.allclose(loss, loss),
    "mask": lambda loss: loss.reshape(1)[loss.reshape(1) > 0],
    "bincount": lambda loss: rl.bincount(loss.long().reshape(1)),
    "one_hot": lambda loss: F.one_hot(loss.long()),
    "in": lambda loss: 1.0 in loss,
    "tensor": lambda loss: rl.tensor([loss, loss]),
    "multinomial": lambda loss: rl.multinomial(loss.exp().reshape(1), 1),
    "appended": lambda loss: KEPT.append(loss),
    "counted": count,
    "scheduler": lambda loss: SCHEDULER[0].step(),
}
SCHEDULER: list[Any] = []


@pytest.mark.parametrize("name", READS)
def test_refusals(name: str) -> None:
    global COUNT
    COUNT = 0
    KEPT.clear()
    rl.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    SCHEDULER[:] = [optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]
    read = READS[name]

    def step(x: Any, y: Any, looks: bool = True) -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        if looks:
            read(loss)
        return loss

    x, y = numbers(6, 4), numbers(6, 2)
    step(x, y, looks=False)  # gradients and states exist
    before = [state_of(net), state_of(optimizer), values(rl.get_rng_state()), [p.grad for p in net.parameters()]]
    compiled = rl.compile(step)
    with pytest.raises(TraceError) as raised:
        compiled(x, y)
    text = str(raised.value)
    if name != "counted":
        assert "test_refusals.py:" in text, text
    else:
        assert "COUNT" in text
    after = [state_of(net), state_of(optimizer), values(rl.get_rng_state())]
    check_same(after, before[:3])
    assert all(p.grad is g for p, g in zip(net.parameters(), before[3], strict=True))
    assert not KEPT and COUNT == 0
    step(x, y)  # eager goes on
    compiled(x, y, looks=False)


class Counting:
    """An iterator that Python can look into."""

    count = 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> float:
        self.count += 1
        return float(self.count)


def generated() -> Iterator[float]:
    yield from (1.0, 2.0, 3.0)


STREAMS: dict[str, tuple[Callable[[], Any], Callable[[Any], float], str]] = {
    "iterator": (lambda: iter([1.0, 2.0]), next, "reads from an iterator, a list_iterator"),
    "generator": (generated, next, "reads from an iterator, a generator"),
    "count": (itertools.count, next, "reads from an iterator, a count"),
    "batches": (lambda: iter(DataLoader([1.0, 2.0])), lambda it: next(it)[0], "reads from an iterator"),
    "iterator of the user's": (Counting, next, "changes 'count' from 1 to 2"),
    "random": (lambda: random, lambda module: module.random(), "random numbers of Python"),
    "Random": (random.Random, lambda made: made.random(), "random numbers of a random.Random"),
    "numpy.random": (lambda: np.random, lambda module: module.rand(), "random numbers of NumPy"),
    "Generator": (np.random.default_rng, lambda made: made.random(), "random numbers of a Generator"),
    "RandomState": (np.random.RandomState, lambda made: made.rand(), "random numbers of a RandomState"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_what_gives_something_else_each_time(name: str) -> None:
    make, ask, reason = STREAMS[name]
    stream = make()
    random.seed(0)
    np.random.seed(0)
    states = [random.getstate(), np.random.get_state()[1].tolist()]
    compiled = rl.compile(lambda x: x * ask(stream))
    with pytest.raises(TraceError, match=reason):
        compiled(rl.ones(2))
    assert [random.getstate(), np.random.get_state()[1].tolist()] == states
    if name == "iterator":
        assert next(stream) == 1.0  # nobody has taken it


CLOCKS: dict[str, Callable[[], Any]] = {
    "time": time.time,
    "perf_counter": lambda: time.perf_counter(),
    "now": lambda: datetime.datetime.now().timestamp(),
    "uuid": lambda: uuid.uuid4().int % 7,
}


@pytest.mark.parametrize("name", CLOCKS)
def test_clocks_are_not_read(name: str) -> None:
    ask = CLOCKS[name]

    def step(x: Any) -> Any:
        return x * (time.time() if name == "time" else ask())

    with pytest.raises(TraceError, match="gives something else each time, and is called while .* being compiled"):
        rl.compile(step)(rl.ones(2))
    assert sys.getprofile() is None
    assert rl.compile(lambda x, time: x * time)(rl.ones(2), 2.0).tolist() == [2, 2]


def test_a_refusal_leaves_no_first_state_behind() -> None:
    net = nn.Linear(2, 1)
    optimizer = optim.Adam(net.parameters())

    @rl.compile
    def step(x: Any) -> Any:
        loss = net(x).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    with pytest.raises(TraceError):
        step(rl.ones(3, 2))
    assert not optimizer.state and net.weight.grad is None


def test_errors_of_the_function_are_its_own() -> None:
    net = nn.Linear(2, 1)

    @rl.compile
    def step(x: Any) -> Any:
        net(x).sum().backward()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        step(rl.ones(3, 2))
    assert net.weight.grad is None
    with pytest.raises(RuntimeError, match="shape"):
        rl.compile(net)(rl.ones(3, 3))


INDEXED: dict[str, Any] = {
    "gather": lambda x, i: x.gather(0, i),
    "scatter": lambda x, i: x.scatter(0, i, 1.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i, x),
    "index_select": lambda x, i: x.index_select(0, i[0]),
    "index_add": lambda x, i: x.index_add(0, i[0], x[:2]),
    "index_copy": lambda x, i: x.index_copy(0, i[0], x[:2]),
    "embedding": lambda x, i: F.embedding(i, x),
    "take_along_dim": lambda x, i: x.take_along_dim(i, 0),
    "subscript": lambda x, i: x[i],
    "one_hot": lambda x, i: F.one_hot(i, 3),
    "cross_entropy": lambda x, i: F.cross_entropy(x[:2], i[0]),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("wrong", [-1, -4, 3, 1000000])
def test_indices_are_checked_in_each_run(name: str, wrong: int) -> None:
    function = INDEXED[name]
    compiled = rl.compile(function)
    x, good, bad = numbers(3, 2), rl.tensor([[0, 1]]), rl.tensor([[0, wrong]])
    for _ in range(3):
        check_same(values(compiled(x, good)), values(function(x, good)))
    try:
        expected = values(function(x, bad))
    except (IndexError, RuntimeError):
        for _ in range(2):
            with pytest.raises((IndexError, RuntimeError)):
                compiled(x, bad)
    else:
        check_same(values(compiled(x, bad)), expected)
    check_same(values(compiled(x, good)), values(function(x, good)))


@pytest.mark.parametrize("where", ["first call", "later call"])
@pytest.mark.parametrize("fault", ["target", "word"])
def test_a_run_that_fails_changes_nothing(where: str, fault: str) -> None:
    first, second = nn.Linear(4, 4), nn.Sequential(nn.Embedding(5, 200), nn.Linear(200, 300), nn.Linear(300, 3))
    optimizers = [optim.Adam(first.parameters(), lr=0.1), optim.Adam(second.parameters(), lr=0.1)]

    @rl.compile
    def step(x: Any, words: Any, y: Any) -> Any:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = first(x).square().mean()
        loss.backward()
        optimizers[0].step()
        other = F.cross_entropy(second(words), y)
        other.backward()
        optimizers[1].step()
        return loss + other

    x = numbers(3, 4)
    good = rl.tensor([0, 1, 2]), rl.tensor([0, 1, 2])
    bad = (good[0], rl.tensor([0, 1, 7])) if fault == "target" else (rl.tensor([0, 5, 1]), good[1])
    if where == "later call":
        step(x, *good)
        step(x, *good)

    def state() -> Any:
        return [values(holder.state_dict()) for holder in (first, second, *optimizers)]

    before = state()
    with pytest.raises(IndexError):
        step(x, *bad)
    check_same(state(), before)
    step(x, *good)
    assert int(optimizers[0].state[first.weight]["step"]) == (3 if where == "later call" else 1)


@pytest.mark.parametrize("first", [True, False])
def test_an_optimizer_that_fails_counts_no_step(first: bool) -> None:
    net = nn.Linear(2, 1)
    optimizers = [optim.Adam([net.bias]), optim.RMSprop([net.weight])]

    @rl.compile
    def step(x: Any) -> Any:
        loss = net(x).sum()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss

    step(rl.ones(3, 2))
    if not first:
        step(rl.ones(3, 2))
    before = [state_of(optimizer) for optimizer in optimizers], values(net.state_dict())
    optimizers[1].param_groups[0]["momentum"] = 0.5  # for which its state has nothing
    for _ in range(2):
        with pytest.raises(KeyError, match="momentum_buffer"):
            step(rl.ones(3, 2))
    optimizers[1].param_groups[0]["momentum"] = 0
    check_same([state_of(optimizer) for optimizer in optimizers], before[0])
    check_same(values(net.state_dict()), before[1])


def test_disabled_functions_run_outside_only() -> None:
    @rl.compiler.disable(reason="it prints")
    def show(x: rl.Tensor) -> rl.Tensor:
        assert not rl.compiler.is_compiling()
        return x * 2

    def step(x: rl.Tensor, outside: bool) -> rl.Tensor:
        assert rl.compiler.is_compiling() != outside
        return x + 1 if outside else show(x) + 1

    assert show(rl.ones(2)).tolist() == [2, 2]
    with pytest.raises(TraceError, match="show is marked with compiler.disable \\(it prints\\).*before or after"):
        rl.compile(step)(rl.ones(2), False)
    assert step(rl.ones(2), True).tolist() == [2, 2]


# Without fullgraph


def test_what_is_refused_runs_eagerly_and_says_why() -> None:
    def function(x: Any, y: Any) -> Any:
        return x * (y if y.sum() > 0 else -y)

    compiled = part(function, backend="inductor", mode="max-autotune")
    with pytest.warns(UserWarning, match=r"function runs eagerly, not as a program: bool\(\).*fullgraph=True") as noted:
        assert compiled(rl.ones(2), rl.tensor([1.0, 2.0])).tolist() == [1, 2]
    assert noted[0].filename == __file__
    assert compiled(rl.ones(2), rl.tensor([-1.0, -2.0])).tolist() == [1, 2]  # and warns once
    with pytest.raises(RuntimeError, match="function runs eagerly: bool"):
        compiled.graph()
    with pytest.warns(UserWarning, match="runs eagerly"):
        compiled(rl.ones(3), rl.ones(3))
    rl.compiler.reset()
    with pytest.warns(UserWarning, match="runs eagerly"):
        compiled(rl.ones(3), rl.ones(3))


def test_a_step_that_reads_its_loss_trains_as_ever() -> None:
    def trained(compile: Any) -> Any:
        rl.manual_seed(0)
        net = compile(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2)))
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        losses: list[float] = []

        def step(x: Any, y: Any) -> None:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            scheduler.step()

        function = compile(step)
        for seed in range(5):
            function(numbers(4, 3, seed=seed), rl.tensor([0, 1, 1, 0]))
        return losses, values(net.state_dict()), optimizer.param_groups[0]["lr"]

    with pytest.warns(UserWarning, match="step runs eagerly"):
        losses, state, rate = trained(part)
    expected = trained(lambda function: function)
    assert (losses, rate) == (pytest.approx(expected[0], rel=1e-4), expected[2])
    check_same(state, expected[1])


def test_what_a_refused_function_calls_is_compiled() -> None:
    inner = rl.compile(lambda x: x * 2 + 1)

    @part
    def outer(x: Any) -> float:
        return float(inner(x).sum().item())

    with pytest.warns(UserWarning, match="outer runs eagerly"):
        assert outer(rl.ones(3)) == 9
    assert outer(rl.ones(3)) == 9
    assert inner.cache_info()[:2] == (1, 1)
