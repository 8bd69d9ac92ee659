"""Window functions, which fade a signal in and out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import InputError
from rushlight.tensor import arguments
from rushlight.tensor.data import made

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

Shape = Callable[[np.ndarray[Any, Any]], Any]


def _window(
    name: str, length: Any, periodic: bool, shape: Shape, dtype: Dtype | None = None, device: Any = None, **options: Any
) -> Tensor:
    """`shape` at `length` places from 0 to 1, which a periodic window would reach one place later."""
    count = arguments.integer(name, "window_length", length)
    wanted = arguments.numpy_dtype(dtype)
    if not dtypes.of_numpy(wanted).is_floating_point:
        raise InputError(f"{name} expects floating point dtypes, got: {dtypes.of_numpy(wanted)}")
    if count < 0:
        raise InputError(f"{name} requires non-negative window_length, got window_length={count}")
    places = np.arange(count) / max(count if periodic else count - 1, 1)
    values = np.ones(count) if count == 1 else np.asarray(shape(places))
    return made(values.astype(wanted), options.get("requires_grad", False), device)


def _of_cosines(*factors: float) -> Shape:
    # The highest order first, as in PyTorch: Blackman's window then ends in 0.
    terms = list(enumerate(factors))[::-1]
    return lambda t: sum(factor * np.cos(2 * math.pi * order * t) for order, factor in terms)


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Hann's window (1 - cos(2 pi t)) / 2. `options`: dtype, device, requires_grad.

    periodic: for a Fourier transform, one place short of the end, where the first would come again.
    """
    return _window("hann_window", window_length, periodic, _of_cosines(0.5, -0.5), **options)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> Tensor:
    """Hamming's window alpha - beta cos(2 pi t); `periodic` and `options` as for `hann_window`."""
    return _window("hamming_window", window_length, periodic, _of_cosines(alpha, -beta), **options)


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Blackman's window 0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t); the rest as for `hann_window`."""
    return _window("blackman_window", window_length, periodic, _of_cosines(0.42, -0.5, 0.08), **options)


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Bartlett's window 1 - |2 t - 1|, a triangle; the rest as for `hann_window`."""
    return _window("bartlett_window", window_length, periodic, lambda t: 1 - np.abs(2 * t - 1), **options)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    """Kaiser's window I0(beta sqrt(1 - (2 t - 1)^2)) / I0(beta); the rest as for `hann_window`."""

    def shape(t: np.ndarray[Any, Any]) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0))) / np.i0(beta)

    return _window("kaiser_window", window_length, periodic, shape, **options)
