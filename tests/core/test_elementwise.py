"""The elementwise engine against NumPy: programs over shapes, strides, dtypes; casts and copies; threads; forks."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.core import native

if native is None:
    pytest.skip("the native core is off", allow_module_level=True)

Array = np.ndarray[Any, Any]

UNARY = ["negative", "absolute", "sign", "square", "reciprocal", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10",
         "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh",
         "arctanh", "floor", "ceil", "trunc", "rint", "isnan", "isinf", "isfinite", "logical_not"]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "arctan2", "power", "maximum", "minimum", "fmod", "remainder",
          "floor_divide", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
          "logical_or", "logical_xor", "copysign", "hypot"]  # fmt: skip
INTEGER = ["add", "subtract", "multiply", "maximum", "minimum", "fmod", "remainder", "floor_divide", "equal", "less",
           "greater_equal", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]  # fmt: skip
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -2.5, 1e-40, -1e-40, 1e30, -1e30, 88.73, -103.9, 3.5]


def single(name: str, sources: int) -> Any:
    return native.Program([(name, *range(sources))], sources, [sources], [False])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_value(name: str, dtype: type) -> None:
    x = np.concatenate([np.random.default_rng(0).uniform(-20, 20, 1000), EDGES]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x.astype(np.longdouble if dtype == np.float64 else np.float64)).astype(dtype)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(single(name, 1)(x), expected, rtol=tolerance, atol=np.finfo(dtype).smallest_subnormal)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_keep_to_their_ranges(dtype: type) -> None:
    rng = np.random.default_rng(0)
    turns = np.arange(-40000, 40000) * (np.pi / 2)
    x = np.concatenate([turns, rng.uniform(-1e6, 1e6, 20000), rng.uniform(-1e-3, 1e-3, 20000)]).astype(dtype)
    for name in ("sin", "cos", "tanh", "erf"):
        assert np.abs(single(name, 1)(x)).max() <= 1
    for name in ("sin", "cos"):
        expected = getattr(np, name)(x.astype(np.longdouble))
        assert np.abs(single(name, 1)(x) - expected).max() <= 2 * np.finfo(dtype).eps
    ends = np.array([-np.inf, -50, 50, np.inf], dtype)
    for name in ("tanh", "erf"):
        np.testing.assert_array_equal(single(name, 1)(ends), [-1, -1, 1, 1])
    for name in ("sin", "tan", "tanh", "erf", "sinh", "expm1", "log1p"):
        assert np.signbit(single(name, 1)(np.array([-0.0], dtype))[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_values(name: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, y = (v.ravel().astype(dtype) for v in np.meshgrid(EDGES, EDGES))
    x = np.concatenate([x, rng.uniform(-9, 9, 1000).astype(dtype)])
    y = np.concatenate([y, rng.uniform(-9, 9, 1000).astype(dtype)])
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y).astype(dtype)
    result = single(name, 2)(x, y)
    np.testing.assert_allclose(result, expected, rtol=16 * np.finfo(dtype).eps)
    if name in ("add", "multiply", "divide", "maximum", "minimum", "fmod"):
        assert np.array_equal(result, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("name", INTEGER)
def test_integers(name: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    x = np.concatenate([[info.min, info.min, info.max, 0, 7, 5], rng.integers(info.min, info.max, 200)]).astype(dtype)
    y = np.concatenate([[info.max, 0, info.min, 0, 3, 0], rng.integers(-4 if info.min else 0, 9, 200)]).astype(dtype)
    x, y = np.concatenate([x, [info.min]]).astype(dtype), np.concatenate([y, [info.min and -1]]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y).astype(dtype)
    np.testing.assert_array_equal(single(name, 2)(x, y), expected)


@st.composite
def operands(draw: st.DrawFn) -> list[Array]:
    """Arrays that broadcast together, of any strides."""
    shape = draw(st.lists(st.integers(0, 9), max_size=4))
    if shape and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.integers(500, 3000))
    result = []
    for number in range(3):
        own = [1 if draw(st.integers(0, 5)) == 0 else n for n in shape]
        own = own[draw(st.integers(0, len(own))) if draw(st.integers(0, 3)) == 0 else 0 :]
        step = [draw(st.sampled_from([1, 1, 1, 2, -1, -3])) for _ in own]
        base = [n * abs(s) for n, s in zip(own, step, strict=True)]
        order = draw(st.permutations(range(len(own)))) if draw(st.booleans()) else list(range(len(own)))
        array = np.random.default_rng(number).uniform(-2, 2, [base[i] for i in order]).astype(np.float32)
        array = array.transpose(np.argsort(order))
        result.append(array[(*(slice(None, None, s) for s in step), ...)])
    return result


@settings(max_examples=300, deadline=None)
@given(operands(), st.booleans())
def test_strides_and_broadcasting(arrays: list[Array], reuse: bool) -> None:
    program = native.Program(
        [("multiply", 0, 1), ("add", 3, 2), ("greater", 4, (0.25,)), ("where", 5, 4, (-1.5,))], 3, [6, 5], [False, True]
    )
    a, b, c = arrays
    expected = a * b + c
    value, flag = program(a, b, c)
    assert flag.dtype == bool and value.dtype == np.float32
    assert value.shape == expected.shape
    # A product and a sum may round once or twice.
    close = np.isclose(expected, 0.25, rtol=1e-5)
    np.testing.assert_array_equal(flag[~close], (expected > 0.25)[~close])
    np.testing.assert_allclose(value[~close], np.where(expected > 0.25, expected, -1.5)[~close], rtol=1e-4, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(operands())
def test_the_layout_of_the_operands_is_kept(arrays: list[Array]) -> None:
    a = arrays[0]
    dense = np.empty_like(a)  # keeps the order of dimensions, without gaps
    dense[...] = a
    result = single("exp", 1)(dense)
    if a.size:
        kept = [s for s, n in zip(dense.strides, a.shape, strict=True) if n > 1]
        assert [s for s, n in zip(result.strides, a.shape, strict=True) if n > 1] == kept
    np.testing.assert_allclose(result, np.exp(a), rtol=1e-6)


def test_numbers_and_promotion() -> None:
    add = single("add", 2)
    x = np.arange(5, dtype=np.float32)
    assert add(x, 2).dtype == add(x, 2.5).dtype == add(x, True).dtype == np.float32
    i = np.arange(5)
    np.testing.assert_array_equal(add(i, 3), i + 3)
    assert add(i, 1.5) is NotImplemented  # the result would not be an integer
    assert add(i.astype(np.uint8), 300) is NotImplemented
    assert add(i, 2**70) is NotImplemented
    assert add(i, x) is NotImplemented
    assert add(2, 3) is NotImplemented
    assert add(x, x.astype(">f4")) is NotImplemented
    assert add(x > 1, 1) is NotImplemented
    np.testing.assert_array_equal(add(x > 1, x), x + (x > 1))
    np.testing.assert_array_equal(add(x > 1, x > 2), (x > 1) | (x > 2))
    assert add(np.ones((2, 3)), np.ones((3, 2))) is NotImplemented
    assert single("exp", 1)(i) is NotImplemented
    assert native.Program([("multiply", 0, (0.5,))], 1, [1], [False])(i) is NotImplemented


@pytest.mark.parametrize("number", [2, 3, 0.5, -1, -0.5, 1.7, 0])
def test_power_by_a_number(number: float) -> None:
    x = np.linspace(0.1, 5, 100)
    np.testing.assert_allclose(single("power", 2)(x, number), x**number, rtol=1e-14)
    constant = native.Program([("power", 0, (number,))], 1, [1], [False])
    np.testing.assert_allclose(constant(x), x**number, rtol=1e-14)
    # An exponent that is computed from numbers, as in the gradient.
    gradient = native.Program([("subtract", 1, (1,)), ("power", 0, 2), ("multiply", 1, 3)], 2, [4], [False])
    np.testing.assert_allclose(gradient(x, number), number * x ** (number - 1), rtol=1e-14)
    np.testing.assert_allclose(gradient(x, np.full(100, float(number))), number * x ** (number - 1), rtol=1e-14)


def test_half_precision_is_computed_in_float32() -> None:
    x = np.array([1.0, 65504.0, 1e-7, 6e-8, np.inf, np.nan, -0.333, 2049.0], np.float16)
    result = single("add", 2)(x, x)
    assert result.dtype == np.float16
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(result, (x.astype(np.float32) * 2).astype(np.float16))


@pytest.mark.parametrize("size", [1, 7, 1000, 300_000])
def test_out(size: int) -> None:
    # The first result is written while the second still reads the operand that it overwrites.
    program = native.Program([("add", 0, (1.0,)), ("multiply", 0, (2.0,))], 1, [1, 2], [False, False])
    x = np.arange(size, dtype=np.float64)
    first, second = x.copy(), np.empty_like(x)
    assert program(first, out=(first, second))[0] is first
    np.testing.assert_array_equal(first, x + 1)
    np.testing.assert_array_equal(second, x * 2)
    add = single("add", 2)
    y = x.copy()
    assert add(y[1:], y[:-1], out=y[1:]) is not NotImplemented  # partial overlap
    np.testing.assert_array_equal(y[1:], x[1:] + x[:-1])
    strided = np.zeros((size, 3))
    add(strided[:, 1], x, out=strided[:, 1])
    np.testing.assert_array_equal(strided, np.stack([0 * x, x, 0 * x], 1))
    assert add(x, x, out=np.empty(size, np.float32)) is NotImplemented
    frozen = np.empty(size)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        add(x, x, out=frozen)


@pytest.mark.parametrize(
    "arguments",
    [
        ([("nonsense", 0)], 1, [1], [False]),
        ([("add", 0)], 1, [1], [False]),
        ([("add", 0, 1)], 1, [1], [False]),
        ([("exp", -1)], 1, [1], [False]),
        ([("exp", 0)], 1, [2], [False]),
        ([("exp", 0)], 1, [1], []),
        ([("exp", 0)], 0, [1], [False]),
        ([("exp", ("x",))], 1, [1], [False]),
    ],
)
def test_what_is_no_program_is_refused(arguments: Any) -> None:
    with pytest.raises(ValueError):
        native.Program(*arguments)


def test_long_programs_and_many_values() -> None:
    instructions: list[tuple[Any, ...]] = [("add", 0, (float(i),)) for i in range(100)]
    total = 1
    for i in range(2, 101):
        instructions.append(("add", total, i))
        total = len(instructions)
    x = np.linspace(0, 1, 5000)
    result = native.Program(instructions, 1, [total], [False])(x)
    np.testing.assert_allclose(result, 100 * x + 4950)


CASTS = [np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("source", CASTS)
@pytest.mark.parametrize("target", CASTS)
def test_cast(source: type, target: type) -> None:
    values = np.array([0, 1, 2, 100, 3, 127, 0, 5] * 40).astype(source)
    for array in (values, values[::-3], values.reshape(8, 40).T, values[:1].reshape(())):
        result = native.cast(array, np.dtype(target).name)
        assert result.dtype == target
        np.testing.assert_array_equal(result, array.astype(target))


@np.errstate(all="ignore")  # NumPy's own casts complain of signalling NaNs
def test_every_float16_and_what_lies_between() -> None:
    halves = np.arange(65536).astype(np.uint16).view(np.float16)
    wide = native.cast(halves, "float32")
    np.testing.assert_array_equal(wide, halves.astype(np.float32))
    np.testing.assert_array_equal(native.cast(wide, "float16"), halves)
    rng = np.random.default_rng(0)
    between = np.concatenate([rng.integers(-(2**31), 2**31, 100_000).astype(np.int32).view(np.float32),
                              ((wide[:-1].astype(np.float64) + wide[1:]) / 2).astype(np.float32),
                              np.float32([65519.996, 65520.0, 2.0**-25, -(2.0**-24), 3 * 2.0**-25])])  # fmt: skip
    np.testing.assert_array_equal(native.cast(between, "float16"), between.astype(np.float16))


def test_cast_truncates_and_wraps() -> None:
    x = np.array([-1.9, 1.9, 300.5, -3.0], np.float32)
    np.testing.assert_array_equal(native.cast(x, "int64"), [-1, 1, 300, -3])
    np.testing.assert_array_equal(native.cast(x, "uint8"), [255, 1, 44, 253])
    np.testing.assert_array_equal(native.cast(x, "bool"), [True] * 4)
    assert native.cast(x, "complex64") is NotImplemented


@settings(max_examples=100, deadline=None)
@given(operands())
def test_copy(arrays: list[Array]) -> None:
    for array in arrays:
        target = np.empty(array.shape, array.dtype)
        native.copy_into(target, array)
        np.testing.assert_array_equal(target, array)
        turned = np.empty(array.shape[::-1], array.dtype).T
        native.copy_into(turned, array)
        np.testing.assert_array_equal(turned, array)


def test_copy_of_large_transposed_and_overlapping_arrays() -> None:
    x = np.random.default_rng(0).random((7, 130, 90)).astype(np.float32)
    for turned in (x.transpose(0, 2, 1), x.transpose(2, 1, 0), x.transpose(1, 2, 0)[::-1]):
        np.testing.assert_array_equal(native.cast(turned[:], "float64"), turned)
        target = np.empty(turned.shape, np.float32)
        native.copy_into(target, turned)
        np.testing.assert_array_equal(target, turned)
    y = np.arange(10)
    native.copy_into(y[1:], y[:-1])
    np.testing.assert_array_equal(y, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8])


def big() -> Array:
    return np.linspace(-4, 4, 1_000_003, dtype=np.float32)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    before = native.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 8):
            native.set_num_threads(count)
            results.append(single("tanh", 1)(big()).tobytes())
    finally:
        native.set_num_threads(before)
    assert len(set(results)) == 1


def test_several_python_threads_at_once() -> None:
    x = big()
    expected = single("tanh", 1)(x)
    failures: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            if not np.array_equal(single("tanh", 1)(x), expected):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def _child(queue: Any) -> None:
    queue.put(float(single("add", 2)(big(), 1.0).sum(dtype=np.float64)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_pool_works_after_a_fork() -> None:
    expected = float(single("add", 2)(big(), 1.0).sum(dtype=np.float64))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    for _ in range(3):
        child = context.Process(target=_child, args=(queue,))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert queue.get() == expected
    assert float(single("add", 2)(big(), 1.0).sum(dtype=np.float64)) == expected


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 11, 12, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 130])
@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.float32, np.float64])
def test_rows_of_few_items(length: int, dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 2 if dtype is np.bool_ else 100, (5, 7, length + 3)).astype(dtype)
    rows = x[:, ::-1, 2 : 2 + length]
    around = np.zeros((7, 5, length + 2), dtype)
    target = around.transpose(1, 0, 2)[..., 1:-1]
    assert native.copy_into(target, rows) is not NotImplemented
    np.testing.assert_array_equal(target, rows)
    assert not around[..., 0].any() and not around[..., -1].any()
    if dtype is np.bool_:
        return
    around[...] = 0
    assert single("add", 2)(rows, rows[:1], out=target) is not NotImplemented
    np.testing.assert_array_equal(target, rows + rows[:1])
    assert not around[..., 0].any() and not around[..., -1].any()


@pytest.mark.parametrize("shift", [0, 1, 3, 5, 6, 12, 15])
def test_columns_that_share_memory_or_lie_side_by_side(shift: int) -> None:
    program = native.Program([("add", 0, (1.0,)), ("multiply", 0, (2.0,))], 1, [1, 2], [False, False])
    x = np.arange(40 * 5 * 18, dtype=np.float32).reshape(40, 5, 18)
    y, first = x.copy(), x[..., :3] + 1
    second = x[..., :3] * 2
    other = y[..., shift : shift + 3]
    if shift < 3:  # what is read is written to by the second result as well
        single("multiply", 2)(y[..., :3], 2.0, out=other)
        np.testing.assert_array_equal(other, second)
        return
    program(y[..., :3], out=(y[..., :3], other))
    np.testing.assert_array_equal(y[..., :3], first)
    np.testing.assert_array_equal(other, second)
