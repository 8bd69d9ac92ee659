"""Data sets read the files that their authors publish, packed or not, and nothing is downloaded unchecked."""

import gzip
import hashlib
import pickle
import struct
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import rushlight
from rushlight import vision
from rushlight.errors import DownloadError, LoadError
from rushlight.hub import download_url_to_file
from rushlight.vision import datasets

Image = pytest.importorskip("PIL.Image")
random = np.random.default_rng(0)


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, pack=False):
    folder.mkdir(parents=True)
    arrays = {}
    for part, count in (("train", 7), ("t10k", 4)):
        arrays[part] = (random.integers(0, 256, (count, 28, 28), np.uint8), random.integers(0, 10, count, np.uint8))
        for name, array in zip(("images-idx3", "labels-idx1"), arrays[part], strict=True):
            path = folder / f"{part}-{name}-ubyte{'.gz' if pack else ''}"
            path.write_bytes(gzip.compress(idx(array)) if pack else idx(array))
    return arrays


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_mnist(tmp_path, name, pack):
    arrays = write_mnist(tmp_path / name / "raw", pack)
    for train, part in ((True, "train"), (False, "t10k")):
        data = getattr(datasets, name)(tmp_path, train=train, download=True)
        np.testing.assert_array_equal(data.data.numpy(), arrays[part][0])
        assert data.data.dtype == rushlight.uint8 and data.targets.dtype == rushlight.int64
        assert data.targets.tolist() == arrays[part][1].tolist() and len(data) == len(arrays[part][1])
        image, label = data[2]
        assert (image.mode, label) == ("L", arrays[part][1][2]) and type(label) is int
        np.testing.assert_array_equal(np.asarray(image), arrays[part][0][2])
    data = getattr(datasets, name)(tmp_path, transform=vision.transforms.ToTensor(), target_transform=lambda y: -y)
    image, label = data[3]
    np.testing.assert_allclose(image.numpy(), arrays["train"][0][3][None] / np.float32(255))
    assert label == -int(arrays["train"][1][3])
    assert data.class_to_idx[data.classes[3]] == 3
    assert repr(data).splitlines()[:3] == [
        f"Dataset {name}", "    Number of datapoints: 7", f"    Root location: {tmp_path}"
    ]  # fmt: skip


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(RuntimeError, match="Dataset not found.*MNIST needs train-images-idx3-ubyte, .*MNIST/raw"):
        datasets.MNIST(tmp_path)
    assert not list(tmp_path.iterdir())
    write_mnist(tmp_path / "MNIST" / "raw")
    labels = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(LoadError, match="don't belong together"):
        datasets.MNIST(tmp_path)
    labels.write_bytes(b"<html>")
    with pytest.raises(LoadError, match="no IDX file"):
        datasets.MNIST(tmp_path)
    with pytest.raises(ValueError, match="split is one of byclass"):
        datasets.EMNIST(tmp_path, "capitals")
    with pytest.raises(DownloadError, match="emnist-letters-train-images-idx3-ubyte.*EMNIST/raw"):
        datasets.EMNIST(tmp_path, "letters", download=True)
    with pytest.raises(AttributeError, match="no CelebA; there are CIFAR10, "):
        datasets.CelebA  # noqa: B018


@pytest.fixture
def server(tmp_path):
    """Serves a folder, and takes down what was asked for."""
    folder = tmp_path / "server"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_address[1]}/", asked
        httpd.shutdown()


def test_downloads(tmp_path, server, monkeypatch, capsys):
    folder, address, asked = server
    write_mnist(folder / "files", pack=True)
    digests = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (folder / "files").iterdir()}
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{address}absent/", f"{address}files/"])
    monkeypatch.setattr(datasets.MNIST, "resources", [(name, digests[name]) for name, _ in datasets.MNIST.resources])
    data = datasets.MNIST(tmp_path / "data", download=True)
    assert len(data) == 7 and "downloading" in capsys.readouterr().err
    count = len(asked)
    datasets.MNIST(tmp_path / "data", download=True)
    assert len(asked) == count

    raw = tmp_path / "data" / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    (folder / "files" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"another file")
    with pytest.raises(DownloadError, match="didn't give the known file.*t10k-labels-idx1-ubyte.gz"):
        datasets.MNIST(tmp_path / "data", download=True)
    assert len(list(raw.iterdir())) == 3  # neither the file nor a part of it


def test_no_network(tmp_path):
    with pytest.raises(DownloadError, match="can't be downloaded.*put it at .*weights.pth"):
        download_url_to_file("http://127.0.0.1:1/weights.pth", tmp_path / "new" / "weights.pth", progress=False)
    assert not list(tmp_path.iterdir())


def write_cifar(folder, kind=datasets.CIFAR10):
    folder.mkdir(parents=True)
    pictures = {}
    for name in (*kind.train_list, *kind.test_list):
        data, labels = random.integers(0, 256, (6, 3072), np.uint8), random.integers(0, 10, 6).tolist()
        batch = {"data": data, kind.meta["labels"]: labels, "filenames": ["a.png"] * 6, "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
        pictures[name] = (data, labels)
    names = [f"kind {number}" for number in range(10)]
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: names}, 2))
    return pictures


@pytest.mark.parametrize("kind", [datasets.CIFAR10, datasets.CIFAR100])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar(tmp_path, kind, packed):
    pictures = write_cifar(tmp_path / "files" / kind.base_folder, kind)
    root = tmp_path / "files"
    if packed:
        root = tmp_path / "packed"
        root.mkdir()
        with tarfile.open(root / kind.filename, "w:gz") as archive:
            archive.add(tmp_path / "files" / kind.base_folder, kind.base_folder)
            archive.add(__file__, "../outside.py")
    for train, names in ((True, kind.train_list), (False, kind.test_list)):
        data = kind(str(root), train=train, download=True)
        wanted = np.concatenate([pictures[name][0] for name in names]).reshape(-1, 3, 32, 32)
        np.testing.assert_array_equal(data.data, wanted.transpose(0, 2, 3, 1))
        assert data.targets == sum((pictures[name][1] for name in names), [])
        image, label = data[1]
        assert image.mode == "RGB" and label == data.targets[1]
        np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), wanted[1])
        assert data.classes[2] == "kind 2" and data.class_to_idx["kind 2"] == 2
    assert not (tmp_path / "outside.py").exists()


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_pickles_are_not_run(tmp_path, capsys):
    write_cifar(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps({"data": Evil(), "labels": []}, 2))
    with pytest.raises(LoadError, match="data_batch_3"):
        datasets.CIFAR10(tmp_path)
    assert "run" not in capsys.readouterr().out
    for batch in ({"labels": [1]}, {"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, [1]):
        path.write_bytes(pickle.dumps(batch, 2))
        with pytest.raises(LoadError, match="data_batch_3"):
            datasets.CIFAR10(tmp_path)


def test_folders(tmp_path):
    pixels = random.integers(0, 256, (5, 4, 3), np.uint8)
    for name in ("dog/b.png", "dog/a.bmp", "cat/inner/c.PNG", "cat/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("no picture")
        else:
            Image.fromarray(pixels).save(tmp_path / name)
    data = datasets.ImageFolder(tmp_path, transform=vision.transforms.ToTensor())
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert [path[len(str(tmp_path)) :] for path, _ in data.samples] == ["/cat/inner/c.PNG", "/dog/a.bmp", "/dog/b.png"]
    assert data.targets == [0, 1, 1] and data.imgs is data.samples and len(data) == 3
    image, label = data[0]
    np.testing.assert_allclose(image.numpy(), pixels.transpose(2, 0, 1) / np.float32(255))
    text = datasets.DatasetFolder(tmp_path, lambda path: Path(path).read_text(), (".txt",), allow_empty=True)
    assert [text[0], len(text)] == [("no picture", 0), 1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no valid file for the classes empty"):
        datasets.ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="any class folder"):
        datasets.ImageFolder(tmp_path / "empty")


def test_fake_data():
    data = datasets.FakeData(5, (1, 6, 7), num_classes=3, transform=vision.transforms.PILToTensor())
    rushlight.manual_seed(0)
    before = rushlight.get_rng_state()
    first, label = data[4]
    assert tuple(first.shape) == (1, 6, 7) and 0 <= label < 3
    assert bool((rushlight.get_rng_state() == before).all()) and bool((data[4][0] == first).all())
    assert bool((data[3][0] != first).any())
    with pytest.raises(IndexError):
        data[5]
