"""MobileNet V2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rushlight import Tensor, nn
from rushlight.nn import functional as F
from rushlight.vision.models.layers import Conv2dNormActivation, Norm, divisible, initialize
from rushlight.vision.models.weights import builder


class InvertedResidual(nn.Module):
    """Channels expanded, convolved each by itself, and projected, beside a shortcut where the shapes allow it."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm = norm_layer or nn.BatchNorm2d
        hidden = round(inp * expand_ratio)
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup
        make = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
        expand = [make(inp, hidden, kernel_size=1)] if expand_ratio != 1 else []
        self.conv = nn.Sequential(
            *expand,
            make(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm(oup),
        )
        self.out_channels = oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


# For each stage: expansion, channels, blocks, stride.
_STAGES = [
    [1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1],
]  # fmt: skip


class MobileNetV2(nn.Module):
    """MobileNet V2 for images (N, 3, H, W), with `num_classes` logits; `width_mult` scales all channels."""

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Norm | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        make = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
        channels = divisible(32 * width_mult, round_nearest)
        self.last_channel = divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [make(3, channels, stride=2)]
        for expansion, width, blocks, stride in inverted_residual_setting or _STAGES:
            out = divisible(width * width_mult, round_nearest)
            for number in range(blocks):
                made = (block or InvertedResidual)(
                    channels, out, stride if number == 0 else 1, expand_ratio=expansion, norm_layer=norm
                )
                features.append(made)
                channels = out
        features.append(make(channels, self.last_channel, kernel_size=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes))
        initialize(
            self,
            partial(nn.init.kaiming_normal_, mode="fan_out"),
            partial(nn.init.normal_, mean=0, std=0.01),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1))


mobilenet_v2 = builder("MobileNet_V2", MobileNetV2)
