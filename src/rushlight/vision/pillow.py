"""Pillow, imported when a picture is first read, made or changed."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def pillow(module: str = "Image") -> Any:
    """The module `PIL.<module>`; an ImportError says how to install it."""
    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise ImportError(f"pictures need the package pillow: pip install 'rushlight[vision]' ({error})") from None


def is_picture(image: object) -> bool:
    """Whether `image` is a PIL image, without importing Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def picture(array: Any, mode: str) -> Any:
    """A PIL image of `mode` with the values of a NumPy array (H, W) or (H, W, C)."""
    return pillow().frombytes(mode, (array.shape[1], array.shape[0]), array.tobytes())
