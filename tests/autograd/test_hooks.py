"""Hooks on tensors, leaves and nodes."""

from __future__ import annotations

import pytest

import rushlight as rl
from rushlight.tensor.tensor import Tensor


def test_order_and_replacement() -> None:
    x = rl.ones(1, requires_grad=True)
    y = x * 2
    calls = []

    def note(name: str, factor: float):
        def hook(g: Tensor) -> Tensor:
            calls.append((name, g.item()))
            return g * factor

        return hook

    y.register_hook(note("y", 10.0))
    y.register_hook(note("y again", 1.0))
    x.register_hook(note("x", 3.0))
    y.retain_grad()
    x.register_post_accumulate_grad_hook(lambda leaf: calls.append(("after", leaf.grad.item())))
    y.backward()
    assert calls == [("y", 1), ("y again", 10), ("x", 20), ("after", 60)]
    assert y.grad.item() == 10 and x.grad.item() == 60


def test_a_leaf_hook_sees_the_whole_gradient_once() -> None:
    x = rl.ones(1, requires_grad=True)
    early = x * 2
    seen = []
    x.register_hook(lambda g: seen.append(("x", g.item())))
    late = early * x
    early.register_hook(lambda g: seen.append(("early", g.item())))
    late.backward()
    assert seen == [("early", 1), ("x", 4)]


def test_leaf_hooks_run_as_soon_as_their_gradient_is_complete() -> None:
    first, second = rl.ones(1, requires_grad=True), rl.ones(1, requires_grad=True)
    h = first * 2
    order = []
    first.register_hook(lambda g: order.append("first"))
    second.register_hook(lambda g: order.append("second"))
    h.register_hook(lambda g: order.append("h"))
    (h.exp() * second).backward()
    assert order == ["second", "h", "first"]


def test_removal() -> None:
    x = rl.ones(1, requires_grad=True)
    handle = x.register_hook(lambda g: g * 100)
    with x.register_hook(lambda g: g * 10):
        pass
    handle.remove()
    handle.remove()
    (x * 1).backward()
    assert x.grad.item() == 1


def test_hooks_run_for_autograd_grad() -> None:
    x = rl.ones(1, requires_grad=True)
    x.register_hook(lambda g: g * 2)
    assert rl.autograd.grad(x * 3, x)[0].item() == 6


def test_node_hooks() -> None:
    x = rl.ones(1, requires_grad=True)
    y = x * 2
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 10,))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + outputs[0], None))
    y.backward()
    assert x.grad.item() == 30


def test_hooks_need_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        rl.ones(1).register_hook(print)
    with pytest.raises(RuntimeError, match="non-leaf"):
        (rl.ones(1, requires_grad=True) * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="requires_grad=False"):
        rl.ones(1).retain_grad()
