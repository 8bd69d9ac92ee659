"""Layers that resize images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.nn import functional
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class Upsample(Module):
    """Resizes the spatial dimensions of its input by interpolation.

    Args:
        size: the new spatial size, an int or one for each dimension.
        scale_factor: in place of `size`, what to multiply the sizes with (and round down).
        mode: "nearest", "linear" (for (N, C, L)), "bilinear", "bicubic" (for (N, C, H, W)) or "trilinear" (for
            (N, C, D, H, W)).
        align_corners: for the other modes than "nearest", whether the centers of the corner pixels are aligned, rather
            than the corners of the corner pixels (the default).
        recompute_scale_factor: whether positions are computed from the sizes before and after, rather than from
            `scale_factor`.

    Shape:
        input (N, C, L), (N, C, H, W) or (N, C, D, H, W), output of the same dimensions,
        L' = floor(L * scale_factor), and so on.

    Raises:
        ShapeError: when called with options that don't go together or with the input, see `nn.functional.interpolate`.

    Example:
        >>> nn.Upsample(scale_factor=2)(torch.tensor([[[[1.0, 2.0]]]]))
        tensor([[[[1., 1., 2., 2.],
                  [1., 1., 2., 2.]]]])
    """

    name: str
    size: Any
    scale_factor: Any
    mode: str
    align_corners: bool | None
    recompute_scale_factor: bool | None

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, Sequence):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return functional.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images (N, C, H, W) with mode "nearest".

    Example:
        >>> nn.UpsamplingNearest2d(scale_factor=2)(torch.randn(1, 3, 4, 5)).shape
        torch.Size([1, 3, 8, 10])
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images (N, C, H, W) with mode "bilinear" and aligned corners.

    Example:
        >>> nn.UpsamplingBilinear2d(size=(2, 3))(torch.tensor([[[[1.0, 2.0]]]]))
        tensor([[[[1.0000, 1.5000, 2.0000],
                  [1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
