"""MobileNet V2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rushlight import Tensor, nn
from rushlight.nn import functional as F
from rushlight.vision.models.initial import initialize
from rushlight.vision.models.weights import builder

Norm = Callable[[int], nn.Module]


class Conv2dNormActivation(nn.Sequential):
    """A convolution that keeps the size (over the stride), a normalisation, and an activation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:  # fmt: skip
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, (kernel_size - 1) // 2, groups=groups, bias=False
            ),
            norm_layer(out_channels),
            nn.ReLU6(inplace=True),
        )
        self.out_channels = out_channels


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
        expand = [Conv2dNormActivation(inp, hidden, 1, norm_layer=norm)] if expand_ratio != 1 else []
        self.conv = nn.Sequential(
            *expand,
            Conv2dNormActivation(hidden, hidden, 3, stride, hidden, norm),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm(oup),
        )
        self.out_channels = oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


def _divisible(value: float, divisor: int) -> int:
    """The nearest multiple of the divisor that isn't below nine tenths of the value."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


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
        channels = _divisible(32 * width_mult, round_nearest)
        self.last_channel = _divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [Conv2dNormActivation(3, channels, 3, 2, norm_layer=norm)]
        for expansion, width, blocks, stride in inverted_residual_setting or _STAGES:
            out = _divisible(width * width_mult, round_nearest)
            for number in range(blocks):
                made = (block or InvertedResidual)(
                    channels, out, stride if number == 0 else 1, expand_ratio=expansion, norm_layer=norm
                )
                features.append(made)
                channels = out
        features.append(Conv2dNormActivation(channels, self.last_channel, 1, norm_layer=norm))
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
