"""Dropout: masks from a counter-based generator, the same in eager and compiled runs.

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). Its
key is drawn from the CPU generator (`tensor/random.py: draw_key`). An element's bits depend on the key and its index
alone, so no mask needs to be kept: the gradient makes it again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.movement import cast

_LANES = 16  # 64 elements have 16 counters of four words: element 16 w + l has word w of counter l


def _words(xp: Any, key: Any, count: int) -> Any:
    """`count` words of 32 random bits. 64-bit products are put together from 16-bit halves, as JAX has none."""
    blocks = -(-count // (4 * _LANES))
    a = xp.arange(blocks * _LANES, dtype=xp.uint32)
    b = c = d = xp.zeros_like(a)
    low, high = key.astype(xp.uint32)[:1], key.astype(xp.uint32)[1:]
    for _ in range(10):
        upper_left, lower_left = _product(a, 0xD2511F53)
        upper_right, lower_right = _product(c, 0xCD9E8D57)
        a, b, c, d = upper_right ^ b ^ low, lower_right, upper_left ^ d ^ high, lower_left
        low, high = low + xp.uint32(0x9E3779B9), high + xp.uint32(0xBB67AE85)
    return xp.stack([word.reshape(blocks, _LANES) for word in (a, b, c, d)], 1).reshape(-1)[:count]


def _product(a: Any, factor: int) -> tuple[Any, Any]:
    """The upper and the lower 32 bits of a times factor."""
    a_low, a_high, low, high = a & 0xFFFF, a >> 16, factor & 0xFFFF, factor >> 16
    first, second = a_low * high, a_high * low
    middle = (a_low * low >> 16) + (first & 0xFFFF) + (second & 0xFFFF)
    return a_high * high + (first >> 16) + (second >> 16) + (middle >> 16), a * factor


def _kept(xp: Any, key: Any, shape: tuple[int, ...], p: float) -> Any:
    if p >= 1:
        return xp.zeros(shape, bool)
    return (_words(xp, key, math.prod(shape)) >= int(p * 2.0**32)).reshape(shape)


def _check(name: str, p: float, key: Any) -> None:
    if not 0 <= p <= 1:
        raise ShapeError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")
    if tuple(key.shape) != (2,) or dtypes.of_numpy(key.dtype) is not dtypes.int32:
        raise ShapeError(f"{name}: a key is two int32 numbers, not {tuple(key.shape)} of {key.dtype}")


@operation(kernel="dropout")
def dropout(xp: Any, x: Any, key: Any, *, p: float) -> Any:
    """x with each element set to zero with probability p, and the others divided by 1 - p; `key` (2,) decides which."""
    kept = _kept(xp, key, x.shape, p)
    if p >= 1:
        return x * xp.zeros((), x.dtype)
    if dtypes.of_numpy(x.dtype) in (dtypes.float16, dtypes.bfloat16):
        return (x.astype(xp.float32) * xp.where(kept, xp.float32(1 / (1 - p)), xp.float32(0))).astype(x.dtype)
    return x * xp.where(kept, 1 / (1 - p), 0.0).astype(x.dtype)


@dropout.shape
def _(x: Any, key: Any, *, p: float) -> Spec:
    _check("dropout", p, key)
    if not dtypes.of_numpy(x.dtype).is_floating_point:
        raise DtypeError(f"dropout: the tensor must be of a floating point dtype, not {dtypes.of_numpy(x.dtype).name}")
    return Spec(tuple(x.shape), x.dtype)


@dropout.gradient
def _(g: Any, _y: Any, _x: Any, key: Any, *, p: float) -> Any:
    return dropout(g, key, p=p), None


@dropout.samples
def _(make: Any) -> Any:
    key = np.array([12345, -678], np.int32)
    for shape in ((2, 3), (5, 13), (129,), (0, 3), ()):
        yield Sample((make(*shape), key), {"p": 0.3})
    for p in (0.0, 0.5, 1.0):
        yield Sample((make(7, 11), key), {"p": p})


@operation(kernel="dropout_mask", differentiable=False)
def dropout_mask(xp: Any, key: Any, *, shape: tuple[int, ...], p: float) -> Any:
    """A mask of `shape`, float32: 0 with probability p, else 1; `key` (2,) decides which."""
    return _kept(xp, key, tuple(shape), p).astype(xp.float32)


@dropout_mask.shape
def _(key: Any, *, shape: tuple[int, ...], p: float) -> Spec:
    _check("dropout_mask", p, key)
    if any(n < 0 for n in shape):
        raise ShapeError(f"dropout_mask: sizes can't be negative, got {tuple(shape)}")
    return Spec(tuple(shape), dtypes.float32.numpy)


@dropout_mask.samples
def _(make: Any) -> Any:
    for shape in ((2, 3), (129,), (0, 3), ()):
        yield Sample((np.array([-1, 2], np.int32),), {"shape": shape, "p": 0.3})


def _feature_mask(x: Any, key: Any, p: float) -> Any:
    """Zeros and ones for the whole channels of x (N, C, ...)."""
    if len(x.shape) < 2:
        raise ShapeError(
            f"feature_alpha_dropout: the input needs a batch and a channel dimension, but has shape {tuple(x.shape)}"
        )
    shape = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    return cast(dropout_mask(key, shape=shape, p=p), dtype=x.dtype)


def alpha_dropout(x: Any, key: Any, *, p: float, whole_features: bool = False) -> Any:
    """Dropout to SELU's lower bound, scaled and shifted so that mean 0 and variance 1 stay so.

    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """
    if whole_features:
        mask = _feature_mask(x, key, p)
    else:
        mask = cast(dropout_mask(key, shape=tuple(x.shape), p=p), dtype=x.dtype)
    if p >= 1:
        return x * 0.0
    bound = 1.7580993408473766
    scale = 1 / math.sqrt((bound * bound * p + 1) * (1 - p))
    return x * (mask * scale) + ((mask - 1.0) * (bound * scale) + bound * scale * p)
