"""Convolution layers by their definition, written out window by window."""

import itertools

import numpy as np
import pytest

import rushlight
from rushlight import nn


def convolved(x, weight, bias, stride, padding, dilation, groups):
    """The definition: the sum over a window's items times the weights, for each output."""
    dims = weight.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True)
    ]
    y = np.zeros((x.shape[0], weight.shape[0], *sizes))
    per_group = weight.shape[0] // groups
    for place in itertools.product(*map(range, sizes)):
        window = tuple(
            slice(o * s, o * s + d * (k - 1) + 1, d)
            for o, s, d, k in zip(place, stride, dilation, weight.shape[2:], strict=True)
        )
        for out in range(weight.shape[0]):
            first = out // per_group * weight.shape[1]
            items = x[(slice(None), slice(first, first + weight.shape[1]), *window)]
            y[(slice(None), out, *place)] = (items * weight[out]).sum(axis=tuple(range(1, dims + 2)))
    return y if bias is None else y + bias.reshape(1, -1, *(1,) * dims)


@pytest.mark.parametrize(
    ("name", "channels", "shape", "options"),
    [
        ("Conv1d", (2, 3), (2, 2, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("Conv2d", (4, 6), (2, 4, 6, 7), {"kernel_size": (3, 2), "stride": (1, 2), "dilation": (2, 1), "groups": 2}),
        ("Conv2d", (3, 3), (1, 3, 5, 5), {"kernel_size": 3, "padding": 1, "groups": 3, "bias": False}),
        ("Conv3d", (2, 2), (1, 2, 4, 5, 4), {"kernel_size": 2, "padding": (0, 1, 2)}),
    ],
)
def test_definition(name, channels, shape, options):
    layer = getattr(nn, name)(*channels, **options, dtype=rushlight.float64)
    x = np.random.default_rng(0).standard_normal(shape)
    weight = layer.weight.detach().numpy()
    bias = None if layer.bias is None else layer.bias.detach().numpy()
    expected = convolved(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    np.testing.assert_allclose(layer(rushlight.tensor(x)).detach().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(layer(rushlight.tensor(x[0])).detach().numpy(), expected[0], atol=1e-12)


def test_same_padding_keeps_the_size_and_puts_the_odd_one_after():
    layer = nn.Conv1d(1, 1, 2, padding="same", bias=False)
    layer.weight.data[...] = rushlight.tensor([[[1.0, 10.0]]])
    assert layer(rushlight.tensor([[1.0, 2.0, 3.0]])).tolist() == [[21.0, 32.0, 3.0]]


def test_transposed_convolution_is_the_transpose():
    """<conv(x), y> = <x, conv_transpose(y)> for layers that share a weight."""
    down = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False, dtype=rushlight.float64)
    up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=2, bias=False, dtype=rushlight.float64)
    up.weight = down.weight
    rng = np.random.default_rng(0)
    x, y = rushlight.tensor(rng.standard_normal((2, 4, 8, 9))), rushlight.tensor(rng.standard_normal((2, 6, 4, 5)))
    left = (down(x) * y).sum().item()
    assert left == pytest.approx((x * up(y, output_size=x.shape)).sum().item())


def test_output_padding_of_a_whole_stride_is_bias_alone():
    layer = nn.ConvTranspose1d(1, 1, 1, stride=1, dilation=3, output_padding=2)
    y = layer(rushlight.ones(1, 1, 4)).detach().numpy()
    assert y.shape == (1, 1, 6)
    np.testing.assert_allclose(y[0, 0, 4:], layer.bias.item())


def test_errors_name_the_layer_by_its_path():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(
        ValueError, match=r"expected input\[1, 8, 8, 3\] to have 3 channels, but got 8.*\n.*0\.0: Conv2d"
    ):
        net(rushlight.zeros(1, 8, 8, 3))


@pytest.mark.parametrize("value", [-1, 0, 2**31, 2**62, 1.5, "two", (1, 2, 3), None])
@pytest.mark.parametrize("option", ["kernel_size", "stride", "padding", "dilation", "groups"])
def test_unfit_options_are_errors(option, value):
    options = {"kernel_size": 3, option: value}
    if (option, value) == ("padding", 0) or (option == "stride" and value in (2**31, 2**62)):
        return  # these fit
    if option == "dilation" and value == 0:
        options["kernel_size"] = 1
    with pytest.raises((RuntimeError, ValueError, TypeError, MemoryError)):
        nn.Conv2d(3, 8, **options)(rushlight.zeros(1, 3, 8, 8))
