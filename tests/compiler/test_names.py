"""The names of state in the text of a graph."""

import functools
import re

import rushlight
from rushlight import nn
from rushlight.compiler.text import parse


def names(step) -> set[str]:
    return set(re.findall(r'^state .*"(.*)"$', step.graph(), re.MULTILINE))


def test_parameters_gradients_and_states_of_one_network():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = rushlight.optim.Adam(net.parameters())
    x = rushlight.randn(4, 3)

    @rushlight.compile
    def step():
        optimizer.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    step()
    step()
    expected = {"x", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    for parameter in ("0.weight", "0.bias", "1.weight", "1.bias"):
        expected |= {parameter, f"{parameter}.grad", f"{parameter}.exp_avg", f"{parameter}.exp_avg_sq"}
    assert names(step) == expected


def test_several_networks_are_told_apart():
    first, second = nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)
    scales = [rushlight.ones(2)]

    @rushlight.compile
    def step(x):
        with rushlight.no_grad():
            return second(first(x) * scales[0])

    step(rushlight.randn(4, 3))
    assert names(step) == {"first.weight", "second.weight", "scales.0"}


class Trainer:
    def __init__(self):
        self.net = nn.Linear(3, 2)
        self.step = rushlight.compile(functools.partial(self.run, 2.0))

    @rushlight.no_grad()
    def run(self, scale, x):
        return self.net(x) * scale


def test_modules_of_an_object_and_of_a_compiled_module():
    trainer = Trainer()
    trainer.step(rushlight.randn(4, 3))
    assert names(trainer.step) == {"weight", "bias"}
    net = rushlight.compile(nn.Sequential(nn.Linear(3, 2)))
    with rushlight.no_grad():
        net(rushlight.randn(4, 3))
    assert names(net) == {"0.weight", "0.bias"}


def test_arguments_have_the_names_of_parameters():
    def step(x, batch, *states, scale=1.0):
        weight.grad = None
        loss = (x * batch["image"] * states[0][1] * scale * weight).sum()
        loss.backward()
        return loss

    weight = nn.Parameter(rushlight.ones(2))
    x, given = rushlight.ones(2), rushlight.ones(2)
    compiled = rushlight.compile(step)
    compiled(x, {"image": given}, [1, rushlight.ones(2)], scale=rushlight.ones(2))
    found = re.findall(r'^argument .*"(.*)"$', compiled.graph(), re.MULTILINE)
    assert found == ["x", "batch.image", "states.0.1", "scale"]
    net = rushlight.compile(nn.Linear(2, 1))
    net(x.requires_grad_()).sum().backward()
    net(x)
    assert '"input"' in net.graph() and '"input.grad"' in net.graph()


def test_the_text_shows_lines_and_state_and_can_be_read_back():
    net = nn.Linear(4, 2)
    optimizer = rushlight.optim.SGD(net.parameters(), lr=0.1)

    @rushlight.compile
    def step(x):
        optimizer.zero_grad()
        loss = net(x[:, 1:5]).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    step(rushlight.ones(3, 6))
    text = step.graph()
    assert re.search(r"^# test_names.py:\d+  loss = net\(x\[:, 1:5\]\)", text, re.MULTILINE)
    assert "index=at[:, 1:5]" in text and "# -> weight.grad" in text
    assert re.search(r"^%\d+.* = linear\(.*\)  # weight, bias$", text, re.MULTILINE)
    plain = re.sub(r"^#.*\n|  # .*", "", text, flags=re.MULTILINE)
    assert str(parse(text)) == plain
    assert "-> weight.grad" in str(step.profile())
