"""Padding against numpy.pad, and what it says about paddings that don't fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight as torch
from rushlight.errors import InputError, ShapeError
from rushlight.ops.padding import pad, pad_gradient

NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pad_is_numpys(data):
    mode = data.draw(st.sampled_from(sorted(NUMPY_MODES)))
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    x = np.random.default_rng(0).standard_normal(shape)
    sides, crops = [], []
    for size in shape:
        most = {"reflect": size - 1, "circular": size}.get(mode, 7)
        before, after = data.draw(st.integers(0, most)), data.draw(st.integers(0, most))
        crop = data.draw(st.integers(0, size)) if data.draw(st.booleans()) else 0
        if crop and mode == "constant":  # at the other end of what is cropped nothing may depend on the order
            sides.append((-crop, after))
            crops.append((crop, (0, after)))
        else:
            sides.append((before, after))
            crops.append((0, (before, after)))
    cropped = x[tuple(slice(crop, None) for crop, _ in crops)]
    more = {"constant_values": 1.5} if mode == "constant" else {}
    expected = np.pad(cropped, [side for _, side in crops], NUMPY_MODES[mode], **more)
    got = pad(torch.from_numpy(x), padding=tuple(sides), mode=mode, value=1.5)
    np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "padding", [((0, 0), (0, 0), (3, 2), (4, 1)), ((0, 0), (1, 2), (-2, 1), (0, 0)), ((2, 0),) * 4]
)
def test_what_arrives_at_an_element_adds_up(mode, padding):
    x = np.arange(3 * 4 * 5 * 6, dtype=np.int64).reshape(3, 4, 5, 6)
    source = pad(torch.from_numpy(x), padding=padding, mode=mode, value=0).numpy()  # which element each one is
    g = np.random.default_rng(0).standard_normal(source.shape).astype(np.float32)
    got = pad_gradient(torch.from_numpy(g), shape=x.shape, padding=padding, mode=mode).numpy()
    sums = np.bincount(source.ravel(), weights=g.ravel(), minlength=x.size).reshape(x.shape)
    np.testing.assert_allclose(got, sums, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "mode", "message"),
    [
        ((3, 0), "reflect", r"less than the corresponding input dimension.*\(3, 0\) at dimension 0 of input \[3\]"),
        ((0, 4), "circular", r"at most the corresponding input dimension"),
        ((-2, -2), "constant", "resulted in a negative output size"),
        ((1, 1), "mirror", "mode must be one of constant, reflect, replicate, circular, got 'mirror'"),
    ],
)  # fmt: skip
def test_paddings_that_do_not_fit(padding, mode, message):
    with pytest.raises(ShapeError, match=message):
        pad(torch.zeros(3), padding=(padding,), mode=mode, value=0)


@pytest.mark.parametrize("mode", sorted(NUMPY_MODES))
@pytest.mark.parametrize("number", [2**62, -(2**62)])
def test_huge_paddings_are_errors(mode, number):
    with pytest.raises((InputError, MemoryError)):
        pad(torch.zeros(2, 0), padding=((0, 0), (number, number)), mode=mode, value=0)
