"""`torchvision.transforms`: of PIL images and of tensors (..., C, H, W), with torchvision's random numbers."""

import importlib
from typing import Any

from rushlight.vision.naming import missing
from rushlight.vision.transforms.autoaugment import (
    AutoAugment as AutoAugment,
)  # fmt: skip
from rushlight.vision.transforms.autoaugment import (
    AutoAugmentPolicy as AutoAugmentPolicy,
)
from rushlight.vision.transforms.autoaugment import (
    RandAugment as RandAugment,
)
from rushlight.vision.transforms.autoaugment import (
    TrivialAugmentWide as TrivialAugmentWide,
)
from rushlight.vision.transforms.functional import InterpolationMode as InterpolationMode
from rushlight.vision.transforms.random_colors import (
    ColorJitter as ColorJitter,
)  # fmt: skip
from rushlight.vision.transforms.random_colors import (
    ElasticTransform as ElasticTransform,
)
from rushlight.vision.transforms.random_colors import (
    GaussianBlur as GaussianBlur,
)
from rushlight.vision.transforms.random_colors import (
    RandomAdjustSharpness as RandomAdjustSharpness,
)
from rushlight.vision.transforms.random_colors import (
    RandomAutocontrast as RandomAutocontrast,
)
from rushlight.vision.transforms.random_colors import (
    RandomEqualize as RandomEqualize,
)
from rushlight.vision.transforms.random_colors import (
    RandomGrayscale as RandomGrayscale,
)
from rushlight.vision.transforms.random_colors import (
    RandomInvert as RandomInvert,
)
from rushlight.vision.transforms.random_colors import (
    RandomPosterize as RandomPosterize,
)
from rushlight.vision.transforms.random_colors import (
    RandomSolarize as RandomSolarize,
)
from rushlight.vision.transforms.random_transforms import (
    RandomAffine as RandomAffine,
)  # fmt: skip
from rushlight.vision.transforms.random_transforms import (
    RandomCrop as RandomCrop,
)
from rushlight.vision.transforms.random_transforms import (
    RandomErasing as RandomErasing,
)
from rushlight.vision.transforms.random_transforms import (
    RandomHorizontalFlip as RandomHorizontalFlip,
)
from rushlight.vision.transforms.random_transforms import (
    RandomPerspective as RandomPerspective,
)
from rushlight.vision.transforms.random_transforms import (
    RandomResizedCrop as RandomResizedCrop,
)
from rushlight.vision.transforms.random_transforms import (
    RandomRotation as RandomRotation,
)
from rushlight.vision.transforms.random_transforms import (
    RandomVerticalFlip as RandomVerticalFlip,
)
from rushlight.vision.transforms.transforms import (
    CenterCrop as CenterCrop,
)  # fmt: skip
from rushlight.vision.transforms.transforms import (
    Compose as Compose,
)
from rushlight.vision.transforms.transforms import (
    ConvertImageDtype as ConvertImageDtype,
)
from rushlight.vision.transforms.transforms import (
    FiveCrop as FiveCrop,
)
from rushlight.vision.transforms.transforms import (
    Grayscale as Grayscale,
)
from rushlight.vision.transforms.transforms import (
    Lambda as Lambda,
)
from rushlight.vision.transforms.transforms import (
    LinearTransformation as LinearTransformation,
)
from rushlight.vision.transforms.transforms import (
    Normalize as Normalize,
)
from rushlight.vision.transforms.transforms import (
    Pad as Pad,
)
from rushlight.vision.transforms.transforms import (
    PILToTensor as PILToTensor,
)
from rushlight.vision.transforms.transforms import (
    RandomApply as RandomApply,
)
from rushlight.vision.transforms.transforms import (
    RandomChoice as RandomChoice,
)
from rushlight.vision.transforms.transforms import (
    RandomOrder as RandomOrder,
)
from rushlight.vision.transforms.transforms import (
    Resize as Resize,
)
from rushlight.vision.transforms.transforms import (
    TenCrop as TenCrop,
)
from rushlight.vision.transforms.transforms import (
    ToPILImage as ToPILImage,
)
from rushlight.vision.transforms.transforms import (
    ToTensor as ToTensor,
)

__all__ = sorted(name for name in globals() if name[0].isupper() and name != "Any")


def __getattr__(name: str) -> Any:
    if name in ("functional", "v2"):
        return importlib.import_module(f"{__name__}.{name}")
    raise missing(__name__, name, __all__)
