"""The old names of `rushlight.amp`."""

from __future__ import annotations

from typing import Any

from rushlight import amp
from rushlight.amp import custom_bwd as custom_bwd
from rushlight.amp import custom_fwd as custom_fwd


class autocast(amp.autocast):
    """`amp.autocast("cuda")`."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """`amp.GradScaler("cuda")`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("cuda", *args, **kwargs)
