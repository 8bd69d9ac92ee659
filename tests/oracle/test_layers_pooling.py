"""Pooling layers against PyTorch's: values, indices, gradients, names, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight
import rushlight.nn as nn
import rushlight.nn.functional as F

torch = pytest.importorskip("torch")
from layer_comparison import compare, compare_layers, same_errors  # noqa: E402

pytestmark = pytest.mark.oracle
TF = torch.nn.functional


@st.composite
def poolings(draw, dilated):
    """A number of dimensions, an input that some window fits, and options as an int or as a tuple."""
    dims = draw(st.integers(1, 3))
    options = {name: [] for name in ("kernel_size", "stride", "padding", "dilation")}
    sizes = []
    for _ in range(dims):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 3)) if dilated else 1
        padding = draw(st.integers(0, kernel // 2))
        smallest = max(dilation, dilation * (kernel - 1) + 1 - 2 * padding) if dilated else kernel
        sizes.append(draw(st.integers(smallest, smallest + 7)))
        for name, value in zip(options, (kernel, stride, padding, dilation), strict=True):
            options[name].append(value)
    options = {name: tuple(values) for name, values in options.items()}
    if not dilated:
        del options["dilation"]
    if draw(st.booleans()):
        options["stride"] = None
    lead = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if draw(st.booleans()) else (draw(st.integers(1, 3)),)
    x = np.random.default_rng(draw(st.integers(0, 99))).permutation(int(np.prod(lead + tuple(sizes))))
    x = x.reshape(lead + tuple(sizes)).astype(draw(st.sampled_from(["float32", "float64"])))
    return dims, x / x.size, {**options, "ceil_mode": draw(st.booleans())}


@settings(max_examples=60, deadline=None)
@given(poolings(dilated=True), st.booleans())
def test_max_pool(case, return_indices):
    dims, x, options = case
    options["return_indices"] = return_indices
    name = f"MaxPool{dims}d"
    try:
        getattr(torch.nn, name)(**options)(torch.tensor(x))
    except RuntimeError:
        same_errors(
            lambda: getattr(nn, name)(**options)(rushlight.tensor(x)),
            lambda: getattr(torch.nn, name)(**options)(torch.tensor(x)),
        )
        return
    compare_layers(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x)


@settings(max_examples=60, deadline=None)
@given(poolings(dilated=False), st.booleans(), st.sampled_from([None, 3, 7]))
def test_avg_pool(case, count_include_pad, divisor):
    dims, x, options = case
    options["count_include_pad"] = count_include_pad
    if dims > 1:
        options["divisor_override"] = divisor
    name = f"AvgPool{dims}d"
    compare_layers(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x)


@settings(max_examples=30, deadline=None)
@given(poolings(dilated=False), st.sampled_from([1, 2, 3.0]))
def test_lp_pool(case, norm_type):
    dims, x, options = case
    del options["padding"]
    if dims == 1:  # PyTorch takes only numbers here
        options["kernel_size"] = options["kernel_size"][0]
    name = f"LPPool{dims}d"
    ours, theirs = getattr(nn, name)(norm_type, **options), getattr(torch.nn, name)(norm_type, **options)
    compare_layers(ours, theirs, x + 0.1)


@pytest.mark.parametrize(
    ("dims", "shape", "size"),
    [
        (1, (2, 3, 7), 3),
        (1, (3, 7), (2,)),
        (2, (2, 3, 7, 8), 4),
        (2, (2, 3, 7, 8), (None, 3)),
        (2, (3, 5, 5), (1, 1)),
        (2, (1, 2, 3, 3), (5, 4)),
        (3, (2, 2, 4, 5, 6), (2, None, 3)),
        (3, (2, 4, 5, 6), 2),
    ],
)
def test_adaptive_pooling(dims, shape, size):
    x = np.random.default_rng(0).standard_normal(shape)
    for name, more in (("AdaptiveAvgPool", {}), ("AdaptiveMaxPool", {}), ("AdaptiveMaxPool", {"return_indices": True})):
        name = f"{name}{dims}d"
        compare_layers(getattr(nn, name)(size, **more), getattr(torch.nn, name)(size, **more), x)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool(dims):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6, 7)[: dims + 2])
    pool, unpool = (getattr(torch.nn, f"Max{kind}{dims}d") for kind in ("Pool", "Unpool"))
    y, indices = pool(2, stride=2, return_indices=True)(torch.tensor(x))
    y, indices = y.numpy(), indices.numpy()
    layer = getattr(nn, f"MaxUnpool{dims}d")
    for size in (None, x.shape, x.shape[2:]):
        if size is None and dims > 1:  # the default size is smaller than what was pooled
            indices = np.minimum(indices, 15)
        expected = unpool(2)(torch.tensor(y), torch.tensor(indices), output_size=size) if size is not None else None
        if expected is not None:
            result = layer(2)(rushlight.tensor(y), rushlight.tensor(indices), output_size=size)
            assert tuple(result.shape) == tuple(expected.shape)
    assert repr(layer((2,) * dims)) == repr(unpool((2,) * dims))
    x = x[..., : 6 if dims > 1 else 5]
    compare_round_trip(dims, np.ascontiguousarray(x))


def compare_round_trip(dims, x):
    def run(library, x):
        pool = getattr(library.nn, f"MaxPool{dims}d")(2, stride=2, return_indices=True)
        y, indices = pool(x)
        return getattr(library.nn, f"MaxUnpool{dims}d")(2, stride=2)(y * 2, indices, output_size=x.shape)

    compare(lambda x: run(rushlight, x), lambda x: run(torch, x), x)


def test_integers_and_nan():
    x = np.array([[1.0, np.nan, 3.0, 2.0, 2.0, -np.inf]])
    for kernel in (1, 2, 3):
        ours, where = F.max_pool1d(rushlight.tensor(x), kernel, return_indices=True)
        theirs, expected = TF.max_pool1d(torch.tensor(x), kernel, return_indices=True)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        np.testing.assert_array_equal(where.numpy(), expected.numpy())
    counts = np.arange(24).reshape(1, 4, 6)
    np.testing.assert_array_equal(
        F.max_pool2d(rushlight.tensor(counts), 2).numpy(), TF.max_pool2d(torch.tensor(counts), 2).numpy()
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda L: L.nn.MaxPool2d(3)(L.zeros(1, 1, 2, 2)), "too small"),
        (lambda L: L.nn.MaxPool2d(2, padding=2)(L.zeros(1, 1, 4, 4)), "at most half"),
        (lambda L: L.nn.MaxPool2d(2)(L.zeros(4, 4)), "3D"),
        (lambda L: L.nn.MaxPool2d(0)(L.zeros(1, 4, 4)), "greater than zero"),
        (lambda L: L.nn.MaxPool2d(2, stride=(1, 2, 3))(L.zeros(1, 4, 4)), "stride"),
        (lambda L: L.nn.AvgPool2d(5)(L.zeros(1, 1, 4, 4)), "too small"),
        (lambda L: L.nn.AvgPool2d(2, divisor_override=0)(L.zeros(1, 1, 4, 4)), "divisor"),
        (lambda L: L.nn.AdaptiveAvgPool2d((-1, 2))(L.zeros(1, 1, 4, 4)), "output_size"),
        (lambda L: L.nn.AdaptiveAvgPool2d((1, 2, 3))(L.zeros(1, 1, 4, 4)), "output_size"),
        (lambda L: L.nn.MaxUnpool2d(2)(L.zeros(1, 2, 2), L.zeros(1, 2, 1, dtype=L.int64)), "(1, 2, 1)"),
        (lambda L: L.nn.MaxUnpool2d(2)(L.zeros(1, 2, 2), L.full((1, 2, 2), 99)), "99"),
        (lambda L: L.nn.MaxUnpool2d(2)(L.ones(1, 2, 2), L.full((1, 2, 2), 1), output_size=[9, 9]), "between"),
        (lambda L: L.nn.MaxUnpool2d(2)(L.zeros(1, 2, 2), L.zeros(1, 2, 2, dtype=L.int32)), "int64"),
    ],
)
def test_errors(call, words):
    assert words in same_errors(lambda: call(rushlight), lambda: call(torch))


def test_tutorial_listings():
    assert nn.MaxPool2d(3, 1, 0, 1)(rushlight.Tensor(16, 15, 15, 14)).shape == (16, 15, 13, 12)
    img_tensor = rushlight.Tensor(16, 5, 32, 32)
    max_pool = nn.MaxPool2d(kernel_size=(2, 2), stride=(2, 2), return_indices=True, ceil_mode=True)
    img_pool, indices = max_pool(img_tensor)
    img_unpool = rushlight.rand_like(img_pool, dtype=rushlight.float)
    max_unpool = nn.MaxUnpool2d((2, 2), stride=(2, 2))
    assert max_unpool(img_unpool, indices).shape == img_tensor.shape


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2])
def test_average_and_maximum_together(dims, size):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6, 7)[: dims + 2])

    def add(x):
        average = getattr(TF, f"adaptive_avg_pool{dims}d")(x, size)
        return 0.5 * (average + getattr(TF, f"adaptive_max_pool{dims}d")(x, size))

    def cat(x):
        average = getattr(TF, f"adaptive_avg_pool{dims}d")(x, size)
        return torch.cat([average, getattr(TF, f"adaptive_max_pool{dims}d")(x, size)], 1)

    for mode, expected in (("add", add), ("cat", cat)):
        function, layer = getattr(F, f"{mode}_avgmax_pool{dims}d"), getattr(nn, f"AdaptiveAvgMaxPool{dims}d")
        compare(lambda x, f=function: f(x, size), expected, x)
        compare(layer(size, mode=mode), expected, x)
