"""Flips, rolls, padding and triangles against NumPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)))
    if draw(st.integers(0, 4)) == 0:
        shape = (draw(st.integers(1, 300)), draw(st.integers(200, 500)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64, np.float16, np.uint8, np.bool_]))
    x = np.random.default_rng(draw(st.integers(0, 1000))).integers(0, 9, shape).astype(dtype)
    if draw(st.booleans()):
        x = np.asfortranarray(x)
    return x[:: draw(st.sampled_from([1, 2]))]


@settings(max_examples=200, deadline=None)
@given(arrays(), st.data())
def test_flip_and_roll(x, data):
    dims = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, max_size=x.ndim))
    np.testing.assert_array_equal(native.flip(x, dims=dims), np.flip(x, dims))
    dims = [d - x.ndim * data.draw(st.integers(0, 1)) for d in dims]
    shifts = [data.draw(st.integers(-20, 1000)) for _ in dims]
    np.testing.assert_array_equal(native.roll(x, shifts=shifts, dims=dims), np.roll(x, shifts, dims))


@settings(max_examples=200, deadline=None)
@given(arrays(), st.data())
def test_padding_and_cropping(x, data):
    padding, inside = [], []
    for size in x.shape:
        before = data.draw(st.integers(-size, 4))
        after = data.draw(st.integers(-(size + min(before, 0)), 4))
        padding.append((before, after))
        inside.append(slice(max(-before, 0), size + min(after, 0)))
    grown = [(max(before, 0), max(after, 0)) for before, after in padding]
    expected = np.pad(x[tuple(inside)], grown, constant_values=1)
    np.testing.assert_array_equal(native.pad(x, padding=padding, mode="constant", value=1), expected)


@settings(max_examples=200, deadline=None)
@given(arrays(), st.one_of(st.integers(-8, 8), st.sampled_from([300, -300, 2**63 - 1, -(2**63)])))
def test_triangles(x, diagonal):
    if x.ndim < 2:
        assert native.tril(x, diagonal=diagonal) is NotImplemented
        return
    near = min(max(diagonal, -1000), 1000)
    np.testing.assert_array_equal(native.tril(x, diagonal=diagonal), np.tril(x, near))
    np.testing.assert_array_equal(native.triu(x, diagonal=diagonal), np.triu(x, near))


def test_what_the_kernels_have_no_code_for():
    x = np.zeros((3, 4))
    assert native.flip(x, dims=(2,)) is NotImplemented
    assert native.roll(x, shifts=(1,), dims=None) is NotImplemented
    assert native.roll(x, shifts=(1, 2), dims=(0, 0)) is NotImplemented
