"""What every declared operation has to keep: its kernel, gradient, shape rule and variants agree with its meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_samples import (
    FLOATING,
    INTEGER,
    arrays_of,
    declared,
    is_floating,
    laid_out,
    numpy_dtype,
    samples,
    tensors,
)

import rushlight as rl
from rushlight import dtypes
from rushlight.errors import DtypeError, InputError
from rushlight.ops.declare import Operation, Sample
from rushlight.tensor.tensor import Tensor, wrap

TOLERANCE = {"float64": 1e-9, "float32": 3e-5, "float16": 1e-2, "bfloat16": 6e-2}


def check_close(found: Any, expected: Any, tolerance: float, what: str) -> None:
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, by its meaning {b.shape}"
    if a.dtype.kind in "iub" and b.dtype.kind in "iub":
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = b[np.isfinite(b)]
    scale = float(np.abs(finite).max()) if finite.size else 1.0
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1.0), err_msg=what)


def test_has_samples(name: str) -> None:
    operation = declared()[name]
    assert samples(operation), f"{name} has no samples: declare some with @{name}.samples"
    assert operation.__doc__, f"{name} has no docstring"


def meaning_of(operation: Operation, sample: Sample) -> list[np.ndarray[Any, Any]]:
    """The meaning on float64 copies of the floating arguments."""
    if operation.of_memory:
        return arrays_of(operation.reference(sample.args, sample.options))
    exact = tuple([a.astype(np.float64) if is_floating(a) else a for a in sample.args])
    return arrays_of(operation.reference(exact, sample.options))


@pytest.mark.parametrize("dtype", FLOATING)
def test_result_is_the_meaning(name: str, dtype: str) -> None:
    operation = declared()[name]
    for number, given in enumerate(samples(operation, dtype)):
        for layout, sample in laid_out(given):
            if operation.of_memory and layout != "contiguous":
                continue
            what = f"{name}, sample {number}, {dtype}, {layout}"
            expected = meaning_of(operation, sample)
            try:
                found = arrays_of(operation(*tensors(sample.args), **sample.options))
            except DtypeError:
                assert dtype in ("float16", "bfloat16"), f"{what}: no code for this dtype"
                continue
            assert len(found) == len(expected), what
            for a, b in zip(found, expected, strict=True):
                check_close(a, b, TOLERANCE[dtype], what)


@pytest.mark.only(where=lambda operation: operation.elementwise)
@pytest.mark.parametrize("dtype", INTEGER)
def test_integers(name: str, dtype: str) -> None:
    operation = declared()[name]
    for number, sample in enumerate(samples(operation, dtype)):
        what = f"{name}, sample {number}, {dtype}"
        try:
            found = arrays_of(operation(*tensors(sample.args), **sample.options))
        except DtypeError:
            continue
        expected = arrays_of(operation._meaning_of(*_promoted(operation, sample)))
        for a, b in zip(found, expected, strict=True):
            check_close(a, b, TOLERANCE["float32"], what)


def _promoted(operation: Operation, sample: Sample) -> tuple[Any, ...]:
    first = 1 if operation.promotion == "where" else 0
    dtype = operation.computation_dtype(sample.args[first:])
    cast = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in sample.args[first:]]
    return [*sample.args[:first], *cast], dtype, operation.result_dtype(sample.args)


def test_shape_rule_tells_the_result(name: str) -> None:
    operation = declared()[name]
    for number, sample in enumerate(samples(operation, "float32")):
        found = arrays_of(operation(*tensors(sample.args), **sample.options))
        specs = operation.spec(*sample.args, **sample.options)
        specs = [specs] if hasattr(specs, "shape") else list(specs)
        told = [(tuple(s.shape), np.dtype(s.dtype)) for s in specs]
        assert [(a.shape, a.dtype) for a in found] == told, f"{name}, sample {number}"


# Gradients, along random directions


# Inputs that by nature have no gradient though the result depends on them, by operation and position: the weights of
# classes, the bounds of losses, the matrices that samples are taken by.
WITHOUT_GRADIENT = {
    ("nll_loss", 2), ("nll_loss_gradient", 3), ("cross_entropy", 2), ("cross_entropy_gradient", 3), ("huber_error", 2),
    ("smooth_l1_error", 2), ("resample", 2),
}  # fmt: skip


def differentiable(operation: Operation) -> bool:
    return operation.gradient_rule is not None


def directional(operation: Operation, sample: Sample, number: int) -> None:
    random = np.random.default_rng(number)
    places = [i for i, a in enumerate(sample.args) if is_floating(a)]
    name = f"{operation.name}, sample {number}"

    def run(values: list[Any]) -> list[Tensor]:
        args = list(tensors(sample.args))
        for place, value in zip(places, values, strict=True):
            args[place] = value
        result = operation(*args, **sample.options)
        several = list(result) if isinstance(result, (tuple, list)) else [result]
        return [r for r in several if r.is_floating_point()]

    def total(values: list[np.ndarray[Any, Any]]) -> float:
        results = run([wrap(v) for v in values])
        return float(sum((results[i].array * np.cos(np.arange(results[i].numel()).reshape(results[i].shape))).sum()
                         for i in used))  # fmt: skip

    start = [np.array(sample.args[i], np.float64) for i in places]
    leaves = [wrap(a.copy()).requires_grad_() for a in start]
    outputs = run(leaves)
    used = [i for i, o in enumerate(outputs) if o.requires_grad and o.dtype is dtypes.float64]
    if not used:
        return
    found = rl.autograd.grad(
        [outputs[i] for i in used], leaves, [rl.ones_like(outputs[i]) for i in used],
        retain_graph=True, allow_unused=True,
    )  # fmt: skip
    with_gradient = [i for i, g in enumerate(found) if g is not None]
    if len(with_gradient) < len(places):
        assert with_gradient, f"{name}: no gradient"
        missing = [i for i, g in enumerate(found) if g is None and (operation.name, places[i]) not in WITHOUT_GRADIENT]
        for i in missing:
            moved = [random.standard_normal(a.shape) if j == i else np.zeros(a.shape) for j, a in enumerate(start)]
            slope = difference(total, start, moved)
            assert abs(slope) < 1e-6, f"{name}: input {places[i]} has no gradient, but the derivative {slope:.3g}"
        places = [places[i] for i in with_gradient]
        start, leaves = [start[i] for i in with_gradient], [leaves[i] for i in with_gradient]
    weights = [wrap(random.standard_normal(outputs[i].shape)).requires_grad_() for i in used]

    def first(values: list[Any], outer: list[Any], create: bool) -> list[Any]:
        results = run(values)
        return list(
            rl.autograd.grad(
                [results[i] for i in used],
                values,
                outer,
                create_graph=create,
                allow_unused=True,
                materialize_grads=True,
            )
        )

    def value(values: list[np.ndarray[Any, Any]]) -> float:
        results = run([wrap(v) for v in values])
        return float(sum((results[i].array * w.array).sum() for i, w in zip(used, weights, strict=True)))

    directions = [random.standard_normal(a.shape) for a in start]
    gradients = first(leaves, weights, False)
    for g, a in zip(gradients, start, strict=True):
        assert g.array.shape == a.shape and g.array.dtype == np.float64, name
    numerical = difference(value, start, directions)
    analytical = float(sum((g.array * d).sum() for g, d in zip(gradients, directions, strict=True)))
    check_close(analytical, numerical, 2e-4, f"{name}: gradient")

    try:
        check_second(name, first, leaves, weights, start, random)
    except RuntimeError as error:
        # The gradient is made of an operation that has none itself, and backward says so.
        assert "is not implemented" in str(error), name


def check_second(
    name: str, first: Any, leaves: list[Any], weights: list[Any], start: list[Any], random: np.random.Generator
) -> None:
    probes = [wrap(random.standard_normal(a.shape)) for a in start]
    found = first(leaves, weights, True)
    places2 = [i for i, g in enumerate(found) if g.requires_grad]
    if not places2:
        return
    second = rl.autograd.grad(
        [found[i] for i in places2], [*leaves, *weights], [probes[i] for i in places2],
        allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    everything = [*start, *[w.array for w in weights]]
    moves = [random.standard_normal(a.shape) for a in everything]

    def value2(values: list[np.ndarray[Any, Any]]) -> float:
        own = [wrap(v).requires_grad_() for v in values[: len(start)]]
        outer = [wrap(v) for v in values[len(start) :]]
        again = first(own, outer, False)
        return float(sum((again[i].array * probes[i].array).sum() for i in places2))

    numerical = difference(value2, everything, moves)
    analytical = float(sum((g.array * d).sum() for g, d in zip(second, moves, strict=True)))
    check_close(analytical, numerical, 1e-3, f"{name}: second gradient")


def difference(value: Any, at: list[Any], along: list[Any], step: float = 1e-6) -> float:
    ends = [value([a + sign * step * d for a, d in zip(at, along, strict=True)]) for sign in (1, -1)]
    return float((ends[0] - ends[1]) / (2 * step))


@pytest.mark.only(where=differentiable)
def test_gradients(name: str) -> None:
    operation = declared()[name]
    for number, given in enumerate(samples(operation)):
        for layout, sample in laid_out(given):
            if layout in ("contiguous", "reversed"):
                directional(operation, sample, number)


@pytest.mark.only(where=lambda operation: operation.gradient_rule is not None and operation.elementwise)
def test_gradient_program_is_the_rule(name: str) -> None:
    """The fused program of a gradient gives what its rule gives on tensors, in float32."""
    operation = declared()[name]
    for number, sample in enumerate(samples(operation, "float32")):
        results = []
        for create_graph in (False, True):
            args = tensors(sample.args)
            leaves = [t.requires_grad_() for t in args if isinstance(t, Tensor) and t.is_floating_point()]
            output = operation(*args, **sample.options)
            if not output.requires_grad:
                break
            weight = wrap(np.linspace(0.5, 1.5, output.numel(), dtype=np.float32).reshape(output.shape))
            results.append(rl.autograd.grad(output, leaves, weight, create_graph=create_graph, allow_unused=True))
        for a, b in zip(*results, strict=True) if results else ():
            assert (a is None) == (b is None)
            if a is not None:
                check_close(a.array, b.array, 1e-4, f"{name}, sample {number}")


# Variants


@pytest.mark.only(where=lambda operation: operation.elementwise)
def test_out_and_in_place(name: str) -> None:
    operation = declared()[name]
    for number, sample in enumerate(samples(operation, "float32")):
        what = f"{name}, sample {number}"
        expected = operation(*tensors(sample.args), **sample.options)
        target = rl.empty_like(expected)
        assert operation(*tensors(sample.args), out=target, **sample.options) is target
        check_close(target.array, expected.array, 1e-6, what + ", out")
        args = tensors(tuple([a.copy() if isinstance(a, np.ndarray) else a for a in sample.args]))
        if isinstance(args[0], Tensor) and (args[0].shape, args[0].dtype) == (expected.shape, expected.dtype):
            assert operation(*args, out=args[0], **sample.options) is args[0]
            check_close(args[0].array, expected.array, 1e-6, what + ", in place")
            assert args[0]._version == 1


@pytest.mark.only(where=lambda operation: operation.gradient_rule is not None and not operation.is_view)
def test_in_place_gradient(name: str) -> None:
    """The gradient through the in-place form equals that through the plain one."""
    operation = declared()[name]
    for number, sample in enumerate(samples(operation)):
        if not sample.args or not is_floating(sample.args[0]):
            continue
        found = []
        for inplace in (False, True):
            args = list(tensors(sample.args))
            leaves = [t.requires_grad_() for t in args if isinstance(t, Tensor) and t.is_floating_point()]
            args[0] = args[0].clone()
            result = operation(*args, **sample.options)
            if not isinstance(result, Tensor) or (result.shape, result.dtype) != (args[0].shape, args[0].dtype):
                break
            if inplace:
                args[0] = leaves[0].clone()
                result = operation(*args, out=args[0], **sample.options)
            if not result.requires_grad:
                break
            weight = wrap(np.linspace(0.5, 1.5, result.numel()).reshape(result.shape))
            found.append(rl.autograd.grad(result, leaves, weight, allow_unused=True))
        if len(found) == 2:
            for a, b in zip(*found, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    check_close(a.array, b.array, 1e-9, f"{name}, sample {number}")


@pytest.mark.only(where=lambda operation: operation.is_view)
def test_views_share_memory(name: str) -> None:
    operation = declared()[name]
    for number, sample in enumerate(samples(operation)):
        (source,) = tensors(sample.args)
        result = operation(source, **sample.options)
        if result.numel():
            assert np.shares_memory(result.array, source.array), f"{name}, sample {number}"
            assert result._base is source


def test_wrong_number_of_dimensions_is_a_typed_error(name: str) -> None:
    """Arrays without dimensions, or with too many, give a result or an error in the user's words."""
    operation = declared()[name]
    for sample in samples(operation, "float32")[:2]:
        for shape in ((), (0,), (1, 1, 1, 1, 1, 1, 1)):
            for place, argument in enumerate(sample.args):
                if isinstance(argument, np.ndarray):
                    args = list(tensors(sample.args))
                    args[place] = wrap(np.zeros(shape, argument.dtype))
                    try:
                        operation(*args, **sample.options)
                    except (InputError, TypeError, ValueError, IndexError):
                        pass


def test_numpy_dtypes_are_known() -> None:
    assert numpy_dtype("bool") == np.bool_ and dtypes.of_numpy(numpy_dtype("bfloat16")) is dtypes.bfloat16
