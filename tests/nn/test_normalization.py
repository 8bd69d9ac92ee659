"""Normalisation layers by their definitions, and the equalities between them."""

import numpy as np
import pytest

import rushlight
from rushlight import nn


def normalized(x, axes, eps):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


X = np.random.default_rng(0).standard_normal((4, 6, 5, 3)) * 2 + 1


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (nn.BatchNorm2d(6, eps=0.1, dtype=rushlight.float64), (0, 2, 3)),
        (nn.InstanceNorm2d(6, eps=0.1), (2, 3)),
        (nn.LayerNorm([5, 3], eps=0.1, dtype=rushlight.float64), (2, 3)),
        (nn.LayerNorm(3, eps=0.1, dtype=rushlight.float64), (3,)),
        (nn.GroupNorm(1, 6, eps=0.1, dtype=rushlight.float64), (1, 2, 3)),
    ],
)
def test_definition(layer, axes):
    y = layer(rushlight.tensor(X)).detach().numpy()
    np.testing.assert_allclose(y, normalized(X, axes, 0.1), atol=1e-9)


def test_groups():
    y = nn.GroupNorm(3, 6, eps=0.1, affine=False)(rushlight.tensor(X)).numpy()
    grouped = normalized(X.reshape(4, 3, 2, 5, 3), (2, 3, 4), 0.1).reshape(X.shape)
    np.testing.assert_allclose(y, grouped, atol=1e-9)


def test_root_mean_square():
    y = nn.RMSNorm(3, eps=0.1, elementwise_affine=False)(rushlight.tensor(X)).numpy()
    np.testing.assert_allclose(y, X / np.sqrt((X * X).mean(-1, keepdims=True) + 0.1), atol=1e-9)


@pytest.mark.parametrize("shape", [(4, 6, 5), (2, 6, 5, 3), (1, 6, 2, 3, 2)])
def test_one_group_is_a_layer_and_a_group_for_each_channel_an_instance(shape):
    x = rushlight.tensor(np.random.default_rng(1).standard_normal(shape))
    layer = nn.LayerNorm(shape[1:], elementwise_affine=False)(x)
    np.testing.assert_allclose(nn.GroupNorm(1, 6, affine=False)(x).numpy(), layer.numpy(), atol=1e-12)
    instance = getattr(nn, f"InstanceNorm{len(shape) - 2}d")(6)(x)
    np.testing.assert_allclose(nn.GroupNorm(6, 6, affine=False)(x).numpy(), instance.numpy(), atol=1e-12)


def test_running_statistics():
    layer = nn.BatchNorm2d(6, momentum=0.25, dtype=rushlight.float64)
    layer(rushlight.tensor(X))
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.25 * X.mean((0, 2, 3)))
    np.testing.assert_allclose(layer.running_var.numpy(), 0.75 + 0.25 * X.var((0, 2, 3), ddof=1))
    assert int(layer.num_batches_tracked) == 1
    expected = (X - layer.running_mean.numpy().reshape(1, 6, 1, 1)) / np.sqrt(
        layer.running_var.numpy().reshape(1, 6, 1, 1) + 1e-5
    )
    np.testing.assert_allclose(layer.eval()(rushlight.tensor(X)).detach().numpy(), expected)
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0] * 6


def test_average_of_all_batches():
    layer = nn.BatchNorm1d(2, momentum=None, dtype=rushlight.float64)
    batches = np.random.default_rng(0).standard_normal((3, 5, 2))
    for batch in batches:
        layer(rushlight.tensor(batch))
    np.testing.assert_allclose(layer.running_mean.numpy(), batches.mean((0, 1)))


def test_errors():
    with pytest.raises(ValueError, match=r"num_channels \(10\) must be divisible by num_groups \(3\); .* 1, 2, 5, 10"):
        nn.GroupNorm(3, 10)
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="more than 1 value per channel when training, got input size \\[1, 3\\]"):
        layer(rushlight.ones(1, 3))
    assert int(layer.num_batches_tracked) == 0
    with pytest.raises(RuntimeError, match=r"\(1\): BatchNorm2d|\.1: BatchNorm2d"):
        nn.Sequential(nn.Identity(), nn.BatchNorm2d(3))(rushlight.ones(1, 4, 2, 2))
