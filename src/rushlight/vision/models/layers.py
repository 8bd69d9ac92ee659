"""Layers that several classifiers share, and how their weights begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rushlight as torch
from rushlight import Tensor, nn

Norm = Callable[[int], nn.Module]


class Conv2dNormActivation(nn.Sequential):
    """A convolution that keeps the size (over the stride), a normalisation, and an activation unless it is None."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        norm_layer: Norm | None = nn.BatchNorm2d,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        dilation: int = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ) -> None:
        padding = (kernel_size - 1) // 2 * dilation if padding is None else padding
        bias = norm_layer is None if bias is None else bias
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        ]
        layers += [norm_layer(out_channels)] if norm_layer is not None else []
        options = {} if inplace is None else {"inplace": inplace}
        layers += [activation_layer(**options)] if activation_layer is not None else []
        super().__init__(*layers)
        self.out_channels = out_channels


class SqueezeExcitation(nn.Module):
    """Each channel scaled by what two layers make of the means of all."""

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[..., nn.Module] = nn.ReLU,
        scale_activation: Callable[..., nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(input))))) * input


class StochasticDepth(nn.Module):
    """Drops whole samples ("row"), or the whole batch ("batch"), with probability `p` while training."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        if not 0 <= p <= 1 or mode not in ("batch", "row"):
            raise ValueError(f"StochasticDepth: p is from 0 to 1 and mode 'batch' or 'row', not {p} and {mode!r}")
        self.p = p
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        size = [input.shape[0] if self.mode == "row" else 1] + [1] * (input.ndim - 1)
        kept = torch.empty(size, dtype=input.dtype).bernoulli_(1 - self.p)
        return input * (kept / (1 - self.p) if self.p < 1 else kept)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode})"


def divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of the divisor that isn't below nine tenths of the value."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


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


LAYERS: dict[str, Any] = {kind.__name__: kind for kind in (Conv2dNormActivation, SqueezeExcitation, StochasticDepth)}
"""What `torchvision.ops` shows of these."""
