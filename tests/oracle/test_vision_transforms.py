"""Transforms, on pictures and on tensors, against torchvision: the same random numbers, the same pixels."""

import random

import numpy as np
import pytest
from torchvision_oracle import torch, torchvision

import rushlight
from rushlight import vision

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.oracle

ONE_OR_MORE = {  # name -> arguments, on pictures and on tensors of bytes and of floating numbers
    "CenterCrop": [(10,), ((8, 30),)],
    "ColorJitter": [(0.4, 0.3, 0.2, 0.1), (0.5,), ((0.2, 0.3), 0, (1, 2), (-0.3, 0.4))],
    "ElasticTransform": [(30.0, 2.0)],
    "FiveCrop": [(6,)],
    "GaussianBlur": [(3,), ((5, 7), (0.3, 1.5))],
    "Grayscale": [(), (3,)],
    "Pad": [(2,), ((1, 2), 7), ((1, 2, 3, 4), 0, "edge"), (2, 0, "reflect"), (3, 0, "symmetric")],
    "RandomAdjustSharpness": [(2.0, 1.0)],
    "RandomAffine": [(20,), ((-10, 30), (0.1, 0.2), (0.8, 1.2), 10), (0, None, None, (1, 9, -5, 5))],
    "RandomAutocontrast": [(1.0,)],
    "RandomCrop": [(8,), (12, 2), ((20, 24), None, True), (8, (1, 2, 3, 4), False, 9), (15, 3, True, 0, "reflect")],
    "RandomGrayscale": [(0.6,)],
    "RandomHorizontalFlip": [(), (0.9,)],
    "RandomInvert": [(0.7,)],
    "RandomPerspective": [(0.5, 1.0), (0.3, 0.8)],
    "RandomResizedCrop": [(9,), ((12, 7), (0.5, 1.0), (0.9, 1.1)), (5, (2.0, 3.0))],
    "RandomRotation": [(30,), ((10, 80),), (45, 0, True)],
    "RandomSolarize": [(0.5, 1.0)],
    "RandomVerticalFlip": [(), (1.0,)],
    "Resize": [(9,), ((10, 25),), (8, 3)],
    "TenCrop": [(6,), (6, True)],
}
CASES = [(name, arguments) for name, many in ONE_OR_MORE.items() for arguments in many]
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
PIXELS[4:9, 3:12] = (200, 30, 90)


def images(kind):
    if kind == "picture":
        return Image.fromarray(PIXELS), Image.fromarray(PIXELS)
    if kind == "gray":
        return Image.fromarray(PIXELS[:, :, 0]), Image.fromarray(PIXELS[:, :, 0])
    array = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    array = array if kind == "bytes" else (array / 255).astype(np.float32)
    return rushlight.from_numpy(array.copy()), torch.from_numpy(array.copy())


def seeded():
    rushlight.manual_seed(5)
    torch.manual_seed(5)
    random.seed(5)


def assert_same(ours, theirs, kind):
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b, kind)
        return
    a, b = np.asarray(ours), np.asarray(theirs)
    assert a.shape == b.shape and a.dtype == b.dtype
    if kind in ("picture", "gray"):
        np.testing.assert_array_equal(a, b)
    else:
        # A value between two whole numbers, or a place between two pixels, may round to either.
        apart = np.abs(a.astype(np.float64) - b) > (1 if kind == "bytes" else 2e-5)
        assert apart.mean() < 0.004, f"{apart.sum()} of {apart.size} values differ: {a[apart][:5]}, {b[apart][:5]}"


def call(transforms, name, arguments, image, repeats=6):
    transform = getattr(transforms, name)(*arguments)
    seed_state = random.getstate()
    try:
        return [transform(image) for _ in range(repeats)]
    finally:
        random.setstate(seed_state)


def compare(ours, theirs, name, arguments, kind):
    a, b = images(kind)
    if name in ("GaussianBlur", "ElasticTransform"):  # pictures, too, are blurred and moved as tensors
        kind = "floats" if kind == "floats" else "bytes"
    seeded()
    expected = call(theirs, name, arguments, b)
    assert_same(call(ours, name, arguments, a), expected, kind)
    assert float(rushlight.rand(1)) == float(torch.rand(1))  # as many numbers were drawn


@pytest.mark.parametrize("kind", ["picture", "gray", "bytes", "floats"])
@pytest.mark.parametrize("name,arguments", CASES, ids=lambda value: str(value)[:40])
def test_transforms(name, arguments, kind):
    if name == "RandomSolarize" and kind in ("picture", "gray", "bytes"):
        arguments = (128, 1.0)
    if kind == "gray" and name in ("RandomAutocontrast",):
        arguments = (0.5,)
    compare(vision.transforms, torchvision.transforms, name, arguments, kind)


@pytest.mark.parametrize("kind", ["picture", "bytes", "floats"])
@pytest.mark.parametrize("name,arguments", CASES, ids=lambda value: str(value)[:40])
def test_second_version(name, arguments, kind):
    if name == "RandomSolarize" and kind != "floats":
        arguments = (128, 1.0)
    if kind == "bytes" and name in ("ColorJitter", "Grayscale", "RandomGrayscale"):
        pytest.skip("bytes are rounded elsewhere in the second version")
    compare(vision.transforms.v2, torchvision.transforms.v2, name, arguments, kind)


@pytest.mark.parametrize("kind", ["picture", "bytes"])
@pytest.mark.parametrize("name", ["TrivialAugmentWide", "RandAugment", "imagenet", "cifar10", "svhn"])
def test_automatic_augmentation(name, kind):
    a, b = images(kind)
    results = []
    for library, image in ((vision, a), (torchvision, b)):
        t = library.transforms
        make = getattr(t, name, None)
        transform = make() if make else t.AutoAugment(t.AutoAugmentPolicy(name))
        seeded()
        results.append(call_with(transform, image))
    assert_same(*results, kind)


def call_with(transform, image):
    return [transform(image) for _ in range(60)]


@pytest.mark.parametrize("name", ["TrivialAugmentWide", "RandAugment"])
def test_automatic_augmentation_in_the_second_version(name):
    results = []
    for library, image in zip((vision, torchvision), images("picture"), strict=True):
        seeded()
        results.append(call_with(getattr(library.transforms.v2, name)(), image))
    assert_same(*results, "picture")


@pytest.mark.parametrize("name,arguments", [("RandomPosterize", (3, 0.7)), ("RandomEqualize", (0.8,))])
@pytest.mark.parametrize("kind", ["picture", "bytes"])
def test_transforms_of_bytes(name, arguments, kind):
    compare(vision.transforms, torchvision.transforms, name, arguments, kind)


@pytest.mark.parametrize(
    "arguments", [(1.0,), (0.5, (0.1, 0.2), (0.5, 2.0), (0.1, 0.2, 0.3)), (1.0, (0.02, 0.3), (0.3, 3.3), "random")]
)
@pytest.mark.parametrize("version", ["transforms", "v2"])
def test_erasing(arguments, version):
    modules = [m.transforms if version == "transforms" else m.transforms.v2 for m in (vision, torchvision)]
    compare(*modules, "RandomErasing", arguments, "floats")


@pytest.mark.parametrize("name", ["RandomApply", "RandomChoice", "RandomOrder", "Compose"])
@pytest.mark.parametrize("version", ["transforms", "v2"])
def test_holders(name, version):
    results = []
    for library, image in zip((vision, torchvision), images("picture"), strict=True):
        t = library.transforms if version == "transforms" else library.transforms.v2
        seeded()
        transform = getattr(t, name)([t.RandomRotation(40), t.RandomCrop(12), t.RandomHorizontalFlip(), t.Pad(1)])
        results.append([transform(image) for _ in range(8)])
    assert_same(*results, "picture")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "I", "F", "RGBA", "LA", "P"])
def test_pictures_and_tensors(mode):
    picture = Image.fromarray(PIXELS).convert(mode)
    for name in ("to_tensor", "pil_to_tensor"):
        ours = getattr(vision.transforms.functional, name)(picture)
        theirs = getattr(torchvision.transforms.functional, name)(picture)
        assert str(ours.dtype) == str(theirs.dtype)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    if mode not in ("1", "P", "F"):
        back = vision.transforms.functional.to_pil_image(vision.transforms.functional.pil_to_tensor(picture))
        assert back.mode == mode
        np.testing.assert_array_equal(np.asarray(back), np.asarray(picture))
    array = np.random.default_rng(1).random((5, 6, 3)).astype(np.float32)
    pair = [library.transforms.functional.to_pil_image(array) for library in (vision, torchvision)]
    assert_same(*pair, "picture")


def shown(library, source):
    return repr(eval(source, {"t": library.transforms, "v2": library.transforms.v2, "torch": torch}))


@pytest.mark.parametrize(
    "source",
    [
        "t.Compose([t.Resize(256), t.CenterCrop(224), t.ToTensor(), t.Normalize((0.5,), (0.5,))])",
        "t.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), fill=3)",
        "t.RandomRotation(15, expand=True)",
        "t.RandomResizedCrop(32)",
        "t.RandomCrop(32, padding=4)",
        "t.RandomErasing()",
        "t.RandomApply([t.ColorJitter(0.1, 0.2), t.Grayscale(3)], p=0.3)",
        "t.RandomChoice([t.RandomHorizontalFlip(), t.RandomVerticalFlip(0.1)])",
        "[t.Pad(2), t.FiveCrop(3), t.TenCrop(3), t.Lambda(abs), t.ToPILImage(), t.PILToTensor()]",
        "[t.GaussianBlur(3), t.RandomInvert(), t.RandomPosterize(2), t.RandomSolarize(9.0), t.RandomGrayscale()]",
        "v2.Compose([v2.Resize(9), v2.RandomHorizontalFlip(), v2.ToImage(), v2.Normalize([0.5], [0.5])])",
        "v2.RandomApply([v2.ColorJitter(0.1), v2.RandomRotation(3)], p=0.2)",
    ],
)
def test_printing(source):
    ours, theirs = shown(vision, source), shown(torchvision, source)
    squeezed = [
        " ".join(text.replace("bits=2,p", "bits=2, p").replace("9.0,p", "9.0, p").split()) for text in (ours, theirs)
    ]
    assert squeezed[0] == squeezed[1]


def test_samples_of_structures():
    results = []
    for library, image in zip((vision, torchvision), images("picture"), strict=True):
        t = library.transforms.v2
        seeded()
        transform = t.Compose([t.RandomHorizontalFlip(), t.RandomCrop(10), t.RandomRotation(20)])
        sample = transform({"image": image, "label": 3, "pair": (image, "name")})
        assert sample["label"] == 3 and sample["pair"][1] == "name"
        results.append([sample["image"], sample["pair"][0], transform(image, 7)[0]])
    assert_same(*results, "picture")
