"""Padding of the last dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from rushlight.errors import ShapeError, UnsupportedError
from rushlight.ops import padding as ops
from rushlight.tensor import Tensor

MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds to the last dimensions of `input`, or takes from them where a number is negative.

    Args:
        pad: numbers (before, after) for the last dimension, then for the one before it, and so on.
        mode: "constant" (of any dimensions, with `value`), or for the last one to three dimensions of (N, C, *S) or
            (C, *S): "reflect" (mirrored about the edge, which isn't repeated), "replicate" (the edge repeated),
            "circular" (from the other end).
        value: what "constant" adds, 0 by default.

    Raises:
        ShapeError: an odd count of numbers, more than the input has dimensions, a result of negative size, or a
            reflection longer than the input.
        UnsupportedError: an unknown mode.

    Example:
        >>> import rushlight as torch
        >>> torch.nn.functional.pad(torch.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
        tensor([[3., 2., 1., 2., 3., 2.]])
    """
    if len(pad) % 2:
        raise ShapeError(f"pad: padding length must be divisible by 2, but got {tuple(pad)}")
    dims = len(pad) // 2
    if dims > input.ndim:
        raise ShapeError(
            f"pad: padding length should be less than or equal to two times the input dimension, but got padding "
            f"length {len(pad)} and input of dimension {input.ndim}"
        )
    if mode not in MODES:
        raise UnsupportedError(f"pad: unrecognised padding mode {mode!r}; it may be one of {', '.join(MODES)}")
    sides = [(0, 0)] * (input.ndim - dims) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if mode != "constant":
        if value is not None and value != 0:
            raise ShapeError(f"pad: padding mode {mode!r} doesn't take in a value argument")
        if dims > 3 or input.ndim not in (dims + 1, dims + 2):
            raise ShapeError(
                f"pad: only 2D, 3D, 4D, 5D padding with non-constant padding are supported, of the last {dims} "
                f"dimensions of (N, C, *S) or (C, *S): got input of shape {tuple(input.shape)} and pad={tuple(pad)}"
            )
    result: Tensor = ops.pad(input, padding=tuple(sides), mode=mode, value=value or 0)
    return result
