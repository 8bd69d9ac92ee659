"""Data sets: things with `__getitem__` and `__len__`, or that are iterated over."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from rushlight.tensor import Tensor
from rushlight.tensor.generator import Generator

Item = TypeVar("Item", covariant=True)


class Dataset(Generic[Item]):
    """A map from indices to samples. Subclasses define `__getitem__`, and `__len__` for the default samplers.

    `__getitems__(indices)`, where a subclass has it, fetches a whole batch at once.
    """

    def __getitem__(self, index: Any) -> Item:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Item]):
    """A stream of samples. Subclasses define `__iter__`; `get_worker_info()` there tells workers apart."""

    def __iter__(self) -> Iterator[Item]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples are the rows of the given tensors, which all have the same first size.

    Raises AssertionError where the first sizes differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        sizes = [tuple(t.shape) for t in tensors]
        if any(s[:1] != sizes[0][:1] for s in sizes):
            raise AssertionError(f"Size mismatch between tensors: their first sizes must be equal, shapes are {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]  # type: ignore[no-any-return]


class StackDataset(Dataset[Any]):
    """Samples are tuples, or dicts, of the samples of several data sets of one length."""

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset takes data sets as arguments or as keywords, at least one and not both")
        self.datasets: Any = args or kwargs
        members = args or tuple(kwargs.values())
        lengths = [len(d) for d in members]  # type: ignore[arg-type]
        if len(set(lengths)) != 1:
            raise ValueError(f"Size mismatch between datasets: their lengths are {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[Any]):
    """Several data sets one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("ConcatDataset needs at least one data set")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset; ChainDataset does")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for a data set of {len(self)} samples")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[Any]):
    """Several iterable data sets one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield from dataset

    def __len__(self) -> int:
        lengths: list[int] = [len(d) for d in self.datasets]  # type: ignore[arg-type]
        return sum(lengths)


class Subset(Dataset[Item]):
    """The samples of a data set at the given indices."""

    def __init__(self, dataset: Dataset[Item], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        chosen = [self.indices[i] for i in indices]
        fetch = getattr(self.dataset, "__getitems__", None)
        return fetch(chosen) if fetch is not None else [self.dataset[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[Item], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[Item]]:
    """Splits a data set at random into parts of the given lengths, or fractions that sum to 1.

    The same generator state gives the same parts as PyTorch. Raises ValueError where the lengths don't sum up.
    """
    from rushlight import randperm

    total = len(dataset)  # type: ignore[arg-type]
    counts: list[int]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for position, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {position} is not between 0 and 1: {fraction}")
        counts = [math.floor(total * fraction) for fraction in lengths]
        for position in range(total - sum(counts)):
            counts[position % len(counts)] += 1
        for position, count in enumerate(counts):
            if count == 0:
                warnings.warn(f"Length of split at index {position} is 0: an empty data set.", stacklevel=2)
    else:
        counts = [int(n) for n in lengths]
    if sum(counts) != total:
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset! "
            f"{list(lengths)} sums to {sum(counts)}, the data set has {total} samples"
        )
    indices = randperm(total, generator=generator).tolist()
    ends = list(itertools.accumulate(counts))
    return [Subset(dataset, indices[end - count : end]) for end, count in zip(ends, counts, strict=True)]
