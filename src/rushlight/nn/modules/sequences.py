"""The loss of sequences of labels without an alignment, as a layer."""

from __future__ import annotations

from typing import Any

from rushlight.nn.functional.sequences import ctc_loss
from rushlight.nn.modules.loss import _Loss
from rushlight.tensor.tensor import Tensor


class CTCLoss(_Loss):
    """Connectionist temporal classification: minus the log probability of label sequences, over all alignments.

    Args:
        blank: the label for none.
        reduction: "mean" divides each loss by its target's length, and averages; "sum" or "none".
        zero_infinity: a target too long for its steps costs nothing instead of infinitely much.

    Shape:
        log_probs (T, N, C) or (T, C); targets (N, S), or one row of all labels; input_lengths and target_lengths (N)
        or (); output (), or (N) without reduction.

    Paper: Graves et al., Connectionist temporal classification: labelling unsegmented sequence data with recurrent
    neural networks, 2006.

    Example:
        >>> log_probs = torch.zeros(4, 1, 3).log_softmax(2)
        >>> nn.CTCLoss()(log_probs, torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2]))
        tensor(0.8432)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
