"""The executor: every kernel run as an instruction gives the bits that its call from Python gives."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from operation_samples import Maker, column_major, declared, numpy_dtype, strided

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)

DTYPES = ("float32", "float64", "bfloat16", "int64", "bool")
Call = tuple[tuple[Any, ...], dict[str, Any]]


def copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        copy = np.empty_like(value)  # the same order in memory
        copy[...] = value
        return copy
    if isinstance(value, (list, tuple)):
        return type(value)(copied(item) for item in value)
    return value


def in_layout(value: Any, layout: Any) -> Any:
    return layout(value) if isinstance(value, np.ndarray) and value.ndim > 0 and value.size > 0 else value


def arrays_in(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from arrays_in(item)


def roll(value: Any) -> None:
    """Changes the items of all arrays in place, but not which items there are: indices stay in range."""
    for array in arrays_in(value):
        array[...] = np.roll(array, 1)


def bits(arrays: Any) -> list[bytes]:
    return [array.tobytes() for array in arrays_in(arrays)]


def update_calls(name: str, dtype: str) -> Iterator[Call]:
    make = Maker(dtype)
    if not np.issubdtype(np.float16, numpy_dtype(dtype)) and dtype not in ("float32", "float64", "bfloat16"):
        return

    def tensors() -> list[np.ndarray[Any, Any]]:
        return [make(*shape, low=0.1, high=2.0) for shape in [(3, 4), (), (0, 2), (70, 90)]]

    common = {"lr": 0.1, "weight_decay": 0.01, "maximize": False}
    if name == "sgd_update":
        options = {"momentum": 0.9, "dampening": 0.0, "nesterov": True, "first": False}
        yield (tensors(), tensors(), tensors()), common | options
        yield (tensors(), tensors(), None), common | options | {"momentum": 0.0, "nesterov": False}
    if name == "adam_update":
        options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 3, "decoupled": True}
        yield (tensors(), tensors(), tensors(), tensors(), None), common | options
        yield (tensors(), tensors(), tensors(), tensors(), tensors()), common | options
    if name in ("nadam_update", "radam_update"):
        options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 3, "decoupled": False}
        further = {"mu": 0.9, "mu_next": 0.95, "product": 0.5} if name == "nadam_update" else {}
        for step in (3, 30):  # RAdam's rate is adaptive from the sixth step on
            yield (tensors(), tensors(), tensors(), tensors()), common | options | further | {"step": step}
    if name == "rmsprop_update":
        options = {"alpha": 0.9, "eps": 1e-8, "momentum": 0.5}
        yield (tensors(), tensors(), tensors(), None, None), common | options
        yield (tensors(), tensors(), tensors(), tensors(), tensors()), common | options
    if name == "adagrad_update":
        yield (tensors(), tensors(), tensors()), common | {"lr_decay": 0.1, "eps": 1e-8, "step": 3}


def calls(name: str, dtype: str) -> Iterator[Call]:
    """Calls of a kernel: the samples of the operations that it belongs to, and samples of those without."""
    make = Maker(dtype)
    yield from update_calls(name, dtype)
    if name == "cast":
        for wanted in ("float32", "int64", "bool", "float16"):
            yield (make(3, 5),), {"dtype": wanted}
    if name == "copy_into":
        yield (make(4, 5), make(4, 5, dtype="float32")), {}
    kernel = getattr(native, name if name == "copy_into" else name.removesuffix("_into"))
    for operation in declared().values():
        if not operation.elementwise and operation.kernel == kernel:
            for sample in operation.all_samples(make):
                yield sample.args, dict(sample.options)


def results_of(returned: Any) -> tuple[np.ndarray[Any, Any], ...]:
    if returned is None:
        return ()
    return tuple(np.full_like(r, 1) for r in (returned if isinstance(returned, tuple) else (returned,)))


def check(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Compares an instruction with the call; False where the kernel has no code for the arguments."""
    kernel = getattr(native, name)
    args, twins = copied(args), copied(args)
    in_place = name.endswith(("_update", "_into"))
    try:
        returned = kernel(*twins, **options)
    except Exception as expected:
        shapes_unknown: tuple[np.ndarray[Any, Any], ...] = ()
        executor = native.Executor()
        executor.add(name, args, options, shapes_unknown)
        with pytest.raises(type(expected)) as caught:
            executor.run([], [])
        assert str(caught.value) == str(expected)
        return False
    executor = native.Executor()
    if returned is NotImplemented:
        with pytest.raises((RuntimeError, TypeError)):
            executor.add(name, args, options, ())
            executor.run([], [])
        return False
    results = () if in_place else results_of(returned)
    assert executor.add(name, args, options, results) == 0
    for turn in range(3):
        executor.run([], [])
        assert executor.failed is None
        assert bits(results) == bits(() if in_place else returned), turn
        assert bits(args) == bits(twins), turn
        roll(args)
        roll(twins)
        returned = kernel(*twins, **options)
    return True


@pytest.mark.parametrize("name", native.kernel_names())
def test_every_kernel(name: str) -> None:
    ran = 0
    for dtype in DTYPES:
        for args, options in calls(name, dtype):
            ran += check(name, args, options)
            if not name.endswith("_update"):
                for layout in (strided, column_major):
                    check(name, tuple(in_layout(a, layout) for a in args), options)
    assert ran > 0


@pytest.mark.parametrize("name", ["matmul", "softmax", "cast", "var_mean", "sum"])
def test_results_of_any_strides(name: str) -> None:
    args: tuple[Any, ...] = (Maker("float32")(6, 6), Maker("float32")(6, 6)) if name == "matmul" else (Maker()(6, 6),)
    options: dict[str, Any] = {"matmul": {}, "softmax": {"dim": 0}, "cast": {"dtype": "float32"}}.get(name, {})
    expected = getattr(native, name)(*args, **options)
    expected = expected if isinstance(expected, tuple) else (expected,)
    results = tuple(np.zeros((*r.shape, 3), r.dtype)[..., 1].T for r in expected)
    executor = native.Executor()
    executor.add(name, args, options, results)
    executor.run([], [])
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, right)


def program(*instructions: Any, inputs: int, outputs: tuple[int, ...]) -> Any:
    return native.Program(list(instructions), inputs, list(outputs), [False] * len(outputs))


def multiply_add() -> Any:
    return program(("multiply", 0, 1), ("add", 3, 2), inputs=3, outputs=(4,))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64"])
@pytest.mark.parametrize(
    "shapes", [[(3, 5)] * 3, [(4, 1), (5,), (2, 1, 1)], [(0, 2)] * 3, [(), (), ()], [(300, 400)] * 3]
)
def test_elementwise(dtype: str, shapes: list[tuple[int, ...]]) -> None:
    make = Maker(dtype)
    for layout in (lambda array: array, strided, column_major):
        operands = tuple(in_layout(make(*shape), layout) for shape in shapes)
        chain = multiply_add()
        expected = chain(*operands)
        results = (np.zeros_like(expected), np.zeros((*expected.shape, 2), expected.dtype)[..., 0])
        executor = native.Executor()
        for result in results:
            executor.add_elementwise(chain, operands, (result,))
        for _ in range(2):
            executor.run([], [])
            for result in results:
                assert result.tobytes() == chain(*operands).tobytes()
            roll(operands)


def test_elementwise_in_place_and_several_results() -> None:
    make = Maker("float32")
    pair = native.Program([("add", 0, 1), ("multiply", 0, 1)], 2, [2, 3], [False, False])
    x, y, second = make(50, 7), make(50, 7), make(50, 7)
    expected = pair(x, y)
    executor = native.Executor()
    executor.add_elementwise(pair, (x, y), (x, second))
    executor.run([], [])
    assert bits((x, second)) == bits(expected)

    # A result that lies across an operand is made apart first.
    line = np.arange(9, dtype=np.float32)
    doubled = program(("add", 0, 0), inputs=1, outputs=(1,))
    executor = native.Executor()
    executor.add_elementwise(doubled, (line[:-1],), (line[1:],))
    executor.run([], [])
    np.testing.assert_array_equal(line, [0, *(2 * np.arange(8))])


def test_numbers_change_from_run_to_run() -> None:
    x = np.linspace(0.5, 2, 12, dtype=np.float32).reshape(3, 4)
    power = program(("power", 0, 1), inputs=2, outputs=(2,))
    result, summed = np.zeros_like(x), np.zeros(3, np.float32)
    parameter, gradient = np.ones(5, np.float32), np.ones(5, np.float32)
    executor = native.Executor()
    executor.add_elementwise(power, (x, native.Slot(0)), (result,))
    executor.add("sum", (x,), {"dim": (native.Slot(1),), "keepdim": False}, (summed,))
    options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False}
    executor.add("sgd_update", ([parameter], [gradient], None), options | {"lr": native.Slot(2), "first": False}, ())
    assert native.Slot(2).index == 2
    value = 1.0
    for exponent, rate in [(2.0, 0.5), (3, 0.25), (2.5, 0.25), (-0.0, -0.25), (True, 1)]:
        executor.run([], [exponent, 1, rate])
        assert result.tobytes() == power(x, exponent).tobytes()
        np.testing.assert_array_equal(summed, native.sum(x, dim=1))
        value -= rate
        np.testing.assert_array_equal(parameter, np.full(5, value, np.float32))
    before = parameter.copy()
    for numbers in ([2.0, 1], [2.0, "one", 1.0], [2.0, 1, "fast"], ["two", 1, 1.0]):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            executor.run([], numbers)
        np.testing.assert_array_equal(parameter, before)
    executor.run([], [2.0, 1, 1.0])
    assert result.tobytes() == power(x, 2.0).tobytes()


def test_what_is_called_where_a_kernel_has_no_code() -> None:
    x, y = np.arange(6, dtype=np.int64).reshape(2, 3), np.zeros((2, 3), np.int64)
    called: list[str] = []
    executor = native.Executor()
    executor.add("softmax", (x, 1), {}, (y,), lambda: called.append("softmax"))
    executor.add("copy_into", (y, x), {}, (), lambda: called.append("copy"))
    executor.add_elementwise(multiply_add(), (x, y[:, :2], native.Slot(0)), (y,), lambda: called.append("program"))
    for turn in range(3):
        executor.run([], [float(turn)])
        assert called == ["softmax", "program"] * (turn + 1)
        np.testing.assert_array_equal(y, x)
    other = native.Executor()
    other.add("softmax", (x, 1), {}, (y,))
    with pytest.raises(RuntimeError, match="no code"):
        other.run([], [])


def test_relocated_arrays() -> None:
    x, y = np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)
    transposed = x.T
    products, copies = np.zeros((4, 4), np.float32), np.zeros((6, 4), np.float32)
    seen: list[float] = []
    executor = native.Executor()
    executor.add("matmul", (x, transposed), {}, (products,))
    executor.add_elementwise(multiply_add(), (x, x, 1.0), (y,))
    executor.add_copy(transposed, copies)
    executor.add_call(lambda: seen.append(float(x[0, 0])))
    executor.relocate(x, 0, 8)
    executor.relocate(transposed, 0, 8)
    executor.relocate(y, 1, 0)
    random = np.random.default_rng(0)
    for _ in range(4):
        base, target = random.standard_normal(30).astype(np.float32), np.zeros((4, 6), np.float32)
        given = base[2:26].reshape(4, 6)
        executor.run([base, target], [])
        assert products.tobytes() == native.matmul(given, given.T).tobytes()
        assert target.tobytes() == multiply_add()(given, given, 1.0).tobytes()
        np.testing.assert_array_equal(copies, given.T)
        assert seen.pop() == given[0, 0]
        assert x.tobytes() == given.tobytes() and y.tobytes() == target.tobytes()  # there until the next run
    held = weakref.ref(target)
    del target
    assert held() is not None
    executor.release()
    assert held() is None and not x.any() and not y.any()  # at home again
    executor.run([base, np.zeros((4, 6), np.float32)], [])
    assert x.tobytes() == given.tobytes()
    del executor
    assert not x.any() and not y.any()  # at home again
    # Where the result of a program comes to lie on its operand, it works in place.
    both = random.standard_normal((5, 6)).astype(np.float32)
    expected = both.copy()
    expected.reshape(-1)[2:26] = multiply_add()(given := expected.reshape(-1)[2:26].copy(), given, 1.0)
    executor = native.Executor()
    executor.add_elementwise(multiply_add(), (x, x, 1.0), (y,))
    executor.relocate(x, 0, 8)
    executor.relocate(y, 0, 8)
    executor.run([both], [])
    assert both.tobytes() == expected.tobytes()


def test_bases_are_checked() -> None:
    x, y = np.zeros(4, np.float32), np.zeros(4, np.float32)
    executor = native.Executor()
    executor.add_copy(x, y)
    executor.relocate(x, 0, 4)
    executor.relocate(x, 0, 4)
    with pytest.raises(ValueError, match="already"):
        executor.relocate(x, 1, 0)
    read_only = np.zeros(8, np.float32)
    read_only.flags.writeable = False
    for bases in ([], [np.zeros(4, np.float32)], [np.zeros(0, np.float32)], [np.zeros(33, np.int8)[1:]], [read_only]):
        with pytest.raises(ValueError):
            executor.run(bases, [])
    with pytest.raises(TypeError):
        executor.run([None], [])
    executor.run([np.arange(5, dtype=np.float32)], [])
    np.testing.assert_array_equal(y, [1, 2, 3, 4])
    read_only_x = np.zeros(4, np.float32)
    read_only_x.flags.writeable = False
    executor = native.Executor()
    executor.add_copy(read_only_x, y)
    executor.relocate(read_only_x, 0, 0)
    executor.run([read_only], [])
    np.testing.assert_array_equal(y, 0)


def test_wrong_arguments() -> None:
    x = np.zeros((2, 3), np.float32)
    read_only = np.zeros((2, 3), np.float32)
    read_only.flags.writeable = False
    executor = native.Executor()
    with pytest.raises(ValueError, match="no kernel nothing"):
        executor.add("nothing", (x,), {}, (x,))
    for options in ({}, {"dim": "one"}, {"dim": 1, "x": x}, {"dimension": 1}):
        with pytest.raises(TypeError):
            executor.add("softmax", (x,), options, (x,))
    with pytest.raises(TypeError, match="too many"):
        executor.add("softmax", (x, 1, 2), {}, (x,))
    with pytest.raises(TypeError):
        executor.add("softmax", (x, 1), {}, (None,))
    with pytest.raises(ValueError, match="read-only"):
        executor.add("softmax", (x, 1), {}, (read_only,))
    with pytest.raises(ValueError, match="read-only"):
        executor.add_elementwise(multiply_add(), (x, x, x), (read_only,))
    with pytest.raises(TypeError):
        executor.add_elementwise(multiply_add(), (x, x), (x,))
    with pytest.raises(TypeError):
        executor.add_call(3)
    assert len(executor) == 0
    for results in [(), (x[:1],), (x.astype(np.float64),), (x, x.copy())]:
        executor = native.Executor()
        executor.add("softmax", (x.copy(), 1), {}, results)
        with pytest.raises(RuntimeError, match="softmax"):
            executor.run([], [])


def test_what_an_instruction_raises() -> None:
    target = np.array([0, 3])
    loss = np.zeros((), np.float32)
    scores = np.zeros((2, 3), np.float32)
    steps: list[int] = []
    executor = native.Executor()
    executor.add_call(lambda: steps.append(0))
    executor.add("nll_loss", (scores, target, None), {"ignore_index": -100, "reduction": "mean"}, (loss,))
    executor.add_call(lambda: steps.append(2))
    assert len(executor) == 3
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        executor.run([], [])
    assert executor.failed == 1 and steps == [0]
    target[1] = 2
    executor.run([], [])
    assert executor.failed is None and steps == [0, 0, 2]

    class OurError(Exception):
        pass

    def fail() -> None:
        raise OurError

    executor.add_call(fail)
    with pytest.raises(OurError):
        executor.run([], [])
    assert executor.failed == 3
    executor = native.Executor()
    executor.add_call(lambda: executor.run([], []))
    with pytest.raises(RuntimeError, match="running already"):
        executor.run([], [])
    other = native.Executor()
    other.add_call(lambda: native.softmax(scores, 1))
    executor = native.Executor()
    executor.add_call(lambda: other.run([], []))
    executor.add("softmax", (scores, 1), {}, (np.zeros_like(scores),))
    executor.run([], [])


def test_profile() -> None:
    x = np.ones((200, 200), np.float32)
    executor = native.Executor()
    executor.add("matmul", (x, x), {}, (np.zeros_like(x),))
    executor.add_elementwise(multiply_add(), (x, x, x), (x.copy(),))
    seconds = executor.profile([], [])
    assert len(seconds) == 2 and all(0 < s < 60 for s in seconds)


def test_other_threads_run_meanwhile() -> None:
    x = np.ones((700, 700), np.float32)
    started, finished = threading.Event(), threading.Event()
    executor = native.Executor()
    executor.add_call(started.set)
    for _ in range(30):
        executor.add("matmul", (x, x), {}, (np.zeros_like(x),))
    executor.add_call(finished.set)
    thread = threading.Thread(target=executor.run, args=([], []))
    thread.start()
    started.wait()
    assert not finished.is_set()
    thread.join()


def test_many_threads_take_turns() -> None:
    x, y = np.zeros((30, 40), np.float32), np.zeros((30, 30), np.float32)
    transposed, middle = x.T, np.zeros((30, 40), np.float32)
    right = np.zeros((40, 30), np.float32)
    executor = native.Executor()
    executor.add_elementwise(multiply_add(), (x, native.Slot(0), x), (middle,))
    executor.add_call(lambda: None)
    executor.add_copy(transposed, right)
    executor.add("matmul", (middle, right), {}, (y,))
    executor.relocate(x, 0, 0)
    executor.relocate(transposed, 0, 0)
    executor.relocate(y, 1, 0)
    wrong: list[int] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(50):
            own, result = random.standard_normal((30, 40)).astype(np.float32), np.zeros((30, 30), np.float32)
            executor.run([own, result], [float(seed)])
            expected = native.matmul(multiply_add()(own, float(seed), own), np.ascontiguousarray(own.T))
            if result.tobytes() != expected.tobytes():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_same_bits_for_any_number_of_threads() -> None:
    make = Maker("float32")
    x, w = make(8, 16, 20, 20), make(24, 16, 3, 3)
    y, summed, line = np.zeros((8, 24, 20, 20), np.float32), np.zeros(24, np.float32), make(300_000)
    total, spread = np.zeros((), np.float32), np.zeros(300_000, np.float32)
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    executor = native.Executor()
    executor.add("convolution", (x, w, None), options, (y,))
    executor.add("sum", (y,), {"dim": (0, 2, 3)}, (summed,))
    executor.add("sum", (line,), {}, (total,))
    executor.add_elementwise(multiply_add(), (line, line, line), (spread,))
    before = native.get_num_threads()
    seen = set()
    try:
        for threads in (1, 2, 3, 8):
            native.set_num_threads(threads)
            executor.run([], [])
            seen.add((y.tobytes(), summed.tobytes(), total.tobytes(), spread.tobytes()))
    finally:
        native.set_num_threads(before)
    assert len(seen) == 1


def test_what_it_was_given_stays_alive() -> None:
    executor = native.Executor()
    result = np.zeros((2, 2), np.float32)
    executor.add("matmul", (np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)), {}, (result,))
    executor.add_elementwise(multiply_add(), (np.full((2, 2), 2, np.float32), 3.0, result), (result,))
    executor.run([], [])
    np.testing.assert_array_equal(result, 9)
