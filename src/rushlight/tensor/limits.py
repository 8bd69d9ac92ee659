"""What numbers a dtype can hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.dtypes import dtype as Dtype


class finfo:
    """The limits of a floating dtype, by default the default one: eps, max, min, tiny, bits, resolution."""

    def __init__(self, dtype: Dtype | None = None) -> None:
        self._dtype = dtypes.get_default_dtype() if dtype is None else dtype
        if not isinstance(self._dtype, Dtype) or not self._dtype.is_floating_point:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.iinfo'"
            )
        if self._dtype is dtypes.bfloat16:
            import ml_dtypes

            limits: Any = ml_dtypes.finfo(self._dtype.numpy)  # type: ignore[no-untyped-call]
        else:
            limits = np.finfo(self._dtype.numpy)
        self.bits = int(limits.bits)
        self.eps = float(limits.eps)
        self.max = float(limits.max)
        self.min = float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)
        self.resolution = float(limits.resolution)
        self.dtype = self._dtype.name

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """The limits of an integer dtype: min, max, bits."""

    def __init__(self, dtype: Dtype) -> None:
        if not isinstance(dtype, Dtype) or dtype.is_floating_point or dtype is dtypes.bool_:
            raise TypeError("torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.finfo'")
        limits = np.iinfo(dtype.numpy)
        self.bits = int(limits.bits)
        self.max = int(limits.max)
        self.min = int(limits.min)
        self.dtype = dtype.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
