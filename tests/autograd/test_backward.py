"""backward and grad: what they compute, what they keep, what they leave alone, what they say."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import rushlight as rl
from rushlight.autograd import Variable, backward, grad
from rushlight.tensor.tensor import Tensor


def leaf(*shape: int) -> Tensor:
    return rl.ones(*shape, requires_grad=True)


# .grad belongs to its leaf alone


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 0.0,
        lambda x: x.view(6),
        lambda x: x.reshape(3, 2).t(),
        lambda x: x.expand(4, 2, 3),
        lambda x: x + x,
        lambda x: -x,
        lambda x: x.clone(),
        lambda x: x[...],
    ],
)
def test_grad_shares_memory_with_nothing(function) -> None:
    x = leaf(2, 3)
    y = function(x)
    g = rl.ones(*y.shape)
    y.backward(g)
    assert not np.shares_memory(x.grad.array, g.array)
    assert x.grad.array.flags.writeable and not x.grad.requires_grad
    x.grad.zero_()
    assert (g.array == 1).all() and (x.array == 1).all()


def test_two_leaves_of_one_sum_have_gradients_of_their_own() -> None:
    a, b = leaf(3), leaf(3)
    c = a + b
    c.retain_grad()
    c.sum().backward()
    memories = [a.grad.array, b.grad.array, c.grad.array]
    for i, left in enumerate(memories):
        for right in memories[i + 1 :]:
            assert not np.shares_memory(left, right)


def test_a_gradient_that_the_user_made_is_copied() -> None:
    memory = np.ones(5, np.float32)
    x = leaf(3)
    x.view(3).backward(rl.from_numpy(memory[1:4]))
    x.grad.fill_(7)
    assert (memory == 1).all()


def test_gradients_accumulate_and_survive_zeroing_in_place() -> None:
    x = leaf(3)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 5, 5]
    held = x.grad
    x.grad.zero_()
    (x * 4).sum().backward()
    assert x.grad is held and held.tolist() == [4, 4, 4]


def test_create_graph_gives_a_gradient_to_differentiate() -> None:
    x = rl.tensor([2.0, 3.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = grad(x.grad.sum(), x)
    assert second.tolist() == [12, 18]


# Memory


def test_no_cycles() -> None:
    """A training loop leaves nothing for the garbage collector."""
    w = leaf(4, 4)

    def step() -> None:
        h = rl.tanh(w * 2.0) + 1.0
        v = h[1:]
        v.mul_(3.0)
        loss = (h * v.sum()).sum()
        loss.backward()
        references = [weakref.ref(t) for t in (h, v, loss)]
        del h, v, loss
        assert [r() for r in references] == [None, None, None]

    step()  # what is imported and compiled on first use
    while gc.collect():  # what other tests left: some of it hangs on an Executor that goes first
        pass
    gc.disable()
    try:
        for _ in range(3):
            step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_kept_values_are_freed_by_backward() -> None:
    x = leaf(10)
    y = x * 2.0
    kept = y.exp()
    z = kept.sum()
    memory = weakref.ref(kept.array)
    del kept
    assert memory() is not None
    z.backward()
    assert memory() is None


def test_deep_graphs() -> None:
    x = leaf(1)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1
    del y


def test_a_hook_that_raises_leaves_every_grad_as_it_was() -> None:
    a, b = leaf(2), leaf(2)

    def refuse(_: Tensor) -> None:
        raise KeyError("no")

    b.register_hook(refuse)
    with pytest.raises(KeyError):
        (a.exp() * b).sum().backward()
    assert a.grad is None and b.grad is None


def test_threads_accumulate_into_one_leaf() -> None:
    x = leaf(1000)

    def work() -> None:
        for _ in range(20):
            (x * 2.0).sum().backward()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (x.grad.array == 160).all()


def test_modes_belong_to_their_thread() -> None:
    seen = []
    with rl.no_grad():
        thread = threading.Thread(target=lambda: seen.append(rl.is_grad_enabled()))
        thread.start()
        thread.join()
        assert not rl.is_grad_enabled()
    assert seen == [True]


# Messages


def test_messages() -> None:
    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"grad can be implicitly created only for scalar outputs.*\(3,\)"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        rl.ones(1).backward()
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\].*\[2\].*\[3\]"):
        (x * 2).backward(rl.ones(2))
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time.*retain_graph=True"):
        y.backward()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    z = x.exp()
    loss = z.sum()
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*exp.*1 time"):
        loss.backward()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0].add_(1)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad(x.sum(), rl.ones(3))
    with pytest.raises(RuntimeError, match="not have been used in the graph.*allow_unused=True"):
        grad(x.sum(), leaf(2))
    with pytest.raises(TypeError, match="gradients can be either Tensors or None"):
        x.sum().backward(1.0)
    with pytest.raises(RuntimeError, match="derivative for heaviside is not implemented"):
        rl.heaviside(x, rl.ones(3)).sum().backward()
    with pytest.raises(RuntimeError, match="different size"):
        x.grad = rl.ones(2)
    with pytest.raises(RuntimeError, match="only Tensors of floating point dtype can require gradients"):
        rl.ones(3, dtype=rl.int64).requires_grad_()


def test_out_with_gradients_is_refused() -> None:
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        rl.exp(leaf(3), out=rl.empty(3))


def test_grad_of_a_tensor_inside_warns() -> None:
    y = leaf(3) * 2
    with pytest.warns(UserWarning, match="not a leaf Tensor"):
        assert y.grad is None


# grad


def test_grad_of_unused_inputs() -> None:
    x, other = leaf(3), leaf(2)
    assert grad((x * 2).sum(), [x, other], allow_unused=True)[1] is None
    assert grad((x * 2).sum(), [x, other], materialize_grads=True)[1].tolist() == [0, 0]
    assert x.grad is None


def test_grad_with_respect_to_results() -> None:
    x = leaf(2)
    h = x * 3
    y = (h * h).sum()
    of_h, of_x = grad(y, [h, x])
    assert of_h.tolist() == [6, 6] and of_x.tolist() == [18, 18]
    (itself,) = grad(h, h, rl.ones(2))
    assert itself.tolist() == [1, 1]


def test_backward_of_chosen_inputs() -> None:
    a, b = leaf(2), leaf(2)
    h = a * 2
    backward([(h * b).sum()], inputs=[b, h])
    assert a.grad is None and b.grad.tolist() == [2, 2] and h.grad.tolist() == [1, 1]


def test_batched_grad() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    (rows,) = grad(x * x, x, rl.eye(2), is_grads_batched=True)
    assert rows.tolist() == [[2, 0], [0, 4]]


def test_variable() -> None:
    x = Variable(rl.ones(2), requires_grad=True)
    assert isinstance(x, Variable) and isinstance(x, Tensor) and x.requires_grad and x.is_leaf


def test_graph_can_be_looked_at() -> None:
    x = leaf(2)
    y = (x * 2).sum()
    assert y.grad_fn.name() == "SumBackward0"
    multiply = y.grad_fn.next_functions[0][0]
    assert multiply.next_functions[0][0].variable is x
    assert multiply.next_functions[1][0] is None


def test_anomaly_names_the_operation() -> None:
    x = rl.zeros(1, requires_grad=True)
    with (
        rl.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"),
    ):
        (rl.sqrt(x) * 0.0).backward()


# Sums that the walk makes, and adds to in place


@pytest.mark.parametrize("index", [slice(1, 3), (slice(None), 1), (Ellipsis, None, slice(0, 3, 2)), 2, (1, 2)])
def test_slices_and_the_whole_add_up_in_any_order(index) -> None:
    weights = rl.arange(12.0).reshape(4, 3)
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)):
        x = leaf(4, 3)
        y = x * 2.0
        terms = [
            lambda y=y: (y[index] * 3.0).sum(),
            lambda y=y: (y * weights).sum(),
            lambda y=y: (y[index] * y[index]).sum(),
            lambda y=y: y[1:].sum(),
        ]
        sum((terms[i]() for i in order), rl.zeros(())).backward()
        want = np.array(weights.numpy())
        want[1:] += 1
        want[index] += 3 + 2 * 2
        np.testing.assert_array_equal(x.grad.numpy(), 2 * want)


def test_a_sum_that_was_sent_on_is_not_added_to() -> None:
    x = leaf(3)
    a = x * 1.0
    b = a + 0.0  # receives two gradients, and hands their sum on as it is
    (a[:2].sum() + b.sum() + (b * 2.0).sum() + b[1:].sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 5, 4])


def test_gradients_that_hooks_kept_stay_as_they_were() -> None:
    x = leaf(4)
    kept = []
    y = x * 1.0
    parts = [y[i : i + 2] for i in range(3)]
    for part in parts:
        part.register_hook(kept.append)
    y.register_hook(kept.append)
    sum((p.sum() for p in parts), rl.zeros(())).backward()
    assert [k.tolist() for k in kept] == [[1, 1], [1, 1], [1, 1], [1, 2, 2, 1]]
    x.sum().backward()
    assert kept[3].tolist() == [1, 2, 2, 1]
    assert x.grad.tolist() == [2, 3, 3, 2]


def test_second_gradient_of_overlapping_slices() -> None:
    x = rl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (g,) = grad((x[:2] ** 3).sum() + (x[1:] ** 3).sum(), x, create_graph=True)
    (second,) = grad(g.sum(), x)
    np.testing.assert_array_equal(second.numpy(), [6, 24, 18])
