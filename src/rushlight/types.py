"""Types for annotations."""

from __future__ import annotations

from typing import TypeAlias

from rushlight.dtypes import dtype as _dtype  # noqa: F401 (as in PyTorch)
from rushlight.tensor.device import device as _device
from rushlight.tensor.size import Size as Size
from rushlight.tensor.tensor import Tensor as Tensor

Number: TypeAlias = int | float | bool
Device: TypeAlias = _device | str | int | None
_size: TypeAlias = Size | list[int] | tuple[int, ...]
