"""The submodules that are imported when they are first used, so that `import rushlight` stays quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = frozenset(
    ["accelerator", "amp", "autograd", "backends", "compiler", "cuda", "io", "linalg", "mps", "nn", "optim", "special",
     "types", "utils", "version", "xpu"]
)  # fmt: skip
# What PyTorch's programs reach as an attribute, `torch.utils.data`, without importing it.
_WITH = {"cuda": ("amp",), "optim": ("lr_scheduler", "swa_utils"), "utils": ("checkpoint", "data")}
_ELSEWHERE = {"Variable": ("rushlight.autograd", "Variable"), "autocast": ("rushlight.amp", "autocast"),
              "GradScaler": ("rushlight.amp", "GradScaler"), "compile": ("rushlight.compiler", "compile")}  # fmt: skip


# Functions of networks that PyTorch also has at its top.
_FUNCTIONAL = frozenset(
    ["adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "avg_pool1d", "batch_norm",
     "binary_cross_entropy_with_logits", "celu", "celu_", "channel_shuffle", "conv1d", "conv2d", "conv3d",
     "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity",
     "ctc_loss", "dropout", "embedding", "embedding_bag", "feature_alpha_dropout",
     "group_norm", "hardshrink", "hinge_embedding_loss", "instance_norm", "kl_div",
     "layer_norm", "margin_ranking_loss", "max_pool1d", "max_pool2d", "max_pool3d", "pairwise_distance",
     "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu_", "rms_norm", "rrelu", "rrelu_",
     "selu_", "threshold", "threshold_", "triplet_margin_loss"]
)  # fmt: skip
# Methods that overwrite their tensor, which PyTorch also has as functions.
_IN_PLACE = frozenset(
    """abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_ atan_ atanh_
    ceil_ clamp_ clamp_max_ clamp_min_ clip_ cos_ cosh_ deg2rad_ detach_ erf_ erfc_ exp2_ exp_ expm1_ fill_ fix_ floor_
    frac_ gcd_ index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_ reciprocal_
    round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ trunc_ xlogy_ zero_""".split()
)


def lazily(name: str) -> Any:
    """`rushlight.<name>` for a submodule that isn't imported yet; raises AttributeError for an unknown name."""
    if name in _SUBMODULES:
        module = importlib.import_module(f"rushlight.{name}")
        for inner in _WITH.get(name, ()):
            importlib.import_module(f"rushlight.{name}.{inner}")
        return module
    if name in _ELSEWHERE:
        source, attribute = _ELSEWHERE[name]
        return getattr(importlib.import_module(source), attribute)
    if name in _FUNCTIONAL:
        return getattr(importlib.import_module("rushlight.nn.functional"), name)
    if name in _IN_PLACE:
        from rushlight.tensor.tensor import Tensor

        return getattr(Tensor, name)
    raise AttributeError(f"module {'rushlight'!r} has no attribute {name!r}{_like(name)}")


def _like(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, dir(sys.modules["rushlight"]), 1, 0.8)
    return f". Did you mean: {near[0]!r}?" if near else ""
