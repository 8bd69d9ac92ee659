"""save and load: what goes in comes out, shared memory included; files appear whole or not at all."""

import collections
import io
import os
import stat
import threading
import zipfile

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.errors import LoadError, SaveError

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def round_trip(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        255,
        256,
        65536,
        -(2**31),
        2**31,
        2**63,
        -(2**63),
        2**2100,
        1.5,
        float("inf"),
        1 + 2j,
        "",
        "naïve \U0001f600 \ud800",
        b"",
        b"\x00\xff",
        bytearray(b"ab"),
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
        [],
        [[], [1]],
        {},
        {"a": {"b": [1, (2, None)]}, 3: 4.0, (1, "x"): 5, None: 6, 1.5: 7},
        {1, (2, 3)},
        set(),
        frozenset({1, (2, 3)}),
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.Counter("abca"),
        collections.defaultdict(list, {1: [2]}),
        torch.Size([2, 3]),
        torch.device("cpu"),
        torch.float32,
        torch.bfloat16,
        list(range(3000)),
        {str(i): i for i in range(3000)},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_plain_values(value):
    found = round_trip(value)
    assert type(found) is type(value)
    assert found == value
    if isinstance(value, collections.defaultdict):
        assert found.default_factory is value.default_factory


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_tensors_of_every_dtype(tmp_path, name, suffix):
    dtype = getattr(torch, name)
    whole = torch.arange(24).to(dtype)
    tensors = {
        "whole": whole,
        "scalar": torch.ones((), dtype=dtype),
        "empty": torch.zeros((0, 3), dtype=dtype),
        "transposed": whole.reshape(4, 6).t(),
        "strided": whole[3::5],
        "expanded": torch.ones(1, dtype=dtype).expand(3, 4),
        "reversed": torch.from_numpy(np.arange(5)[::-1]).to(dtype),
    }
    path = tmp_path / f"tensors{suffix}"
    torch.save(tensors, path)
    found = torch.load(path)
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert found[key].dtype is dtype
        assert found[key].shape == tensor.shape
        assert found[key].tolist() == tensor.tolist()


def test_negative_strides():
    array = np.arange(12.0).reshape(3, 4)
    for view in (array[::-1], array[:, ::-1], array[::-2, 1:3]):
        assert round_trip(torch.from_numpy(view)).tolist() == view.tolist()


def test_requires_grad_and_parameters():
    value = {
        "leaf": torch.ones(2, requires_grad=True),
        "plain": torch.ones(2),
        "parameter": nn.Parameter(torch.ones(2)),
        "frozen": nn.Parameter(torch.ones(2), requires_grad=False),
    }
    found = round_trip(value)
    for key, tensor in value.items():
        assert type(found[key]) is type(tensor)
        assert found[key].requires_grad is tensor.requires_grad
        assert found[key].is_leaf


def test_shared_memory_stays_shared():
    base = torch.arange(12.0).reshape(3, 4)
    tied = nn.Parameter(torch.ones(2, 2))
    value = {"row": base[1], "base": base, "columns": [base[:, 0], base[:, 2]], "t": base.t(), "p": tied, "q": tied}
    found = round_trip(value)
    found["base"].fill_(7.0)
    assert found["row"].tolist() == [7.0] * 4
    assert found["columns"][1].tolist() == [7.0] * 3
    assert found["t"].tolist() == [[7.0] * 3] * 4
    assert found["p"] is found["q"]
    apart = round_trip([torch.ones(2), torch.ones(2)])
    apart[0].fill_(3.0)
    assert apart[1].tolist() == [1.0, 1.0]
    shared_list = [1]
    found = round_trip([shared_list, shared_list])
    assert found[0] is found[1]
    loop = []
    loop.append(loop)
    found = round_trip(loop)
    assert found[0] is found


def test_a_row_is_saved_without_its_table():
    file = io.BytesIO()
    torch.save(torch.zeros(1000, 1000)[3], file)
    assert len(file.getvalue()) < 10_000


def test_numpy_values():
    value = {
        "scalar": np.float64(1.5),
        "int": np.int32(-4),
        "flag": np.bool_(True),
        "array": np.arange(6.0).reshape(2, 3),
        "text": np.array(["ab", "c"]),
        "empty": np.zeros((0, 2)),
        "shared": [np.float32(2)] * 2,
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    found = round_trip(value)
    for key in ("scalar", "int", "flag"):
        assert type(found[key]) is type(value[key])
        assert found[key] == value[key]
    for key in ("array", "text", "empty", "columns"):
        np.testing.assert_array_equal(found[key], value[key])
        assert found[key].dtype == value[key].dtype
        assert found[key].flags.writeable


def test_state_of_a_module_and_of_its_optimizer(tmp_path):
    state = collections.OrderedDict(weight=torch.randn(3, 2), bias=torch.randn(3))
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    checkpoint = {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    found = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
    assert found["model"]._metadata == state._metadata
    assert list(found["model"]) == ["weight", "bias"]
    assert found["optimizer"]["param_groups"] == [{"lr": 0.1}]


def test_the_layout_of_the_archive(tmp_path):
    torch.save({"a": torch.ones(3), "b": torch.ones(5)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        names = archive.namelist()
        assert names == ["model/data.pkl", "model/byteorder", "model/data/0", "model/data/1", "model/version"]
        assert archive.read("model/version") == b"3\n"
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            extra = info.header_offset + 30 + len(info.filename) + len(info.extra)
            assert extra % 64 == 0
    first, second = io.BytesIO(), io.BytesIO()
    for file in (first, second):
        torch.save({"a": torch.ones(3)}, file)
    assert first.getvalue() == second.getvalue()


class Custom:
    def __reduce__(self):
        return Custom, ()


def of_a_local_class():
    class Local(nn.Module):
        pass

    return Local()


def with_attribute(name, value):
    module = nn.Sequential(nn.Linear(2, 2))
    setattr(module[0], name, value)
    return module


def with_hook():
    module = nn.ReLU()
    module.register_forward_hook(print)
    return module


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Custom(), "obj, a .*Custom: its class defines __reduce__"),
        ({"a": [1, {"b": Custom()}]}, r"obj\['a'\]\[1\]\['b'\], a "),
        (lambda: 0, "Can't pickle .*lambda"),
        (of_a_local_class(), "Can't pickle local object 'of_a_local_class.<locals>.Local'"),
        (with_attribute("act", lambda x: x), r"obj\.0\.act: Can't pickle .*lambda"),
        (with_attribute("lock", threading.Lock()), r"obj\.0\.lock, a _thread.lock"),
        (with_hook(), "hooks"),
        (nn.LazyLinear(3), "before its first call"),
        ({"optimizer": torch.optim.SGD([torch.ones(1)])}, r"obj\['optimizer'\].*state_dict"),
        (open, "obj, a builtins"),
        (np.array([object()]), "dtype object"),
        (collections.defaultdict(lambda: 0), "defaultdict"),
        (range(3), "builtins.range"),
    ],
)
def test_what_is_not_data_is_refused_and_the_old_file_stays(tmp_path, value, where):
    path = tmp_path / "model.pt"
    torch.save({"a": 1}, path)
    before = path.read_bytes()
    with pytest.raises(SaveError, match=where):
        torch.save(value, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_nesting_too_deep():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SaveError, match="nested too deeply"):
        torch.save(value, io.BytesIO())
    while value:
        value = value[0]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    torch.save({"a": 1}, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        torch.save({"a": 2}, path)
    with pytest.raises(OSError, match="disk full"):
        torch.save({"a": torch.ones(2)}, tmp_path / "new.safetensors")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.skipif(os.name == "nt", reason="permissions and links of POSIX")
def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "model.pt", tmp_path / "link.pt"
    torch.save(1, path)
    path.chmod(0o640)
    link.symlink_to(path)
    torch.save(2, link)
    assert link.is_symlink()
    assert torch.load(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    torch.save(3, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_safetensors_takes_a_flat_dict_of_tensors(tmp_path):
    for value in ([1], {"a": 1}, {1: torch.ones(1)}, {"a": {"b": torch.ones(1)}}):
        with pytest.raises(SaveError, match="flat dict"):
            torch.save(value, tmp_path / "x.safetensors")
    assert os.listdir(tmp_path) == []
    torch.save({"a": torch.arange(3.0)}, tmp_path / "x.safetensors")
    with open(tmp_path / "x.safetensors", "rb") as file:
        assert torch.load(io.BytesIO(file.read()))["a"].tolist() == [0.0, 1.0, 2.0]
    found = torch.load(tmp_path / "x.safetensors")["a"]
    found.fill_(1.0)
    assert found.tolist() == [1.0] * 3


def test_places(tmp_path):
    torch.save({"a": torch.ones(1)}, str(tmp_path / "x.pt"))
    for location in (None, "cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, place: storage):
        assert torch.load(tmp_path / "x.pt", map_location=location, mmap=True)["a"].tolist() == [1.0]
    with pytest.raises(RuntimeError, match="cuda"):
        torch.load(tmp_path / "x.pt", map_location="cuda")
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError):
        torch.save(1, tmp_path / "none" / "x.pt")
    with pytest.raises(TypeError, match="path"):
        torch.load(5)
    with pytest.raises(TypeError, match="path"):
        torch.save(1, 5)
    with pytest.raises(LoadError, match=r"x\.pt"):
        (tmp_path / "x.pt").write_bytes(b"")
        torch.load(tmp_path / "x.pt")
