"""`torchvision.utils`: pictures of many pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.naming import missing
from rushlight.vision.pillow import picture, pillow


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images (N, C, H, W), or a list of them, side by side: (C, rows * (H + padding) + padding, ...).

    Args:
        nrow: how many stand in a row.
        padding: pixels between them.
        normalize: scales `value_range`, by default from the least to the largest value, to 0..1.
        scale_each: scales each image by itself.
        pad_value: the value of what is between them.
    """
    if not isinstance(tensor, Tensor):
        if not isinstance(tensor, list | tuple) or not all(isinstance(image, Tensor) for image in tensor):
            raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
        tensor = torch.stack(list(tensor))
    images: Tensor = tensor.detach()
    images = images[None] if images.ndim == 2 else images
    images = images[None] if images.ndim == 3 else images
    if images.ndim == 4 and images.shape[1] == 1:
        images = images.repeat(1, 3, 1, 1)
    if normalize:
        if value_range is not None and not isinstance(value_range, tuple):
            raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")
        images = images.clone()
        for part in images if scale_each else [images]:
            low, high = value_range or (float(part.min()), float(part.max()))
            part.clamp_(low, high).sub_(low).div_(max(high - low, 1e-5))
    if len(images) == 1:
        return images[0]
    columns = min(nrow, len(images))
    rows = math.ceil(len(images) / columns)
    channels, height, width = images.shape[1], images.shape[2] + padding, images.shape[3] + padding
    grid = images.new_full((channels, height * rows + padding, width * columns + padding), pad_value)
    for number, image in enumerate(images):
        y, x = number // columns * height + padding, number % columns * width + padding
        grid[:, y : y + height - padding, x : x + width - padding] = image
    return grid


def save_image(
    tensor: Tensor | Sequence[Tensor], fp: str | os.PathLike[str] | Any, format: str | None = None, **kwargs: Any
) -> None:
    """Writes an image (C, H, W) of values from 0 to 1, or a grid of several, to a file; `kwargs` as in `make_grid`."""
    grid = make_grid(tensor, **kwargs)
    array = grid.mul(255).add(0.5).clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()
    picture(array, "RGB" if array.shape[2] == 3 else "RGBA").save(fp, format=format)


def draw_bounding_boxes(
    image: Tensor, boxes: Tensor, labels: Sequence[str | None] | None = None, colors: Any = None, fill: bool = False,
    width: int = 1, **others: Any,
) -> Tensor:  # fmt: skip
    """The image (3, H, W) with rectangles (N, 4) of (left, top, right, bottom), and their labels.

    `colors` is one for all, or a list of one for each: names, "#ff0000", or (red, green, blue).
    """
    from rushlight.vision.transforms.functional import convert_image_dtype, pil_to_tensor, to_pil_image

    drawn = to_pil_image(convert_image_dtype(image, torch.uint8).expand(3, *image.shape[-2:]))
    draw = pillow("ImageDraw").Draw(drawn, "RGBA" if fill else None)
    many = colors if isinstance(colors, list) else [colors or "red"] * len(boxes)
    for box, color, label in zip(boxes.tolist(), many, labels or [None] * len(boxes), strict=True):
        rgb = pillow("ImageColor").getrgb(color) if isinstance(color, str) else tuple(color)
        draw.rectangle(box, outline=rgb, width=width, fill=(*rgb, 100) if fill else None)
        if label is not None:
            draw.text((box[0] + width + 1, box[1] + width + 1), label, fill=rgb)
    return convert_image_dtype(pil_to_tensor(drawn), image.dtype)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, ["draw_bounding_boxes", "make_grid", "save_image"])
