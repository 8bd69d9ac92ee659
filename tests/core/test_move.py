"""Kernels that choose elements by indices, and their inverses, against NumPy's indexing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.ops import gathering

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)


@st.composite
def inputs(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    if draw(st.integers(0, 4)) == 0:
        shape = (draw(st.integers(1, 50)), draw(st.integers(60, 300)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64, np.float16, np.bool_]))
    x = np.random.default_rng(draw(st.integers(0, 1000))).integers(-9, 9, shape).astype(dtype)
    return (np.asfortranarray(x) if draw(st.booleans()) else x), draw(st.integers(0, len(shape) - 1))


def summed(dtype):
    return dtype in (np.float32, np.float64, np.int64)


@settings(max_examples=150, deadline=None)
@given(inputs(), st.data())
def test_slices(case, data):
    x, dim = case
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    size = x.shape[dim]
    index = rng.integers(-size, size, data.draw(st.sampled_from([(), (0,), (5,), (2, 3)])))
    expected = np.take(x, index, axis=dim)
    np.testing.assert_array_equal(native.index(x, index, dims=(dim,)), expected)
    if index.ndim == 1:
        np.testing.assert_array_equal(native.index_select(x, index % size, dim=dim - x.ndim), expected)
    g = rng.integers(-9, 9, expected.shape).astype(x.dtype)
    got = native.index_gradient(g, index, shape=x.shape, dims=(dim,))
    if not summed(x.dtype):
        assert got is NotImplemented
        return
    gx = np.zeros_like(x)
    np.add.at(gx, (slice(None),) * dim + (index,), g)
    np.testing.assert_array_equal(got, gx)
    if index.ndim == 1:
        np.testing.assert_array_equal(native.index_select_gradient(g, index % size, shape=x.shape, dim=dim), gx)
        np.testing.assert_array_equal(native.index_add(x, index % size, g, dim=dim, alpha=3), x + 3 * gx)
        target = np.array(x, order="C")
        assert native.index_add_into(target, index % size, g, dim=dim, alpha=-2) is target
        np.testing.assert_array_equal(target, x - 2 * gx)


@settings(max_examples=150, deadline=None)
@given(inputs(), st.data())
def test_elements(case, data):
    x, dim = case
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    shape = list(x.shape)
    shape[dim] = data.draw(st.integers(0, 12))
    index = rng.integers(0, x.shape[dim], shape)
    np.testing.assert_array_equal(native.gather(x, index, dim=dim), np.take_along_axis(x, index, dim))
    g = rng.integers(-9, 9, shape).astype(x.dtype)
    places = list(np.ogrid[tuple(slice(n) for n in shape)])
    places[dim] = index
    replaced, target = np.array(x), np.array(x, order="C")
    replaced[tuple(places)] = g  # the last one stays
    np.testing.assert_array_equal(native.scatter(x, index, g, dim=dim), replaced)
    assert native.scatter_into(target, index, g, dim=dim) is target
    np.testing.assert_array_equal(target, replaced)
    if not summed(x.dtype):
        return
    gx = np.zeros_like(x)
    np.add.at(gx, tuple(places), g)
    np.testing.assert_array_equal(native.gather_gradient(g, index, shape=x.shape, dim=dim), gx)
    np.testing.assert_array_equal(native.scatter_add(x, index, g, dim=dim), x + gx)
    native.scatter_add_into(target, index, g, dim=dim)
    np.testing.assert_array_equal(target, replaced + gx)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "amax", "amin"])
@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scatter_reduce(dtype, dim, reduce, include_self):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 7, 5)).astype(dtype).transpose(0, 2, 1)
    shape = list(x.shape)
    shape[dim] = 20
    index, source = rng.integers(0, x.shape[dim] - 1, shape), rng.standard_normal(shape).astype(dtype)
    source.flat[::50] = np.nan
    options = {"dim": dim, "reduce": reduce, "include_self": include_self}
    got = native.scatter_reduce(x, index, source, **options)
    expected = gathering.scatter_reduce.meaning(np, x, index, source, **options)
    np.testing.assert_allclose(got, expected, rtol=20 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)


def test_in_place_where_the_memory_of_source_or_index_is_changed():
    x = np.arange(6.0)
    at = np.array([3, 2, 1, 0, 0, 0])
    for name in ("scatter_into", "scatter_add_into", "index_add_into"):
        assert getattr(native, name)(x, at, x, dim=0) is NotImplemented
        assert getattr(native, name)(x.view(np.int64), x.view(np.int64), at, dim=0) is NotImplemented
        assert getattr(native, name)(x[::-1], at, np.ones(6), dim=0) is NotImplemented
    np.testing.assert_array_equal(x, np.arange(6.0))


@pytest.mark.parametrize("index", [3, -4, 2**31, 2**62, -(2**63)])
def test_indices_out_of_range(index):
    x, at = np.zeros((3, 3)), np.array([0, index])
    message = rf"index {index} is out of bounds for a dimension of size 3"
    wide = np.broadcast_to(at, (3, 2))
    for call in (
        lambda: native.index(x, at, dims=(0,)),
        lambda: native.index_gradient(np.zeros((2, 3)), at, shape=(3, 3), dims=(0,)),
        lambda: native.index_select(x, at, dim=1),
        lambda: native.index_select_gradient(np.zeros((3, 2)), at, shape=(3, 3), dim=1),
        lambda: native.gather(x, wide, dim=1),
        lambda: native.gather_gradient(np.zeros((3, 2)), wide, shape=(3, 3), dim=1),
        lambda: native.scatter_add(x, wide, np.ones((3, 2)), dim=1),
        lambda: native.scatter_reduce(x, wide, np.ones((3, 2)), dim=1, reduce="amax"),
        lambda: native.scatter_into(x, wide, np.ones((3, 2)), dim=1),
        lambda: native.scatter_add_into(x, wide, np.ones((3, 2)), dim=1),
        lambda: native.index_add_into(x, at, np.ones((3, 2)), dim=1),
    ):
        with pytest.raises(IndexError, match=message):
            call()
    assert not x.any()


@pytest.mark.parametrize("dim", [2, -3, 2**62])
def test_what_the_kernels_have_no_code_for(dim):
    x, at = np.zeros((3, 3)), np.array([0, 1])
    assert native.index_select(x, at, dim=dim) is NotImplemented
    assert native.index_select_gradient(x, at, shape=(2**62, 2**62), dim=0) is NotImplemented
    assert native.index(x, at, at, dims=(1, 0)) is NotImplemented
    assert native.index(x, at, dims=(dim,)) is NotImplemented
    assert native.gather(x, np.zeros((1, 3), np.int64), dim=1) is NotImplemented
    assert native.gather(x, np.zeros((3, 3), np.int32), dim=1) is NotImplemented


@pytest.mark.parametrize(
    "shape", [(0,), (5,), (1, 1), (3, 0), (130,), (5000,), (9000, 3), (3, 9000), (7, 5, 11), (40, 50, 60)]
)
@pytest.mark.parametrize("share", [0, 0.1, 1])
def test_places_of_a_mask(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    for layout in (mask, mask.T, mask[::2]):
        np.testing.assert_array_equal(native.nonzero(layout), np.stack(np.nonzero(layout)), strict=True)
        np.testing.assert_array_equal(native.nonzero(layout, as_rows=True), np.argwhere(layout), strict=True)


def test_masks_that_are_left_to_numpy():
    assert native.nonzero(np.array(True)) is NotImplemented
    assert native.nonzero(np.ones(3)) is NotImplemented


def test_same_bits_for_every_number_of_threads():
    before = native.get_num_threads()
    rng = np.random.default_rng(0)
    g, at = rng.standard_normal((5000, 130)).astype(np.float32), rng.integers(0, 50, 5000)
    wide = rng.integers(0, 50, (40, 5000))
    results = []
    try:
        for threads in (1, 2, 3, 8):
            native.set_num_threads(threads)
            results.append(
                (
                    native.index_gradient(g, at, shape=(50, 130), dims=(0,)),
                    native.gather_gradient(g.reshape(-1)[:200000].reshape(40, 5000), wide, shape=(40, 50), dim=1),
                )
            )
    finally:
        native.set_num_threads(before)
    for run in results[1:]:
        for first, other in zip(results[0], run, strict=True):
            np.testing.assert_array_equal(first, other)


@settings(max_examples=100, deadline=None)
@given(inputs(), st.data())
def test_indices_of_neighbouring_dimensions(case, data):
    x, first = case
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    last = data.draw(st.integers(first, x.ndim - 1))
    shapes = [data.draw(st.sampled_from([(), (3,), (2, 1), (2, 3)])) for _ in range(first, last + 1)]
    indices = [rng.integers(-x.shape[first + k], x.shape[first + k], shape) for k, shape in enumerate(shapes)]
    dims = tuple(range(first, last + 1))
    places = (slice(None),) * first + tuple(indices)
    expected = x[places]
    np.testing.assert_array_equal(native.index(x, *indices, dims=dims), expected)
    g = rng.integers(-9, 9, expected.shape).astype(x.dtype)
    found = native.index_gradient(g, *indices, shape=x.shape, dims=dims)
    if not summed(x.dtype):
        assert found is NotImplemented
        return
    gx = np.zeros_like(x)
    np.add.at(gx, places, g)
    np.testing.assert_array_equal(found, gx)
    with pytest.raises(IndexError):
        native.index(x, *indices[:-1], np.full(shapes[-1], x.shape[last]), dims=dims)
