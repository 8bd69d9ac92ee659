"""The reductions engine against NumPy: dimensions, strides, dtypes, accuracy, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.core import native

if native is None:
    pytest.skip("the native core is off", allow_module_level=True)

Array = np.ndarray[Any, Any]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, tuple[int, ...]]:
    """An array of any strides, and dimensions to reduce."""
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    for _ in range(draw(st.integers(0, 2))):
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([16, 33, 70, 600, 1100]))
    while np.prod(shape) > 300_000:
        shape[int(np.argmax(shape))] = 3
    order = draw(st.permutations(range(len(shape))))
    step = [draw(st.sampled_from([1, 1, 1, 2, -1])) for _ in shape]
    base = [n * abs(s) for n, s in zip(shape, step, strict=True)]
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8, np.bool_]))
    values = np.random.default_rng(draw(st.integers(0, 9))).uniform(-3, 3, [base[i] for i in order])
    array = (np.abs(values) if dtype == np.uint8 else values).astype(dtype).transpose(np.argsort(order))
    array = array[tuple(slice(None, None, s) for s in step)]
    dims = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=len(shape)))
    return array, tuple(dims)


@settings(max_examples=400, deadline=None)
@given(cases(), st.booleans())
def test_reductions(case: tuple[Array, tuple[int, ...]], keepdim: bool) -> None:
    x, dims = case
    axes = dims or None
    options = {"dim": dims, "keepdim": keepdim}
    floating = x.dtype.kind == "f"
    wide = x.astype(np.float64 if floating else np.int64)
    tolerance = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3}.get(x.dtype.name, 0)
    scale = float(np.abs(wide).sum(axis=axes).max()) if x.size else 1.0

    def check(result: Array, expected: Array, dtype: Any) -> None:
        assert result.dtype == dtype and result.shape == expected.shape
        np.testing.assert_allclose(result.astype(np.float64), expected, rtol=tolerance, atol=tolerance * scale)

    summed = x.dtype if floating else np.int64
    if not (x.dtype == np.float16 and scale > 6e4):
        check(native.sum(x, **options), wide.sum(axis=axes, keepdims=keepdim), summed)
    assert np.array_equal(native.amax(x, **options), x.max(axis=axes, keepdims=keepdim))
    assert np.array_equal(native.amin(x, **options), x.min(axis=axes, keepdims=keepdim))
    assert np.array_equal(native.any(x, **options), x.any(axis=axes, keepdims=keepdim))
    assert np.array_equal(native.all(x, **options), x.all(axis=axes, keepdims=keepdim))
    if floating:
        check(native.mean(x, **options), wide.mean(axis=axes, keepdims=keepdim), x.dtype)
        check(native.var(x, correction=0.0, **options), wide.var(axis=axes, keepdims=keepdim), x.dtype)
        expected = np.log(np.exp(wide).sum(axis=axes, keepdims=keepdim))
        check(native.logsumexp(x, **options), expected, x.dtype)
    if len(dims) <= 1:
        axis = dims[0] if dims else None
        assert np.array_equal(native.argmax(x, **options), x.argmax(axis=axis, keepdims=keepdim))
        values, places = native.min_with_indices(x, **options)
        assert np.array_equal(values, x.min(axis=axis, keepdims=keepdim))
        assert np.array_equal(places, x.argmin(axis=axis, keepdims=keepdim))
    if dims and x.dtype != np.float16:
        check(native.cumsum(x, dim=dims[0]), wide.cumsum(axis=dims[0]), summed)


@pytest.mark.parametrize("shape, dim", [((300_000,), 0), ((700, 500), 0), ((500, 700), 1), ((40, 33, 400), 1)])
def test_sums_are_accurate_and_do_not_depend_on_threads(shape: tuple[int, ...], dim: int) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = native.get_num_threads()
    results = set()
    try:
        for count in (1, 2, 3, 8):
            native.set_num_threads(count)
            result = native.sum(x, dim=dim)
            moments = native.var_mean(x, dim=dim)
            results.add(result.tobytes() + moments[0].tobytes() + moments[1].tobytes())
    finally:
        native.set_num_threads(before)
    assert len(results) == 1
    np.testing.assert_allclose(result, x.sum(axis=dim, dtype=np.float64), rtol=3e-7)
    np.testing.assert_allclose(moments[0], x.var(axis=dim, ddof=1, dtype=np.float64), rtol=3e-6)


def test_variance_of_large_numbers_is_stable() -> None:
    x = 1e4 + np.random.default_rng(0).standard_normal((1000, 40)).astype(np.float32)
    for array, dim in ((x, 0), (np.ascontiguousarray(x.T), 1)):
        expected = array.astype(np.float64).var(axis=dim, ddof=1)
        np.testing.assert_allclose(native.var(array, dim=dim), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity(dtype: type) -> None:
    x = np.zeros((40, 3000), dtype)
    x[3, 77], x[5, 9], x[6, 10], x[8] = np.nan, np.inf, -np.inf, -np.inf
    x[3, 90] = np.nan
    for array, dim in ((x, 1), (np.asfortranarray(x), 1), (np.ascontiguousarray(x.T), 0)):
        values, places = native.max_with_indices(array, dim=dim)
        assert np.array_equal(values, np.max(array, axis=dim), equal_nan=True)
        assert np.array_equal(places, np.argmax(array, axis=dim))
        logs = native.logsumexp(array, dim=dim)
        assert np.isnan(logs[3]) and logs[5] == np.inf and logs[8] == -np.inf
        np.testing.assert_allclose(logs[0], np.log(3000), rtol=1e-6)
    np.testing.assert_allclose(native.logsumexp(np.array([1000.0, 1000.0], dtype)), 1000 + np.log(2), rtol=1e-6)


def test_nothing_to_reduce() -> None:
    empty = np.zeros((3, 0), np.float32)
    np.testing.assert_array_equal(native.sum(empty, dim=1), [0, 0, 0])
    np.testing.assert_array_equal(native.prod(empty, dim=1), [1, 1, 1])
    assert np.isnan(native.mean(empty, dim=1)).all() and np.isnan(native.var(empty, dim=1)).all()
    assert native.sum(empty, dim=0).shape == (0,)
    assert native.all(empty) and not native.any(empty)
    assert native.amax(empty, dim=1) is NotImplemented and native.argmax(empty) is NotImplemented
    assert native.cumsum(empty, dim=1).shape == (3, 0)


def test_one_item_and_no_dimensions() -> None:
    x = np.array(2.5)
    assert native.sum(x) == native.amax(x, dim=0) == native.cumsum(x, dim=-1) == 2.5
    assert native.argmax(x) == 0
    assert np.isnan(native.var(x)) and native.var(x, correction=0) == 0


def test_what_it_has_no_code_for_is_left_to_others() -> None:
    x = np.ones((2, 3))
    for dim in (2, -3, 2**62, 2**70, (0, 0), "x", 1.0, (0, 5)):
        assert native.sum(x, dim=dim) is NotImplemented
    assert native.mean(np.ones(3, np.int64)) is NotImplemented
    assert native.sum(x.astype(">f8")) is NotImplemented


def test_integers_wrap_around_in_int64() -> None:
    x = np.array([2**62, 2**62, 5])
    with np.errstate(all="ignore"):
        assert native.sum(x) == x.sum() and native.prod(x) == x.prod()
    assert native.sum(np.full(300, 255, np.uint8)) == 300 * 255
