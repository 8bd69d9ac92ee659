"""The native convolutions against their NumPy meanings in float64: odd shapes, every option, threads."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rushlight import core
from rushlight.ops import convolution as ops

if core.native is None:
    pytest.skip("the native core is off", allow_module_level=True)
native = core.native

Sizes = tuple[int, ...]


@st.composite
def forms(draw: st.DrawFn) -> tuple[Sizes, Sizes, dict[str, Any]]:
    """The shapes of x and of weight, and options that fit them."""
    spatial = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5, 9, 19]))
    channels = st.sampled_from([1, 2, 3, 5, 8, 17])
    in_channels, out_channels = draw(channels), draw(channels)
    if draw(st.booleans()) and groups > 1:
        in_channels = 1

    def sizes(low: int, high: int) -> Sizes:
        return tuple(draw(st.integers(low, high)) for _ in range(spatial))

    kernel, stride, padding, dilation = sizes(1, 5), sizes(1, 3), sizes(0, 3), sizes(1, 3)
    size = sizes(1, (40, 14, 7)[spatial - 1])
    x = (draw(st.sampled_from([0, 1, 2, 3, 4, 9, 18])), in_channels * groups, *size)
    assume(all(n > 0 for n in ops.output_size(size, kernel, stride, padding, dilation)))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return x, (out_channels * groups, in_channels, *kernel), options


def agrees(got: NDArray[Any], want: NDArray[Any], scale: NDArray[Any], terms: int) -> None:
    """Every number within the bound of a sum of products of which `scale` is the sum of the absolute values."""
    assert got.shape == want.shape
    assert np.all(np.abs(got - want) <= (terms + 4) * np.finfo(got.dtype).eps * scale)


def check(
    x_shape: Sizes, w_shape: Sizes, options: dict[str, Any], dtype: Any, seed: int = 0, by_largest: bool = False
) -> None:
    """The three kernels against their meanings, within a bound for each result, or for the largest if `by_largest`."""
    random = np.random.default_rng(seed)
    x, w, b = (random.standard_normal(s).astype(dtype) for s in (x_shape, w_shape, w_shape[:1]))
    positions = ops.output_size(x_shape[2:], w_shape[2:], **{k: v for k, v in options.items() if k != "groups"})
    g = random.standard_normal((x_shape[0], w_shape[0], *positions)).astype(dtype)
    wide = [a.astype(np.float64) for a in (x, w, b, g)]
    size = [np.abs(a) for a in wide]

    def scale(sums: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(sums.max(), sums.shape) if by_largest else sums

    terms = int(np.prod(w_shape[1:]))
    agrees(
        native.convolution(x, w, b, **options),
        ops.convolution.meaning(np, *wide[:3], **options),
        scale(ops.convolution.meaning(np, *size[:3], **options)),
        terms,
    )
    agrees(
        native.convolution_input_gradient(g, w, size=x_shape, **options),
        ops.convolution_input_gradient.meaning(np, wide[3], wide[1], size=x_shape, **options),
        scale(ops.convolution_input_gradient.meaning(np, size[3], size[1], size=x_shape, **options)),
        terms * w_shape[0],
    )
    agrees(
        native.convolution_weight_gradient(g, x, size=w_shape, **options),
        ops.convolution_weight_gradient.meaning(np, wide[3], wide[0], size=w_shape, **options),
        scale(ops.convolution_weight_gradient.meaning(np, size[3], size[0], size=w_shape, **options)),
        int(x_shape[0] * np.prod(positions)),
    )


@settings(max_examples=300, deadline=None)
@given(form=forms(), dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 100))
def test_any_form(form: tuple[Sizes, Sizes, dict[str, Any]], dtype: Any, seed: int) -> None:
    check(*form, dtype, seed)


def options_of(stride: int, padding: int, groups: int = 1) -> dict[str, Any]:
    return {"stride": (stride, stride), "padding": (padding, padding), "dilation": (1, 1), "groups": groups}


LAYERS = [
    ((2, 64, 32, 32), (64, 64, 3, 3), options_of(1, 1)),
    ((9, 130, 8, 8), (70, 130, 3, 3), options_of(1, 1)),
    ((7, 96, 4, 4), (200, 96, 3, 3), options_of(1, 1)),
    ((19, 96, 4, 4), (200, 96, 3, 3), options_of(1, 1)),
    ((3, 20, 70, 45), (150, 20, 3, 3), options_of(1, 0)),
    ((1, 3, 60, 61), (20, 3, 7, 7), options_of(2, 3)),
    ((5, 1, 28, 28), (32, 1, 5, 5), options_of(1, 0)),
    ((1, 90, 7, 6), (160, 90, 3, 3), options_of(1, 1)),
    ((2, 96, 9, 5), (200, 48, 3, 3), options_of(2, 1, 2)),
    (
        (1, 40, 3, 4, 5),
        (120, 40, 2, 3, 3),
        {"stride": (1, 2, 1), "padding": (1, 0, 1), "dilation": (1, 1, 2), "groups": 1},
    ),
    ((3, 40, 30, 30), (50, 40, 1, 1), options_of(1, 0)),
    ((3, 40, 30, 30), (50, 40, 1, 1), options_of(2, 0)),
    ((2, 33, 32, 32), (66, 33, 4, 4), options_of(2, 1)),
    ((40, 32, 9, 8), (70, 32, 4, 4), options_of(2, 1)),
    ((16, 32, 14, 14), (64, 32, 5, 5), options_of(1, 2)),
    ((9, 40, 4, 4), (33, 40, 4, 4), options_of(1, 0)),
    ((3, 9, 15, 12), (70, 9, 1, 1), options_of(2, 0)),
    (
        (1, 3, 8, 7, 10),
        (5, 3, 1, 1, 1),
        {"stride": (1, 2, 3), "padding": (0, 0, 0), "dilation": (1, 1, 1), "groups": 1},
    ),
    ((2, 48, 31, 33), (48, 1, 3, 3), options_of(1, 1, 48)),
    ((2, 48, 31, 33), (48, 1, 3, 3), options_of(2, 1, 48)),
    ((2, 48, 31, 33), (48, 1, 3, 3), options_of(3, 1, 48)),
    ((2, 38, 90, 50), (57, 2, 5, 5), options_of(2, 2, 19)),
    ((3, 40, 11, 9), (40, 8, 3, 3), options_of(1, 1, 5)),
    ((19, 3, 29, 31), (7, 3, 5, 5), options_of(1, 0)),
    ((35, 16, 16, 17), (16, 16, 3, 3), options_of(1, 1)),
    ((18, 32, 14, 14), (1, 32, 4, 4), options_of(2, 1)),
    (
        (17, 2, 7, 8, 9),
        (6, 2, 3, 3, 3),
        {"stride": (1, 2, 1), "padding": (1, 1, 1), "dilation": (1, 1, 1), "groups": 1},
    ),
    ((2, 40, 21, 22), (3, 40, 3, 3), options_of(1, 1)),
    ((3, 17, 14, 13), (33, 17, 2, 2), options_of(2, 0)),
    ((5, 3, 25, 24), (40, 3, 4, 4), options_of(4, 0)),
    ((2, 60, 9, 8), (51, 20, 1, 1), options_of(1, 0, 3)),
    ((5, 170, 4, 5), (150, 170, 1, 1), options_of(1, 0)),  # images that share a product, here and below
    ((3, 500, 3, 3), (450, 500, 1, 1), options_of(1, 0)),
    ((4, 500, 5, 7), (450, 500, 1, 1), options_of(2, 0)),
    ((5, 100, 9, 8), (170, 100, 2, 2), options_of(2, 0)),
    ((6, 320, 5, 4), (320, 160, 1, 1), options_of(1, 0, 2)),
    ((3, 35, 24, 33), (16, 35, 3, 3), options_of(1, 1)),
    ((16, 9, 17, 19), (13, 9, 3, 3), options_of(1, 1)),
    ((13, 9, 17, 19), (13, 9, 3, 3), options_of(2, 1)),
    (
        (2, 16, 5, 14, 15),
        (16, 16, 3, 3, 3),
        {"stride": (1, 1, 1), "padding": (1, 1, 1), "dilation": (1, 1, 1), "groups": 1},
    ),
    ((3, 2, 9, 40), (5, 2, 3, 40), options_of(1, 0)),  # windows hardly smaller than the image, here and below
    ((2, 8, 22, 35), (16, 2, 22, 1), options_of(1, 0, 4)),
    ((2, 3, 22, 9), (7, 3, 8, 8), {"stride": (1, 1), "padding": (0, 0), "dilation": (3, 1), "groups": 1}),
    ((2, 3, 61, 9), (7, 3, 8, 4), {"stride": (2, 1), "padding": (0, 0), "dilation": (7, 2), "groups": 1}),
    ((3, 130, 4, 5), (128, 130, 3, 3), options_of(1, 1)),  # few positions for many weights, here and below
    ((2, 260, 7, 6), (260, 130, 3, 3), options_of(2, 1, 2)),
    ((3, 40, 3, 2), (256, 40, 5, 5), options_of(1, 3)),
    ((2, 100, 1, 9), (300, 100, 1, 7), {"stride": (1, 2), "padding": (0, 9), "dilation": (1, 3), "groups": 1}),
]


@pytest.mark.parametrize(("x", "w", "options"), LAYERS)
def test_layers_of_networks(x: Sizes, w: Sizes, options: dict[str, Any]) -> None:
    check(x, w, options, np.float32)


@pytest.mark.parametrize("images", [1, 3, 9])
@pytest.mark.parametrize("size", [(16, 16), (17, 15), (4, 4), (8, 3), (2, 40), (1, 130), (57, 2), (30, 61)])
@pytest.mark.parametrize("padding", [(1, 1), (0, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_3x3_of_many_channels(images: int, size: Sizes, padding: Sizes, groups: int) -> None:
    if size[0] + 2 * padding[0] < 3:
        return
    x, w = (images, 35 * groups, *size), (50 * groups, 35, 3, 3)
    check(x, w, options_of(1, 0, groups) | {"padding": padding}, np.float32)


@pytest.mark.parametrize("images", [1, 40])
@pytest.mark.parametrize("size", [(8, 8), (9, 11), (16, 4), (5, 30)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (4, 2), (5, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_squares_of_many_channels(
    images: int, size: Sizes, kernel: int, stride: int, padding: Sizes, groups: int
) -> None:
    """Minimal filtering errs by the largest numbers of a tile, not by each result's own terms."""
    if any(n + 2 * p < kernel for n, p in zip(size, padding, strict=True)):
        return
    x, w = (images, 35 * groups, *size), (70 * groups, 35, kernel, kernel)
    check(x, w, options_of(stride, 0, groups) | {"padding": padding}, np.float32, by_largest=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (9, 31), (1, 70), (64, 64), (40, 8)])
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_output_channels(channels: int, size: Sizes, stride: int, groups: int, dtype: Any) -> None:
    check((2, 7 * groups, *size), (channels * groups, 7, 3, 4), options_of(stride, 2, groups), dtype)
    check((2, channels * groups, *size), (21, channels, 4, 3), options_of(stride, 2, groups), dtype)


@pytest.mark.parametrize("groups", [8, 16, 17, 40])
@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (2, 1), (4, 4), (7, 15)])
@pytest.mark.parametrize("size", [(4, 4), (9, 31), (1, 300), (64, 40)])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_groups(groups: int, channels: Sizes, size: Sizes, stride: int, dilation: int, dtype: Any) -> None:
    """And as many images of one group."""
    options = options_of(stride, 3, groups) | {"dilation": (dilation, dilation)}
    check((2, channels[0] * groups, *size), (channels[1] * groups, channels[0], 3, 4), options, dtype)
    check((groups, channels[0], *size), (channels[1], channels[0], 3, 4), options | {"groups": 1}, dtype)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (4, 2), (1, 1), (5, 7)])
@pytest.mark.parametrize("more", [(0, 0), (1, 0), (0, 2)])
@pytest.mark.parametrize("left", [(0, 0), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_side_by_side(kernel: Sizes, more: Sizes, left: Sizes, dtype: Any) -> None:
    """With gaps between them, and with rows and columns left behind the last."""
    stride = tuple(k + m for k, m in zip(kernel, more, strict=True))
    size = tuple(s * n + k + r for s, n, k, r in zip(stride, (5, 8), kernel, left, strict=True))
    check((3, 6, *size), (21, 6, *kernel), options_of(1, 0) | {"stride": stride}, dtype)


@pytest.mark.parametrize("channels", [1, 2, 5, 12, 33])
@pytest.mark.parametrize("size", [(8, 8), (9, 31), (1, 70), (64, 64), (40, 8)])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 4), (5, 5), (1, 1)])
@pytest.mark.parametrize("groups", [1, 3])
def test_one_input_channel(channels: int, size: Sizes, kernel: Sizes, groups: int) -> None:
    options = options_of(1, 0, groups) | {"padding": (kernel[0] // 2, kernel[1] // 2)}
    check((3, groups, *size), (channels * groups, 1, *kernel), options, np.float32)


@pytest.mark.parametrize(("x", "w", "options"), LAYERS)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("activation", ["none", "relu", "silu"])
def test_residual_and_activation(
    x: Sizes, w: Sizes, options: dict[str, Any], with_bias: bool, with_residual: bool, activation: str
) -> None:
    """Exactly the sum that convolution gives without them, plus the residual; its activation to a few units."""
    random = np.random.default_rng(0)
    image, weight = (random.standard_normal(shape).astype(np.float32) for shape in (x, w))
    image.flat[0] = np.nan
    bias = random.standard_normal(w[0]).astype(np.float32) if with_bias else None
    sums = native.convolution(image, weight, bias, **options)
    residual = random.standard_normal(sums.shape).astype(np.float32) if with_residual else None
    got = native.convolution(image, weight, bias, **options, activation=activation, residual=residual)
    sums = sums if residual is None else sums + residual
    if activation == "silu":
        wide = sums.astype(np.float64)
        np.testing.assert_allclose(got, wide / (1 + np.exp(-wide)), rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, np.maximum(sums, 0) if activation == "relu" else sums)


def test_activations_and_residuals_that_are_refused() -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with pytest.raises(ValueError, match="activation"):
        native.convolution(x, w, None, **options_of(1, 0), activation="softplus")
    with pytest.raises(ValueError, match="fit"):
        native.convolution(x, w, None, **options_of(1, 0), residual=x)
    halves = x.astype(np.float16), w.astype(np.float16)
    assert native.convolution(*halves, None, **options_of(1, 0), activation="relu") is NotImplemented


@pytest.mark.parametrize("channels", [64, 256])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_error_of_3x3(channels: int, spread: float) -> None:
    """Root mean square error within 12 eps of that of the results; sums in order are within 6."""
    random = np.random.default_rng(0)
    sizes = np.exp(spread * random.standard_normal((4, channels, 16, 16)))
    x = (random.standard_normal(sizes.shape) * sizes).astype(np.float32)
    w = random.standard_normal((64, channels, 3, 3)).astype(np.float32)
    got = native.convolution(x, w, None, **options_of(1, 1))
    want = ops.convolution.meaning(np, x.astype(np.float64), w.astype(np.float64), None, **options_of(1, 1))
    bound = 12 * np.finfo(np.float32).eps
    assert np.sqrt(((got - want) ** 2).mean()) <= bound * np.sqrt((want**2).mean())
    assert np.abs(got - want).max() <= 3 * bound * np.abs(want).max()


@pytest.mark.parametrize("shape", [(32, 64, 32, 32), (32, 40, 4, 4), (1, 64, 56, 56), (5, 32, 7, 9)])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_error_of_the_weight_gradient_of_3x3(shape: Sizes, spread: float) -> None:
    """Root mean square error within 12 eps of that of the results; sums in order are within 4."""
    random = np.random.default_rng(0)
    x = (random.standard_normal(shape) * np.exp(spread * random.standard_normal(shape))).astype(np.float32)
    g = random.standard_normal((shape[0], 48, *shape[2:])).astype(np.float32)
    w, options = (48, *shape[1:2], 3, 3), options_of(1, 1)
    got = native.convolution_weight_gradient(g, x, size=w, **options)
    want = native.convolution_weight_gradient(g.astype(np.float64), x.astype(np.float64), size=w, **options)
    bound = 12 * np.finfo(np.float32).eps
    assert np.sqrt(((got - want) ** 2).mean()) <= bound * np.sqrt((want**2).mean())
    assert np.abs(got - want).max() <= 3 * bound * np.abs(want).max()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (5, 1, 2)])
@pytest.mark.parametrize(("images", "channels", "size"), [(32, 64, 16), (64, 128, 8), (16, 40, 27)])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_error_of_larger_squares(
    kernel: int, stride: int, padding: int, images: int, channels: int, size: int, spread: float
) -> None:
    """Root mean square error within 12 eps of that of the results, more where more than 64 channels are summed."""
    random = np.random.default_rng(0)
    shape, w_shape, options = (
        (images, channels, size, size),
        (64, channels, kernel, kernel),
        options_of(stride, padding),
    )
    x = (random.standard_normal(shape) * np.exp(spread * random.standard_normal(shape))).astype(np.float32)
    w = random.standard_normal(w_shape).astype(np.float32)
    y = native.convolution(x, w, None, **options)
    g = random.standard_normal(y.shape).astype(np.float32)
    wide = [a.astype(np.float64) for a in (x, w, g)]
    of_channels = max(1.0, np.sqrt(channels / 64))
    for got, want, factor in (
        (y, native.convolution(wide[0], wide[1], None, **options), of_channels),
        (
            native.convolution_input_gradient(g, w, size=shape, **options),
            native.convolution_input_gradient(wide[2], wide[1], size=shape, **options),
            1.0,
        ),
        (
            native.convolution_weight_gradient(g, x, size=w_shape, **options),
            native.convolution_weight_gradient(wide[2], wide[0], size=w_shape, **options),
            1.0,
        ),
    ):
        bound = 12 * factor * np.finfo(np.float32).eps
        assert np.sqrt(((got - want) ** 2).mean()) <= bound * np.sqrt((want**2).mean())
        assert np.abs(got - want).max() <= 4 * bound * np.abs(want).max()


@pytest.mark.parametrize("size", [(19, 23), (20, 19), (23, 22)])
@pytest.mark.parametrize("images", [1, 16])
def test_what_no_window_meets_has_no_gradient(size: Sizes, images: int) -> None:
    """4x4 windows with steps of 2, by minimal filtering: an odd row or column behind the last is exactly 0."""
    random = np.random.default_rng(0)
    x, w, options = (images, 64, *size), (64, 64, 4, 4), options_of(2, 0)
    weight = random.standard_normal(w).astype(np.float32)
    g = random.standard_normal((images, 64, *((n - 4) // 2 + 1 for n in size))).astype(np.float32)
    got = native.convolution_input_gradient(g, weight, size=x, **options)
    want = ops.convolution_input_gradient.meaning(np, g, weight, size=x, **options)
    unmet = [n - n % 2 for n in size]
    assert not got[:, :, unmet[0] :].any() and not got[..., unmet[1] :].any()
    np.testing.assert_allclose(got, want, atol=1e-3)


@pytest.fixture
def threads() -> Iterator[None]:
    before = native.get_num_threads()
    yield
    native.set_num_threads(before)


@pytest.mark.parametrize(("x", "w", "options"), LAYERS)
def test_same_bits_for_any_number_of_threads(threads: None, x: Sizes, w: Sizes, options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    image, weight = random.standard_normal(x).astype(np.float32), random.standard_normal(w).astype(np.float32)
    results = []
    for count in (1, 2, 3, 8):
        native.set_num_threads(count)
        y = native.convolution(image, weight, None, **options)
        results.append(
            (
                y,
                native.convolution_input_gradient(y, weight, size=x, **options),
                native.convolution_weight_gradient(y, image, size=w, **options),
            )
        )
    for result in results[1:]:
        for got, want in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, want)


def test_strided_arguments() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((6, 7, 8, 3)).transpose(3, 2, 1, 0)
    w = random.standard_normal((4, 8, 6, 6))[:, :, ::2, ::-2]
    options = options_of(1, 1)
    want = ops.convolution.meaning(np, x, w, None, **options)
    np.testing.assert_allclose(native.convolution(x, w, None, **options), want, rtol=1e-12, atol=1e-12)


def test_other_dtypes_are_left_to_numpy() -> None:
    x, w = np.ones((1, 1, 3, 3), np.int64), np.ones((1, 1, 3, 3), np.int64)
    assert native.convolution(x, w, None, **options_of(1, 0)) is NotImplemented
    assert native.convolution_input_gradient(x, w, size=(1, 1, 5, 5), **options_of(1, 0)) is NotImplemented
    assert native.convolution_weight_gradient(x, x, size=(1, 1, 1, 1), **options_of(1, 0)) is NotImplemented


@pytest.mark.parametrize("value", [-1, 0, 2**31, 2**62])
@pytest.mark.parametrize("option", ["stride", "padding", "dilation"])
def test_options_out_of_range_are_refused(option: str, value: int) -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 2, 2), np.float32)
    options = options_of(1, 0) | {option: (value, value)}
    if option == "padding" and value == 0:
        return
    try:
        assert native.convolution(x, w, None, **options) is NotImplemented
    except ValueError:
        pass


@pytest.mark.parametrize("dtype", [np.float16, pytest.importorskip("ml_dtypes").bfloat16])
def test_half_precisions_are_computed_in_float32(dtype: Any) -> None:
    native.register_bfloat16(np.dtype(pytest.importorskip("ml_dtypes").bfloat16))
    random = np.random.default_rng(0)
    x, w, b = (random.standard_normal(s).astype(dtype) for s in ((2, 3, 6, 6), (4, 3, 3, 3), (4,)))
    options = options_of(1, 1)
    wide = [a.astype(np.float32) for a in (x, w, b)]
    y = native.convolution(x, w, b, **options)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, native.convolution(*wide, **options).astype(dtype))
    np.testing.assert_array_equal(
        native.convolution_weight_gradient(y, x, size=w.shape, **options),
        native.convolution_weight_gradient(y.astype(np.float32), wide[0], size=w.shape, **options).astype(dtype),
    )
    matrix = x[0, 0]
    np.testing.assert_array_equal(
        native.matmul(matrix, matrix), native.matmul(wide[0][0, 0], wide[0][0, 0]).astype(dtype)
    )
