"""`torchvision.transforms.v2`: the same transforms, for samples of any structure.

A sample is an image, several arguments, or tuples, lists and dicts of them. PIL images in it are changed, all by the
same random numbers, or else the first tensor; labels and other things pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any

import numpy as np

import rushlight as torch
from rushlight import Tensor, nn
from rushlight.vision import transforms
from rushlight.vision.naming import missing
from rushlight.vision.pillow import is_picture
from rushlight.vision.transforms.tensors import maximum
from rushlight.vision.transforms.transform import Transform as _Transform
from rushlight.vision.transforms.transform import chance, whole
from rushlight.vision.transforms.v2 import functional as functional

InterpolationMode = transforms.InterpolationMode


class Transform(_Transform):
    """Changes the images of a sample; see `transform` and `make_params`, which a subclass defines."""

    def _takes(self, inpt: Any) -> bool:
        return isinstance(inpt, Tensor) or is_picture(inpt)

    def _chosen(self, leaves: list[Any]) -> list[bool]:
        """Which parts are changed: PIL images, or the first tensor."""
        pictures = any(is_picture(leaf) for leaf in leaves)
        first = next((number for number, leaf in enumerate(leaves) if isinstance(leaf, Tensor)), -1)
        return [
            self._takes(leaf) and (not isinstance(leaf, Tensor) or (number == first and not pictures))
            for number, leaf in enumerate(leaves)
        ]

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        if not self._happens():
            return sample
        leaves = list(_leaves(sample))
        chosen = self._chosen(leaves)
        params = self.make_params([leaf for leaf, is_chosen in zip(leaves, chosen, strict=True) if is_chosen])
        changed = (
            self.transform(leaf, params) if is_chosen else leaf for leaf, is_chosen in zip(leaves, chosen, strict=True)
        )
        return _filled(sample, changed)

    __repr__ = nn.Module.__repr__

    def extra_repr(self) -> str:
        shown = []
        for name, value in vars(self).items():
            if not name.startswith("_") and name != "training" and isinstance(
                value, bool | int | float | str | tuple | list | Enum
            ):  # fmt: skip
                shown.append(f"{name}={value.value if isinstance(value, Enum) else value}")
        return ", ".join(shown)


def _leaves(sample: Any) -> Iterator[Any]:
    if isinstance(sample, dict):
        sample = list(sample.values())
    if isinstance(sample, list | tuple):
        for part in sample:
            yield from _leaves(part)
    else:
        yield sample


def _filled(sample: Any, leaves: Iterator[Any]) -> Any:
    """The structure of `sample` with other leaves."""
    if isinstance(sample, dict):
        return type(sample)((key, _filled(part, leaves)) for key, part in sample.items())
    if isinstance(sample, list | tuple):
        parts = [_filled(part, leaves) for part in sample]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)
    return next(leaves)


# The transforms of `torchvision.transforms`, of structures. Those that hold others, or draw otherwise, follow below.
_SAME = [
    "CenterCrop", "ColorJitter", "ElasticTransform", "FiveCrop", "GaussianBlur", "Grayscale", "LinearTransformation",
    "Normalize", "Pad", "RandomAdjustSharpness", "RandomAffine", "RandomAutocontrast", "RandomEqualize",
    "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomPerspective",
    "RandomPosterize", "RandomRotation", "RandomSolarize", "RandomVerticalFlip", "TenCrop",
    "ToPILImage",
]  # fmt: skip
for _name in _SAME:
    _same = getattr(transforms, _name)
    globals()[_name] = type(_name, (Transform, _same), {"__doc__": _same.__doc__, "__module__": __name__})


class Resize(Transform, transforms.Resize):
    """The image in `size`: (height, width), the length of the shorter edge, or with None as `max_size` says."""

    def __init__(
        self, size: Any, interpolation: Any = InterpolationMode.BILINEAR, max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__([size] if isinstance(size, int) else size, interpolation, max_size, antialias)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return functional.resize(inpt, self.size, self.interpolation, self.max_size, self.antialias)


class RandomResizedCrop(Transform, transforms.RandomResizedCrop):
    """A rectangle of random area and ratio, anywhere in the image, in the size (height, width)."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        top, left, height, width = params["box"]
        return functional.resized_crop(inpt, top, left, height, width, self.size, self.interpolation, self.antialias)


class RandomCrop(Transform, transforms.RandomCrop):
    """A rectangle (height, width) anywhere in the image, which may be padded before."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = functional.get_size(flat_inputs[0])
        sides = [0] * 4 if self.padding is None else functional.four_sides(self.padding)
        if self.pad_if_needed:
            x, y = (
                max(wanted - size - sides[first] - sides[first + 2], 0)
                for first, wanted, size in ((0, self.size[1], width), (1, self.size[0], height))
            )
            sides = [sides[0] + x, sides[1] + y, sides[2] + x, sides[3] + y]
        height, width = height + sides[1] + sides[3], width + sides[0] + sides[2]
        if height < self.size[0] or width < self.size[1]:
            raise ValueError(f"Required crop size {self.size} is larger than input image size {(height, width)}.")
        top, left = (whole(0, room + 1) if room else 0 for room in (height - self.size[0], width - self.size[1]))
        return {"padding": sides, "box": (top, left, *self.size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if any(params["padding"]):
            inpt = functional.pad(inpt, params["padding"], self.fill, self.padding_mode)
        return functional.crop(inpt, *params["box"])


class Lambda(Transform):
    """A function of all parts of a sample, or of those of some types."""

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        super().__init__()
        self.lambd = lambd
        self.types = types or (object,)

    def _chosen(self, leaves: list[Any]) -> list[bool]:
        return [isinstance(leaf, self.types) for leaf in leaves]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.lambd(inpt)

    def extra_repr(self) -> str:
        name = getattr(self.lambd, "__name__", None)
        return ", ".join([*([name] if name else []), f"types={[kind.__name__ for kind in self.types]}"])


class Identity(Transform):
    """The image as it is."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return inpt


class _Augmenting(Transform):
    def _negative(self) -> bool:
        return torch.rand(()).item() <= 0.5

    def _magnitude(self, name: str, step: int, steps: int, image: Any) -> float:
        if name != "Solarize":
            return super()._magnitude(name, step, steps, image)  # type: ignore[misc]
        white = maximum(image.dtype) if isinstance(image, Tensor) else 255
        return torch.linspace(1.0, 0.0, steps)[step].item() * white


class RandAugment(_Augmenting, transforms.RandAugment):
    """`num_ops` changes, one after another, all of the strength `magnitude` out of `num_magnitude_bins`."""


class TrivialAugmentWide(_Augmenting, transforms.TrivialAugmentWide):
    """One change, of a random strength out of `num_magnitude_bins`, up to very strong ones."""


class ToImage(Transform):
    """PIL images and NumPy arrays (H, W, C) as tensors (C, H, W), their values as they are."""

    def _takes(self, inpt: Any) -> bool:
        return super()._takes(inpt) or isinstance(inpt, np.ndarray)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        return functional.to_image(inpt)


class PILToTensor(Transform):
    """PIL images as tensors (C, H, W), their values as they are."""

    def _takes(self, inpt: Any) -> bool:
        return is_picture(inpt)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        return functional.pil_to_tensor(inpt)


class ToTensor(Transform):
    """PIL images and NumPy arrays (H, W, C) as tensors (C, H, W), scaled to 0..1."""

    def _takes(self, inpt: Any) -> bool:
        return is_picture(inpt) or isinstance(inpt, np.ndarray)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        converted: Tensor = functional.to_tensor(inpt)
        return converted


class ToPureTensor(Identity):
    """Images as plain tensors, which they are here already."""


class ToDtype(Transform):
    """Tensors in another dtype; with `scale`, their values scaled to that dtype's range.

    Of a dict of dtypes, that for torch.Tensor counts, or for "others".
    """

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        if isinstance(dtype, dict):
            dtype = dtype.get(Tensor, dtype.get("others"))
        elif not isinstance(dtype, torch.dtype):
            raise ValueError(f"dtype must be a dict or a torch.dtype, got {type(dtype)} instead")
        self.dtype = dtype
        self.scale = scale

    def _takes(self, inpt: Any) -> bool:
        return isinstance(inpt, Tensor)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        changed: Tensor = inpt if self.dtype is None else functional.to_dtype(inpt, self.dtype, self.scale)
        return changed


class ConvertImageDtype(ToDtype):
    """Tensors in another dtype, their values scaled to that dtype's range."""

    def __init__(self, dtype: Any = torch.float32) -> None:
        super().__init__(dtype, scale=True)


class GaussianNoise(Transform):
    """Normal noise added to tensors of floating numbers, clipped to 0..1."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        noisy: Tensor = inpt + self.mean + torch.randn_like(inpt) * self.sigma
        return noisy.clamp(0, 1) if self.clip else noisy


class Compose(Transform):
    """Transforms, one after another."""

    def __init__(self, transforms: Any) -> None:
        super().__init__()
        if not isinstance(transforms, Sequence | nn.ModuleList):
            raise TypeError("Argument transforms should be a sequence of callables")
        if not len(transforms):
            raise ValueError("Pass at least one transform")
        self.transforms = transforms

    def _order(self) -> Any:
        return self.transforms

    def forward(self, *inputs: Any) -> Any:
        several = len(inputs) > 1
        for transform in self._order():
            changed = transform(*inputs)
            inputs = changed if several else (changed,)
        return inputs if several else inputs[0]

    def extra_repr(self) -> str:
        return "\n".join(f"    {transform}" for transform in self.transforms)


class RandomApply(Compose):
    """Transforms, one after another, all with probability `p` or none."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = p

    def _order(self) -> Any:
        return self.transforms if chance(self.p) else []


class RandomOrder(Compose):
    """Transforms in random order."""

    def _order(self) -> Any:
        return [self.transforms[index] for index in torch.randperm(len(self.transforms)).tolist()]


class RandomChoice(Compose):
    """One of the transforms; `p` are their weights."""

    def __init__(self, transforms: Any, p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        weights = [1.0] * len(transforms) if p is None else list(p)
        if len(weights) != len(transforms):
            raise ValueError(f"Length of p doesn't match the number of transforms: {len(weights)} != {len(transforms)}")
        self.p = [weight / sum(weights) for weight in weights]

    def _order(self) -> Any:
        return [self.transforms[int(torch.multinomial(torch.tensor(self.p), 1))]]

    extra_repr = Transform.extra_repr


__all__ = sorted(
    name for name, value in vars(sys.modules[__name__]).items()
    if isinstance(value, type) and not name.startswith("_") and issubclass(value, Transform | Enum) and name != "Enum"
)  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, __all__)
