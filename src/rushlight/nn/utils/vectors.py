"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from rushlight.errors import ShapeError
from rushlight.tensor.joining import cat
from rushlight.tensor.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after another, as one vector."""
    return cat([p.reshape((-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Makes the parameters views of consecutive parts of `vec`; raises ShapeError where it is too short."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    position = 0
    for parameter in parameters:
        count = parameter.numel()
        if position + count > vec.numel():
            raise ShapeError(f"vector_to_parameters: the vector of {vec.numel()} elements is too short")
        parameter.data = vec.data[position : position + count].view(parameter.shape)
        position += count
