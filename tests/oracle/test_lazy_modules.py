"""Layers that learn the number of their inputs from the first input, against PyTorch's."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


def networks(t):
    nn = t.nn
    return nn.Sequential(
        nn.LazyConv2d(8, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConvTranspose2d(4, 2, stride=2),
        nn.LazyInstanceNorm2d(), nn.Flatten(), nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.LazyLinear(2, bias=False),
    )  # fmt: skip


def test_training_from_the_first_call() -> None:
    images = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)
    losses = []
    for t in (rushlight, torch):
        t.manual_seed(0)
        net = networks(t)
        optimizer = t.optim.SGD(net.parameters(), lr=0.1)  # before the parameters have shapes
        text = [repr(net)]
        for _ in range(3):
            loss = (net(t.from_numpy(images.copy())) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            text.append(f"{loss.item():.4f}")
        losses.append([*text, repr(net), type(net[0]).__name__])
    assert losses[0] == losses[1]


def test_loading_before_the_first_call() -> None:
    rushlight.manual_seed(0)
    images = rushlight.randn(4, 3, 6, 6)
    net, other = networks(rushlight), networks(rushlight)
    net(images)
    state = rushlight.get_rng_state()
    other.load_state_dict(net.state_dict())
    assert (rushlight.get_rng_state() == state).all(), "loading draws no random numbers"
    assert not other[0].in_channels == 0
    net.eval(), other.eval()
    np.testing.assert_array_equal(net(images).detach().numpy(), other(images).detach().numpy())


def test_unknown_shape() -> None:
    layer = rushlight.nn.LazyLinear(3)
    assert layer.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        _ = layer.weight.shape
    with pytest.raises(RuntimeError, match=r"LazyConv2d: expected 3D \(unbatched\) or 4D"):
        rushlight.nn.LazyConv2d(4, 3)(rushlight.zeros(5))
    with pytest.raises(TypeError, match="in_features"):
        rushlight.nn.LazyLinear(3, in_features=4)
