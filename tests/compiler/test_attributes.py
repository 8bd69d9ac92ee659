"""Attributes that compiled functions set to tensors: they are what they are after an eager call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from compiled_comparison import numbers, same_as_eager, step_of, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.errors import TraceError
from rushlight.nn import functional as F
from rushlight.nn.utils import prune

scores = rl.zeros(())  # has the name of an attribute, and is another tensor in each call


class Attention(nn.Module):
    """Keeps its weights for whoever wants to draw them."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(4, 4)
        self.scores: Any = None

    def forward(self, x: Any) -> Any:
        self.scores = (self.query(x) @ x.mT).softmax(-1)
        self.scores = self.scores * 2
        return self.scores @ x


class Plain:
    """No module: a layer as one writes it by hand."""

    def __init__(self) -> None:
        self.weight = rl.randn(4, 4).requires_grad_()

    def __call__(self, x: Any) -> Any:
        self.out = x @ self.weight
        return self.out.tanh()


class Remembering(nn.Module):
    """Reads what the last call has left."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Any = None

    def forward(self, x: Any) -> Any:
        before = rl.zeros(2, 4) if self.state is None else self.state.detach()
        self.state = x + before
        return self.state


def inputs(number: int) -> tuple[rl.Tensor]:
    return (numbers(2, 4, seed=number),)


def test_a_module_keeps_what_it_has_computed() -> None:
    seen: list[Any] = []

    def build() -> Any:
        net = Attention()
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        seen.append([])
        return step_of(net, optimizer, F.mse_loss), net, optimizer

    def between(number: int, step: Any, net: Any, optimizer: Any) -> None:
        global scores
        scores = net.scores.detach()
        assert not scores.requires_grad
        seen[-1].append(values(scores))

    same_as_eager(build, lambda n: inputs(n) + inputs(n + 9), between=between, traced=2)  # the first call runs eagerly
    assert all((a == pytest.approx(b, abs=1e-6)) for a, b in zip(*seen, strict=True))


def test_the_layers_of_one_who_writes_them_by_hand() -> None:
    layer = Plain()
    compiled = rl.compile(lambda x: layer(x).sum())
    for number in range(4):
        (x,) = inputs(number)
        compiled(x)
        rl.testing.assert_close(layer.out.detach(), (x @ layer.weight).detach())
    assert compiled.cache_info().hits == 2


def test_a_hook_that_puts_activations_into_a_dictionary() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    seen: dict[str, Any] = {}
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda module, args, output, name=name: seen.__setitem__(name, output.detach()))
    compiled = rl.compile(lambda x: net(x).sum())
    for number in range(4):
        (x,) = inputs(number)
        compiled(x)
        found = dict(seen)
        net(x)
        for name in ("0", "1", "2"):
            rl.testing.assert_close(found[name], seen[name])
    assert compiled.cache_info().hits == 2


class Smoothed(nn.Module):
    """Fills a tensor that it makes, and keeps that."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: Any = None

    def forward(self, scores: Any, classes: Any) -> Any:
        self.targets = rl.full_like(scores, 0.1).scatter_(1, classes.unsqueeze(1), 0.7)
        return F.kl_div(scores.log_softmax(1), self.targets, reduction="batchmean")


def test_what_is_made_as_a_constant_and_filled() -> None:
    criterion = Smoothed()
    compiled = rl.compile(criterion)
    for number in range(4):
        scores, classes = numbers(2, 4, seed=number), rl.tensor([number % 4, 1])
        loss, targets = compiled(scores, classes), criterion.targets
        rl.testing.assert_close(loss, criterion(scores, classes))
        rl.testing.assert_close(targets, criterion.targets)
    assert compiled.cache_info().hits == 2


def test_two_functions_that_set_the_same_attribute_leave_each_other_alone() -> None:
    net = Attention()
    first, second = rl.compile(net), rl.compile(lambda x: net(x).mean())
    for number in range(6):
        (x,) = inputs(number)
        found = first(x), net.scores, second(x + 1), net.scores
        expected = net(x), net.scores, net(x + 1).mean(), net.scores
        for a, b in zip(found, expected, strict=True):
            rl.testing.assert_close(a.detach(), b.detach())
    assert first.cache_info().hits >= 2 and second.cache_info().hits >= 2


class Recurrent(nn.Module):
    """Goes on from where the last call has ended, and keeps an average as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 3)
        self.state: Any = None
        self.register_buffer("mean", rl.zeros(3))

    def forward(self, x: Any) -> Any:
        before = rl.zeros(x.shape[0], 3) if self.state is None else self.state.detach()
        self.state = self.cell(x, before)
        self.mean = 0.9 * self.mean + 0.1 * self.state.detach().mean(0)
        return self.state - self.mean


def forget(net: Any) -> None:
    net.state = None


def put_another(net: Any) -> None:
    net.state = rl.ones(2, 3)


def change_in_place(net: Any) -> None:
    net.state.detach().mul_(2)
    net.mean.add_(1)


@pytest.mark.parametrize("change", [None, forget, put_another, change_in_place, nn.Module.eval])
def test_what_a_call_leaves_for_the_next_one(change: Any) -> None:
    def build() -> Any:
        net = Recurrent()
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        return step_of(net, optimizer, F.mse_loss), net, optimizer

    seen: list[Any] = []

    def between(number: int, step: Any, net: Any, optimizer: Any) -> None:
        seen.append(values(net.state))
        if number == 4 and change is not None:
            change(net)

    called = same_as_eager(
        build, lambda n: inputs(n) + (numbers(2, 3, seed=n + 9),), calls=9, between=between, traced=None
    )
    assert called.cache_info().hits >= 3
    for compiled, eager in zip(seen[9:], seen[:9], strict=True):
        assert compiled == pytest.approx(eager, abs=1e-5)
    assert '"state"' in called.graph() and '"mean"' in called.graph()


def test_what_is_left_is_not_carried_where_gradients_flow_to_an_earlier_call() -> None:
    class Through(Recurrent):
        def forward(self, x: Any) -> Any:
            self.state = self.cell(x, rl.zeros(2, 3) if self.state is None else self.state)
            return self.state

    net = Through()
    compiled = rl.compile(net)
    (x,) = inputs(0)
    first = compiled(x)  # eagerly
    second = net(x)
    with pytest.raises(TraceError, match=r"reads 'state' and sets it .*\(at .*test_attributes.py:\d+\)"):
        compiled(x)
    assert net.state is second
    (first.sum() + second.sum()).backward()
    with rl.no_grad():
        assert values(compiled(x)) == pytest.approx(values(net.cell(x, second)), abs=1e-6)


def test_what_is_left_is_not_carried_where_it_is_also_something_else() -> None:
    class Pair:
        first = second = rl.ones(2)

        def __call__(self, x: Any) -> Any:
            self.first = self.first + x
            return self.first * self.second

    pair = Pair()
    compiled = rl.compile(pair, fullgraph=False)
    for _ in range(2):
        pair.first = rl.ones(2)
        assert [compiled(rl.ones(2)).tolist() for _ in range(3)] == [[2, 2], [3, 3], [4, 4]]
    pair.first = pair.second = rl.ones(2)
    with pytest.warns(UserWarning, match="reads 'first' and sets it"):
        assert [compiled(rl.ones(2)).tolist() for _ in range(3)] == [[2, 2], [3, 3], [4, 4]]


def pruned(layer: nn.Module) -> nn.Module:
    prune.l1_unstructured(layer, "weight", amount=0.3)
    return layer


COMPUTED: dict[str, Callable[[Any], Any]] = {
    "weight_norm": nn.utils.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "pruned": pruned,
    "orthogonal": nn.utils.parametrizations.orthogonal,
}


@pytest.mark.parametrize("name", COMPUTED)
def test_weights_that_are_computed_before_each_call(name: str) -> None:
    def build() -> Any:
        net = nn.Sequential(COMPUTED[name](nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 2))
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        return step_of(net, optimizer, F.mse_loss), net, optimizer

    same_as_eager(build, lambda n: (numbers(6, 4, seed=n), numbers(6, 2, seed=n + 9)), traced=None)
