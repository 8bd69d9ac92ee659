"""The data that `rushlight train` trains on: the embedded digits, MNIST's files, and the user's .csv and .npz."""

from __future__ import annotations

import gzip
import hashlib
import struct
import urllib.request
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.cli.errors import UsageError

Array = np.ndarray[Any, Any]

MNIST_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# SHA-256 of the unpacked files: packed ones differ by the compressor.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


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
    """MNIST from its four IDX files in `root`, packed (.gz) or not; those that lack are downloaded."""
    arrays = [read_idx(_mnist_file(root, name, digest)) for name, digest in MNIST_FILES.items()]
    images, labels, test_images, test_labels = arrays
    scale = np.float32(1 / 255)
    return _data_set("mnist", images[:, None] * scale, labels, test_images[:, None] * scale, test_labels)


def _mnist_file(root: Path, name: str, digest: str) -> Path:
    for path in (root / name, root / f"{name}.gz", root / "MNIST" / "raw" / name):
        if path.is_file():
            return path
    path = root / f"{name}.gz"
    address = MNIST_ADDRESS + path.name
    print(f"downloading {address}")
    try:
        with urllib.request.urlopen(address, timeout=60) as response:
            content: bytes = response.read()
    except OSError as error:
        raise UsageError(
            f"--data mnist: {path} is not there, and {address} can't be downloaded ({error}). Put the four IDX files "
            "of MNIST into a folder and name it with --root"
        ) from None
    if hashlib.sha256(gzip.decompress(content)).hexdigest() != digest:
        raise UsageError(f"--data mnist: {address} didn't give the known file (its checksum differs)")
    root.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path


def read_idx(path: Path) -> Array:
    """An array of unsigned bytes in the IDX format of <http://yann.lecun.com/exdb/mnist/>, packed with gzip or not."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise UsageError(f"{path} is no IDX file of unsigned bytes")
    dimensions = content[3]
    if len(content) < 4 + 4 * dimensions:
        raise UsageError(f"{path} is cut off: its header lacks")
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise UsageError(f"{path} is cut off or too long: {shape} values declared, {body.size} there")
    return body.reshape(shape)


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
