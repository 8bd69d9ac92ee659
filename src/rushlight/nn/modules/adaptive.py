"""Softmax over very many classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rushlight.errors import InputError, ShapeError
from rushlight.nn.functional.activation import log_softmax
from rushlight.nn.modules.container import ModuleList, Sequential
from rushlight.nn.modules.linear import Linear
from rushlight.nn.modules.module import Module
from rushlight.tensor import creation
from rushlight.tensor.tensor import Tensor
from rushlight.tensor.unread import has_values


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


_ASMoutput = _ASMoutput


class AdaptiveLogSoftmaxWithLoss(Module):
    r"""Log-softmax of classes by frequency (Grave et al., "Efficient softmax approximation for GPUs", 2017).

    The frequent classes, below cutoffs[0], stand in the head; each following interval is a cluster, whose probability
    the head gives, with classes of its own behind a projection to in_features / div_value^i.

    Args:
        in_features: size of the input.
        n_classes: number of classes, the most frequent first.
        cutoffs: where the clusters begin, rising, below n_classes.
        div_value: by which the projections shrink from cluster to cluster.
        head_bias: whether the head has a bias.

    Shape:
        - Input: (N, in_features) or (in_features), target: (N) or ().
        - Output: the target's log-probabilities, (N) or (), and their negative mean, the loss.

    Example:
        >>> m = nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs=[5, 10])
        >>> m(torch.randn(4, 16), torch.tensor([0, 6, 19, 3])).output.shape
        torch.Size([4])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if cutoffs != sorted(set(cutoffs)) or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1 or not all(
            int(c) == c for c in cutoffs
        ):  # fmt: skip
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // (div_value ** (i + 1)))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(Linear(in_features, hidden, bias=False, **made), Linear(hidden, classes, bias=False, **made))
            )

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        self.head.reset_parameters()
        for projection, output in self.tail:
            projection.reset_parameters()
            output.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> _ASMoutput:
        single = target.dim() == 0
        self._check(input, target)
        rows, classes = (input.unsqueeze(0), target.unsqueeze(0)) if single else (input, target)
        head = log_softmax(self.head(rows), dim=1)
        gathered = classes.clamp(max=self.shortlist_size - 1)
        output = creation.zeros_like(head[:, 0])
        places, found = [], []
        for i, low in enumerate([0, *self.cutoffs[:-1]]):
            chosen = ((classes >= low) & (classes < self.cutoffs[i])).nonzero().squeeze(1)
            if not chosen.numel():
                continue
            if i == 0:
                found.append(head[chosen].gather(1, gathered[chosen].unsqueeze(1)).squeeze(1))
            else:
                inner = log_softmax(self.tail[i - 1](rows[chosen]), dim=1)
                within = inner.gather(1, (classes[chosen] - low).unsqueeze(1)).squeeze(1)
                found.append(head[chosen, self.shortlist_size + i - 1] + within)
            places.append(chosen)
        for chosen, values in zip(places, found, strict=True):
            output = output.index_copy(0, chosen, values)
        loss = (-output).mean()
        return _ASMoutput(output.squeeze(0) if single else output, loss)

    def _check(self, input: Tensor, target: Tensor) -> None:
        if target.dim() == 1:
            if input.shape[:1] != target.shape:
                raise ShapeError("Input and target should have the same size in the batch dimension.")
            if input.dim() != 2:
                raise ShapeError("1D target tensor expects 2D input tensors, but found inputs with size", input.size())
        elif target.dim() == 0:
            if input.dim() != 1:
                raise ShapeError("0D target tensor expects 1D input tensors, but found inputs with size", input.size())
        else:
            raise ShapeError("0D or 1D target tensor expected, multi-target not supported")
        if has_values(target) and target.numel() and not (
            0 <= int(target.min()) and int(target.max()) < self.n_classes
        ):  # fmt: skip
            raise InputError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{int(target.min())}, {int(target.max())}] were found. "
            )

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes, (N, n_classes)."""
        head = self.head(input)
        result = creation.empty((head.size(0), self.n_classes), dtype=head.dtype)
        head = log_softmax(head, dim=1)
        result[:, : self.shortlist_size] = head[:, : self.shortlist_size]
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            inner = log_softmax(self.tail[i](input), dim=1)
            result[:, low:high] = inner + head[:, self.shortlist_size + i].unsqueeze(1)
        return result

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row, (N)."""
        return self.log_prob(input).argmax(1)
