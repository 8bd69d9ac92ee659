"""Classifiers against torchvision: names and first values of parameters, results, how they print."""

import numpy as np
import pytest
from torchvision_oracle import torch, torchvision

import rushlight
from rushlight import vision

pytestmark = pytest.mark.oracle
SMALL = ["alexnet", "densenet121", "efficientnet_b0", "mobilenet_v2", "resnet18", "resnet50", "resnext50_32x4d"]
SMALL += ["efficientnet_b2", "squeezenet1_0", "squeezenet1_1", "vgg11_bn"]


@pytest.mark.parametrize("name", SMALL)
def test_models(name):
    rushlight.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = (library.models.get_model(name, num_classes=7).eval() for library in (vision, torchvision))
    assert repr(ours) == repr(theirs)
    assert float(rushlight.rand(1)) == float(torch.rand(1))
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for key, value in ours.state_dict().items():
        np.testing.assert_allclose(value.numpy(), state[key].numpy(), atol=1e-6, err_msg=key)
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    with torch.no_grad(), rushlight.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
        found = ours(rushlight.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_weights():
    for name in vision.models.list_models():
        ours, theirs = (library.models.get_model_weights(name) for library in (vision, torchvision))
        assert ours.DEFAULT.name == theirs.DEFAULT.name and ours.__name__ == theirs.__name__
        for member in ours.__members__:
            assert ours[member].url == theirs[member].url
            assert repr(ours[member]) == repr(theirs[member])
            assert repr(ours[member].transforms()) == repr(theirs[member].transforms())


@pytest.mark.parametrize("kind", ["picture", "tensor"])
def test_what_a_picture_goes_through(kind):
    Image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 270, 3), np.uint8)
    results = []
    for library, tensor in ((vision, rushlight.from_numpy), (torchvision, torch.from_numpy)):
        image = Image.fromarray(pixels) if kind == "picture" else tensor(pixels.transpose(2, 0, 1).copy())
        results.append(library.models.ResNet50_Weights.DEFAULT.transforms()(image).numpy())
    # Bytes are rounded to: a value between two of them may go to either.
    assert (np.abs(results[0] - results[1]) > 1e-5).mean() < 0.002
    np.testing.assert_allclose(*results, atol=0.02)
