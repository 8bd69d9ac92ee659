"""`torchvision.transforms.functional`: what the transforms do, without chance, with PIL images and with tensors.

An image is a PIL image, or a tensor (..., C, H, W). Sizes are (height, width).
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.pillow import is_picture, picture
from rushlight.vision.transforms import pictures, tensors

Fill = float | Sequence[float] | None
Size = int | Sequence[int]


class InterpolationMode(Enum):
    """How values between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_PILLOWS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


def interpolation_mode(mode: Any) -> InterpolationMode:
    """The mode that an InterpolationMode, its value or Pillow's number stands for."""
    if isinstance(mode, int) and 0 <= mode < len(_PILLOWS):
        mode = _PILLOWS[mode]
    try:
        return InterpolationMode(mode)
    except ValueError:
        raise TypeError(
            f"interpolation should be an InterpolationMode or a corresponding Pillow integer constant, not {mode!r}"
        ) from None


def _on(image: Any) -> Any:
    """The functions for images of this kind."""
    if isinstance(image, Tensor):
        return tensors
    if is_picture(image):
        return pictures
    raise TypeError(f"img should be PIL Image or Tensor. Got {type(image)}")


def size_pair(size: Any) -> tuple[int, int]:
    """(height, width) of a number or of a sequence of one or two."""
    sizes = [size] if isinstance(size, int | float) else list(size)
    if len(sizes) not in (1, 2):
        raise ValueError("Please provide only two dimensions (h, w) for size.")
    return int(sizes[0]), int(sizes[-1])


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width]."""
    found: list[int] = _on(img).dimensions(img)
    return found


def get_image_size(img: Any) -> list[int]:
    """[width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """How many channels the image has."""
    return get_dimensions(img)[0]


# Kinds of images


def to_tensor(pic: Any) -> Tensor:
    """A PIL image, or a NumPy array (H, W[, C]), as a tensor (C, H, W); bytes are scaled to 0..1."""
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic
    elif is_picture(pic):
        array = _array(pic)
        array = array * np.uint8(255) if pic.mode == "1" else array
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    channels = (array if array.ndim == 3 else array[:, :, None]).transpose(2, 0, 1)
    if channels.dtype != np.uint8:
        return torch.from_numpy(np.ascontiguousarray(channels))
    image = torch.empty(channels.shape)
    np.divide(channels, image.numpy().dtype.type(255), out=image.numpy())
    return image


_DTYPES = {"I": np.int32, "I;16": np.int16, "I;16B": np.int16, "F": np.float32}


def pil_to_tensor(pic: Any) -> Tensor:
    """A PIL image as a tensor (C, H, W), its values as they are."""
    if not is_picture(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    array = _array(pic)
    return torch.from_numpy(array.reshape(pic.height, pic.width, -1)).permute(2, 0, 1)


def _array(pic: Any) -> np.ndarray[Any, Any]:
    """The values of a PIL image, (H, W) or (H, W, C)."""
    array: np.ndarray[Any, Any] = np.array(pic, _DTYPES.get(pic.mode, np.uint8))
    return array != 0 if pic.mode == "1" else array


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor ([C,] H, W), or a NumPy array (H, W[, C]), as a PIL image; floating numbers are scaled from 0..1."""
    if isinstance(pic, Tensor):
        array = pic.detach().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(pic, np.ndarray):
        array = pic
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if array.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {array.ndim} dimensions.")
    array = array if array.ndim == 3 else array[:, :, None]
    if array.shape[2] > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {array.shape[2]} channels.")
    if array.dtype.kind == "f" and mode != "F":
        array = (array * 255).astype(np.uint8)
    wide = "I;16" if sys.byteorder == "little" else "I;16B"
    of_one = {"uint8": "L", "int16": wide, "int32": "I", "float32": "F"}
    modes = {
        1: [of_one.get(array.dtype.name, "")],
        2: ["LA"],
        3: ["RGB", "YCbCr", "HSV"],
        4: ["RGBA", "CMYK", "RGBX"],
    }[array.shape[2]]
    if mode is not None and mode not in modes:
        raise ValueError(f"mode {mode} is not one for {array.dtype} of {array.shape[2]} channels: {', '.join(modes)}")
    if not modes[0] or (array.shape[2] > 1 and array.dtype != np.uint8):
        raise TypeError(f"Input type {array.dtype} is not supported")
    return picture(array[:, :, 0] if array.shape[2] == 1 else array, mode or modes[0])


def convert_image_dtype(image: Tensor, dtype: Any = torch.float32) -> Tensor:
    """The image in another dtype, its values scaled to that dtype's range: 0..1, 0..255 ..."""
    if not isinstance(image, Tensor):
        raise TypeError(f"Input img should be Tensor Image, not {type(image).__name__}")
    return tensors.convert(image, dtype)


def normalize(tensor: Tensor, mean: Any, std: Any, inplace: bool = False) -> Tensor:
    """(image - mean) / std, with one mean and one deviation for each channel."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}: Normalize() belongs behind ToTensor()")
    return tensors.normalize(tensor, mean, std, inplace)


# Places


def resized(height: int, width: int, size: Any, max_size: int | None) -> list[int]:
    """The [height, width] that `resize` gives to an image."""
    sizes = None if size is None else [size] if isinstance(size, int) else list(size)
    if sizes is not None and len(sizes) not in (1, 2):
        raise ValueError(f"Size must be an int or a 1 or 2 element tuple/list, not a {len(sizes)} element tuple/list")
    if sizes is not None and len(sizes) == 2:
        if max_size is not None:
            raise ValueError("max_size goes with the length of the smaller edge only: size should be an int")
        return sizes
    short, long = sorted((height, width))
    if sizes is None:
        if max_size is None:
            raise ValueError("max_size must be an integer when size is None, but got None instead.")
        shorter, longer = int(max_size * short / long), max_size
    else:
        shorter, longer = sizes[0], int(sizes[0] * long / short)
        if max_size is not None and max_size <= shorter:
            raise ValueError(f"max_size = {max_size} must be strictly greater than the smaller edge, size = {size}")
        if max_size is not None and longer > max_size:
            shorter, longer = int(max_size * shorter / longer), max_size
    return [longer, shorter] if width <= height else [shorter, longer]


def resize(
    img: Any, size: Any, interpolation: Any = InterpolationMode.BILINEAR, max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """The image in `size`: (height, width), or the length of the shorter edge. `max_size` bounds the longer one."""
    mode = interpolation_mode(interpolation)
    _, height, width = get_dimensions(img)
    target = resized(height, width, size, max_size)
    if target == [height, width]:
        return img
    if antialias is False and not isinstance(img, Tensor):
        warnings.warn("PIL images are always smoothed when they get smaller: antialias is ignored", stacklevel=2)
    return _on(img).resize(img, target, mode.value, bool(antialias))


def four_sides(padding: Any) -> list[int]:
    """[left, top, right, bottom] of a number, of (x, y), or of four."""
    sides = [padding] if isinstance(padding, int | float) else list(padding)
    if len(sides) not in (1, 2, 4):
        raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(sides)} element tuple")
    return [int(side) for side in sides * (4 // len(sides))]


def pad(img: Any, padding: Size, fill: Fill = 0, padding_mode: str = "constant") -> Any:
    """The image with `padding` on all sides, on (left and right, top and bottom), or (left, top, right, bottom)."""
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    return _on(img).pad(img, four_sides(padding), fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A rectangle of the image; what lies outside of it is black."""
    return _on(img).crop(img, top, left, height, width)


def center_crop(img: Any, output_size: Size) -> Any:
    """The middle of the image; a smaller one is padded with black."""
    height, width = size_pair(output_size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        x, y = max(width - w, 0), max(height - h, 0)
        img = pad(img, [x // 2, y // 2, (x + 1) // 2, (y + 1) // 2])
        _, h, w = get_dimensions(img)
        if (width, height) == (w, h):
            return img
    return crop(img, round((h - height) / 2.0), round((w - width) / 2.0), height, width)


def resized_crop(
    img: Any, top: int, left: int, height: int, width: int, size: Any,
    interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True,
) -> Any:  # fmt: skip
    """A rectangle of the image, in another size."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return _on(img).hflip(img)


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return _on(img).vflip(img)


def five_crop(img: Any, size: Size) -> tuple[Any, Any, Any, Any, Any]:
    """The corners (top left, top right, bottom left, bottom right) and the middle."""
    height, width = size_pair(size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        raise ValueError(f"Requested crop size {(height, width)} is bigger than input size {(h, w)}")
    top_left, top_right, bottom_left, bottom_right = (
        crop(img, top, left, height, width) for top in (0, h - height) for left in (0, w - width)
    )
    return top_left, top_right, bottom_left, bottom_right, center_crop(img, (height, width))


def ten_crop(img: Any, size: Size, vertical_flip: bool = False) -> tuple[Any, ...]:
    """Five crops of the image, and of the image flipped."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


def _inverse_matrix(
    center: Sequence[float], angle: float, translate: Sequence[float], scale: float, shear: Sequence[float]
) -> list[float]:
    """From a place in the result to one in the image: the inverse of
    translation * center * rotation and shear * scale * center^-1, its first two rows."""
    turn, x, y = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    a = math.cos(turn - y) / math.cos(y)
    b = -math.cos(turn - y) * math.tan(x) / math.cos(y) - math.sin(turn)
    c = math.sin(turn - y) / math.cos(y)
    d = -math.sin(turn - y) * math.tan(x) / math.cos(y) + math.cos(turn)
    (a, b), (c, d) = (d / scale, -b / scale), (-c / scale, a / scale)
    dx, dy = -center[0] - translate[0], -center[1] - translate[1]
    return [a, b, 0.0 + a * dx + b * dy + center[0], c, d, 0.0 + c * dx + d * dy + center[1]]


def rotate(
    img: Any, angle: float, interpolation: Any = InterpolationMode.NEAREST, expand: bool = False, center: Any = None,
    fill: Fill = None,
) -> Any:  # fmt: skip
    """The image turned by `angle` degrees, counterclockwise, around (x, y) `center`; `expand` makes room for all."""
    mode = interpolation_mode(interpolation).value
    if not isinstance(img, Tensor):
        return _on(img).rotate(img, angle, mode, expand, center, fill)
    middle = _from_middle(img, center)
    return tensors.rotate(img, _inverse_matrix(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0]), mode, expand, fill)


def _from_middle(image: Tensor, center: Any) -> list[float]:
    _, height, width = get_dimensions(image)
    return [0.0, 0.0] if center is None else [center[0] - width * 0.5, center[1] - height * 0.5]


def affine(
    img: Any, angle: float, translate: Sequence[float], scale: float, shear: Any,
    interpolation: Any = InterpolationMode.NEAREST, fill: Fill = None, center: Any = None,
) -> Any:  # fmt: skip
    """The image turned by `angle` degrees clockwise, moved by (x, y), scaled, and sheared by (x, y) degrees."""
    mode = interpolation_mode(interpolation).value
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0:
        raise ValueError("Argument scale should be positive")
    shears = [shear, 0.0] if isinstance(shear, int | float) else [*shear, *shear][:2] if len(shear) == 1 else shear
    if len(shears) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    if isinstance(img, Tensor):
        middle = _from_middle(img, center)
    else:
        _, height, width = get_dimensions(img)
        middle = [width * 0.5, height * 0.5] if center is None else center
    return _on(img).affine(img, _inverse_matrix(middle, angle, translate, scale, shears), mode, fill)


def perspective(
    img: Any, startpoints: Sequence[Sequence[int]], endpoints: Sequence[Sequence[int]],
    interpolation: Any = InterpolationMode.BILINEAR, fill: Fill = None,
) -> Any:  # fmt: skip
    """The image with its four `startpoints` (x, y) moved to the `endpoints`."""
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise ValueError(f"Please provide exactly four corners, got {len(startpoints)} and {len(endpoints)}")
    rows = []
    for (x, y), (u, v) in zip(endpoints, startpoints, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    solution = np.linalg.lstsq(np.array(rows, np.float64), np.array(startpoints, np.float64).ravel(), rcond=None)[0]
    coefficients = solution.astype(np.float32).tolist()
    return _on(img).perspective(img, coefficients, interpolation_mode(interpolation).value, fill)


# Colors


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """The image in gray, in one channel or three equal ones."""
    return _on(img).to_grayscale(img, num_output_channels)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """`rgb_to_grayscale` of a PIL image."""
    if isinstance(img, Tensor):
        raise TypeError("Input should be PIL Image: rgb_to_grayscale() takes tensors, too")
    return rgb_to_grayscale(img, num_output_channels)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """0 makes the image black, 1 leaves it, 2 makes it twice as bright."""
    return _on(img).adjust_brightness(img, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """0 makes the image one gray, 1 leaves it."""
    return _on(img).adjust_contrast(img, contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """0 makes the image gray, 1 leaves it."""
    return _on(img).adjust_saturation(img, saturation_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Turns the colors by `hue_factor` of a whole turn, from -0.5 to 0.5."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return _on(img).adjust_hue(img, hue_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """gain * image ** gamma, of values from 0 to 1."""
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    return _on(img).adjust_gamma(img, gamma, gain)


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """0 blurs the image, 1 leaves it, 2 makes it twice as sharp."""
    return _on(img).adjust_sharpness(img, sharpness_factor)


def gaussian_blur(img: Any, kernel_size: Size, sigma: Any = None) -> Any:
    """The image blurred by a window of (x, y) sizes, with the standard deviations (x, y)."""
    sizes = size_pair(kernel_size)
    if any(size <= 0 or size % 2 == 0 for size in sizes):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {kernel_size}")
    if sigma is None:
        deviations = [size * 0.15 + 0.35 for size in sizes]
    else:
        deviations = [float(sigma)] * 2 if isinstance(sigma, int | float) else [float(s) for s in sigma]
        deviations = deviations * 2 if len(deviations) == 1 else deviations
    if len(deviations) != 2 or min(deviations) <= 0:
        raise ValueError(f"sigma should have one or two positive values. Got {sigma}")
    return _as_tensor(img, lambda image: tensors.gaussian_blur(image, sizes, deviations))


def _as_tensor(img: Any, function: Any) -> Any:
    """`function` of tensors on an image of either kind."""
    _on(img)
    return function(img) if isinstance(img, Tensor) else to_pil_image(function(pil_to_tensor(img)), img.mode)


def invert(img: Any) -> Any:
    """The negative."""
    return _on(img).invert(img)


def posterize(img: Any, bits: int) -> Any:
    """The image with `bits` of each 8 left."""
    if not 0 <= bits <= 8:
        raise ValueError(f"The number of bits should be between 0 and 8. Got {bits}")
    return _on(img).posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    """Values from the threshold on as in the negative."""
    return _on(img).solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    """Each channel spread from black to white."""
    return _on(img).autocontrast(img)


def equalize(img: Any) -> Any:
    """Each channel with about the same number of pixels for each value."""
    return _on(img).equalize(img)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """`v` in the rectangle whose top left corner is (i, j)."""
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}: RandomErasing() belongs behind ToTensor()")
    return tensors.erase(img, i, j, h, w, v, inplace)


def elastic_transform(
    img: Any, displacement: Tensor, interpolation: Any = InterpolationMode.BILINEAR, fill: Fill = None
) -> Any:
    """Each place (1, H, W, 2) moved by the displacement (x, y), in halves of the image's size."""
    mode = interpolation_mode(interpolation).value
    return _as_tensor(img, lambda image: tensors.elastic(image, displacement, mode, fill))
