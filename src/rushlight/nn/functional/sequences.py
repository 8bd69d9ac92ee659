"""The loss of sequences of labels without an alignment."""

from __future__ import annotations

from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn.functional.loss import _reduced
from rushlight.ops.ctc import ctc_losses
from rushlight.tensor import creation, data
from rushlight.tensor.tensor import Tensor


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability of label sequences, over all their alignments with the steps.

    Args:
        log_probs: (T, N, C) or (T, C), as log_softmax gives them.
        targets: labels, (N, S), or those of all sequences in one row; without `blank`.
        input_lengths: how many of the T steps count, (N) or ().
        target_lengths: the lengths of the targets, (N) or ().
        blank: the label for none.
        reduction: "mean" divides each loss by its target's length, and averages; "sum" or "none".
        zero_infinity: a target too long for its steps costs nothing instead of infinitely much.

    Raises ShapeError, DimensionError or DtypeError for what doesn't fit.
    """
    batched = log_probs.ndim == 3
    if not batched:
        log_probs = log_probs.unsqueeze(1)
    lengths, counts = (data.as_tensor(x).long().reshape(-1) for x in (input_lengths, target_lengths))
    if targets.ndim == 1:
        targets = _in_rows(targets, counts.tolist())
    losses = ctc_losses(log_probs, targets, lengths, counts, blank=blank)
    if zero_infinity:
        losses = losses.masked_fill(losses.isinf(), 0.0)
    if reduction == "mean":
        losses = losses / counts.clamp(min=1).to(losses.dtype)
    result = _reduced(losses, reduction)
    return result if batched or result.ndim == 0 else result.squeeze(0)


def _in_rows(targets: Tensor, lengths: list[int]) -> Tensor:
    """Labels that stand one sequence behind the other, as rows filled up with zeros."""
    if sum(lengths) != targets.shape[0] or min(lengths, default=0) < 0:
        raise ShapeError(f"ctc_loss: target_lengths {lengths} don't add up to the {targets.shape[0]} targets")
    rows = creation.zeros(len(lengths), max(lengths, default=0), dtype=targets.dtype)
    start = 0
    for row, length in enumerate(lengths):
        rows[row, :length] = targets[start : start + length]
        start += length
    return rows
