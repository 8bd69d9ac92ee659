"""VGG of 11, 13, 16 and 19 layers, with batch normalisation or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rushlight import Tensor, nn
from rushlight.vision.models.layers import initialize
from rushlight.vision.models.weights import builder


class VGG(nn.Module):
    """A VGG over given `features`, for images (N, 3, H, W) of 32 pixels or more, with `num_classes` logits."""

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialize(
                self,
                partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
                partial(nn.init.normal_, mean=0, std=0.01),
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def make_layers(cfg: Sequence[int | str], batch_norm: bool = False) -> nn.Sequential:
    """3x3 convolutions of as many channels as `cfg` says, each with an activation, and halvings "M"."""
    layers: list[nn.Module] = []
    channels = 3
    for width in cfg:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
        layers += [nn.BatchNorm2d(width)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels = width
    return nn.Sequential(*layers)


def _vgg(model: str, depths: list[int], batch_norm: bool = False) -> Callable[..., Any]:
    """Five stages of as many convolutions as `depths` says, each followed by a halving."""
    cfg: list[int | str] = []
    for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True):
        cfg += [width] * depth + ["M"]

    def make(**arguments: Any) -> VGG:
        return VGG(make_layers(cfg, batch_norm), **arguments)

    return builder(model, make, init_weights=False)


vgg11 = _vgg("VGG11", [1, 1, 2, 2, 2])
vgg11_bn = _vgg("VGG11_BN", [1, 1, 2, 2, 2], batch_norm=True)
vgg13 = _vgg("VGG13", [2, 2, 2, 2, 2])
vgg13_bn = _vgg("VGG13_BN", [2, 2, 2, 2, 2], batch_norm=True)
vgg16 = _vgg("VGG16", [2, 2, 3, 3, 3])
vgg16_bn = _vgg("VGG16_BN", [2, 2, 3, 3, 3], batch_norm=True)
vgg19 = _vgg("VGG19", [2, 2, 4, 4, 4])
vgg19_bn = _vgg("VGG19_BN", [2, 2, 4, 4, 4], batch_norm=True)
