"""Tools around modules: clipping of gradients, normalised weights, parameters as a vector, packed sequences."""

import sys
from types import ModuleType
from typing import Any

from rushlight.nn.utils import parametrizations as parametrizations
from rushlight.nn.utils import parametrize as parametrize
from rushlight.nn.utils import prune as prune
from rushlight.nn.utils import rnn as rnn
from rushlight.nn.utils import stateless as stateless
from rushlight.nn.utils.fusion import fuse_conv_bn_eval as fuse_conv_bn_eval
from rushlight.nn.utils.fusion import fuse_conv_bn_weights as fuse_conv_bn_weights
from rushlight.nn.utils.fusion import fuse_linear_bn_eval as fuse_linear_bn_eval
from rushlight.nn.utils.fusion import fuse_linear_bn_weights as fuse_linear_bn_weights
from rushlight.nn.utils.gradients import clip_grad_norm as clip_grad_norm
from rushlight.nn.utils.gradients import clip_grad_norm_ as clip_grad_norm_
from rushlight.nn.utils.gradients import clip_grad_value_ as clip_grad_value_
from rushlight.nn.utils.gradients import clip_grads_with_norm_ as clip_grads_with_norm_
from rushlight.nn.utils.gradients import get_total_norm as get_total_norm
from rushlight.nn.utils.normalization import remove_spectral_norm as remove_spectral_norm
from rushlight.nn.utils.normalization import remove_weight_norm as remove_weight_norm
from rushlight.nn.utils.normalization import spectral_norm as spectral_norm
from rushlight.nn.utils.normalization import weight_norm as weight_norm
from rushlight.nn.utils.stateless import skip_init as skip_init
from rushlight.nn.utils.vectors import parameters_to_vector as parameters_to_vector
from rushlight.nn.utils.vectors import vector_to_parameters as vector_to_parameters


class _Package(ModuleType):
    """PyTorch has modules `weight_norm` and `spectral_norm` too: importing them leaves the functions where they are."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and callable(self.__dict__.get(name))):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
