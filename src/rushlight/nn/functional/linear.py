"""Linear and bilinear maps, and lookups in tables of vectors."""

from __future__ import annotations

import numpy as np

from rushlight.autograd.modes import no_grad
from rushlight.errors import DtypeError, InputError
from rushlight.ops import indexing
from rushlight.ops import linear as operations
from rushlight.ops.declare import routing
from rushlight.ops.elementwise import where
from rushlight.tensor.tensor import Tensor, shown_as
from rushlight.tensor.unread import has_values, values_of


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x A^T + b, of x (..., in_features), weight A (out_features, in_features) and bias b (out_features)."""
    return operations.linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T A x2 + b, of x1 (..., n), x2 (..., m), weight A (out_features, n, m) and bias b (out_features)."""
    return operations.bilinear(input1, input2, weight, bias)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` (num_embeddings, embedding_dim) at the integers `input` (...): (..., embedding_dim).

    padding_idx: the row that gets no gradient. max_norm: rows that are looked up are first scaled, in place, to this
    `norm_type`-norm where theirs is larger. scale_grad_by_freq: gradients are divided by how often a row is looked up.
    sparse: accepted; gradients are dense.
    """
    if input.is_floating_point():
        raise DtypeError(f"embedding: indices must be integers (int64 or int32), got {input.dtype.name}; call .long()")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise InputError(f"Padding_idx must be within num_embeddings: {padding_idx} of {rows}")
        padding_idx %= rows
    if max_norm is not None:
        with no_grad():
            used = input.detach().reshape(-1).unique()
            chosen = weight.detach()[used]
            norms = chosen.norm(norm_type, 1, True)
            weight.detach()[used] = chosen * (max_norm / (norms + 1e-7)).clamp(max=1.0)
    result: Tensor = indexing.embedding(weight, input)
    if result.requires_grad and (padding_idx is not None or scale_grad_by_freq):
        result = _with_scaled_gradient(result, _row_scales(input, rows, padding_idx, scale_grad_by_freq, weight))
    return result


def _row_scales(input: Tensor, rows: int, padding_idx: int | None, by_frequency: bool, weight: Tensor) -> Tensor:
    """What the gradient of each looked-up row is multiplied by, (..., 1)."""
    with no_grad():
        scales = (input != padding_idx).to(weight.dtype) if padding_idx is not None else None
        if by_frequency:
            counts = input.reshape(-1).bincount(minlength=rows)[input].to(weight.dtype)
            scales = 1 / counts if scales is None else scales / counts
        assert scales is not None
        return scales.unsqueeze(-1)


def _with_scaled_gradient(x: Tensor, scales: Tensor) -> Tensor:
    """x, whose gradient is multiplied by `scales`."""
    return x * scales + (x * (1 - scales)).detach()


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of `weight`: (B, embedding_dim).

    input: (B, N), B bags of N integers; or (N,), with `offsets` (B,), where each bag starts.
    per_sample_weights: what each row is multiplied by, in the input's shape; with mode "sum" alone.
    include_last_offset: `offsets` ends with N. padding_idx: the index that doesn't count.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None; they are only supported for mode='sum'"
        )
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not None, then it must have "
            f"the same shape as the input ({tuple(input.shape)})"
        )
    bags, bag_of = _bags_of(input, offsets, include_last_offset)
    flat = input.reshape((-1,))
    rows = embedding(flat, weight, None, max_norm, norm_type, scale_grad_by_freq)
    width = weight.shape[1]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape((-1, 1))
    counted = rows.new_ones(flat.shape)
    if padding_idx is not None:
        counted = (flat != padding_idx % weight.shape[0]).to(rows.dtype)
        # All that doesn't count comes into a bag of its own.
        bag_of = where(counted == 0, bags, bag_of)
    result = rows.new_zeros((bags + 1, width))
    if mode == "max":
        places = bag_of.unsqueeze(1).expand(rows.shape)
        result = result.scatter_reduce(0, places, rows, "amax", include_self=False)[:bags]
    else:
        result = result.index_add(0, bag_of, rows)[:bags]
    if mode == "mean":
        counts = rows.new_zeros((bags + 1,)).index_add(0, bag_of, counted)[:bags]
        result = result / counts.clamp(min=1).unsqueeze(1)
    return shown_as("EmbeddingBagBackward0", result)


def _bags_of(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[int, Tensor]:
    """How many bags there are, and which one each entry of the flattened input is in."""
    from rushlight.tensor.creation import arange
    from rushlight.tensor.ordering import searchsorted

    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of bags")
        bags, size = input.shape
        return bags, arange(bags).unsqueeze(1).expand(bags, size).reshape((-1,))
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None or offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor but got None, or another shape")
    starts = offsets[:-1] if include_last_offset else offsets
    bags, total = starts.numel(), input.numel()
    if bags and has_values(starts):
        known = starts.array
        if known[0] != 0 or (np.diff(known) < 0).any() or known[-1] > total:
            raise InputError("embedding_bag: offsets must begin with 0, not decrease, and not pass the input's length")
    return bags, searchsorted(starts, arange(total, dtype=starts.dtype), right=True) - 1


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Class indices (...) as int64 vectors (..., num_classes) with a 1 at the index; -1 takes the largest index + 1."""
    if tensor.is_floating_point():
        raise DtypeError("one_hot is only applicable to index tensor of type LongTensor.")
    from rushlight.dtypes import int64
    from rushlight.tensor.creation import zeros

    if has_values(tensor) or num_classes == -1:
        array = values_of(tensor, "one_hot without num_classes")
        if array.size == 0 and num_classes <= 0:
            raise InputError("Can not infer total number of classes from empty tensor.")
        indices = array.astype(np.int64, copy=False)
        highest = int(indices.view(np.uint64).max(initial=0))  # negative ones are above all others
        if highest >= 2**63:
            raise InputError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = highest + 1
        elif highest >= num_classes > 0 and array.size:
            raise InputError(f"Class values must be smaller than num_classes: {highest} of {num_classes}")
    if num_classes < 1:
        raise InputError("num_classes should be positive")
    result = zeros((*tensor.shape, num_classes), dtype=int64)
    if routing.tracing is not None:
        return result.scatter_(-1, tensor.to(int64).unsqueeze(-1), 1)
    rows = np.arange(0, result.array.size, num_classes)
    result.array.reshape(-1)[rows + indices.reshape(-1)] = 1
    return result
