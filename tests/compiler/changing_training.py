"""A training whose network, optimizers and step depend on much: made the same twice, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from compiled_comparison import classes, numbers, state_of, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F
from rushlight.nn.utils import parametrizations, prune
from rushlight.tensor.tensor import Tensor

WIDTH, CLASSES, WORDS = 4, 3, 6


class Words(nn.Module):
    """The mean of what an embedding has for words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)

    def forward(self, x: Any) -> Any:
        return self.embedding(x).mean(1)


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: Any) -> Any:
        return self.recurrent(x)[0][:, -1]


class Noise(nn.Module):
    """Adds random numbers while training."""

    amount = 0.1

    def forward(self, x: Any) -> Any:
        return x + self.amount * rl.randn_like(x) if self.training else x


FRONTS: dict[str, Callable[[], nn.Module]] = {
    "features": lambda: nn.Linear(3, WIDTH),
    "words": Words,
    "gru": lambda: Last(nn.GRU(3, WIDTH, batch_first=True)),
    "lstm": lambda: Last(nn.LSTM(3, WIDTH, num_layers=2, dropout=0.3, batch_first=True)),
    "pictures": lambda: nn.Sequential(
        nn.Conv2d(2, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "without bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "batch norm": lambda: nn.BatchNorm1d(WIDTH),
    "cumulative": lambda: nn.BatchNorm1d(WIDTH, momentum=None),
    "dropout": lambda: nn.Dropout(0.3),
    "alpha dropout": lambda: nn.AlphaDropout(0.2),
    "noise": Noise,
    "block": lambda: nn.Sequential(nn.Linear(WIDTH, 6), nn.SiLU(inplace=True), nn.Linear(6, WIDTH)),
    "prelu": nn.PReLU,
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(WIDTH, WIDTH), "weight", 0.3),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.01, eps=1e-4),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, eps=1e-4, amsgrad=True),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True, eps=1e-2),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, eps=1e-4),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01, eps=1e-4),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01, eps=1e-4),
    "Adadelta": lambda p: optim.Adadelta(p, lr=0.5, eps=1e-4),
}


class Network(nn.Module):
    """Whose forward depends on much."""

    def __init__(self, front: str, layers: list[str]) -> None:
        super().__init__()
        self.front = FRONTS[front]()
        self.layers = nn.ModuleList([LAYERS[name]() for name in layers])
        self.head = nn.Linear(WIDTH, CLASSES)
        self.register_buffer("offset", rl.zeros(WIDTH))
        self.scale = 1.0
        self.residual = self.remembers = self.carries = False
        self.functions = [rl.tanh]
        self.options = {"shift": 0.0}
        self.remembered: Any = None
        self.carried = rl.zeros(WIDTH)

    def forward(self, x: Any) -> Any:
        hidden = self.front(x)
        for layer in self.layers:
            found = layer(hidden)
            hidden = hidden + found if self.residual else found
        for function in self.functions:
            hidden = function(hidden)
        hidden = hidden * self.scale + self.offset + self.options["shift"]
        if self.carries:
            self.carried = 0.5 * self.carried + hidden.detach().mean(0)
            hidden = hidden + self.carried
        if self.remembers:
            self.remembered = hidden.detach()
        return self.head(hidden)


class Training:
    """A network, what trains it, and what is called: the same twice, once with `compiles`."""

    def __init__(self, compiles: bool, front: str, layers: list[str], optimizers: list[str], groups: int) -> None:
        rl.manual_seed(0)
        self.compiles, self.front = compiles, front
        self.net = Network(front, layers)
        self.average = Network(front, layers).requires_grad_(False)
        self.optimizers = self._optimizers(optimizers, groups)
        self.schedulers = [optim.lr_scheduler.ExponentialLR(o, 0.8) for o in self.optimizers]
        self.zeroing, self.clipping = "none", "no"
        self.chunks = 1
        self.averages = self.looks = False
        self.is_coarse = False  # whether it has computed in float32
        self.kept: list[Any] = []  # what somebody outside holds
        self.removals: list[Callable[[], None]] = []  # of hooks
        self.random = rl.get_rng_state()
        self.compile()

    def _optimizers(self, names: list[str], groups: int) -> list[Any]:
        parameters = list(self.net.parameters())
        made = []
        for place, name in enumerate(names):
            mine = parameters[place :: len(names)]
            made.append(OPTIMIZERS[name]([{"params": p} for p in (mine[k::groups] for k in range(groups)) if p]))
        return made

    def compile(self) -> None:
        compiled = rl.compile if self.compiles else lambda function: function
        self.called = {"train": compiled(self.train), "evaluate": compiled(self.evaluate)}
        self.called_net = compiled(self.net)

    def train(self, x: Any, y: Any) -> Any:
        if self.zeroing == "net":
            self.net.zero_grad()
        elif self.zeroing != "never":
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=self.zeroing == "none")
        total = 0.0
        for part, wanted in zip(x.chunk(self.chunks), y.chunk(self.chunks), strict=True):
            loss = F.cross_entropy(self.net(part), wanted) / self.chunks
            if loss.requires_grad:
                loss.backward()
            total = total + loss.detach()
        found = [total]
        if self.clipping == "norm":
            found.append(nn.utils.clip_grad_norm_(self.net.parameters(), 0.5))
        elif self.clipping == "value":
            nn.utils.clip_grad_value_(self.net.parameters(), 0.05)
        if self.looks:
            found += [p.grad.abs().sum() for p in self.net.parameters() if p.grad is not None]
        for optimizer in self.optimizers:
            optimizer.step()
        if self.averages:
            with rl.no_grad():
                for mine, now in zip(self.average.parameters(), self.net.parameters(), strict=False):
                    if mine.shape == now.shape:
                        mine.lerp_(now.to(mine.dtype), 0.2)
        return found

    @rl.no_grad()
    def evaluate(self, x: Any) -> Any:
        return self.net(x).softmax(1), self.average(x.to(self.average.head.weight.dtype) if self.floating else x)

    def outside(self, x: Any, y: Any) -> Any:
        """The network alone is compiled; its caller differentiates."""
        loss = F.cross_entropy(self.called_net(x), y)
        if loss.requires_grad:
            loss.backward()
        return loss.detach()

    # What it is called with

    @property
    def floating(self) -> bool:
        return self.front != "words"

    def inputs(self, seed: int, size: int, length: int) -> tuple[Any, Any]:
        shapes: dict[str, tuple[int, ...]] = {"features": (3,), "pictures": (2, length, length)}
        if not self.floating:
            return classes(WORDS, size, length, seed=seed), classes(CLASSES, size, seed=seed + 50)
        shape = shapes.get(self.front, (length, 3))
        return numbers(size, *shape, seed=seed).to(self.net.head.weight.dtype), classes(CLASSES, size, seed=seed + 50)

    # What it consists of

    def parameter(self, number: int) -> Any:
        found = list(self.net.parameters())
        return found[number % len(found)]

    def module(self, number: int) -> Any:
        found = list(self.net.modules())
        return found[number % len(found)]

    def layer(self, number: int) -> Any:
        return self.net.layers[number % len(self.net.layers)] if self.net.layers else self.net.front

    def optimizer(self, number: int) -> Any:
        return self.optimizers[number % len(self.optimizers)]

    def group(self, number: int) -> dict[str, Any]:
        groups = self.optimizer(number).param_groups
        return groups[number // 2 % len(groups)]  # type: ignore[no-any-return]

    def state(self) -> Any:
        """All that can be seen from outside."""
        training = [module.training for module in self.net.modules()]
        seen = [state_of(holder) for holder in (self.net, self.average, *self.optimizers)]
        required = [p.requires_grad for p in self.net.parameters()]
        remembered = values([self.net.remembered, self.net.carried])
        return [seen, training, required, remembered, values(self.kept), values(self.random)]

    def tensors(self) -> Iterator[Tensor]:
        """The tensors of floating numbers in which roundings could pile up."""
        for net in (self.net, self.average):
            yield from net.parameters()
            yield from net.buffers()
            yield from [p.grad for p in net.parameters() if p.grad is not None]
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                yield from [entry for entry in state.values() if isinstance(entry, Tensor)]
        yield from [tensor for tensor in self.kept if isinstance(tensor, Tensor)]
        yield from [t for t in (self.net.remembered, self.net.carried) if t is not None]

    def learn(self, parameters: list[Any]) -> None:
        """Has an optimizer move new parameters."""
        known = {p for o in self.optimizers for g in o.param_groups for p in g["params"]}
        new = [p for p in parameters if p not in known]
        if new:
            self.optimizers[0].add_param_group({"params": new, "lr": 0.03})
