"""The transforms of `torchvision.transforms` that draw random numbers: the same ones, in the same order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.transforms import functional as F
from rushlight.vision.transforms.functional import InterpolationMode
from rushlight.vision.transforms.transform import RandomTransform, Transform, chance, checked, pair, uniform, whole


class RandomHorizontalFlip(RandomTransform):
    """Left and right exchanged, with probability `p`."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.hflip(inpt)


class RandomVerticalFlip(RandomTransform):
    """Top and bottom exchanged, with probability `p`."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.vflip(inpt)


class RandomCrop(Transform):
    """A rectangle (height, width) anywhere in the image, which may be padded before."""

    _shown = ("size", "padding")

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0, padding_mode: str = "constant"
    ) -> None:
        super().__init__()
        self.size = F.size_pair(size)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Any, output_size: Sequence[int]) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a rectangle."""
        _, h, w = F.get_dimensions(img)
        height, width = output_size
        if h < height or w < width:
            raise ValueError(f"Required crop size {(height, width)} is larger than input image size {(h, w)}")
        if (h, w) == (height, width):
            return 0, 0, h, w
        return whole(0, h - height + 1), whole(0, w - width + 1), height, width

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        _, height, width = F.get_dimensions(img)
        if self.pad_if_needed and width < self.size[1]:
            img = F.pad(img, [self.size[1] - width, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and height < self.size[0]:
            img = F.pad(img, [0, self.size[0] - height], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))


class _RandomBox(Transform):
    """Draws a rectangle by its share of the area and its ratio of width to height."""

    scale: Sequence[float]
    ratio: Sequence[float]

    def _set(self, scale: Any, ratio: Any) -> None:
        for name, value in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(value, Sequence):
                raise TypeError(f"{name} should be a sequence")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=3)
        self.scale, self.ratio = scale, ratio

    @staticmethod
    def sides(area: int, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int]:
        """Two sides of a rectangle, the first over the second as the ratio."""
        low, high = torch.log(torch.tensor([float(r) for r in ratio])).tolist()
        target = area * uniform(*scale)
        drawn = float(torch.exp(torch.empty(1).uniform_(low, high)))
        return round(math.sqrt(target * drawn)), round(math.sqrt(target / drawn))


class RandomResizedCrop(_RandomBox):
    """A rectangle of random area and ratio, anywhere in the image, in the size (height, width)."""

    def __init__(
        self,
        size: Any,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size = F.size_pair(size)
        self._set(scale, ratio)
        self.interpolation = F.interpolation_mode(interpolation)
        self.antialias = antialias

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a rectangle; after ten that don't fit, the largest in the middle."""
        _, h, w = F.get_dimensions(img)
        for _ in range(10):
            width, height = _RandomBox.sides(h * w, scale, ratio)
            if 0 < width <= w and 0 < height <= h:
                return whole(0, h - height + 1), whole(0, w - width + 1), height, width
        height, width = h, w
        if w / h < min(ratio):
            height = round(w / min(ratio))
        elif w / h > max(ratio):
            width = round(h * max(ratio))
        return (h - height) // 2, (w - width) // 2, height, width

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"box": self.get_params(flat_inputs[0], self.scale, self.ratio)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        top, left, height, width = params["box"]
        return F.resized_crop(inpt, top, left, height, width, self.size, self.interpolation, self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(number, 4) for number in numbers) for numbers in (self.scale, self.ratio))
        return (
            f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


class RandomErasing(_RandomBox):
    """A rectangle of a tensor overwritten, with probability `p`: by a value, one for each channel, or "random" ones."""

    _shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(value, int | float | tuple | list) and value != "random":
            raise (ValueError if isinstance(value, str) else TypeError)(
                f"value should be a number, a sequence of numbers, or 'random', not {value!r}"
            )
        if not 0 <= p <= 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p = p
        self._set(scale, ratio)
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: list[float] | None = None
    ) -> tuple[int, int, int, int, Tensor]:
        """(top, left, height, width, values) of a rectangle; the whole image as it is after ten that don't fit."""
        channels, h, w = F.get_dimensions(img)
        for _ in range(10):
            height, width = _RandomBox.sides(h * w, scale, ratio)
            if height < h and width < w:
                size = (channels, height, width)
                values = torch.empty(size).normal_() if value is None else torch.tensor(value)[:, None, None]
                return whole(0, h - height + 1), whole(0, w - width + 1), height, width, values
        return 0, 0, h, w, img

    def _happens(self) -> bool:
        return chance(self.p)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        image = flat_inputs[0]
        if not isinstance(image, Tensor):
            raise TypeError(f"img should be Tensor Image. Got {type(image)}: RandomErasing() belongs behind ToTensor()")
        values: list[float] | None = None
        if self.value != "random":
            values = [float(v) for v in (self.value if isinstance(self.value, tuple | list) else [self.value])]
            if len(values) not in (1, image.shape[-3]):
                raise ValueError(f"value should have one number, or one for each of {image.shape[-3]} channels")
        return {"box": self.get_params(image, self.scale, self.ratio, values)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        top, left, height, width, values = params["box"]
        return F.erase(inpt, top, left, height, width, values, self.inplace)


class RandomRotation(Transform):
    """The image turned counterclockwise by an angle between `degrees` (low, high), or -degrees and degrees."""

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Any = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.degrees = pair(degrees, "degrees")
        self.interpolation = F.interpolation_mode(interpolation)
        self.expand = expand
        self.center = center if center is None else checked(center, "center")
        self.fill = 0 if fill is None else fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """An angle."""
        return uniform(*degrees)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"angle": self.get_params(self.degrees)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.rotate(inpt, params["angle"], self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (
            f"{type(self).__name__}(degrees={self.degrees}, interpolation={self.interpolation.value}, "
            f"expand={self.expand}{center}, fill={self.fill})"
        )


class RandomAffine(Transform):
    """The image turned, moved, scaled and sheared.

    Args:
        degrees: the angle, between (low, high), or -degrees and degrees.
        translate: how far along (x, y) at most, as shares of width and height.
        scale: between (low, high).
        shear: degrees along x between -shear and shear or (low, high), and along y with four numbers.
    """

    _shown = ("degrees",)
    _shown_unless = {"translate": None, "scale": None, "shear": None, "interpolation": InterpolationMode.NEAREST,
                     "fill": 0, "center": None}  # fmt: skip

    def __init__(
        self,
        degrees: Any,
        translate: Any = None,
        scale: Any = None,
        shear: Any = None,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Any = None,
    ) -> None:
        super().__init__()
        self.degrees = pair(degrees, "degrees")
        if translate is not None and not all(0 <= t <= 1 for t in checked(translate, "translate")):
            raise ValueError("translation values should be between 0 and 1")
        if scale is not None and not all(s > 0 for s in checked(scale, "scale")):
            raise ValueError("scale values should be positive")
        self.translate = translate
        self.scale = scale
        self.shear = None if shear is None else pair(shear, "shear", (2, 4))
        self.interpolation = F.interpolation_mode(interpolation)
        self.fill = 0 if fill is None else fill
        self.center = center if center is None else checked(center, "center")

    @staticmethod
    def get_params(
        degrees: Any, translate: Any, scale_ranges: Any, shears: Any, img_size: Sequence[int]
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """(angle, (x, y), scale, (shear x, shear y)) for an image of size (width, height)."""
        angle = uniform(*degrees)
        moved = (0, 0)
        if translate is not None:
            reach = [float(share * size) for share, size in zip(translate, img_size, strict=True)]
            moved = (round(uniform(-reach[0], reach[0])), round(uniform(-reach[1], reach[1])))
        scale = 1.0 if scale_ranges is None else uniform(*scale_ranges)
        x = 0.0 if shears is None else uniform(*shears[:2])
        y = 0.0 if shears is None or len(shears) < 4 else uniform(*shears[2:])
        return angle, moved, scale, (x, y)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = F.get_image_size(flat_inputs[0])
        return {"drawn": self.get_params(self.degrees, self.translate, self.scale, self.shear, size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        angle, moved, scale, shear = params["drawn"]
        return F.affine(inpt, angle, moved, scale, shear, self.interpolation, self.fill, self.center)


class RandomPerspective(RandomTransform):
    """The image's corners moved inwards by up to half of `distortion_scale`, with probability `p`."""

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: Any = InterpolationMode.BILINEAR,
        fill: Any = 0,
    ) -> None:
        super().__init__(p)
        self.distortion_scale = distortion_scale
        self.interpolation = F.interpolation_mode(interpolation)
        self.fill = 0 if fill is None else fill

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list[list[int]], list[list[int]]]:
        """The corners (x, y), and where they go."""
        x, y = int(distortion_scale * (width // 2)) + 1, int(distortion_scale * (height // 2)) + 1
        sides = {0: lambda size, reach: whole(0, reach), 1: lambda size, reach: whole(size - reach, size)}
        order = [(0, 0), (1, 0), (1, 1), (0, 1)]
        ends = [[sides[right](width, x), sides[down](height, y)] for right, down in order]
        return [[right * (width - 1), down * (height - 1)] for right, down in order], ends

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        width, height = F.get_image_size(flat_inputs[0])
        return {"points": self.get_params(width, height, self.distortion_scale)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        start, end = params["points"]
        return F.perspective(inpt, start, end, self.interpolation, self.fill)
