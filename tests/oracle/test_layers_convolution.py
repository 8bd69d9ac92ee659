"""Convolution layers against PyTorch's: values, gradients, initial weights, names, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight
import rushlight.nn as nn
import rushlight.nn.functional as F

torch = pytest.importorskip("torch")
from layer_comparison import compare_layers, same_errors  # noqa: E402

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:Using padding='same'")]
MODES = ["zeros", "reflect", "replicate", "circular"]


def one_or_each(draw, dims, low, high):
    """An option: one int, or one for each dimension."""
    if draw(st.booleans()):
        return draw(st.integers(low, high))
    return tuple(draw(st.integers(low, high)) for _ in range(dims))


@st.composite
def convolutions(draw):
    dims = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    options = {
        "kernel_size": one_or_each(draw, dims, 1, 3),
        "stride": one_or_each(draw, dims, 1, 3),
        "padding": draw(st.sampled_from(["same", "valid"])) if draw(st.booleans()) else one_or_each(draw, dims, 0, 2),
        "dilation": one_or_each(draw, dims, 1, 2),
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(MODES)),
    }
    if options["padding"] == "same":
        options["stride"] = 1
    sizes = tuple(draw(st.integers(5, 8)) for _ in range(dims))
    lead = (draw(st.integers(1, 3)),) if draw(st.booleans()) else ()
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = np.random.default_rng(draw(st.integers(0, 99))).uniform(-1, 1, (*lead, channels[0], *sizes)).astype(dtype)
    return dims, channels, options, x


@settings(max_examples=100, deadline=None)
@given(convolutions())
def test_convolution(case):
    dims, channels, options, x = case
    name = f"Conv{dims}d"
    ours = getattr(nn, name)(*channels, **options, dtype=getattr(rushlight, str(x.dtype)))
    theirs = getattr(torch.nn, name)(*channels, **options, dtype=getattr(torch, str(x.dtype)))
    compare_layers(ours, theirs, x)
    for attribute in ("kernel_size", "stride", "padding", "dilation", "transposed", "output_padding", "in_channels"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)


@st.composite
def transposed(draw):
    dims = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    stride, dilation = one_or_each(draw, dims, 1, 3), one_or_each(draw, dims, 1, 3)
    strides = stride if isinstance(stride, tuple) else (stride,) * dims
    dilations = dilation if isinstance(dilation, tuple) else (dilation,) * dims
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True))
    options = {
        "kernel_size": one_or_each(draw, dims, 1, 3),
        "stride": stride,
        "padding": one_or_each(draw, dims, 0, 2),
        "output_padding": extra,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    sizes = tuple(draw(st.integers(3, 6)) for _ in range(dims))
    lead = (draw(st.integers(1, 3)),) if draw(st.booleans()) else ()
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = np.random.default_rng(draw(st.integers(0, 99))).uniform(-1, 1, (*lead, channels[0], *sizes)).astype(dtype)
    return dims, channels, options, x


@settings(max_examples=100, deadline=None)
@given(transposed())
def test_transposed_convolution(case):
    dims, channels, options, x = case
    name = f"ConvTranspose{dims}d"
    ours = getattr(nn, name)(*channels, **options, dtype=getattr(rushlight, str(x.dtype)))
    theirs = getattr(torch.nn, name)(*channels, **options, dtype=getattr(torch, str(x.dtype)))
    try:
        if 0 in theirs(torch.tensor(x)).shape:  # an error there or not, depending on the kernel that PyTorch picks
            return
    except RuntimeError:
        same_errors(lambda: ours(rushlight.tensor(x)), lambda: theirs(torch.tensor(x)))
        return
    compare_layers(ours, theirs, x)


@pytest.mark.parametrize("size", [(11, 12), (2, 3, 12, 11)])
def test_output_size(size):
    x = np.random.default_rng(0).uniform(-1, 1, (2, 4, 6, 6))
    options = {"stride": 2, "padding": 1, "dtype": None}
    ours = nn.ConvTranspose2d(4, 3, 3, **{**options, "dtype": rushlight.float64})
    theirs = torch.nn.ConvTranspose2d(4, 3, 3, **{**options, "dtype": torch.float64})
    compare_layers(ours, theirs, x, output_size=size)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Conv1d", (3, 5, 4)),
        ("Conv2d", (1, 32, 5, 1, 1)),
        ("Conv3d", (2, 4, 3)),
        ("ConvTranspose1d", (3, 5, 4)),
        ("ConvTranspose2d", (100, 16, 4, 1, 0)),
        ("ConvTranspose3d", (2, 4, 3)),
    ],
)
def test_initial_weights(name, arguments):
    rushlight.manual_seed(3)
    torch.manual_seed(3)
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.bias.detach().numpy(), theirs.bias.detach().numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda L: L.nn.Conv2d(3, 8, 3)(L.zeros(1, 4, 8, 8)), "3 channels, but got 4"),
        (lambda L: L.nn.Conv2d(3, 8, 3)(L.zeros(1, 8, 8, 3)), "permute(0, 3, 1, 2)"),
        (lambda L: L.nn.Conv2d(3, 8, 3)(L.zeros(8, 8)), "3D (unbatched) or 4D (batched)"),
        (lambda L: L.nn.Conv2d(3, 8, 5)(L.zeros(1, 3, 4, 4)), "Kernel size"),
        (lambda L: L.nn.Conv2d(3, 8, 3)(L.zeros(1, 3, 4, 4, dtype=L.float64)), "float64"),
        (lambda L: L.nn.Conv2d(3, 8, 3, groups=2), "divisible by groups"),
        (lambda L: L.nn.Conv2d(4, 7, 3, groups=2), "divisible by groups"),
        (lambda L: L.nn.Conv2d(4, 8, 3, groups=0), "groups"),
        (lambda L: L.nn.Conv2d(3, 8, 3, padding="some"), "'same'"),
        (lambda L: L.nn.Conv2d(3, 8, 3, padding="same", stride=2), "strided"),
        (lambda L: L.nn.Conv2d(3, 8, 3, padding_mode="none"), "padding_mode"),
        (lambda L: L.nn.Conv2d(3, 8, 3, padding=5, padding_mode="reflect")(L.zeros(1, 3, 4, 4)), "padding"),
        (lambda L: L.nn.ConvTranspose2d(3, 8, 3, padding_mode="reflect"), "zeros"),
        (lambda L: L.nn.ConvTranspose2d(3, 8, 3)(L.zeros(1, 4, 8, 8)), "3 channels, but got 4"),
        (lambda L: L.nn.ConvTranspose2d(3, 8, 3, output_padding=2)(L.zeros(1, 3, 8, 8)), "output padding"),
        (lambda L: L.nn.ConvTranspose2d(3, 8, 3, stride=2)(L.zeros(1, 3, 8, 8), output_size=(30, 30)), "valid sizes"),
        (lambda L: L.nn.ConvTranspose2d(3, 8, 3, stride=2)(L.zeros(1, 3, 8, 8), output_size=(3,)), "elements"),
    ],
)
def test_errors(call, words):
    assert words in same_errors(lambda: call(rushlight), lambda: call(torch))


def test_tutorial_listings():
    m = nn.Sequential(nn.Conv2d(1, 32, 5, 1, 1), nn.Flatten())
    assert m(rushlight.randn(32, 1, 5, 5)).size() == (32, 288)
    conv2 = nn.Conv2d(in_channels=5, out_channels=32, kernel_size=5, stride=1, padding=2)
    assert conv2(rushlight.Tensor(16, 5, 3, 10)).shape == (16, 32, 3, 10)

    def weights_init(m):
        classname = m.__class__.__name__
        if classname.find("Conv") != -1:
            nn.init.normal_(m.weight.data, 0.0, 0.02)
        elif classname.find("BatchNorm") != -1:
            nn.init.normal_(m.weight.data, 1.0, 0.02)
            nn.init.constant_(m.bias.data, 0)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 2, 3)).apply(weights_init)
    assert 0 < np.abs(net[0].weight.detach().numpy()).max() < 0.2
    assert 0.8 < net[1].weight.detach().numpy().min() < 1.2
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            n = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
            m.weight.data.normal_(0, (2.0 / n) ** 0.5)
        elif isinstance(m, nn.BatchNorm2d):
            m.weight.data.fill_(1)
            m.bias.data.zero_()
    assert net[1].weight.tolist() == [1.0] * 4
    assert np.abs(net[0].weight.detach().numpy()).max() > 0.2


def test_functional_takes_one_number_for_all_dimensions():
    x, w = rushlight.randn(1, 2, 6, 6), rushlight.randn(3, 2, 3, 3)
    first = F.conv2d(x, w, stride=[2], padding=(1,))
    np.testing.assert_array_equal(first.numpy(), F.conv2d(x, w, stride=2, padding=(1, 1)).numpy())
