"""The transforms of `torchvision.transforms` that change colors and sharpness by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.transforms import functional as F
from rushlight.vision.transforms.functional import InterpolationMode
from rushlight.vision.transforms.transform import RandomTransform, Transform, uniform


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed, in random order.

    Each is a number (the factor lies between 1 - number and 1 + number) or a range (low, high); hue, in turns, lies
    between -number and number, at most 0.5.
    """

    _shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        super().__init__()
        self.brightness = self._range("brightness", brightness)
        self.contrast = self._range("contrast", contrast)
        self.saturation = self._range("saturation", saturation)
        self.hue = self._range("hue", hue, 0.0, (-0.5, 0.5))

    @staticmethod
    def _range(
        name: str, value: Any, center: float = 1.0, bound: tuple[float, float] = (0.0, float("inf"))
    ) -> tuple[float, float] | None:
        if value is None:
            return None
        if isinstance(value, int | float):
            if value < 0:
                raise ValueError(f"If {name} is a single number, it must be non negative.")
            low, high = center - float(value), center + float(value)
            low = max(low, 0.0) if name != "hue" else low
        elif isinstance(value, tuple | list) and len(value) == 2:
            low, high = float(value[0]), float(value[1])
        else:
            raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
        if not bound[0] <= low <= high <= bound[1]:
            raise ValueError(f"{name} values should be between {bound}, but got {[low, high]}.")
        return None if low == high == center else (low, high)

    @staticmethod
    def get_params(brightness: Any, contrast: Any, saturation: Any, hue: Any) -> tuple[Any, ...]:
        """The order, and the factors of what isn't None."""
        order = torch.randperm(4)
        ranges = (brightness, contrast, saturation, hue)
        return order, *(None if ends is None else uniform(*ends) for ends in ranges)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        return {"order": order.tolist(), "factors": factors}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for index in params["order"]:
            if params["factors"][index] is not None:
                inpt = adjust[index](inpt, params["factors"][index])
        return inpt


class RandomGrayscale(RandomTransform):
    """The image in gray, of as many channels, with probability `p`."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.rgb_to_grayscale(inpt, F.get_image_num_channels(inpt))


class GaussianBlur(Transform):
    """The image blurred by a window of (x, y) sizes, with a standard deviation between the two of `sigma`."""

    _shown = ("kernel_size", "sigma")

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = F.size_pair(kernel_size)
        if any(size <= 0 or size % 2 == 0 for size in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        self.sigma = (sigma, sigma) if isinstance(sigma, int | float) else sigma
        if not isinstance(self.sigma, Sequence) or len(self.sigma) != 2:
            raise ValueError("sigma should be a single number or a list/tuple with length 2.")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError("sigma values should be positive and of the form (min, max).")

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A standard deviation."""
        return uniform(sigma_min, sigma_max)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"sigma": [self.get_params(*self.sigma)] * 2}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.gaussian_blur(inpt, self.kernel_size, params["sigma"])


class ElasticTransform(Transform):
    """Each place moved by a smooth random displacement, `alpha` strong and `sigma` smooth (x, y)."""

    _shown = ("alpha", "sigma", "interpolation", "fill")

    def __init__(
        self, alpha: Any = 50.0, sigma: Any = 5.0, interpolation: Any = InterpolationMode.BILINEAR, fill: Any = 0
    ) -> None:
        super().__init__()
        self.alpha, self.sigma = (
            [float(value)] * 2 if isinstance(value, int | float) else [float(v) for v in value]
            for value in (alpha, sigma)
        )
        self.interpolation = F.interpolation_mode(interpolation)
        self.fill = [float(fill)] if isinstance(fill, int | float) else [float(f) for f in fill]

    @staticmethod
    def get_params(alpha: Sequence[float], sigma: Sequence[float], size: Sequence[int]) -> Tensor:
        """The displacement (1, H, W, 2)."""
        parts = []
        for strength, smooth, extent in zip(alpha, sigma, reversed(size), strict=True):
            part = torch.rand(1, 1, *size) * 2 - 1
            if smooth > 0:
                window = int(8 * smooth + 1) | 1
                part = F.gaussian_blur(part, [window, window], list(sigma))
            parts.append(part * strength / extent)
        return torch.cat(parts, 1).permute(0, 2, 3, 1)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        _, height, width = F.get_dimensions(flat_inputs[0])
        return {"displacement": self.get_params(self.alpha, self.sigma, [height, width])}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.elastic_transform(inpt, params["displacement"], self.interpolation, self.fill)


class _Adjusting(RandomTransform):
    """`function` with the settings that are shown before `p`, with probability `p`."""

    function: ClassVar[Callable[..., Any]]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return type(self).function(inpt, *(getattr(self, name) for name in self._shown[:-1]))


class RandomInvert(_Adjusting):
    """The negative, with probability `p`."""

    function = staticmethod(F.invert)


class RandomAutocontrast(_Adjusting):
    """Each channel spread from black to white, with probability `p`."""

    function = staticmethod(F.autocontrast)


class RandomEqualize(_Adjusting):
    """Each channel with about the same number of pixels for each value, with probability `p`."""

    function = staticmethod(F.equalize)


class RandomPosterize(_Adjusting):
    """The image with `bits` of each 8 left, with probability `p`."""

    _shown = ("bits", "p")
    function = staticmethod(F.posterize)

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits


class RandomSolarize(_Adjusting):
    """Values from the threshold on as in the negative, with probability `p`."""

    _shown = ("threshold", "p")
    function = staticmethod(F.solarize)

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold


class RandomAdjustSharpness(_Adjusting):
    """Blurred or sharpened by a factor, with probability `p`."""

    _shown = ("sharpness_factor", "p")
    function = staticmethod(F.adjust_sharpness)

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor
