"""Sequences of different lengths: padded to one tensor, or packed without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rushlight.errors import InputError
from rushlight.tensor.creation import from_numpy
from rushlight.tensor.joining import cat
from rushlight.tensor.tensor import Tensor
from rushlight.tensor.unread import values_of


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class PackedSequence(_Packed):
    """Sequences, longest first, laid out step by step: `data` has `batch_sizes[t]` rows for step t.

    sorted_indices: which of the given sequences comes first, second ...; unsorted_indices: the way back.
    """

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences with `data` converted, as by `Tensor.to`."""
        return PackedSequence(self.data.to(*args, **kwargs), *self[1:])

    def cpu(self) -> PackedSequence:
        """The same: all tensors live on the CPU."""
        return self

    @property
    def is_cuda(self) -> bool:
        return False


def _lengths(lengths: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values_of(lengths, "pack_padded_sequence") if isinstance(lengths, Tensor) else lengths, np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs a padded batch (T, B, ...), or (B, T, ...) with batch_first, of sequences of these lengths.

    enforce_sorted: the lengths must not increase; otherwise the sequences are sorted first.
    """
    sizes = _lengths(lengths)
    if batch_first:
        input = input.transpose(0, 1)
    if sizes.ndim != 1 or len(sizes) != input.shape[1]:
        raise InputError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {sizes.size} (batch_size={input.shape[1]})"
        )
    if len(sizes) and sizes.min() <= 0:
        raise InputError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    order = unsorted = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise InputError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                "`enforce_sorted=False` to pack_padded_sequence"
            )
    else:
        positions = np.argsort(-sizes, kind="stable")
        sizes = sizes[positions]
        order = from_numpy(positions)
        unsorted = from_numpy(np.argsort(positions, kind="stable"))
        input = input.index_select(1, order)
    if len(sizes) and sizes[0] > input.shape[0]:
        raise InputError(f"Expected lengths of at most {input.shape[0]}, the size of the input, but got {sizes[0]}")
    steps = np.arange(int(sizes[0]) if len(sizes) else 0)
    batch_sizes = (sizes[None, :] > steps[:, None]).sum(1)
    data = cat([input[t, : int(n)] for t, n in enumerate(batch_sizes)])
    return PackedSequence(data, from_numpy(batch_sizes), order, unsorted)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded batch (T, B, ...) that packed sequences came from, and their lengths (B,).

    padding_value: what stands behind the shorter ones. total_length: T, if it should be more than the longest.
    """
    sizes = values_of(sequence.batch_sizes, "pad_packed_sequence")
    steps, batch = len(sizes), int(sizes[0])
    length = steps
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        length = total_length
    places = np.full((length, batch), len(sequence.data), np.int64)
    start = 0
    for step, size in enumerate(sizes):
        places[step, :size] = np.arange(start, start + size)
        start += int(size)
    lengths = (sizes[:, None] > np.arange(batch)).sum(0)
    if sequence.unsorted_indices is not None:
        order = values_of(sequence.unsorted_indices, "pad_packed_sequence")
        places, lengths = places[:, order], lengths[order]
    if batch_first:
        places = np.ascontiguousarray(places.T)
    padding = sequence.data.new_full((1, *sequence.data.shape[1:]), padding_value)
    return cat([sequence.data, padding])[from_numpy(places)], from_numpy(lengths)


def pad_sequence(
    sequences: Sequence[Tensor] | Tensor,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, ...) as one tensor (T, B, ...), or (B, T, ...) with batch_first, padded to the longest."""
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side must be 'left' or 'right', got {padding_side!r}")
    from rushlight.tensor.joining import stack

    items = list(sequences)
    if not items:
        raise InputError("pad_sequence: received an empty list of sequences")
    longest = max(s.shape[0] for s in items)
    rows = []
    for item in items:
        padding = item.new_full((longest - item.shape[0], *item.shape[1:]), padding_value)
        rows.append(cat([item, padding] if padding_side == "right" else [padding, item]))
    return stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences that `pad_sequence` padded, cut to their lengths."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [sequence[: int(n)] for sequence, n in zip(padded_sequences, _lengths(lengths), strict=True)]


def pack_sequence(sequences: Iterable[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs a list of sequences (L_i, ...)."""
    items = list(sequences)
    return pack_padded_sequence(pad_sequence(items), [s.shape[0] for s in items], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list of sequences that `pack_sequence` packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
