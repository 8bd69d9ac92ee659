"""The data that `rushlight train` trains on: the embedded digits, MNIST's files, and the user's .csv and .npz."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.cli.errors import UsageError

Array = np.ndarray[Any, Any]


@dataclass
class DataSet:
    """Samples (N, *shape) in float32 and labels (N,) in int64, for training and for testing."""

    name: str
    train_samples: Array
    train_labels: Array
    test_samples: Array
    test_labels: Array
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.train_samples.shape[1:])


def load(name: str, root: Path | None) -> DataSet:
    """The data set `name`: digits, mnist (files in `root`), or the path of a .csv or .npz file."""
    if name == "digits":
        return digits()
    if name == "mnist":
        return mnist(Path("data/mnist") if root is None else root)
    path = Path(name) if root is None else root / name
    if path.suffix in (".csv", ".npz"):
        if not path.is_file():
            raise UsageError(f"--data {path}: there is no such file")
        return from_csv(path) if path.suffix == ".csv" else from_npz(path)
    raise UsageError(f"--data {name} is not known: it may be digits, mnist, or a file .csv or .npz")


def digits() -> DataSet:
    """The 1,797 UCI handwritten digits, 8x8; 1,437 of them to train on, 360 to test (a fixed random split)."""
    with resources.files("rushlight.cli").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return _split("digits", (images / np.float32(16))[:, None], labels)


def _split(name: str, samples: Array, labels: Array) -> DataSet:
    """A fifth of the samples, drawn with a fixed seed, becomes the test set."""
    order = np.random.default_rng(0).permutation(len(samples))
    test, train = order[: -(-len(order) // 5)], order[-(-len(order) // 5) :]
    return _data_set(name, samples[train], labels[train], samples[test], labels[test])


def _data_set(name: str, train_samples: Array, train_labels: Array, test_samples: Array, test_labels: Array) -> DataSet:
    labels = np.concatenate([train_labels, test_labels])
    if labels.dtype.kind == "f" and np.all(labels == np.rint(labels)):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise UsageError(
            f"--data {name}: labels must be whole numbers, one a sample; got {labels.dtype} {labels.shape}"
        )
    if len(labels) == 0 or len(train_samples) == 0 or len(test_samples) == 0:
        raise UsageError(f"--data {name}: there are no samples to train or to test on")
    if len(train_samples) != len(train_labels) or len(test_samples) != len(test_labels):
        raise UsageError(
            f"--data {name}: {len(train_samples)} and {len(test_samples)} samples, but {len(train_labels)} and "
            f"{len(test_labels)} labels"
        )
    if labels.min() < 0:
        raise UsageError(f"--data {name}: labels are counted from 0; found {labels.min()}")
    if not np.isfinite(train_samples).all() or not np.isfinite(test_samples).all():
        raise UsageError(f"--data {name}: there are values that are not finite (empty cells?)")
    labels = labels.astype(np.int64)
    return DataSet(
        name,
        np.ascontiguousarray(train_samples, np.float32),
        labels[: len(train_labels)],
        np.ascontiguousarray(test_samples, np.float32),
        labels[len(train_labels) :],
        int(labels.max()) + 1,
    )


def mnist(root: Path) -> DataSet:
    """MNIST from its four IDX files in `root` or `root/MNIST/raw`, packed (.gz) or not; if they lack, downloaded."""
    from rushlight.vision.datasets.mnist import MNIST, find_idx, read_idx

    folders = (root, root / "MNIST" / "raw")
    names = [name.removesuffix(".gz") for name, _ in MNIST.resources]
    try:
        if not all(find_idx(folders, name) for name in names):
            MNIST(root, download=True)
        images, labels, test_images, test_labels = (read_idx(find_idx(folders, name) or name) for name in names)
    except RuntimeError as error:
        raise UsageError(f"--data mnist: {error}") from None
    scale = np.float32(1 / 255)
    return _data_set("mnist", images[:, None] * scale, labels, test_images[:, None] * scale, test_labels)


def from_csv(path: Path) -> DataSet:
    """Rows of numbers under a header line; the column `label`, or else the last, holds the class."""
    with path.open() as file:
        header = [name.strip().strip('"') for name in file.readline().split(",")]
        if all(_is_number(name) for name in header):
            raise UsageError(f"--data {path}: the first line must name the columns; it holds numbers")
        try:
            table = np.loadtxt(file, delimiter=",", ndmin=2, dtype=np.float64)
        except ValueError as error:
            raise UsageError(f"--data {path}: every cell must be a number: {error}") from None
    if table.size == 0 or table.shape[1] != len(header) or len(header) < 2:
        raise UsageError(f"--data {path}: a header of {len(header)} columns over a table of shape {table.shape}")
    column = header.index("label") if "label" in header else len(header) - 1
    samples = np.delete(table, column, axis=1)
    spread = samples.std(axis=0)
    samples = (samples - samples.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return _split(str(path), samples, table[:, column])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def from_npz(path: Path) -> DataSet:
    """Arrays x_train, y_train, x_test, y_test, or x and y, of which a fifth becomes the test set. Bytes are scaled
    to 0..1, and images (N, H, W) get a channel dimension."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise UsageError(f"--data {path} can't be read: {error}") from None

    def prepared(samples: Array) -> Array:
        if samples.dtype.kind not in "iufb":
            raise UsageError(f"--data {path}: samples must be numbers, they are {samples.dtype}")
        scaled = samples / np.float32(255) if samples.dtype == np.uint8 else samples
        return scaled[:, None] if scaled.ndim == 3 else scaled

    if {"x_train", "y_train", "x_test", "y_test"} <= found.keys():
        return _data_set(
            str(path), prepared(found["x_train"]), found["y_train"], prepared(found["x_test"]), found["y_test"]
        )
    if {"x", "y"} <= found.keys():
        return _split(str(path), prepared(found["x"]), found["y"])
    raise UsageError(f"--data {path} needs arrays x_train, y_train, x_test, y_test or x, y; it has {sorted(found)}")
