"""What packages written for PyTorch ask of its C++ part: to count which of its parts are used. Nothing is counted."""

from __future__ import annotations

from typing import Any

from rushlight.tensor.generator import Generator as Generator


def _log_api_usage_once(event: str) -> None:
    """Nothing."""


def __getattr__(name: str) -> Any:
    raise AttributeError(f"rushlight has no _C.{name}: PyTorch's C++ part isn't here")
