"""EfficientNet B0 to B7."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from rushlight import Tensor, nn
from rushlight.vision.models.layers import (
    Conv2dNormActivation,
    Norm,
    SqueezeExcitation,
    StochasticDepth,
    divisible,
    initialize,
)
from rushlight.vision.models.weights import builder


class MBConv(nn.Module):
    """Channels expanded, convolved each by itself, scaled by their means, and projected, beside a shortcut."""

    def __init__(
        self, channels: int, out: int, expand_ratio: int, kernel: int, stride: int, depth_prob: float, norm: Norm
    ) -> None:
        super().__init__()
        make = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.SiLU)
        expanded = divisible(channels * expand_ratio)
        expand = [make(channels, expanded, kernel_size=1)] if expanded != channels else []
        self.use_res_connect = stride == 1 and channels == out
        self.block = nn.Sequential(
            *expand,
            make(expanded, expanded, kernel_size=kernel, stride=stride, groups=expanded),
            SqueezeExcitation(expanded, max(1, channels // 4), partial(nn.SiLU, inplace=True)),
            Conv2dNormActivation(expanded, out, kernel_size=1, norm_layer=norm, activation_layer=None),
        )
        self.stochastic_depth = StochasticDepth(depth_prob, "row")
        self.out_channels = out

    def forward(self, input: Tensor) -> Tensor:
        result = self.block(input)
        return self.stochastic_depth(result) + input if self.use_res_connect else result


# For each stage of B0: expansion, kernel, stride, channels before and after, blocks.
_STAGES = [
    (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
]  # fmt: skip


class EfficientNet(nn.Module):
    """EfficientNet for images (N, 3, H, W), with `num_classes` logits.

    Args:
        width_mult, depth_mult: scale the channels and the number of blocks of B0.
        dropout: before the last layer.
        stochastic_depth_prob: how often the last block is dropped while training; those before it less often.
        norm_layer: makes a normalisation of a number of channels.
    """

    def __init__(
        self,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        make = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.SiLU)
        counts = [math.ceil(blocks * depth_mult) for *_, blocks in _STAGES]
        channels = divisible(_STAGES[0][3] * width_mult)
        features: list[nn.Module] = [make(3, channels, kernel_size=3, stride=2)]
        done = 0
        for (expansion, kernel, stride, _, width, _), count in zip(_STAGES, counts, strict=True):
            out = divisible(width * width_mult)
            stage = []
            for number in range(count):
                probability = stochastic_depth_prob * float(done) / sum(counts)
                stage.append(MBConv(channels, out, expansion, kernel, stride if number == 0 else 1, probability, norm))
                channels = out
                done += 1
            features.append(nn.Sequential(*stage))
        features.append(make(channels, 4 * channels, kernel_size=1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout, inplace=True), nn.Linear(4 * channels, num_classes))
        bound = 1.0 / math.sqrt(num_classes)
        initialize(self, partial(nn.init.kaiming_normal_, mode="fan_out"), partial(nn.init.uniform_, a=-bound, b=bound))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _efficientnet(number: int, width: float, depth: float, dropout: float) -> Callable[..., Any]:
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01) if number >= 5 else nn.BatchNorm2d
    return builder(
        f"EfficientNet_B{number}",
        lambda **arguments: EfficientNet(width, depth, **{"dropout": dropout, "norm_layer": norm, **arguments}),
    )


efficientnet_b0 = _efficientnet(0, 1.0, 1.0, 0.2)
efficientnet_b1 = _efficientnet(1, 1.0, 1.1, 0.2)
efficientnet_b2 = _efficientnet(2, 1.1, 1.2, 0.3)
efficientnet_b3 = _efficientnet(3, 1.2, 1.4, 0.3)
efficientnet_b4 = _efficientnet(4, 1.4, 1.8, 0.4)
efficientnet_b5 = _efficientnet(5, 1.6, 2.2, 0.4)
efficientnet_b6 = _efficientnet(6, 1.8, 2.6, 0.5)
efficientnet_b7 = _efficientnet(7, 2.0, 3.1, 0.5)
