"""Connectionist temporal classification (Graves et al., 2006): losses of label sequences without an alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rushlight.errors import DimensionError, DtypeError, ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.movement import reshape

# A path of T steps through the labels with a blank before, between and behind them, 2 S + 1 places in all, stays where
# it is, moves on by one, or by two over a blank between different labels. Logarithms of probabilities are added up
# over all paths: from the front for those that have reached a place, from the back for those that leave it.


def _places(targets: Any, blank: int) -> Any:
    """The labels with blanks between them (N, 2 S + 1), and where a place is reached from two before it."""
    n, s = targets.shape
    places = np.full((n, 2 * s + 1), blank, np.int64)
    places[:, 1::2] = targets
    skips = np.zeros(places.shape, bool)
    skips[:, 2:] = (places[:, 2:] != blank) & (places[:, 2:] != places[:, :-2])
    return places, skips


def _log_sum(*terms: Any) -> Any:
    largest = np.maximum.reduce(terms)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    return np.log(sum(np.exp(term - finite) for term in terms)) + finite


def _arrivals(log_probs: Any, targets: Any, blank: int) -> Any:
    """Log probabilities of all beginnings of paths that are at a place after a step: (T, N, 2 S + 1)."""
    places, skips = _places(targets, blank)
    emitted = np.take_along_axis(log_probs.astype(np.float64), places[None], 2)
    reached = np.full(emitted.shape, -np.inf)
    reached[0, :, :2] = emitted[0, :, :2]
    for t in range(1, len(emitted)):
        stay = reached[t - 1]
        one, two = np.full(stay.shape, -np.inf), np.full(stay.shape, -np.inf)
        one[:, 1:] = stay[:, :-1]
        two[:, 2:] = np.where(skips[:, 2:], stay[:, :-2], -np.inf)
        reached[t] = _log_sum(stay, one, two) + emitted[t]
    return reached


def _departures(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int) -> Any:
    """Log probabilities of all ends of paths from a place on, without the step that is there: (T, N, 2 S + 1)."""
    places, skips = _places(targets, blank)
    emitted = np.take_along_axis(log_probs.astype(np.float64), places[None], 2)
    left = np.full(emitted.shape, -np.inf)
    at = np.arange(places.shape[1])
    final = (at == 2 * target_lengths[:, None]) | (at == 2 * target_lengths[:, None] - 1)
    for t in range(len(emitted) - 1, -1, -1):
        if t + 1 < len(emitted):
            stay = left[t + 1] + emitted[t + 1]
            one, two = np.full(stay.shape, -np.inf), np.full(stay.shape, -np.inf)
            one[:, :-1] = stay[:, 1:]
            two[:, :-2] = np.where(skips[:, 2:], stay[:, 2:], -np.inf)
            left[t] = _log_sum(stay, one, two)
        ends = (input_lengths - 1 == t)[:, None]
        left[t] = np.where(ends, np.where(final, 0.0, -np.inf), left[t])
    return left


def _total(reached: Any, input_lengths: Any, target_lengths: Any) -> Any:
    """Log probabilities of the label sequences (N)."""
    batch = np.arange(len(input_lengths))
    last = reached[np.maximum(input_lengths - 1, 0), batch]
    behind = last[batch, 2 * target_lengths]
    on_label = np.where(target_lengths > 0, last[batch, np.maximum(2 * target_lengths - 1, 0)], -np.inf)
    empty = np.where(target_lengths == 0, 0.0, -np.inf)  # no step at all makes only the empty sequence
    return np.where(input_lengths > 0, _log_sum(behind, on_label), empty)


@operation(kernel="ctc_losses")
def ctc_losses(
    xp: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0
) -> Any:
    """Minus the log probability of each label sequence.

    log_probs (T, N, C), targets (N, S) of labels, of which target_lengths (N) count, input_lengths (N) of the T steps
    -> (N).
    """
    reached = _arrivals(log_probs, targets, blank)
    return (-_total(reached, input_lengths, target_lengths)).astype(log_probs.dtype)


@ctc_losses.shape
def _(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0) -> Spec:
    if len(log_probs.shape) != 3 or len(targets.shape) != 2:
        raise ShapeError(
            f"ctc_loss: needs log_probs (T, N, C) and targets (N, S), got {tuple(log_probs.shape)} and "
            f"{tuple(targets.shape)}"
        )
    steps, batch, classes = log_probs.shape
    if log_probs.dtype not in (np.float32, np.float64):
        raise DtypeError(f"ctc_loss: log_probs must be float32 or float64, got {log_probs.dtype}")
    if any(x.dtype.kind not in "iu" for x in (targets, input_lengths, target_lengths)):
        raise DtypeError("ctc_loss: targets, input_lengths and target_lengths must be integers")
    if not 0 <= blank < classes:
        raise DimensionError(f"ctc_loss: blank must be in label range, 0 to {classes - 1}, got {blank}")
    if steps == 0:
        raise ShapeError("ctc_loss: log_probs tensor must not be empty")
    for name, lengths in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        if tuple(lengths.shape) != (batch,):
            raise ShapeError(f"ctc_loss: {name} must be of size batch_size {batch}, got shape {tuple(lengths.shape)}")
    if targets.shape[0] != batch:
        raise ShapeError(f"ctc_loss: targets has {targets.shape[0]} rows for a batch of {batch}")
    for name, values, low, high in (
        ("input_lengths", input_lengths, 0, steps),
        ("target_lengths", target_lengths, 0, targets.shape[1]),
        ("targets", targets, 0, classes - 1),
    ):
        if isinstance(values, np.ndarray) and values.size and (values.min() < low or values.max() > high):
            raise DimensionError(
                f"ctc_loss: expected {name} to have values of {low} to {high}, got {values.min()} to {values.max()}"
            )
    return Spec((batch,), log_probs.dtype)


@ctc_losses.gradient
def _(g: Any, _y: Any, log_probs: Any, *rest: Any, blank: int = 0) -> Any:
    posteriors = ctc_posteriors(log_probs, *rest, blank=blank)
    return posteriors * reshape(-g, shape=(-1, 1)), None, None, None


@ctc_losses.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    targets = np.array([[1, 1, 3], [2, 3, 0]])
    yield Sample((make(6, 2, 4), targets, np.array([6, 5]), np.array([3, 2])))
    yield Sample((make(5, 2, 4), targets % 3, np.array([5, 5]), np.array([2, 0])), {"blank": 3})


@operation(kernel="ctc_posteriors")
def ctc_posteriors(
    xp: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0
) -> Any:
    """How probable each label is at each step (T, N, C), given the label sequences; see `ctc_losses`."""
    reached = _arrivals(log_probs, targets, blank)
    left = _departures(log_probs, targets, input_lengths, target_lengths, blank)
    total = _total(reached, input_lengths, target_lengths)
    paths = np.where(np.isfinite(total)[:, None], np.exp(reached + left - total[:, None]), 0.0)
    result = np.zeros(log_probs.shape, np.float64)
    places, _ = _places(targets, blank)
    batch = np.arange(len(places))
    for place in range(places.shape[1]):
        result[:, batch, places[:, place]] += paths[:, :, place]
    return result.astype(log_probs.dtype)


@ctc_posteriors.shape
def _(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0) -> Spec:
    ctc_losses.spec(log_probs, targets, input_lengths, target_lengths, blank=blank)
    return Spec(tuple(log_probs.shape), log_probs.dtype)


@ctc_posteriors.samples
def _(make: Callable[..., Any]) -> Iterator[Sample]:
    yield from ctc_losses.all_samples(make)
