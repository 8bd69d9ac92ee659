"""Tensor and what belongs to it."""

from rushlight.tensor.tensor import Tensor as Tensor
