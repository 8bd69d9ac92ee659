"""PyTorch reads our files, and we read PyTorch's, old and new."""

import argparse
import collections
import dataclasses
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


LAYERS = {
    "linear": lambda nn: (nn.Linear(4, 3, bias=False), (2, 4)),
    "convolution": lambda nn: (nn.Conv2d(2, 4, 3, padding=1, groups=2), (1, 2, 5, 5)),
    "circular": lambda nn: (nn.Conv2d(1, 1, (3, 5), padding=(1, 2), padding_mode="circular"), (1, 1, 6, 6)),
    "same": lambda nn: (nn.Conv1d(1, 1, 4, padding="same", padding_mode="reflect", dilation=2), (1, 1, 9)),
    "transposed": lambda nn: (nn.ConvTranspose2d(2, 3, 2, stride=2), (1, 2, 3, 3)),
    "sequential": lambda nn: (
        nn.Sequential(
            collections.OrderedDict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), drop=nn.Dropout(0.3)),
        ).eval(),
        (2, 1, 5, 5),
    ),
    "pooling": lambda nn: (nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 2, 4, 4)),
    "activations": lambda nn: (
        nn.Sequential(nn.PReLU(), nn.GELU(approximate="tanh"), nn.LeakyReLU(0.2), nn.Softmax(dim=-1)),
        (2, 4),
    ),
    "norms": lambda nn: (nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 2), nn.InstanceNorm1d(2)), (3, 2, 4)),
    "upsample": lambda nn: (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 1, 3, 3)),
    "rnn": lambda nn: (nn.RNN(4, 3, nonlinearity="relu"), (5, 2, 4)),
    "lstm": lambda nn: (nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True, dropout=0.0), (2, 5, 4)),
    "projected": lambda nn: (nn.LSTM(4, 3, proj_size=2), (5, 2, 4)),
    "gru": lambda nn: (nn.GRU(4, 3, bias=False), (5, 2, 4)),
    "cell": lambda nn: (nn.RNNCell(4, 3, nonlinearity="relu"), (2, 4)),
    "attention": lambda nn: (nn.TransformerEncoderLayer(4, 2, 8, activation="gelu").eval(), (2, 5, 4)),
    "encoder": lambda nn: (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, nn.LayerNorm(4)).eval(),
        (2, 5, 4),
    ),
}  # fmt: skip


def saved_and_loaded(module, source, target, path, **options):
    source.save(module, path, **options)
    return target.load(path, weights_only=False)


def output(module, library, shape):
    values = library.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    found = module(values)
    return (found[0] if isinstance(found, tuple) else found).detach().tolist()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:LSTM with projections")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("source", "target"), [(rushlight, torch), (torch, rushlight), (rushlight, rushlight)])
def test_whole_layers(tmp_path, name, source, target):
    module, shape = LAYERS[name](source.nn)
    found = saved_and_loaded(module, source, target, tmp_path / "x.pth")
    assert type(found).__name__ == type(module).__name__ and found.training == module.training
    expected = output(module, source, shape)
    np.testing.assert_allclose(output(found, target, shape), expected, rtol=1e-5, atol=1e-6)
    again = saved_and_loaded(found, target, source, tmp_path / "again.pth")
    np.testing.assert_allclose(output(again, source, shape), expected, rtol=1e-5, atol=1e-6)
    assert repr(again) == repr(module)
    assert all(isinstance(p, source.nn.Parameter) and p.requires_grad for p in again.parameters())


def swish(x):
    return x * x.sigmoid()


@dataclasses.dataclass
class Settings:
    width: int = 4
    sizes: tuple = (1, 2)


def define(library):
    """A network of the user's, under the same name whichever the library is."""
    nn, F = library.nn, library.nn.functional

    class Net(nn.Module):
        def __init__(self, settings, arguments):
            super().__init__()
            self.settings, self.arguments = settings, arguments
            self.functions = [F.relu, F.gelu, library.tanh, F.softplus, swish]
            self.norm_layer = nn.LayerNorm
            self.body = nn.ModuleList([nn.Linear(4, 4) for _ in self.functions])
            self.tied = self.body[0]
            self.norm = self.norm_layer(settings.width)
            self.scales = nn.ParameterDict({"a": nn.Parameter(library.ones(1))})
            self.register_buffer("count", library.tensor(3))
            self.register_buffer("mask", library.ones(4), persistent=False)

        def forward(self, x):
            for layer, function in zip(self.body, self.functions, strict=True):
                x = function(layer(x))
            return self.norm(self.tied(x) * self.scales["a"] * self.mask)

    Net.__qualname__ = "Net"
    globals()["Net"] = Net
    return Net


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("source", "target"), [(rushlight, torch), (torch, rushlight)])
def test_networks_of_the_users(tmp_path, source, target, zipped):
    net = define(source)(Settings(), argparse.Namespace(epochs=3))
    checkpoint = {"model": net, "optimizer": source.optim.Adam(net.parameters()).state_dict(), "epoch": 2}
    source.save(checkpoint, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    theirs = define(target)
    found = target.load(tmp_path / "x.pth", weights_only=False)
    model = found["model"]
    assert type(model) is theirs and found["epoch"] == 2
    assert model.settings == Settings() and model.arguments == argparse.Namespace(epochs=3)
    assert model.tied is model.body[0] and model.norm_layer is target.nn.LayerNorm
    assert list(model.state_dict()) == list(net.state_dict())
    target.optim.Adam(model.parameters()).load_state_dict(found["optimizer"])
    np.testing.assert_allclose(output(model, target, (2, 4)), output(net, source, (2, 4)), rtol=1e-5, atol=1e-6)


def test_objects_are_refused_unless_they_are_asked_for(tmp_path):
    define(torch)
    torch.save(globals()["Net"](Settings(), None), tmp_path / "model.pth")
    define(rushlight)
    with pytest.raises(LoadError, match=r"model\.pth.*Net.*weights_only=False"):
        rushlight.load(tmp_path / "model.pth")
    with pytest.raises(LoadError, match=r"weights_only=False"):
        with rushlight.serialization.safe_globals([globals()["Net"]]):
            rushlight.load(tmp_path / "model.pth")
    nn, F = rushlight.nn, rushlight.nn.functional
    safe = [globals()["Net"], Settings, swish, nn.Linear, nn.LayerNorm, nn.ModuleList, nn.ParameterDict, F.relu, F.gelu]
    with rushlight.serialization.safe_globals([*safe, rushlight.tanh, F.softplus]):
        assert type(rushlight.load(tmp_path / "model.pth")) is globals()["Net"]
    del globals()["Net"]
    with pytest.raises(LoadError, match="has no Net: define it there, or import it"):
        rushlight.load(tmp_path / "model.pth", weights_only=False)


def test_hooks_are_code(tmp_path):
    module = torch.nn.Linear(2, 2)
    module.register_forward_hook(swish)
    torch.save(module, tmp_path / "model.pth")
    with pytest.raises(LoadError, match="hooks"):
        rushlight.load(tmp_path / "model.pth", weights_only=False)


def test_compiled_modules_are_saved_as_they_were(tmp_path):
    module = rushlight.nn.Linear(2, 2)
    rushlight.save(rushlight.compile(module), tmp_path / "model.pth")
    found = torch.load(tmp_path / "model.pth", weights_only=False)
    assert type(found) is torch.nn.Linear and found.weight.tolist() == module.weight.tolist()


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
