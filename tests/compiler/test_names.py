"""The names of state in the text of a graph."""

import functools
import re

import rushlight
from rushlight import nn


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
