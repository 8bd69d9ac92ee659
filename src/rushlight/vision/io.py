"""`torchvision.io`: pictures from files, as tensors (C, H, W) of uint8, and back."""

from __future__ import annotations

import os
from enum import Enum
from io import BytesIO
from typing import Any

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.naming import missing
from rushlight.vision.pillow import pillow
from rushlight.vision.transforms.functional import pil_to_tensor, to_pil_image

Path = str | os.PathLike[str]


class ImageReadMode(Enum):
    """Which channels are read."""

    UNCHANGED = ""
    GRAY = "L"
    GRAY_ALPHA = "LA"
    RGB = "RGB"
    RGB_ALPHA = "RGBA"


def _read(source: Any, mode: Any) -> Tensor:
    kind = ImageReadMode[mode] if isinstance(mode, str) and mode else ImageReadMode(mode)
    with pillow().open(source) as image:
        plain = image.convert("RGB") if image.mode == "P" else image
        return pil_to_tensor(plain.convert(kind.value) if kind.value else plain).contiguous()


def read_image(path: Path, mode: Any = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False) -> Tensor:
    """The picture in a file, (C, H, W)."""
    return _read(path, mode)


def decode_image(input: Any, mode: Any = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False) -> Tensor:
    """The picture in a file, or in a tensor (N,) of a file's bytes."""
    return _read(BytesIO(input.numpy().tobytes()) if isinstance(input, Tensor) else input, mode)


def read_file(path: Path) -> Tensor:
    """A file's bytes, uint8 (N,)."""
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)


def write_png(input: Tensor, filename: Path, compression_level: int = 6) -> None:
    """Writes an image uint8 (C, H, W) as PNG."""
    to_pil_image(input).save(filename, format="PNG", compress_level=compression_level)


def write_jpeg(input: Tensor, filename: Path, quality: int = 75) -> None:
    """Writes an image uint8 (C, H, W) as JPEG."""
    to_pil_image(input).save(filename, format="JPEG", quality=quality)


decode_png = decode_jpeg = decode_image


def __getattr__(name: str) -> Any:
    raise missing(
        __name__, name, ["ImageReadMode", "decode_image", "read_file", "read_image", "write_jpeg", "write_png"]
    )
