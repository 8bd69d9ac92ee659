"""Weights of classifiers: from the cache, checked, and one clear error where they lack. What `rushlight run` maps."""

import hashlib
import subprocess
import sys

import pytest

import rushlight as torch
from rushlight import hub
from rushlight.errors import DownloadError
from rushlight.vision import models


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_weights_from_the_cache(cache):
    torch.manual_seed(3)
    saved = models.squeezenet1_1()
    torch.save(saved.state_dict(), cache / "squeezenet1_1-b8a52dc0.pth")
    for arguments in (
        {"weights": "DEFAULT"}, {"weights": models.SqueezeNet1_1_Weights.IMAGENET1K_V1}, {"pretrained": True},
        {"weights": "SqueezeNet1_1_Weights.DEFAULT"}, {"weights": True},
    ):  # fmt: skip
        loaded = models.squeezenet1_1(**arguments)
        for ours, theirs in zip(loaded.parameters(), saved.parameters(), strict=True):
            assert bool((ours == theirs).all())
    assert bool(
        (
            hub.load("pytorch/vision:v0.10.0", "squeezenet1_1", pretrained=True).features[0].bias
            == saved.features[0].bias
        ).all()
    )  # noqa: E501
    with pytest.raises(ValueError, match="'num_classes' expected value 1000 but got 5"):
        models.squeezenet1_1(weights="DEFAULT", num_classes=5)


def test_older_names_in_files(cache):
    saved = models.densenet121()
    renamed = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for name, v in saved.state_dict().items()
    }
    assert renamed.keys() != saved.state_dict().keys()
    torch.save(renamed, cache / "densenet121-a639ec97.pth")
    loaded = models.densenet121(weights="DEFAULT").state_dict()
    assert all(bool((loaded[name] == value).all()) for name, value in saved.state_dict().items())


def test_weights_that_are_not_there(cache, monkeypatch):
    def offline(url, **_):
        return hub.load_state_dict_from_url(f"http://127.0.0.1:1/{url.rpartition('/')[2]}", progress=False)

    monkeypatch.setattr(models.weights, "load_state_dict_from_url", offline)
    with pytest.raises(DownloadError, match="resnet18-f37072fd.pth can't be downloaded.*put it at .*hub/checkpoints"):
        models.resnet18(weights="DEFAULT")
    with pytest.raises(KeyError, match="ResNet18_Weights has IMAGENET1K_V1, DEFAULT"):
        models.resnet18(weights="IMAGENET1K_V2")
    with pytest.raises(TypeError, match="expected ResNet18_Weights but received"):
        models.resnet18(weights=models.ResNet34_Weights.DEFAULT)
    with pytest.raises(AttributeError, match="no googlenet; there are .*alexnet"):
        models.googlenet  # noqa: B018
    with pytest.raises(ValueError, match="Unknown model resnet19"):
        models.get_model("resnet19")
    with pytest.raises(KeyError, match="imagenet_classes.txt"):
        models.ResNet18_Weights.DEFAULT.meta["categories"]


def test_hashes_in_names(tmp_path, cache):
    source = tmp_path / "net.pth"
    torch.save({"w": torch.ones(2)}, source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    right, wrong = (source.with_name(f"net-{part}.pth") for part in (digest, "12345678"))
    for path in (right, wrong):
        path.write_bytes(source.read_bytes())
    assert hub.load_state_dict_from_url(right.as_uri(), check_hash=True, progress=False)["w"].tolist() == [1, 1]
    assert (cache / right.name).is_file()
    with pytest.raises(DownloadError, match="sha256 begins with .*, not with 12345678"):
        hub.load_state_dict_from_url(wrong.as_uri(), check_hash=True, progress=False)
    assert [path.name for path in cache.iterdir()] == [right.name]
    with pytest.raises(RuntimeError, match="would be downloaded and run as code"):
        hub.load("someone/something", "model")


def test_every_model_is_built():
    assert {"resnet18", "vgg16", "mobilenet_v2", "alexnet"} < set(models.list_models())
    assert models.list_models(include="vgg1*", exclude="*_bn") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    x = torch.randn(2, 3, 32, 32)
    for name in ("resnet18", "mobilenet_v2", "squeezenet1_0", "densenet121"):
        assert tuple(models.get_model(name, num_classes=3)(x).shape) == (2, 3)
    net = models.resnet50(num_classes=2, replace_stride_with_dilation=[False, True, True], zero_init_residual=True)
    assert tuple(net.layer4(torch.randn(1, 1024, 4, 4)).shape) == (1, 2048, 4, 4)
    assert not net.layer1[0].bn3.weight.any()


def test_scripts_that_import_torchvision(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, torchvision\nimport torchvision.transforms.functional as F\n"
        "from torchvision import datasets, transforms\nfrom torchvision.models.resnet import resnet18\n"
        "print(torchvision.__name__, transforms.functional is F, resnet18().fc)\n"
        "from torchvision.models import inception_v3\n"
    )
    done = subprocess.run([sys.executable, "-m", "rushlight.cli", "run", script], capture_output=True, text=True)
    assert done.stdout == "rushlight.vision True Linear(in_features=512, out_features=1000, bias=True)\n"
    assert "rushlight.vision.models has no inception_v3; there are" in done.stderr
    imported = subprocess.run(
        [sys.executable, "-c", "import rushlight, sys; print([n for n in sys.modules if 'vision' in n or 'PIL' in n])"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert imported.stdout == "[]\n", imported.stderr
