"""Channels in another order."""

from __future__ import annotations

from rushlight.errors import ShapeError
from rushlight.nn import functional
from rushlight.nn.modules.module import Module
from rushlight.tensor import Tensor


class ChannelShuffle(Module):
    """Splits the channels into groups and takes one from each group in turn.

    Args:
        groups: the number of groups.

    Shape:
        input and output (N, C, *), with one spatial dimension or more.

    Raises:
        ShapeError: the channels aren't divisible by `groups`.

    Source: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices" (2018),
    https://arxiv.org/abs/1707.01083.

    Example:
        >>> nn.ChannelShuffle(2)(torch.arange(4.0).reshape(1, 4, 1)).flatten()
        tensor([0., 2., 1., 3.])
    """

    groups: int

    def __init__(self, groups: int) -> None:
        super().__init__()
        if groups < 1:
            raise ShapeError(f"ChannelShuffle: groups must be at least 1, got {groups}")
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
