"""Random training with random changes between its calls: a compiled twin does what the eager one does.

A machine of hypothesis draws a network, optimizers and a step, then calls and changes in any order. After each call all
that a user can see of the two is compared. RUSHLIGHT_FUZZ=N draws N such trainings instead of the usual number.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from compiled_comparison import check_same, classes, numbers, state_of, values
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

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


Change = Callable[[Training, int], Any]


def scale_setting(name: str, factor: float) -> Change:
    def change(t: Training, n: int) -> None:
        group = t.group(n)
        if name in group:
            group[name] = group[name] * factor + 0.001

    return change


def set_betas(t: Training, n: int) -> None:
    if "betas" in t.group(n):
        t.group(n)["betas"] = (0.5 + n / 20, 0.9)


def rate_in_a_tensor(t: Training, n: int) -> None:
    rate = t.group(n)["lr"]
    if isinstance(rate, Tensor):
        rate.mul_(0.5)
    else:
        t.group(n)["lr"] = rl.tensor(rate)


@rl.no_grad()
def in_place(t: Training, n: int) -> None:
    t.parameter(n).mul_(0.9)


def through_numpy(t: Training, n: int) -> None:
    t.parameter(n).detach().numpy()[...] *= 0.9


def data_set(t: Training, n: int) -> None:
    t.parameter(n).data = t.parameter(n).data * 0.9


def buffer_set(t: Training, n: int) -> None:
    t.net.offset = rl.ones(WIDTH, dtype=t.net.offset.dtype) * n / 10


def own_gradient(t: Training, n: int) -> None:
    t.parameter(n).grad = rl.ones_like(t.parameter(n))


def kept_gradient(t: Training, n: int) -> None:
    grad = t.parameter(n).grad
    if grad is not None:
        t.kept.append(grad if n % 3 == 0 else grad.numpy() if n % 3 == 1 else grad.reshape(-1)[:1])


def gradient_edited(t: Training, n: int) -> None:
    grad = t.parameter(n).grad
    if grad is not None:
        grad.add_(0.1)


def shared_gradient(t: Training, n: int) -> None:
    mine, other = t.parameter(n), t.parameter(n + 1)
    if mine.shape == other.shape and mine.dtype == other.dtype:
        mine.grad = other.grad


def loaded_net(t: Training, n: int) -> None:
    t.net.load_state_dict({k: v * 0.9 if v.is_floating_point() else v for k, v in t.net.state_dict().items()})


def assigned_net(t: Training, n: int) -> None:
    state = {k: v.clone() for k, v in t.net.state_dict().items()}
    t.net.load_state_dict(state, assign=True)
    t.learn(list(t.net.parameters()))


def loaded_optimizer(t: Training, n: int) -> None:
    state = copy.deepcopy(t.optimizer(n).state_dict())
    for group in state["param_groups"]:
        group["lr"] = group["lr"] * 0.5
    t.optimizer(n).load_state_dict(state)


def state_forgotten(t: Training, n: int) -> None:
    t.optimizer(n).state.pop(t.parameter(n), None)


def state_cleared(t: Training, n: int) -> None:
    t.optimizer(n).state.clear()


def step_counted_on(t: Training, n: int) -> None:
    for state in list(t.optimizer(n).state.values())[: n + 1]:
        if "step" in state:
            state["step"] += 2


def state_edited(t: Training, n: int) -> None:
    for state in list(t.optimizer(n).state.values())[:1]:
        for entry in state.values():
            if isinstance(entry, Tensor) and entry.ndim:
                entry.mul_(0.5)


def replaced_parameter(t: Training, n: int) -> None:
    module = t.net.head
    module.weight = nn.Parameter(module.weight.detach() * 0.5)
    t.learn([module.weight])


def replaced_layer(t: Training, n: int) -> None:
    if t.net.layers:
        t.net.layers[n % len(t.net.layers)] = new_layer(t, n)


def grown(t: Training, n: int) -> None:
    if len(t.net.layers) < 4:
        t.net.layers.append(new_layer(t, n))


def shrunk(t: Training, n: int) -> None:
    if t.net.layers:
        del t.net.layers[n % len(t.net.layers)]


def new_layer(t: Training, n: int) -> Any:
    layer = list(LAYERS.values())[n % len(LAYERS)]().to(t.net.head.weight.dtype)
    t.learn(list(layer.parameters()))
    return layer


def tied(t: Training, n: int) -> None:
    linear = [m for m in t.net.layers if type(m) is nn.Linear and not hasattr(m, "weight_orig")]
    if len(linear) > 1 and all("weight" in m._parameters for m in linear):
        linear[0].weight = linear[1].weight


def without_bias(t: Training, n: int) -> None:
    t.net.head.bias = None


def copied(t: Training, n: int) -> None:
    t.net, t.optimizers = copy.deepcopy((t.net, t.optimizers))
    t.schedulers = [optim.lr_scheduler.ExponentialLR(o, 0.8) for o in t.optimizers]
    t.compile()


def copied_unseen(t: Training, n: int) -> None:
    """The compiled functions aren't made anew: they find the new objects."""
    t.net, t.optimizers = pickle.loads(pickle.dumps((t.net, t.optimizers)))
    t.schedulers = []
    if n % 2:
        t.called_net = rl.compile(t.net) if t.compiles else t.net


def another_optimizer(t: Training, n: int) -> None:
    make = list(OPTIMIZERS.values())[n % len(OPTIMIZERS)]
    t.optimizers[:] = [make(t.net.parameters())]
    t.schedulers = []


def doubled(module: Any, given: Any, output: Any) -> Any:
    return output * 2


def hooked(t: Training, n: int) -> None:
    handle = t.layer(n).register_forward_hook(doubled)
    t.removals.append(handle.remove)


def hooked_before(t: Training, n: int) -> None:
    factor = 1 + n / 10
    t.removals.append(t.net.head.register_forward_pre_hook(lambda module, given: (given[0] * factor,)).remove)


def hooked_backward(t: Training, n: int) -> None:
    t.removals.append(t.parameter(n).register_hook(lambda grad: grad * 0.5).remove)


def unhooked(t: Training, n: int) -> None:
    while t.removals:
        t.removals.pop()()


def step_hook(t: Training, n: int) -> None:
    def rescale(optimizer: Any, args: Any, options: Any) -> None:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.mul_(0.5)

    t.removals.append(t.optimizer(n).register_step_pre_hook(rescale).remove)


def other_dtype(t: Training, n: int) -> None:
    t.net.to(rl.float32 if t.net.head.weight.dtype is rl.float64 else rl.float64)


def pruned(t: Training, n: int) -> None:
    if "weight" in t.net.head._parameters:
        prune.random_unstructured(t.net.head, "weight", 0.4)
        t.learn(list(t.net.head.parameters()))


def parametrized(t: Training, n: int) -> None:
    if "weight" in t.net.head._parameters:
        parametrizations.weight_norm(t.net.head)
        t.learn(list(t.net.head.parameters()))


def probability(t: Training, n: int) -> None:
    for module in t.net.modules():
        if isinstance(module, (nn.Dropout, nn.AlphaDropout)):
            module.p = [0.0, 0.1, 0.5, 1.0][n % 4]
        elif isinstance(module, Noise):
            module.amount = n / 10


def momentum_of_norm(t: Training, n: int) -> None:
    for module in t.net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = [0.1, 0.9, None][n % 3]


def put(name: str, *choices: Any) -> Change:
    """Sets an attribute of the training, or of the network, to one of the choices."""

    def change(t: Training, n: int) -> None:
        setattr(t if hasattr(t, name) else t.net, name, choices[n % len(choices)])

    return change


CHANGES: dict[str, Change] = {
    "lr": scale_setting("lr", 0.7),
    "momentum": scale_setting("momentum", 0.8),
    "no momentum": lambda t, n: t.group(n).update(momentum=0.0, nesterov=False) if "momentum" in t.group(n) else None,
    "weight decay": scale_setting("weight_decay", 2.0),
    "betas": set_betas,
    "maximize": lambda t, n: t.group(n).update(maximize=not t.group(n).get("maximize")),
    "lr in a tensor": rate_in_a_tensor,
    "scheduler": lambda t, n: [s.step() for s in t.schedulers],
    "train": lambda t, n: t.net.train(),
    "eval": lambda t, n: t.net.eval(),
    "train of a part": lambda t, n: t.module(n).train(not t.module(n).training),
    "requires_grad": lambda t, n: t.parameter(n).requires_grad_(not t.parameter(n).requires_grad),
    "frozen": lambda t, n: t.module(n).requires_grad_(n % 2 == 0),
    "load_state_dict": loaded_net,
    "load_state_dict assigning": assigned_net,
    "load_state_dict of an optimizer": loaded_optimizer,
    "state forgotten": state_forgotten,
    "state cleared": state_cleared,
    "step count": step_counted_on,
    "state edited": state_edited,
    "replaced parameter": replaced_parameter,
    "replaced layer": replaced_layer,
    "grown": grown,
    "shrunk": shrunk,
    "tied": tied,
    "without bias": without_bias,
    "in place": in_place,
    "through NumPy": through_numpy,
    "data in place": lambda t, n: t.parameter(n).data.mul_(0.9),
    "data set": data_set,
    "buffer in place": lambda t, n: t.net.offset.add_(0.1),
    "buffer set": buffer_set,
    "no gradient": lambda t, n: setattr(t.parameter(n), "grad", None),
    "no gradients": lambda t, n: t.net.zero_grad(),
    "own gradient": own_gradient,
    "kept gradient": kept_gradient,
    "gradient edited": gradient_edited,
    "shared gradient": shared_gradient,
    "kept parameter": lambda t, n: t.kept.append(t.parameter(n).data),
    "kept state": lambda t, n: t.kept.extend(t.net.state_dict().values()),
    "threads": lambda t, n: rl.set_num_threads(1 + n % 3),
    "seed": lambda t, n: rl.manual_seed(n),
    "copied": copied,
    "copied, same functions": copied_unseen,
    "another optimizer": another_optimizer,
    "forward hook": hooked,
    "forward pre hook": hooked_before,
    "hook of a parameter": hooked_backward,
    "step hook": step_hook,
    "no hooks": unhooked,
    "dtype": other_dtype,
    "pruned": pruned,
    "parametrized": parametrized,
    "probability": probability,
    "momentum of norms": momentum_of_norm,
    "scale": put("scale", 0.5, 1.0, 2.0, -0.0, 0.0, 1),
    "residual": put("residual", True, False),
    "remembers": put("remembers", True, False),
    "carries": put("carries", True, False),
    "carried": lambda t, n: setattr(t.net, "carried", rl.ones(WIDTH) * n),
    "functions": lambda t, n: t.net.functions.append([rl.sin, rl.sigmoid][n % 2]) if len(t.net.functions) < 4 else None,
    "functions replaced": put("functions", [rl.sin], [], [rl.tanh, rl.cos]),
    "shift": lambda t, n: t.net.options.update(shift=n / 10),
    "chunks": put("chunks", 2, 1),
    "zeroing": put("zeroing", "zeros", "none", "never", "net"),
    "clipping": put("clipping", "norm", "value", "no"),
    "averages": put("averages", True, False),
    "looks": put("looks", True, False),
}
few = st.integers(0, 11)


class RandomChanges(RuleBasedStateMachine):
    """The eager training, and its compiled twin."""

    @initialize(
        front=st.sampled_from(list(FRONTS)),
        layers=st.lists(st.sampled_from(list(LAYERS)), max_size=3),
        optimizers=st.lists(st.sampled_from(list(OPTIMIZERS)), min_size=1, max_size=2),
        groups=st.integers(1, 2),
    )
    def make(self, front: str, layers: list[str], optimizers: list[str], groups: int) -> None:
        rl.set_default_dtype(rl.float64)
        self.twins = [Training(compiles, front, layers, optimizers, groups) for compiles in (False, True)]
        self.over = False

    def teardown(self) -> None:
        rl.set_default_dtype(rl.float32)
        rl.set_num_threads(2)

    def each(self, action: Callable[[Training], Any]) -> list[Any]:
        """Has both do something: what comes of it, or the error."""
        found = []
        for twin in self.twins:
            rl.set_rng_state(twin.random)
            try:
                found.append(action(twin))
            except Exception as error:
                found.append(error)
            twin.random = rl.get_rng_state()
        return found

    @rule(name=st.sampled_from(list(CHANGES)), number=few)
    def change(self, name: str, number: int) -> None:
        if not self.over:
            expected, found = self.each(lambda twin: CHANGES[name](twin, number))
            if isinstance(expected, Exception) or isinstance(found, Exception):
                if type(expected) is not type(found) and "copied" not in name:  # what forward has set may be no leaf
                    raise AssertionError(f"{name}: {expected!r} is {found!r} in the compiled twin")
                self.over = True

    @rule(name=st.sampled_from(list(CHANGES)), number=few, seed=few)
    def change_and_train(self, name: str, number: int, seed: int) -> None:
        self.change(name, number)
        self.train(seed, 4, 5)

    @rule(seed=few, size=st.sampled_from([4, 4, 3, 1]), length=st.sampled_from([5, 5, 3]))
    def train(self, seed: int, size: int, length: int) -> None:
        self.call(lambda t: t.called["train"](*t.inputs(seed, size, length)))

    @rule(seed=few, size=st.sampled_from([4, 3]))
    def evaluate(self, seed: int, size: int) -> None:
        self.call(lambda t: t.called["evaluate"](t.inputs(seed, size, 5)[0]))

    @rule(seed=few, size=st.sampled_from([4, 3]))
    def differentiate_outside(self, seed: int, size: int) -> None:
        self.call(lambda t: t.outside(*t.inputs(seed, size, 5)))

    @rule(seed=few, fault=st.sampled_from(["label", "word", "last label"]))
    def fail(self, seed: int, fault: str) -> None:
        def call(t: Training) -> Any:
            x, y = t.inputs(seed, 4, 5)
            if fault == "word" and not t.floating:
                x[1, 1] = WORDS
            else:
                y[3 if fault == "last label" else 0] = CLASSES
            return t.called["train"](x, y)

        self.call(call)

    def call(self, action: Callable[[Training], Any]) -> None:
        if self.over:
            return
        plain, compiled = self.twins
        before = compiled.state()
        expected, found = self.each(lambda twin: values(action(twin)))
        if isinstance(expected, Exception) or isinstance(found, Exception):
            if not (isinstance(expected, Exception) and isinstance(found, Exception)):
                error = found if isinstance(found, Exception) else expected
                raise AssertionError(f"{expected!r} is {found!r} in the compiled twin") from error
            self.failed(compiled, before)
            return
        check_same(found, expected, "result")
        check_same(compiled.state(), plain.state(), "state")
        for mine, other in zip(compiled.tensors(), plain.tensors(), strict=True):
            np.copyto(mine.array, other.array)

    def failed(self, compiled: Training, before: Any) -> None:
        """A call that fails leaves parameters, buffers and optimizers as they were."""
        after = compiled.state()
        for holders in (before, after):
            for holder in holders[0][:2]:
                holder.pop("gradients", None)
        check_same(after[0], before[0], "after an error")
        self.over = True


RandomChanges.TestCase.settings = settings(
    max_examples=int(os.environ.get("RUSHLIGHT_FUZZ", "100")),
    stateful_step_count=24,
    deadline=None,
    derandomize="RUSHLIGHT_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
test_random_changes = RandomChanges.TestCase
