"""Maximum over windows that are placed at random, which make any output size of any input size."""

from __future__ import annotations

from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn.functional.dimensions import per_dimension
from rushlight.tensor import creation, joining
from rushlight.tensor import random as randoms
from rushlight.tensor.tensor import Tensor


def _output_size(name: str, spatial: tuple[int, ...], output_size: Any, output_ratio: Any) -> tuple[int, ...]:
    dims = len(spatial)
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is not None:
        return per_dimension(name, "output_size", output_size, dims)
    ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * dims
    return tuple(int(size * ratio) for size, ratio in zip(spatial, ratios, strict=True))


def _starts(size: int, kernel: int, outputs: int, sample: Tensor) -> Tensor:
    """Where the windows along one dimension begin, (N, C, outputs), by a random number for each plane."""
    if outputs == 1:
        return creation.full((*sample.shape, 1), size - kernel, dtype=creation.arange(1).dtype)
    alpha = creation.full((), size - kernel, dtype=sample.dtype) / (outputs - 1)
    steps = creation.arange(outputs - 1, dtype=sample.dtype)
    first = sample.unsqueeze(-1)
    starts = ((first + steps) * alpha).long() - (first * alpha).long()
    last = creation.full((*sample.shape, 1), size - kernel, dtype=starts.dtype)
    return joining.cat([starts, last], -1)


def _pooled(
    dims: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{dims}d"
    if input.dim() not in (dims + 1, dims + 2):
        raise ShapeError(f"{name}: Expected {dims + 1}D or {dims + 2}D tensor, but got {tuple(input.shape)}")
    batch = input if input.dim() == dims + 2 else input.unsqueeze(0)
    spatial = tuple(batch.shape[2:])
    kernel = per_dimension(name, "kernel_size", kernel_size, dims)
    outputs = _output_size(name, spatial, output_size, output_ratio)
    for size, k, n in zip(spatial, kernel, outputs, strict=True):
        if n < 1 or n + k - 1 > size:
            raise ShapeError(
                f"{name}: {n} windows of size {k} don't fit an input of size {size}: kernel_size={kernel}, "
                f"output_size={outputs}, input of shape {tuple(input.shape)}"
            )
    if samples is None:
        samples = randoms.rand((*batch.shape[:2], dims), dtype=input.dtype)
    elif tuple(samples.shape) != (*batch.shape[:2], dims):
        raise ShapeError(f"{name}: expected random samples of shape {(*batch.shape[:2], dims)}, got {samples.shape}")
    index: Any = 0
    for axis in range(dims):
        number = axis if dims == 3 else dims - 1 - axis  # PyTorch draws for the width first where there are two
        places = _starts(spatial[axis], kernel[axis], outputs[axis], samples[..., number]).unsqueeze(-1)
        places = places + creation.arange(kernel[axis])  # (N, C, outputs, kernel)
        shape = [1] * (2 * dims)
        shape[axis], shape[dims + axis] = outputs[axis], kernel[axis]
        index = index * spatial[axis] + places.reshape(*batch.shape[:2], *shape)
    windows = index.expand(*batch.shape[:2], *outputs, *kernel).reshape(*batch.shape[:2], -1)
    values = batch.flatten(2).gather(2, windows).reshape(*batch.shape[:2], *outputs, -1)
    largest, where = values.max(-1)
    indices = windows.reshape(values.shape).gather(-1, where.unsqueeze(-1)).squeeze(-1)
    return (largest, indices) if batch is input else (largest.squeeze(0), indices.squeeze(0))


def _fractional(dims: int) -> Any:
    def with_indices(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        return _pooled(dims, input, kernel_size, output_size, output_ratio, _random_samples)

    def pool(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        found = _pooled(dims, input, kernel_size, output_size, output_ratio, _random_samples)
        return found if return_indices else found[0]

    what = (
        f"Maximum over windows at random places of (N, C, *S) with {dims} spatial dimensions, as many as output_size "
        "says, or output_ratio times the input's size (Graham, 2014)"
    )
    pool.__name__ = pool.__qualname__ = f"fractional_max_pool{dims}d"
    pool.__doc__ = f"{what}; with `return_indices` also where they are."
    with_indices.__name__ = with_indices.__qualname__ = f"fractional_max_pool{dims}d_with_indices"
    with_indices.__doc__ = f"{what}, and where they are."
    return pool, with_indices


fractional_max_pool2d, fractional_max_pool2d_with_indices = _fractional(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _fractional(3)
