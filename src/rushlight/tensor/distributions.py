"""Distributions, number for number those of PyTorch's CPU generator, filling NumPy arrays.

Every `fill_` function writes its `out` in the order of its memory (a transposed array is filled as the array that it is
a transpose of), as PyTorch does. Half-precision numbers are made in float32 and rounded.

Sources: L. Devroye, "Non-Uniform Random Variate Generation" (1986), for the inversions; Box and Muller (1958) for
normal numbers; for what is drawn by rejection see `rejection.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rushlight.tensor.generator import Generator, wide_words

Array: TypeAlias = NDArray[Any]

_FLOATS = {"float16", "bfloat16", "float32", "float64"}
# Up to here every integer is exact: what `random_()` draws from without bounds.
_EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}
_LARGEST = {
    "float16": 65504.0,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float32": (2 - 2.0**-23) * 2.0**127,
    "float64": (2 - 2.0**-52) * 2.0**1023,
}

_SMALLEST = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


def in_memory_order(out: Array) -> Array:
    """`out` with its dimensions in the order of their strides: a view whose rows follow the memory."""
    if out.flags.c_contiguous:
        return out
    if any(stride == 0 and extent > 1 for stride, extent in zip(out.strides, out.shape, strict=True)):
        raise RuntimeError(
            "several elements of this tensor share one place in memory (it was expanded), so they can't be "
            "filled; clone() it first"
        )
    return out.transpose(sorted(range(out.ndim), key=lambda dim: -abs(out.strides[dim])))


def _store(out: Array, values: Array) -> None:
    ordered = in_memory_order(out)
    ordered[...] = values.reshape(ordered.shape).astype(out.dtype, copy=False)


def _need_float(name: str, out: Array) -> None:
    if out.dtype.name not in _FLOATS:
        raise NotImplementedError(f"{name}: the dtype must be a floating point one, not {out.dtype.name}")


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise RuntimeError(message)


def _doubles(generator: Generator, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) of 53 bits each."""
    out = np.empty(count)
    generator.engine.uniform(out, 0.0, 1.0)
    return out


def fill_uniform(generator: Generator, out: Array, low: float = 0.0, high: float = 1.0) -> None:
    """Numbers in [low, high); 24 random bits each, in float64 53."""
    _need_float("uniform_", out)
    largest = _LARGEST[out.dtype.name]
    if not (low <= high and -largest <= low and high <= largest and high - low <= largest):
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range within {out.dtype.name}, but found from={low}, to={high}"
        )
    full = out.dtype.itemsize >= 4
    if full and (ordered := in_memory_order(out)).flags.c_contiguous:
        generator.engine.uniform(ordered, low, high)
        return
    values = np.empty(out.size, out.dtype if full else np.float32)
    generator.engine.uniform(values, low, high)
    if not full:
        values = values.astype(out.dtype)
        values[values == out.dtype.type(high)] = low
    _store(out, values)


def fill_normal(generator: Generator, out: Array, mean: float = 0.0, std: float = 1.0) -> None:
    """Normal numbers: in blocks of 16 where `out` is contiguous and has 16 or more, else in pairs in double."""
    _need_float("normal_", out)
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if out.size < 16 or not out.flags.c_contiguous:
        _store(out, _normal_pairs(generator, out.size) * std + mean)
    elif out.dtype.itemsize >= 4:
        generator.engine.normal(out, mean, std)
    else:
        values = np.empty(out.size, np.float32)
        generator.engine.normal(values[: out.size // 16 * 16], mean, std)
        if out.size % 16:
            generator.engine.normal(values[-16:], mean, std)
        _store(out, values)


def _normal_pairs(generator: Generator, count: int) -> NDArray[np.float64]:
    """Standard normal numbers in pairs; half of a pair may wait in the generator from or for another call."""
    waiting = generator.next_normal if count else None
    first = 0 if waiting is None else 1
    values = np.empty(first + (count - first + 1) // 2 * 2)
    generator.engine.normal_pairs(values[first:])
    if waiting is not None:
        values[0] = waiting
        generator.next_normal = None
    if values.size > count:
        generator.next_normal = float(values[-1])
    return values[:count]


def fill_integers(generator: Generator, out: Array, low: int = 0, high: int | None = None) -> None:
    """Integers in [low, high), or without `high` up to the last that `out`'s dtype has (or has exactly)."""
    name, lowest, highest, last = _bounds(out.dtype)
    stop = last + 1 if high is None else high
    if not lowest <= low < stop <= highest + 1:
        _need(low < stop, f"random_ expects 'from' to be less than 'to', but got from={low} >= to={stop}")
        _need(lowest <= low, f"random_: from={low} is out of bounds for {name}")
        _need(stop - 1 <= highest, f"random_: to - 1={stop - 1} is out of bounds for {name}")
    span = stop - low
    if high is None and low == 0:  # drawn by the width of the dtype, not of the range
        wide = name in ("int64", "float64")
    else:
        wide = span >= 2**28
    if wide:
        words = wide_words(generator.engine, out.size)
        if span < 2**64:  # modular arithmetic: the sum is right in 64 bits even where the parts pass 2**63
            words = words % np.uint64(span) + np.uint64(low % 2**64)
        values = words.view(np.int64)
    else:
        values = (generator.engine.draw(out.size).view(np.uint32) % np.uint32(span)).astype(np.int64) + low
    _store(out, values)


@functools.cache
def _bounds(dtype: np.dtype[Any]) -> tuple[str, int, int, int]:
    """The dtype's name, its least and its largest integer, and the last that it has exactly."""
    name = dtype.name
    if name in _FLOATS:
        highest = int(_LARGEST[name])
        return name, -highest, highest, _EXACT[name]
    if name == "bool":
        return name, 0, 1, 1
    information = np.iinfo(dtype)
    return name, int(information.min), int(information.max), int(information.max)


def permutation(generator: Generator, count: int, dtype: np.dtype[Any]) -> Array:
    """The integers below `count` in random order, by Fisher and Yates' shuffle; of shape (count,)."""
    _need(count >= 0, f"randperm: n must be non-negative, not {count}")
    exact = _EXACT.get(dtype.name)
    last = exact if exact is not None else 1 if dtype.name == "bool" else int(np.iinfo(dtype).max)
    _need(count - 1 <= last, f"randperm: n={count} is too large for {dtype.name}, which is exact up to {last}")
    return generator.engine.permutation(count).astype(dtype, copy=False)


def fill_bernoulli(generator: Generator, out: Array, p: float | Array = 0.5) -> None:
    """Ones with probability `p`, else zeros; `p` is one number, or an array that broadcasts to `out`'s shape."""
    if isinstance(p, np.ndarray):
        _need_float("bernoulli", p)
        _need(bool(np.all((p >= 0) & (p <= 1))), "bernoulli expects every p to be in [0, 1]")
        probability = np.broadcast_to(p, out.shape)
        order = sorted(range(out.ndim), key=lambda dim: -abs(out.strides[dim]))
        flat = probability.transpose(order).reshape(-1)
        uniform = np.empty(out.size, np.float64 if p.dtype == np.float64 else np.float32)
        generator.engine.uniform(uniform, 0.0, 1.0)
        _store(out, uniform < flat.astype(uniform.dtype, copy=False))
    else:
        _need(0 <= p <= 1, f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        _store(out, _doubles(generator, out.size) < p)


def fill_exponential(generator: Generator, out: Array, rate: float = 1.0) -> None:
    """Exponential numbers, of mean 1 / rate."""
    _need_float("exponential_", out)
    _need(rate > 0.0, f"exponential_ expects lambda > 0.0, but found lambda={rate}")
    _store(out, np.log1p(-_doubles(generator, out.size)) * (-1.0 / rate))


def fill_cauchy(generator: Generator, out: Array, median: float = 0.0, sigma: float = 1.0) -> None:
    """Numbers of Cauchy's distribution."""
    _need_float("cauchy_", out)
    _need(sigma > 0.0, f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    _store(out, median + sigma * np.tan(math.pi * (_doubles(generator, out.size) - 0.5)))


def fill_log_normal(generator: Generator, out: Array, mean: float = 1.0, std: float = 2.0) -> None:
    """Numbers whose logarithm is normal, with that mean and standard deviation."""
    _need_float("log_normal_", out)
    _need(std > 0.0, f"log_normal_ expects std > 0.0, but found std={std}")
    with np.errstate(over="ignore"):
        _store(out, np.exp(_normal_pairs(generator, out.size) * std + mean))


def fill_geometric(generator: Generator, out: Array, p: float) -> None:
    """The number of trials until the first success of probability `p`: 1, 2, ..."""
    _need(0 < p < 1, f"geometric_ expects p to be in (0, 1), but got p={p}")
    with np.errstate(divide="ignore"):
        _store(out, np.ceil(np.log(_doubles(generator, out.size)) / math.log1p(-p)))


def _largest(scores: Array, count: int) -> NDArray[np.int64]:
    """The places of the `count` largest of each row, the largest first."""
    if 8 * count < scores.shape[1]:
        some = np.argpartition(scores, -count, axis=1)[:, -count:]
        chosen = np.take_along_axis(scores, some, 1)
        if np.all(chosen > 0):  # no ties, as there are between weights of 0
            order: NDArray[np.int64] = np.take_along_axis(some, np.argsort(-chosen, axis=1), 1)
            return order
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return order


def multinomial(generator: Generator, weights: Array, count: int, replacement: bool = False) -> NDArray[np.int64]:
    """`count` indices drawn by weight from each row of `weights` (categories,) or (rows, categories).

    Without replacement (and for one draw) as the largest of weight / exponential, else by inverting the sums.
    """
    _need(weights.ndim in (1, 2), f"multinomial: weights must have 1 or 2 dimensions, not {weights.ndim}")
    _need(
        weights.dtype.name in _FLOATS,
        f"multinomial: weights must have a floating point dtype, not {weights.dtype.name}",
    )
    categories = weights.shape[-1]
    _need(count > 0, f"multinomial: the number of samples must be positive, not {count}")
    _need(
        replacement or count <= categories,
        f"multinomial: cannot draw {count} of {categories} categories without replacement",
    )
    _need(bool(np.all(np.isfinite(weights) & (weights >= 0))), "multinomial: weights must be finite and not negative")
    rows = np.atleast_2d(weights)
    sums = rows.astype(np.float64).sum(axis=1)
    _need(bool(np.all(sums > 0)), "multinomial: the weights of a row must have a positive sum")
    if replacement and count > 1:
        drawn = _by_sums(generator, rows, count)
    else:
        scale = np.empty(rows.shape, weights.dtype)
        fill_exponential(generator, scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = _largest(rows / scale, count)
    return np.ascontiguousarray(drawn.reshape(*weights.shape[:-1], count), np.int64)


def _by_sums(generator: Generator, rows: Array, count: int) -> NDArray[np.int64]:
    drawn = np.empty((rows.shape[0], count), np.int64)
    uniform = _doubles(generator, drawn.size).reshape(drawn.shape)
    for row, targets, chosen in zip(rows, uniform, drawn, strict=True):
        sums = np.cumsum(row, dtype=row.dtype)
        sums = sums / sums[-1]
        sums[-1] = 1
        chosen[:] = np.searchsorted(sums.astype(np.float64), targets)
    return drawn


def poisson(generator: Generator, rates: Array) -> Array:
    """Counts of Poisson's distribution with these rates, of the same shape and dtype."""
    _need_float("poisson", rates)
    _need(
        bool(np.all((rates >= 0) & np.isfinite(rates))),
        "invalid Poisson rate, expected rate to be non-negative and finite",
    )
    counts = _copy(rates, np.float64)
    generator.engine.poisson(counts)
    return counts.astype(rates.dtype, copy=False)


def binomial(generator: Generator, counts: Array, probabilities: Array) -> Array:
    """The numbers of successes in so many trials of these probabilities; both have one shape and dtype."""
    _need_float("binomial", counts)
    _need(bool(np.all((probabilities >= 0) & (probabilities <= 1))), "binomial: probabilities must be in [0, 1]")
    wide = np.float64 if counts.dtype == np.float64 else np.float32
    found = _copy(counts, wide)
    generator.engine.binomial(found, _copy(probabilities, wide))
    return found.astype(counts.dtype, copy=False)


def gamma(generator: Generator, shapes: Array) -> Array:
    """Gamma numbers of these shapes and rate 1, in float64."""
    _need_float("standard_gamma", shapes)
    _need(bool(np.all(shapes >= 0)), "standard_gamma: the concentrations must not be negative")
    found = _copy(shapes, np.float64)
    generator.next_normal = generator.engine.gamma(found, generator.next_normal)
    return found


def dirichlet(generator: Generator, shapes: Array) -> Array:
    """Gamma numbers divided by their sum along the last dimension, in the dtype of `shapes`, between 0 and 1."""
    values = gamma(generator, shapes)
    shares = (values / values.sum(-1, keepdims=True)).astype(shapes.dtype)
    return clipped(shares, np.nextafter(shapes.dtype.type(1), shapes.dtype.type(0)))


def clipped(values: Array, largest: Any = None) -> Array:
    """`values`, none of them under the smallest normal number of their dtype."""
    return np.clip(values, values.dtype.type(_SMALLEST[values.dtype.name]), largest)


def _copy(values: Array, dtype: Any) -> Array:
    return np.array(values, dtype, order="C")
