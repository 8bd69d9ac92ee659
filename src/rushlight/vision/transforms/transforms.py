"""`torchvision.transforms` without chance, and those that hold others."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import rushlight as torch
from rushlight import Tensor
from rushlight.vision.transforms import functional as F
from rushlight.vision.transforms.functional import InterpolationMode
from rushlight.vision.transforms.transform import Transform, chance


class _Holder(Transform):
    """A transform that holds others."""

    def __init__(self, transforms: Any) -> None:
        super().__init__()
        if not isinstance(transforms, Sequence | torch.nn.ModuleList):
            raise TypeError(f"Argument transforms should be a sequence, not {type(transforms).__name__}")
        self.transforms = transforms

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class Compose(_Holder):
    """Transforms, one after another."""

    def forward(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img


class RandomApply(_Holder):
    """Transforms, one after another, all with probability `p` or none."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = p

    def forward(self, img: Any) -> Any:
        if not chance(self.p):
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}(\n    p={self.p}{lines}\n)"


class RandomOrder(_Holder):
    """Transforms in an order that Python's generator draws."""

    def forward(self, img: Any) -> Any:
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for index in order:
            img = self.transforms[index](img)
        return img


class RandomChoice(_Holder):
    """One of the transforms, which Python's generator draws; `p` are their weights."""

    def __init__(self, transforms: Any, p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError("Argument p should be a sequence")
        self.p = p

    def forward(self, img: Any) -> Any:
        return random.choices(self.transforms, weights=self.p)[0](img)

    def __repr__(self) -> str:
        return f"{super().__repr__()}(p={self.p})"


class Lambda(Transform):
    """A function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        super().__init__()
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.lambd(inpt)


class ToTensor(Transform):
    """A PIL image, or a NumPy array (H, W, C), as a tensor (C, H, W); bytes are scaled to 0..1."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        return F.to_tensor(inpt)


class PILToTensor(Transform):
    """A PIL image as a tensor (C, H, W), its values as they are."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        return F.pil_to_tensor(inpt)


class ToPILImage(Transform):
    """A tensor (C, H, W), or a NumPy array (H, W, C), as a PIL image; floating numbers are scaled from 0..1."""

    _shown_unless = {"mode": None}

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_pil_image(inpt, self.mode)


class ConvertImageDtype(Transform):
    """A tensor in another dtype, its values scaled to that dtype's range."""

    def __init__(self, dtype: Any = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        return F.convert_image_dtype(inpt, self.dtype)


class Normalize(Transform):
    """(image - mean) / std, with one mean and one deviation for each channel."""

    _shown = ("mean", "std")

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        return F.normalize(inpt, self.mean, self.std, self.inplace)


class Resize(Transform):
    """The image in `size`: (height, width), or the length of the shorter edge."""

    _shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self,
        size: Any,
        interpolation: Any = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        if size is not None and not isinstance(size, int | Sequence):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size = size
        self.interpolation = F.interpolation_mode(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.resize(inpt, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of the image, (height, width)."""

    _shown = ("size",)

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = F.size_pair(size)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.center_crop(inpt, self.size)


class Pad(Transform):
    """The image with `padding` on all sides, on (left and right, top and bottom), or (left, top, right, bottom)."""

    _shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        F.four_sides(padding)
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.pad(inpt, self.padding, self.fill, self.padding_mode)


class FiveCrop(Transform):
    """A tuple of the four corners and the middle."""

    _shown: ClassVar[tuple[str, ...]] = ("size",)

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = F.size_pair(size)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.five_crop(inpt, self.size)


class TenCrop(FiveCrop):
    """A tuple of five crops of the image, and five of it flipped."""

    _shown = ("size", "vertical_flip")

    def __init__(self, size: Any, vertical_flip: bool = False) -> None:
        super().__init__(size)
        self.vertical_flip = vertical_flip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.ten_crop(inpt, self.size, self.vertical_flip)


class Grayscale(Transform):
    """The image in gray, in one channel or three equal ones."""

    _shown = ("num_output_channels",)

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.rgb_to_grayscale(inpt, self.num_output_channels)


class LinearTransformation(Transform):
    """(image - mean), flat, times a square matrix (D, D), as for whitening; D = C * H * W."""

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        size = mean_vector.shape[0]
        if tuple(transformation_matrix.shape) != (size, size):
            raise ValueError(
                f"transformation_matrix should be square, and mean_vector as long: got "
                f"{tuple(transformation_matrix.shape)} and {tuple(mean_vector.shape)}"
            )
        self.transformation_matrix = transformation_matrix
        self.mean_vector = mean_vector

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        size = self.mean_vector.shape[0]
        if torch.Size(inpt.shape[-3:]).numel() != size:
            raise ValueError(f"an image {tuple(inpt.shape)} doesn't fit a matrix of {size} rows")
        return ((inpt.reshape(-1, size) - self.mean_vector) @ self.transformation_matrix).view(inpt.shape)

    def __repr__(self) -> str:
        matrix, mean = self.transformation_matrix.tolist(), self.mean_vector.tolist()
        return f"{type(self).__name__}(transformation_matrix={matrix}, mean_vector={mean})"
