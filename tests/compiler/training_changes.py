"""What people change between the calls of a training step: each change is a function of the training and a number."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

from changing_training import LAYERS, OPTIMIZERS, WIDTH, Noise, Training

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn.utils import parametrizations, prune
from rushlight.tensor.tensor import Tensor

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
    t.is_coarse = True
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
