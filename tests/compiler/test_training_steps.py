"""Whole training steps, compiled against eager: every optimizer, loss and layer family."""

from __future__ import annotations

from typing import Any

import pytest
from compiled_comparison import check_same, classes, numbers, same_as_eager, step_of, values

import rushlight as rl
from rushlight import nn, optim
from rushlight.errors import TraceError
from rushlight.nn import functional as F


def muon(parameters: Any) -> Any:
    """Muon for the matrices; the rest stays as it is."""
    for parameter in parameters:
        parameter.requires_grad_(parameter.ndim == 2)
    return optim.Muon([p for p in parameters if p.ndim == 2], lr=0.05)


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd_nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "sgd_dampening": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, maximize=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adam_l2": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, betas=(0.8, 0.95)),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "adamw_amsgrad": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True, maximize=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop_centered": lambda p: optim.RMSprop(p, lr=0.01, centered=True, momentum=0.9, weight_decay=0.01),
    "rmsprop_momentum": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.01),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01),
    "nadamw": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.1, lambd=0.1, t0=2, weight_decay=0.01),
    "sparse_adam": lambda p: optim.SparseAdam(p, lr=0.01),
    "adafactor": lambda p: optim.Adafactor(p, lr=0.05, weight_decay=0.1),
    "muon": lambda p: muon(list(p)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    def build() -> Any:
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        optimizer = OPTIMIZERS[name](net.parameters())
        return step_of(net, optimizer, F.cross_entropy), net, optimizer

    same_as_eager(build, lambda n: (numbers(8, 4, seed=n), classes(3, 8, seed=n)), calls=8)


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_the_closure_of_lbfgs(line_search: str | None) -> None:
    found = []
    for compiled in (False, True):
        rl.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        optimizer = optim.LBFGS(net.parameters(), lr=0.5, max_iter=4, line_search_fn=line_search)

        x, y = numbers(8, 4), classes(3, 8)

        def closure(net: Any = net, optimizer: Any = optimizer, x: Any = x, y: Any = y) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        called = rl.compile(closure) if compiled else closure
        found.append([[values(optimizer.step(called)), values(net.state_dict())] for _ in range(4)])
    check_same(found[1], found[0])
    with pytest.raises(TraceError, match="Compile the closure instead"):
        rl.compile(lambda: optimizer.step(closure))()
    check_same(values(net.state_dict()), found[1][-1][1])


def test_every_optimizer_is_tested() -> None:
    made = {type(make([nn.Parameter(rl.ones(1, 1))])) for make in OPTIMIZERS.values()}
    declared = {c for c in vars(optim).values() if isinstance(c, type) and issubclass(c, optim.Optimizer)}
    # LBFGS calls its closure as often as the losses ask for, which a program can't.
    assert declared - made == {optim.Optimizer, optim.LBFGS}


X = (6, 5)
LOSSES: dict[str, tuple[Any, Any]] = {
    "mse": (nn.MSELoss(), lambda n: numbers(*X, seed=n)),
    "l1": (nn.L1Loss(), lambda n: numbers(*X, seed=n)),
    "smooth_l1": (nn.SmoothL1Loss(beta=0.7), lambda n: numbers(*X, seed=n)),
    "huber": (nn.HuberLoss(delta=0.5), lambda n: numbers(*X, seed=n)),
    "cross_entropy": (nn.CrossEntropyLoss(), lambda n: classes(5, 6, seed=n)),
    "cross_entropy_smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), lambda n: classes(5, 6, seed=n)),
    "cross_entropy_weighted": (
        nn.CrossEntropyLoss(weight=rl.tensor([1.0, 2, 3, 4, 5]), ignore_index=2), lambda n: classes(5, 6, seed=n)
    ),
    "cross_entropy_probabilities": (nn.CrossEntropyLoss(), lambda n: numbers(*X, seed=n).softmax(1)),
    "nll": (lambda x, y: nn.NLLLoss()(x.log_softmax(1), y), lambda n: classes(5, 6, seed=n)),
    "bce": (lambda x, y: nn.BCELoss()(x.sigmoid(), y), lambda n: numbers(*X, seed=n).sigmoid()),
    "bce_logits": (nn.BCEWithLogitsLoss(pos_weight=rl.tensor(2.0)), lambda n: numbers(*X, seed=n).sigmoid()),
    "kl": (lambda x, y: nn.KLDivLoss(reduction="batchmean")(x.log_softmax(1), y), lambda n: numbers(*X).softmax(1)),
    "poisson": (nn.PoissonNLLLoss(), lambda n: numbers(*X, seed=n).abs()),
    "gaussian": (lambda x, y: nn.GaussianNLLLoss()(x, y, x.exp()), lambda n: numbers(*X, seed=n)),
    "hinge_embedding": (nn.HingeEmbeddingLoss(), lambda n: numbers(*X, seed=n).sign()),
    "soft_margin": (nn.SoftMarginLoss(), lambda n: numbers(*X, seed=n).sign()),
    "multi_margin": (nn.MultiMarginLoss(), lambda n: classes(5, 6, seed=n)),
    "multilabel_margin": (nn.MultiLabelMarginLoss(), lambda n: classes(5, 6, 5, seed=n)),
    "multilabel_soft_margin": (nn.MultiLabelSoftMarginLoss(), lambda n: classes(2, 6, 5, seed=n).float()),
    "cosine_embedding": (
        lambda x, y: nn.CosineEmbeddingLoss()(x, x.flip(0) + 1, y), lambda n: numbers(6, seed=n).sign()
    ),
    "margin_ranking": (lambda x, y: nn.MarginRankingLoss()(x, x.flip(0), y), lambda n: numbers(*X, seed=n).sign()),
    "triplet": (lambda x, y: nn.TripletMarginLoss()(x, y, x.flip(0)), lambda n: numbers(*X, seed=n)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    criterion, target = LOSSES[name]

    def build() -> Any:
        net = nn.Linear(4, 5)
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        return step_of(net, optimizer, criterion), net

    same_as_eager(build, lambda n: (numbers(6, 4, seed=n), target(n)))


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.GELU(), nn.Bilinear(4, 4, 2)), (3, 6)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, padding=1, dilation=2), (2, 3, 11)),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, groups=3), nn.ReLU(), nn.Conv2d(6, 4, 1)), (2, 3, 9, 7)),
    "conv2d_reflect": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 6, 5)),
    "conv2d_same": (lambda: nn.Conv2d(2, 3, (3, 2), padding="same"), (2, 2, 6, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, stride=(1, 2, 1)), (2, 2, 4, 5, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(3, 2, 3, 2, 1, output_padding=1), (2, 3, 5)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 2, 3, 2, groups=2), (2, 4, 4, 3)),
    "transposed3d": (lambda: nn.ConvTranspose3d(2, 2, 2), (1, 2, 3, 3, 2)),
    "max_pool": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, 2, 1)), (2, 1, 9, 9)),
    "avg_pool": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2, ceil_mode=True)), (2, 1, 9, 9)),
    "lp_pool": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.LPPool2d(2, 2)), (2, 1, 8, 8)),
    "adaptive_avg": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d((3, 2))), (2, 1, 9, 9)),
    "adaptive_max": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveMaxPool2d(3)), (2, 1, 9, 8)),
    "pool1d": (lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2), nn.AvgPool1d(2)), (2, 1, 14)),
    "pool3d": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.MaxPool3d(2), nn.AvgPool3d(1)), (1, 1, 5, 5, 5)),
    "batch_norm1d": (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), (6, 5)),
    "batch_norm2d": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()), (3, 2, 6, 6)),
    "batch_norm_average": (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, momentum=None)), (6, 5)),
    "batch_norm_bare": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False, track_running_stats=False)), (6, 5)
    ),
    "layer_norm": (lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.SiLU()), (2, 3, 5)),
    "group_norm": (lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4)), (2, 2, 3, 3)),
    "instance_norm": (lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.InstanceNorm2d(4, affine=True)), (2, 2, 3, 3)),
    "instance_norm_running": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.InstanceNorm2d(4, track_running_stats=True)), (2, 2, 3, 3)
    ),
    "rms_norm": (lambda: nn.Sequential(nn.Linear(5, 8), nn.RMSNorm(8)), (2, 5)),
    "local_response": (lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.LocalResponseNorm(2)), (2, 2, 3, 3)),
    "dropout": (lambda: nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.4), nn.AlphaDropout(0.2)), (4, 5)),
    "dropout2d": (lambda: nn.Sequential(nn.Conv2d(2, 8, 1), nn.Dropout2d(0.4)), (4, 2, 3, 3)),
    "rrelu": (lambda: nn.Sequential(nn.Linear(5, 8), nn.RReLU()), (4, 5)),
    "upsample_nearest": (lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Upsample(scale_factor=2)), (1, 2, 3, 4)),
    "upsample_bilinear": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Upsample(size=(5, 7), mode="bilinear")), (1, 2, 3, 4)
    ),
    "pads": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 1), nn.ReflectionPad2d(1), nn.ReplicationPad2d((1, 0, 2, 1)), nn.CircularPad2d(1),
            nn.ConstantPad2d(1, 0.5), nn.ZeroPad2d(-1),
        ),
        (2, 1, 4, 4),
    ),
    "pixel_shuffle": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.PixelShuffle(2), nn.PixelUnshuffle(2)), (2, 1, 3, 3)
    ),
    "fold": (lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.Unfold(2), nn.Fold((4, 4), 2)), (2, 1, 4, 4)),
    "activations": (
        lambda: nn.Sequential(
            nn.Linear(3, 8), nn.PReLU(8), nn.Linear(8, 8), nn.GLU(), nn.ELU(), nn.SELU(), nn.CELU(), nn.Softplus(),
            nn.Mish(), nn.Hardswish(), nn.LeakyReLU(0.1), nn.ReLU6(), nn.Softmax(-1), nn.LogSigmoid(),
        ),
        (2, 3),
    ),
    "inplace": (lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)), (2, 3)),
    "flatten": (lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2)), (3, 1, 3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    make, shape = LAYERS[name]

    def build() -> Any:
        net = make() if "bilinear" not in name else make()
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            result = x
            for layer in net if isinstance(net, nn.Sequential) else [net]:
                result = layer(result, result) if isinstance(layer, nn.Bilinear) else layer(result)
            loss = (result * result).mean()
            loss.backward()
            optimizer.step()
            return loss, result

        return step, net, optimizer

    same_as_eager(build, lambda n: (numbers(*shape, seed=n),))


def test_unpooling_and_indices() -> None:
    def build() -> Any:
        net = nn.Conv2d(1, 2, 3)

        def step(x: Any) -> Any:
            pooled, indices = F.max_pool2d(net(x), 2, return_indices=True)
            result = F.max_unpool2d(pooled, indices, 2)
            result.square().sum().backward()
            return result, indices

        return step, net

    same_as_eager(build, lambda n: (numbers(2, 1, 6, 6, seed=n),), traced=2)


def test_embedding() -> None:
    def build() -> Any:
        net = nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Linear(4, 3))
        optimizer = optim.Adam(net.parameters())
        return step_of(net, optimizer, lambda x, y: F.cross_entropy(x.flatten(0, 1), y.flatten())), net, optimizer

    same_as_eager(build, lambda n: (classes(7, 3, 5, seed=n), classes(3, 3, 5, seed=n)))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "dropout": 0.3, "bidirectional": True, "batch_first": True}])
def test_recurrent(kind: str, options: dict[str, Any]) -> None:
    def build() -> Any:
        net = nn.ModuleList([getattr(nn, kind)(3, 4, **options), nn.Linear(8 if options else 4, 2)])
        optimizer = optim.Adam(net.parameters())

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            hidden, last = net[0](x)
            loss = F.mse_loss(net[1](hidden), y)
            loss.backward()
            optimizer.step()
            return loss, last

        return step, net, optimizer

    same_as_eager(build, lambda n: (numbers(5, 2, 3, seed=n), numbers(5, 2, 2, seed=n)), calls=3)


def test_recurrent_cells_in_a_loop() -> None:
    def build() -> Any:
        cell, out = nn.LSTMCell(3, 4), nn.Linear(4, 1)
        optimizer = optim.SGD([*cell.parameters(), *out.parameters()], lr=0.1)

        def step(x: Any) -> Any:
            h, c = rl.zeros(2, 4), x.new_zeros(2, 4)
            loss = 0
            for t in range(x.shape[0]):
                h, c = cell(x[t], (h, c))
                loss = loss + out(h).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step, cell, out

    same_as_eager(build, lambda n: (numbers(4, 2, 3, seed=n),))


def test_transformer() -> None:
    def build() -> Any:
        net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        # The gradient of the keys' bias is zero but for rounding: eps keeps it from being blown up.
        optimizer = optim.AdamW(net.parameters(), eps=1e-4)
        mask = nn.Transformer.generate_square_subsequent_mask(5)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x, mask=mask), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    same_as_eager(build, lambda n: (numbers(2, 5, 8, seed=n), numbers(2, 5, 8, seed=n)), calls=3)


def test_attention_with_padding_mask() -> None:
    def build() -> Any:
        net = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)

        def step(x: Any, hidden: Any) -> Any:
            net.zero_grad()
            result, weights = net(x, x, x, key_padding_mask=hidden)
            result.square().sum().backward()
            return result, weights

        return step, net

    same_as_eager(build, lambda n: (numbers(2, 5, 8, seed=n), rl.tensor([[False] * 4 + [n > 1], [False] * 5])))


def test_whole_transformer() -> None:
    def build() -> Any:
        net = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        optimizer = optim.Adam(net.parameters())

        def step(source: Any, target: Any) -> Any:
            optimizer.zero_grad()
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            loss = net(source, target, tgt_mask=mask).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return step, net, optimizer

    same_as_eager(build, lambda n: (numbers(2, 5, 8, seed=n), numbers(2, 3, 8, seed=n)), calls=3)


def test_gradients_that_start_as_constants() -> None:
    """Of two terms that cancel out, the gradient is known while tracing; what the penalty adds to it is not."""

    def build() -> Any:
        critic = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        optimizer = optim.SGD(critic.parameters(), lr=0.1)

        def step(real: Any, fake: Any) -> Any:
            optimizer.zero_grad()
            between = (0.3 * real + 0.7 * fake).requires_grad_(True)
            result = critic(between)
            gradient = rl.autograd.grad(result, between, rl.ones_like(result), create_graph=True)[0]
            loss = critic(fake).mean() - critic(real).mean() + 10 * ((gradient.norm(2, dim=1) - 1) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return step, critic, optimizer

    same_as_eager(build, lambda n: (numbers(8, 4, seed=n), numbers(8, 4, seed=n + 9)), calls=4)


def test_constant_gradients_are_made_in_each_call() -> None:
    weight = nn.Parameter(rl.ones(3))

    def step() -> Any:
        weight.grad = None
        loss = 2 * weight.sum()
        loss.backward()
        return loss

    compiled = rl.compile(step)
    for _ in range(3):
        compiled()
        assert weight.grad.tolist() == [2, 2, 2]
        weight.grad.mul_(3)


def test_memory_of_a_gradient_that_is_kept_is_left_alone_when_another_function_was_compiled_since() -> None:
    weight = nn.Parameter(rl.ones(3))

    @rl.compile
    def step(x: Any) -> Any:
        weight.grad = None
        loss = (weight * x).sum()
        loss.backward()
        return loss

    step(rl.ones(3))
    assert rl.compile(lambda x: (x * weight).sum())(rl.ones(3)).item() == 3
    assert weight.grad is not None
    kept = weight.grad.numpy()
    step(rl.ones(3) * 2)
    assert kept.tolist() == [1, 1, 1] and weight.grad.tolist() == [2, 2, 2]

    @rl.compile
    def apply() -> None:
        with rl.no_grad():
            weight.sub_(weight.grad)  # type: ignore[arg-type]

    apply()
    step(rl.ones(3) * 3)
    apply()
    assert weight.tolist() == [-4, -4, -4]
