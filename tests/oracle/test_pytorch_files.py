"""PyTorch reads our files, and we read PyTorch's, old and new."""

import collections
import io

import numpy as np
import pytest

import rushlight
from rushlight.errors import LoadError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def build(library):
    """The same object in both libraries."""
    library.manual_seed(0)
    base = library.randn(4, 6)
    value = {
        "base": base,
        "row": base[2],
        "transposed": base.t(),
        "columns": [base[:, 1], base[1:3, ::2]],
        "scalar": library.tensor(2.5),
        "empty": library.zeros(0, 3),
        "expanded": library.ones(1).expand(3, 4),
        "leaf": library.ones(2, requires_grad=True),
        "parameter": library.nn.Parameter(library.ones(2)),
        "frozen": library.nn.Parameter(library.ones(2), requires_grad=False),
        "plain": [
            None,
            True,
            0,
            -1,
            2**40,
            -(2**70),
            1.5,
            "text",
            b"bytes",
            bytearray(b"x"),
            (1, (2, 3, 4, 5)),
            {1, 2},
        ],
        "ordered": collections.OrderedDict([("z", 1), ("a", library.ones(1))]),
        "counter": collections.Counter("abca"),
        "complex": 1 + 2j,
        "size": library.Size([1, 2]),
        "dtype": library.float16,
        "device": library.device("cpu"),
        "many": list(range(2000)),
        ("key", 1): {"nested": {"deeper": [library.arange(3)]}},
        **{name: library.arange(5).to(getattr(library, name)) for name in DTYPES},
    }
    value["again"] = value["parameter"]
    return value


def plain(value):
    """Tensors as their class, dtype, strides, flag and numbers, so that objects of both libraries compare."""
    if isinstance(value, rushlight.Tensor | torch.Tensor):
        values = value.detach().double().tolist()
        stride = value.stride() if value.numel() else None
        return type(value).__name__, repr(value.dtype), tuple(value.shape), stride, value.requires_grad, values
    if isinstance(value, dict):
        return type(value).__name__, [(plain(k), plain(v)) for k, v in value.items()]
    if isinstance(value, list | tuple) and not isinstance(value, rushlight.Size | torch.Size):
        return type(value).__name__, [plain(item) for item in value]
    if isinstance(value, rushlight.dtype | torch.dtype | rushlight.device | torch.device):
        return repr(value)
    return type(value).__name__, value


def check(found, expected):
    ours, theirs = plain(found), plain(expected)
    compare(ours, theirs)


def compare(a, b):
    if isinstance(a, float) and isinstance(b, float):
        assert a == pytest.approx(b, abs=1e-6)
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            compare(x, y)
    else:
        assert a == b


def test_pytorch_reads_our_files(tmp_path):
    rushlight.save(build(rushlight), tmp_path / "ours.pt")
    for options in ({}, {"mmap": True}):
        found = torch.load(tmp_path / "ours.pt", weights_only=True, **options)
        check(found, build(torch))
    found = torch.load(tmp_path / "ours.pt", weights_only=True)
    assert found["again"] is found["parameter"]
    found["base"].fill_(7)
    assert found["row"].tolist() == [7.0] * 6
    assert found["columns"][1].tolist() == [[7.0] * 3] * 2
    assert found["transposed"][0].tolist() == [7.0] * 4


@pytest.mark.parametrize("zipped", [True, False])
def test_we_read_pytorchs_files(tmp_path, zipped):
    torch.save(build(torch), tmp_path / "theirs.pt", _use_new_zipfile_serialization=zipped)
    found = rushlight.load(tmp_path / "theirs.pt")
    check(found, build(rushlight))
    assert found["again"] is found["parameter"]
    found["base"].fill_(7)
    assert found["row"].tolist() == [7.0] * 6
    assert found["columns"][1].tolist() == [[7.0] * 3] * 2
    assert found["transposed"][0].tolist() == [7.0] * 4


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_pickle_protocol(protocol, zipped):
    file = io.BytesIO()
    value = {"a": torch.arange(3.0), "b": [b"x", {1}, "text" * 100, 2**70]}
    torch.save(value, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    found = rushlight.load(file)
    assert found["a"].tolist() == [0.0, 1.0, 2.0]
    assert found["b"] == value["b"]


def test_numpy_values_in_checkpoints():
    value = {"loss": np.float64(1.5), "array": np.arange(6).reshape(2, 3), "big": np.arange(3, dtype=">i4")}
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    found = rushlight.load(file)
    assert found["loss"] == 1.5 and found["array"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["big"].tolist() == [0, 1, 2]
    file = io.BytesIO()
    rushlight.save(value, file)
    file.seek(0)
    found = torch.load(file, weights_only=False)
    assert found["loss"] == 1.5 and found["array"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["big"].tolist() == [0, 1, 2]


def test_a_training_checkpoint_of_pytorch():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    scheduler.step()
    value = {
        "epoch": 3,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "random": torch.get_rng_state(),
    }
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    found = rushlight.load(file)
    check(found, value)
    assert found["model"]._metadata == model.state_dict()._metadata
    rushlight.set_rng_state(found["random"])
    assert rushlight.rand(3).tolist() == torch.rand(3).tolist()
    file = io.BytesIO()
    rushlight.save(found, file)
    file.seek(0)
    back = torch.load(file)
    model.load_state_dict(back["model"])
    optimizer.load_state_dict(back["optimizer"])
    scheduler.load_state_dict(back["scheduler"])


def test_whole_modules_are_refused(tmp_path):
    for zipped in (True, False):
        torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(LoadError, match=r"model\.pt.*(Linear|state_dict)"):
            rushlight.load(tmp_path / "model.pt", weights_only=False)


def test_tensors_that_have_no_counterpart_here(tmp_path):
    for tensor in (
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, dtype=torch.uint16),
        torch.eye(2).to_sparse(),
    ):
        torch.save(tensor, tmp_path / "x.pt")
        with pytest.raises(LoadError, match="no reading"):
            rushlight.load(tmp_path / "x.pt")


def test_files_without_checksums():
    file = io.BytesIO()
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(torch.arange(3.0), file)
    finally:
        torch.serialization.set_crc32_options(before)
    file.seek(0)
    assert rushlight.load(file).tolist() == [0.0, 1.0, 2.0]


def test_truncated_files_of_the_old_format():
    file = io.BytesIO()
    torch.save({"a": torch.arange(20.0), "b": [1]}, file, _use_new_zipfile_serialization=False)
    data = file.getvalue()
    for length in range(0, len(data), 3):
        with pytest.raises(LoadError):
            rushlight.load(io.BytesIO(data[:length]))


def test_state_dicts_of_modules(tmp_path):
    ours, theirs = rushlight.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    rushlight.save(ours.state_dict(), tmp_path / "ours.pth")
    found = torch.load(tmp_path / "ours.pth")
    assert type(found) is collections.OrderedDict and "_metadata" in vars(found)
    theirs.load_state_dict(found)
    assert theirs.weight.tolist() == ours.weight.tolist()
    torch.save({"model": torch.nn.Linear(3, 2).state_dict()}, tmp_path / "theirs.pth")
    ours.load_state_dict(rushlight.load(tmp_path / "theirs.pth")["model"])
    assert ours.weight.tolist() == torch.load(tmp_path / "theirs.pth")["model"]["weight"].tolist()
