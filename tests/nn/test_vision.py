"""Padding, resizing, sliding blocks and shuffles on examples worked out by hand."""

import numpy as np
import pytest

import rushlight
import rushlight.nn.functional as F
from rushlight import nn


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("constant", [9, 9, 1, 2, 3, 4, 9]),
        ("reflect", [3, 2, 1, 2, 3, 4, 3]),
        ("replicate", [1, 1, 1, 2, 3, 4, 4]),
        ("circular", [3, 4, 1, 2, 3, 4, 1]),
    ],
)
def test_pad(mode, expected):
    x = rushlight.arange(1.0, 5.0).reshape(1, 4)
    assert F.pad(x, (2, 1), mode, 9 if mode == "constant" else None).tolist() == [expected]


def test_negative_padding_crops():
    assert F.pad(rushlight.arange(12).reshape(3, 4), (-1, 0, 0, -1)).tolist() == [[1, 2, 3], [5, 6, 7]]


def test_linear_interpolation_is_exact_on_a_line():
    x = rushlight.arange(5.0, dtype=rushlight.float64).reshape(1, 1, 5)
    y = F.interpolate(x, size=9, mode="linear", align_corners=True)
    np.testing.assert_allclose(y.numpy().ravel(), np.linspace(0, 4, 9), atol=1e-12)
    z = F.interpolate(x, scale_factor=2, mode="linear")
    np.testing.assert_allclose(z.numpy().ravel(), np.clip(np.arange(10) / 2 - 0.25, 0, 4), atol=1e-12)


def test_outputs_that_an_infinite_pixel_has_no_part_in_stay_finite():
    x = rushlight.tensor([[[1.0, 2.0, float("inf"), 4.0]]])
    y = F.interpolate(x, size=4, mode="linear").tolist()[0][0]
    assert y == [1.0, 2.0, float("inf"), 4.0]
    assert F.interpolate(x, size=2, mode="linear", align_corners=True).tolist() == [[[1.0, 4.0]]]


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_the_gradient_is_the_transpose(mode):
    x = rushlight.tensor(np.random.default_rng(0).standard_normal((1, 2, 5, 6)), requires_grad=True)
    y = F.interpolate(x, size=(7, 4), mode=mode)
    g = rushlight.tensor(np.random.default_rng(1).standard_normal(y.shape))
    (y * g).sum().backward()
    assert (x.grad * x.detach()).sum().item() == pytest.approx((y * g).sum().item())


def test_fold_counts_the_blocks_of_each_pixel():
    ones = rushlight.ones(1, 1, 3, 3)
    blocks = nn.Unfold(2)(ones)
    assert blocks.shape == (1, 4, 4)
    assert nn.Fold((3, 3), 2)(blocks).tolist() == [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]]


def test_shuffles():
    x = rushlight.arange(16.0).reshape(1, 4, 2, 2)
    y = nn.PixelShuffle(2)(x)
    assert y[0, 0].tolist() == [[0, 4, 1, 5], [8, 12, 9, 13], [2, 6, 3, 7], [10, 14, 11, 15]]
    assert nn.PixelUnshuffle(2)(y).tolist() == x.tolist()
    assert nn.ChannelShuffle(2)(x)[0, :, 0, 0].tolist() == [0.0, 8.0, 4.0, 12.0]


def test_sampling_at_the_pixels_gives_the_image():
    image = rushlight.tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    theta = rushlight.tensor([[[1.0, 0, 0], [0, 1, 0]]] * 2, dtype=rushlight.float64)
    grid = F.affine_grid(theta, image.shape, align_corners=False)
    np.testing.assert_allclose(F.grid_sample(image, grid, align_corners=False).numpy(), image.numpy(), atol=1e-12)
