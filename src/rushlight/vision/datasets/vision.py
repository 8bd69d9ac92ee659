"""What all data sets of pictures share: a root folder, transforms, and how they print."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from rushlight.utils.data import Dataset

Root = str | os.PathLike[str]


class VisionDataset(Dataset[Any]):
    """Samples (picture, target), each passed through its transform.

    Args:
        root: the folder that holds the files.
        transforms: a function of (picture, target); or else
        transform: a function of the picture, and
        target_transform: a function of the target.
    """

    def __init__(
        self,
        root: Root | None = None,
        transforms: Callable[[Any, Any], Any] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.root = None if root is None else os.path.expanduser(root)
        self.transform = transform
        self.target_transform = target_transform
        if transform is not None or target_transform is not None:
            transforms = StandardTransform(transform, target_transform)
        self.transforms = transforms

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if self.transforms is not None:
            body += [repr(self.transforms)]
        return "\n".join([f"Dataset {type(self).__name__}", *(f"    {line}" for line in body)])

    def extra_repr(self) -> str:
        """Lines of a subclass's own for `repr`."""
        return ""

    def _transformed(self, sample: Any, target: Any) -> tuple[Any, Any]:
        transformed: tuple[Any, Any] = (sample, target) if self.transforms is None else self.transforms(sample, target)
        return transformed


class StandardTransform:
    """Both transforms of a data set as one function of (picture, target)."""

    def __init__(
        self,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        body = [type(self).__name__]
        for head, transform in (("Transform: ", self.transform), ("Target transform: ", self.target_transform)):
            if transform is not None:
                first, *others = repr(transform).splitlines()
                body += [head + first, *(" " * len(head) + line for line in others)]
        return "\n".join(body)


def present(folder: str, names: list[str]) -> bool:
    """Whether all files `names` are in `folder`, as they are or packed with gzip."""
    return all(
        os.path.isfile(os.path.join(folder, n)) or os.path.isfile(os.path.join(folder, f"{n}.gz")) for n in names
    )


def not_found(dataset: object, folder: str, names: list[str], address: str) -> RuntimeError:
    """The error for a data set whose files aren't there."""
    return RuntimeError(
        f"Dataset not found. {type(dataset).__name__} needs {', '.join(names)} in {folder}: download=True fetches them "
        f"from {address}, or put them there"
    )
