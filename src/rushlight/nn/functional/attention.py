"""Attention: scaled dot products, and several heads of them with projections (Vaswani et al., 2017)."""

from __future__ import annotations

import math
from typing import Any

from rushlight.errors import AssertedError, DtypeError, InputError, ShapeError
from rushlight.nn.functional.dropout import dropout
from rushlight.ops import elementwise
from rushlight.ops.attention import attention
from rushlight.ops.linear import linear, matmul
from rushlight.ops.softmax import softmax
from rushlight.tensor.tensor import Tensor


def _check_attention(query: Tensor, key: Tensor, value: Tensor) -> None:
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(f"scaled_dot_product_attention: all inputs need at least 2 dimensions, got {shapes}")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"scaled_dot_product_attention: query (..., L, E) needs a key (..., S, E) and a value (..., S, D), "
            f"got {shapes}"
        )
    if not query.dtype == key.dtype == value.dtype:
        raise DtypeError(
            "Expected query, key, and value to have the same dtype, but got "
            f"{query.dtype}, {key.dtype} and {value.dtype}"
        )


def _fits_kernel(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Whether the operation `attention` takes them: there is no broadcasting but of the mask, and no half precision."""
    if query.ndim > 4 or not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        return False
    if query.array.dtype.itemsize < 4:
        return False
    return mask is None or (mask.ndim <= query.ndim and mask.array.dtype in (bool, query.array.dtype))


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """Of tensors (..., tokens, features), which the operation takes as (N, tokens, heads, features)."""
    missing = 4 - query.ndim
    if mask is not None:
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)

    def turned(tensor: Tensor) -> Tensor:
        if missing:
            tensor = tensor.reshape((1,) * missing + tensor.shape)
        return tensor.transpose(1, 2)

    result: Tensor = attention(turned(query), turned(key), turned(value), mask, causal=causal, scale=scale)[0]
    result = result.transpose(1, 2)
    return result.reshape(result.shape[missing:]) if missing else result


def _causal(rows: int, columns: int) -> Tensor:
    """True where a row may see a column: not those behind it."""
    from rushlight.tensor.creation import arange

    return arange(rows).unsqueeze(1) >= arange(columns)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q K^T scale + mask) V, of query (..., L, E), key (..., S, E) and value (..., S, D): (..., L, D).

    attn_mask: broadcast to (..., L, S): booleans, True where attention may go, or numbers to add to the scores.
    is_causal: a position sees itself and what is before it. scale: 1 / sqrt(E) by default.
    enable_gqa: query may have a multiple of the heads (dimension -3) of key and value.
    Where a query may look nowhere, the result is 0.
    """
    _check_attention(query, key, value)
    if is_causal and attn_mask is not None:
        raise InputError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if dropout_p == 0.0 and _fits_kernel(query, key, value, attn_mask):
        return _attention(query, key, value, attn_mask, is_causal, factor)
    scores = matmul(query * factor, key.transpose(-2, -1))
    blind = None
    if is_causal:
        scores = elementwise.where(_causal(query.shape[-2], key.shape[-2]), scores, -math.inf)
    elif attn_mask is not None:
        if attn_mask.is_floating_point():
            scores = scores + attn_mask
            blind = (attn_mask == -math.inf).all(-1, keepdim=True)
        elif attn_mask.array.dtype == bool:
            scores = elementwise.where(attn_mask, scores, -math.inf)
            blind = elementwise.logical_not(attn_mask).all(-1, keepdim=True)
        else:
            raise DtypeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{attn_mask.dtype}"
            )
        scores = elementwise.where(blind, 0.0, scores)
    weights = softmax(scores, dim=-1)
    if blind is not None:
        weights = elementwise.where(blind, 0.0, weights)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return matmul(weights, value)


def _added_mask(mask: Tensor | None, name: str, dtype: Any) -> Tensor | None:
    """A mask of booleans, True where attention may not go, as numbers to add to the scores."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.array.dtype != bool:
        raise DtypeError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    return elementwise.where(mask, -math.inf, 0.0).to(dtype)


def _projected(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """`linear` of (L, N, E), in the order in which that lies in memory: batches first, behind `batch_first=True`."""
    if x.stride(0) < x.stride(1):
        return linear(x.transpose(0, 1), weight, bias).transpose(0, 1)
    return linear(x, weight, bias)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads, of query (L, N, E), key (S, N, E_k) and value (S, N, E_v), or without N.

    The projections, masks and options are those of `nn.MultiheadAttention`. Returns the result (L, N, E) and, with
    `need_weights`, the weights (N, L, S), or (N, num_heads, L, S) if they aren't averaged.
    """
    from rushlight.tensor.joining import cat

    batched = query.ndim == 3
    _check_heads(query, key, value, key_padding_mask, attn_mask, num_heads)
    if is_causal and attn_mask is None:
        raise InputError("Need attn_mask if specifying the is_causal hint.")
    if not batched:
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, embed_dim = query.shape
    if embed_dim != embed_dim_to_check:
        raise AssertedError(
            f"MultiheadAttention: expected embed_dim {embed_dim_to_check}, but got {embed_dim} in the query"
        )
    if embed_dim % num_heads:
        raise AssertedError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    size = embed_dim // num_heads
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = _projections((query, key, value), weights, in_proj_bias)
    attn_mask = _added_mask(attn_mask, "attn_mask", q.dtype)
    key_padding_mask = _added_mask(key_padding_mask, "key_padding_mask", q.dtype)
    if attn_mask is not None and attn_mask.ndim == 3:
        attn_mask = attn_mask.reshape((batch, num_heads, length, -1))

    def widened(count: int) -> None:
        """Lets everyone see further keys that are not in the masks."""
        nonlocal attn_mask, key_padding_mask
        if attn_mask is not None:
            attn_mask = cat([attn_mask, attn_mask.new_zeros((*attn_mask.shape[:-1], count))], -1)
        if key_padding_mask is not None:
            key_padding_mask = cat([key_padding_mask, key_padding_mask.new_zeros((batch, count))], -1)

    if bias_k is not None and bias_v is not None:
        k = cat([k, bias_k.expand(1, batch, embed_dim)])
        v = cat([v, bias_v.expand(1, batch, embed_dim)])
        widened(1)
    q = q.reshape((length, batch, num_heads, size)).permute(1, 2, 0, 3)
    k = k.reshape((-1, batch, num_heads, size)).permute(1, 2, 0, 3) if static_k is None else _static(static_k, q)
    v = v.reshape((-1, batch, num_heads, size)).permute(1, 2, 0, 3) if static_v is None else _static(static_v, q)
    if add_zero_attn:
        k = cat([k, k.new_zeros((batch, num_heads, 1, size))], 2)
        v = cat([v, v.new_zeros((batch, num_heads, 1, size))], 2)
        widened(1)
    mask = attn_mask
    if key_padding_mask is not None:
        padding = key_padding_mask.reshape((batch, 1, 1, -1))
        mask = padding if mask is None else mask + padding
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        result, heads = _attention_and_weights(q, k, v, mask, dropout_p)
    else:
        result, heads = scaled_dot_product_attention(q, k, v, mask, dropout_p), None
    if query.stride(0) < query.stride(1):
        result = result.transpose(1, 2).reshape((batch, length, embed_dim)).transpose(0, 1)
    else:
        result = result.permute(2, 0, 1, 3).reshape((length, batch, embed_dim))
    result = _projected(result, out_proj_weight, out_proj_bias)
    if heads is not None and average_attn_weights:
        heads = heads.mean(1)
    if not batched:
        result = result.squeeze(1)
        heads = None if heads is None else heads.squeeze(0)
    return result, heads


def _projections(tensors: tuple[Tensor, ...], weights: Any, bias: Tensor | None) -> Any:
    """Query, key and value by their weights, three or one on top of the other: one product where it is one tensor."""
    query, key, value = tensors
    if isinstance(weights, Tensor):
        if query is key and key is value:
            return _projected(query, weights, bias).chunk(3, -1)
        weights = weights.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [_projected(t, w, b) for t, w, b in zip(tensors, weights, biases, strict=True)]


def _attention_and_weights(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """As scaled_dot_product_attention, which makes no matrix of the weights; these as well."""
    scores = matmul(q * (1 / math.sqrt(q.shape[-1])), k.transpose(-2, -1))
    weights = softmax(scores if mask is None else scores + mask, dim=-1)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return matmul(weights, v), weights


def _static(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.reshape((like.shape[0], like.shape[1], -1, like.shape[3]))


def _check_heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> None:
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertedError(
            f"MultiheadAttention: query, key and value must all have 3 dimensions, or all 2, got {shapes}"
        )
    if key.shape[:-1] != value.shape[:-1] or (query.ndim == 3 and query.shape[1] != key.shape[1]):
        raise AssertedError(
            f"MultiheadAttention: key and value must have the same length, and all the same batch size, got {shapes} "
            "(length first; batch first with batch_first=True)"
        )
    batch = query.shape[1] if query.ndim == 3 else 1
    length, sources = query.shape[0], key.shape[0]
    if key_padding_mask is not None:
        expected: tuple[int, ...] = (batch, sources) if query.ndim == 3 else (sources,)
        if tuple(key_padding_mask.shape) != expected:
            raise AssertedError(
                f"MultiheadAttention: key_padding_mask must have shape {expected}, got {tuple(key_padding_mask.shape)}"
            )
    if attn_mask is not None and tuple(attn_mask.shape) not in (
        (length, sources),
        (batch * num_heads, length, sources),
    ):
        raise ShapeError(
            f"MultiheadAttention: attn_mask must have shape {(length, sources)} or "
            f"{(batch * num_heads, length, sources)}, got {tuple(attn_mask.shape)}"
        )
