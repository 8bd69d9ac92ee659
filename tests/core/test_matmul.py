"""The native matrix products against NumPy in float64: odd shapes, strides, broadcast batches, threads."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rushlight import core

if core.native is None:
    pytest.skip("the native core is off", allow_module_level=True)
native = core.native

FloatArray = NDArray[np.floating]
extents = st.one_of(st.integers(0, 9), st.integers(10, 70), st.sampled_from([127, 200, 389, 515]))
layouts = st.sampled_from(["contiguous", "transposed", "reversed", "gaps", "expanded"])
dtypes = st.sampled_from([np.float32, np.float64])


@pytest.fixture
def threads() -> Iterator[None]:
    before = native.get_num_threads()
    yield
    native.set_num_threads(before)


def make(seed: int, shape: tuple[int, ...], layout: str, dtype: type) -> FloatArray:
    """Random numbers of a shape, the last two dimensions laid out in one of several ways."""
    random = np.random.default_rng(seed)
    *batch, rows, columns = shape
    if layout == "transposed":
        return random.standard_normal((*batch, columns, rows)).astype(dtype).swapaxes(-1, -2)
    if layout == "reversed":
        return random.standard_normal(shape).astype(dtype)[..., ::-1, ::-1]
    if layout == "gaps":
        return random.standard_normal((*batch, 2 * rows, 3 * columns)).astype(dtype)[..., ::2, ::3]
    if layout == "expanded":
        return np.broadcast_to(random.standard_normal((*batch, 1, columns)).astype(dtype), shape)
    return random.standard_normal(shape).astype(dtype)


def check(got: FloatArray, left: FloatArray, right: FloatArray, bias: FloatArray | None = None) -> None:
    """Every number within the bound of a sum of k products, gamma_k |A| |B|."""
    wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
    want = wide_left @ wide_right
    scale = np.abs(wide_left) @ np.abs(wide_right)
    if bias is not None:
        want, scale = want + bias, scale + np.abs(bias)
    assert got.shape == want.shape
    assert got.dtype == left.dtype
    bound = (left.shape[-1] + 2) * np.finfo(left.dtype).eps * scale
    assert np.all(np.abs(got - want) <= bound)


@settings(max_examples=200, deadline=None)
@given(m=extents, n=extents, k=extents, left=layouts, right=layouts, dtype=dtypes, seed=st.integers(0, 1000))
def test_matrices(m: int, n: int, k: int, left: str, right: str, dtype: type, seed: int) -> None:
    a, b = make(seed, (m, k), left, dtype), make(seed + 1, (k, n), right, dtype)
    check(native.matmul(a, b), a, b)


@settings(max_examples=100, deadline=None)
@given(
    batches=st.sampled_from(
        [((), (3,)), ((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((0,), (1,)), ((5,), (5,)), ((2, 2), (1, 1))]
    ),
    m=st.integers(0, 40),
    n=st.integers(0, 40),
    k=st.integers(0, 40),
    left=layouts,
    right=layouts,
    dtype=dtypes,
)
def test_batches(
    batches: tuple[tuple[int, ...], tuple[int, ...]], m: int, n: int, k: int, left: str, right: str, dtype: type
) -> None:
    a, b = make(0, (*batches[0], m, k), left, dtype), make(1, (*batches[1], k, n), right, dtype)
    check(native.matmul(a, b), a, b)


@settings(max_examples=100, deadline=None)
@given(
    batch=st.sampled_from([(), (1,), (7,), (64,), (2, 3), (0,), (3, 0, 2)]),
    n=extents,
    k=extents,
    layout=layouts,
    with_bias=st.booleans(),
    dtype=dtypes,
)
def test_linear(batch: tuple[int, ...], n: int, k: int, layout: str, with_bias: bool, dtype: type) -> None:
    x, w = make(0, (*batch, 1, k), "contiguous", dtype)[..., 0, :], make(1, (n, k), layout, dtype)
    bias = make(2, (1, n), "reversed", dtype)[0] if with_bias else None
    got = native.linear(x, w, bias)
    rows = int(np.prod(batch))
    check(got.reshape(rows, n), x.reshape(rows, k), w.T, bias)
    assert got.shape == (*batch, n)


@settings(max_examples=50, deadline=None)
@given(outer=st.integers(1, 9), inner=st.integers(1, 70), n=extents, k=extents, dtype=dtypes)
def test_linear_of_rows_in_another_order(outer: int, inner: int, n: int, k: int, dtype: type) -> None:
    x, w = make(0, (outer, inner, k), "contiguous", dtype), make(1, (n, k), "contiguous", dtype)
    got = native.linear(x.transpose(1, 0, 2), w, None).transpose(1, 0, 2)
    check(got.reshape(outer * inner, n), x.reshape(outer * inner, k), w.T)


@pytest.mark.parametrize("k", [1, 5, 300])
def test_vectors(k: int) -> None:
    a, b = make(0, (1, k), "contiguous", np.float32)[0], make(1, (k, 7), "contiguous", np.float32)
    check(native.matmul(a, b)[None], a[None], b)
    check(native.matmul(b.T, a)[:, None], b.T, a[:, None])
    assert native.matmul(a, a).shape == ()
    np.testing.assert_allclose(native.matmul(a, a), a @ a, rtol=1e-5)


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (300, 500, 400),
        (1, 2000, 1000),
        (5, 3000, 200),
        (2000, 3, 300),
        (64, 512, 784),
        (1030, 16, 900),
        (90, 70, 1300),
        (600, 49, 1500),
        (24, 1025, 2000),
    ],
)
def test_same_bits_for_any_number_of_threads(threads: None, m: int, n: int, k: int) -> None:
    a, b = make(0, (m, k), "contiguous", np.float32), make(1, (n, k), "contiguous", np.float32)
    results = []
    for count in (1, 2, 3, 8):
        native.set_num_threads(count)
        results.append((native.matmul(a, b.T), native.matmul(a, np.ascontiguousarray(b.T)), native.linear(a, b, None)))
    for result in results[1:]:
        for got, want in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (256, 700, 500),
        (192, 1000, 390),
        (64, 256, 900),
        (17, 1024, 100),
        (257, 300, 400),
        (100, 260, 1),
        (96, 20, 2240),
        (10, 300, 1200),
    ],
)
def test_left_sides_that_lie_in_columns(threads: None, m: int, n: int, k: int) -> None:
    a, b = make(0, (k, m), "contiguous", np.float32).T, make(1, (k, n), "contiguous", np.float32)
    results = []
    for count in (1, 2, 3, 8):
        native.set_num_threads(count)
        results.append(native.matmul(a, b))
    check(results[0], a, b)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@settings(max_examples=100, deadline=None)
@given(
    m=st.integers(1, 70),
    vectors=st.integers(0, 10),
    rest=st.integers(1, 4),
    k=st.sampled_from([127, 128, 130, 500, 1200]),
    right=st.sampled_from(["contiguous", "transposed"]),
    dtype=dtypes,
)
def test_few_columns_behind_whole_vectors(m: int, vectors: int, rest: int, k: int, right: str, dtype: type) -> None:
    a, b = make(0, (m, k), "contiguous", dtype), make(1, (k, 16 * vectors + rest), right, dtype)
    before = native.get_num_threads()
    try:
        results = []
        for count in (1, 3, 8):
            native.set_num_threads(count)
            results.append(native.matmul(a, b))
    finally:
        native.set_num_threads(before)
    check(results[0], a, b)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_other_dtypes_are_left_to_numpy() -> None:
    whole = np.ones((2, 2), np.int64)
    assert native.matmul(whole, whole) is NotImplemented
    assert native.matmul(np.ones((2, 2), np.float32), np.ones((2, 2))) is NotImplemented
    assert native.linear(whole, whole, None) is NotImplemented


def test_shapes_that_do_not_fit_raise() -> None:
    with pytest.raises(ValueError, match="fit"):
        native.matmul(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="fit"):
        native.linear(np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), np.ones(3, np.float32))


ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@settings(max_examples=150, deadline=None)
@given(
    batch=st.sampled_from([(1,), (2,), (7,), (64,), (3, 50), (0,)]),
    n=extents,
    k=extents,
    layout=layouts,
    with_bias=st.booleans(),
    with_residual=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    dtype=dtypes,
)
def test_linear_with_residual_and_activation(
    batch: tuple[int, ...],
    n: int,
    k: int,
    layout: str,
    with_bias: bool,
    with_residual: bool,
    activation: str,
    dtype: type,
) -> None:
    """Exactly the sum that linear gives without them, plus the residual; its activation to a few units."""
    x, w = make(0, (*batch, 1, k), "contiguous", dtype)[..., 0, :], make(1, (n, k), layout, dtype)
    bias = make(2, (1, n), "reversed", dtype)[0] if with_bias else None
    residual = make(3, (*batch, n), "contiguous", dtype) if with_residual else None
    x.flat[: k // 2] = np.nan
    got = native.linear(x, w, bias, activation=activation, residual=residual)
    sums = native.linear(x, w, bias)
    sums = sums if residual is None else sums + residual
    want = ACTIVATIONS[activation](sums.astype(np.float64))
    assert got.dtype == dtype
    if activation in ("none", "relu"):
        np.testing.assert_array_equal(got, want)
    else:
        epsilon = np.finfo(dtype).eps
        np.testing.assert_allclose(got, want, rtol=16 * epsilon, atol=16 * epsilon)


@settings(max_examples=100, deadline=None)
@given(rows=extents, n=extents, k=extents, layout=layouts, dtype=dtypes)
def test_linear_through_the_gradient_of_relu(rows: int, n: int, k: int, layout: str, dtype: type) -> None:
    g, w = make(0, (rows, k), "contiguous", dtype), make(1, (n, k), layout, dtype)
    y = np.maximum(make(2, (rows, n), "contiguous", dtype), 0)
    y.flat[: n // 2] = np.nan
    got = native.linear_relu_gradient(g, w, y)
    np.testing.assert_array_equal(got, np.where(y <= 0, 0, native.linear(g, w, None)))
    assert got.dtype == dtype


def test_linear_through_the_gradient_of_relu_refuses() -> None:
    g, w = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="fit"):
        native.linear_relu_gradient(g, w, np.ones((4, 2), np.float32))
    with pytest.raises((TypeError, ValueError)):
        native.linear_relu_gradient(g, w, None)


@pytest.mark.parametrize(("rows", "n", "k"), [(96, 70, 1100), (300, 40, 2000)])
def test_many_terms_with_bias_residual_and_activation(rows: int, n: int, k: int) -> None:
    x, w = make(0, (rows, k), "contiguous", np.float64), make(1, (n, k), "contiguous", np.float64)
    bias, residual = make(2, (1, n), "contiguous", np.float64)[0], make(3, (rows, n), "contiguous", np.float64)
    got = native.linear(x, w, bias, activation="silu", residual=residual)
    np.testing.assert_allclose(got, ACTIVATIONS["silu"](x @ w.T + bias + residual), rtol=1e-10, atol=1e-10)


def test_linear_activations_that_are_refused() -> None:
    x, w = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="activation"):
        native.linear(x, w, None, activation="softplus")
    with pytest.raises(ValueError, match="fit"):
        native.linear(x, w, None, residual=np.ones((4, 2), np.float32))
    assert native.linear(x, w, None, residual=np.ones((2, 4))) is NotImplemented
    halves = x.astype(np.float16), w.astype(np.float16)
    assert native.linear(*halves, None, activation="relu") is NotImplemented
