"""Pooling layers on examples worked out by hand, and by their definitions."""

import itertools

import numpy as np
import pytest

import rushlight
import rushlight.nn.functional as F
from rushlight import nn


def pooled(x, kernel, reduce):
    """`reduce` over the windows of the last two dimensions, the step being the window's size."""
    height, width = x.shape[-2] // kernel, x.shape[-1] // kernel
    y = np.empty((*x.shape[:-2], height, width))
    for i, j in itertools.product(range(height), range(width)):
        window = x[..., i * kernel : (i + 1) * kernel, j * kernel : (j + 1) * kernel]
        y[..., i, j] = reduce(window, axis=(-2, -1))
    return y


@pytest.mark.parametrize("shape", [(2, 3, 7, 8), (3, 6, 6)])
def test_definitions(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    tensor = rushlight.tensor(x)
    np.testing.assert_array_equal(nn.MaxPool2d(3)(tensor).numpy(), pooled(x, 3, np.max))
    np.testing.assert_allclose(nn.AvgPool2d(3)(tensor).numpy(), pooled(x, 3, np.mean))
    norm = pooled(np.abs(x) ** 2, 3, np.sum) ** 0.5
    np.testing.assert_allclose(nn.LPPool2d(2, 3)(tensor).numpy(), norm)
    np.testing.assert_array_equal(nn.AdaptiveMaxPool2d(1)(tensor).numpy(), x.max((-2, -1), keepdims=True))
    np.testing.assert_allclose(nn.AdaptiveAvgPool2d((None, 1))(tensor).numpy(), x.mean(-1, keepdims=True))


def test_padding_counts_or_not():
    x = rushlight.ones(1, 1, 4)
    assert F.avg_pool1d(x, 2, padding=1).tolist() == [[[0.5, 1.0, 0.5]]]
    assert F.avg_pool1d(x, 2, padding=1, count_include_pad=False).tolist() == [[[1.0, 1.0, 1.0]]]


def test_ceil_mode_takes_the_last_part():
    x = rushlight.arange(5.0).reshape(1, 1, 5)
    assert F.max_pool1d(x, 2).tolist() == [[[1.0, 3.0]]]
    assert F.max_pool1d(x, 2, ceil_mode=True).tolist() == [[[1.0, 3.0, 4.0]]]


def test_unpool_puts_maxima_back():
    x = rushlight.tensor(np.random.default_rng(0).permutation(2 * 3 * 6 * 8).reshape(2, 3, 6, 8) + 1.0)
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(y, indices).numpy()
    assert ((back == 0) | (back == x.numpy())).all()
    assert (back != 0).sum() == y.numel()


def test_average_and_maximum_together():
    x = rushlight.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert F.add_avgmax_pool2d(x).flatten().tolist() == [5.5]
    assert F.cat_avgmax_pool2d(x).flatten().tolist() == [4.0, 7.0]
    assert nn.AdaptiveAvgMaxPool2d(mode="cat")(x).shape == (1, 2, 1, 1)
    assert nn.AdaptiveAvgMaxPool2d()(x[0]).tolist() == [[[5.5]]]
    assert repr(nn.AdaptiveAvgMaxPool2d(2)) == "AdaptiveAvgMaxPool2d(output_size=2, mode='add')"
    with pytest.raises(ValueError, match="'add' or 'cat'"):
        nn.AdaptiveAvgMaxPool2d(mode="product")


def test_second_gradient_of_a_maximum():
    x = rushlight.tensor([[1.0, 4.0, 2.0, 3.0]], requires_grad=True)
    (g,) = rushlight.autograd.grad((nn.MaxPool1d(2)(x) ** 2).sum(), x, create_graph=True)
    g.sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0, 0.0, 2.0]]


def test_errors_say_what_came_and_what_was_needed():
    indices = rushlight.zeros(1, 2, 1, dtype=rushlight.int64)
    with pytest.raises(ValueError, match=r"same as that of the input \(1, 2, 2\), but got \(1, 2, 1\)"):
        nn.MaxUnpool2d(2)(rushlight.zeros(1, 2, 2), indices)
    with pytest.raises(ValueError, match="larger than the input"):
        nn.MaxPool2d(3)(rushlight.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("value", [-1, 2**31, 2**62, 1.5, "two", (1, 2, 3)])
@pytest.mark.parametrize("option", ["kernel_size", "padding", "dilation"])
def test_unfit_options_are_errors(option, value):
    with pytest.raises((ValueError, TypeError)):
        nn.MaxPool2d(**{"kernel_size": 2, option: value})(rushlight.zeros(1, 3, 8, 8))
