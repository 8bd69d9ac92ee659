"""Channels into pixels, and back."""

from __future__ import annotations

from rushlight.nn import functional
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class PixelShuffle(Module):
    """Makes r * r channels into a block of r x r pixels: an image r times as large from one with r * r more channels.

    Args:
        upscale_factor: r.

    Shape:
        input (*, C * r * r, H, W), output (*, C, H * r, W * r).

    Raises:
        ShapeError: the channels aren't divisible by r * r.

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network" (2016), https://arxiv.org/abs/1609.05158.

    Example:
        >>> nn.PixelShuffle(3)(torch.randn(1, 9, 4, 4)).shape
        torch.Size([1, 1, 12, 12])
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The inverse of `PixelShuffle`: makes each block of r x r pixels into r * r channels.

    Args:
        downscale_factor: r.

    Shape:
        input (*, C, H * r, W * r), output (*, C * r * r, H, W).

    Raises:
        ShapeError: height or width isn't divisible by r.

    Source: as of `PixelShuffle`.

    Example:
        >>> nn.PixelUnshuffle(3)(torch.randn(1, 1, 12, 12)).shape
        torch.Size([1, 9, 4, 4])
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
