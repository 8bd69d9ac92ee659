"""MNIST and its kin: files in the IDX format, `root/MNIST/raw/train-images-idx3-ubyte`, unpacked or `.gz`."""

from __future__ import annotations

import gzip
import os
import string
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rushlight.errors import DownloadError, LoadError
from rushlight.hub import download_url_to_file
from rushlight.tensor.data import from_numpy
from rushlight.tensor.tensor import Tensor
from rushlight.vision.datasets.vision import Root, VisionDataset, not_found, present
from rushlight.vision.pillow import picture

Array = np.ndarray[Any, Any]


def find_idx(folders: Iterable[Root], name: str) -> Path | None:
    """The file `name`, or `name.gz`, in the first of the folders that has it."""
    for folder in folders:
        for path in (Path(folder, name), Path(folder, f"{name}.gz")):
            if path.is_file():
                return path
    return None


def read_idx(path: Root) -> Array:
    """An array of unsigned bytes in the IDX format of <http://yann.lecun.com/exdb/mnist/>, packed with gzip or not.

    Raises LoadError for a file that is damaged or another thing.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise LoadError(f"{path} can't be read: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise LoadError(f"{path} is no IDX file of unsigned bytes")
    dimensions = content[3]
    if len(content) < 4 + 4 * dimensions:
        raise LoadError(f"{path} is cut off: its header lacks")
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise LoadError(f"{path} is cut off or too long: {shape} values declared, {body.size} there")
    return body.reshape(shape)


class MNIST(VisionDataset):
    """Handwritten digits: `data` uint8 (60000, 28, 28), `targets` int64 (60000,); 10000 of them to test.

    A sample is a PIL image of mode L and an int.

    Args:
        root: the files are in `root/MNIST/raw`, as they are or packed (.gz).
        train: the training set, or the one to test with.
        transform: a function of the picture.
        target_transform: a function of the label.
        download: fetches the files that aren't there.

    Raises:
        RuntimeError: where files aren't there.
        DownloadError: where they can't be fetched; it says what to put where.
        LoadError: where a file is damaged.
    """

    mirrors: ClassVar[list[str]] = ["https://ossci-datasets.s3.amazonaws.com/mnist/"]
    resources: ClassVar[list[tuple[str, str]]] = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    classes: list[str] = [
        f"{digit} - {name}"
        for digit, name in enumerate("zero one two three four five six seven eight nine".split())
    ]  # fmt: skip

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
        if download:
            self.download()
        if not self._check_exists():
            raise not_found(self, self.raw_folder, self._files(), self.mirrors[0])
        images, labels = (read_idx(find_idx([self.raw_folder], name) or "") for name in self._split())
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise LoadError(
                f"{self.raw_folder}: images of shape {images.shape} and labels of shape {labels.shape} don't belong "
                "together"
            )
        self.data: Tensor = from_numpy(images.copy())
        self.targets: Tensor = from_numpy(labels.astype(np.int64))

    def _split(self) -> tuple[str, str]:
        part = "train" if self.train else "t10k"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def _files(self) -> list[str]:
        return [name.removesuffix(".gz") for name, _ in self.resources]

    def _check_exists(self) -> bool:
        return present(self.raw_folder, self._files())

    @property
    def raw_folder(self) -> str:
        """The folder of the files, `root/MNIST/raw`."""
        return os.path.join(self.root or "", type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: label for label, name in enumerate(self.classes)}

    def download(self) -> None:
        """Fetches the files that aren't there, checks them, and puts them into `raw_folder`."""
        for name, digest in self.resources:
            if present(self.raw_folder, [name.removesuffix(".gz")]):
                continue
            for mirror in self.mirrors:
                try:
                    download_url_to_file(mirror + name, os.path.join(self.raw_folder, name), digest, hash="md5")
                    break
                except DownloadError:
                    if mirror == self.mirrors[-1]:
                        raise

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = picture(self.data.numpy()[index], "L")
        return self._transformed(image, int(self.targets.numpy()[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """Zalando's pictures of clothes, in MNIST's format, in `root/FashionMNIST/raw`."""

    mirrors = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class KMNIST(MNIST):
    """Kuzushiji: cursive Japanese characters, in MNIST's format, in `root/KMNIST/raw`."""

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


_MERGED = set(string.digits + string.ascii_letters) - set("cijklmopsuvwxyz")


class EMNIST(MNIST):
    """Handwritten letters and digits: `root/EMNIST/raw/emnist-letters-train-images-idx3-ubyte` and so on.

    `split` is one of byclass, bymerge, balanced, letters, digits, mnist. The files are put there by hand: they come in
    one archive of 560 MB.
    """

    mirrors = ["https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"]
    classes_split_dict: ClassVar[dict[str, list[str]]] = {
        "byclass": sorted(string.digits + string.ascii_letters),
        "bymerge": sorted(_MERGED),
        "balanced": sorted(_MERGED),
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }

    def __init__(self, root: Root, split: str, **kwargs: Any) -> None:
        if split not in self.classes_split_dict:
            raise ValueError(f"EMNIST: split is one of {', '.join(self.classes_split_dict)}, not {split!r}")
        self.split = split
        self.classes = self.classes_split_dict[split]
        super().__init__(root, **kwargs)

    def _split(self) -> tuple[str, str]:
        part = f"emnist-{self.split}-{'train' if self.train else 'test'}"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def _files(self) -> list[str]:
        return list(self._split())

    def download(self) -> None:
        """Says which files to put where, if they aren't there."""
        if not self._check_exists():
            raise DownloadError(
                f"EMNIST is one archive of 560 MB, which isn't fetched here. Take {', '.join(self._files())} (or .gz) "
                f"out of {self.mirrors[0]}, and put them into {self.raw_folder}"
            )
