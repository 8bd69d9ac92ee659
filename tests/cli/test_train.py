"""The command line as a user meets it: every test runs it, in this process or as a process of its own."""

import csv
import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rushlight
from rushlight.cli import data_sets, main
from rushlight.cli.errors import UsageError


@pytest.fixture(autouse=True)
def imports_as_before(monkeypatch):
    """A model from a user's file makes `import torch` mean rushlight in this process: not in the tests that follow."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "torch":
            del sys.modules[name]


def run(*arguments, timeout=240, **options):
    return subprocess.run(
        [sys.executable, "-m", "rushlight.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def test_the_main_job(tmp_path):
    done = run("train", "--out", tmp_path / "run", "--epochs", 12)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"test accuracy: (0\.\d{4})\n", done.stdout).group(1))
    assert accuracy > 0.95
    folder = tmp_path / "run"
    weights = rushlight.load(folder / "model.safetensors")
    assert weights["linear_relu_stack.0.weight"].shape == (512, 64)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["epoch"]) for r in rows] == list(range(1, 13))
    assert float(rows[-1]["test_accuracy"]) == pytest.approx(accuracy, abs=1e-4)
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (folder / "curves.svg").read_text().lstrip().startswith("<?xml")
    assert (folder / "predictions.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("*.part"))
    again = run("train", "--out", folder)
    assert again.returncode == 2
    assert "--resume" in again.stderr


def test_interrupted_and_resumed_ends_with_the_same_bits(tmp_path):
    settings = ("--epochs", 4, "--batch-size", 4, "--seed", 3)
    whole = run("train", "--out", tmp_path / "whole", *settings)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "rushlight.cli", "train", "--out", str(tmp_path / "cut"), *map(str, settings)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if line.startswith("epoch  1"):
            break
    time.sleep(0.05)  # into the middle of an epoch
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in rest
    resumed = run("train", "--resume", tmp_path / "cut")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    a, b = (rushlight.load(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].numpy().tobytes() == b[name].numpy().tobytes()
    columns = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    histories = []
    for name in ("whole", "cut"):
        with (tmp_path / name / "metrics.csv").open() as file:
            histories.append([[row[c] for c in columns] for row in csv.DictReader(file)])
    assert histories[0] == histories[1]


@pytest.mark.parametrize("model", ["cnn", "logistic"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_models_and_optimizers(tmp_path, model, optimizer, capsys):
    arguments = ["train", "--out", str(tmp_path), "--model", model, "--optimizer", optimizer, "--epochs", "4"]
    assert main(arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.removeprefix("test accuracy: ")) > 0.7


def test_a_model_of_ones_own(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from rushlight import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "    def forward(self, x):\n"
        "        return self.net(x)\n"
    )
    assert main(["train", "--out", str(tmp_path / "run"), "--model", f"{tmp_path}/mine.py:Mine", "--epochs", "1"]) == 0
    assert main(["train", "--out", str(tmp_path / "run2"), "--model", f"{tmp_path}/mine.py:Yours"]) == 2
    assert "the modules there are Mine" in capsys.readouterr().err


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_mnist_files(tmp_path, capsys):
    random = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 50)):
        labels = random.integers(0, 10, count).astype(np.uint8)
        images = random.integers(0, 50, (count, 28, 28)).astype(np.uint8)
        images[np.arange(count), labels, :] = 255
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    arguments = ["train", "--data", "mnist", "--root", str(tmp_path), "--out", str(tmp_path / "run"), "--epochs", "4"]
    assert main([*arguments, "--batch-size", "20"]) == 0
    assert float(capsys.readouterr().out.splitlines()[-1].removeprefix("test accuracy: ")) > 0.9
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["data"] == "mnist"
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels)[:-3])
    assert main([*arguments[:-4], "--out", str(tmp_path / "run3")]) == 2
    assert "cut off" in capsys.readouterr().err


def test_csv_and_npz(tmp_path, capsys):
    random = np.random.default_rng(0)
    x = random.standard_normal((300, 4))
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    table = np.column_stack([y, x])
    np.savetxt(tmp_path / "points.csv", table, delimiter=",", header="label,a,b,c,d", comments="")
    assert main(["train", "--data", f"{tmp_path}/points.csv", "--out", str(tmp_path / "a"), "--epochs", "5"]) == 0
    np.savez(tmp_path / "points.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    assert main(["train", "--data", f"{tmp_path}/points.npz", "--out", str(tmp_path / "b"), "--epochs", "5"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test accuracy")]
    assert len(lines) == 2
    assert all(float(line.removeprefix("test accuracy: ")) > 0.85 for line in lines)
    (tmp_path / "bad.csv").write_text("a,label\n1,2\nx,3\n")
    assert main(["train", "--data", f"{tmp_path}/bad.csv", "--out", str(tmp_path / "c")]) == 2
    assert "every cell must be a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "cifar"], "digits, mnist"),
        (["--data", "nowhere.csv"], "no such file"),
        (["--model", "resnet"], "mlp, cnn, logistic"),
        (["--lr", "-1"], "above 0"),
        (["--epochs", "0"], "at least one"),
        (["--batch-size", "0"], "at least one"),
        (["--resume", "nowhere"], "no run"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path), "--model", "logistic", "--epochs", "1"]) == 0
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-200])
    before = path.read_bytes()
    assert main(["train", "--resume", str(tmp_path), "--epochs", "2"]) == 2
    assert "checkpoint.pt can't be resumed from" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_without_matplotlib_it_still_trains(tmp_path, monkeypatch, capsys):
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", "--out", str(tmp_path), "--model", "logistic", "--epochs", "1"]) == 0
    assert "pip install 'rushlight[train]'" in capsys.readouterr().out


def test_info_and_summary(capsys):
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert f"{rushlight.get_num_threads()}" in re.search(r"threads: +(\d+)", shown).group(1)
    assert re.search(r"core: +(native, \w+|off)", shown)
    assert main(["summary", "mlp"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"linear_relu_stack.0 \(Linear\) +\(1, 512\) +401,920", shown)
    assert "669,706 parameters, 669,706 of them trained" in shown


def test_digits_are_the_uci_ones():
    data = data_sets.digits()
    assert (len(data.train_labels), len(data.test_labels), data.classes, data.shape) == (1437, 360, 10, (1, 8, 8))
    counts = np.bincount(np.concatenate([data.train_labels, data.test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    with pytest.raises(UsageError):
        data_sets.load("nothing", None)


SCRIPT = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.optim.lr_scheduler import StepLR
torch.manual_seed(0)
net = nn.Linear(2, 1)
data = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 1)), batch_size=4, shuffle=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scheduler = StepLR(optimizer, 1)
for x, y in data:
    optimizer.zero_grad()
    loss = F.mse_loss(net(x), y)
    loss.backward()
    optimizer.step()
scheduler.step()
print(f"{loss.item():.5f}", isinstance(net.weight, torch.Tensor), torch.__name__, __name__)
"""


def test_run_a_script_written_for_pytorch(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run("run", tmp_path / "script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["True", "rushlight", "__main__"]
    missing = tmp_path / "missing.py"
    missing.write_text("import torch.distributed.rpc\n")
    done = run("run", missing)
    assert "this part isn't there" in done.stderr
    missing.write_text("from torch import fft\n")
    assert "transform x.numpy() with numpy.fft" in run("run", missing).stderr


KINDS = """
import copy, pickle, torch
from torch import nn
from torch.utils.data import TensorDataset
x = torch.ones(2, requires_grad=True)
values = [x, nn.Parameter(x.detach()), nn.Conv2d(1, 1, 1), nn.MultiheadAttention(2, 1), nn.AdaptiveAvgPool2d(1),
          torch.optim.AdamW([x]), torch.distributions.StudentT(3.0), torch.Generator(), x.dtype, x.shape, x.device,
          TensorDataset(x.detach())]
for value in values:
    print(type(value).__module__, type(value).__name__)
    assert type(pickle.loads(pickle.dumps(value))) is type(copy.deepcopy(value)) is type(value)
torch.save(values[2], "layer.pth")
assert type(torch.load("layer.pth", weights_only=False)) is nn.Conv2d
step = torch.compile(values[2])
for _ in range(3):
    step(torch.ones(1, 1, 2, 2))
print(step.cache_info()[:2])
"""


def test_classes_are_called_as_pytorch_calls_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(KINDS)
    done = run("run", tmp_path / "script.py")
    assert done.stdout.splitlines() == [
        "torch Tensor",
        "torch.nn.parameter Parameter",
        "torch.nn.modules.conv Conv2d",
        "torch.nn.modules.activation MultiheadAttention",
        "torch.nn.modules.pooling AdaptiveAvgPool2d",
        "torch.optim.adamw AdamW",
        "torch.distributions.studentT StudentT",
        "torch._C Generator",
        "torch dtype",
        "torch Size",
        "torch device",
        "torch.utils.data.dataset TensorDataset",
        "(2, 1)",
    ], done.stderr


def test_errors_of_a_script_begin_in_the_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import torch\ntorch.nn.Linear(2, 3)(torch.ones(1, 4))\n")
    done = run("run", script)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[:2] == ["Traceback (most recent call last):", f'  File "{script}", line 2, in <module>']
    assert lines[-1] == "  called with a float32 tensor of shape (1, 4)"
    script.write_text("print(1\n")
    assert run("run", script).stderr.splitlines()[0] == f'  File "{script}", line 1'
    script.write_text("import torchtext\n")
    assert "doesn't run on rushlight" in run("run", script).stderr
    script.write_text("raise SystemExit(3)\n")
    assert run("run", script).returncode == 3


def test_summary_of_a_model_written_for_pytorch(tmp_path):
    (tmp_path / "mine.py").write_text("import torch\nMine = lambda: torch.nn.Sequential(torch.nn.Linear(2, 3))\n")
    done = run("summary", f"{tmp_path}/mine.py:Mine", "--input", "2")
    assert "0 (Linear)  (1, 3)" in done.stdout, done.stderr


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("script", "last"),
    [
        ("linear_regression", r"y = 3\.\d\d x -[01]\.\d\d"),
        ("logistic_regression", r"accuracy 0\.98"),
        ("custom_layer", "loss"),
    ],
)
def test_examples(script, last):
    done = run("run", EXAMPLES / f"{script}.py")
    assert done.returncode == 0, done.stderr
    assert re.search(last, done.stdout.splitlines()[-1])
