"""autograd.Function."""

from __future__ import annotations

import gc
import weakref

import pytest

import rushlight as rl
from rushlight.autograd import Function, gradcheck, gradgradcheck
from rushlight.autograd.function import once_differentiable


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Product(Function):
    @staticmethod
    def forward(a, b, factor):
        return a * b * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        a, b, ctx.factor = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return (
            g * b * ctx.factor if ctx.needs_input_grad[0] else None,
            g * a * ctx.factor if ctx.needs_input_grad[1] else None,
            None,
        )


def double(*shape: int):
    return rl.linspace(0.1, 1.0, max(rl.ones(*shape).numel(), 1), dtype=rl.float64).reshape(shape).requires_grad_()


def test_gradients_of_both_orders() -> None:
    assert gradcheck(Exp.apply, double(3)) and gradgradcheck(Exp.apply, double(3))
    assert gradcheck(lambda a, b: Product.apply(a, b, 2.0), (double(3), double(3)))
    assert gradgradcheck(lambda a, b: Product.apply(a, b, 2.0), (double(3), double(3)))


def test_node() -> None:
    y = Exp.apply(double(2))
    assert y.grad_fn.name() == "ExpBackward" and y.grad_fn.saved_tensors[0].tolist() == y.tolist()
    with rl.no_grad():
        assert not Exp.apply(double(2)).requires_grad


def test_no_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        y = Exp.apply(double(2))
        reference = weakref.ref(y)
        del y
        assert reference() is None
    finally:
        gc.enable()


def test_backward_twice_and_overwritten() -> None:
    x = double(2)
    y = Exp.apply(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()
    y = Exp.apply(x)
    loss = y.sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class Split(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        index = (x * 0).long()
        ctx.mark_non_differentiable(index)
        return x * 2, x * 3, index

    @staticmethod
    def backward(ctx, a, b, c):
        assert c is None
        parts = [g * f for g, f in ((a, 2), (b, 3)) if g is not None]
        return sum(parts[1:], parts[0])


def test_several_results() -> None:
    x = double(2)
    a, b, index = Split.apply(x)
    assert a.requires_grad and b.requires_grad and not index.requires_grad
    b.sum().backward()
    assert x.grad.tolist() == [3, 3]


class AddOne(Function):
    @staticmethod
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 7


def test_in_place() -> None:
    x = double(2)
    y = x * 2
    z = AddOne.apply(y)
    assert z is y
    z.sum().backward()
    assert x.grad.tolist() == [14, 14]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        AddOne.apply(x)


class Wrong(Function):
    @staticmethod
    def forward(ctx, x, mode):
        ctx.mode = mode
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return {"few": g, "shape": (g[:1].expand(5), None), "type": (1.0, None), "extra": (g, None, None)}[ctx.mode]


def test_messages() -> None:
    for mode, message in (
        ("few", r"returned an incorrect number of gradients \(expected 2, got 1\)"),
        ("shape", r"returned an invalid gradient at index 0 - got \[5\] but expected shape compatible with \[3\]"),
    ):
        with pytest.raises(RuntimeError, match=message):
            Wrong.apply(double(3), mode).sum().backward()
    with pytest.raises(TypeError, match="returned a float as gradient at index 0"):
        Wrong.apply(double(3), "type").sum().backward()
    Wrong.apply(double(3), "extra").sum().backward()


class Once(Function):
    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return g * 2


def test_once_differentiable() -> None:
    x = double(2)
    (g,) = rl.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_an_input_returned_as_it_is() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = double(2)
    y = Same.apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [-1, -1]


def test_gradcheck_finds_a_wrong_gradient() -> None:
    with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(Once.apply, double(2))
    assert not gradcheck(Once.apply, double(2), raise_exception=False)


def test_any_attribute_of_the_context_is_the_users():
    class Cube(rl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.outputs, ctx.edges, ctx.hooks, ctx.name = "own", [1, 2], {"a": 1}, "cube"
            ctx.sequence, ctx.retained, ctx.pre_hooks, ctx.post_hooks = 3, x.shape, 5, 6
            ctx.release, ctx.finish, ctx.backward = 7, 8, 9
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            assert (ctx.outputs, ctx.edges, ctx.hooks, ctx.name) == ("own", [1, 2], {"a": 1}, "cube")
            assert (ctx.sequence, ctx.pre_hooks, ctx.post_hooks) == (3, 5, 6)
            assert (ctx.release, ctx.finish, ctx.backward) == (7, 8, 9)
            return 3 * ctx.saved_tensors[0] ** 2 * g

    x = rl.tensor([2.0], requires_grad=True)
    y = Cube.apply(x)
    assert y.grad_fn.name() == "CubeBackward" and y.grad_fn.saved_tensors[0] is x
    (first,) = rl.autograd.grad(y.sum(), x, create_graph=True)
    first.sum().backward()
    assert first.item() == 12 and x.grad.item() == 12
