"""Losses. `reduction` is "mean" (over all elements), "sum" or "none"."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

from rushlight.errors import DtypeError, InputError, ShapeError
from rushlight.nn.functional.activation import log_softmax, logsigmoid
from rushlight.nn.functional.distance import pairwise_distance
from rushlight.ops import elementwise
from rushlight.ops import loss as operations
from rushlight.tensor.tensor import Tensor, shown_as
from rushlight.tensor.unread import has_values


def resolve_reduction(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction to do; `size_average` and `reduce` are PyTorch's older way to say it."""
    if isinstance(size_average, Tensor) or isinstance(reduce, Tensor):
        raise InputError(
            "a loss is made of settings, and is then called with tensors: loss_fn = nn.MSELoss(), and then "
            "loss_fn(output, target)"
        )
    if size_average is not None or reduce is not None:
        if reduce is False:
            reduction = "none"
        else:
            reduction = "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            stacklevel=4,
        )
    return reduction


def _reduced(losses: Tensor, reduction: str, name: str = "") -> Tensor:
    """The mean, the sum or the losses as they are; `name` is what PyTorch's step for both together prints as."""
    if reduction in ("mean", "sum"):
        result: Tensor = losses.mean() if reduction == "mean" else losses.sum()
        return shown_as(f"{name}Backward0", result) if name else result
    if reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction: it is 'none', 'mean' or 'sum'")
    return losses


def _warn_of_broadcast(name: str, input: Tensor, target: Tensor) -> None:
    if input.array.shape != target.array.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            f"likely lead to incorrect results due to broadcasting. Please ensure they have the same size. ({name})",
            stacklevel=4,
        )


def _check_same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.array.shape != target.array.shape:
        raise ShapeError(f"{name}: Target size ({target.shape}) must be the same as input size ({input.shape})")


# Regression


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error, (x - y)^2; `weight`, of the input's shape, weighs each element, and the mean is over weights."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    _warn_of_broadcast("mse_loss", input, target)
    return _weighted(operations.squared_error(input, target), weight, reduction, "mse_loss", "MseLoss")


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute error, |x - y|."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    _warn_of_broadcast("l1_loss", input, target)
    return _weighted(operations.absolute_error(input, target), weight, reduction, "l1_loss")


def _weighted(losses: Tensor, weight: Tensor | None, reduction: str, name: str, shown: str = "") -> Tensor:
    if weight is None:
        return _reduced(losses, reduction, shown)
    if weight.shape != losses.shape:
        raise ValueError(f"{name}: Weights and input must have the same size, got {weight.shape} and {losses.shape}")
    losses = losses * weight
    return losses.sum() / weight.sum() if reduction == "mean" else _reduced(losses, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Squared error / (2 beta) where |x - y| < beta, |x - y| - beta / 2 elsewhere (Girshick, 2015)."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise InputError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    _warn_of_broadcast("smooth_l1_loss", input, target)
    if beta == 0:
        return _reduced(operations.absolute_error(input, target), reduction)
    return _reduced(operations.smooth_l1_error(input, target, beta), reduction, "SmoothL1Loss")


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error / 2 where |x - y| < delta, delta (|x - y| - delta / 2) elsewhere (Huber, 1964)."""
    reduction = resolve_reduction(reduction)
    if delta <= 0:
        raise InputError(f"huber_loss does not support non-positive values for delta, got {delta}")
    _warn_of_broadcast("huber_loss", input, target)
    return _weighted(operations.huber_error(input, target, delta), weight, reduction, "huber_loss", "HuberLoss")


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - y x (or x - y log(x + eps) without `log_input`), of counts y; `full` adds Stirling's term."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + elementwise.where(target > 1, stirling, 0.0)
    return _reduced(losses, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log var + (x - y)^2 / var) / 2, with var of at least eps; `full` adds log(2 pi) / 2 (Nix and Weigend, 1994)."""
    from rushlight.tensor.creation import full_like

    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = full_like(input, var)
    elif has_values(var) and bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.ndim != var.ndim or sum(m for n, m in zip(input.shape, var.shape, strict=True) if n != m) != 1:
            raise ValueError(f"var is of incorrect size: {tuple(var.shape)} for an input of shape {tuple(input.shape)}")
    reduction = resolve_reduction(reduction)
    # The clamped variance takes part in the graph as if it hadn't been clamped, as in PyTorch.
    clamped = var + (var.detach().clamp(min=eps) - var.detach())
    losses = 0.5 * (clamped.log() + (input - target) ** 2 / clamped)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return _reduced(losses, reduction)


# Classification


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood, -weight[target] input[n, target], of log-probabilities (N, C, ...) or (C,).

    The mean is over the weights of the targets; those that are `ignore_index` don't count.
    """
    reduction = resolve_reduction(reduction, size_average, reduce)
    options = {"ignore_index": ignore_index, "reduction": reduction}
    return operations.nll_loss(input, target, weight, **options)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy of logits (N, C, ...) or (C,) and class indices (N, ...), or probabilities of the input's shape.

    weight: of each class. ignore_index: a target that doesn't count. label_smoothing: how much of the targets'
    probability is spread over all classes (Szegedy et al., 2016).
    """
    reduction = resolve_reduction(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise InputError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    dim = 0 if input.ndim == 1 else 1
    if input.ndim == 0:
        raise ShapeError("cross_entropy: input should be (C,), (N, C) or (N, C, ...), it has no dimensions")
    if target.is_floating_point():
        if target.array.shape != input.array.shape:
            raise ShapeError(
                f"cross_entropy: for an input of shape {tuple(input.shape)} a floating target holds probabilities, in "
                f"the same shape, got {tuple(target.shape)}; class indices are integers: call .long() on them"
            )
        logs = log_softmax(input, dim)
        return _with_probabilities(logs, target, weight, ignore_index, reduction, label_smoothing, dim)
    loss, _ = operations.cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )
    return shown_as("AddBackward0", loss) if label_smoothing > 0 else loss


def _with_probabilities(
    logs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    dim: int,
) -> Tensor:
    if ignore_index >= 0:
        raise InputError("ignore_index is not supported for floating point target")
    classes = logs.shape[dim]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    products = logs * target
    if weight is not None:
        products = products * weight.reshape((-1,) + (1,) * (logs.ndim - 1 - dim))
    if reduction == "none":
        return -products.sum(dim)
    total = -products.sum()
    return total / (logs.numel() / classes) if reduction == "mean" else total


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log x + (1 - y) log(1 - x)) of probabilities x; logarithms are taken as at least -100."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    if input.array.shape != target.array.shape:
        raise ShapeError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    if target.array.dtype != input.array.dtype:
        raise DtypeError(
            f"binary_cross_entropy: the target must be of the input's dtype, {input.dtype.name}, not "
            f"{target.dtype.name}: call target.float()"
        )
    if has_values(input) and input.array.size and not (input.array.min() >= 0 and input.array.max() <= 1):
        raise InputError(
            "binary_cross_entropy: all elements of input should be between 0 and 1; "
            "for raw outputs use binary_cross_entropy_with_logits"
        )
    losses = operations.binary_cross_entropy(input, target)
    return _reduced(losses if weight is None else losses * weight, reduction, "BinaryCrossEntropy")


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of the sigmoid of `input`, computed from the logits, which is exact for large ones."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    _check_same_shape("binary_cross_entropy_with_logits", input, target)
    losses = operations.binary_cross_entropy_with_logits(input, target, 1.0 if pos_weight is None else pos_weight)
    return _reduced(losses if weight is None else losses * weight, reduction, "BinaryCrossEntropyWithLogits")


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence of log-probabilities `input` from `target`, pointwise: y (log y - x).

    reduction: "batchmean" divides the sum by the batch size, which is the mathematical definition; "mean" doesn't.
    log_target: the target holds log-probabilities, too.
    """
    batchmean = reduction == "batchmean"
    reduction = "sum" if batchmean else resolve_reduction(reduction, size_average, reduce)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    losses = target.exp() * (target - input) if log_target else operations.relative_entropy(input, target)
    result = _reduced(losses, reduction)
    return result / input.shape[0] if batchmean and input.ndim else result


# Margins and embeddings


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    apart = elementwise.where(target != 1, (margin - input).clamp(min=0), 0.0)
    together = elementwise.where(target != -1, input, 0.0)
    return _reduced(apart + together, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-y x)), of targets y of 1 or -1."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    return _reduced((-target * input).exp().log1p(), reduction, "SoftMarginLoss")


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y (x1 - x2) + margin): y = 1 says that x1 should rank higher, y = -1 that x2 should."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.shape}, input2: {input2.shape}, target: {target.shape}"
        )
    return _reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1; along the last dimension."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != input1.ndim:
        raise ShapeError(
            f"cosine_embedding_loss: targets of shape (N,) go with inputs of shape (N, D), () with (D,); got "
            f"{tuple(target.shape)} with {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    epsilon = 1e-12
    product = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + epsilon) * ((input2 * input2).sum(-1) + epsilon)
    cosine = product / squares.sqrt()
    together = elementwise.where(target == 1, 1 - cosine, 0.0)
    apart = elementwise.where(target == -1, (cosine - margin).clamp(min=0), 0.0)
    return _reduced(together + apart, reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over j != y of max(0, margin - x[y] + x[j])^p / C, of scores (N, C) or (C,) and class indices y."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    scores = input if input.ndim == 2 else input.reshape((1, -1))
    classes = target.reshape((-1, 1))
    if input.ndim not in (1, 2) or classes.shape[0] != scores.shape[0]:
        raise ShapeError(
            f"multi_margin_loss: inconsistent target size: {tuple(target.shape)} for an input of shape "
            f"{tuple(input.shape)}"
        )
    violations = (margin - scores.gather(1, classes) + scores).clamp(min=0)
    if p == 2:
        violations = violations * violations
    if weight is not None:
        violations = violations * weight[classes]
    own = _class_range(scores.shape[1]) == classes
    losses = elementwise.where(own, 0.0, violations).sum(1) / scores.shape[1]
    return _reduced(losses.reshape(target.shape) if input.ndim == 1 else losses, reduction, "MultiMarginLoss")


def _class_range(count: int) -> Tensor:
    from rushlight.tensor.creation import arange

    return arange(count)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum of max(0, 1 - (x[y] - x[j])) / C over the classes y of each row and all others j.

    A row of the target lists its classes, up to the first -1.
    """
    reduction = resolve_reduction(reduction, size_average, reduce)
    _check_same_shape("multilabel_margin_loss", input, target)
    scores = input if input.ndim == 2 else input.reshape((1, -1))
    classes = target.reshape(scores.shape)
    listed = (classes < 0).to(input.dtype).cumsum(1) == 0
    index = elementwise.where(listed, classes, 0)
    own = (index.unsqueeze(2) == _class_range(scores.shape[1])) & listed.unsqueeze(2)
    foreign = ~own.any(1)
    differences = (1 - scores.gather(1, index).unsqueeze(2) + scores.unsqueeze(1)).clamp(min=0)
    counted = listed.unsqueeze(2) & foreign.unsqueeze(1)
    losses = elementwise.where(counted, differences, 0.0).sum((1, 2)) / scores.shape[1]
    return _reduced(losses.reshape(()) if input.ndim < 2 else losses, reduction, "MultilabelMarginLoss")


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross entropy of the sigmoid of each class's score, averaged over the classes (the last dimension)."""
    reduction = resolve_reduction(reduction, size_average, reduce)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return _reduced(losses.mean(-1), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with distances of the p-norm.

    swap: take the distance from positive to negative where it is smaller than from the anchor (Balntas et al., 2016).
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    reduction = resolve_reduction(reduction, size_average, reduce)
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda a, b: pairwise_distance(a, b, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """As `triplet_margin_loss`, with any distance; by default the Euclidean one."""
    reduction = resolve_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            f"triplet_margin_loss: The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D "
            "inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near = distance(anchor, positive)
    far = distance(anchor, negative)
    if swap:
        far = elementwise.minimum(far, distance(positive, negative))
    return _reduced((near - far + margin).clamp(min=0), reduction)
