"""Ways to call what is compiled: methods, arguments of all kinds, results of all kinds, changes between calls."""

from __future__ import annotations

import copy
import functools
import pickle
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from compiled_comparison import batch, check_same, classes, mlp, numbers, same_as_eager, state_of, step_of, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset

Batch = namedtuple("Batch", ["x", "y"])


def both(run: Callable[[Callable[[Any], Any]], Any]) -> Any:
    """Runs with the identity and with `compile` in its place, from the same seed; the results must agree."""
    found = []
    for wrap in (lambda function: function, rl.compile):
        rl.manual_seed(0)
        found.append(values(run(wrap)))
    check_same(found[1], found[0])
    return found[0]


# Methods and objects


class Trainer:
    """Compiles its own step."""

    def __init__(self, wrap: Any) -> None:
        self.net = mlp()
        self.optimizer = optim.Adam(self.net.parameters(), lr=0.01)
        self.scale = 1.0
        self.step = wrap(self.step)

    def loss(self, x: Any, y: Any) -> Any:
        return F.cross_entropy(self.net(x), y) * self.scale

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_method_that_an_object_compiles() -> None:
    def run(wrap: Any) -> Any:
        first, second = Trainer(wrap), Trainer(wrap)
        found = []
        for number in range(6):
            if number == 3:
                first.scale = 0.5
            found.append([first.step(*batch(number)), second.step(*batch(number + 1))])
        return found, state_of(first.net), state_of(second.net)

    both(run)


def test_a_decorated_method() -> None:
    class Model:
        def __init__(self, factor: float) -> None:
            self.weight = nn.Parameter(rl.ones(4) * factor)

        @rl.compile
        def forward(self, x: Any, power: int = 2) -> Any:
            """Says what it does."""
            return (x * self.weight).pow(power).sum()

    one, two = Model(1.0), Model(2.0)
    x = numbers(3, 4)
    for model, factor in ((one, 1.0), (two, 2.0), (one, 1.0)):
        assert rl.allclose(model.forward(x), (x * factor).pow(2).sum())
        assert rl.allclose(model.forward(x, power=3), (x * factor).pow(3).sum())
    assert Model.forward.__doc__ == "Says what it does."
    assert one.forward.cache_info()[:3] == (2, 2, 2) and two.forward.cache_info()[:3] == (0, 2, 2)


def test_static_and_class_methods() -> None:
    class Tools:
        factor = 3.0

        @staticmethod
        def double(x: Any) -> Any:
            return x * 2

        @classmethod
        def scaled(cls, x: Any) -> Any:
            return x * cls.factor

    x = numbers(4)
    double, scaled = rl.compile(Tools.double), rl.compile(Tools.scaled)
    for factor in (3.0, 4.0, 4.0):
        Tools.factor = factor
        assert rl.equal(double(x), x * 2) and rl.equal(scaled(x), x * factor)
    assert scaled.cache_info().misses == 2


def test_callable_objects_and_partials() -> None:
    class Affine:
        def __init__(self) -> None:
            self.shift = 1.0

        def __call__(self, x: Any) -> Any:
            return x * 2 + self.shift

    affine = Affine()
    called = rl.compile(affine)
    partial = rl.compile(functools.partial(lambda a, b, c: a * b + c, 3.0, c=rl.ones(2)))
    for shift in (1.0, 1.0, 5.0):
        affine.shift = shift
        assert rl.equal(called(rl.ones(2)), rl.ones(2) * 2 + shift)
        assert rl.equal(partial(rl.ones(2)), rl.ones(2) * 4)
    assert called.cache_info().misses == 2


def test_a_step_in_a_module() -> None:
    class Learner(nn.Module):
        def __init__(self, wrap: Any) -> None:
            super().__init__()
            self.net = mlp()
            self.optimizer = optim.SGD(self.parameters(), lr=0.1)
            self.training_step = wrap(self.training_step)

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, x: Any, y: Any) -> Any:
            loss = F.cross_entropy(self(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return loss

    def run(wrap: Any) -> Any:
        learner = Learner(wrap)
        return [learner.training_step(*batch(number)) for number in range(4)], state_of(learner)

    both(run)


# Arguments


@dataclass
class Example:
    x: Any
    weight: float


def test_arguments_of_all_kinds() -> None:
    def function(first: Any, second: Any = None, *rest: Any, flag: bool = False, name: str = "sum", **more: Any) -> Any:
        found = first["a"] * 2 + first["b"][0] + first["b"][1]
        if second is not None:
            found = found + second
        for item in rest:
            found = found * item
        if flag:
            found = found.relu()
        for item in more.values():
            found = found - item
        return getattr(found, name)()

    x = numbers(3, 4)
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (({"a": x, "b": [x, 1.0]},), {}),
        (({"a": x, "b": (x, 1.0)},), {}),
        (({"b": [x, 1.0], "a": x},), {}),
        (({"a": x, "b": [x, 1.0]}, x), {}),
        (({"a": x, "b": [x, 1.0]}, 2.0, x, 3), {}),
        ((OrderedDict(a=x, b=Batch(x, x)),), {"flag": True}),
        (({"a": x, "b": [x, 1.0]},), {"name": "mean", "extra": x, "other": 0.5}),
        (({"a": x, "b": [x, 1.0]},), {"name": "mean", "other": 0.5, "extra": x}),
    ]
    compiled = rl.compile(function)
    for _ in range(2):
        for args, options in given:
            check_same(values(compiled(*args, **options)), values(function(*args, **options)))
    info = compiled.cache_info()
    assert info.hits >= len(given)


def test_namedtuples_and_dataclasses() -> None:
    def step(item: Batch, example: Example) -> Any:
        return Batch(item.x * 2, {"y": item.y + example.x * example.weight})

    compiled = rl.compile(step)
    example = Example(numbers(4, seed=5), 2.0)
    for number, weight in enumerate((2.0, 2.0, 3.0)):
        example.weight = weight
        found = compiled(Batch(numbers(4, seed=number), numbers(4)), example)
        expected = step(Batch(numbers(4, seed=number), numbers(4)), example)
        assert type(found) is Batch
        check_same(values(list(found)), values(list(expected)))


def test_an_object_whose_tensor_is_replaced() -> None:
    def scaled(example: Example) -> Any:
        return example.x * example.weight

    compiled = rl.compile(scaled)
    example = Example(numbers(4), 2.0)
    for number in range(4):
        if number != 1:
            example.x = numbers(4, seed=number)
        check_same(values(compiled(example)), values(scaled(example)))


def test_the_last_batch_is_smaller() -> None:
    def run(wrap: Any) -> Any:
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        step = wrap(step_of(net, optimizer))
        loader = DataLoader(TensorDataset(*batch(0, 19)), batch_size=8, shuffle=True)
        losses = [step(x, y) for _ in range(3) for x, y in loader]
        if wrap is rl.compile:
            assert step.cache_info()[:2] == (7, 2)
        return losses, state_of(net), state_of(optimizer)

    both(run)


def test_dtypes_and_shapes_in_turn() -> None:
    function = lambda x: (x * 2).sum(0) + x.shape[0]  # noqa: E731
    compiled = rl.compile(function)
    given = [rl.ones(3, 2), rl.ones(3, 2, dtype=rl.float64), rl.ones(0, 2), rl.ones(3, 2, dtype=rl.int64), rl.ones(3)]
    for _ in range(2):
        for x in given:
            check_same(values(compiled(x)), values(function(x)))
    assert compiled.cache_info()[:2] == (5, 5)
    strided = rl.arange(12.0).reshape(3, 4).t()[:3]
    check_same(values(compiled(strided)), values(function(strided)))


# Results


def test_functions_that_return_nothing() -> None:
    def build() -> Any:
        net = mlp()
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        losses = rl.zeros(2)

        def step(x: Any, y: Any) -> None:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            losses[0] = loss.detach()
            losses[1] += loss.detach()

        return step, net, optimizer, losses

    same_as_eager(build, batch)


def test_results_of_all_kinds() -> None:
    def function(x: Any) -> Any:
        double = x * 2
        return [double, (double, None), {"x": x, 3: [1, "text", 2.5]}, Batch(double.sum(), ()), x.shape, x.dtype]

    x = numbers(2, 3)
    compiled = rl.compile(function)
    for _ in range(2):
        found, expected = compiled(x), function(x)
        assert [type(item) for item in found] == [type(item) for item in expected]
        assert found[2][3] == [1, "text", 2.5] and found[1][1] is None and tuple(found[4]) == (2, 3)
        assert rl.equal(found[0], expected[0]) and rl.equal(found[1][0], expected[0])
        assert rl.equal(found[3].x, expected[3].x) and rl.equal(found[2]["x"], x) and found[5] is expected[5]


def test_results_stay_as_they_are_over_later_calls() -> None:
    compiled = rl.compile(lambda x: (x * 2, x.sum(), x[0], (x + 1).t()))
    first = compiled(numbers(40, 400))
    kept = values(list(first))
    compiled(numbers(40, 400, seed=1))
    check_same(values(list(first)), kept)
    first[0].add_(1)
    second = compiled(numbers(40, 400))
    check_same(values(list(second)), kept)


# Between calls


def test_schedulers_inside_a_loop_of_epochs() -> None:
    def run(wrap: Any) -> Any:
        net = mlp()
        optimizer = optim.AdamW(net.parameters(), lr=0.1)
        scheduler = optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3),
                optim.lr_scheduler.CosineAnnealingLR(optimizer, 4),
            ],
            milestones=[3],
        )

        step = wrap(step_of(net, optimizer))
        found = []
        for number in range(8):
            found.append([step(*batch(number)), optimizer.param_groups[0]["lr"]])
            scheduler.step()
        if wrap is rl.compile:
            assert step.cache_info().misses == 1
        return found, state_of(net), state_of(optimizer)

    both(run)


def test_states_that_are_saved_and_loaded() -> None:
    def run(wrap: Any) -> Any:
        net = mlp()
        optimizer = optim.Adam(net.parameters(), lr=0.05)

        step = wrap(step_of(net, optimizer))
        found = [step(*batch(number)) for number in range(2)]
        saved = copy.deepcopy([net.state_dict(), optimizer.state_dict()])
        found += [step(*batch(number)) for number in range(2, 5)]
        net.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        again = [step(*batch(number)) for number in range(2, 5)]
        check_same(values(again), values(found[2:]))
        return found, again, state_of(net), state_of(optimizer)

    both(run)


def test_copies_after_compiling() -> None:
    rl.manual_seed(0)
    net = mlp()
    compiled = rl.compile(net)
    x, y = batch(0)
    expected = net(x)
    check_same(values(compiled(x)), values(expected))
    copies = [copy.deepcopy(compiled), copy.deepcopy(net), pickle.loads(pickle.dumps(compiled))]
    optimizer = optim.SGD(compiled.parameters(), lr=0.5)
    F.cross_entropy(compiled(x), y).backward()
    optimizer.step()
    assert not rl.allclose(compiled(x), expected)
    check_same(values(compiled(x)), values(net(x)))
    for copied in copies:
        check_same(values(copied(x)), values(expected))
    assert len(list(compiled.named_modules())) == len(list(net.named_modules()))
    assert list(compiled.state_dict()) == list(net.state_dict())


def test_a_compiled_network_in_a_loop_of_training() -> None:
    def run(wrap: Any) -> Any:
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3))
        called = wrap(net)
        optimizer = optim.AdamW(called.parameters(), lr=0.05)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2)
        found = []
        for epoch in range(3):
            called.train()
            optimizer.zero_grad()
            for number in range(3):  # accumulated
                loss = F.cross_entropy(called(batch(number)[0]), batch(number)[1]) / 3
                loss.backward()
                found.append(loss.detach())
            nn.utils.clip_grad_norm_(called.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            called.eval()
            with rl.no_grad():
                found.append(called(batch(9)[0]))
            if epoch == 1:
                net[0].weight.requires_grad_(False)
        return found, state_of(net), state_of(optimizer)

    both(run)


def test_networks_that_feed_each_other() -> None:
    def run(wrap: Any) -> Any:
        encoder, decoder = wrap(nn.Linear(4, 2)), wrap(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4)))
        optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.05)
        found = []
        for number in range(4):
            x = batch(number)[0]
            code = encoder(x)
            loss = F.mse_loss(decoder(code + 0.1), x) + 0.01 * code.abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append([loss.detach(), code.detach()])
        return found, state_of(encoder), state_of(decoder)

    both(run)


# What goes wrong


def test_errors_of_the_user_leave_everything_as_it_was() -> None:
    def build() -> Any:
        net = mlp()
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(x: Any, y: Any, fail: bool = False) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            if fail:
                raise KeyError("mine")
            return loss

        return step, net, optimizer

    rl.manual_seed(0)
    step, net, optimizer = build()
    compiled = rl.compile(step)
    compiled(*batch(0))
    before = [state_of(net), state_of(optimizer)]
    with pytest.raises(KeyError, match="mine"):
        compiled(*batch(1), fail=True)
    check_same([state_of(net), state_of(optimizer)], before)
    with pytest.raises(RuntimeError, match="shape"):
        compiled(numbers(6, 5), classes(3, 6))
    check_same([state_of(net), state_of(optimizer)], before)
    with pytest.raises(IndexError):
        compiled(batch(1)[0], classes(3, 6) + 7)
    assert all(parameter.grad is None for parameter in net.parameters())
    compiled(*batch(1))
    after = [state_of(net), state_of(optimizer)]
    rl.manual_seed(0)
    step, net, optimizer = build()
    step(*batch(0))
    step(*batch(1))
    check_same(after, [state_of(net), state_of(optimizer)])


def test_modules_and_optimizers_as_arguments() -> None:
    def step(net: Any, optimizer: Any, item: tuple[Any, Any]) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(item[0]), item[1])
        loss.backward()
        optimizer.step()
        return loss

    def run(wrap: Any) -> Any:
        called = wrap(step)
        nets = [nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3)) for _ in range(2)]
        optimizers = [optim.Adam(net.parameters(), lr=0.05) for net in nets]
        found = []
        for number in range(6):
            if number == 3:
                nets[0].eval()
            if number == 4:
                nets[1][3] = nn.Linear(8, 3)
            found += [called(net, optimizer, batch(number)) for net, optimizer in zip(nets, optimizers, strict=True)]
        return found, [state_of(net) for net in nets], [state_of(optimizer) for optimizer in optimizers]

    both(run)
