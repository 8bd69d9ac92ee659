"""Maximum over windows at random places."""

from __future__ import annotations

from typing import Any, ClassVar

from rushlight.nn.functional import fractional_pooling as functional
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class _FractionalMaxPool(Module):
    dims: ClassVar[int]

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            what = "only one of output_size and output_ratio may be specified" if output_size is not None else (
                "requires specifying either an output size, or a pooling ratio"
            )  # fmt: skip
            raise ValueError(f"{name} {what}")
        if output_ratio is not None:
            ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,)
            if not all(0 < ratio < 1 for ratio in ratios):
                raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")
        self.kernel_size = kernel_size
        self.output_size = output_size
        self.output_ratio = output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        pool = (functional.fractional_max_pool2d, functional.fractional_max_pool3d)[self.dims - 2]
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maximum over windows of images, at random places: any output size of any input size.

    Graham, "Fractional max-pooling" (2014).

    Args:
        kernel_size: an int or two.
        output_size: the size of the output, an int or two; or
        output_ratio: by which to multiply the input's size, between 0 and 1, once or for each dimension.
        return_indices: whether to return also where the maxima are.

    Shape:
        Input (N, C, H, W) or (C, H, W); output (N, C, H_out, W_out) or (C, H_out, W_out).

    Example:
        >>> nn.FractionalMaxPool2d(3, output_ratio=0.5)(torch.randn(2, 4, 16, 20)).shape
        torch.Size([2, 4, 8, 10])
    """

    dims = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """As FractionalMaxPool2d, of volumes.

    Args:
        kernel_size: an int or three.
        output_size: the size of the output, an int or three; or
        output_ratio: by which to multiply the input's size, between 0 and 1, once or for each dimension.
        return_indices: whether to return also where the maxima are.

    Shape:
        Input (N, C, D, H, W) or (C, D, H, W); output with D_out, H_out, W_out.

    Example:
        >>> nn.FractionalMaxPool3d(2, output_size=3)(torch.randn(1, 2, 6, 6, 6)).shape
        torch.Size([1, 2, 3, 3, 3])
    """

    dims = 3
