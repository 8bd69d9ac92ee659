"""Layers that learn the number of their inputs from the first input that they see."""

from __future__ import annotations

from typing import Any, ClassVar

from rushlight.errors import ShapeError
from rushlight.nn.modules import batchnorm, convolution, instancenorm, linear
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import UninitializedParameter, is_lazy
from rushlight.tensor.random import default_generator
from rushlight.tensor.tensor import Tensor


class LazyModule(Module):
    """A layer whose parameters get their shapes at the first call; then it becomes a layer of `cls_to_become`.

    A subclass names that class, and `inferred`: its first argument, which is left out here. All other arguments are
    those of that class. Parameters stay the same objects, so that an optimizer may be made before the first call.

    Example:
        >>> layer = nn.LazyLinear(3)
        >>> layer(torch.randn(2, 5)).size()
        torch.Size([2, 3])
        >>> layer
        Linear(in_features=5, out_features=3, bias=True)
    """

    cls_to_become: ClassVar[type[Module]]
    inferred: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.inferred in kwargs:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument '{self.inferred}'")
        super().__init__(0, *args, **kwargs)
        self._arguments = (args, kwargs)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                self._parameters[name] = UninitializedParameter(parameter.detach(), parameter.requires_grad)

    def reset_parameters(self) -> None:
        """Draws the parameters anew, where they have a shape already: not before the first call."""

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter has no shape yet."""
        return any(is_lazy(p) for p in self._parameters.values())

    def initialize_parameters(self, input: Tensor) -> None:
        """Gives the parameters shapes that fit `input`, and their initial values."""
        self._become(self._size_in(input))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(args[0])
        return self.forward(*args, **kwargs)  # now that of another class

    def _size_in(self, input: Tensor) -> int:
        raise NotImplementedError

    def _size_of(self, weight: Tensor) -> int:
        """The size that a weight of this shape was made for, to load a state before the first call."""
        raise NotImplementedError

    def _become(self, size: int) -> None:
        args, kwargs = self._arguments
        made = self.cls_to_become(size, *args, **kwargs)
        for name, parameter in made._parameters.items():
            mine = self._parameters[name]
            if isinstance(mine, UninitializedParameter) and parameter is not None:
                dtype = mine.dtype
                mine.materialize(tuple(parameter.shape))
                mine.data = parameter.detach().to(dtype)
        for name, buffer in made._buffers.items():
            old = self._buffers[name]
            self._buffers[name] = buffer if buffer is None or old is None else buffer.to(old.dtype)
        setattr(self, self.inferred, size)
        del self._arguments
        self.__class__ = self.cls_to_become  # type: ignore[assignment]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        weight = state_dict.get(prefix + "weight")
        if isinstance(weight, Tensor) and not is_lazy(weight) and self.has_uninitialized_params():
            state = default_generator.get_state()
            self._become(self._size_of(weight))
            default_generator.set_state(state)  # what was drawn is overwritten
            self._load_from_state_dict(state_dict, prefix, *rest)  # now that of another class
        else:
            super()._load_from_state_dict(state_dict, prefix, *rest)


class LazyLinear(LazyModule, linear.Linear):
    """A `Linear` whose `in_features` is the last size of its first input.

    Example:
        >>> nn.LazyLinear(3)(torch.randn(2, 5)).size()
        torch.Size([2, 3])
    """

    cls_to_become = linear.Linear
    inferred = "in_features"

    def _size_in(self, input: Tensor) -> int:
        if not input.ndim:
            raise ShapeError("LazyLinear: needs an input of at least one dimension, got a 0-d tensor")
        return int(input.shape[-1])

    def _size_of(self, weight: Tensor) -> int:
        return int(weight.shape[1])


class _LazyConvolution(LazyModule, convolution._ConvNd):
    inferred = "in_channels"

    def _size_in(self, input: Tensor) -> int:
        if input.ndim not in (self.dims + 1, self.dims + 2):
            raise ShapeError(
                f"{type(self).__name__}: expected {self.dims + 1}D (unbatched) or {self.dims + 2}D (batched) input, "
                f"but got input of size {list(input.shape)}"
            )
        return int(input.shape[-self.dims - 1])

    def _size_of(self, weight: Tensor) -> int:
        return int(weight.shape[0]) if self.transposed else int(weight.shape[1]) * self.groups


class LazyConv1d(_LazyConvolution, convolution.Conv1d):
    """A `Conv1d` whose `in_channels` is that of its first input.

    Example:
        >>> nn.LazyConv1d(8, 3)(torch.randn(2, 4, 9)).size()
        torch.Size([2, 8, 7])
    """

    cls_to_become = convolution.Conv1d


class LazyConv2d(_LazyConvolution, convolution.Conv2d):
    """A `Conv2d` whose `in_channels` is that of its first input.

    Example:
        >>> nn.LazyConv2d(8, 3)(torch.randn(2, 4, 9, 9)).size()
        torch.Size([2, 8, 7, 7])
    """

    cls_to_become = convolution.Conv2d


class LazyConv3d(_LazyConvolution, convolution.Conv3d):
    """A `Conv3d` whose `in_channels` is that of its first input.

    Example:
        >>> nn.LazyConv3d(8, 3)(torch.randn(2, 4, 9, 9, 9)).size()
        torch.Size([2, 8, 7, 7, 7])
    """

    cls_to_become = convolution.Conv3d


class LazyConvTranspose1d(_LazyConvolution, convolution.ConvTranspose1d):
    """A `ConvTranspose1d` whose `in_channels` is that of its first input.

    Example:
        >>> nn.LazyConvTranspose1d(8, 3)(torch.randn(2, 4, 9)).size()
        torch.Size([2, 8, 11])
    """

    cls_to_become = convolution.ConvTranspose1d


class LazyConvTranspose2d(_LazyConvolution, convolution.ConvTranspose2d):
    """A `ConvTranspose2d` whose `in_channels` is that of its first input.

    Example:
        >>> nn.LazyConvTranspose2d(8, 3)(torch.randn(2, 4, 9, 9)).size()
        torch.Size([2, 8, 11, 11])
    """

    cls_to_become = convolution.ConvTranspose2d


class LazyConvTranspose3d(_LazyConvolution, convolution.ConvTranspose3d):
    """A `ConvTranspose3d` whose `in_channels` is that of its first input.

    Example:
        >>> nn.LazyConvTranspose3d(8, 3)(torch.randn(2, 4, 9, 9, 9)).size()
        torch.Size([2, 8, 11, 11, 11])
    """

    cls_to_become = convolution.ConvTranspose3d


class _LazyNorm(LazyModule, batchnorm._NormBase):
    inferred = "num_features"

    def __init__(
        self,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _size_in(self, input: Tensor) -> int:
        self._check_input_dim(input)
        return int(input.shape[1])

    def _size_of(self, weight: Tensor) -> int:
        return int(weight.shape[0])

    def has_uninitialized_params(self) -> bool:
        return self.num_features == 0


class LazyBatchNorm1d(_LazyNorm, batchnorm.BatchNorm1d):
    """A `BatchNorm1d` whose `num_features` is the number of channels of its first input.

    Example:
        >>> nn.LazyBatchNorm1d()(torch.randn(2, 4, 9)).size()
        torch.Size([2, 4, 9])
    """

    cls_to_become = batchnorm.BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, batchnorm.BatchNorm2d):
    """A `BatchNorm2d` whose `num_features` is the number of channels of its first input.

    Example:
        >>> nn.LazyBatchNorm2d()(torch.randn(2, 4, 9, 9)).size()
        torch.Size([2, 4, 9, 9])
    """

    cls_to_become = batchnorm.BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, batchnorm.BatchNorm3d):
    """A `BatchNorm3d` whose `num_features` is the number of channels of its first input.

    Example:
        >>> nn.LazyBatchNorm3d()(torch.randn(2, 4, 9, 9, 9)).size()
        torch.Size([2, 4, 9, 9, 9])
    """

    cls_to_become = batchnorm.BatchNorm3d


class _LazyInstanceNorm(_LazyNorm, instancenorm._InstanceNorm):
    def _size_in(self, input: Tensor) -> int:
        self._check_input_dim(input)
        return int(input.shape[0 if input.ndim == self.allowed_dims[0] else 1])


class LazyInstanceNorm1d(_LazyInstanceNorm, instancenorm.InstanceNorm1d):
    """An `InstanceNorm1d` whose `num_features` is the number of channels of its first input.

    Example:
        >>> nn.LazyInstanceNorm1d()(torch.randn(2, 4, 9)).size()
        torch.Size([2, 4, 9])
    """

    cls_to_become = instancenorm.InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, instancenorm.InstanceNorm2d):
    """An `InstanceNorm2d` whose `num_features` is the number of channels of its first input.

    Example:
        >>> nn.LazyInstanceNorm2d()(torch.randn(2, 4, 9, 9)).size()
        torch.Size([2, 4, 9, 9])
    """

    cls_to_become = instancenorm.InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, instancenorm.InstanceNorm3d):
    """An `InstanceNorm3d` whose `num_features` is the number of channels of its first input.

    Example:
        >>> nn.LazyInstanceNorm3d()(torch.randn(2, 4, 9, 9, 9)).size()
        torch.Size([2, 4, 9, 9, 9])
    """

    cls_to_become = instancenorm.InstanceNorm3d
