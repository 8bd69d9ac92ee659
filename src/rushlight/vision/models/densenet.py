"""DenseNet of 121, 161, 169 and 201 layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import rushlight as torch
from rushlight import Tensor, nn
from rushlight.nn import functional as F
from rushlight.utils.checkpoint import checkpoint
from rushlight.vision.models.layers import initialize
from rushlight.vision.models.weights import builder


class _DenseLayer(nn.Module):
    """`growth_rate` new channels from all channels so far."""

    def __init__(
        self, num_input_features: int, growth_rate: int, bn_size: int, drop_rate: float, memory_efficient: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, bn_size * growth_rate, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, kernel_size=3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def _bottleneck(self, *parts: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.norm1(torch.cat(parts, 1))))

    def forward(self, parts: list[Tensor]) -> Tensor:
        if self.memory_efficient and any(part.requires_grad for part in parts):
            x = checkpoint(self._bottleneck, *parts, use_reentrant=False)
        else:
            x = self._bottleneck(*parts)
        return F.dropout(self.conv2(self.relu2(self.norm2(x))), self.drop_rate, self.training)


class _DenseBlock(nn.ModuleDict):
    def __init__(self, num_layers: int, num_input_features: int, growth_rate: int, *settings: Any) -> None:
        super().__init__()
        for number in range(num_layers):
            channels = num_input_features + number * growth_rate
            self.add_module(f"denselayer{number + 1}", _DenseLayer(channels, growth_rate, *settings))

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.values():
            parts.append(layer(parts))
        return torch.cat(parts, 1)


class DenseNet(nn.Module):
    """DenseNet for images (N, 3, H, W) of 29 pixels or more, with `num_classes` logits.

    Args:
        growth_rate: how many channels each layer adds.
        block_config: how many layers each block has.
        num_init_features: channels of the first convolution.
        bn_size: channels of a layer's 1x1 convolution, in growth rates.
        drop_rate: dropout behind each layer.
        memory_efficient: computes the 1x1 convolutions' inputs again for the backward pass.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        channels = num_init_features
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(channels))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
        for number, layers in enumerate(block_config, 1):
            block = _DenseBlock(layers, channels, growth_rate, bn_size, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{number}", block)
            channels += layers * growth_rate
            if number < len(block_config):
                self.features.add_module(f"transition{number}", _Transition(channels))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        initialize(self, nn.init.kaiming_normal_, lambda weight: weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(F.relu(self.features(x)), (1, 1)).flatten(1))


class _Transition(nn.Sequential):
    """Half of the channels, half of the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, channels // 2, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


def _densenet(model: str, growth_rate: int, block_config: tuple[int, ...], features: int) -> Callable[..., Any]:
    def make(**arguments: Any) -> DenseNet:
        return DenseNet(growth_rate, block_config, features, **arguments)

    # In the files, a layer's first normalisation is called norm.1.
    return builder(model, make, lambda name: re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name))


densenet121 = _densenet("DenseNet121", 32, (6, 12, 24, 16), 64)
densenet161 = _densenet("DenseNet161", 48, (6, 12, 36, 24), 96)
densenet169 = _densenet("DenseNet169", 32, (6, 12, 32, 32), 64)
densenet201 = _densenet("DenseNet201", 32, (6, 12, 48, 32), 64)
