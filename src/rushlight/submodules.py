"""The submodules that are imported when they are first used, so that `import rushlight` stays quick.

Also PyTorch's other paths to what is here, `torch.distributions.normal`, and for its parts that aren't, what to do
instead.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = frozenset(
    ["_C", "accelerator", "amp", "autograd", "backends", "compiler", "cuda", "distributed", "distributions", "func",
     "hub", "io", "jit", "linalg", "mps", "multiprocessing", "nn", "optim", "profiler", "serialization", "sparse",
     "special", "testing", "types", "utils", "version", "vision", "xpu"]
)  # fmt: skip
# Modules of PyTorch that stand here under another path.
_PATHS = {
    **dict.fromkeys(
        [f"distributions.{name}" for name in ("cauchy", "exponential", "gumbel", "half_cauchy", "half_normal",
                                              "laplace", "normal", "pareto", "uniform", "weibull")],
        "distributions.continuous"),
    **dict.fromkeys(
        [f"distributions.{name}" for name in ("bernoulli", "binomial", "categorical", "geometric", "multinomial",
                                              "negative_binomial", "one_hot_categorical", "poisson")],
        "distributions.discrete"),
    **dict.fromkeys(
        [f"distributions.{name}" for name in ("beta", "chi2", "dirichlet", "fishersnedecor", "inverse_gamma",
                                              "studentT")],
        "distributions.gamma"),
    **dict.fromkeys(
        [f"distributions.{name}" for name in ("independent", "kumaraswamy", "log_normal", "logistic_normal",
                                              "mixture_same_family", "relaxed_bernoulli",
                                              "relaxed_categorical", "transformed_distribution")],
        "distributions.composed"),
    **dict.fromkeys([f"optim.{name}" for name in ("adadelta", "adagrad", "adam", "adamax", "adamw", "nadam", "radam",
                                                  "rmsprop", "sparse_adam")],
                    "optim.adaptive"),
    "optim.asgd": "optim.sgd",
    "_dynamo": "compiler", "_tensor": "tensor.tensor", "amp.autocast_mode": "amp", "amp.grad_scaler": "amp",
    "autograd.grad_mode": "autograd.modes", "autograd.variable": "autograd",
    "nn.modules.conv": "nn.modules.convolution", "nn.parallel": "nn.modules.parallel",
    "nn.utils.clip_grad": "nn.utils.gradients", "nn.utils.spectral_norm": "nn.utils.normalization",
    "nn.utils.weight_norm": "nn.utils.normalization", "random": "tensor.random",
    "distributions.lowrank_multivariate_normal": "distributions.multivariate_normal",
    "distributions.utils": "distributions.distribution", "storage": "tensor.storage",
    "utils.data.distributed": "utils.data.sampler", "utils.model_zoo": "hub",
    "vision.models.mobilenetv2": "vision.models.mobilenet",
}  # fmt: skip
# What a file of ours, or one class of it, is called in PyTorch, where its path doesn't say so.
_SPELLED = {
    **dict.fromkeys(["tensor.tensor", "tensor.size", "tensor.device", "tensor.limits", "tensor.layout", "dtypes"], ""),
    "tensor.generator": "_C", "autograd.modes": "autograd.grad_mode", "autograd.gradients": "autograd.variable",
    "amp.autocast": "amp.autocast_mode", "amp.GradScaler": "amp.grad_scaler",
    "nn.modules.adaptive_pooling": "nn.modules.pooling", "nn.modules.attention": "nn.modules.activation",
    "nn.modules.convolution": "nn.modules.conv", "nn.modules.fractional_pooling": "nn.modules.pooling",
    "nn.modules.parallel.DataParallel": "nn.parallel.data_parallel",
    "nn.modules.parallel.SyncBatchNorm": "nn.modules.batchnorm", "nn.modules.sequences": "nn.modules.loss",
    "optim.adafactor": "optim", "optim.muon": "optim",
    **{f"optim.lr_scheduler.{n}": "optim.lr_scheduler" for n in ("scheduler", "schedules", "cyclic", "composed")},
}  # fmt: skip
_STANDS_FOR = {"torch": "rushlight", "torchvision": "rushlight.vision"}
PACKAGES = ("rushlight", *_STANDS_FOR)
"""What the path of a class of ours begins with; with PyTorch's names under `rushlight run` (`cli/run.py`)."""
_COMPLEX = "there are no complex numbers here: keep the real and the imaginary part in two tensors"
_QUANTIZED = "there are no quantized numbers here: .half() or .bfloat16() makes a model smaller"
_SPARSE = "sparse tensors are made by sparse_coo_tensor here, of the places of their entries"
# Parts of PyTorch that aren't here, with what to do instead.
_ABSENT = {
    "ao": _QUANTIZED, "quantization": _QUANTIZED, "quantize_per_tensor": _QUANTIZED, "qint8": _QUANTIZED,
    "quint8": _QUANTIZED, "complex64": _COMPLEX, "complex128": _COMPLEX, "cfloat": _COMPLEX, "cdouble": _COMPLEX,
    "complex": _COMPLEX, "polar": _COMPLEX, "view_as_complex": _COMPLEX, "view_as_real": _COMPLEX, "imag": _COMPLEX,
    "fft": f"{_COMPLEX}, or transform x.numpy() with numpy.fft",
    "stft": f"{_COMPLEX}, or transform x.unfold(...).numpy() with numpy.fft",
    "istft": _COMPLEX, "sparse_csr_tensor": _SPARSE, "sparse_csc_tensor": _SPARSE, "sparse_bsr_tensor": _SPARSE,
    "nested": "there are no nested tensors here: pad the sequences, nn.utils.rnn.pad_sequence",
    "export": "save model.state_dict(), and build the model again where it is loaded",
    "fx": "rushlight.compile(function).graph() prints a function's graph",
    "onnx": "save model.state_dict(), and build the model again where it is loaded",
    "_inductor": "compile() has a compiler of its own: profile() of the compiled function times its operations",
    "__config__": "rushlight info prints what runs here",
    "utils.collect_env": "rushlight info prints what runs here",
    "library": "write autograd.Function over NumPy",
    "overrides": "operations are the same for every tensor: write autograd.Function",
    "package": "save model.state_dict(), and build the model again where it is loaded",
    "utils._pytree": "walk nested lists, tuples and dicts in Python",
    "utils.mobile_optimizer": "save model.state_dict(), and build the model again where it is loaded",
    "masked": "there are no masked tensors here: use torch.where, or masked_fill",
    "vision.models.detection": "there are classifiers only, rushlight.vision.models.list_models()",
    "vision.models.segmentation": "there are classifiers only, rushlight.vision.models.list_models()",
    "vision.models.feature_extraction": "a hook, module.register_forward_hook(), sees what a layer gives",
    "vision.tv_tensors": "images are plain tensors here, boxes and masks too",
    "utils.bottleneck": "profiler.profile() times the operations, Python's cProfile the rest",
    "utils.cpp_extension": "there is no C++ interface for users: write autograd.Function over NumPy",
}  # fmt: skip
_ELSEWHERE = {
    "Variable": ("rushlight.autograd", "Variable"), "autocast": ("rushlight.amp", "autocast"),
    "GradScaler": ("rushlight.amp", "GradScaler"), "compile": ("rushlight.compiler", "compile"),
    "vmap": ("rushlight.func", "vmap"),
    "sparse_coo_tensor": ("rushlight.sparse", "sparse_coo_tensor"), "spmm": ("rushlight.sparse", "mm"),
    "sparse_coo": ("rushlight.tensor.layout", "sparse_coo"),
    "is_anomaly_enabled": ("rushlight.autograd.gradients", "is_anomaly_enabled"),
    "set_anomaly_enabled": ("rushlight.autograd.gradients", "set_detect_anomaly"),
    "is_autocast_enabled": ("rushlight.amp", "is_autocast_enabled"),
    "get_autocast_dtype": ("rushlight.amp", "get_autocast_dtype"),
    "clear_autocast_cache": ("rushlight.amp", "clear_autocast_cache"),
    "polygamma": ("rushlight.special", "polygamma"), "mvlgamma": ("rushlight.special", "multigammaln"),
    "i0": ("rushlight.special", "i0"),
}  # fmt: skip


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


def path_here(path: str) -> str:
    """Where a module stands that PyTorch's programs call `path`: "torch.nn" is "rushlight.nn"; others stay."""
    package, dot, inner = path.partition(".")
    return _STANDS_FOR.get(package, package) + dot + inner


def path_of_class(kind: type) -> str:
    """The module in which PyTorch has a class of ours: "torch.nn.modules.conv" of Conv2d."""
    package, _, path = kind.__module__.partition(".")
    if package != "rushlight":
        return kind.__module__
    if path.startswith("vision"):
        return "torchvision" + path.removeprefix("vision")
    spelled = _SPELLED.get(f"{path}.{kind.__name__}", _SPELLED.get(path))
    if spelled is None:  # one of several files of PyTorch that are one file here?
        names = [theirs for theirs, ours in _PATHS.items() if ours == path]
        own = kind.__name__.lower()
        spelled = next((n for n in names if n.rpartition(".")[2].replace("_", "").lower() == own), path)
    return f"torch.{spelled}".rstrip(".")


def part_of(package: str, name: str) -> Any:
    """The submodule `name` of one of our packages, for its `__getattr__`; raises AttributeError for another name."""
    if not name.startswith("__"):
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            if not str(error).startswith("No module named"):  # what to do instead
                raise AttributeError(str(error)) from None
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def lazily(name: str) -> Any:
    """`rushlight.<name>` for a submodule that isn't imported yet; raises AttributeError for an unknown name."""
    if name in _SUBMODULES:
        return importlib.import_module(f"rushlight.{name}")
    if name in _PATHS:
        return importlib.import_module(f"rushlight.{_PATHS[name]}")
    if name in _ELSEWHERE:
        source, attribute = _ELSEWHERE[name]
        return getattr(importlib.import_module(source), attribute)
    if name in _FUNCTIONAL:
        return getattr(importlib.import_module("rushlight.nn.functional"), name)
    if name in _IN_PLACE:
        from rushlight.tensor.tensor import Tensor

        return getattr(Tensor, name)
    if name in _ABSENT:
        raise AttributeError(f"rushlight has no {name}: {_ABSENT[name]}")
    raise AttributeError(f"module {'rushlight'!r} has no attribute {name!r}{_like(name)}")


def _like(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, dir(sys.modules["rushlight"]), 1, 0.8)
    return f". Did you mean: {near[0]!r}?" if near else ""


class StandsIn:
    """Loads a module that is there already under another name."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        # The import system writes the spec into the module; what stands in there is put back in exec_module.
        self._spec = self._module.__spec__
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def spec_of(fullname: str, module: ModuleType) -> importlib.machinery.ModuleSpec:
    """What an importer answers where `fullname` is to be the same object as `module`."""
    loader: Any = StandsIn(module)
    return importlib.machinery.ModuleSpec(fullname, loader, is_package=hasattr(module, "__path__"))


class OtherPaths:
    """Asked last, for submodules of rushlight that no file has: PyTorch's other paths, and those that aren't here."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "rushlight":
            return None
        if name in _PATHS:
            return spec_of(fullname, importlib.import_module(f"rushlight.{_PATHS[name]}"))
        if name in _ABSENT:
            raise ModuleNotFoundError(f"rushlight has no {name}: {_ABSENT[name]}", name=fullname)
        return None


sys.meta_path.append(OtherPaths())
