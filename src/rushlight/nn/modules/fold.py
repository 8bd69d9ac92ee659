"""Sliding blocks of an image as columns, and back."""

from __future__ import annotations

from rushlight.nn import functional
from rushlight.nn.functional.dimensions import Sizes
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class Unfold(Module):
    """Takes sliding blocks out of images: each block, flattened, is a column of the output.

    Args:
        kernel_size: size of a block; here and below an int, or one for each spatial dimension.
        dilation: distance between neighbouring items of a block.
        padding: zeros that are added to both ends of each dimension first.
        stride: step from block to block.

    Shape:
        input (N, C, H, W) or (C, H, W), output (N, C * prod(kernel_size), L) or without N, where L is the product over
        the spatial dimensions of floor((size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1.

    Raises:
        ShapeError: options out of range, or a block larger than the padded input.

    Example:
        >>> nn.Unfold(2)(torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]))
        tensor([[[1., 2.],
                 [2., 3.],
                 [4., 5.],
                 [5., 6.]]])
    """

    def __init__(self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return functional.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Adds columns up to images: each column is a block, and where blocks overlap they are summed.

    It is the gradient of `Unfold`, and its inverse up to the number of blocks that an item is in.

    Args:
        output_size: spatial size of the output; here and below an int, or one for each spatial dimension.
        kernel_size, dilation, padding, stride: as of `Unfold`.

    Shape:
        input (N, C * prod(kernel_size), L) or without N, output (N, C, *output_size) or without N; L as of `Unfold`.

    Raises:
        ShapeError: options out of range, or columns of other length or number than the options ask for.

    Example:
        >>> fold, unfold = nn.Fold((1, 3), (1, 2)), nn.Unfold((1, 2))
        >>> fold(unfold(torch.ones(1, 1, 1, 3)))
        tensor([[[[1., 2., 1.]]]])
    """

    def __init__(
        self, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return functional.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
