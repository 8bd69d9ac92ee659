"""In-place operations on tensors, views and their bases, recorded and not."""

from __future__ import annotations

import pytest

import rushlight as rl


def test_in_place_through_a_view_changes_the_base() -> None:
    x = rl.ones(4, requires_grad=True)
    base = x * 2
    view = base[1:3]
    view.mul_(5)
    assert base.tolist() == [2, 10, 10, 2]
    base.sum().backward()
    assert x.grad.tolist() == [2, 10, 10, 2]


def test_in_place_on_the_base_is_seen_by_views() -> None:
    x = rl.ones(4, requires_grad=True)
    base = x * 2
    view = base.view(2, 2)
    sibling = base[:2]
    base.mul_(3)
    sibling.mul_(2)
    (view.sum() + sibling.sum()).backward()
    assert view.tolist() == [[12, 12], [6, 6]] and x.grad.tolist() == [24, 24, 6, 6]


def test_chains_of_views() -> None:
    x = rl.ones(2, 3, requires_grad=True)
    base = x * 1
    inner = base.t()[1:][0]
    inner.mul_(rl.tensor([2.0, 3.0]))
    base.sum().backward()
    assert x.grad.tolist() == [[1, 2, 1], [1, 3, 1]]


def test_a_constant_that_a_gradient_is_written_into() -> None:
    w = rl.ones(2, requires_grad=True)
    buffer = rl.zeros(3, 2)
    buffer[1] = w * 2
    buffer[2] = w
    assert buffer.requires_grad
    (buffer * rl.tensor([[1.0], [10.0], [100.0]])).sum().backward()
    assert w.grad.tolist() == [120, 120]


def test_overwriting_ends_the_gradient() -> None:
    x = rl.ones(3, requires_grad=True)
    y = x * 2
    y.zero_()
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]
    y = x * 2
    y[0].fill_(5)
    y.sum().backward()
    assert x.grad.tolist() == [0, 2, 2]


def test_no_grad_writes_through_views_of_leaves() -> None:
    w = rl.ones(3, requires_grad=True)
    with rl.no_grad():
        w[0].fill_(5)
        w.sub_(1)
    assert w.tolist() == [4, 0, 0] and w.is_leaf and w._version == 2


def test_product_with_itself_in_place() -> None:
    x = rl.tensor([3.0], requires_grad=True)
    y = x * 1
    y.mul_(y)
    y.backward()
    assert x.grad.tolist() == [6]


def test_overlapping_parts_in_place() -> None:
    x = rl.tensor([1.0, 2.0, 3.0, 4.0])
    x[1:].add_(x[:-1])
    assert x.tolist() == [1, 3, 5, 7]


def test_a_kept_view_that_is_overwritten_through_its_base() -> None:
    x = rl.ones(4, requires_grad=True)
    base = x * 2
    loss = base[:2].exp().sum() + (base[2:] * base[2:]).sum()
    base.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_kept_operand_written_by_the_same_operation() -> None:
    x = rl.ones(2, requires_grad=True)
    base = x * 2
    base.mul_(base.view(2))  # keeps the view, whose memory it overwrites
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        base.sum().backward()


def test_detached_memory_counts_versions() -> None:
    x = rl.ones(2, requires_grad=True)
    y = x.exp()
    loss = y.sum()
    y.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_expanded_memory_is_not_written() -> None:
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        rl.ones(1).expand(3).add_(1)


def test_shape_and_dtype_must_fit() -> None:
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        rl.ones(3).add_(rl.ones(2, 3))
    with pytest.raises(RuntimeError, match="result type float32 can't be cast to the desired output type int64"):
        rl.ones(3, dtype=rl.int64).mul_(0.5)


def test_retained_gradient_follows_in_place() -> None:
    x = rl.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * 5).sum().backward()
    assert y.grad.tolist() == [5, 5] and x.grad.tolist() == [30, 30]
