"""How the samples of a batch become one thing: tensors stacked, containers collated item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rushlight.errors import ShapeError
from rushlight.tensor import Tensor


def default_convert(data: Any) -> Any:
    """NumPy arrays within `data` as tensors, the rest as it is."""
    from rushlight import as_tensor

    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "USO" else as_tensor(data)
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(d) for d in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch of samples as one: tensors and arrays stacked along a new first dimension, numbers as a tensor,
    dicts, tuples and lists collated item by item, strings left as they are.

    Raises ShapeError where samples have different shapes, RuntimeError for sequences of different lengths, TypeError
    for other types.
    """
    from rushlight import as_tensor, float64, stack, tensor

    first = batch[0]
    if isinstance(first, Tensor):
        shapes = [tuple(sample.shape) for sample in batch]
        if any(shape != shapes[0] for shape in shapes):
            other = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
            raise ShapeError(
                f"stack expects each tensor to be equal size, but got {list(shapes[0])} at entry 0 and "
                f"{list(shapes[other])} at entry {other}: the samples of a batch must have one shape; resize or pad "
                "them, or give the DataLoader a collate_fn"
            )
        return stack(list(batch), 0)
    if isinstance(first, np.ndarray) or (isinstance(first, np.generic) and first.dtype.kind not in "USO"):
        if first.dtype.kind in "USO":
            raise TypeError(
                f"default_collate: batch must contain tensors, numbers, dicts or lists; found {first.dtype}"
            )
        return default_collate([as_tensor(sample) for sample in batch])
    if isinstance(first, bool):
        return tensor(list(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype=float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(column) for column in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return [default_collate(column) for column in zip(*batch, strict=True)]
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
        + (": the data set's __getitem__ returns nothing" if first is None else "")
    )


def _like(original: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """`values` in a mapping of the original's type, where that can be made from a dict."""
    try:
        return type(original)(values)  # type: ignore[call-arg]
    except TypeError:
        return values
