"""What changes between calls: the next call has it, by another input, another trace or a refusal; never stale."""

from __future__ import annotations

import copy
import functools
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compiled_comparison import check_same, same_as_eager, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.errors import TraceError
from rushlight.nn import functional as F

SETTINGS = {"scale": 1.0}
OFFSET = 1.0


def numbers(*shape: int, seed: int = 0) -> rl.Tensor:
    return rl.randn(*shape, generator=rl.Generator().manual_seed(seed))


class Net(nn.Module):
    """A module whose forward depends on much."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.drop = nn.Dropout(0.3)
        self.norm = nn.BatchNorm1d(5)
        self.second = nn.Linear(5, 2)
        self.scale = 1.0
        self.calls_outside = 0  # not read by forward
        self.options = {"shift": 0.0}

    def forward(self, x: Any) -> Any:
        hidden = self.norm(self.drop(self.first(x)).relu())
        return self.helper(self.second(hidden)) + self.options["shift"]

    def helper(self, x: Any) -> Any:
        return x * self.scale * SETTINGS["scale"] + OFFSET


def build() -> Any:
    net = Net()
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        if any(p.requires_grad for p in net.parameters()):
            loss.backward()
            optimizer.step()
        return loss

    return step, net, optimizer


def group(optimizer: Any) -> dict[str, Any]:
    return optimizer.param_groups[0]  # type: ignore[no-any-return]


def set_global(name: str, value: Any) -> Any:
    def change(net: Any, optimizer: Any) -> None:
        globals()[name] = value

    return change


def replace_layer(net: Any, optimizer: Any) -> None:
    net.second = nn.Linear(5, 2)


def replace_parameter(net: Any, optimizer: Any) -> None:
    net.second.weight = nn.Parameter(rl.ones(2, 5))
    optimizer.add_param_group({"params": [net.second.weight]})


def reload(net: Any, optimizer: Any) -> None:
    state = copy.deepcopy(net.state_dict())
    net.load_state_dict({name: value * 0 + 1 if value.is_floating_point() else value for name, value in state.items()})


def reload_optimizer(net: Any, optimizer: Any) -> None:
    state = copy.deepcopy(optimizer.state_dict())
    for entry in state["state"].values():
        entry["step"] += 5
        entry["exp_avg"] *= 2
    state["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict(state)


def set_data(net: Any, optimizer: Any) -> None:
    net.first.weight.data = rl.ones(5, 4) * 0.1


def set_state(net: Any, optimizer: Any) -> None:
    entry = optimizer.state[net.first.weight]
    entry["step"] = rl.tensor(7.0)
    entry["exp_avg"] = rl.ones(5, 4)


def count_on(net: Any, optimizer: Any) -> None:
    for state in optimizer.state.values():
        state["step"] += 20


def count_one_on(net: Any, optimizer: Any) -> None:
    optimizer.state[net.first.weight]["step"] += 20


def set_data_of_step(net: Any, optimizer: Any) -> None:
    optimizer.state[net.first.weight]["step"].data = rl.tensor(30.0)


# A change, and how often the step is traced in all. A new layer's gradients are none first, and then added to.
CHANGES: dict[str, tuple[Any, int]] = {
    "nothing": (lambda net, optimizer: None, 1),
    "lr": (lambda net, optimizer: group(optimizer).update(lr=0.5), 1),
    "betas": (lambda net, optimizer: group(optimizer).update(betas=(0.5, 0.6)), 1),
    "weight_decay": (lambda net, optimizer: group(optimizer).update(weight_decay=0.5), 1),
    "maximize": (lambda net, optimizer: group(optimizer).update(maximize=True), 2),
    "lr as a tensor": (lambda net, optimizer: group(optimizer).update(lr=rl.tensor(0.5)), 1),
    "eval": (lambda net, optimizer: net.eval(), 2),
    "eval of a part": (lambda net, optimizer: net.drop.eval(), 2),
    "dropout p": (lambda net, optimizer: setattr(net.drop, "p", 0.9), 2),
    "momentum of norm": (lambda net, optimizer: setattr(net.norm, "momentum", 0.5), 2),
    "load_state_dict": (reload, 1),
    "load_state_dict of the optimizer": (reload_optimizer, 2),
    "state by hand": (set_state, 2),
    "step counts": (count_on, 1),
    "one step count": (count_one_on, 2),
    "data of a step count": (set_data_of_step, 2),
    "frozen": (lambda net, optimizer: net.first.requires_grad_(False), 2),
    "all frozen": (lambda net, optimizer: net.requires_grad_(False), 2),
    "replaced layer": (replace_layer, 3),
    "replaced parameter": (replace_parameter, 2),
    "layer without bias": (lambda net, optimizer: setattr(net.second, "bias", None), 2),
    "set data": (set_data, 2),
    "written in place": (lambda net, optimizer: net.first.weight.data.mul_(0.5), 1),
    "grad none": (lambda net, optimizer: setattr(net.first.weight, "grad", None), 1),
    "grad by hand": (lambda net, optimizer: setattr(net.first.weight, "grad", rl.ones(5, 4)), 1),
    "attribute": (lambda net, optimizer: setattr(net, "scale", 2.0), 2),
    "attribute not read": (lambda net, optimizer: setattr(net, "calls_outside", 7), 1),
    "entry of an attribute": (lambda net, optimizer: net.options.update(shift=2.0), 2),
    "global": (set_global("OFFSET", 3.0), 2),
    "entry of a global": (lambda net, optimizer: SETTINGS.update(scale=3.0), 2),
    "forward hook": (lambda net, optimizer: net.first.register_forward_hook(lambda m, i, o: o * 2) and None, 2),
    "hook on a parameter": (lambda net, optimizer: net.first.weight.register_hook(lambda g: g * 2) and None, 2),
    "method": (lambda net, optimizer: setattr(net, "helper", lambda x: x * 0.1), 2),
    "method of the class": (lambda net, optimizer: setattr(Net, "helper", lambda self, x: x * 0.1), 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_between_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, traced = CHANGES[name]
    helper = Net.helper

    def between(number: int, function: Any, net: Any, optimizer: Any) -> None:
        if number == 2:
            change(net, optimizer)
        if number == 5:
            Net.helper = helper  # type: ignore[method-assign]
            globals()["OFFSET"] = SETTINGS["scale"] = 1.0

    same_as_eager(
        build, lambda n: (numbers(8, 4, seed=n), numbers(8, 2, seed=n)), calls=6, between=between, traced=traced
    )


class Slotted:
    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 1.0


def marked() -> Any:
    weight = rl.ones(3)
    weight.scale = 1.0  # type: ignore[attr-defined]
    return weight


def rescale(seen: Any) -> None:
    seen.scale = 2.0


SEEN: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "set": (lambda: {"a"}, lambda x, seen: x * 2 if "b" in seen else x, lambda seen: seen.add("b")),
    "empty set": (set, lambda x, seen: x * len(seen), lambda seen: seen.add(2.0)),
    "computed name": (
        lambda: SimpleNamespace(k0=1.0, k1=2.0),
        lambda x, seen: x * sum(getattr(seen, f"k{place}") for place in range(2)),
        lambda seen: setattr(seen, "k1", 5.0),
    ),
    "all attributes": (
        lambda: SimpleNamespace(k0=1.0),
        lambda x, seen: x * sum(vars(seen).values()),
        lambda seen: setattr(seen, "k1", 5.0),
    ),
    "deque": (lambda: deque([1.0, 2.0]), lambda x, seen: x * seen[0], lambda seen: seen.rotate()),
    "the last of many": (
        lambda: {number: [1.0] for number in range(500)},
        lambda x, seen: x * seen[499][0],
        lambda seen: seen[499].append(seen[499].pop() + 1),
    ),
    "slots": (Slotted, lambda x, seen: x * seen.scale, rescale),
    "attribute of a tensor": (marked, lambda x, seen: x * seen * seen.scale, rescale),
    "elements of an array": (lambda: np.ones(3), lambda x, seen: x * float(seen[1]), lambda seen: seen.fill(2)),
    "copy of an array": (lambda: np.ones(3), lambda x, seen: x * rl.tensor(seen), lambda seen: seen.fill(2)),
    "array": (lambda: np.ones(3), lambda x, seen: x * rl.from_numpy(seen), lambda seen: seen.fill(2)),
}


@pytest.mark.parametrize("name", SEEN)
def test_containers_and_arrays(name: str) -> None:
    make, use, change = SEEN[name]
    seen, x = make(), numbers(3)
    compiled = rl.compile(lambda x: use(x, seen))
    for number in range(4):
        if number == 2:
            change(seen)
        check_same(values(compiled(x)), values(use(x, seen)))
    assert compiled.cache_info().misses == 2


class Replaced(nn.Module):
    scale = 2.0

    def forward(self, x: Any) -> Any:
        return x * self.scale


def test_forward_is_replaced() -> None:
    net = Replaced()
    compiled, before, x = rl.compile(net), Replaced.forward, rl.ones(1)
    assert compiled(x).item() == 2
    Replaced.forward = lambda self, x: x * 5  # type: ignore[method-assign]
    assert compiled(x).item() == 5
    net.forward = lambda x: x * 7  # type: ignore[method-assign]
    assert compiled(x).item() == 7
    del net.forward
    Replaced.forward = before  # type: ignore[method-assign]
    net.scale = 3.0
    assert compiled(x).item() == 3
    del net.scale
    assert compiled(x).item() == 2


def test_attributes_that_are_not_there_yet() -> None:
    class Lazy(nn.Module):
        @functools.cached_property
        def table(self) -> Any:
            return rl.arange(3.0)

        def forward(self, x: Any) -> Any:
            if not hasattr(self, "mask"):
                self.mask = rl.ones(3)
            return (x + self.table) * self.mask

    net = Lazy()
    compiled, x = rl.compile(net), rl.ones(3)
    for _ in range(3):
        assert compiled(x).tolist() == [1, 2, 3]
    net.mask *= 2
    net.table.add_(1)
    assert compiled(x).tolist() == [4, 6, 8]
    assert compiled.cache_info().hits >= 1

    class Counting(nn.Module):
        def forward(self, x: Any) -> Any:
            self.calls = getattr(self, "calls", 0) + 1
            return x * 2

    counting = Counting()
    with pytest.raises(TraceError, match="changes 'calls' from 1 to 2"):
        rl.compile(counting)(x)
    assert not hasattr(counting, "calls")


def test_compiled_methods() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = 2.0

        @rl.compile
        def forward(self, x: Any) -> Any:
            return x * self.scale

    class Second(First):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 1

    class Slotted:
        __slots__ = ("scale",)

        def __init__(self, scale: float) -> None:
            self.scale = scale

        @rl.compile
        def apply(self, x: Any) -> Any:
            return x * self.scale

    x = rl.ones(1)
    second, other = Second(), First()
    assert [second(x).item(), other(x).item()] == [3, 2]
    second.scale = 5.0
    assert [second(x).item(), other(x).item()] == [6, 2]
    one, two = Slotted(2.0), Slotted(3.0)
    assert [one.apply(x).item(), two.apply(x).item()] == [2, 3]
    one.scale = 4.0
    assert [one.apply(x).item(), two.apply(x).item()] == [4, 3]
    assert one.apply is one.apply


def test_default_arguments_and_what_stands_in_them() -> None:
    weight, options = rl.ones(3), {"power": 2}

    def function(x: Any, scale: Any = weight, settings: Any = options) -> Any:
        return (x * scale) ** settings["power"]

    compiled = rl.compile(function)
    x = numbers(3)
    assert rl.equal(compiled(x), x**2)
    weight.fill_(2.0)
    assert rl.equal(compiled(x), (x * 2) ** 2)
    options["power"] = 3
    assert rl.equal(compiled(x), (x * 2) ** 3)
    assert rl.equal(compiled(x, rl.ones(3)), x**3)
    function.__defaults__ = (rl.zeros(3), {"power": 1})
    assert rl.equal(compiled(x), x * 0)


def test_hooks_of_all_modules() -> None:
    net, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh()), numbers(6, 4)
    plain = net(x)
    compiled = rl.compile(lambda x: net(x))
    assert rl.allclose(compiled(x), plain)
    with nn.modules.module.register_module_forward_hook(lambda module, given, output: output * 0.5):
        hooked = net(x)
        assert not rl.allclose(hooked, plain)
        assert rl.allclose(compiled(x), hooked)
    assert rl.allclose(compiled(x), plain)


def test_a_setting_that_was_there_before_needs_no_new_trace() -> None:
    def between(number: int, function: Any, net: Any, optimizer: Any) -> None:
        net.train(number % 2 == 0)

    same_as_eager(build, lambda n: (numbers(8, 4, seed=n), numbers(8, 2, seed=n)), calls=8, between=between, traced=2)


def test_modes_around_the_call() -> None:
    weight = rl.ones(3, requires_grad=True)

    @rl.compile
    def f(x: Any) -> Any:
        return (x * weight).sum()

    for _ in range(2):
        assert f(rl.ones(3)).requires_grad
        with rl.no_grad():
            assert not f(rl.ones(3)).requires_grad
    made = rl.compile(lambda: rl.zeros(2))
    assert made().dtype is rl.float32
    rl.set_default_dtype(rl.float64)
    try:
        assert made().dtype is rl.float64
    finally:
        rl.set_default_dtype(rl.float32)
    assert made().dtype is rl.float32


def test_closures_and_objects() -> None:
    factor = 2.0

    class Config:
        power = 1
        bias = 0.0

    config = Config()

    def scale(x: Any) -> Any:
        return x * factor

    @rl.compile
    def f(x: Any) -> Any:
        return scale(x) ** config.power + config.bias

    x = rl.ones(2)
    assert f(x).tolist() == [2, 2]
    factor = 3.0
    assert f(x).tolist() == [3, 3]
    config.bias = 1.0
    assert f(x).tolist() == [4, 4]
    Config.power = 2
    assert f(x).tolist() == [10, 10]
    config.unrelated = 5  # type: ignore[attr-defined]
    assert f(x).tolist() == [10, 10]
    assert f.cache_info().misses == 4


def test_tensors_in_containers() -> None:
    weights = [rl.ones(2), rl.ones(2)]

    @rl.compile
    def f(x: Any) -> Any:
        for weight in weights:
            x = x * weight
        return x

    x = rl.ones(2)
    assert f(x).tolist() == [1, 1]
    weights[0].fill_(2)
    assert f(x).tolist() == [2, 2]
    weights[1] = rl.full((2,), 3.0)
    assert f(x).tolist() == [6, 6]
    weights.append(rl.full((2,), 5.0))
    assert f(x).tolist() == [30, 30]
    del weights[0]
    assert f(x).tolist() == [15, 15]


def test_an_argument_that_is_also_seen_from_inside() -> None:
    weight = rl.full((2,), 2.0)

    @rl.compile
    def f(x: Any) -> Any:
        return x + weight

    assert f(weight).tolist() == [4, 4]
    assert f(rl.zeros(2)).tolist() == [2, 2]
    assert f(weight).tolist() == [4, 4]


def test_modes_set_inside() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    @rl.compile
    def evaluate(x: Any) -> Any:
        net.eval()
        with rl.no_grad():
            return net(x)

    x = rl.ones(3, 2)
    for _ in range(2):
        net.train()
        check_same(values(evaluate(x)), values(net.eval()(x).detach()))
        assert not net.training


def test_things_made_once_and_kept() -> None:
    class Attention:
        mask: Any = None

        def __call__(self, x: Any) -> Any:
            if self.mask is None or self.mask.shape[0] != x.shape[0]:
                self.mask = rl.tril(rl.ones(x.shape[0], x.shape[0]))
            return self.mask @ x

    attention = Attention()
    compiled = rl.compile(attention)
    for size in (2, 3, 2):
        check_same(values(compiled(rl.ones(size, 1))), values(rl.tril(rl.ones(size, size)) @ rl.ones(size, 1)))
        attention.mask *= 1


@pytest.mark.parametrize("change", [{"momentum": 0.9, "dampening": 0.5}, {"lr": 0.5}, {"weight_decay": 0.1}])
def test_settings_of_sgd(change: dict[str, float]) -> None:
    def with_sgd() -> Any:
        net = nn.Linear(4, 2)
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    def between(number: int, function: Any, net: Any, optimizer: Any) -> None:
        if number == 2:
            group(optimizer).update(change)

    traced = 2 if "momentum" in change else 1
    same_as_eager(with_sgd, lambda n: (numbers(8, 4, seed=n),), calls=6, between=between, traced=traced)


def test_a_learning_rate_in_a_tensor() -> None:
    rate = rl.tensor(0.1)

    def with_sgd() -> Any:
        rate.fill_(0.1)
        net = nn.Linear(4, 2)
        optimizer = optim.SGD(net.parameters(), lr=rate)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return step, net

    same_as_eager(with_sgd, lambda n: (numbers(8, 4, seed=n),), calls=5, between=lambda *_: rate.mul_(0.5))


# Values that are read


def test_lengths_that_are_read() -> None:
    """A program for each of the values, and eager calls where there are too many of them."""

    def build() -> Any:
        net, head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)
        optimizer = rl.optim.Adam([*net.parameters(), *head.parameters()], lr=0.1)

        def step(x: Any, lengths: Any) -> Any:
            optimizer.zero_grad()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            padded, _ = nn.utils.rnn.pad_packed_sequence(net(packed)[0], batch_first=True)
            loss = head(padded).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        return step, net, head, optimizer

    (step, *plain), (compiled_step, *held) = build(), build()
    for mine, other in zip(held, plain, strict=True):
        mine.load_state_dict(other.state_dict())
    compiled = rl.compile(compiled_step)
    x = rl.randn(3, 6, 3)
    for call in range(14):
        lengths = rl.tensor([6, 1 + call % 11 % 6, 1 + call % 11 // 2])
        with pytest.warns(UserWarning, match="runs eagerly") if call == 8 else nullcontext():
            found = compiled(x, lengths)
        assert found.item() == pytest.approx(step(x, lengths).item(), rel=1e-4), call
        if call == 1:
            before = compiled.cache_info().misses
            compiled(x, lengths)
            step(x, lengths)
            assert compiled.cache_info().misses == before
    assert compiled.cache_info().misses <= 10
    with pytest.raises(RuntimeError, match="runs eagerly: it reads the values of integers"):
        compiled.graph()


def test_integers_of_state_that_are_read() -> None:
    class Alternating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", rl.tensor(0))

        def forward(self, x: Any) -> Any:
            doubled = int(self.calls) % 2 == 1
            self.calls += 1
            return x * 2 if doubled else x + 0

    net = Alternating()
    compiled = rl.compile(net)
    with pytest.warns(UserWarning, match="runs eagerly"):
        assert [compiled(rl.ones(1)).item() for _ in range(12)] == [1, 2] * 6
    assert int(net.calls) == 12


LABELS, MASK = rl.tensor([0, 1, 2, 1, 0]), rl.tensor([True, False, True, True, False])
READERS: dict[str, Callable[[Any, Any], Any]] = {
    "mask": lambda x, n: x[MASK] * n,
    "mask of an argument": lambda x, n: x.t()[n > 1],
    "selected": lambda x, n: rl.masked_select(x, MASK.unsqueeze(1)) + n.sum(),
    "places": lambda x, n: x[(LABELS == 1).nonzero().squeeze(1)] + n[0],
    "largest": lambda x, n: x[: int(n.max())],
    "each": lambda x, n: rl.stack([x[: int(length)].sum() for length in n]),
    "split": lambda x, n: rl.stack([part.sum() for part in x.split((5 - n[:1]).tolist() + [int(n[0])])]),
    "choice": lambda x, n: x * 2 if n[0] > 1 and len(n) > 1 else x - 1,
    "of a mean": lambda x, n: x[: round(n.float().mean().item())],
}


@pytest.mark.parametrize("name", READERS)
def test_what_comes_of_integers_from_outside_may_be_read(name: str) -> None:
    reader = READERS[name]
    compiled = rl.compile(lambda x, n: reader(x, n).square().sum())
    for seed, given in enumerate(([1, 2, 3], [1, 2, 3], [2, 4, 1], [1, 2, 3])):
        x, n = numbers(5, 3, seed=seed), rl.tensor(given)
        expected = reader(x, n).square().sum().item()
        assert compiled(x, n).item() == pytest.approx(expected, rel=1e-5)


def test_integers_that_the_function_changes_are_read_as_they_are_then() -> None:
    counts = rl.tensor([1, 4])

    def step(x: Any) -> Any:
        counts[0] += 1
        return x[: int(counts[0])] * int(counts.max())

    compiled = rl.compile(step)
    assert [compiled(rl.ones(9)).tolist() for _ in range(3)] == [[4] * 2, [4] * 3, [4] * 4]
    assert counts.tolist() == [4, 4]


def test_leaves_that_the_function_makes_of_its_parameters_are_not_waited_for() -> None:
    weight = nn.Parameter(rl.ones(3))

    def step(x: Any) -> Any:
        leaf = weight.detach().requires_grad_()
        return rl.autograd.grad((leaf * x).square().sum(), leaf)[0]

    compiled = rl.compile(step)
    for call in range(1, 4):
        assert compiled(rl.ones(3) * call).tolist() == [2.0 * call**2] * 3
    assert compiled.cache_info()[:2] == (2, 1)


def test_numbers_that_are_others_in_each_call_run_eagerly_in_the_end():
    x = rl.arange(3.0)
    step = rl.compile(lambda x, beta: x * beta)
    with pytest.warns(UserWarning, match="traced anew in 16 of 16 calls"):
        results = [step(x, beta / 7) for beta in range(1, 40)]
    for beta, result in enumerate(results, 1):
        assert rl.equal(result, x * (beta / 7))
    assert step.cache_info().misses == 16
    for _ in range(64):  # programs pay again
        assert rl.equal(step(x, 16 / 7), x * (16 / 7))
    assert rl.equal(step(x, 0.5), x * 0.5)
    assert step.cache_info().misses == 17


def test_a_number_that_stays_after_many_others_has_a_program_in_the_end():
    x = rl.arange(3.0)
    step = rl.compile(lambda x, beta: x * beta)
    with pytest.warns(UserWarning, match="traced anew"):
        for beta in range(1, 40):
            step(x, beta / 7)
    step.cache_clear()
    for _ in range(64):
        assert rl.equal(step(x, 1.0), x)
    info = step.cache_info()
    assert info.hits > 0 and info.misses == 17
