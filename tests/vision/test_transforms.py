"""Transforms without torchvision: against NumPy, and that wrong arguments say what is wrong."""

import math
import pickle

import numpy as np
import pytest

import rushlight as torch
from rushlight.vision import io, ops, transforms, utils
from rushlight.vision.transforms import functional as F
from rushlight.vision.transforms import v2

Image = pytest.importorskip("PIL.Image")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)


def image(kind):
    return Image.fromarray(PIXELS) if kind == "picture" else torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())


def values(result):
    """(H, W, C)."""
    return np.asarray(result) if not isinstance(result, torch.Tensor) else result.numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("kind", ["picture", "tensor"])
def test_places(kind):
    x = image(kind)
    np.testing.assert_array_equal(values(F.hflip(x)), PIXELS[:, ::-1])
    np.testing.assert_array_equal(values(F.vflip(x)), PIXELS[::-1])
    np.testing.assert_array_equal(values(F.crop(x, 2, 1, 5, 4)), PIXELS[2:7, 1:5])
    np.testing.assert_array_equal(values(F.crop(x, -2, -1, 4, 3))[2:, 1:], PIXELS[:2, :2])
    assert not values(F.crop(x, -2, -1, 4, 3))[:2].any()
    np.testing.assert_array_equal(values(F.center_crop(x, 5)), PIXELS[4:9, 2:7])
    for mode, name in (("edge", "edge"), ("reflect", "reflect"), ("symmetric", "symmetric"), ("constant", "constant")):
        padded = np.pad(PIXELS, ((2, 4), (1, 3), (0, 0)), mode=name)
        np.testing.assert_array_equal(values(F.pad(x, [1, 2, 3, 4], padding_mode=mode)), padded)
    np.testing.assert_array_equal(values(F.rotate(x, 180)), PIXELS[::-1, ::-1])
    np.testing.assert_array_equal(values(F.rotate(F.crop(x, 0, 0, 8, 8), 90)), np.rot90(PIXELS[:8, :8]))
    np.testing.assert_array_equal(values(F.affine(x, 0, [2, 3], 1.0, [0.0, 0.0]))[3:, 2:], PIXELS[:-3, :-2])
    assert values(F.resize(x, 18)).shape == (24, 18, 3) and F.resize(x, 9) is x
    np.testing.assert_array_equal(values(F.resize(x, (24, 18), 0)), PIXELS.repeat(2, 0).repeat(2, 1))
    corners = [[0, 0], [8, 0], [8, 11], [0, 11]]
    np.testing.assert_array_equal(values(F.perspective(x, corners, corners, "nearest")), PIXELS)


@pytest.mark.parametrize("kind", ["picture", "tensor"])
def test_colors(kind):
    x = image(kind)
    gray = PIXELS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(values(F.rgb_to_grayscale(x, 3))[:, :, 1], gray, atol=1.1)
    np.testing.assert_array_equal(values(F.invert(x)), 255 - PIXELS)
    np.testing.assert_array_equal(values(F.posterize(x, 3)), PIXELS & 0xE0)
    np.testing.assert_array_equal(values(F.solarize(x, 100)), np.where(PIXELS >= 100, 255 - PIXELS, PIXELS))
    np.testing.assert_allclose(values(F.adjust_brightness(x, 0.5)), PIXELS * 0.5, atol=1)
    for same in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_sharpness):
        np.testing.assert_array_equal(values(same(x, 1.0)), PIXELS)
    np.testing.assert_allclose(values(F.adjust_saturation(x, 0.0))[:, :, 2], gray, atol=1.1)
    np.testing.assert_allclose(values(F.adjust_hue(x, 0.0)), PIXELS, atol=6)  # a picture's hue is a byte
    contrast = values(F.adjust_contrast(x, 0.0))
    assert abs(contrast - gray.mean()).max() < 1.5


def test_conversions():
    tensor = transforms.ToTensor()(Image.fromarray(PIXELS))
    np.testing.assert_allclose(tensor.numpy(), PIXELS.transpose(2, 0, 1) / np.float32(255))
    np.testing.assert_array_equal(np.asarray(transforms.ToPILImage()(tensor)), PIXELS)
    assert transforms.ToTensor()(PIXELS.astype(np.float64)).dtype == torch.float64
    assert F.convert_image_dtype(torch.tensor([0, 255], dtype=torch.uint8), torch.int16).tolist() == [0, 255 * 128]
    assert F.convert_image_dtype(torch.tensor([0.0, 0.5, 1.0]), torch.uint8).tolist() == [0, 127, 255]
    normalized = transforms.Normalize((0.5, 0.4, 0.3), (0.1, 0.2, 0.5))(tensor)
    np.testing.assert_allclose(normalized[1].numpy(), (tensor[1].numpy() - 0.4) / 0.2, rtol=1e-5)
    kept = torch.ones(3, 2, 2)
    transforms.Normalize((1.0,), (2.0,))(kept)
    assert bool((kept == 1).all())
    transforms.Normalize((1.0,), (2.0,), inplace=True)(kept)
    assert bool((kept == 0).all())


def test_blur_is_a_convolution():
    x = torch.zeros(1, 7, 7)
    x[0, 3, 3] = 1
    line = np.exp(-0.5 * (np.arange(-2, 3) / 0.8) ** 2)
    wanted = np.outer(line, line) / line.sum() ** 2
    np.testing.assert_allclose(F.gaussian_blur(x, 5, 0.8).numpy()[0, 1:6, 1:6], wanted, atol=1e-6)


def test_samples():
    picture, label = Image.fromarray(PIXELS), torch.tensor([3])
    sample = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])({"x": picture, "y": (label, "name")})
    assert tuple(sample["x"].shape) == (3, 12, 9) and sample["x"].dtype == torch.float32
    assert sample["y"][0] is label and sample["y"][1] == "name"
    flipped = v2.RandomHorizontalFlip(p=1)([picture, picture])
    np.testing.assert_array_equal(np.asarray(flipped[1]), PIXELS[:, ::-1])

    class Brighter(v2.Transform):
        def make_params(self, flat_inputs):
            return {"factor": len(flat_inputs)}

        def transform(self, inpt, params):
            return inpt * params["factor"] + 1

    assert Brighter()(torch.zeros(3, 1, 1), 5)[0].tolist() == [[[1.0]]] * 3


def test_transforms_are_pickled():
    for t in (transforms, v2):
        made = t.Compose([t.RandomCrop(4), t.RandomHorizontalFlip(), t.Normalize([0.5], [0.5])])
        assert repr(pickle.loads(pickle.dumps(made))) == repr(made)


@pytest.mark.parametrize(
    "call,error,message",
    [
        (lambda: transforms.Normalize((0.5,), (0.5,))(image("picture")), TypeError, "belongs behind ToTensor"),
        (lambda: transforms.Normalize((0.5,), (0.5,))(image("tensor")), TypeError, "should be a float tensor"),
        (lambda: transforms.Normalize((0.5,), (0,))(torch.ones(1, 2, 2)), ValueError, "std evaluated to zero"),
        (lambda: transforms.ToTensor()(torch.ones(1, 2, 2)), TypeError, "should be PIL Image or ndarray"),
        (lambda: transforms.RandomErasing()(image("picture")), TypeError, "belongs behind ToTensor"),
        (lambda: transforms.RandomCrop(20)(image("tensor")), ValueError, r"crop size \(20, 20\) is larger"),
        (lambda: transforms.Resize(2.5), TypeError, "int or sequence"),
        (lambda: transforms.Resize(3, interpolation="cubic"), TypeError, "InterpolationMode"),
        (lambda: transforms.ColorJitter(hue=0.7), ValueError, "hue values should be between"),
        (lambda: transforms.ColorJitter(-1), ValueError, "non negative"),
        (lambda: transforms.RandomRotation(-3), ValueError, "must be positive"),
        (lambda: transforms.RandomAffine(0, translate=(2, 0)), ValueError, "between 0 and 1"),
        (lambda: transforms.GaussianBlur(4), ValueError, "odd and positive"),
        (lambda: transforms.Pad((1, 2, 3)), ValueError, "1, 2, or 4 element"),
        (lambda: transforms.RandomHorizontalFlip(1.5), ValueError, "interval"),
        (lambda: transforms.Compose(transforms.ToTensor()), TypeError, "should be a sequence"),
        (lambda: F.hflip("image"), TypeError, "PIL Image or Tensor"),
        (lambda: v2.Compose([]), ValueError, "at least one"),
        (lambda: transforms.RandomCropp, AttributeError, "did you mean 'RandomCrop'"),
    ],
)  # fmt: skip
def test_mistakes(call, error, message):
    torch.manual_seed(1)
    with pytest.raises(error, match=message):
        for _ in range(20):  # some happen by chance
            call()


def test_grids(tmp_path):
    images = torch.rand(5, 3, 4, 6)
    grid = utils.make_grid(images, nrow=3, padding=1, pad_value=0.5)
    assert tuple(grid.shape) == (3, 2 * 5 + 1, 3 * 7 + 1)
    np.testing.assert_array_equal(grid[:, 6:10, 8:14].numpy(), images[4].numpy())
    assert bool((grid[:, 6:10, 15:21] == 0.5).all()) and bool((grid[:, 0] == 0.5).all())
    scaled = utils.make_grid([images[0] * 9 - 3, images[1]], normalize=True, scale_each=True, padding=0)
    assert scaled.min() == 0 and math.isclose(float(scaled.max()), 1, rel_tol=1e-5)
    assert float(images.max()) < 1  # what was given stays as it was
    assert tuple(utils.make_grid(images[0, 0]).shape) == (3, 4, 6)
    utils.save_image(images, tmp_path / "grid.png", nrow=3)
    back = io.read_image(tmp_path / "grid.png")
    wanted = (utils.make_grid(images, nrow=3).numpy() * 255 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(back.numpy(), wanted)
    assert tuple(io.read_image(tmp_path / "grid.png", io.ImageReadMode.GRAY).shape) == (1, *back.shape[1:])
    np.testing.assert_array_equal(io.decode_image(io.read_file(tmp_path / "grid.png")).numpy(), back.numpy())
    drawn = utils.draw_bounding_boxes(
        torch.zeros(3, 9, 9, dtype=torch.uint8), torch.tensor([[1, 2, 6, 7]]), colors="red"
    )
    assert drawn[0, 2, 1:7].tolist() == [255] * 6 and drawn[0, 3, 2] == 0 and not drawn[1:].any()


def test_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 9]])
    iou = ops.box_iou(boxes, boxes)
    assert math.isclose(float(iou[0, 1]), 81 / (200 - 81), rel_tol=1e-6) and iou[0, 2] == 0 and iou[0, 0] == 1
    scores = torch.tensor([0.5, 0.9, 0.3, 0.4])
    assert ops.nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert ops.nms(boxes, scores, 0.95).tolist() == [1, 0, 3, 2]
    assert ops.batched_nms(boxes, scores, torch.tensor([0, 1, 0, 0]), 0.5).tolist() == [1, 0, 2]
    middle = ops.box_convert(boxes, "xyxy", "cxcywh")
    assert middle[1].tolist() == [6, 6, 10, 10]
    assert ops.box_convert(middle, "cxcywh", "xyxy").tolist() == boxes.tolist()
    assert ops.clip_boxes_to_image(boxes, (8, 25))[2].tolist() == [20, 8, 25, 8]
