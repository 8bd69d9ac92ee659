"""Augmentation by one or several of many changes, each of some strength: AutoAugment, RandAugment, TrivialAugment."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import rushlight as torch
from rushlight.vision.transforms import functional as F
from rushlight.vision.transforms.functional import InterpolationMode
from rushlight.vision.transforms.transform import Transform, whole


class AutoAugmentPolicy(Enum):
    """What data the changes of AutoAugment were found for."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# E. Cubuk et al., "AutoAugment" (2019): pairs of changes, each with its probability, and its strength from 0 to 9.
_POLICIES = {
    "imagenet": """
        Posterize 0.4 8, Rotate 0.6 9; Solarize 0.6 5, AutoContrast 0.6; Equalize 0.8, Equalize 0.6; Posterize
        0.6 7, Posterize 0.6 6; Equalize 0.4, Solarize 0.2 4; Equalize 0.4, Rotate 0.8 8; Solarize 0.6 3,
        Equalize 0.6; Posterize 0.8 5, Equalize 1.0; Rotate 0.2 3, Solarize 0.6 8; Equalize 0.6, Posterize 0.4
        6; Rotate 0.8 8, Color 0.4 0; Rotate 0.4 9, Equalize 0.6; Equalize 0.0, Equalize 0.8; Invert 0.6,
        Equalize 1.0; Color 0.6 4, Contrast 1.0 8; Rotate 0.8 8, Color 1.0 2; Color 0.8 8, Solarize 0.8 7;
        Sharpness 0.4 7, Invert 0.6; ShearX 0.6 5, Equalize 1.0; Color 0.4 0, Equalize 0.6; Equalize 0.4,
        Solarize 0.2 4; Solarize 0.6 5, AutoContrast 0.6; Invert 0.6, Equalize 1.0; Color 0.6 4, Contrast 1.0 8;
        Equalize 0.8, Equalize 0.6
    """,
    "cifar10": """
        Invert 0.1, Contrast 0.2 6; Rotate 0.7 2, TranslateX 0.3 9; Sharpness 0.8 1, Sharpness 0.9 3; ShearY 0.5
        8, TranslateY 0.7 9; AutoContrast 0.5, Equalize 0.9; ShearY 0.2 7, Posterize 0.3 7; Color 0.4 3,
        Brightness 0.6 7; Sharpness 0.3 9, Brightness 0.7 9; Equalize 0.6, Equalize 0.5; Contrast 0.6 7,
        Sharpness 0.6 5; Color 0.7 7, TranslateX 0.5 8; Equalize 0.3, AutoContrast 0.4; TranslateY 0.4 3,
        Sharpness 0.2 6; Brightness 0.9 6, Color 0.2 8; Solarize 0.5 2, Invert 0.0; Equalize 0.2, AutoContrast
        0.6; Equalize 0.2, Equalize 0.6; Color 0.9 9, Equalize 0.6; AutoContrast 0.8, Solarize 0.2 8; Brightness
        0.1 3, Color 0.7 0; Solarize 0.4 5, AutoContrast 0.9; TranslateY 0.9 9, TranslateY 0.7 9; AutoContrast
        0.9, Solarize 0.8 3; Equalize 0.8, Invert 0.1; TranslateY 0.7 9, AutoContrast 0.9
    """,
    "svhn": """
        ShearX 0.9 4, Invert 0.2; ShearY 0.9 8, Invert 0.7; Equalize 0.6, Solarize 0.6 6; Invert 0.9, Equalize
        0.6; Equalize 0.6, Rotate 0.9 3; ShearX 0.9 4, AutoContrast 0.8; ShearY 0.9 8, Invert 0.4; ShearY 0.9 5,
        Solarize 0.2 6; Invert 0.9, AutoContrast 0.8; Equalize 0.6, Rotate 0.9 3; ShearX 0.9 4, Solarize 0.3 3;
        ShearY 0.8 8, Invert 0.7; Equalize 0.9, TranslateY 0.6 6; Invert 0.9, Equalize 0.6; Contrast 0.3 3,
        Rotate 0.8 4; Invert 0.8, TranslateY 0.0 2; ShearY 0.7 6, Solarize 0.4 8; Invert 0.6, Rotate 0.8 4;
        ShearY 0.3 7, TranslateX 0.9 3; ShearX 0.1 6, Invert 0.6; Solarize 0.7 2, TranslateY 0.6 7; ShearY 0.8
        4, Invert 0.8; ShearX 0.7 9, TranslateY 0.8 3; ShearY 0.8 5, AutoContrast 0.7; ShearX 0.7 2, Invert 0.1
    """,
}
_STRENGTHLESS = ("Identity", "AutoContrast", "Equalize", "Invert")
# The largest strengths: shear as a slope, moves in pixels or shares of the size, an angle, factors above 1, bits less.
_MODERATE: dict[str, float | None] = {"Shear": 0.3, "Translate": None, "Rotate": 30.0, "Color": 0.9, "Bits": 4}
_WIDE: dict[str, float | None] = {"Shear": 0.99, "Translate": 32.0, "Rotate": 135.0, "Color": 0.99, "Bits": 6}
_ORDER = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
          "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]  # fmt: skip
_SIGNED = _ORDER[1:10]


class _Augmenting(Transform):
    """Makes changes by name."""

    _largest = _MODERATE

    def __init__(self, interpolation: Any, fill: Any) -> None:
        super().__init__()
        self.interpolation = F.interpolation_mode(interpolation)
        self.fill = fill

    def _magnitude(self, name: str, step: int, steps: int, image: Any) -> float:
        """The strength `step` out of as many as `steps`."""
        if name in _STRENGTHLESS:
            return 0.0
        if name == "Posterize":
            return 8 - round(step / ((steps - 1) / self._largest["Bits"]))  # type: ignore[operator]
        low, high = 0.0, self._largest.get(name.rstrip("XY"), self._largest["Color"])
        if name == "Solarize":
            low, high = 255.0, 0.0
        elif high is None:
            width, height = F.get_image_size(image)
            high = 150.0 / 331.0 * (width if name == "TranslateX" else height)
        return torch.linspace(low, high, steps)[step].item()

    def _negative(self) -> bool:
        """Whether a strength is taken with the other sign."""
        return whole(0, 2) == 1

    def _changed(self, image: Any, name: str, magnitude: float) -> Any:
        options = {"interpolation": self.interpolation, "fill": self.fill}
        kind, x = name.rstrip("XY"), not name.endswith("Y")
        if kind == "Shear":
            angle = math.degrees(math.atan(magnitude))
            shear = [angle, 0.0] if x else [0.0, angle]
            return F.affine(image, 0.0, [0, 0], 1.0, shear, center=[0, 0], **options)
        if kind == "Translate":
            moved = [int(magnitude), 0] if x else [0, int(magnitude)]
            return F.affine(image, 0.0, moved, 1.0, [0.0, 0.0], **options)
        if name == "Rotate":
            return F.rotate(image, magnitude, **options)
        changes = {
            "Identity": lambda: image,
            "Brightness": lambda: F.adjust_brightness(image, 1.0 + magnitude),
            "Color": lambda: F.adjust_saturation(image, 1.0 + magnitude),
            "Contrast": lambda: F.adjust_contrast(image, 1.0 + magnitude),
            "Sharpness": lambda: F.adjust_sharpness(image, 1.0 + magnitude),
            "Posterize": lambda: F.posterize(image, int(magnitude)),
            "Solarize": lambda: F.solarize(image, magnitude),
            "AutoContrast": lambda: F.autocontrast(image),
            "Equalize": lambda: F.equalize(image),
            "Invert": lambda: F.invert(image),
        }
        return changes[name]()


class AutoAugment(_Augmenting):
    """One of 25 pairs of changes, found by search for the data that `policy` names."""

    _shown = ("policy", "fill")

    def __init__(
        self,
        policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.policy = AutoAugmentPolicy(policy)
        self.policies = [
            [change.split() for change in pair.split(",")] for pair in _POLICIES[self.policy.value].split(";")
        ]

    @staticmethod
    def get_params(transform_num: int) -> tuple[int, Any, Any]:
        """(which pair, two numbers to hold against the probabilities, two signs)."""
        return whole(0, transform_num), torch.rand(2), torch.randint(2, (2,))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        index, chances, signs = self.get_params(len(self.policies))
        for (name, probability, *step), drawn, sign in zip(
            self.policies[index], chances.tolist(), signs.tolist(), strict=True
        ):
            if drawn <= float(probability):
                magnitude = self._magnitude(name, int(step[0]) if step else 0, 10, inpt)
                inpt = self._changed(inpt, name, -magnitude if name in _SIGNED and not sign else magnitude)
        return inpt


class RandAugment(_Augmenting):
    """`num_ops` changes, one after another, all of the strength `magnitude` out of `num_magnitude_bins`."""

    _shown = ("num_ops", "magnitude", "num_magnitude_bins", "interpolation", "fill")

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        for _ in range(self.num_ops):
            name = _ORDER[whole(0, len(_ORDER))]
            magnitude = self._magnitude(name, self.magnitude, self.num_magnitude_bins, inpt)
            inpt = self._changed(inpt, name, -magnitude if name in _SIGNED and self._negative() else magnitude)
        return inpt


class TrivialAugmentWide(_Augmenting):
    """One change, of a random strength out of `num_magnitude_bins`, up to very strong ones."""

    _largest = _WIDE
    _shown = ("num_magnitude_bins", "interpolation", "fill")

    def __init__(
        self, num_magnitude_bins: int = 31, interpolation: Any = InterpolationMode.NEAREST, fill: Any = None
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        name = _ORDER[whole(0, len(_ORDER))]
        step = 0 if name in _STRENGTHLESS else whole(0, self.num_magnitude_bins)
        magnitude = self._magnitude(name, step, self.num_magnitude_bins, inpt)
        return self._changed(inpt, name, -magnitude if name in _SIGNED and self._negative() else magnitude)
