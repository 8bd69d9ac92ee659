"""Recurrent layers in the core: against the meaning of the operations in double, and on any number of threads."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rushlight.core import native
from rushlight.ops.recurrent_layer import GATES, KEPT, recurrent_layer, recurrent_layer_gradient

if native is None:
    pytest.skip("the native core is off", allow_module_level=True)

SHAPES = [  # features, hidden, rows at each step
    (3, 5, (1,) * 9),
    (40, 33, (17, 17, 12, 5, 5, 1)),
    (16, 70, (8,) * 12),
    (64, 128, (32,) * 6),
    (20, 200, (3,) * 5),
]


def operands(mode: str, features: int, hidden: int, sizes: tuple[int, ...], dtype: Any) -> list[Any]:
    """x, h, c, weight_ih, weight_hh, bias_ih, bias_hh"""
    random = np.random.default_rng(0)
    wide = GATES[mode] * hidden
    state = (sizes[0], hidden)
    shapes = [(sum(sizes), features), state, state, (wide, features), (wide, hidden), (wide,), (wide,)]
    scales = [1, 1, 1, features**-0.5, hidden**-0.5, 0.1, 0.1]
    made = [(random.standard_normal(s) * k).astype(dtype) for s, k in zip(shapes, scales, strict=True)]
    if mode != "LSTM":
        made[2] = None
    return made


def wide(arrays: Any) -> list[Any]:
    return [None if a is None else a.astype(np.float64) for a in arrays]


def gradient_operands(given: list[Any], results: Any, mode: str) -> list[Any]:
    """gy, gh, gc, gkept, y, kept, x, h, c, weight_hh"""
    random = np.random.default_rng(1)
    g = [random.standard_normal(a.shape).astype(a.dtype) for a in results]
    kept = results[-1] if mode in KEPT else None
    return [g[0], g[1], g[2] if mode == "LSTM" else None, None, results[0], kept, *given[:3], given[4]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("features", "hidden", "sizes"), SHAPES)
@pytest.mark.parametrize("mode", GATES)
def test_against_the_meaning(
    mode: str, features: int, hidden: int, sizes: tuple[int, ...], reverse: bool, dtype: Any
) -> None:
    given = operands(mode, features, hidden, sizes, dtype)
    options: dict[str, Any] = {"mode": mode, "sizes": sizes, "reverse": reverse}
    got = native.recurrent_layer(*given, **options, keep=True)
    want = recurrent_layer.meaning(np, *wide(given), **options, keep=True)
    tolerance = 300 * np.finfo(dtype).eps
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    operands_of_gradient = gradient_operands(given, got, mode)
    got = native.recurrent_layer_gradient(*operands_of_gradient, **options)
    want = recurrent_layer_gradient.meaning(np, *wide(operands_of_gradient), **options)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max())))


@pytest.fixture
def threads() -> Iterator[None]:
    before = native.get_num_threads()
    yield
    native.set_num_threads(before)


@pytest.mark.parametrize(("features", "hidden", "sizes"), SHAPES)
@pytest.mark.parametrize("mode", GATES)
def test_same_bits_for_any_number_of_threads(
    threads: None, mode: str, features: int, hidden: int, sizes: tuple[int, ...]
) -> None:
    given = operands(mode, features, hidden, sizes, np.float32)
    options: dict[str, Any] = {"mode": mode, "sizes": sizes, "reverse": False}
    found = []
    for count in (1, 2, 3, 8):
        native.set_num_threads(count)
        results = native.recurrent_layer(*given, **options, keep=True)
        gradients = native.recurrent_layer_gradient(*gradient_operands(given, results, mode), **options)
        found.append([a.tobytes() for a in (*results, *gradients)])
    assert found[0] == found[1] == found[2] == found[3]
