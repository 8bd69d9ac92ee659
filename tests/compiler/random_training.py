"""Random training: a network, one or two optimizers, a step put together of what people do, and changes between calls.

Everything is decided by a seed, so that the same training can be done eagerly and compiled.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from compiled_comparison import numbers

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F

OPTIMIZERS: list[Any] = [
    lambda p: optim.SGD(p, lr=0.05),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda p: optim.Adam(p, lr=0.01),
    lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
    lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
    lambda p: optim.Adagrad(p, lr=0.05),
    lambda p: optim.NAdam(p, lr=0.01),
    lambda p: optim.RAdam(p, lr=0.01),
]
ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Softplus]
LOSSES: list[Any] = [
    lambda out, y: F.mse_loss(out, y),
    lambda out, y: (out - y).abs().sum() / out.shape[0],
    lambda out, y: (out - y).pow(2).mean() + 0.01 * out.exp().mean(),
    lambda out, y: F.smooth_l1_loss(out, y, reduction="sum"),
    lambda out, y: F.cross_entropy(out, y.argmax(1)),
    lambda out, y: (F.log_softmax(out, 1) * y.softmax(1)).sum(1).neg().mean(),
]
WIDTH = 5


class Training:
    """What a seed decides: `build` makes it anew."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        random = np.random.default_rng(seed)
        self.layers = [int(random.integers(9)) for _ in range(random.integers(1, 5))]
        self.activations = [int(random.integers(len(ACTIVATIONS))) for _ in self.layers]
        self.optimizers = [int(random.integers(len(OPTIMIZERS))) for _ in range(random.integers(1, 3))]
        self.loss = int(random.integers(len(LOSSES)))
        self.zeroing = str(random.choice(["none", "zeros", "never", "net"], p=[0.5, 0.2, 0.1, 0.2]))
        self.chunks = int(random.choice([1, 1, 2]))
        self.penalty = random.random() < 0.2
        self.clipping = str(random.choice(["no", "no", "norm", "value"]))
        self.averages, self.evaluates, self.in_place, self.looks = [bool(b) for b in random.random(4) < 0.3]
        self.changes = [int(random.integers(12)) for _ in range(7)]

    def __str__(self) -> str:
        return f"{vars(self)}"

    def _layer(self, kind: int) -> nn.Module:
        if kind == 0:
            return nn.LayerNorm(WIDTH)
        if kind == 1:
            return nn.BatchNorm1d(WIDTH)
        if kind == 2:
            return nn.Dropout(0.3)
        if kind == 3:
            return nn.Sequential(nn.Linear(WIDTH, 7), nn.ReLU(inplace=True), nn.Linear(7, WIDTH))
        return nn.Linear(WIDTH, WIDTH, bias=kind != 4)

    def build(self) -> Any:
        """The step, and all that it changes: network, average of weights, optimizers."""
        modules: list[nn.Module] = []
        for kind, activation in zip(self.layers, self.activations, strict=True):
            modules += [self._layer(kind), ACTIVATIONS[activation]()]
        net = nn.Sequential(nn.Linear(4, WIDTH), *modules, nn.Linear(WIDTH, 3))
        average = copy.deepcopy(net).requires_grad_(False)
        parameters = list(net.parameters())
        count = len(self.optimizers)
        optimizers = [OPTIMIZERS[kind](parameters[i::count]) for i, kind in enumerate(self.optimizers)]
        loss_of = LOSSES[self.loss]

        def forward(x: Any, y: Any) -> Any:
            if self.penalty:
                x = (x * 1.5).requires_grad_()
            loss = loss_of(net(x), y)
            if self.penalty:
                (slope,) = rl.autograd.grad(net(x).sum(), x, create_graph=True)
                loss = loss + (slope.norm(dim=1) - 1).square().mean()
            return loss

        def step(x: Any, y: Any) -> Any:
            if self.zeroing == "net":
                net.zero_grad()
            elif self.zeroing != "never":
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=self.zeroing == "none")
            if self.in_place:
                x = x.clone()
                x[:, 0].mul_(0.5)
                x[1:] += 0.1
            total = rl.zeros(())
            for part, wanted in zip(x.chunk(self.chunks), y.chunk(self.chunks), strict=True):
                loss = forward(part, wanted) / self.chunks
                loss.backward()
                total += loss.detach()
            found = [total]
            if self.clipping == "norm":
                found.append(nn.utils.clip_grad_norm_(net.parameters(), 0.5))
            elif self.clipping == "value":
                nn.utils.clip_grad_value_(net.parameters(), 0.05)
            if self.looks:
                found.append(sum(p.grad.abs().sum() for p in net.parameters() if p.grad is not None))
            for optimizer in optimizers:
                optimizer.step()
            if self.averages:
                with rl.no_grad():
                    for mine, now in zip(average.parameters(), net.parameters(), strict=True):
                        mine.lerp_(now, 0.2)
            if self.evaluates:
                with rl.no_grad():
                    found.append(average(x).mean(0))
            return found

        return step, net, average, *optimizers

    def inputs(self, number: int) -> tuple[rl.Tensor, rl.Tensor]:
        """The arguments of a call: another size of batch after some changes."""
        size = 6 if 0 in self.changes[:number] else 8
        return numbers(size, 4, seed=number), numbers(size, 3, seed=100 + number)

    def between(self, number: int, step: Any, net: Any, average: Any, *optimizers: Any) -> None:
        """What happens after the call with this number."""
        change = self.changes[number]
        optimizer = optimizers[number % len(optimizers)]
        if change == 1:
            for group in optimizer.param_groups:
                group["lr"] *= 0.5
        elif change == 2:
            net.eval()
        elif change == 3:
            net.train()
        elif change == 4:
            net[0].weight.requires_grad_(not net[0].weight.requires_grad)
        elif change == 5:
            net.load_state_dict({name: value * 0.9 for name, value in net.state_dict().items()})
        elif change == 6:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        elif change == 7:
            net[-1].weight.data = net[-1].weight.data * 0.5
        elif change == 8:
            for parameter in net.parameters():
                parameter.grad = None
        elif change == 9:
            net[-1].bias.grad = rl.ones(3)
        elif change == 10:
            step_of = [s["step"] for s in optimizer.state.values() if "step" in s]
            for count in step_of[:1]:
                count += 3
