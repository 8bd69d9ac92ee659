"""Parametrizations, checkpoints and averaged weights against PyTorch's."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


def both(run):
    """What `run(library)` gives in both, from the same seed: texts and arrays."""
    found = []
    for t in (rushlight, torch):
        t.manual_seed(0)
        found.append([x.detach().numpy().copy() if isinstance(x, t.Tensor) else x for x in run(t)])
    for ours, theirs in zip(*found, strict=True):
        if isinstance(theirs, np.ndarray):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        else:
            assert ours == theirs


def module(t):
    import importlib

    return importlib.import_module(f"{t.__name__}.nn.utils.parametrize")


def test_steps_of_ones_own() -> None:
    def run(t):
        class Symmetric(t.nn.Module):
            def forward(self, x):
                return x.triu() + x.triu(1).transpose(-1, -2)

        class Scaled(t.nn.Module):
            def forward(self, x):
                return x * 2

            def right_inverse(self, x):
                return x / 2

        parametrize = module(t)
        layer = t.nn.Linear(3, 3)
        parametrize.register_parametrization(layer, "weight", Symmetric())
        yield from (repr(layer), layer.weight, list(layer.state_dict()))
        parametrize.register_parametrization(layer, "weight", Scaled())
        yield from (repr(layer), parametrize.is_parametrized(layer, "weight"), layer(t.ones(2, 3)))
        layer(t.ones(2, 3)).sum().backward()
        yield layer.parametrizations.weight.original.grad
        with parametrize.cached():
            yield layer.weight is layer.weight
        parametrize.remove_parametrizations(layer, "weight")
        yield from (repr(layer), layer.weight, list(layer.state_dict()))
        parametrize.register_parametrization(layer, "bias", Scaled())
        layer.bias = t.ones(3)
        yield from (layer.bias, layer.parametrizations.bias.original)
        parametrize.remove_parametrizations(layer, "bias", leave_parametrized=False)
        yield layer.bias

    both(run)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("layer", ["Linear", "ConvTranspose2d"])
def test_norms(name: str, layer: str) -> None:
    def run(t):
        made = t.nn.Linear(4, 3) if layer == "Linear" else t.nn.ConvTranspose2d(4, 3, 2)
        made = getattr(t.nn.utils.parametrizations, name)(made)
        optimizer = t.optim.SGD(made.parameters(), lr=0.1)
        x = t.ones(2, 4) if layer == "Linear" else t.ones(2, 4, 3, 3)
        for _ in range(3):
            optimizer.zero_grad()
            loss = (made(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            yield loss
        yield from (repr(made), list(made.state_dict()), *made.state_dict().values())

    both(run)


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("sizes", [(4, 4), (3, 5), (5, 3)])
def test_orthogonal(kind: str, sizes: tuple[int, int]) -> None:
    layer = rushlight.nn.utils.parametrizations.orthogonal(rushlight.nn.Linear(*sizes), orthogonal_map=kind)
    optimizer = rushlight.optim.SGD(layer.parameters(), lr=0.02)
    before = layer.weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        (layer(rushlight.ones(2, sizes[0])) ** 3).sum().backward()
        optimizer.step()
    weight = layer.weight.detach()
    product = weight @ weight.T if sizes[0] >= sizes[1] else weight.T @ weight
    np.testing.assert_allclose(product.numpy(), np.eye(min(sizes)), atol=1e-5)
    assert float((weight - before).abs().max()) > 1e-3


def test_errors() -> None:
    class Shorter(rushlight.nn.Module):
        def forward(self, x):
            return x[:1]

    parametrize = rushlight.nn.utils.parametrize
    layer = rushlight.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="keep shape"):
        parametrize.register_parametrization(layer, "weight", Shorter())
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(layer, "other", Shorter())
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(layer, "weight")
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_checkpoint() -> None:
    def run(t):
        import importlib

        checkpoint = importlib.import_module(f"{t.__name__}.utils.checkpoint")
        net = t.nn.Sequential(t.nn.Linear(4, 8), t.nn.ReLU(), t.nn.Linear(8, 8), t.nn.Tanh(), t.nn.Linear(8, 2))
        x = t.ones(5, 4)
        y = checkpoint.checkpoint(net, x, use_reentrant=False)
        y.sum().backward()
        x.requires_grad_()
        z = checkpoint.checkpoint_sequential(net, 2, x, use_reentrant=False)
        (z**2).sum().backward()
        yield from (y, z, x.grad, *(p.grad for p in net.parameters()))
        a = t.ones(3, requires_grad=True)
        first, second = checkpoint.checkpoint(lambda a, by=1: (a * by, a + by), a, use_reentrant=False, by=3.0)
        (first * 2 + second).sum().backward()
        yield from (first, second, a.grad)

    both(run)
    ones = rushlight.ones(1000, requires_grad=True)
    dropped = rushlight.utils.checkpoint.checkpoint(rushlight.nn.Dropout(0.5), ones)
    dropped.sum().backward()
    assert rushlight.equal(dropped.detach(), ones.grad), "the same elements are dropped both times"


@pytest.mark.parametrize("kind", ["mean", "moving"])
def test_averaged_weights(kind: str) -> None:
    def run(t):
        import importlib

        swa = importlib.import_module(f"{t.__name__}.optim.swa_utils")
        net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 1))
        average = swa.AveragedModel(net, multi_avg_fn=swa.get_ema_multi_avg_fn(0.8) if kind == "moving" else None)
        optimizer = t.optim.SGD(net.parameters(), lr=0.5)
        schedule = swa.SWALR(optimizer, swa_lr=0.05, anneal_epochs=3)
        x = t.randn(8, 3)
        for _ in range(5):
            optimizer.zero_grad()
            (net(x) ** 2).mean().backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            yield f"{schedule.get_last_lr()[0]:.6f}"
        swa.update_bn([x[:4], x[4:]], average)
        yield from (average.n_averaged, *average.state_dict().values(), average(x))

    both(run)
