"""CIFAR-10 and CIFAR-100, from the pickles that their authors publish; these are read as data and never run."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rushlight.errors import LoadError
from rushlight.hub import download_url_to_file
from rushlight.io.names import DataNames
from rushlight.io.pickle_reader import PickleReader
from rushlight.io.serialization import replace_file
from rushlight.vision.datasets.vision import Root, VisionDataset, not_found, present
from rushlight.vision.pillow import picture


class CIFAR10(VisionDataset):
    """Pictures of ten kinds of things: `data` uint8 (50000, 32, 32, 3), `targets` a list of int; 10000 to test.

    A sample is a PIL image of mode RGB and an int.

    Args:
        root: the files are in `root/cifar-10-batches-py`, or in the archive `root/cifar-10-python.tar.gz`.
        train: the training set, or the one to test with.
        transform: a function of the picture.
        target_transform: a function of the label.
        download: fetches the archive where neither it nor the files are there.

    Raises:
        RuntimeError: where files aren't there.
        DownloadError: where the archive can't be fetched; it says what to put where.
        LoadError: where a file is damaged, or holds more than data.
    """

    base_folder: ClassVar[str] = "cifar-10-batches-py"
    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename: ClassVar[str] = "cifar-10-python.tar.gz"
    tgz_md5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"
    train_list: ClassVar[list[str]] = [f"data_batch_{number}" for number in range(1, 6)]
    test_list: ClassVar[list[str]] = ["test_batch"]
    meta: ClassVar[dict[str, str]] = {"filename": "batches.meta", "key": "label_names", "labels": "labels"}

    def __init__(
        self,
        root: Root,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self._folder = os.path.join(self.root or "", self.base_folder)
        self._archive = os.path.join(self.root or "", self.filename)
        if download:
            self.download()
        self._extract()
        if not present(self._folder, self._files()):
            raise not_found(self, self._folder, self._files(), self.url)
        batches = [_read(os.path.join(self._folder, name)) for name in (self.train_list if train else self.test_list)]
        self.targets: list[int] = []
        pictures = []
        for name, batch in zip(self.train_list if train else self.test_list, batches, strict=True):
            data, labels = batch.get("data"), batch.get(self.meta["labels"])
            if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * 32 * 32,):
                raise LoadError(f"{os.path.join(self._folder, name)} has no pictures: bytes of shape (N, 3072)")
            if not isinstance(labels, list) or len(labels) != len(data):
                raise LoadError(f"{os.path.join(self._folder, name)} has no label for each of its {len(data)} pictures")
            pictures.append(data)
            self.targets += [int(label) for label in labels]
        self.data: Any = np.concatenate(pictures).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        names = _read(os.path.join(self._folder, self.meta["filename"])).get(self.meta["key"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise LoadError(f"{os.path.join(self._folder, self.meta['filename'])} has no names of the classes")
        self.classes: list[str] = names
        self.class_to_idx = {name: label for label, name in enumerate(names)}

    def _files(self) -> list[str]:
        return [*self.train_list, *self.test_list, self.meta["filename"]]

    def download(self) -> None:
        """Fetches the archive, checks it, and takes the files out of it."""
        if not present(self._folder, self._files()) and not os.path.isfile(self._archive):
            download_url_to_file(self.url, self._archive, self.tgz_md5, hash="md5")
        self._extract()

    def _extract(self) -> None:
        """Takes the known files out of the archive; whatever else is in it stays there."""
        if present(self._folder, self._files()) or not os.path.isfile(self._archive):
            return
        os.makedirs(self._folder, exist_ok=True)
        try:
            with tarfile.open(self._archive) as archive:
                for name in self._files():
                    member = archive.extractfile(f"{self.base_folder}/{name}")
                    if member is None:
                        raise LoadError(f"{self._archive} has no file {self.base_folder}/{name}")
                    content = member.read()
                    replace_file(os.path.join(self._folder, name), partial(_write, content))
        except (tarfile.TarError, KeyError, EOFError, OSError) as error:
            raise LoadError(f"{self._archive} can't be unpacked: {error}") from None

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._transformed(picture(self.data[index], "RGB"), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """Pictures of a hundred kinds of things, in `root/cifar-100-python`, or in `root/cifar-100-python.tar.gz`."""

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = ["train"]
    test_list = ["test"]
    meta = {"filename": "meta", "key": "fine_label_names", "labels": "fine_labels"}


def _write(content: bytes, path: str) -> None:
    Path(path).write_bytes(content)


def _read(path: str) -> dict[Any, Any]:
    """The dict in a pickle of data."""

    def refuse(_: Any) -> Any:
        raise LoadError("the pickle refers to something outside of it")

    try:
        value = PickleReader(Path(path).read_bytes(), DataNames(), refuse).read()
    except LoadError as error:
        raise LoadError(f"can't read {path}: {error}") from None
    if not isinstance(value, dict):
        raise LoadError(f"can't read {path}: it holds no dict")
    return value
