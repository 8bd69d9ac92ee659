"""What the transforms do with images that are PIL images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.vision.pillow import picture, pillow

Fill = float | Sequence[float] | None

_RESAMPLING = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def dimensions(image: Any) -> list[int]:
    """Channels, height, width."""
    return [len(image.getbands()), image.height, image.width]


def _color(image: Any, fill: Fill) -> Any:
    """`fill` as Pillow takes it: a number, or one for each of several channels."""
    channels = len(image.getbands())
    values = [0] if fill is None else [fill] if isinstance(fill, int | float) else list(fill)
    if len(values) not in (1, channels):
        raise ValueError(f"fill has {len(values)} values for an image of {channels} channels")
    numbers = tuple(value if image.mode == "F" else int(value) for value in values) * (channels // len(values))
    return numbers[0] if channels == 1 else numbers


# Places


def hflip(image: Any) -> Any:
    return image.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(image: Any) -> Any:
    return image.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    return image.crop((left, top, left + width, top + height))


def pad(image: Any, padding: Sequence[int], fill: Fill = 0, mode: str = "constant") -> Any:
    """`padding` is (left, top, right, bottom)."""
    left, top, right, bottom = padding
    if mode == "constant":
        return _with_palette(image, pillow("ImageOps").expand(image, (left, top, right, bottom), _color(image, fill)))
    array = np.asarray(image)
    sides = [(top, bottom), (left, right), (0, 0)][: array.ndim]
    padded = np.pad(array, sides, mode=mode)  # type: ignore[call-overload]
    return _with_palette(image, picture(padded, image.mode))


def _with_palette(image: Any, result: Any) -> Any:
    if image.mode == "P":
        result.putpalette(image.getpalette())
    return result


def resize(image: Any, size: Sequence[int], interpolation: str, antialias: bool) -> Any:
    return image.resize((size[1], size[0]), _RESAMPLING[interpolation])


def rotate(image: Any, angle: float, interpolation: str, expand: bool, center: Any, fill: Fill) -> Any:
    return image.rotate(angle, _RESAMPLING[interpolation], expand, center, fillcolor=_color(image, fill))


def affine(image: Any, matrix: list[float], interpolation: str, fill: Fill) -> Any:
    return _transform(image, pillow().Transform.AFFINE, matrix, interpolation, fill)


def perspective(image: Any, coefficients: list[float], interpolation: str, fill: Fill) -> Any:
    return _transform(image, pillow().Transform.PERSPECTIVE, coefficients, interpolation, fill)


def _transform(image: Any, kind: Any, numbers: list[float], interpolation: str, fill: Fill) -> Any:
    return image.transform(image.size, kind, numbers, _RESAMPLING[interpolation], fillcolor=_color(image, fill))


# Colors


def to_grayscale(image: Any, channels: int) -> Any:
    if channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    gray = image.convert("L")
    return gray if channels == 1 else pillow().merge("RGB", (gray, gray, gray))


def adjust_brightness(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Brightness(image).enhance(factor)


def adjust_contrast(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Contrast(image).enhance(factor)


def adjust_saturation(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Color(image).enhance(factor)


def adjust_sharpness(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Sharpness(image).enhance(factor)


def adjust_hue(image: Any, factor: float) -> Any:
    if image.mode in ("L", "1", "I", "F"):
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue) + np.int32(factor * 255).astype(np.uint8)  # modulo 256: a whole turn
    return pillow().merge("HSV", (picture(turned, "L"), saturation, value)).convert(image.mode)


def adjust_gamma(image: Any, gamma: float, gain: float) -> Any:
    table = [int((255 + 1 - 1e-3) * gain * (value / 255.0) ** gamma) for value in range(256)]
    return image.convert("RGB").point(table * 3).convert(image.mode)


def invert(image: Any) -> Any:
    return pillow("ImageOps").invert(image)


def posterize(image: Any, bits: int) -> Any:
    return pillow("ImageOps").posterize(image, bits)


def solarize(image: Any, threshold: float) -> Any:
    return pillow("ImageOps").solarize(image, threshold)


def autocontrast(image: Any) -> Any:
    return pillow("ImageOps").autocontrast(image)


def equalize(image: Any) -> Any:
    return pillow("ImageOps").equalize(image)
