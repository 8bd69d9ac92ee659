"""What compiled functions can do beside plain training steps: compared with eager runs of the same code."""

from __future__ import annotations

import copy
import functools
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from compiled_comparison import check_same, same_as_eager, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F


def numbers(*shape: int, seed: int = 0) -> rl.Tensor:
    return rl.randn(*shape, generator=rl.Generator().manual_seed(seed))


def batch(number: int) -> tuple[rl.Tensor, rl.Tensor]:
    return numbers(8, 4, seed=number), numbers(8, 2, seed=number + 100)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


# Steps of other kinds


def test_gradient_clipping() -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            nn.utils.clip_grad_value_(net.parameters(), 0.05)
            optimizer.step()
            return loss, norm

        return step, net, optimizer

    same_as_eager(build, batch)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradient_accumulation(set_to_none: bool) -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def accumulate(x: Any, y: Any) -> Any:
            loss = F.mse_loss(net(x), y) / 3
            loss.backward()
            return loss

        return accumulate, net, optimizer

    def between(number: int, function: Any, net: Any, optimizer: Any) -> None:
        if number % 3 == 2:
            optimizer.step()
            optimizer.zero_grad(set_to_none=set_to_none)

    same_as_eager(build, batch, calls=10, between=between, traced=2)


@pytest.mark.parametrize("inside", [True, False])
def test_gradients_that_somebody_keeps(inside: bool) -> None:
    net = small()

    def gradients(x: Any, y: Any) -> Any:
        if inside:
            net.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        return loss

    compiled = rl.compile(gradients)
    found: list[Any] = []
    for function in (gradients, compiled):
        kept = []
        for number in range(4):
            net.zero_grad()
            function(*batch(number))
            kept.append([p.grad for p in net.parameters()])
        found.append(values(kept))
    check_same(found[1], found[0])
    assert compiled.cache_info().misses == 1


@pytest.mark.parametrize("kind", ["array", "alias", "view", "part"])
def test_memory_of_gradients_that_somebody_keeps(kind: str) -> None:
    hold = {
        "array": lambda grad: grad.numpy(),
        "alias": lambda grad: grad.detach(),
        "view": lambda grad: grad.reshape(-1),
        "part": lambda grad: grad.numpy()[..., :1],
    }[kind]
    net = small()

    @rl.compile
    def gradients(x: Any, y: Any) -> Any:
        net.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        return loss

    kept, copies = [], []
    for number in range(5):
        gradients(*batch(number))
        if number != 3:
            kept.append([hold(p.grad) for p in net.parameters()])
            copies.append([np.array(h) for h in kept[-1]])
    assert gradients.cache_info().misses == 1
    for now, then in zip(kept, copies, strict=True):
        for a, b in zip(now, then, strict=True):
            np.testing.assert_array_equal(np.array(a), b)
    assert not np.array_equal(copies[0][0], copies[1][0])


def test_gradients_after_a_run_that_failed() -> None:
    table = nn.Embedding(5, 3)

    @rl.compile
    def gradients(x: Any) -> Any:
        table.zero_grad()
        loss = table(x).square().sum()
        loss.backward()
        return loss

    gradients(rl.tensor([1, 2]))
    with pytest.raises(IndexError):
        gradients(rl.tensor([1, 7]))
    assert table.weight.grad is None
    gradients(rl.tensor([1, 1]))
    np.testing.assert_allclose(table.weight.grad[1].numpy(), 4 * table.weight[1].detach().numpy(), rtol=1e-6)


def test_zero_grad_inside_to_zeros() -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad(set_to_none=False)
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net

    same_as_eager(build, batch, calls=5, traced=2)


def test_step_without_zero_grad() -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.5)

        def step(x: Any, y: Any) -> Any:
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    same_as_eager(build, batch, calls=5, traced=2)


def test_parameter_groups_and_frozen_parameters() -> None:
    def build() -> Any:
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2))
        for parameter in net[2].parameters():
            parameter.requires_grad_(False)
        groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[4].parameters(), "weight_decay": 0.1}]
        optimizer = optim.AdamW(groups, lr=0.01)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    same_as_eager(build, batch)


def test_gan() -> None:
    def build() -> Any:
        generator = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4))
        judge = nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))
        first, second = optim.Adam(generator.parameters()), optim.Adam(judge.parameters())
        criterion = nn.BCEWithLogitsLoss()

        def step(real: Any) -> Any:
            count = real.shape[0]
            second.zero_grad()
            fake = generator(rl.randn(count, 3))
            loss_of_judge = criterion(judge(real), rl.ones(count, 1)) + criterion(
                judge(fake.detach()), rl.zeros(count, 1)
            )
            loss_of_judge.backward()
            second.step()
            for parameter in judge.parameters():
                parameter.requires_grad_(False)
            first.zero_grad()
            loss_of_generator = criterion(judge(fake), rl.ones(count, 1))
            loss_of_generator.backward()
            first.step()
            for parameter in judge.parameters():
                parameter.requires_grad_(True)
            return {"judge": loss_of_judge, "generator": loss_of_generator}

        return step, generator, judge, first, second

    same_as_eager(build, lambda n: (numbers(6, 4, seed=n),))


def test_gradient_penalty() -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.Adam(net.parameters())

        def step(x: Any) -> Any:
            x = x.clone().requires_grad_()
            (slope,) = rl.autograd.grad(net(x).sum(), x, create_graph=True)
            loss = (slope.norm(2, dim=1) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss, slope

        return step, net, optimizer

    same_as_eager(build, lambda n: (numbers(6, 4, seed=n),))


def test_gradients_of_inputs() -> None:
    net = small()

    def attack(x: Any, y: Any) -> Any:
        loss = F.mse_loss(net(x), y)
        loss.backward()
        return loss

    compiled = rl.compile(attack)
    for number in range(3):
        found, expected = [x.requires_grad_() for x in (batch(number)[0], batch(number)[0])]
        for function, x in ((compiled, found), (attack, expected)):
            net.zero_grad()
            function(x, batch(number)[1])
            function(x, batch(number)[1])  # adds to x.grad
        check_same(values(found.grad), values(expected.grad))
    assert compiled.cache_info().misses == 2


def test_gradient_of_an_input_by_autograd_grad() -> None:
    def build() -> Any:
        net = small()

        def attack(x: Any, y: Any) -> Any:
            x = x.detach().requires_grad_(True)
            (slope,) = rl.autograd.grad(F.mse_loss(net(x), y), [x])
            return (x + 0.1 * slope.sign()).clamp(-1, 1).detach()

        return attack, net

    same_as_eager(build, batch)


class Cube(rl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return factor * x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * ctx.factor * g * x * x, None


def test_autograd_function_and_hooks() -> None:
    def build() -> Any:
        net = small()
        net[0].weight.register_hook(lambda g: g * 2)
        net[2].register_forward_hook(lambda module, args, result: result * 0.5)
        net[0].register_full_backward_hook(lambda module, inputs, outputs: None)

        def step(x: Any, y: Any) -> Any:
            net.zero_grad()
            hidden = Cube.apply(net(x), 0.5)
            hidden.register_hook(lambda g: g.clamp(-0.01, 0.01))
            hidden.retain_grad()
            loss = F.mse_loss(hidden, y)
            loss.backward()
            return loss, hidden.grad

        return step, net

    same_as_eager(build, batch)


def test_optimizer_in_backward() -> None:
    def build() -> Any:
        net = small()
        optimizers = {p: optim.SGD([p], lr=0.1) for p in net.parameters()}

        def move(parameter: Any) -> None:
            optimizers[parameter].step()
            optimizers[parameter].zero_grad()

        for parameter in net.parameters():
            parameter.register_post_accumulate_grad_hook(move)

        def step(x: Any, y: Any) -> Any:
            loss = F.mse_loss(net(x), y)
            loss.backward()
            return loss

        return step, net

    same_as_eager(build, batch)


def test_closures_of_steps() -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(x: Any, y: Any) -> Any:
            def closure() -> Any:
                optimizer.zero_grad()
                loss = F.mse_loss(net(x), y)
                loss.backward()
                return loss

            return optimizer.step(closure)

        return step, net

    same_as_eager(build, batch)


def test_sgd_by_hand() -> None:
    def build() -> Any:
        w = rl.randn(4, 2, requires_grad=True)
        b = rl.zeros(2, requires_grad=True)

        def step(x: Any, y: Any) -> Any:
            loss = ((x @ w + b - y) ** 2).mean()
            loss.backward()
            with rl.no_grad():
                w.sub_(0.1 * w.grad)
                b.data -= 0.1 * b.grad
                b.data = b.data * 0.99
            w.grad.zero_()
            b.grad = None
            return loss

        return step, w, b

    same_as_eager(build, batch, calls=5, traced=2)


class Momentum(optim.Optimizer):
    """An optimizer of the user's own, with state in tensors."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @rl.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["velocity"] = rl.zeros_like(p)
                state["velocity"].mul_(0.9).add_(p.grad)
                p.add_(state["velocity"], alpha=-group["lr"])


def test_optimizer_of_ones_own() -> None:
    def build() -> Any:
        net = small()
        optimizer = Momentum(net.parameters(), lr=0.05)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    same_as_eager(build, batch, traced=2)


def test_buffers_and_average_of_weights() -> None:
    def build() -> Any:
        net = small()
        average = copy.deepcopy(net).requires_grad_(False)
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        seen = rl.zeros((), dtype=rl.int64)
        history = rl.zeros(3, 8)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            with rl.no_grad():
                for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
                    mine.lerp_(theirs, 0.1)
            seen.add_(1)
            history[1:].copy_(history[:-1].clone())
            history[0] = (net(x) - y).detach()[:, 0]
            return loss, history[1]

        return step, net, average, seen, history

    same_as_eager(build, batch)


def test_schedulers_between_calls() -> None:
    def build() -> Any:
        net = small()
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        schedulers = [
            optim.lr_scheduler.StepLR(optimizer, 2, 0.5),
            optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        ]

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer, schedulers

    def between(number: int, function: Any, net: Any, optimizer: Any, schedulers: Any) -> None:
        for scheduler in schedulers:
            scheduler.step()

    def without_schedulers() -> Any:
        step, net, optimizer, schedulers = build()
        between.schedulers = schedulers  # type: ignore[attr-defined]
        return step, net, optimizer

    same_as_eager(
        without_schedulers,
        batch,
        calls=6,
        between=lambda *_: [s.step() for s in between.schedulers],  # type: ignore[attr-defined]
    )


def test_one_cycle_changes_momentum_too() -> None:
    made: list[Any] = []

    def build() -> Any:
        net = small()
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        made.append(optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20))

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    same_as_eager(build, batch, calls=6, between=lambda *_: made[-1].step())


# Random numbers


def test_random_numbers_inside() -> None:
    def build() -> Any:
        generator = rl.Generator().manual_seed(5)
        net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

        def step(x: Any) -> Any:
            order = rl.randperm(x.shape[0])
            noise = rl.randn_like(x) + rl.rand(4, generator=generator)
            filled = rl.empty(3).normal_(1, 2)
            whole = rl.randint(0, 10, (2, 2))
            masked = F.dropout(x, 0.3)
            return net(x[order] + noise).detach(), filled, whole, masked, rl.bernoulli(rl.full((5,), 0.5))

        return step, net, generator.get_state()

    same_as_eager(build, lambda n: (numbers(6, 4, seed=n),), calls=5)


def test_seeds_outside_are_obeyed() -> None:
    drawn = rl.compile(lambda: rl.rand(3))
    for _ in range(3):
        rl.manual_seed(3)
        found = drawn()
        rl.manual_seed(3)
        check_same(values(found), values(rl.rand(3)))


# Views and writes in place


def test_in_place_through_views() -> None:
    def build() -> Any:
        memory = rl.zeros(4, 6)

        def change(x: Any) -> Any:
            part = memory[1:3, ::2]
            part += x
            memory.t()[0].fill_(7)
            rows = memory.view(2, 12)
            rows[1, 3:5].mul_(2)
            memory[0, 1] = x[0, 0]
            memory[:, -1] -= 1
            return part, memory.sum(), rows[0]

        return change, memory

    same_as_eager(build, lambda n: (numbers(2, 3, seed=n),))


def test_what_stood_there_before() -> None:
    def build() -> Any:
        total, steps = rl.zeros(3), rl.zeros(4)

        def f(x: Any) -> Any:
            old = total.clone()
            total.add_(x)
            given = x.clone()
            x.zero_()
            steps[1:].copy_(steps[:-1].clone())
            steps[0] = total[0]
            return old, old[1:], total.sum(), given, given.view(3, 1), total

        return f, total, steps

    same_as_eager(build, lambda n: (numbers(3, seed=n),))


def test_arguments_written_in_place() -> None:
    def scale(x: Any, parts: Any) -> Any:
        x.mul_(2)
        parts["a"][1:].add_(x)
        return x.sum()

    compiled = rl.compile(scale)
    for number in range(3):
        given = [(numbers(3, seed=number), {"a": numbers(2, 3, seed=number)}) for _ in range(2)]
        check_same(values(compiled(*given[0])), values(scale(*given[1])))
        check_same(values(given[0]), values(given[1]))
    strided = [numbers(3, 4).t(), numbers(3, 4).t()]
    rl.compile(lambda x: x.add_(1))(strided[0])
    strided[1].add_(1)
    check_same(values(strided[0]), values(strided[1]))


def test_the_same_tensor_twice() -> None:
    def f(x: Any, y: Any) -> Any:
        x.add_(1)
        return x * y

    compiled = rl.compile(f)
    for same in (True, False, True, False):
        x, y = numbers(3), numbers(3)
        a, b = numbers(3), numbers(3)
        check_same(values(compiled(x, x if same else y)), values(f(a, a if same else b)))


def test_zeros_made_inside_are_filled_anew() -> None:
    def build() -> Any:
        def f(x: Any) -> Any:
            result = rl.zeros(3, 2)
            result[0] = x
            for i in range(1, 3):
                result[i] = result[i - 1] + x
            counts = np.zeros(2, np.float32)
            total = rl.from_numpy(counts)
            total += x
            return result, total, rl.tensor([1.0, 2.0]) + x

        return (f,)

    same_as_eager(build, lambda n: (numbers(2, seed=n),))


def test_masks() -> None:
    def build() -> Any:
        def f(x: Any, mask: Any) -> Any:
            y = x.clone()
            y[mask] = 0
            y[x > 1] = rl.tensor(5.0)
            z = x.clone()
            z[mask[:, 0]] = -1
            causal = rl.triu(rl.full((4, 4), float("-inf")), 1)
            if causal.isinf().any():  # known while tracing
                causal = causal.exp()
            return y, z, rl.where(mask, x, 0.0), x.masked_fill(mask, 2), causal + x[0]

        return (f,)

    same_as_eager(build, lambda n: (numbers(3, 4, seed=n), numbers(3, 4, seed=n + 9) > 0))


def test_indices_that_are_tensors() -> None:
    def build() -> Any:
        def f(x: Any, i: Any, j: Any) -> Any:
            y = x.clone()
            y[j] = 1
            y[i] += 2
            return (
                x[i],
                x[j],
                x[:, j % 3],
                x[i, 1],
                y,
                x[rl.tensor(1)],
                F.one_hot(j % 3, 6),
                x.take_along_dim(j[:, None], 0),
            )

        return (f,)

    same_as_eager(build, lambda n: (numbers(5, 3, seed=n), rl.tensor(n % 5), rl.tensor([n % 5, 0, -1])), calls=3)


# Structures, signatures, forms of calling


class Pair(NamedTuple):
    left: Any
    right: Any


def test_nested_structures() -> None:
    def build() -> Any:
        def f(first: Any, *rest: Any, scale: float = 2.0, name: str = "b", **more: Any) -> Any:
            pair, (one, two) = first
            result = Pair(pair.left * scale, [pair.right, {name: one + two}])
            return OrderedDict(result=result, rest=tuple(rest), more=more, plain=(1, None, "x", scale), flag=True)

        return (lambda x: f((Pair(x, x + 1), [x, x]), x, 3, scale=0.5, name="c", other=x),)

    same_as_eager(build, lambda n: (numbers(2, seed=n),))
    result = rl.compile(lambda d: Pair(d["x"][0] + 1, d["x"]))({"x": [rl.ones(2)]})
    assert isinstance(result, Pair) and isinstance(result.right, list)


def test_arguments_that_are_no_tensors() -> None:
    compiled = rl.compile(lambda x, n, mode="plain": x * n if mode == "plain" else x + n)
    x = rl.ones(2)
    for _ in range(2):
        assert compiled(x, 3).tolist() == [3, 3]
        assert compiled(x, 4).tolist() == [4, 4]
        assert compiled(x, 3, mode="sum").tolist() == [4, 4]
        assert compiled(x, 3.0).tolist() == [3, 3]
    assert compiled.cache_info()[:3] == (4, 4, 4)


def test_shapes_in_turn_and_the_bound_of_the_cache() -> None:
    compiled = rl.compile(lambda x: (x * 2).sum(0), cache_size=3)
    for _ in range(2):
        for n in (1, 2, 3):
            assert compiled(rl.ones(n, 2)).tolist() == [2 * n, 2 * n]
    assert compiled.cache_info()[:4] == (3, 3, 3, 3)
    for n in (1, 4, 1):  # 2 goes
        compiled(rl.ones(n, 2))
    assert compiled.cache_info()[:4] == (5, 4, 3, 3)
    compiled(rl.ones(2, 2))
    assert compiled.cache_info().misses == 5
    for dtype in (rl.float64, rl.int64):
        assert compiled(rl.ones(2, 2, dtype=dtype)).dtype is dtype
    compiled.cache_clear()
    assert compiled.cache_info().size == 0
    with pytest.raises(RuntimeError, match="call it first"):
        compiled.graph()


def test_ways_to_compile() -> None:
    @rl.compile
    def plain(x: Any) -> Any:
        """Doubles."""
        return x * 2

    @rl.compile(cache_size=2, mode="max-autotune", fullgraph=True)
    def with_options(x: Any) -> Any:
        return x * 2

    class Doubler:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @rl.compile
        def method(self, x: Any) -> Any:
            return x * self.factor

        @staticmethod
        @rl.compile
        def of_class(x: Any) -> Any:
            return x * 2

    doubler, tripler = Doubler(2), Doubler(3)
    partial = rl.compile(functools.partial(lambda factor, x: x * factor, 2))
    for _ in range(2):
        for function in (plain, with_options, doubler.method, Doubler.of_class, partial, rl.compile(lambda x: x + x)):
            assert function(rl.ones(2)).tolist() == [2, 2]
        assert tripler.method(rl.ones(2)).tolist() == [3, 3]
    doubler.factor = 5
    assert doubler.method(rl.ones(2)).tolist() == [5, 5]
    assert (plain.__name__, plain.__doc__) == ("plain", "Doubles.")
    assert copy.deepcopy(doubler).method(rl.ones(2)).tolist() == [5, 5]


def test_compiled_functions_call_each_other() -> None:
    inner = rl.compile(lambda x: x.sin())
    outer = rl.compile(lambda x: inner(x) + inner(x * 2))
    for number in range(3):
        x = numbers(3, seed=number)
        check_same(values(outer(x)), values(x.sin() + (x * 2).sin()))
    assert (outer.cache_info().misses, inner.cache_info().misses) == (1, 0)


def test_result_without_tensors_and_results_that_are_arguments() -> None:
    compiled = rl.compile(lambda x: (x, x.view(-1), None))
    for _ in range(2):
        x = rl.ones(2, 2)
        same, flat, nothing = compiled(x)
        check_same(values([same, flat]), values([x, x.view(-1)]))
        assert nothing is None
    assert rl.compile(lambda: 5)() == 5


# Modules


def test_compiled_module() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    compiled = rl.compile(net)
    x = numbers(6, 4)
    assert isinstance(compiled, nn.Sequential) and repr(compiled) == repr(net)
    assert list(compiled.state_dict()) == list(net.state_dict())
    assert all(a is b for a, b in zip(compiled.parameters(), net.parameters(), strict=True))
    compiled.eval()
    assert not net.training
    with rl.no_grad():
        for number in range(3):
            x = numbers(6, 4, seed=number)
            check_same(values(compiled(x)), values(net(x)))
        assert compiled.cache_info()[:2] == (2, 1)
        net[0].weight.fill_(0.5)
        check_same(values(compiled(x)), values(net(x)))
        compiled.train()
        rl.manual_seed(1)
        found = compiled(x)
        rl.manual_seed(1)
        check_same(values(found), values(net(x)))
    assert compiled.cache_info().misses == 2
    assert int(net[1].num_batches_tracked) == 2


def test_compiled_module_in_training() -> None:
    def build(compiled: bool) -> Any:
        rl.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        return rl.compile(net) if compiled else net

    results = []
    for compiled in (False, True):
        net = build(compiled)
        optimizer = optim.Adam(net.parameters())
        losses = []
        for number in range(4):
            x, y = batch(number)
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(values(loss))
        results.append([losses, values(net.state_dict())])
    check_same(results[1], results[0])


def test_copies_and_pickles_of_compiled_modules() -> None:
    net = rl.compile(nn.Linear(2, 1))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.weight is not net.weight
        with rl.no_grad():
            check_same(values(twin(rl.ones(3, 2))), values(net(rl.ones(3, 2))))
            assert twin.cache_info().misses == 1


def test_evaluation_under_no_grad() -> None:
    net = small()

    @rl.compile
    @rl.no_grad()
    def accuracy(x: Any, y: Any) -> Any:
        return (net(x).argmax(1) == y).float().mean()

    for number in range(3):
        x, y = numbers(8, 4, seed=number), rl.tensor([0, 1] * 4)
        assert accuracy(x, y).item() == (net(x).argmax(1) == y).float().mean().item()
    assert accuracy.cache_info().misses == 1


def test_results_can_be_differentiated() -> None:
    net = small()
    compiled = rl.compile(lambda x: net(x).square())
    for _ in range(2):
        net.zero_grad()
        compiled(numbers(3, 4)).sum().backward()
        found = values([p.grad for p in net.parameters()])
        net.zero_grad()
        net(numbers(3, 4)).square().sum().backward()
        check_same(found, values([p.grad for p in net.parameters()]))


def test_a_module_compiled_in_place() -> None:
    rl.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = rl.randn(5, 3)
    expected = net(x)
    net.compile(mode="max-autotune", fullgraph=True)
    net.compile()  # once more changes nothing
    assert type(net).__name__ == "Sequential" and isinstance(net, nn.Sequential)
    rl.testing.assert_close(net(x), expected)
    assert net.cache_info().misses == 1
    net(x).sum().backward()
    assert net[0].weight.grad is not None
    whole = nn.Sequential(net, nn.ReLU())
    rl.testing.assert_close(copy.deepcopy(whole)(x), expected.relu())
