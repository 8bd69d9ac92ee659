"""Compiled functions whose results the caller differentiates: programs for the results and for the way back."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compiled_comparison import check_same, state_of, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.compiler.program import Program
from rushlight.nn import functional as F


def network() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(8 * 9, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4),
    )  # fmt: skip


def images(number: int) -> Any:
    random = np.random.default_rng(number)
    x = rl.from_numpy(random.standard_normal((5, 3, 6, 6), dtype=np.float32))
    return x, rl.from_numpy(random.integers(0, 4, 5))


def trained(wrap: Callable[[Any], Any], optimizer: Any = optim.Adam, scheduled: bool = False) -> Any:
    """What comes of some steps with a network whose loss is computed outside, and the compiled network."""
    rl.manual_seed(0)
    net = network()
    called = wrap(net)
    steps = optimizer(net.parameters(), lr=0.01)
    found = []
    for number in range(6):
        net.train(number != 3)
        x, y = images(number)
        steps.zero_grad()
        loss = F.cross_entropy(called(x), y)
        loss.backward()
        steps.step()
        found.append([values(loss), state_of(net)])
    return found, called


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.AdamW])
def test_networks_are_trained_as_eagerly(optimizer: Any) -> None:
    expected, _ = trained(lambda net: net, optimizer)
    found, compiled = trained(rl.compile, optimizer)
    check_same(found, expected)
    assert compiled.cache_info()[:2] == (4, 2)  # once for training, once for evaluation
    assert "way back:" in compiled.graph() and "convolution_weight_gradient" in compiled.graph()
    kernels = {row.name for row in compiled.profile().rows}
    assert {"convolution", "convolution_weight_gradient"} <= kernels


def test_gradients_of_arguments_and_where_they_come_from() -> None:
    weight = rl.from_numpy(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)).requires_grad_()
    results = []
    for compiled in (False, True):
        function = lambda x, scale, names: (x @ weight).tanh() * scale + names["bias"]  # noqa: E731
        called = rl.compile(function) if compiled else function
        found = []
        for number in range(3):
            random = np.random.default_rng(number)
            leaf, bias = [
                rl.from_numpy(random.standard_normal(shape, dtype=np.float32)).requires_grad_()
                for shape in ((2, 4), (3,))
            ]
            scale = rl.ones(3) * 2
            weight.grad = None
            inner = leaf.exp()
            inner.retain_grad()
            called(inner, scale, {"bias": bias}).square().sum().backward()
            found.append(values([leaf.grad, bias.grad, weight.grad, inner.grad, scale.grad]))
            given = rl.autograd.grad(called(leaf, scale, {"bias": bias}).sum(), [bias, leaf])
            found.append(values(list(given)))
        results.append(found)
    check_same(results[1], results[0])
    assert called.cache_info()[:2] == (4, 2)


def test_several_calls_before_one_backward() -> None:
    def losses(called: Any, net: Any) -> Any:
        first, second = images(1)[0], images(2)[0]
        return called(first).square().sum() + called(second).tanh().sum() * called(first).mean()

    found = []
    for compiled in (False, True):
        rl.manual_seed(0)
        net = network()
        called = rl.compile(net) if compiled else net
        for _ in range(2):
            losses(called, net).backward()  # gradients are added up
        found.append(state_of(net))
    check_same(found[1], found[0])


def test_no_memory_is_held_after_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[list[weakref.ref[Any]]] = []
    run = Program.run

    def running(self: Program, *given: Any) -> Any:
        found = run(self, *given)
        results.append([weakref.ref(array) for array in found])
        return found

    monkeypatch.setattr(Program, "run", running)
    net = nn.Sequential(nn.Linear(64, 80), nn.Tanh(), nn.Linear(80, 70))
    compiled = rl.compile(net)
    for _ in range(2):
        net.zero_grad()
        compiled(rl.ones(90, 64)).square().sum().backward()
        there, back = results[-2:]
        assert len(there) == 2 and all(reference() is None for reference in there)
        gradients = [parameter.grad.array for parameter in net.parameters()]
        assert sorted(id(reference()) for reference in back) == sorted(map(id, gradients))  # taken as they are
    assert len(compiled.profile().rows) > 5  # though the arguments are gone


def test_results_that_are_not_used() -> None:
    a, b, c = [rl.full((3,), float(n)).requires_grad_() for n in (1, 2, 3)]
    compiled = rl.compile(lambda x: {"left": (a * x, [x * 2]), "right": (b * x).exp() + a, "known": 5, "c": c})
    for name, expected in (("left", [True, False]), ("right", [True, True])):
        for _ in range(2):
            for leaf in (a, b, c):
                leaf.grad = None
            found = compiled(rl.ones(3))
            assert found["known"] == 5 and not found["left"][1][0].requires_grad
            chosen = found[name]
            (chosen[0] if isinstance(chosen, tuple) else chosen).sum().backward()
            assert [leaf.grad is not None for leaf in (a, b)] == expected and c.grad is None
    found["c"].sum().backward()
    assert c.grad.tolist() == [1, 1, 1]
    np.testing.assert_allclose(b.grad.numpy(), np.exp(np.full(3, 2, np.float32)), rtol=1e-5)


def test_dropout_draws_for_each_call() -> None:
    dropout = nn.Dropout(0.5)
    compiled = rl.compile(lambda x: dropout(x))
    x = rl.ones(64).requires_grad_()
    rl.manual_seed(3)
    first, second = compiled(x), compiled(x)
    assert not np.array_equal(values(first), values(second))
    for result in (first, second):
        (gradient,) = rl.autograd.grad(result.sum(), x)
        np.testing.assert_array_equal(gradient.numpy(), values(result))


def test_statistics_are_those_of_the_call() -> None:
    found = []
    for compiled in (False, True):
        norm = nn.BatchNorm1d(3, momentum=0.5)
        called = rl.compile(norm) if compiled else norm
        x = rl.from_numpy(np.arange(12, dtype=np.float32).reshape(4, 3)).requires_grad_()
        first = called(x)
        norm.eval()
        second = called(x)
        norm.running_var.add_(1)  # not what the first read
        first.square().sum().backward()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            second.sum().backward()
        found.append(values([first, second, x.grad, norm.running_mean, norm.running_var]))
    check_same(found[1], found[0])


def test_the_graph_is_kept_where_that_is_asked_for() -> None:
    x = rl.tensor([0.5, 2.0], requires_grad=True)
    compiled = rl.compile(lambda x: x.sin() * x)
    y = compiled(x).sum()
    y.backward(retain_graph=True)
    once = x.grad.clone()
    y.backward()
    assert x.grad.tolist() == (2 * once).tolist()
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="can't be differentiated twice"):
        rl.autograd.grad(compiled(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("what", ["argument", "parameter", "result"])
def test_values_that_are_overwritten_before_the_way_back(what: str) -> None:
    x = rl.full((80, 80), 0.5).requires_grad_()
    weight = rl.full((80, 80), 0.1).requires_grad_()
    compiled = rl.compile(lambda x: (x @ weight).tanh())
    for _ in range(2):
        result = compiled(x)
        with rl.no_grad():
            {"argument": x, "parameter": weight, "result": result}[what].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.sum().backward()
    compiled(x).sum().backward()


def test_hooks_are_called_by_the_caller() -> None:
    net = nn.Linear(3, 2)
    compiled = rl.compile(net)
    seen: list[Any] = []
    net.weight.register_hook(lambda grad: (seen.append("weight"), grad * 2)[1])
    net.bias.register_post_accumulate_grad_hook(lambda parameter: seen.append("bias"))
    x = rl.ones(4, 3)
    for number in range(3):
        net.zero_grad()
        result = compiled(x)
        result.register_hook(lambda grad: seen.append("result"))
        result.sum().backward()
        assert sorted(seen) == ["bias", "result", "weight"], number
        seen.clear()
        assert (net.weight.grad.numpy() == 8).all() and (net.bias.grad.numpy() == 4).all()


class Doubled(rl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad * 2 if float(x.sum()) > 0 else grad


def test_what_runs_eagerly_says_why() -> None:
    state = rl.zeros(3)
    outer = rl.ones(3, requires_grad=True)
    inner = outer * 3

    def changes(x: Any) -> Any:
        state.copy_(x * 2)
        return state * x

    def steps(x: Any) -> Any:
        (x * 2).sum().backward()
        return x.detach() * 2

    functions: dict[str, tuple[Any, bool]] = {
        "changes a tensor from outside": (changes, False),
        "a tensor from outside that is itself the result": (lambda x: x * inner, False),
        "can't be traced": (Doubled.apply, False),
        "where its arguments come from": (steps, True),
        "also seen from inside": (lambda x: x * inner, True),
    }
    for reason, (function, given) in functions.items():
        compiled = rl.compile(function)
        for number in range(3):
            state.detach_()
            outer.grad = None
            x = rl.full((3,), number + 1.0).requires_grad_()
            arguments = [inner if reason.startswith("also") else x * 1 if given else x for _ in range(2)]
            result = compiled(arguments[0])
            if result.requires_grad:
                result.sum().backward(retain_graph=True)
            found = values([result, x.grad, outer.grad])
            state.detach_()
            outer.grad = x.grad = None
            result = function(arguments[1])
            if result.requires_grad:
                result.sum().backward(retain_graph=True)
            check_same(found, values([result, x.grad, outer.grad]), reason)
        with pytest.raises(RuntimeError, match=reason):
            compiled.graph()


def test_a_leaf_that_the_function_makes() -> None:
    def function(x: Any) -> Any:
        own = rl.ones(3).requires_grad_()
        return (x * own).exp()

    x = rl.tensor([0.0, 1.0, 2.0], requires_grad=True)
    compiled = rl.compile(function)
    compiled(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([0.0, 1.0, 2.0]), rtol=1e-5)
    assert compiled.graph()
