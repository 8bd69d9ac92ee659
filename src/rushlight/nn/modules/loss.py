"""Loss functions as layers, called with an input and a target."""

from __future__ import annotations

from collections.abc import Callable

from rushlight.errors import ShapeError
from rushlight.nn import functional as F
from rushlight.nn.functional.loss import resolve_reduction
from rushlight.nn.modules import __getattr__ as __getattr__  # what PyTorch has in this file, too
from rushlight.nn.modules.distance import PairwiseDistance
from rushlight.nn.modules.module import Module
from rushlight.tensor.tensor import Tensor


class _Loss(Module):
    """A loss with a `reduction`: "mean" over all elements, "sum" or "none"."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = resolve_reduction(reduction, size_average, reduce)


class _WeightedLoss(_Loss):
    """A loss with a `weight`, which is part of its state."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class L1Loss(_Loss):
    """Absolute error: the mean of |x - y|.

    Args:
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.L1Loss()(torch.zeros(2), torch.tensor([1.0, -3.0]))
        tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """Squared error: the mean of (x - y)^2.

    Args:
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.MSELoss()(torch.zeros(2), torch.tensor([1.0, -3.0]))
        tensor(5.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """(x - y)^2 / (2 beta) where |x - y| < beta, |x - y| - beta / 2 elsewhere.

    Args:
        beta: where the square ends; not negative.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Paper: Girshick, Fast R-CNN, 2015.

    Example:
        >>> nn.SmoothL1Loss()(torch.zeros(2), torch.tensor([1.0, -3.0]))
        tensor(1.5000)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if beta < 0:
            raise ShapeError(f"SmoothL1Loss: beta can't be negative, got {beta}")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """(x - y)^2 / 2 where |x - y| < delta, delta (|x - y| - delta / 2) elsewhere.

    Args:
        delta: where the square ends; positive.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Paper: Huber, Robust estimation of a location parameter, 1964.

    Example:
        >>> nn.HuberLoss()(torch.zeros(2), torch.tensor([1.0, -3.0]))
        tensor(1.5000)
    """

    def __init__(
        self,
        reduction: str = "mean",
        delta: float = 1.0,
    ) -> None:
        super().__init__(reduction=reduction)
        if delta <= 0:
            raise ShapeError(f"HuberLoss: delta must be positive, got {delta}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class NLLLoss(_WeightedLoss):
    """Negative log likelihood: the mean of -weight[y] x[n, y], of log-probabilities x and class indices y.

    Args:
        weight: of each class, (C,).
        ignore_index: a target that doesn't count.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input (N, C, *) or (C,), target (N, *) or (); output (), or as the target without reduction.

    Example:
        >>> nn.NLLLoss()(torch.randn(3, 5).log_softmax(1), torch.tensor([1, 0, 4])).size()
        torch.Size([])
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_WeightedLoss):
    """Cross entropy of logits: the mean of -weight[y] log softmax(x)[y].

    Args:
        weight: of each class, (C,).
        ignore_index: a target that doesn't count.
        label_smoothing: how much of the target's probability is spread over all classes, from 0 to 1.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input (N, C, *) or (C,); target (N, *) or () of class indices, or probabilities in the input's shape.
        Output (), or (N, *) without reduction.

    Paper: Szegedy et al., Rethinking the Inception architecture, 2016 (label smoothing).

    Example:
        >>> nn.CrossEntropyLoss()(torch.randn(3, 5), torch.tensor([1, 0, 4])).size()
        torch.Size([])
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ShapeError(f"CrossEntropyLoss: label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities: the mean of -(y log x + (1 - y) log(1 - x)).

    Args:
        weight: of each element of the batch.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.BCELoss()(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities x from y: the mean of y (log y - x).

    Args:
        log_target: the target holds log-probabilities, too.
        reduction "batchmean": the sum divided by the batch size, which is the mathematical definition.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Paper: Kullback and Leibler, On information and sufficiency, 1951.

    Example:
        >>> nn.KLDivLoss(reduction="batchmean")(torch.zeros(2, 3), torch.ones(2, 3))
        tensor(0.)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """Negative log likelihood of counts y under Poisson's distribution: the mean of exp(x) - y x.

    Args:
        log_input: the input is the logarithm of the rate; otherwise x - y log(x + eps).
        full: add Stirling's approximation of log(y!).
        eps: keeps log(0) away.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.PoissonNLLLoss()(torch.zeros(2), torch.ones(2))
        tensor(1.)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    """Negative log likelihood under a normal distribution: the mean of (log var + (x - y)^2 / var) / 2.

    Args:
        full: add log(2 pi) / 2.
        eps: the smallest variance.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input, target and var (*); var may lack the last dimension, or have size 1 there.

    Paper: Nix and Weigend, Estimating the mean and variance of the target probability distribution, 1994.

    Example:
        >>> nn.GaussianNLLLoss()(torch.zeros(2), torch.ones(2), torch.ones(2))
        tensor(0.5000)
    """

    def __init__(
        self,
        *,
        full: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of the sigmoid of the input, exact for large logits, too.

    Args:
        weight: of each element of the batch.
        pos_weight: of the positive targets, (C,).
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.BCEWithLogitsLoss()(torch.zeros(2), torch.ones(2))
        tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class HingeEmbeddingLoss(_Loss):
    """The mean of x where y = 1, of max(0, margin - x) where y = -1.

    Args:
        margin: how far dissimilar pairs should be apart.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.HingeEmbeddingLoss()(torch.ones(2), torch.tensor([1, -1]))
        tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """Hinge loss of several classes for each row: the sum of max(0, 1 - (x[y] - x[j])) / C.

    Args:
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target (N, C) or (C,); a row of the target lists its classes, up to the first -1.

    Example:
        >>> nn.MultiLabelMarginLoss()(torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]]))
        tensor(0.8500)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """The mean of log(1 + exp(-y x)), of targets y of 1 or -1.

    Args:
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target of the same shape (*); output (), or (*) without reduction.

    Example:
        >>> nn.SoftMarginLoss()(torch.zeros(2), torch.ones(2))
        tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross entropy of each class's score, averaged over the classes.

    Args:
        weight: of each class, (C,).
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input and target (N, C); output (), or (N,) without reduction.

    Example:
        >>> nn.MultiLabelSoftMarginLoss()(torch.zeros(2, 3), torch.ones(2, 3))
        tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """The mean of 1 - cos(x1, x2) where y = 1, of max(0, cos(x1, x2) - margin) where y = -1.

    Args:
        margin: from -1 to 1.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Inputs (N, D) or (D,), target (N,) or ().

    Example:
        >>> nn.CosineEmbeddingLoss()(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([1, -1]))
        tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    """The mean of max(0, -y (x1 - x2) + margin): y = 1 says that x1 should rank higher, -1 that x2 should.

    Args:
        margin: by how much.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        All three of the same shape.

    Example:
        >>> nn.MarginRankingLoss()(torch.zeros(2), torch.ones(2), torch.tensor([1, -1]))
        tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """Hinge loss of classes: the sum over j != y of max(0, margin - x[y] + x[j])^p / C.

    Args:
        p: 1 or 2.
        margin: by how much the right class should lead.
        weight: of each class, (C,).
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        Input (N, C) or (C,), target (N,) or ().

    Example:
        >>> nn.MultiMarginLoss()(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(0.7500)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ShapeError("MultiMarginLoss: weight must be one-dimensional")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """The mean of max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Args:
        margin: by how much farther the negative should be; positive.
        p: of the norm that is the distance.
        eps: keeps gradients finite at distance 0.
        swap: use the distance from positive to negative where it is smaller.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        All three (N, D) or (D,).

    Paper: Balntas et al., Learning shallow convolutional feature descriptors with triplet losses, 2016.

    Example:
        >>> nn.TripletMarginLoss()(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3)).size()
        torch.Size([])
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """As `TripletMarginLoss`, with any distance.

    Args:
        distance_function: of two tensors; by default `PairwiseDistance`.
        margin, swap: as in `TripletMarginLoss`.
        reduction: "mean" over all elements, "sum" or "none".

    Shape:
        All three (N, *).

    Example:
        >>> nn.TripletMarginWithDistanceLoss()(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3)).size()
        torch.Size([])
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
