"""Softmax and the losses on it against their formulas in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)

TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}


def close(got, expected, dtype):
    tolerance = TOLERANCE[np.dtype(dtype).type]
    np.testing.assert_allclose(got, expected, rtol=10 * tolerance, atol=4 * tolerance)


def softmax(x, dim):
    x = x.astype(np.float64)
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(1, 20), min_size=1, max_size=3)))
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 70)), draw(st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x, g = (rng.standard_normal((2, *shape)) * draw(st.sampled_from([1, 30]))).astype(dtype)
    if draw(st.booleans()):
        x = np.asfortranarray(x)
    return x, g / np.abs(g).max(), rng


@settings(max_examples=150, deadline=None)
@given(arrays(), st.data())
def test_softmax(case, data):
    x, g, _ = case
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    expected = softmax(x, dim)
    y = native.softmax(x, dim=dim)
    close(y, expected, x.dtype)
    close(native.softmax_gradient(g, y, dim=dim), expected * (g - (g * expected).sum(dim, keepdims=True)), x.dtype)
    log = native.log_softmax(x, dim=dim)
    wide = x.astype(np.float64)
    top = wide.max(dim, keepdims=True)
    expected_log = wide - top - np.log(np.exp(wide - top).sum(dim, keepdims=True))
    close(log, expected_log, x.dtype)
    expected_gradient = g - expected * g.sum(dim, keepdims=True, dtype=np.float64)
    got = native.log_softmax_gradient(g, log, dim=dim)
    np.testing.assert_allclose(got, expected_gradient, atol=200 * TOLERANCE[x.dtype.type])


@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_of_infinities(dim):
    x = np.array([[0, -np.inf, -np.inf, np.nan], [1, -np.inf, np.inf, 0], [2, 0, 0, 0]], np.float32)
    with np.errstate(all="ignore"):
        expected = softmax(x, dim)
    np.testing.assert_allclose(native.softmax(x, dim=dim), expected, rtol=1e-6)
    assert native.softmax(np.empty((0, 3), np.float32), dim=dim).shape == (0, 3)
    assert native.softmax(np.empty((3, 0), np.float32), dim=dim).shape == (3, 0)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_losses(data):
    n, classes = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 30))
    more = tuple(data.draw(st.lists(st.integers(1, 6), max_size=2)))
    reduction = data.draw(st.sampled_from(["none", "mean", "sum"]))
    smoothing = data.draw(st.sampled_from([0.0, 0.1]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    x = rng.standard_normal((n, classes, *more)).astype(dtype)
    weight = rng.uniform(0.1, 2, classes).astype(dtype) if data.draw(st.booleans()) else None
    target = rng.integers(0, classes, (n, *more))
    ignore_index = data.draw(st.sampled_from([-100, 0]))
    target.flat[0] = data.draw(st.sampled_from([0, ignore_index]))
    counted = (target != ignore_index).astype(np.float64)
    if reduction == "mean" and counted.sum() == 0:
        return
    w = np.ones(classes) if weight is None else weight.astype(np.float64)
    classes_last = np.moveaxis(x.astype(np.float64), 1, -1)
    hot = np.eye(classes)[np.where(counted, target, 0)] * counted[..., None]
    total = (hot * w).sum()
    shape = target.shape if reduction == "none" else ()
    g = np.asarray(rng.standard_normal(shape)).astype(dtype)
    share = g * counted / (total if reduction == "mean" else 1)

    def reduce(losses):
        return losses if reduction == "none" else losses.sum() / (total if reduction == "mean" else 1)

    options = {"ignore_index": ignore_index, "reduction": reduction}
    close(native.nll_loss(x, target, weight, **options), reduce(-(classes_last * hot * w).sum(-1)), dtype)
    gx = native.nll_loss_gradient(g, x, target, weight, **options)
    close(gx, np.moveaxis(-share[..., None] * hot * w, -1, 1), dtype)

    log = np.log(softmax(classes_last, -1))
    mixed = ((1 - smoothing) * hot + smoothing / classes * counted[..., None]) * w
    loss, log_sums = native.cross_entropy(x, target, weight, label_smoothing=smoothing, **options)
    close(loss, reduce(-(mixed * log).sum(-1)), dtype)
    gx = native.cross_entropy_gradient(g, x, target, weight, log_sums, label_smoothing=smoothing, **options)
    expected = np.exp(log) * mixed.sum(-1, keepdims=True) - mixed
    close(gx, np.moveaxis(share[..., None] * expected, -1, 1), dtype)


@pytest.mark.parametrize("index", [-1, 3, 2**31, 2**62, -(2**63)])
def test_targets_out_of_range(index):
    x, target = np.zeros((2, 3), np.float32), np.array([0, index])
    options = {"ignore_index": -100, "reduction": "none"}
    for call in (
        lambda: native.nll_loss(x, target, None, **options),
        lambda: native.nll_loss_gradient(np.zeros(2, np.float32), x, target, None, **options),
        lambda: native.cross_entropy(x, target, None, label_smoothing=0.0, **options),
    ):
        with pytest.raises(IndexError, match=rf"Target {index} is out of bounds: there are 3 classes"):
            call()


def test_one_unbatched_sample():
    x = np.array([1, 2, 3], np.float64)
    loss, _ = native.cross_entropy(x, np.asarray(1), None, ignore_index=-100, reduction="mean", label_smoothing=0.0)
    np.testing.assert_allclose(loss, -np.log(softmax(x, 0)[1]))


@pytest.mark.parametrize(("dtype", "least", "error"), [(np.float32, -83, 5e-7), (np.float64, -704, 1e-15)])
def test_weights_down_to_the_smallest_numbers(dtype, least, error):
    """Each beside a maximum of 0, so that it is the weight; what would be denormal may be 0."""
    x = np.zeros((2000, 64), dtype)
    x[:, 1] = np.linspace(least, 0, len(x))
    y = native.softmax(x, dim=1)
    exact = np.exp(x.astype(np.longdouble))
    np.testing.assert_allclose(y, (exact / exact.sum(1, keepdims=True)).astype(dtype), rtol=error)
    far = np.array([[0, -np.inf, 2 * least], [0, np.nan, 0], [-np.inf, -np.inf, -np.inf]], dtype)
    y = native.softmax(far, dim=1)
    np.testing.assert_array_equal(y[0], [1, 0, 0])
    assert np.isnan(y[1:]).all()
