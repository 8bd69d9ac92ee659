"""`torchvision` for rushlight: data sets, transforms, models, and what draws grids of pictures.

Nothing here is imported by `import rushlight`. Names, signatures, folder layouts, parameters' names and random numbers
are torchvision's. Pictures need the package pillow (`pip install 'rushlight[vision]'`).
"""

from __future__ import annotations

import importlib
from typing import Any

from rushlight.vision.naming import missing

__version__ = "0.28.0"  # torchvision's whose names these are: programs compare it

_SUBMODULES = ("datasets", "io", "models", "ops", "transforms", "utils")


def set_image_backend(backend: str) -> None:
    """Takes "PIL", the only one there is."""
    if backend != "PIL":
        raise ValueError(f"set_image_backend: pictures are read by 'PIL' only, not {backend!r}")


def get_image_backend() -> str:
    """What reads pictures: "PIL"."""
    return "PIL"


def disable_beta_transforms_warning() -> None:
    """Takes PyTorch's place: there is no such warning."""


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise missing(__name__, name, _SUBMODULES)
