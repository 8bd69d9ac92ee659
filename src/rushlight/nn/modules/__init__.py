"""The layers, file by file. `nn` has all their names, and this package too, as PyTorch's programs import them."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        from rushlight import nn

        if name == "utils":  # the file of that name here, not nn.utils
            return importlib.import_module(f"{__name__}.{name}")
        if name in nn.__dict__:
            return nn.__dict__[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
