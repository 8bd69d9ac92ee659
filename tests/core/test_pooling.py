"""The pooling kernels against definitions written out window by window."""

import itertools
from math import ceil, floor, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)


def output_length(size, kernel, stride, padding, dilation, ceil_mode):
    steps = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride
    length = (ceil(steps) if ceil_mode else floor(steps)) + 1
    if ceil_mode and (length - 1) * stride >= size + padding:
        length -= 1
    return length


@st.composite
def poolings(draw, dilated=True):
    """An input, and options that some window fits."""
    dims = draw(st.integers(1, 3))
    options = {name: [] for name in ("kernel_size", "stride", "padding", "dilation")}
    sizes = []
    for _ in range(dims):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 3)) if dilated else 1
        padding = draw(st.integers(0, kernel // 2))
        smallest = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
        sizes.append(draw(st.integers(smallest, smallest + (7 if dims == 3 else 20))))
        for name, value in zip(options, (kernel, stride, padding, dilation), strict=True):
            options[name].append(value)
    options = {name: tuple(values) for name, values in options.items()}
    lead = draw(st.lists(st.integers(0, 3), max_size=2))
    seed = draw(st.integers(0, 1000))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16]))
    # Few distinct values, so that there are ties; now and then an infinity or NaN.
    x = np.random.default_rng(seed).integers(-3, 4, (*lead, *sizes)).astype(dtype)
    if draw(st.booleans()):
        x[np.random.default_rng(seed).random(x.shape) < 0.05] = draw(st.sampled_from([np.nan, -np.inf, np.inf]))
    if draw(st.booleans()):
        x = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    return x, options, draw(st.booleans())


def windows(spatial, options, ceil_mode):
    """For each output: the coordinates that it covers inside the input, and the extent of its padded window."""
    lengths = [output_length(*axis, ceil_mode) for axis in zip(spatial, *options.values(), strict=True)]
    for output in itertools.product(*map(range, lengths)):
        taps, extent = [], 1
        for o, size, kernel, stride, padding, dilation in zip(output, spatial, *options.values(), strict=True):
            start = o * stride - padding
            taps.append([i for i in range(start, start + kernel * dilation, dilation) if 0 <= i < size])
            extent *= min(start + kernel, size + padding) - start
        yield output, list(itertools.product(*taps)), extent


def adaptive_windows(spatial, output_size):
    for output in itertools.product(*map(range, output_size)):
        taps = [
            range(o * size // n, -(-(o + 1) * size // n))
            for o, size, n in zip(output, spatial, output_size, strict=True)
        ]
        yield output, list(itertools.product(*taps)), prod(map(len, taps))


def reference_max(x, spatial_dims, all_windows, out):
    planes = x.reshape(-1, *x.shape[x.ndim - spatial_dims :])
    y = np.empty((len(planes), *out), x.dtype)
    indices = np.empty(y.shape, np.int64)
    for output, taps, _ in all_windows:
        for p, plane in enumerate(planes):
            best, where = -np.inf, taps[0]
            for tap in taps:
                if plane[tap] > best or np.isnan(plane[tap]):
                    best, where = plane[tap], tap
            y[(p, *output)] = best
            indices[(p, *output)] = np.ravel_multi_index(where, plane.shape)
    lead = x.shape[: x.ndim - spatial_dims]
    return y.reshape(*lead, *out), indices.reshape(*lead, *out)


def scatter(g, indices, shape, dims):
    lead = shape[: len(shape) - dims]
    flat = np.zeros((prod(lead), prod(shape[len(shape) - dims :])), np.float64)
    planes = np.arange(len(flat))[:, None]
    np.add.at(
        flat,
        (planes, indices.reshape(len(flat), prod(indices.shape[len(lead) :]))),
        g.reshape(len(flat), prod(g.shape[len(lead) :])),
    )
    return flat.reshape(shape)


@settings(max_examples=150, deadline=None)
@given(poolings())
def test_max_pool(case):
    x, options, ceil_mode = case
    dims = len(options["stride"])
    spatial = x.shape[x.ndim - dims :]
    out = tuple(output_length(*axis, ceil_mode) for axis in zip(spatial, *options.values(), strict=True))
    covered = list(windows(spatial, options, ceil_mode))
    if not all(taps for _, taps, _ in covered):
        return  # a dilated window may step over a small input: PyTorch's answer is meaningless there
    y, indices = reference_max(x, dims, covered, out)
    np.testing.assert_array_equal(native.max_pool(x, **options, ceil_mode=ceil_mode), y)
    got, got_indices = native.max_pool_with_indices(x, **options, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(got, y)
    np.testing.assert_array_equal(got_indices, indices)
    g = np.random.default_rng(0).integers(-3, 4, y.shape).astype(x.dtype)
    gx = native.max_pool_gradient(g, x, **options, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(gx, scatter(g, indices, x.shape, dims))
    unpooled = native.max_unpool(y, indices, output_size=spatial)
    expected = np.zeros((x[..., :0].size + prod(x.shape[: x.ndim - dims]), prod(spatial)), x.dtype)
    for plane, where, values in zip(
        expected, indices.reshape(len(expected), prod(out)), y.reshape(len(expected), prod(out)), strict=True
    ):
        plane[where] = values
    np.testing.assert_array_equal(unpooled, expected.reshape(x.shape))


@settings(max_examples=60, deadline=None)
@given(poolings(), st.data())
def test_adaptive_pooling(case, data):
    x, options, _ = case
    dims = len(options["stride"])
    spatial = x.shape[x.ndim - dims :]
    out = tuple(data.draw(st.integers(1, 5)) for _ in range(dims))
    covered = list(adaptive_windows(spatial, out))
    y, indices = reference_max(x, dims, covered, out)
    got, got_indices = native.adaptive_max_pool_with_indices(x, output_size=out)
    np.testing.assert_array_equal(got, y)
    np.testing.assert_array_equal(got_indices, indices)
    np.testing.assert_array_equal(native.adaptive_max_pool(x, output_size=out), y)
    g = np.random.default_rng(0).integers(-3, 4, y.shape).astype(x.dtype)
    np.testing.assert_array_equal(
        native.adaptive_max_pool_gradient(g, x, output_size=out), scatter(g, indices, x.shape, dims)
    )
    x = np.nan_to_num(x, nan=1, posinf=2, neginf=3)
    check_average(
        x,
        covered,
        out,
        dims,
        [taps_count for _, _, taps_count in covered],
        lambda x: native.adaptive_avg_pool(x, output_size=out),
        lambda g: native.adaptive_avg_pool_gradient(g, size=spatial),
    )


def check_average(x, covered, out, dims, divisors, forward, backward):
    lead = x.shape[: x.ndim - dims]
    planes = x.reshape(prod(lead), *x.shape[x.ndim - dims :]).astype(np.float64)
    y = np.zeros((len(planes), *out))
    g = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    gx = np.zeros(planes.shape)
    for (output, taps, _), divisor in zip(covered, divisors, strict=True):
        for tap in taps:
            y[(slice(None), *output)] += planes[(slice(None), *tap)] / divisor
            gx[(slice(None), *tap)] += g[(slice(None), *output)] / np.float64(divisor)
    tolerance = {np.float16: 4e-3, np.float32: 1e-5, np.float64: 1e-12}[x.dtype.type]
    got = forward(x)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got, y.reshape(*lead, *out), rtol=tolerance, atol=tolerance)
    got = backward(g.reshape(*lead, *out))
    np.testing.assert_allclose(got, gx.reshape(x.shape), rtol=tolerance, atol=tolerance)


@settings(max_examples=150, deadline=None)
@given(poolings(dilated=False), st.booleans(), st.sampled_from([None, 1, 7, -2]))
def test_avg_pool(case, count_include_pad, divisor_override):
    x, options, ceil_mode = case
    x = np.nan_to_num(x, nan=1, posinf=2, neginf=3)
    dims = len(options["stride"])
    spatial = x.shape[x.ndim - dims :]
    out = tuple(output_length(*axis, ceil_mode) for axis in zip(spatial, *options.values(), strict=True))
    covered = list(windows(spatial, options, ceil_mode))
    divisors = [divisor_override or (extent if count_include_pad else len(taps)) for _, taps, extent in covered]
    given = {name: options[name] for name in ("kernel_size", "stride", "padding")}
    given |= {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad, "divisor_override": divisor_override}
    check_average(
        x,
        covered,
        out,
        dims,
        divisors,
        lambda x: native.avg_pool(x, **given),
        lambda g: native.avg_pool_gradient(g, size=spatial, **given),
    )


@pytest.mark.parametrize("index", [-1, 16, 2**31, 2**62])
def test_max_unpool_refuses_indices_outside(index):
    x = np.ones((1, 2, 2), np.float32)
    indices = np.array([[[0, 1], [2, index]]])
    assert native.max_unpool(x, indices, output_size=(4, 4)) is NotImplemented


def test_max_pool_of_integers():
    x = np.arange(16).reshape(1, 4, 4) - 8
    options = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1)}
    y = native.max_pool(x, **options, ceil_mode=False)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, [[[-8, -6, -5], [0, 2, 3], [4, 6, 7]]])


@pytest.mark.parametrize("value", [2**31 + 1, 2**62])
def test_huge_options_are_left_to_the_meaning(value):
    x = np.ones((1, 4, 4), np.float32)
    options = {"kernel_size": (value, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    assert native.max_pool(x, **options, ceil_mode=False) is NotImplemented
    assert native.adaptive_avg_pool(x, output_size=(value, 1)) is NotImplemented


@pytest.mark.parametrize("options", [{"output_size": (3,)}, {"kernel_size": (3,), "stride": (2,)}])
def test_integers_have_their_maxima_where_floats_have_them(options):
    x = np.random.default_rng(0).integers(-9, 9, (2, 3, 7))
    name = "adaptive_max_pool_with_indices" if "output_size" in options else "max_pool_with_indices"
    if "stride" in options:
        options = {**options, "padding": (1,), "dilation": (1,), "ceil_mode": False}
    kernel = getattr(native, name)
    for got, expected in zip(kernel(x, **options), kernel(x.astype(np.float64), **options), strict=True):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 3)])
@pytest.mark.parametrize("shape", [(1, 300, 301), (2, 1, 70000), (1, 9, 80, 70)])
def test_large_planes_of_floats_and_of_integers(kernel, stride, padding, dilation, shape):
    """Floats are compared in vectors, a band of rows at a time; integers one by one."""
    x = np.random.default_rng(0).integers(-99, 99, shape)
    dims = len(shape) - 1
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    options = {name: (value,) * dims for name, value in options.items()}
    if shape[1] == 1:
        options["kernel_size"], options["padding"] = (1, kernel), (0, padding)
    for dtype in (np.float32, np.float64):
        got = native.max_pool_with_indices(x.astype(dtype), **options, ceil_mode=False)
        for a, b in zip(got, native.max_pool_with_indices(x, **options, ceil_mode=False), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(native.max_pool(x.astype(dtype), **options, ceil_mode=False), got[0])
