"""How the weights of a classifier begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight import Tensor, nn


def initialize(
    net: nn.Module, convolution: Callable[[Tensor], Any], linear: Callable[[Tensor], Any] | None = None
) -> None:
    """Fills the weights of convolutions and, where it is given, of linear layers; their biases are 0. Normalisations
    change nothing."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            convolution(module.weight)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm) and module.weight is not None:
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Linear) and linear is not None:
            linear(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
