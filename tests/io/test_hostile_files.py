"""Files that are damaged, cut short or made to harm: always LoadError, never a crash, never code run."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight as torch
from rushlight.errors import LoadError


class classproperty:  # noqa: N801 (a decorator)
    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner):
        return self.function(owner)


def archive(data_pkl, records=None, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as target:
        target.writestr("archive/data.pkl", data_pkl)
        for name, content in (records or {}).items():
            target.writestr(f"archive/{name}", content)
        target.writestr("archive/version", "3\n")
    file.seek(0)
    return file


def tensor_pickle(
    offset=b"K\x00",
    size=b"K\x03\x85",
    stride=b"K\x01\x85",
    count=b"K\x03",
    kind=b"ctorch\nFloatStorage\n",
    key=b"X\x01\0\0\x000",
):
    storage = b"(X\x07\0\0\0storage" + kind + key + b"X\x03\0\0\0cpu" + count + b"tQ"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip


THREE = {"data/0": np.arange(3, dtype="<f4").tobytes()}
LARGE = b"\x8a\x09" + (2**63 - 1).to_bytes(9, "little")


def test_the_pickle_that_the_others_are_made_from():
    assert torch.load(archive(tensor_pickle(), THREE)).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"offset": b"K\x01"}, "reaches to element 4"),
        ({"offset": b"J\xff\xff\xff\xff"}, "offset"),
        ({"offset": b"\x88"}, "offset"),
        ({"offset": b"G" + bytes(8)}, "offset"),
        ({"size": b"J\xff\xff\xff\xff\x85"}, "size"),
        ({"size": b"K\x04\x85"}, "reaches"),
        ({"size": b"N"}, "size"),
        ({"size": LARGE + b"\x85"}, "reaches"),
        ({"size": LARGE + b"\x85", "stride": b"K\x00\x85"}, "can't be made"),
        ({"size": LARGE + LARGE + b"\x86", "stride": b"K\x00K\x00\x86"}, "can't be made"),
        ({"size": b"(" + b"K\x01" * 65 + b"t", "stride": b"(" + b"K\x01" * 65 + b"t"}, "short tuple"),
        ({"stride": b"J\xff\xff\xff\xff\x85"}, "stride"),
        ({"stride": LARGE + b"\x85"}, "reaches"),
        ({"stride": b")"}, "stride"),
        ({"count": LARGE}, "elements belong"),
        ({"count": b"K\x04"}, "elements belong"),
        ({"count": b"J\xff\xff\xff\xff"}, "elements belong"),
        ({"count": b"N"}, "reference"),
        ({"kind": b"ctorch\nfloat32\n"}, "reference"),
        ({"kind": b"ctorch\nComplexFloatStorage\n"}, "no reading"),
        ({"kind": b"ctorch\nUntypedStorage\n"}, "no dtype"),
        ({"key": b"X\x01\0\0\x001"}, "no record"),
        ({"key": b"X\x05\0\0\0../..", "count": b"K\x00"}, "no record"),
    ],
)
def test_tensors_that_are_none(options, cause):
    with pytest.raises(LoadError, match=cause):
        torch.load(archive(tensor_pickle(**options), THREE))


class Runs:
    """Unpickling this calls print."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_imported_or_called(protocol, capsys):
    for file in (archive(pickle.dumps(Runs(), protocol)), io.BytesIO(pickle.dumps(Runs(), protocol))):
        for weights_only in (True, False):
            file.seek(0)
            with pytest.raises(LoadError):
                torch.load(file, weights_only=weights_only)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name",
    [b"os\nsystem", b"builtins\neval", b"__builtin__\ngetattr", b"torch\nload", b"torch.nn.modules.linear\nLinear",
     b"numpy\nload", b"collections\nOrderedDict.fromkeys", b"rushlight\nload", b"\n", b"__main__\nNet"],
)  # fmt: skip
def test_names_outside_the_table(name):
    with pytest.raises(LoadError, match="the file holds a"):
        torch.load(archive(b"\x80\x02c" + name + b"\n)R."))


def test_a_whole_module_is_refused_in_words_that_help():
    with pytest.raises(LoadError, match=r"__main__\.Net.*weights_only=False.*state_dict"):
        torch.load(archive(b"\x80\x02c__main__\nNet\n)\x81}b."))


HERE = __name__.encode()
calls = []


class Watched(torch.nn.Module):
    """Takes down every method of it that is called."""

    def __new__(cls):
        calls.append("__new__")
        return super().__new__(cls)

    def __init__(self):
        calls.append("__init__")

    def __getattr__(self, name):
        calls.append(name)

    def __setattr__(self, name, value):
        calls.append(name)

    @classproperty
    def computed(cls):
        calls.append("computed")

    def __hash__(self):
        calls.append("__hash__")
        return 1


class Restored(Watched):
    def __setstate__(self, state):
        calls.append("__setstate__")


class Deleted:
    def __del__(self):
        calls.append("__del__")


class Answering(Watched):
    def __getattribute__(self, name):
        calls.append(name)
        return super().__getattribute__(name)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def test_no_method_of_a_class_is_called():
    calls.clear()
    attributes = text(b"computed") + b"K\x01" + text(b"forward") + b"ctorch.nn.functional\nrelu\n"
    file = archive(b"\x80\x02c" + HERE + b"\nWatched\n)\x81}(" + attributes + b"ub.")
    found = torch.load(file, weights_only=False)
    assert calls == []
    assert type(found) is Watched and found.__dict__["computed"] == 1


OBJECT = b"\x80\x02c" + HERE + b"\nWatched\n)\x81"
LINEAR = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x80\x02c" + HERE + b"\nRestored\n)\x81}b.", "__setstate__"),
        (b"\x80\x02c" + HERE + b"\nDeleted\n)\x81}b.", "__del__"),
        (b"\x80\x02c" + HERE + b"\nAnswering\n)\x81}b.", "__getattribute__"),
        (b"\x80\x02c" + HERE + b"\nWatched\n)R.", "calls a type"),
        (b"\x80\x02c" + HERE + b"\narchive\nN\x85R.", "calls a function"),
        (b"\x80\x02c" + HERE + b"\nNothing\n)\x81.", "has no Nothing"),
        (b"\x80\x02cnot_imported\nNet\n)\x81.", "no module 'not_imported' is imported"),
        (b"\x80\x02cthis\nNet\n)\x81.", "no module 'this' is imported"),
        (b"\x80\x02cos\nsystem\n.", "neither"),
        (b"\x80\x02csubprocess\nPopen\n)\x81.", "nor of your own"),
        (b"\x80\x02cshutil\nrmtree\n.", "nor of your own"),
        (b"\x80\x02cbuiltins\neval\n.", "neither"),
        (b"\x80\x02cbuiltins\ndict\n)\x81}b.", "sets the state"),
        (b"\x80\x02ctorch\nload\n.", "no reading"),
        (b"\x80\x02crushlight.io\nload\n.", "no reading"),
        (b"\x80\x02ctorch.nn.utils\nclip_grad_norm_\n.", "no reading"),
        (b"\x80\x02cbuiltins\ngetattr\ncos\npath\n" + text(b"join") + b"\x86R.", "neither"),
        (b"\x80\x02cbuiltins\ngetattr\nctorch.nn.modules\nLinear\n" + text(b"forward") + b"\x86R.", "something else"),
        (b"\x80\x02c" + HERE + b"\nWatched\nK\x01\x85\x81.", "made of more"),
        (OBJECT + b"]b.", "dict of names"),
        (OBJECT + b"}K\x01K\x01sb.", "dict of names"),
        (OBJECT + b"}b}b.", "sets the state"),
        (b"\x80\x02}c" + HERE + b"\nWatched\n)\x81}bNs.", "hash is code"),
        (LINEAR + b"}" + text(b"_modules") + b"}" + text(b"a") + b"K\x01ssb.", "_modules"),
        (LINEAR + b"}" + text(b"_parameters") + b"]sb.", "_parameters"),
        (LINEAR + b"}" + text(b"_forward_hooks") + b"}K\x01ctorch\nrelu\nssb.", "hooks"),
        (LINEAR + b"}" + text(b"training") + b"K\x01sb.", "training"),
        (LINEAR + b"}" + text(b"_non_persistent_buffers_set") + b"]sb.", "buffers"),
    ],
)
def test_objects_that_are_none(data, cause):
    calls.clear()
    with pytest.raises(LoadError, match=cause):
        torch.load(archive(data), weights_only=False)
    assert calls == []


def test_mutated_modules():
    file = io.BytesIO()
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)), file)
    with zipfile.ZipFile(file) as source:
        data = source.read("archive/data.pkl")
        records = {n.removeprefix("archive/"): source.read(n) for n in source.namelist() if "/data/" in n}

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=6))
    def mutate(changes):
        mutated = bytearray(data)
        for position, byte in changes:
            mutated[position] = byte
        try:
            torch.load(archive(bytes(mutated), records), weights_only=False)
        except LoadError:
            pass

    mutate()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x09N.",
        b".",
        b"N",
        b"NN.",
        b"(.",
        b"0.",
        b"1.",
        b"2.",
        b"a.",
        b"]a.",
        b"N]\x86a.",
        b"e.",
        b"(e.",
        b"N(e.",
        b"}(Nu.",
        b"}]Ns.",
        b"}}Ns.",
        b"t.",
        b"\x85.",
        b"R.",
        b"NNR.",
        b")NR.",
        b"N)R.",
        b"ctorch\nSize\nNR.",
        b"ctorch\nSize\nN\x85R.",
        b"ctorch\nSize\n(NNNtR.",
        b"b.",
        b"NNb.",
        b"Q.",
        b"NQ.",
        b"(X\x07\0\0\0storageNNNNtQ.",
        b"q\x00.",
        b"(q\x00.",
        b"h\x00.",
        b"j\xff\xff\xff\xff.",
        b"gx\n.",
        b"I" + b"9" * 5000 + b"\n.",
        b"Ix\n.",
        b"Fx\n.",
        b"L99\n",
        b"X\xff\xff\xff\xffabc.",
        b"X\x01\0\0\0\xff.",
        b"T\xff\xff\xff\xff.",
        b"B\xff\xff\xff\x7fabc.",
        b"\x8e" + b"\xff" * 8 + b".",
        b"\x96" + b"\xff" * 8 + b".",
        b"\x8b\xff\xff\xff\xff.",
        b"cno newline",
        b"c\xff\n\xff\n.",
        b"\x8c\x01a\x93.",
        b"NN\x93.",
        b"i\nx\n.",
        b"o.",
        b"\x82\x01.",
        b"P1\n.",
        b"\x92.",
        b"\x97.",
        b"ccollections\nCounter\n}NNs\x85R.",
        b"c_codecs\nencode\nX\x01\0\0\0aX\x04\0\0\0zlib\x86R.",
        b"cnumpy\ndtype\nX\x01\0\0\0OR.",
        b"cnumpy\ndtype\nX\x01\0\0\0O\x85R.",
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n)N\x87R.",
        b"c__builtin__\nset\n]}a\x85R.",
        b"c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x7f\x85R.",
        b"c__builtin__\nlist\nK\x05\x85R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_parameter\nN\x85R.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(c_codecs\nencode\nNN)tR.",
    ],
)
def test_pickles_that_are_none(data):
    for file in (archive(data), archive(b"\x80\x02" + data)):
        with pytest.raises(LoadError):
            torch.load(file)


def test_a_key_that_would_take_for_ever_to_hash():
    doubling = b"".join(b"2\x86" for _ in range(60))
    with pytest.raises(LoadError, match="key"):
        torch.load(archive(b"\x80\x02}N" + doubling + b"Ns."))
    deep = b"\x85" * 200_000
    with pytest.raises(LoadError, match="key"):
        torch.load(archive(b"\x80\x02}N" + deep + b"Ns."))


def test_deep_nesting_is_read_without_recursion():
    value = torch.load(archive(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."))
    depth = 0
    while value:
        value = value[0]
        depth += 1
    assert depth == 99_999


def test_compressed_records():
    with pytest.raises(LoadError, match="compressed"):
        torch.load(archive(tensor_pickle(), {"data/0": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED))


def test_records_that_overlap():
    file = archive(tensor_pickle(), THREE).getvalue()
    # Every entry of the directory claims far more bytes than the file has.
    position = file.index(b"PK\x01\x02")
    hostile = bytearray(file)
    while hostile[position : position + 4] == b"PK\x01\x02":
        hostile[position + 20 : position + 28] = struct.pack("<II", 10**9, 10**9)
        position += 46 + sum(struct.unpack("<HHH", hostile[position + 28 : position + 34]))
    with pytest.raises(LoadError, match="more than are there"):
        torch.load(io.BytesIO(hostile))


def test_a_flipped_bit_in_the_weights_is_noticed():
    file = io.BytesIO()
    torch.save(torch.arange(1000.0), file)
    data = bytearray(file.getvalue())
    data[data.index(np.arange(1000, dtype="<f4").tobytes()) + 100] ^= 1
    with pytest.raises(LoadError, match="damaged"):
        torch.load(io.BytesIO(data))


def test_bytes_that_are_neither_true_nor_false():
    found = torch.load(archive(tensor_pickle(kind=b"ctorch\nBoolStorage\n"), {"data/0": b"\x00\x02\xff"}))
    assert found.tolist() == [False, True, True]
    assert found.array.view(np.uint8).tolist() == [0, 1, 1]


def test_other_files(tmp_path):
    path = tmp_path / "notes.txt"
    for content in (b"hello", b"\x80\x02N.", b"PK\x03\x04", b"PK\x03\x04" + bytes(100), bytes(1000), b"{}" * 50):
        path.write_bytes(content)
        with pytest.raises(LoadError, match=r"notes\.txt"):
            torch.load(path)
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("a/constants.pkl", b"N.")
        other.writestr("a/data.pkl", b"N.")
    with pytest.raises(LoadError, match="TorchScript"):
        torch.load(path)
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("readme", b"")
    with pytest.raises(LoadError, match=r"no data\.pkl"):
        torch.load(path)


def example(kind, tmp):
    if kind == "safetensors":
        torch.save({"a": torch.arange(20.0), "b": torch.ones(2, 3, dtype=torch.int64)}, tmp / "x.safetensors")
        return (tmp / "x.safetensors").read_bytes()
    file = io.BytesIO()
    value = {
        "a": torch.arange(20.0),
        "b": [torch.ones(2, 3).t(), {1, 2}],
        "c": b"xyz",
        "d": (1, 2.5, None),
        "s": "text",
    }
    torch.save({**value, "n": np.arange(3), "z": torch.zeros(0), torch.float16: torch.Size([1])}, file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_files_cut_short(kind, tmp_path):
    data = example(kind, tmp_path)
    for length in range(0, len(data), 1 if kind == "safetensors" else 7):
        with pytest.raises(LoadError):
            torch.load(io.BytesIO(data[:length]))


@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_mutated_files(kind, tmp_path_factory):
    data = example(kind, tmp_path_factory.mktemp("mutated"))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=8))
    def mutate(changes):
        mutated = bytearray(data)
        for position, byte in changes:
            mutated[position] = byte
        try:
            torch.load(io.BytesIO(mutated))
        except LoadError:
            pass

    mutate()


def test_mutated_pickles(tmp_path_factory):
    with zipfile.ZipFile(io.BytesIO(example("zip", tmp_path_factory.mktemp("mutated")))) as source:
        data = source.read("archive/data.pkl")
        records = {n.removeprefix("archive/"): source.read(n) for n in source.namelist() if "/data/" in n}

    @settings(max_examples=500, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=6), st.booleans()
    )
    def mutate(changes, insert):
        mutated = bytearray(data)
        for position, byte in changes:
            if insert:
                mutated.insert(position, byte)
            else:
                mutated[position] = byte
        try:
            torch.load(archive(bytes(mutated), records))
        except LoadError:
            pass

    mutate()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_arbitrary_pickles(data):
    try:
        torch.load(archive(b"\x80\x02" + data + b"."))
    except LoadError:
        pass
