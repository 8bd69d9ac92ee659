"""What a compiled function gives back is what the eager one does: the same memory, the same containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from compiled_comparison import check_same, numbers, values

import rushlight as rl
from rushlight import distributions, nn

WEIGHT = rl.ones(3, 4)


@dataclasses.dataclass
class Batch:
    x: Any
    label: str = "a"


@dataclasses.dataclass(frozen=True)
class Fixed:
    x: Any


class Output:
    def __init__(self, logits: Any, name: str) -> None:
        self.logits = logits
        self.name = name


def written(x: Any) -> Any:
    first = x[0]
    first.mul_(2)
    return first, x


# Each is called with a tensor of its own, and what it returns is changed afterwards: that shows what shares memory.
ALIASES: dict[str, Callable[[Any], Any]] = {
    "argument": lambda x: (x, x),
    "views of an argument": lambda x: (x[0], x.t(), x.reshape(-1), x[1:, ::2]),
    "detached argument": lambda x: x.detach(),
    "written": written,
    "state": lambda x: (WEIGHT, x * WEIGHT),
    "view of state": lambda x: (WEIGHT[1], x * WEIGHT),
    "data of state": lambda x: (WEIGHT.data, x * WEIGHT),
    "twice": lambda x: (lambda y: [y, {"again": y}])(x * 2),
    "result and a view": lambda x: (lambda y: (y, y[1:], y[1:][0]))(x * 2),
    "result and detached": lambda x: (lambda y: (y, y.detach()))(x + 1),
    "copy": lambda x: (x.clone(), x + 0, x.t().contiguous()),
}


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("strided", [False, True])
def test_what_shares_memory(name: str, strided: bool) -> None:
    function = ALIASES[name]
    runs = []
    for called in (function, rl.compile(function)):
        WEIGHT.fill_(1)
        seen = []
        for call in range(3):
            base = numbers(4, 3, seed=call) if strided else numbers(3, 4, seed=call)
            x = base.t() if strided else base
            results = tensors_in(called(x))
            for place, tensor in enumerate(results):
                tensor.add_(place + 1)
            x.mul_(3)
            seen.append([values(results), values(base), values(WEIGHT)])
            seen.append([[a is b for b in (*results, x, WEIGHT)] for a in results])
        runs.append(seen)
    check_same(runs[1], runs[0])


def tensors_in(item: Any) -> list[Any]:
    if isinstance(item, rl.Tensor):
        return [item]
    return [t for entry in (item.values() if isinstance(item, dict) else item) for t in tensors_in(entry)]


def test_gradients_through_what_is_returned_as_it_is() -> None:
    weight = nn.Parameter(rl.ones(3))
    compiled = rl.compile(lambda x: (weight, weight[1:], x, x[:2], (x * weight).sum()))
    for _ in range(2):
        weight.grad = None
        leaf = rl.ones(3, requires_grad=True)
        x = leaf * 2
        same, part, given, some, loss = compiled(x)
        assert same is weight and given is x
        (part.sum() + some.sum() * 3 + loss).backward()
        assert weight.grad is not None and weight.grad.tolist() == [2, 3, 3]
        assert leaf.grad is not None and leaf.grad.tolist() == [8, 8, 2]


def overlapping(a: Any, b: Any) -> Any:
    a.add_(1)
    return b * 2


def test_arguments_that_overlap() -> None:
    compiled = rl.compile(overlapping)
    for _ in range(2):
        base, other = rl.zeros(4), rl.zeros(4)
        for start in (1, 0, 2):
            for function, memory in ((compiled, base), (overlapping, other)):
                memory.mul_(1.5).add_(1)
                result = function(memory[:2], memory[start : start + 2])
                memory[3] = result.sum()
        assert base.tolist() == other.tolist()
    assert compiled(rl.zeros(2), rl.ones(2)).tolist() == [2, 2]


def test_an_argument_that_is_part_of_what_the_function_sees() -> None:
    weight = rl.zeros(4)

    def function(x: Any) -> Any:
        weight.add_(1)
        return x * 2

    compiled = rl.compile(function)
    for _ in range(2):
        for make in (lambda: rl.ones(2), lambda: weight[:2], lambda: weight.data, lambda: weight):
            expected = (make() * 2 + (2 if make()[0] == weight[0] else 0)).tolist()
            assert compiled(make()).tolist() == expected


def appended(x: Any, seen: Any) -> Any:
    seen.append(x * 2)
    return seen[-1] + len(seen)


def entered(x: Any, seen: Any) -> Any:
    seen["y"] = x * 2
    seen.pop("gone", None)
    return seen


def assigned(x: Any, seen: Any) -> Any:
    seen.x = seen.x + x
    return Batch(seen.x * 2, "b"), seen


CONTAINERS: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "list": (appended, list),
    "dictionary": (entered, lambda: {"gone": 1, "x": rl.ones(2)}),
    "nested": (lambda x, seen: appended(x, seen["list"]), lambda: {"list": [rl.ones(1)], "x": 1}),
    "data": (assigned, lambda: Batch(rl.ones(2))),
    "frozen": (lambda x, seen: Fixed(seen.x * x), lambda: Fixed(rl.ones(2))),
    "returned": (lambda x, seen: (seen, [seen]), lambda: [rl.ones(2)]),
}


def plain(item: Any) -> Any:
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return [type(item).__name__, *[plain(getattr(item, field.name)) for field in dataclasses.fields(item)]]
    if isinstance(item, (list, tuple)):
        return [plain(entry) for entry in item]
    return {key: plain(entry) for key, entry in item.items()} if isinstance(item, dict) else values(item)


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_that_are_changed(name: str) -> None:
    function, make = CONTAINERS[name]
    compiled = rl.compile(function)
    for call in range(3):
        mine, other = make(), make()
        for _ in range(2):
            found, expected = compiled(numbers(2, seed=call), mine), function(numbers(2, seed=call), other)
            check_same(plain([found, mine]), plain([expected, other]))
            assert (found is mine) == (expected is other)
    assert compiled.cache_info().hits


def test_objects_that_the_function_makes() -> None:
    def function(x: Any) -> Any:
        return Output(x * 2, "logits"), distributions.Normal(x, x.exp())

    compiled = rl.compile(function)
    kept = [compiled(numbers(2, seed=call)) for call in range(3)]
    for call, (output, normal) in enumerate(kept):
        x = numbers(2, seed=call)
        assert type(output) is Output and output.name == "logits"
        check_same(values(output.logits), values(x * 2))
        check_same(values(normal.log_prob(x)), values(distributions.Normal(x, x.exp()).log_prob(x)))
    assert compiled.cache_info().misses == 1


def test_zeros_have_signs() -> None:
    scale = 0.0
    compiled = rl.compile(lambda x, factor=1.0: 1 / (x * scale * factor))
    assert compiled(rl.ones(1)).item() == float("inf")
    assert compiled(rl.ones(1), -0.0).item() == float("inf") * -1
    assert compiled(rl.ones(1), 0.0).item() == float("inf")
    scale = -0.0
    assert compiled(rl.ones(1)).item() == float("-inf")


def test_the_layout_of_arguments() -> None:
    compiled = rl.compile(lambda x: x * 2 if x.is_contiguous() else x * 3)
    x = rl.ones(2, 2)
    assert [compiled(y).sum().item() for y in (x, x.t(), x, rl.ones(4, 4)[::2, ::2])] == [8, 12, 8, 12]

    def flat(x: Any) -> Any:
        y = x.reshape(-1)
        y.add_(1)
        return y

    compiled = rl.compile(flat)
    for make in (lambda: rl.zeros(2, 3), lambda: rl.zeros(3, 2).t()):
        x, other = make(), make()
        check_same(values([compiled(x), x]), values([flat(other), other]))


def test_what_begins_as_something_else_is_done_once() -> None:
    """The first call of a function that makes what it keeps does so once."""

    class Cache(nn.Module):
        kept: Any = None

        def forward(self, x: Any) -> Any:
            self.kept = x if self.kept is None else rl.cat([self.kept, x])
            return self.kept.sum(0)

    net = Cache()
    compiled = rl.compile(net)
    assert [compiled(rl.ones(1, 2) * call)[0].item() for call in range(4)] == [0, 1, 3, 6]
    assert len(net.kept) == 4


def test_an_argument_that_is_changed_where_gradients_flow() -> None:
    def function(h: Any) -> Any:
        h.mul_(2)
        return (h**2).sum()

    compiled = rl.compile(function)
    for _ in range(2):
        weight = rl.ones(3, requires_grad=True)
        hidden = weight * 3
        compiled(hidden).backward()
        assert weight.grad is not None and weight.grad.tolist() == [72, 72, 72]
        assert hidden.tolist() == [6, 6, 6]
    with pytest.raises(RuntimeError, match="changes a tensor from outside in place"):
        compiled.graph()
