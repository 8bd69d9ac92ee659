"""What the transforms do with images that are tensors (..., C, H, W)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import rushlight as torch
from rushlight import Tensor
from rushlight.nn import functional as F

Fill = float | Sequence[float] | None

_MAXIMA = {torch.uint8: 255, torch.int8: 127, torch.int16: 32767, torch.int32: 2**31 - 1, torch.int64: 2**63 - 1}


def maximum(dtype: Any) -> int:
    """The value of white in images of this dtype."""
    return _MAXIMA.get(dtype, 1)


def dimensions(image: Tensor) -> list[int]:
    """Channels, height, width."""
    if image.ndim < 2:
        raise TypeError(f"an image has a height and a width; this tensor is of shape {tuple(image.shape)}")
    return [1 if image.ndim == 2 else image.shape[-3], image.shape[-2], image.shape[-1]]


def _channels(image: Tensor) -> int:
    """1 or 3; raises TypeError for images of another number of channels."""
    channels = dimensions(image)[0]
    if channels not in (1, 3) or image.ndim < 3:
        raise TypeError(f"an image of 1 or 3 channels (..., C, H, W) is expected, not {tuple(image.shape)}")
    return channels


def convert(image: Tensor, dtype: Any) -> Tensor:
    """The image in another dtype, its values scaled from that of white here to that of white there."""
    if image.dtype == dtype:
        return image
    if image.is_floating_point():
        if dtype.is_floating_point:
            return image.to(dtype)
        if dtype == torch.int64 or (image.dtype == torch.float32 and dtype == torch.int32):
            raise RuntimeError(f"The cast from {image.dtype} to {dtype} cannot be performed safely.")
        return (image * (maximum(dtype) + 1.0 - 1e-3)).to(dtype)
    ours, theirs = maximum(image.dtype), maximum(dtype)
    if dtype.is_floating_point:
        return image.to(dtype) / ours
    if ours > theirs:
        return torch.div(image, (ours + 1) // (theirs + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((theirs + 1) // (ours + 1))


# Places


def hflip(image: Tensor) -> Tensor:
    return image.flip(-1)


def vflip(image: Tensor) -> Tensor:
    return image.flip(-2)


def crop(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    _, h, w = dimensions(image)
    bottom, right = top + height, left + width
    inner = image[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if min(top, left) >= 0 and bottom <= h and right <= w:
        return inner
    sides = [min(max(-left, 0), width), min(max(-top, 0), height),
             min(max(right - w, 0), width), min(max(bottom - h, 0), height)]  # fmt: skip
    return pad(inner, sides)


def pad(image: Tensor, padding: Sequence[int], fill: Fill = 0, mode: str = "constant") -> Tensor:
    """`padding` is (left, top, right, bottom)."""
    left, top, right, bottom = padding
    if mode == "symmetric":
        rows, columns = (
            torch.cat([torch.arange(n)[:before].flip(0), torch.arange(n), torch.arange(n)[n - after :].flip(0)])
            for n, before, after in ((image.shape[-2], top, bottom), (image.shape[-1], left, right))
        )
        return image[..., rows[:, None], columns[None, :]]
    values = [0.0] if fill is None else [float(fill)] if isinstance(fill, int | float) else [float(f) for f in fill]
    if len(values) > 1 and mode == "constant":
        parts = [pad(part, padding, value) for part, value in zip(image.split(1, -3), values, strict=True)]
        return torch.cat(parts, -3)
    batched = image if image.ndim >= 4 else image[None]
    sides = [left, right, top, bottom]
    if mode == "constant":
        padded = F.pad(batched, sides, value=values[0])
    else:
        kind = {"edge": "replicate", "reflect": "reflect"}[mode]
        padded = F.pad(batched.to(_floating(image)), sides, mode=kind).to(image.dtype)
    return padded if image.ndim >= 4 else padded[0]


def resize(image: Tensor, size: Sequence[int], interpolation: str, antialias: bool) -> Tensor:
    smooth = interpolation in ("bilinear", "bicubic")
    if not smooth and interpolation not in ("nearest", "nearest-exact"):
        raise ValueError(f"images that are tensors are interpolated nearest, bilinear or bicubic, not {interpolation}")

    def interpolated(x: Tensor) -> Tensor:
        y = F.interpolate(
            x, size=list(size), mode=interpolation, align_corners=False if smooth else None,
            antialias=bool(antialias) and smooth,
        )  # fmt: skip
        return y.clamp(0, 255) if interpolation == "bicubic" and image.dtype == torch.uint8 else y

    return _as_floats(image, interpolated)


def _floating(image: Tensor) -> Any:
    return image.dtype if image.is_floating_point() else torch.float32


def _as_floats(image: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` on a batch of floating numbers; integers are rounded to afterwards."""
    batched = image if image.ndim >= 4 else image[None] if image.ndim == 3 else image[None, None]
    result = function(batched.to(_floating(image)))
    result = result if image.ndim >= 4 else result[0] if image.ndim == 3 else result[0, 0]
    return result if image.is_floating_point() else torch.round(result).to(image.dtype)


def rotate(image: Tensor, matrix: list[float], interpolation: str, expand: bool, fill: Fill) -> Tensor:
    h, w = image.shape[-2:]
    return _sample(
        image, _affine_grid(image, matrix, *(_extent(matrix, w, h) if expand else (w, h))), interpolation, fill
    )


def affine(image: Tensor, matrix: list[float], interpolation: str, fill: Fill) -> Tensor:
    h, w = image.shape[-2:]
    return _sample(image, _affine_grid(image, matrix, w, h), interpolation, fill)


def _extent(matrix: list[float], w: int, h: int) -> tuple[int, int]:
    """Width and height of what the rectangle is turned to, but for rounding errors."""
    corners = torch.tensor([[x * w, y * h, 1.0] for x, y in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))])
    moved = corners @ torch.tensor(matrix).view(2, 3).T
    half = torch.tensor([w * 0.5, h * 0.5])
    low, high = (torch.trunc((edge + half) / 1e-4) * 1e-4 for edge in (moved.amin(0), moved.amax(0)))
    width, height = (torch.ceil(high) - torch.floor(low)).tolist()
    return int(width), int(height)


def _affine_grid(image: Tensor, matrix: list[float], width: int, height: int) -> Tensor:
    """Where in the image each place (height, width) of the result lies, from -1 to 1."""
    dtype = _floating(image)
    h, w = image.shape[-2:]
    places = _places(width, height, -width * 0.5 + 0.5, -height * 0.5 + 0.5, dtype)
    theta = torch.tensor(matrix, dtype=dtype).view(2, 3).T / torch.tensor([0.5 * w, 0.5 * h], dtype=dtype)
    return (places @ theta).view(1, height, width, 2)


def _places(width: int, height: int, x: float, y: float, dtype: Any) -> Tensor:
    """(x, y, 1) of each place, (height * width, 3), counted from the first one's."""
    rows, columns = torch.meshgrid(
        torch.linspace(y, y + height - 1, height, dtype=dtype),
        torch.linspace(x, x + width - 1, width, dtype=dtype),
        indexing="ij",
    )
    return torch.stack([columns, rows, torch.ones_like(rows)], -1).view(-1, 3)


def perspective(image: Tensor, coefficients: list[float], interpolation: str, fill: Fill) -> Tensor:
    dtype = _floating(image)
    h, w = image.shape[-2:]
    a, b, c, d, e, f, g, i = coefficients
    places = _places(w, h, 0.5, 0.5, dtype)
    above = torch.tensor([[a, b, c], [d, e, f]], dtype=dtype).T / torch.tensor([0.5 * w, 0.5 * h], dtype=dtype)
    below = torch.tensor([[g, i, 1.0], [g, i, 1.0]], dtype=dtype).T
    return _sample(image, ((places @ above) / (places @ below) - 1).view(1, h, w, 2), interpolation, fill)


def elastic(image: Tensor, displacement: Tensor, interpolation: str, fill: Fill) -> Tensor:
    h, w = image.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.linspace((1 - h) / h, (h - 1) / h, h), torch.linspace((1 - w) / w, (w - 1) / w, w), indexing="ij"
    )
    return _sample(image, torch.stack([columns, rows], -1)[None] + displacement, interpolation, fill)


def _sample(image: Tensor, grid: Tensor, mode: str, fill: Fill) -> Tensor:
    """The image at the places of the grid; `fill` where these lie outside."""
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"images that are tensors are turned with nearest or bilinear interpolation, not {mode}")

    def sampled(x: Tensor) -> Tensor:
        where = grid.expand(x.shape[0], *grid.shape[1:])
        if fill is None:
            return F.grid_sample(x, where, mode=mode, padding_mode="zeros", align_corners=False)
        inside = torch.ones(x.shape[0], 1, *x.shape[2:], dtype=x.dtype)
        y = F.grid_sample(torch.cat([x, inside], 1), where, mode=mode, padding_mode="zeros", align_corners=False)
        y, mask = y[:, :-1], y[:, -1:]
        color = torch.tensor([fill] if isinstance(fill, int | float) else list(fill), dtype=x.dtype).view(1, -1, 1, 1)
        return torch.where(mask < 0.5, color, y) if mode == "nearest" else y * mask + (1 - mask) * color

    return _as_floats(image, sampled)


# Colors


def to_grayscale(image: Tensor, channels: int) -> Tensor:
    if channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    gray = image.clone()
    if _channels(image) == 3:
        red, green, blue = image.unbind(-3)
        gray = (0.2989 * red + 0.587 * green + 0.114 * blue).to(image.dtype).unsqueeze(-3)
    return gray.expand(*image.shape[:-3], channels, *image.shape[-2:]) if channels == 3 else gray


def _blend(image: Tensor, other: Tensor | float, ratio: float) -> Tensor:
    return (ratio * image + (1.0 - ratio) * other).clamp(0, maximum(image.dtype)).to(image.dtype)


def adjust_brightness(image: Tensor, factor: float) -> Tensor:
    _channels(image)
    return _blend(image, 0.0, _factor("brightness", factor))


def adjust_contrast(image: Tensor, factor: float) -> Tensor:
    gray = to_grayscale(image, 1) if _channels(image) == 3 else image
    mean = gray.to(_floating(image)).mean(dim=(-3, -2, -1), keepdim=True)
    return _blend(image, mean, _factor("contrast", factor))


def adjust_saturation(image: Tensor, factor: float) -> Tensor:
    _factor("saturation", factor)
    return image if _channels(image) == 1 else _blend(image, to_grayscale(image, 1), factor)


def _factor(name: str, factor: float) -> float:
    if factor < 0:
        raise ValueError(f"{name}_factor ({factor}) is not non-negative.")
    return float(factor)


def adjust_hue(image: Tensor, factor: float) -> Tensor:
    if _channels(image) == 1:
        return image
    hue, saturation, value = _to_hsv(convert(image, _floating(image) if image.is_floating_point() else torch.float32))
    return convert(_from_hsv((hue + factor) % 1.0, saturation, value), image.dtype)


def _to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    red, green, blue = image.unbind(-3)
    value = image.amax(-3)
    spread = value - image.amin(-3)
    flat = spread == 0
    one = torch.ones_like(value)
    saturation = spread / torch.where(flat, one, value)
    r, g, b = ((value - channel) / torch.where(flat, one, spread) for channel in (red, green, blue))
    sector = torch.where(value == red, b - g, torch.where(value == green, 2.0 + r - b, 4.0 + g - r))
    return torch.fmod(sector / 6.0 + 1.0, 1.0), saturation, value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    sector = torch.floor(hue * 6.0)
    part = hue * 6.0 - sector
    low = (value * (1.0 - saturation)).clamp(0, 1)
    falling = (value * (1.0 - saturation * part)).clamp(0, 1)
    rising = (value * (1.0 - saturation * (1.0 - part))).clamp(0, 1)
    index = (sector.to(torch.int64) % 6).unsqueeze(0)
    channels = [
        (value, falling, low, low, rising, value),
        (rising, value, value, falling, low, low),
        (low, low, rising, value, value, falling),
    ]
    return torch.stack([torch.stack(of_sectors).gather(0, index)[0] for of_sectors in channels], -3)


def adjust_gamma(image: Tensor, gamma: float, gain: float) -> Tensor:
    _channels(image)
    result = (gain * convert(image, _floating(image)) ** gamma).clamp(0, 1)
    return convert(result, image.dtype)


def adjust_sharpness(image: Tensor, factor: float) -> Tensor:
    _factor("sharpness", factor)
    if min(image.shape[-2:]) <= 2:
        return image
    kernel = torch.ones(3, 3, dtype=_floating(image))
    kernel[1, 1] = 5.0
    kernel = (kernel / kernel.sum()).expand(_channels(image), 1, 3, 3)
    blurred = image.clone()
    blurred[..., 1:-1, 1:-1] = _as_floats(image, lambda x: F.conv2d(x, kernel, groups=x.shape[-3]))
    return _blend(image, blurred, factor)


def gaussian_blur(image: Tensor, kernel_size: Sequence[int], sigma: Sequence[float]) -> Tensor:
    """Sizes and standard deviations are of (x, y)."""
    dtype = _floating(image)
    lines = []
    for size, deviation in zip(kernel_size, sigma, strict=True):
        x = torch.linspace(-(size - 1) * 0.5, (size - 1) * 0.5, size, dtype=dtype)
        line = torch.exp(-0.5 * (x / deviation) ** 2)
        lines.append(line / line.sum())
    kernel = (lines[1][:, None] * lines[0][None, :]).expand(dimensions(image)[0], 1, *reversed(kernel_size))
    right, down = (size // 2 for size in kernel_size)
    sides = [right, right, down, down]
    return _as_floats(image, lambda im: F.conv2d(F.pad(im, sides, mode="reflect"), kernel, groups=im.shape[-3]))


def invert(image: Tensor) -> Tensor:
    _channels(image)
    return maximum(image.dtype) - image


def posterize(image: Tensor, bits: int) -> Tensor:
    if image.dtype != torch.uint8:
        raise TypeError(f"posterize takes images of uint8, not {image.dtype}")
    return image & (256 - 2 ** (8 - bits))


def solarize(image: Tensor, threshold: float) -> Tensor:
    if threshold > maximum(image.dtype):
        raise TypeError(f"solarize: the threshold {threshold} is above white, {maximum(image.dtype)}")
    return torch.where(image >= threshold, invert(image), image)


def autocontrast(image: Tensor) -> Tensor:
    _channels(image)
    bound = maximum(image.dtype)
    low, high = (edge.to(_floating(image)) for edge in (image.amin((-2, -1), True), image.amax((-2, -1), True)))
    flat = low == high
    scale = torch.where(flat, 1.0, bound / torch.where(flat, 1.0, high - low))
    return ((image - torch.where(flat, 0.0, low)) * scale).clamp(0, bound).to(image.dtype)


def equalize(image: Tensor) -> Tensor:
    if image.dtype != torch.uint8:
        raise TypeError(f"equalize takes images of uint8, not {image.dtype}")
    planes = image.reshape(-1, math.prod(image.shape[-2:]))
    return torch.stack([_equalized(plane) for plane in planes]).view(image.shape)


def _equalized(plane: Tensor) -> Tensor:
    histogram = torch.bincount(plane.to(torch.int64), minlength=256)
    step = int(histogram[histogram != 0][:-1].sum()) // 255
    if step == 0:
        return plane
    table = (torch.cumsum(histogram, 0) + step // 2) // step
    return F.pad(table, [1, 0])[:-1].clamp(0, 255)[plane.to(torch.int64)].to(torch.uint8)


# Values


def normalize(image: Tensor, mean: Any, std: Any, inplace: bool) -> Tensor:
    if not image.is_floating_point():
        raise TypeError(
            f"Input tensor should be a float tensor. Got {image.dtype}. ToTensor() before Normalize() makes one"
        )
    if image.ndim < 3:
        raise ValueError(
            f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {tuple(image.shape)}"
        )
    if isinstance(mean, list | tuple) and isinstance(std, list | tuple):
        means, deviations = _remembered(tuple(mean), tuple(std), image.dtype)
    else:
        means, deviations = _moments(mean, std, image.dtype)
    return image.sub_(means).div_(deviations) if inplace else (image - means).div_(deviations)


def _moments(mean: Any, std: Any, dtype: Any) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, (C, 1, 1)."""
    means, deviations = (
        values.view(-1, 1, 1) if values.ndim == 1 else values
        for values in (torch.as_tensor(mean, dtype=dtype), torch.as_tensor(std, dtype=dtype))
    )
    if bool((deviations == 0).any()):
        raise ValueError(f"std evaluated to zero after conversion to {dtype}, leading to division by zero.")
    return means, deviations


_remembered = functools.lru_cache(64)(_moments)  # the same few are asked for again and again


def erase(image: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool) -> Tensor:
    result = image if inplace else image.clone()
    result[..., i : i + h, j : j + w] = v
    return result
