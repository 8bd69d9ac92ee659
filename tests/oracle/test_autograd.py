"""Gradients of random programs and of in-place, view and hook cases equal PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import rushlight  # noqa: E402

pytestmark = pytest.mark.oracle

# A program is a list of steps (name, which operands, a number); both libraries run it on the same leaves. Values stay
# small: tanh ends each multiplication.


def step(lib: Any, name: str, a: Any, b: Any, k: int) -> Any:
    """One step on two (3, 4) tensors, or on views of them; returns a tensor, or None where it only changes `a`."""
    if name == "add":
        return a + b
    if name == "product":
        return lib.tanh(a * b)
    if name == "broadcast":
        return a * b[k % 3 : k % 3 + 1] + b[:, k % 4].unsqueeze(1)
    if name == "exp":
        return lib.exp(-(a * a))
    if name == "quotient":
        return a / (1.5 + b * b)
    if name == "transpose":
        return a.t().reshape(3, 4)
    if name == "matmul":
        return lib.tanh(a @ b.t() @ a)
    if name == "sum":
        return a.sum(k % 2, keepdim=True) * 0.25 + b
    if name == "expand":
        return a.mean().expand(3, 4) + b.view(12)[k % 12]
    if name == "cat":
        return lib.cat([a[: k % 3], b[k % 3 :]])
    if name == "where":
        return lib.where(a > b, a, b * 0.5)
    if name == "index":
        return a[[2, 0, k % 3]]
    if name == "detach":
        return a.detach() * b
    if name == "relu":
        return lib.relu(a) - b
    if name == "in_place_add":
        a.add_(b * 0.5)
    elif name == "in_place_product":
        a.mul_(lib.tanh(b))
    elif name == "in_place_row":
        a[k % 3].mul_(b[0])
    elif name == "in_place_columns":
        a[:, k % 4 :].add_(b[:, k % 4 :])
    elif name == "in_place_transposed":
        a.t()[k % 4].sub_(b.t()[k % 4])
    elif name == "set_item":
        a[k % 3] = b[(k + 1) % 3] * 2
    elif name == "zero":
        a.view(12)[k % 12 :].zero_()
    elif name == "relu_":
        a.relu_()
    return None


NAMES = [
    "add", "product", "broadcast", "exp", "quotient", "transpose", "matmul", "sum", "expand", "cat", "where", "index",
    "detach", "relu", "in_place_add", "in_place_product", "in_place_row", "in_place_columns", "in_place_transposed",
    "set_item", "zero", "relu_",
]  # fmt: skip

programs = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 20), st.integers(0, 20), st.integers(0, 11)),
    min_size=2,
    max_size=10,
)


def run(lib: Any, program: Any, seed: int, second: bool) -> Any:
    random = np.random.default_rng(seed)
    leaves = [lib.tensor(random.uniform(-1, 1, (3, 4)), requires_grad=True) for _ in range(2)]
    values = [leaf * 1.0 for leaf in leaves]
    views = [values[0][1:], values[1].t()]
    for name, i, j, k in program:
        made = step(lib, name, values[i % len(values)], values[j % len(values)], k)
        if made is not None:
            values.append(made)
            views.append(made.view(-1)[k % 12 :] if made.is_contiguous() else made[0])
    loss = sum((v * v).mean() for v in values[-3:])
    for view in views:
        loss = loss + view.sum() * 0.1
    try:
        grads = lib.autograd.grad(loss, leaves, create_graph=second, allow_unused=True)
        result = [None if g is None else g.detach().numpy() for g in grads]
        if second:
            total = sum((g * g).sum() for g in grads if g is not None and g.requires_grad)
            if isinstance(total, int):
                return result, None
            again = lib.autograd.grad(total, leaves, allow_unused=True)
            result += [None if g is None else g.detach().numpy() for g in again]
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error), error
        return None
    return result, loss.item()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(programs, st.integers(0, 5), st.booleans())
def test_random_programs(program: Any, seed: int, second: bool) -> None:
    theirs = run(torch, program, seed, second)
    ours = run(rushlight, program, seed, second)
    if theirs is None or ours is None:
        return  # one of them kept a value that the program overwrites; which values are kept may differ
    assert ours[1] is None or ours[1] == pytest.approx(theirs[1], rel=1e-9)
    for a, b in zip(ours[0], theirs[0], strict=True):
        if a is None or b is None:
            # Where nothing flows, one may say zero and the other nothing.
            assert not (np.any(a) if a is not None else np.any(b) if b is not None else False)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


CASES = {
    "retain through in place": lambda lib, x: _retained(lib, x),
    "grad of view after base": lambda lib, x: _view_after_base(lib, x),
    "leaf hook once": lambda lib, x: _hook_log(lib, x),
}


def _retained(lib: Any, x: Any) -> Any:
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * y).sum().backward()
    return [y.grad.tolist(), x.grad.tolist()]


def _view_after_base(lib: Any, x: Any) -> Any:
    y = x * 1
    v = y[1:]
    y.mul_(x)
    names = [v.requires_grad, v.is_leaf, y._version, v._version]
    v.sum().backward()
    return [names, x.grad.tolist()]


def _hook_log(lib: Any, x: Any) -> Any:
    log: list[Any] = []
    h = x * 2
    x.register_hook(lambda g: log.append(("x", g.tolist())))
    h.register_hook(lambda g: log.append(("h", g.tolist())))
    (h * x).sum().backward()
    (h.detach() * x).sum().backward()
    return log


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    found = [CASES[name](lib, lib.tensor([1.0, 2.0, 3.0], requires_grad=True)) for lib in (torch, rushlight)]
    assert found[0] == found[1]


@pytest.mark.parametrize("function", ["jacobian", "hessian"])
def test_functional(function: str) -> None:
    def f(lib: Any) -> Any:
        return lambda x: (lib.exp(x) * x).sum() if function == "hessian" else lib.exp(x) * x.sum()

    found = []
    for lib in (torch, rushlight):
        x = lib.tensor([0.1, 0.2, 0.3])
        module = lib.autograd.functional
        found.append(getattr(module, function)(f(lib), x).numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    for name in ("vjp", "jvp"):
        results = []
        for lib in (torch, rushlight):
            x = lib.tensor([0.1, 0.2, 0.3])
            results.append(getattr(lib.autograd.functional, name)(lambda t, lib=lib: lib.exp(t) * t[0], x, lib.ones(3)))
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5)


OVERWRITABLE = {
    "leaky_relu": lambda t, x: t.nn.functional.leaky_relu(x, 0.1),
    "erfinv": lambda t, x: t.erfinv(x / 4),
    "sinc": lambda t, x: t.sinc(x),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "elu": lambda t, x: t.nn.functional.elu(x),
    "softplus": lambda t, x: t.nn.functional.softplus(x),
    "hardtanh": lambda t, x: t.nn.functional.hardtanh(x),
    "layer_norm": lambda t, x: t.nn.functional.layer_norm(x, (4,)),
    "batch_norm": lambda t, x: t.nn.functional.batch_norm(x[0], None, None, training=True),
    "matmul": lambda t, x: x @ x.mT,
    "gru": lambda t, x: t.nn.GRU(4, 3)(x)[0],
    "rnn": lambda t, x: t.nn.RNN(4, 3, batch_first=True)(x)[0],
}


@pytest.mark.parametrize("name", OVERWRITABLE)
def test_results_that_may_be_overwritten(name):
    """A gradient that doesn't read the result in PyTorch is right here, too, where the program overwrites that."""
    numbers = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    found = []
    for library in (torch, rushlight):
        library.manual_seed(0)
        x = library.tensor(numbers, requires_grad=True)
        y = OVERWRITABLE[name](library, x * 1)
        y[0] += 1.0
        y.mul_(3.0).clamp_(-2.0, 2.0)
        y.pow(2).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)
