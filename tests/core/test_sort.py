"""Sorting, selection and joining against NumPy: dtypes, dimensions, NaN, zeros of both signs, equal items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rushlight import dtypes
from rushlight.core import native

if native is None:
    pytest.skip("the native core is off", allow_module_level=True)

Array = np.ndarray[Any, Any]
BFLOAT16 = dtypes.bfloat16.numpy
DTYPES = [np.float32, np.float64, np.float16, BFLOAT16, np.int64, np.int32, np.int16, np.int8, np.uint8, bool]


def items(dtype: Any, *shape: int) -> Array:
    """Few different values, so that many are equal, and for floats NaN, infinities and zeros of both signs."""
    rng = np.random.default_rng(sum(shape))
    x = rng.integers(0, 2, shape) if dtype is bool else rng.integers(0 if dtype is np.uint8 else -9, 100, shape)
    x = x.astype(dtype)
    if dtype in DTYPES[:4]:
        for value in (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0):
            x[rng.random(shape) < 0.04] = value
    return x


def order(x: Array, dim: int, falling: bool) -> Array:
    """Stable; NaN above all numbers."""
    if x.dtype == BFLOAT16:
        x = x.astype(np.float32)
    if not falling:
        return np.argsort(x, axis=dim, kind="stable")
    turned = np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
    return x.shape[dim] - 1 - turned


def same(found: tuple[Array, Array], x: Array, places: Array, dim: int) -> None:
    values, indices = found
    np.testing.assert_array_equal(indices, places)
    assert values.tobytes() == np.take_along_axis(x, places, dim).tobytes()  # -0 and NaN's bits are kept
    assert values.dtype == x.dtype and indices.dtype == np.int64


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize(("shape", "dim"), [((7, 5), 1), ((3, 500), -1), ((300, 4), 0), ((2, 250, 3), 1), ((9,), 0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sort(dtype: Any, shape: tuple[int, ...], dim: int, falling: bool) -> None:
    x = items(dtype, *shape)
    same(native.sort(x, dim=dim, descending=falling), x, order(x, dim, falling), dim)


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.int32, np.float32])
def test_sort_of_items_that_differ_in_every_digit(dtype: Any) -> None:
    size = np.dtype(dtype).itemsize
    x = np.frombuffer(np.random.default_rng(0).bytes(3000 * size), dtype)
    same(native.sort(x), x, order(x, 0, False), 0)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [0, 1, 5, 32, 33, 90, 400])
@pytest.mark.parametrize("dtype", DTYPES)
def test_topk(dtype: Any, k: int, largest: bool) -> None:
    x = items(dtype, 3, 400)
    places = order(x, 1, largest)[:, :k]
    same(native.topk(x, k=k, largest=largest), x, places, 1)
    turned = np.ascontiguousarray(x.T)
    same(native.topk(turned, k=k, dim=0, largest=largest), turned, places.T, 0)
    assert native.topk(x, k=401) is NotImplemented


@pytest.mark.parametrize("dtype", DTYPES)
def test_kthvalue_and_median(dtype: Any) -> None:
    x = items(dtype, 5, 201, 2)
    sorted_places = order(x, 1, False)
    for k in (1, 77, 201):
        same(native.kthvalue(x, k=k, dim=1, keepdim=True), x, sorted_places[:, k - 1 : k], 1)
        assert native.kthvalue(x, k=k, dim=1)[0].shape == (5, 2)
    nans = (x != x).sum(1, keepdims=True)
    lower = np.where(nans > 0, 201 - nans, 100)
    places = np.take_along_axis(sorted_places, lower, 1)
    same(native.median_along(x, dim=1, keepdim=True), x, places, 1)
    places = np.take_along_axis(sorted_places, np.maximum(200 - nans, 0) // 2, 1)
    same(native.median_along(x, dim=1, keepdim=True, ignore_nan=True), x, places, 1)


def test_scalars_and_empty_arrays() -> None:
    x = np.array(2.5)
    for found in (native.sort(x), native.topk(x, k=1), native.kthvalue(x, k=1), native.median_along(x)):
        assert found[0] == x and found[1] == 0 and found[0].shape == found[1].shape == ()
    assert native.sort(np.zeros((3, 0)))[1].shape == (3, 0)
    assert native.sort(np.zeros((0, 3)))[0].shape == (0, 3)
    assert native.median_along(np.zeros((0, 3)))[0].shape == (0,)
    assert native.sort(np.zeros(3, np.complex64)) is NotImplemented
    assert native.sort(np.zeros(3), dim=1) is NotImplemented


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int16, bool])
def test_joining(dtype: Any) -> None:
    a, b = items(dtype, 40, 70, 3), items(dtype, 3, 70, 40).T
    for dim in (0, 1, -1):
        np.testing.assert_array_equal(native.cat(a, b, a[:], dim=dim), np.concatenate((a, b, a), dim))
    for dim in (0, 2, -1):
        np.testing.assert_array_equal(native.stack(a, b, dim=dim), np.stack((a, b), dim))
        np.testing.assert_array_equal(native.stack(a, a[::-1].copy(), dim=dim), np.stack((a, a[::-1]), dim))
    np.testing.assert_array_equal(native.cat(np.zeros(0, dtype), a, dim=1), a)
    assert native.cat(a, a[:2], dim=1) is NotImplemented
    assert native.cat(a, a.astype(np.float64), dim=1) is NotImplemented
    assert native.stack(a, a[:2]) is NotImplemented


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(70, 90), (3, 17, 130), (2, 64, 3, 65), (5, 4, 33, 8)])
def test_clones_of_permuted_arrays(dtype: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    for first in range(len(shape)):
        for second in range(first + 1, len(shape)):
            view = x.swapaxes(first, second)
            for source in (view, view[..., ::2], view[1:]):
                copy = native.clone(source, row_major=True)
                assert copy.flags.c_contiguous
                np.testing.assert_array_equal(copy, source)
                np.testing.assert_array_equal(native.clone(source), source)
            assert native.clone(view).strides == view.strides
