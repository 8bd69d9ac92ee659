"""Convolutions: values, gradients and gradients of gradients as PyTorch has them, in one to three dimensions."""

from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight.ops import convolution as ops

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

FORMS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 7, 6), (4, 3, 3, 3), {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}),
    ((2, 4, 8, 9), (6, 2, 3, 2), {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 2}),
    ((1, 3, 6, 6), (6, 1, 3, 3), {"stride": (2, 3), "padding": (1, 1), "dilation": (1, 1), "groups": 3}),
    ((2, 2, 9), (3, 2, 3), {"stride": (3,), "padding": (1,), "dilation": (1,), "groups": 1}),
    ((1, 2, 4, 5, 4), (2, 2, 2, 3, 2), {"stride": (1, 2, 1), "padding": (1, 0, 0), "dilation": (1, 1, 2), "groups": 1}),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "options"), FORMS)
def test_gradients_to_the_second_order(x_shape: Any, w_shape: Any, options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(s) for s in (x_shape, w_shape, w_shape[:1])]
    results = []
    for library in (rushlight, torch):
        x, w, b = (library.tensor(a, requires_grad=True) for a in arrays)
        if library is rushlight:
            y = ops.convolution(x, w, b, **options)
        else:
            y = getattr(torch.nn.functional, f"conv{len(x_shape) - 2}d")(x, w, b, **options)
        first = library.autograd.grad((y * y).sum(), (x, w, b), create_graph=True)
        total = sum((g * g).sum() for g in first)
        second = library.autograd.grad(total, (x, w, b))
        results.append([t.detach().numpy() for t in (y, *first, *second)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_transposed_convolution_is_the_input_gradient() -> None:
    random = np.random.default_rng(0)
    x, w = random.standard_normal((2, 6, 5, 4)), random.standard_normal((6, 3, 4, 3))
    form = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    theirs = torch.nn.functional.conv_transpose2d(
        torch.tensor(x),
        torch.tensor(w),
        stride=(2, 3),
        padding=(1, 0),
        output_padding=(1, 2),
        groups=2,
        dilation=(1, 2),
    )
    ours = ops.convolution_input_gradient(rushlight.tensor(x), rushlight.tensor(w), size=tuple(theirs.shape), **form)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("x", "w", "changed", "message"),
    [
        ((2, 4, 8, 8), (16, 3, 3, 3), {}, r"expected input\[2, 4, 8, 8\] to have 3 channels, but got 4 channels"),
        ((2, 3, 8), (16, 3, 3, 3), {}, r"expected a 4D input \(N, C, H, W\)"),
        ((2, 3, 2, 2), (16, 3, 3, 3), {}, r"padded input size per channel: \(2 x 2\). Kernel size: \(3 x 3\)"),
        ((2, 3, 8, 8), (16, 3, 3, 3), {"stride": (0, 1)}, "non-positive stride"),
        ((2, 3, 8, 8), (16, 3, 3, 3), {"padding": (-1, 1)}, "negative padding"),
        ((2, 3, 8, 8), (16, 3, 3, 3), {"dilation": (1,)}, "expected dilation to have 2 numbers"),
        ((2, 9, 8, 8), (16, 3, 3, 3), {"groups": 3}, "divisible by 3 at dimension 0"),
    ],
)
def test_errors(x: Any, w: Any, changed: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1} | changed
    with pytest.raises(RuntimeError, match=message):
        ops.convolution(rushlight.ones(x), rushlight.ones(w), None, **options)
