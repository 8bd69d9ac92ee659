"""The normalisation kernels against their formulas in float64."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)

TOLERANCE = {np.float16: 2e-2, np.float32: 3e-5, np.float64: 1e-11}


def close(got, expected, dtype, scale=1.0):
    tolerance = TOLERANCE[np.dtype(dtype).type]
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale)


def normalized(x, axes, weight, bias, eps, centered=True):
    """y and, for an upstream gradient, a function that returns (gx, g times normalised x), all in float64."""
    x = x.astype(np.float64)
    mean = x.mean(axes, keepdims=True) if centered else 0.0
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + eps)
    hat = (x - mean) * inverse

    def gradient(g):
        g = g.astype(np.float64)
        gw = g * weight
        gx = gw - hat * (gw * hat).mean(axes, keepdims=True)
        if centered:
            gx = gx - gw.mean(axes, keepdims=True)
        return gx * inverse, g * hat

    return hat * weight + bias, mean, variance, gradient


@st.composite
def arrays(draw, least_dims=2):
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 40)), *draw(st.lists(st.integers(1, 9), max_size=2)))
    if draw(st.integers(0, 9)) == 0:
        shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), 9973)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16]))
    x = (rng.standard_normal(shape) * 2 + draw(st.sampled_from([0, 3]))).astype(dtype)
    g = rng.standard_normal(shape).astype(dtype)
    if draw(st.booleans()):
        x, g = np.asfortranarray(x), np.asfortranarray(g)
    return x, g, rng


def affine(draw, rng, shape, dtype):
    weight = rng.uniform(0.5, 2, shape).astype(dtype) if draw(st.booleans()) else None
    bias = rng.standard_normal(shape).astype(dtype) if draw(st.booleans()) else None
    return weight, bias


def wide(values, shape, otherwise):
    return np.full(shape, otherwise) if values is None else values.astype(np.float64).reshape(shape)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_batch_norm(case, data):
    x, g, rng = case
    if x[:, 0].size < 3:
        return  # the variance of so few items is mostly rounding
    weight, bias = affine(data.draw, rng, x.shape[1], x.dtype)
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    w, b = (
        wide(weight, per_channel if weight is not None else 1, 1),
        wide(bias, per_channel if bias is not None else 1, 0),
    )
    axes = (0, *range(2, x.ndim))
    eps = 0.1
    expected, mean, variance, gradient = normalized(x, axes, w, b, eps)
    y, got_mean, got_variance = native.batch_norm(x, weight, bias, eps=eps)
    assert y.dtype == x.dtype
    close(y, expected, x.dtype, 10)
    close(got_mean, mean.ravel(), got_mean.dtype, 10)
    close(got_variance, variance.ravel(), got_variance.dtype, 10)
    gx, gweight, gbias = native.batch_norm_gradient(g, x, weight, eps=eps)
    expected_gx, products = gradient(g)
    close(gx, expected_gx, x.dtype, 10)
    close(gweight, products.sum(axes), x.dtype, 10 + x[:, 0].size ** 0.5)
    close(gbias, g.sum(axes, dtype=np.float64), x.dtype, 10 + x[:, 0].size ** 0.5)
    mean, variance = mean.ravel().astype(x.dtype), variance.ravel().astype(x.dtype)
    y = native.batch_norm_inference(x, weight, bias, mean, variance, eps=eps)
    close(y, expected, x.dtype, 20)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_rectified_batch_norm_is_its_parts(case, data):
    x, g, rng = case
    weight, bias = affine(data.draw, rng, x.shape[1], x.dtype)
    residual = rng.standard_normal(x.shape).astype(x.dtype) if data.draw(st.booleans()) else None
    h, mean, variance = native.batch_norm(x, weight, bias, eps=0.1)
    y, *statistics = native.batch_norm_relu(x, weight, bias, residual, eps=0.1)
    close(y, np.maximum(h if residual is None else h + residual, 0), x.dtype, 10)
    np.testing.assert_array_equal(statistics, [mean, variance])
    before = np.where(y > 0, g, 0).astype(x.dtype)
    expected = native.batch_norm_gradient(before, x, weight, eps=0.1)
    for with_residual in (False, True):
        found = native.batch_norm_relu_gradient(g, y, x, weight, with_residual=with_residual, eps=0.1)
        for a, b in zip(found, (*expected, before)[: 3 + with_residual], strict=True):
            np.testing.assert_array_equal(a, b)


def test_rectified_batch_norm_keeps_nan():
    x = np.ones((2, 3, 4), np.float32)
    x[0, 1, 0] = np.nan
    y, *_ = native.batch_norm_relu(x, None, None, None, eps=0.1)
    assert np.isnan(y[:, 1]).all() and not np.isnan(y[:, [0, 2]]).any()
    g = np.ones_like(x)
    _, _, gbias = native.batch_norm_relu_gradient(g, y, x, None, with_residual=False, eps=0.1)
    np.testing.assert_array_equal(gbias, [0, 8, 0])  # where y is NaN, as in PyTorch's relu, the gradient passes


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_group_norm(case, data):
    x, g, rng = case
    channels = x.shape[1]
    groups = data.draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
    if x[0].size // groups < 3:
        return
    weight, bias = affine(data.draw, rng, channels, x.dtype)
    grouped = (x.shape[0], groups, channels // groups, prod(x.shape[2:]))
    w, b = (
        np.broadcast_to(wide(v, -1, o) if v is not None else o, channels).reshape(1, *grouped[1:3], 1)
        for v, o in ((weight, 1.0), (bias, 0.0))
    )
    expected, mean, _, gradient = normalized(x.reshape(grouped), (2, 3), w, b, 0.1)
    y, got_mean, got_variance = native.group_norm(x, weight, bias, groups=groups, eps=0.1)
    close(y, expected.reshape(x.shape), x.dtype, 10)
    close(got_mean, mean.reshape(got_mean.shape), got_mean.dtype, 10)
    gx, gweight, gbias = native.group_norm_gradient(g, x, weight, groups=groups, eps=0.1)
    expected_gx, products = gradient(g.reshape(grouped))
    close(gx, expected_gx.reshape(x.shape), x.dtype, 10)
    close(gweight, products.sum((0, 3)).ravel(), x.dtype, 10 + x[:, 0].size ** 0.5)
    close(gbias, g.reshape(grouped).sum((0, 3), dtype=np.float64).ravel(), x.dtype, 10 + x[:, 0].size ** 0.5)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.booleans(), st.data())
def test_layer_and_rms_norm(case, centered, data):
    x, g, rng = case
    dimensions = data.draw(st.integers(1, x.ndim))
    shape = x.shape[x.ndim - dimensions :]
    if prod(shape) < 3:
        return
    weight, bias = affine(data.draw, rng, shape, x.dtype)
    axes = tuple(range(x.ndim - dimensions, x.ndim))
    w = 1.0 if weight is None else weight.astype(np.float64)
    b = 0.0 if bias is None or not centered else bias.astype(np.float64)
    expected, mean, variance, gradient = normalized(x, axes, w, b, 0.1, centered)
    options = {"dimensions": dimensions, "eps": 0.1}
    if centered:
        y, *statistics = native.layer_norm(x, weight, bias, **options)
        gx, gweight, gbias = native.layer_norm_gradient(g, x, weight, **options)
        rows = tuple(range(x.ndim - dimensions))
        close(gbias, g.sum(rows, dtype=np.float64), x.dtype, 10)
        close(statistics[0], mean.reshape(statistics[0].shape), statistics[0].dtype, 10)
    else:
        y, *statistics = native.rms_norm(x, weight, **options)
        gx, gweight = native.rms_norm_gradient(g, x, weight, **options)
    close(statistics[-1], variance.reshape(statistics[-1].shape), statistics[-1].dtype, 10)
    close(y, expected, x.dtype, 10)
    expected_gx, products = gradient(g)
    close(gx, expected_gx, x.dtype, 10)
    close(gweight, products.sum(tuple(range(x.ndim - dimensions))), x.dtype, 20)


@pytest.mark.parametrize("shape", [(4, 3, 100, 100), (64, 32), (2, 32, 300)])
def test_variance_survives_a_large_mean(shape):
    x = (np.random.default_rng(0).standard_normal(shape) + 1000).astype(np.float32)
    axes = (0, *range(2, x.ndim))
    _, mean, variance = native.batch_norm(x, None, None, eps=1e-5)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axes), rtol=1e-4)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axes), rtol=1e-6)


def test_same_bits_for_every_number_of_threads():
    rng = np.random.default_rng(0)
    before = native.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8):
            native.set_num_threads(threads)
            run = []
            for shape in ((8, 3, 90, 90), (8, 32, 20, 20), (300, 100), (7, 40, 3, 3)):
                rng = np.random.default_rng(1)
                x, g = rng.standard_normal((2, *shape)).astype(np.float32)
                run += [*native.batch_norm(x, None, None, eps=1e-5), *native.batch_norm_gradient(g, x, None, eps=1e-5)]
                run += [
                    *native.group_norm(x, None, None, groups=1, eps=1e-5),
                    *native.group_norm_gradient(g, x, None, groups=1, eps=1e-5),
                ]
                run += [
                    *native.layer_norm(x, None, None, dimensions=1, eps=1e-5),
                    *native.layer_norm_gradient(g, x, None, dimensions=1, eps=1e-5),
                ]
            results.append(run)
    finally:
        native.set_num_threads(before)
    for run in results[1:]:
        for first, other in zip(results[0], run, strict=True):
            np.testing.assert_array_equal(first, other)
