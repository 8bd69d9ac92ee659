"""`torchvision.transforms.v2.functional`: `transforms.functional`, with some names more."""

from __future__ import annotations

from typing import Any

import numpy as np

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.pillow import is_picture
from rushlight.vision.transforms import functional
from rushlight.vision.transforms.functional import convert_image_dtype, get_dimensions
from rushlight.vision.transforms.functional import pil_to_tensor as pil_to_tensor


def to_image(inpt: Any) -> Tensor:
    """A PIL image, a NumPy array (H, W[, C]) or a tensor as a tensor (C, H, W), its values as they are."""
    if isinstance(inpt, np.ndarray):
        image = torch.from_numpy(inpt if inpt.ndim > 2 else inpt[:, :, None])
        return image.movedim(-1, -3).contiguous()
    if is_picture(inpt):
        return pil_to_tensor(inpt)
    if isinstance(inpt, Tensor):
        return inpt if inpt.ndim > 2 else inpt[None]
    raise TypeError(f"Input can either be a pure Tensor, a numpy array, or a PIL image, but got {type(inpt)} instead.")


def to_dtype(inpt: Tensor, dtype: Any = torch.float32, scale: bool = False) -> Tensor:
    """The tensor in another dtype; with `scale`, its values scaled to that dtype's range."""
    return convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


def resize(
    inpt: Any, size: Any, interpolation: Any = functional.InterpolationMode.BILINEAR, max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """`functional.resize`; tensors of bytes are rounded once along each dimension, as PIL images are."""
    mode = functional.interpolation_mode(interpolation).value
    if not isinstance(inpt, Tensor) or inpt.dtype != torch.uint8 or mode not in ("bilinear", "bicubic"):
        return functional.resize(inpt, size, interpolation, max_size, antialias)
    height, width = get_size(inpt)
    target = functional.resized(height, width, size, max_size)
    image = inpt
    for step in ((height, target[1]), tuple(target)):
        if get_size(image) != list(step):
            image = functional.resize(image.to(torch.float32), step, interpolation, antialias=antialias)
            image = torch.floor(image + 0.5).clamp(0, 255).to(torch.uint8)
    return image


def resized_crop(
    inpt: Any, top: int, left: int, height: int, width: int, size: Any,
    interpolation: Any = functional.InterpolationMode.BILINEAR, antialias: bool | None = True,
) -> Any:  # fmt: skip
    """A rectangle of the image, in another size."""
    return resize(functional.crop(inpt, top, left, height, width), size, interpolation, antialias=antialias)


def get_size(inpt: Any) -> list[int]:
    """[height, width]."""
    return get_dimensions(inpt)[1:]


_OTHER_NAMES = {
    "horizontal_flip": "hflip", "vertical_flip": "vflip", "elastic": "elastic_transform", "get_num_channels":
    "get_image_num_channels", "to_dtype_image": "convert_image_dtype",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    return getattr(functional, _OTHER_NAMES.get(name, name))
