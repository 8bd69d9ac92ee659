"""The attention kernels against their formula in float64, over several blocks of queries and keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)


def expected(g, q, k, v, mask, causal, scale):
    """y, log_sums and the gradients of q, k and v, one head after the other."""
    y, log_sums = np.zeros((*q.shape[:3], v.shape[3])), np.zeros((q.shape[0], q.shape[2], q.shape[1]))
    gq, gk, gv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for n, h in np.ndindex(q.shape[0], q.shape[2]):
        one_q, one_k, one_v, one_g = (t[n, :, h].astype(np.float64) for t in (q, k, v, g))
        scores = one_q @ one_k.T * scale
        if mask is not None:
            part = np.broadcast_to(mask, (q.shape[0], q.shape[2], *scores.shape))[n, h]
            scores = np.where(part, scores, -np.inf) if mask.dtype == bool else scores + part
        if causal:
            scores = np.where(np.tri(*scores.shape, dtype=bool), scores, -np.inf)
        top = scores.max(1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isinf(top), 0, top))
        total = weights.sum(1, keepdims=True)
        with np.errstate(divide="ignore"):
            log_sums[n, h] = (top + np.log(total))[:, 0]
        weights = weights / np.where(total == 0, 1, total)
        y[n, :, h] = weights @ one_v
        products = one_g @ one_v.T
        products = weights * (products - (weights * products).sum(1, keepdims=True)) * scale
        gq[n, :, h], gk[n, :, h], gv[n, :, h] = products @ one_k, products.T @ one_q, weights.T @ one_g
    return y, log_sums, gq, gk, gv


@st.composite
def problems(draw):
    length = st.one_of(st.integers(1, 20), st.sampled_from([47, 48, 49, 97, 127, 128, 129, 200, 300]))
    n, heads, queries, keys = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(length), draw(length)
    features = st.one_of(st.integers(1, 40), st.sampled_from([64, 128]))  # those of whole panels aren't put aside
    e, d = draw(features), draw(features)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))

    def tokens(count, features):
        if draw(st.booleans()):  # heads split off by a view
            made = rng.standard_normal((n, heads, count, features)).transpose(0, 2, 1, 3)
        else:
            made = rng.standard_normal((n, count, heads, features))
        return made.astype(dtype, order="K")

    q, k, v, g = tokens(queries, e), tokens(keys, e), tokens(keys, d), tokens(queries, d)
    mask = None
    kind = draw(st.sampled_from(["none", "bool", "added"]))
    if kind != "none":
        full = (n, heads, queries, keys)
        shape = [m if draw(st.booleans()) else 1 for m in full]
        mask = rng.random(shape) < 0.7 if kind == "bool" else rng.standard_normal(shape).astype(dtype)
        if kind == "added":
            mask[rng.random(shape) < 0.3] = -np.inf
    return g, q, k, v, mask, draw(st.booleans()), float(rng.uniform(0.1, 1))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_attention(problem):
    g, *operands, causal, scale = problem
    y, log_sums = native.attention(*operands, causal=causal, scale=scale)
    gradients = native.attention_gradient(g, y, log_sums, *operands, causal=causal, scale=scale)
    tolerance = 2e-5 if y.dtype == np.float32 else 1e-11
    for found, wanted in zip((y, log_sums, *gradients), expected(*problem), strict=True):
        assert found.dtype == y.dtype
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * 20)


@pytest.mark.parametrize("shape", [(2, 150, 3, 8), (1, 700, 1, 16), (2, 300, 2, 64)])
def test_the_same_for_any_number_of_threads(shape):
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.standard_normal(shape, dtype=np.float32) for _ in range(4))
    before = native.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 8):
            native.set_num_threads(threads)
            y, log_sums = native.attention(q, k, v, None, causal=True, scale=0.3)
            gradients = native.attention_gradient(g, y, log_sums, q, k, v, None, causal=True, scale=0.3)
            found.append([y, log_sums, *gradients])
    finally:
        native.set_num_threads(before)
    for results in found[1:]:
        for one, other in zip(found[0], results, strict=True):
            np.testing.assert_array_equal(one, other)


def test_large_scores_stay_finite():
    q = np.full((1, 130, 1, 4), 40, np.float32)
    k = np.linspace(-40, 40, 260 * 4, dtype=np.float32).reshape(1, 260, 1, 4)
    v = np.arange(260, dtype=np.float32).reshape(1, 260, 1, 1)
    y, log_sums = native.attention(q, k, v, None, causal=False, scale=1.0)
    np.testing.assert_allclose(y, 259)
    assert np.isfinite(log_sums).all()


def test_nan_spreads_to_what_sees_it():
    q = k = np.ones((1, 4, 1, 2), np.float32)
    v = np.ones((1, 4, 1, 2), np.float32)
    k = k.copy()
    k[0, 2] = np.nan
    y, _ = native.attention(q, k, v, None, causal=True, scale=1.0)
    assert np.isnan(y[0, 2:]).all() and (y[0, :2] == 1).all()
