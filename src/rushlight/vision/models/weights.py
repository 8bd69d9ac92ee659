"""Trained weights by name, and functions that build a model with them.

The files are those that torchvision names; they are read as data from the folder where PyTorch keeps them, and fetched,
with their checksum, where they aren't there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

import rushlight as torch
from rushlight import Tensor, nn
from rushlight.hub import load_state_dict_from_url
from rushlight.vision.transforms import functional as F
from rushlight.vision.transforms.functional import InterpolationMode

_ADDRESS = "https://download.pytorch.org/models/"
# The files of each model: those of IMAGENET1K_V1, V2. Names end in how the SHA-256 begins.
_FILES = {
    "AlexNet": ["alexnet-owt-7be5be79"],
    "DenseNet121": ["densenet121-a639ec97"],
    "DenseNet161": ["densenet161-8d451a50"],
    "DenseNet169": ["densenet169-b2777c0a"],
    "DenseNet201": ["densenet201-c1103571"],
    "EfficientNet_B0": ["efficientnet_b0_rwightman-7f5810bc"],
    "EfficientNet_B1": ["efficientnet_b1_rwightman-bac287d4", "efficientnet_b1-c27df63c"],
    "EfficientNet_B2": ["efficientnet_b2_rwightman-c35c1473"],
    "EfficientNet_B3": ["efficientnet_b3_rwightman-b3899882"],
    "EfficientNet_B4": ["efficientnet_b4_rwightman-23ab8bcd"],
    "EfficientNet_B5": ["efficientnet_b5_lukemelas-1a07897c"],
    "EfficientNet_B6": ["efficientnet_b6_lukemelas-24a108a5"],
    "EfficientNet_B7": ["efficientnet_b7_lukemelas-c5b4e57e"],
    "MobileNet_V2": ["mobilenet_v2-b0353104", "mobilenet_v2-7ebf99e0"],
    "ResNet18": ["resnet18-f37072fd"],
    "ResNet34": ["resnet34-b627a593"],
    "ResNet50": ["resnet50-0676ba61", "resnet50-11ad3fa6"],
    "ResNet101": ["resnet101-63fe2227", "resnet101-cd907fc2"],
    "ResNet152": ["resnet152-394f9c45", "resnet152-f82ba261"],
    "ResNeXt50_32X4D": ["resnext50_32x4d-7cdf4587", "resnext50_32x4d-1a0047aa"],
    "ResNeXt101_32X8D": ["resnext101_32x8d-8ba56ff5", "resnext101_32x8d-110c445d"],
    "SqueezeNet1_0": ["squeezenet1_0-b66bff10"],
    "SqueezeNet1_1": ["squeezenet1_1-b8a52dc0"],
    "VGG11": ["vgg11-8a719046"],
    "VGG11_BN": ["vgg11_bn-6002323d"],
    "VGG13": ["vgg13-19584684"],
    "VGG13_BN": ["vgg13_bn-abd245e5"],
    "VGG16": ["vgg16-397923af"],
    "VGG16_BN": ["vgg16_bn-6c64b313"],
    "VGG19": ["vgg19-dcbb9e9d"],
    "VGG19_BN": ["vgg19_bn-c79401a0"],
    "Wide_ResNet50_2": ["wide_resnet50_2-95faca4d", "wide_resnet50_2-9ba9bcbe"],
    "Wide_ResNet101_2": ["wide_resnet101_2-32ee1156", "wide_resnet101_2-d733dc28"],
}
# How large pictures are cropped, from how large ones, where it isn't 224 from 256 (V1) or from 232 (V2).
_SIZES = {
    "efficientnet_b1_rwightman-bac287d4": (240, 256),
    "efficientnet_b1-c27df63c": (240, 255),
    "efficientnet_b2_rwightman-c35c1473": (288, 288),
    "efficientnet_b3_rwightman-b3899882": (300, 320),
    "efficientnet_b4_rwightman-23ab8bcd": (380, 384),
    "efficientnet_b5_lukemelas-1a07897c": (456, 456),
    "efficientnet_b6_lukemelas-24a108a5": (528, 528),
    "efficientnet_b7_lukemelas-c5b4e57e": (600, 600),
}


class ImageClassification(nn.Module):
    """What is done to a picture before a classifier sees it: resized, cropped, scaled to 0..1, normalised."""

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.crop_size = [crop_size]
        self.resize_size = [resize_size]
        self.mean = list(mean)
        self.std = list(std)
        self.interpolation = interpolation
        self.antialias = antialias

    def forward(self, img: Any) -> Tensor:
        img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        img = img if isinstance(img, Tensor) else F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img, torch.float32), self.mean, self.std)

    def __repr__(self) -> str:
        names = ("crop_size", "resize_size", "mean", "std", "interpolation")
        return "\n".join([f"{type(self).__name__}(", *(f"    {name}={getattr(self, name)}" for name in names), ")"])


class _Meta(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        where = "https://raw.githubusercontent.com/pytorch/hub/master/imagenet_classes.txt has them, a line for each"
        raise KeyError(f"the names of ImageNet's classes aren't here; {where}" if key == "categories" else key)


@dataclass(frozen=True)
class Weights:
    """A file of weights, and the transform for the pictures that it was trained on."""

    url: str
    transforms: Callable[..., Any] = field(compare=False)
    meta: dict[str, Any] = field(default_factory=_Meta, compare=False)


class WeightsEnum(Enum):
    """The weights that there are for a model: IMAGENET1K_V1, maybe IMAGENET1K_V2, and DEFAULT, the best."""

    @classmethod
    def verify(cls, obj: Any) -> Any:
        """The member that `obj` is or names. Raises TypeError or KeyError for others."""
        if isinstance(obj, str):
            name = obj.removeprefix(f"{cls.__name__}.")
            if name not in cls.__members__:
                raise KeyError(f"there are no weights {name!r}: {cls.__name__} has {', '.join(cls.__members__)}")
            return cls[name]
        if obj is not None and not isinstance(obj, cls):
            raise TypeError(
                f"Invalid Weight class provided; expected {cls.__name__} but received {type(obj).__name__}."
            )
        return obj

    @property
    def url(self) -> str:
        """Where the file comes from."""
        address: str = self.value.url
        return address

    @property
    def transforms(self) -> Callable[..., Any]:
        """Makes the transform: `weights.transforms()(picture)`."""
        made: Callable[..., Any] = self.value.transforms
        return made

    @property
    def meta(self) -> dict[str, Any]:
        """What is known of the weights."""
        known: dict[str, Any] = self.value.meta
        return known

    def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> dict[str, Any]:
        """The weights, from the cache or fetched. Raises DownloadError, which says which file to put where."""
        return load_state_dict_from_url(self.url, progress=progress, check_hash=check_hash)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def _enum(model: str, files: list[str]) -> type[WeightsEnum]:
    members = {}
    for number, file in enumerate(files):
        crop, size = _SIZES.get(file, (224, 256 if number == 0 else 232))
        bicubic = model.startswith("EfficientNet") and number == 0
        mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
        transforms = partial(ImageClassification, crop_size=crop, resize_size=size, interpolation=mode)
        members[f"IMAGENET1K_V{number + 1}"] = Weights(f"{_ADDRESS}{file}.pth", transforms)
    members["DEFAULT"] = members[f"IMAGENET1K_V{len(files)}"]
    make: Any = WeightsEnum
    return make(f"{model}_Weights", members, module=__name__)


WEIGHTS: dict[str, type[WeightsEnum]] = {f"{model}_Weights": _enum(model, files) for model, files in _FILES.items()}
globals().update(WEIGHTS)  # where pickle looks for them

BUILDERS: dict[str, Callable[..., nn.Module]] = {}
_WEIGHTS_OF: dict[str, type[WeightsEnum]] = {}


def builder(
    model: str, make: Callable[..., nn.Module], renamed: Callable[[str], str] = lambda name: name, **trained: Any
) -> Callable[..., Any]:
    """The function that builds `model` with weights or without.

    `renamed` gives the names of today for those in a file, `trained` are arguments of `make` where weights follow.
    """
    enum = WEIGHTS[f"{model}_Weights"]
    name = model.lower()

    def build(
        weights: Any = None, progress: bool = True, *, pretrained: bool | None = None, **kwargs: Any
    ) -> nn.Module:
        if isinstance(weights, bool):  # as the argument was before torchvision 0.13
            weights, pretrained = None, weights
        if pretrained:
            weights = "IMAGENET1K_V1"
        chosen = enum.verify(weights)
        if chosen is None:
            return make(**kwargs)
        if kwargs.setdefault("num_classes", 1000) != 1000:
            raise ValueError(
                f"The parameter 'num_classes' expected value 1000 but got {kwargs['num_classes']} instead: the weights "
                "are for ImageNet's classes. Put a new last layer into the model"
            )
        net = make(**{**kwargs, **trained})
        state = chosen.get_state_dict(progress=progress, check_hash=True)
        net.load_state_dict({renamed(key): value for key, value in state.items()})
        return net

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{model}; `weights` is None, {', '.join(repr(member) for member in enum.__members__)}."
    BUILDERS[name] = build
    _WEIGHTS_OF[name] = enum
    return build


def get_model_builder(name: str) -> Callable[..., nn.Module]:
    """The function that builds the model `name`. Raises ValueError for an unknown one."""
    if name.lower() not in BUILDERS:
        raise ValueError(f"Unknown model {name}; there are {', '.join(list_models())}")
    return BUILDERS[name.lower()]


def get_model(name: str, **config: Any) -> nn.Module:
    """The model `name`, built with the arguments of its function."""
    return get_model_builder(name)(**config)


def get_model_weights(name: Any) -> type[WeightsEnum]:
    """The weights that there are for a model, by its name or its function."""
    get_model_builder(name if isinstance(name, str) else name.__name__)
    return _WEIGHTS_OF[(name if isinstance(name, str) else name.__name__).lower()]


def get_weight(name: str) -> WeightsEnum:
    """The weights of a full name, "ResNet50_Weights.IMAGENET1K_V2"."""
    enum, _, member = name.partition(".")
    if enum not in WEIGHTS or not member:
        raise ValueError(f"Invalid weight name provided: {name!r}.")
    found: WeightsEnum = WEIGHTS[enum].verify(member)
    return found


def list_models(
    module: Any = None, include: Iterable[str] | str | None = None, exclude: Iterable[str] | str | None = None
) -> list[str]:
    """The names of the models, or of those that fit a pattern of `include` and none of `exclude`."""
    wanted, unwanted = ([p] if isinstance(p, str) else list(p or ()) for p in (include, exclude))
    return sorted(
        name for name in BUILDERS
        if (not wanted or any(fnmatch.fnmatch(name, p) for p in wanted))
        and not any(fnmatch.fnmatch(name, p) for p in unwanted)
    )  # fmt: skip
