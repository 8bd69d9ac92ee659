"""Batch norm taken into the weights of the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from rushlight.errors import AssertedError
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.tensor.tensor import Tensor

Layer = TypeVar("Layer", bound=Module)
Fused = tuple[Parameter, Parameter]


def fuse_conv_bn_eval(conv: Layer, bn: Any, transpose: bool = False) -> Layer:
    """A copy of the convolution `conv` that also does what the batch norm `bn` behind it does, both in eval mode.

    transpose: for a transposed convolution. Raises AssertionError in training mode or without running averages.
    """
    return _fused(conv, bn, (1, -1) if transpose else (-1, 1))


def fuse_linear_bn_eval(linear: Layer, bn: Any) -> Layer:
    """A copy of `linear` that also does what the batch norm `bn` behind it does; the rest as `fuse_conv_bn_eval`."""
    if bn.num_features not in (1, linear.out_features):
        raise AssertedError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, "
            f"got linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    return _fused(linear, bn, (-1, 1))


def _fused(layer: Layer, bn: Any, shape: tuple[int, int]) -> Layer:
    if layer.training or bn.training:
        raise AssertedError("Fusion only for eval! Call .eval() on both modules first")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertedError("bn.running_mean and bn.running_var must not be None")
    fused: Any = copy.deepcopy(layer)
    averages = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    fused.weight, fused.bias = _fused_weights(fused.weight, fused.bias, *averages, shape)
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> Fused:
    """Weight and bias of a convolution with a batch norm's running mean, variance, eps, weight and bias in them."""
    return _fused_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, (1, -1) if transpose else (-1, 1))


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> Fused:
    """Weight and bias of a linear layer with those of a batch norm in them; the rest as `fuse_conv_bn_weights`."""
    return _fused_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, (-1, 1))


def _fused_weights(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    factor: Tensor | None,
    shift: Tensor | None,
    shape: tuple[int, int],
) -> Fused:
    scale = (variance + eps).rsqrt()
    if factor is not None:
        scale = scale * factor
    fused_weight = (weight * scale.reshape(shape + (1,) * (weight.ndim - 2))).to(weight.dtype)
    fused_bias = (-mean if bias is None else bias - mean) * scale
    if shift is not None:
        fused_bias = fused_bias + shift
    fused_bias = fused_bias.to(weight.dtype if bias is None else bias.dtype)
    trained = False if bias is None else bias.requires_grad
    return Parameter(fused_weight.detach(), weight.requires_grad), Parameter(fused_bias.detach(), trained)
